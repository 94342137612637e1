/** What losses share. */

import { asType, constantLike, expandDims, mean, np, staticSize, sum } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { constant, iota } from "../../../ir/ops/constant.js";
import { checkIndices } from "../../../ir/ops/guard.js";
import type { Reduction } from "../../../ir/ops/loss.js";
import { tensorFrom } from "../../../ir/tensor.js";
import {
  choice,
  factory,
  list,
  number,
  type OptionsOf,
  option,
  optional,
  type Schema,
  type Settings,
  settle,
} from "../../schema.js";

/** A loss of some values: the model's outputs, then the targets. */
export type LossOf<A extends readonly Value[]> = (...values: A) => Value;

/** A loss of output and target. */
export type Loss = LossOf<[output: Value, target: Value]>;

interface LossDefinition<S extends Schema, A extends readonly Value[]> {
  readonly name: string;
  readonly summary: string;
  readonly options: S;
  readonly of: (options: Settings<S>) => LossOf<A>;
}

/** A loss from the schema of its options. What it makes refuses too few values, and what is none. */
export function defineLoss<S extends Schema, A extends readonly Value[] = [output: Value, target: Value]>(
  d: LossDefinition<S, A>,
): (options?: OptionsOf<S>) => LossOf<A> {
  const name = `losses.${d.name}`;
  return factory({ name, summary: d.summary, options: d.options }, (given?: OptionsOf<S>) => {
    const of = d.of(settle(name, given, d.options));
    return (...values: A) => {
      // Further targets are for others.
      for (let i = 0; i < of.length; i++)
        if (values[i]?.def === undefined)
          throw new ModelError({
            where: name,
            message: `takes ${of.length} values, but number ${i + 1} is ${values[i] === undefined ? "missing" : "none"}`,
            hint: "give it the model's outputs, then the targets",
          });
      return of(...values);
    };
  });
}

export const reductionOption = {
  reduction: option(choice("mean", "sum", "none"), "mean", "What becomes of the loss of each element"),
};

export const weightOption = (of: string) => ({ weight: optional(list(number), `Weights, one for each ${of}`) });

export function reduce(losses: Value, reduction: Reduction): Value {
  if (reduction === "none") return losses;
  return reduction === "sum" ? sum(losses) : mean(losses);
}

/** A constant of the value's dtype. */
export const vector = (weights: readonly number[], as: Value): Value =>
  constant([], { value: tensorFrom(as.type.dtype, [weights.length], weights) });

/** A target of the output's float type, so that labels may come as integers. */
export const like = (target: Value, output: Value): Value => asType(target, output.type.dtype);

/** max(x, 0) */
export const positivePart = (x: Value): Value => np.max(x, 0);

/** Whether class c of axis 1 of `output` [N, C, …] is the target's [N, …], in the output's shape. */
export function isTarget(target: Value, output: Value): Value {
  const { shape } = output.type;
  if (target.type.shape.length !== shape.length - 1)
    throw new ModelError({
      message: `class indices ${typeText(target.type)} do not fit ${typeText(output.type)}`,
      hint: "they have all axes of the output but the one of the classes, which is axis 1",
    });
  const counter = { dtype: target.type.dtype, shape: shape.map((d, a) => (a === 1 ? d : 1)), axis: 1 };
  return np.eq(expandDims(checkIndices([target], { size: shape[1]! }), 1), iota([], counter));
}

/** Number of classes, axis 1 of the output. */
export const classCount = (output: Value): number => staticSize(output, 1, "the number of classes");

export const one = (as: Value): Value => constantLike(as, 1);
