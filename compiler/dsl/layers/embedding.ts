/** Rows of a table by index, and sums of them. */

import { amax, asType, np, rankOf, reshapeTo, sizeOf, sum, where } from "../../../ir/build.js";
import { isInt } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { full, iota } from "../../../ir/ops/constant.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import { gather, scatterND } from "../../../ir/ops/indexing.js";
import { aValue } from "../../options.js";
import {
  parameter as argument,
  choice,
  count,
  flag,
  integer,
  type OptionsOf,
  option,
  optional,
  type Settings,
} from "../../schema.js";
import type { Context } from "../context.js";
import { type Initializer, normal } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { defineLayer, inputsOf, weightInit } from "./define.js";

const sparseOption = option(
  flag,
  false,
  "Updates touch the rows that a batch uses, or are an error: by SGD without momentum, Adagrad, SparseAdam",
);
const embeddingOptions = {
  paddingIndex: optional(integer, "Row that starts as zeros and gets no gradient"),
  sparse: sparseOption,
  ...weightInit("normal with mean 0 and deviation 1"),
};
export type EmbeddingOptions = OptionsOf<typeof embeddingOptions>;

/** A table [count, size] whose row for padding is 0. */
function table(
  count: number,
  size: number,
  padding: number | undefined,
  { weightInit: init = normal(), sparse }: { readonly weightInit?: Initializer | undefined; readonly sparse: boolean },
): Variable {
  const made = parameter([count, size], (shape, random) => {
    const drawn = init(shape, random);
    if (padding === undefined) return drawn;
    const values = drawn instanceof Float32Array ? drawn.slice() : Float64Array.from(drawn);
    return values.fill(0, padding * size, (padding + 1) * size);
  });
  made.sparse = sparse;
  return made;
}

const paddingRow = (index: number | undefined, count: number): number | undefined =>
  index === undefined ? undefined : normalizeAxis(index, count, "paddingIndex");

function requireIndices(indices: Value, what: string): void {
  if (isInt(indices.type.dtype)) return;
  throw new ModelError({
    message: `${what} takes integer indices, but got ${typeText(indices.type)}`,
    hint: "declare the input as i32 or i64",
  });
}

/** Indices [...] → rows of the weight [count, size]: [..., size]. */
export class EmbeddingLayer extends Module {
  readonly weight: Variable;
  readonly #padding: number | undefined;

