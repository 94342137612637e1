/**
 * Streaming metrics: sums over batches, and a result from the sums. So a metric is right over batches of any sizes, which a mean of the
 * batches' own values is not.
 */

import { asType, dimScalar, np, reshapeTo, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { full } from "../../../ir/ops/constant.js";
import { sigmoid } from "../../../ir/ops/elementwise.js";
import { scatterElements } from "../../../ir/ops/indexing.js";
import { productOf } from "../../../ir/ops/movement.js";
import {
  count,
  factory,
  flag,
  integer,
  type OptionsOf,
  option,
  type Schema,
  type Settings,
  settle,
} from "../../schema.js";

/** Values by the names of slots. */
export type Sums = Readonly<Record<string, Value>>;

/**
 * A metric. Called like a loss it gives the value of one batch; `update` and `result` give it over many: states of the slots' shapes,
 * f64 and 0 at first, each batch adds what `update` gives, and `result` makes the metric of the sums, f32.
 */
export interface Metric {
  (output: Value, ...targets: readonly Value[]): Value;
  readonly slots: Readonly<Record<string, readonly number[]>>;
  readonly update: (output: Value, ...targets: readonly Value[]) => Sums;
  readonly result: (sums: Sums) => Value;
}

interface MetricDefinition<S extends Schema> {
  readonly name: string;
  readonly summary: string;
  readonly options: S;
  readonly of: (options: Settings<S>) => Pick<Metric, "slots" | "update" | "result">;
}

/** A metric from the schema of its options. */
export function defineMetric<S extends Schema>(d: MetricDefinition<S>): (options?: OptionsOf<S>) => Metric {
  const name = `metrics.${d.name}`;
  return factory({ name, summary: d.summary, options: d.options }, (given?: OptionsOf<S>): Metric => {
    const { slots, update, result } = d.of(settle(name, given, d.options));
    const sums: Metric["update"] = (...values) =>
      Object.fromEntries(Object.entries(update(...values)).map(([slot, v]) => [slot, asType(v, "f64")]));
    const float: Metric["result"] = (all) => asType(result(all), "f32");
    return Object.assign((output: Value, ...targets: readonly Value[]) => float(sums(output, ...targets)), {
      slots,
      update: sums,
      result: float,
    });
  });
}

// ------------------------------------------------------------------------------------------------------------ options

export const ignoreIndex = { ignoreIndex: option(integer, -100, "Targets of this class do not count") };
export const fromLogits = { fromLogits: option(flag, true, "The output is logits; false: probabilities") };
export const bins = { bins: option(count, 200, "Parts of [0, 1] by which probabilities are told apart") };

/** The output as probabilities. */
export const probabilities = (output: Value, logits: boolean): Value => (logits ? sigmoid([output]) : output);

// ---------------------------------------------------------------------------------------------------------- arithmetic

/** a / b, or 0 where b is 0. */
export const share = (a: Value, b: Value): Value => {
  const empty = np.eq(b, 0);
  return where(empty, 0, np.div(a, where(empty, 1, b)));
};

/** Number of elements, as an f64 scalar. */
export const countOf = (v: Value): Value => dimScalar(productOf(v.type.shape), "f64");

/**
 * How often each class from 0 to below `size` stands in `classes` (i32 or i64, any shape), each occurrence by its weight (f32): f32 [size].
 * Another class is an error of the run.
 */
export function histogram(classes: Value, weights: Value, size: number): Value {
  const flat = [productOf(classes.type.shape)];
  // Indices below 0 would count from the end.
  const checked = where(np.lt(classes, 0), size, classes);
  return scatterElements([full("f32", [size], 0), reshapeTo(checked, flat), reshapeTo(weights, flat)], {
    axis: 0,
    reduction: "add",
  });
}