  constructor(count: number, size: number, settings: Settings<typeof embeddingOptions>) {
    super();
    this.#padding = paddingRow(settings.paddingIndex, count);
    this.weight = table(count, size, this.#padding, settings);
  }

  forward(ctx: Context, indices: Value): Value {
    requireIndices(indices, "an embedding");
    const rows = gather([ctx.value(this.weight), indices], { axis: 0 });
    if (this.#padding === undefined) return rows;
    const isPadding = np.eq(reshapeTo(indices, [...indices.type.shape, 1]), this.#padding);
    return where(isPadding, stopGradient([rows]), rows);
  }
}
export const Embedding = defineLayer({
  name: "Embedding",
  summary: "Indices [...] → rows of the weight [count, size]: [..., size]",
  parameters: [argument("count", count, "Number of rows"), argument("size", count, "Size of each")],
  options: embeddingOptions,
  make: (settings, count: number, size: number) => new EmbeddingLayer(count, size, settings),
});

const bagOptions = {
  mode: option(choice("sum", "mean", "max"), "mean", "What is made of a bag's rows"),
  paddingIndex: optional(integer, "Index that does not count, whose row starts as zeros"),
  sparse: sparseOption,
  ...weightInit("normal with mean 0 and deviation 1"),
};
export type EmbeddingBagOptions = OptionsOf<typeof bagOptions>;

export interface BagInputs {
  /** Where each bag begins among indices [n], the first at 0: integers [bags]. */
  readonly offsets?: Value;
  /** Factor of each row, of the shape of the indices; only for sums. */
  readonly weights?: Value;
}

/** Rows of all indices, what counts of them, and how they come together into bags. */
interface Bags {
  readonly rows: Value;
  /** Bool, with a last axis of 1. */
  readonly counts: Value | undefined;
  readonly total: (rows: Value) => Value;
  readonly largest: (rows: Value) => Value;
}

/** Sum, mean or maximum of the rows of each bag: an embedding whose rows are never all there. An empty bag gives zeros. */
export class EmbeddingBagLayer extends Module<readonly [indices: Value, inputs?: BagInputs]> {
  readonly weight: Variable;
  readonly #padding: number | undefined;
  readonly #mode: "sum" | "mean" | "max";

  constructor(count: number, size: number, settings: Settings<typeof bagOptions>) {
    super();
    this.#mode = settings.mode;
    this.#padding = paddingRow(settings.paddingIndex, count);
    this.weight = table(count, size, this.#padding, settings);
  }

  forward(ctx: Context, indices: Value, inputs: BagInputs = {}): Value {
    const { offsets, weights } = inputsOf(inputs, { offsets: aValue, weights: aValue });
    requireIndices(indices, "an embedding bag");
    if (weights !== undefined && this.#mode !== "sum")
      throw new ModelError({ message: "weights of rows need sums", hint: 'give the layer { mode: "sum" }' });
    const { rows, counts, total, largest } = this.#bags(ctx, indices, offsets);
    const one = full(rows.type.dtype, [1], 1);
    const number = total(
      counts === undefined ? np.mul(one, full(rows.type.dtype, [...indices.type.shape, 1], 1)) : where(counts, one, 0),
    );
    if (this.#mode === "max") {
      const most = largest(counts === undefined ? rows : where(counts, rows, -Infinity));
      return where(np.gt(number, 0), most, 0);
    }
    const scaled = weights === undefined ? rows : np.mul(rows, reshapeTo(weights, [...weights.type.shape, 1]));
    const sums = total(counts === undefined ? scaled : where(counts, scaled, 0));
    return this.#mode === "sum" ? sums : np.div(sums, np.max(number, 1));
  }

  #bags(ctx: Context, indices: Value, offsets: Value | undefined): Bags {
    const rank = offsets === undefined ? 2 : 1;
    if (rankOf(indices) !== rank)
      throw new ModelError({
        message: `expected indices ${rank === 2 ? "[bags, indices of a bag]" : "[indices of all bags]"}, but got ${typeText(indices.type)}`,
        hint: "a list of indices needs offsets that say where each bag begins; a table of them has none",
      });
    const rows = gather([ctx.value(this.weight), indices], { axis: 0 });
    const counts =
      this.#padding === undefined ? undefined : np.ne(reshapeTo(indices, [...indices.type.shape, 1]), this.#padding);
    if (offsets === undefined) return { rows, counts, total: (v) => sum(v, 1), largest: (v) => amax(v, 1) };
    requireIndices(offsets, "offsets: an embedding bag");
    const [n, bags] = [sizeOf(indices, 0), sizeOf(offsets, 0)];
    const begun = np.le(asType(offsets, "i32"), iota([], { dtype: "i32", shape: [n, 1], axis: 0 }));
    const bag = np.sub(sum(asType(begun, "i32"), 1), 1);
    // What lies before the first bag goes to one that does not exist, which ends the run in an error.
    const beyond = asType(full("i32", [], 2 ** 31 - 1), "i32");
    const places = reshapeTo(where(np.lt(bag, 0), beyond, bag), [n, 1]);
    const into = (v: Value, initial: number, reduction: "add" | "max") =>
      scatterND([full(v.type.dtype, [bags, sizeOf(v, -1)], initial), places, v], { reduction });
    return { rows, counts, total: (v) => into(v, 0, "add"), largest: (v) => into(v, -Infinity, "max") };
  }
}
export const EmbeddingBag = defineLayer({
  name: "EmbeddingBag",
  summary:
    "Sum, mean or maximum of the rows of each bag: `layer(ctx, indices)` with indices [bags, indices of a bag], or `layer(ctx, indices, { offsets })` with [all indices] and where each bag begins; `weights` are factors of rows for sums. → [bags, size]; an empty bag gives zeros",
  parameters: [argument("count", count, "Number of rows"), argument("size", count, "Size of each")],
  options: bagOptions,
  make: (settings, count: number, size: number) => new EmbeddingBagLayer(count, size, settings),
});
