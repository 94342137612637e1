/** Elements taken and put by indices, sorting, running sums. An index out of range ends the run in an error. */

import * as build from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { isInt } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { constantLike, full, iota } from "../../../ir/ops/constant.js";
import { exp, log } from "../../../ir/ops/elementwise.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import * as ops from "../../../ir/ops/indexing.js";
import * as order from "../../../ir/ops/sort.js";

const { np, rankOf } = build;
const axisOf = (x: Value, dim: number): number => normalizeAxis(dim, rankOf(x));

// -------------------------------------------------------------------------------------------------- gather

/** For each place of `index` the element of x at that place, but along `dim` at the index (torch.gather). */
export const gather = (x: Value, dim: number, index: Value): Value =>
  ops.gatherElements([x, index], { axis: axisOf(x, dim) });
/** `gather` with the index first broadcast to the shape of x on all other axes (torch.take_along_dim). */
export function takeAlongDim(x: Value, index: Value, dim: number): Value {
  const axis = axisOf(x, dim);
  const shape = build.shapeOf(x).map((d, a) => (a === axis ? build.sizeOf(index, dim) : d));
  return ops.gatherElements([x, build.broadcastTo(index, shape)], { axis });
}
/** Slices of x along an axis, which is replaced by the axes of the index (numpy's take). */
export const indexSelect = (x: Value, dim: number, index: Value): Value =>
  ops.gather([x, index], { axis: axisOf(x, dim) });
/** Elements of the flat tensor, in the shape of the index. */
export const take = (x: Value, index: Value): Value => ops.gather([build.reshapeTo(x, [-1]), index], { axis: 0 });
/** The last axis of the indices holds positions in the first axes of x after `batchDims`: the slices there. */
export const gatherND = (x: Value, indices: Value, batchDims = 0): Value => ops.gatherND([x, indices], { batchDims });

/** Rows of the weight [count, size] by indices [...]: [..., size]. The padding row gets no gradient. */
export function embedding(indices: Value, weight: Value, paddingIndex?: number): Value {
  if (!isInt(build.dtypeOf(indices)))
    throw new ModelError({
      message: `an embedding takes integer indices, but got ${typeText(indices.type)}`,
      hint: "declare the input as i32 or i64",
    });
  const rows = ops.gather([weight, indices], { axis: 0 });
  if (paddingIndex === undefined) return rows;
  const count = build.staticSize(weight, 0, "the rows of an embedding with padding");
  const isPadding = np.eq(build.expandDims(indices, -1), normalizeAxis(paddingIndex, count, "paddingIndex"));
  return build.where(isPadding, stopGradient([rows]), rows);
}

// ------------------------------------------------------------------------------------------------- scatter

export type ScatterReduce = "sum" | "prod" | "amax" | "amin";
const reductions = { sum: "add", prod: "mul", amax: "max", amin: "min" } as const satisfies Record<
  ScatterReduce,
  string
>;

const put = (x: Value, dim: number, index: Value, source: Value | number, reduction: ops.ScatterReduction): Value => {
  const updates = typeof source === "number" ? full(build.dtypeOf(x), build.shapeOf(index), source) : source;
  return ops.scatterElements([x, index, updates], { axis: axisOf(x, dim), reduction });
};

/** x with `source` put where `gather` with the same index would read. Of equal places the last one stays. */
export const scatter = (x: Value, dim: number, index: Value, source: Value | number): Value =>
  put(x, dim, index, source, "none");
/** x with `source` added where `gather` with the same index would read. */
export const scatterAdd = (x: Value, dim: number, index: Value, source: Value | number): Value =>
  put(x, dim, index, source, "add");
/** x combined with `source` where `gather` with the same index would read. */
export function scatterReduce(x: Value, dim: number, index: Value, source: Value, reduce: ScatterReduce): Value {
  if (!Object.hasOwn(reductions, reduce))
    throw new ModelError(`scatterReduce takes ${Object.keys(reductions).join(", ")}, not "${reduce}"`);
  return put(x, dim, index, source, reductions[reduce]);
}

/** Slices at the index of a vector, along an axis. */
function putSlices(x: Value, dim: number, index: Value, source: Value, reduction: ops.ScatterReduction): Value {
  const axis = axisOf(x, dim);
  if (rankOf(index) !== 1) throw new ModelError(`the index is a vector, but is ${typeText(index.type)}`);
  const front = build.moveAxis(x, axis, 0);
  const updates = build.moveAxis(source, axis, 0);
  return build.moveAxis(ops.scatterND([front, build.expandDims(index, -1), updates], { reduction }), 0, axis);
}
/** x with slices of `source` added at the index of a vector, along an axis. */
export const indexAdd = (x: Value, dim: number, index: Value, source: Value): Value =>
  putSlices(x, dim, index, source, "add");
/** x with slices of `source` put at the index of a vector, along an axis. */
export const indexCopy = (x: Value, dim: number, index: Value, source: Value): Value =>
  putSlices(x, dim, index, source, "none");
/** x with each slice of the updates put where `gatherND` with the same indices would read. */
export const scatterND = (x: Value, indices: Value, updates: Value, reduce: ScatterReduce | "none" = "none"): Value =>
  ops.scatterND([x, indices, updates], { reduction: reduce === "none" ? "none" : reductions[reduce] });

/** How often each of 0 … size − 1 occurs in a tensor of integers, or the sum of their weights. Others count nothing. */
export function bincount(x: Value, size: Dim, weights?: Value): Value {
  if (!isInt(build.dtypeOf(x))) throw new ModelError(`bincount takes integers, but got ${typeText(x.type)}`);
  const flat = build.reshapeTo(x, [-1]);
  const bins = iota([], { dtype: build.dtypeOf(x), shape: [size], axis: 0 });
  const here = np.eq(build.expandDims(flat, 0), build.expandDims(bins, 1));
  if (weights === undefined) return build.sum(build.asType(here, "i64"), 1);
  return build.sum(build.where(here, build.expandDims(build.reshapeTo(weights, [-1]), 0), 0), 1);
}

/** Number of elements of a sorted vector that are below each value (or not above it, with `right`), as i64. */
export function searchSorted(
  sorted: Value,
  values: Value,
  { right = false }: { readonly right?: boolean } = {},
): Value {
  const edges = build.reshapeTo(sorted, [...build.shapeOf(values).map(() => 1), -1]);
  const wide = build.expandDims(values, -1);
  return build.sum(build.asType(right ? np.le(edges, wide) : np.lt(edges, wide), "i64"), -1);
}

// --------------------------------------------------------------------------------------------------- order

export interface OrderOptions {
  /** Largest first. Default false. */
  readonly descending?: boolean;
}

/** Elements in order along an axis, and the index (i64) each came from. Stable; NaN counts as the largest. */
export const sort = (
  x: Value,
  dim = -1,
  { descending = false }: OrderOptions = {},
): readonly [values: Value, indices: Value] =>
  order.sort([x], { axis: axisOf(x, dim), descending }) as readonly [Value, Value];
/** The indices (i64) that sort x along an axis. */
export const argSort = (x: Value, dim = -1, options?: OrderOptions): Value => sort(x, dim, options)[1];

/** The k largest (or smallest) elements along an axis, best first, and their indices (i64). */
export const topK = (
  x: Value,
  k: Dim,
  dim = -1,
  { largest = true }: { readonly largest?: boolean } = {},
): readonly [values: Value, indices: Value] =>
  order.topK([x], { k, axis: axisOf(x, dim), largest }) as readonly [Value, Value];

export interface CumulativeOptions {
  /** Leaves the element itself out. Default false. */
  readonly exclusive?: boolean;
  /** Runs from the end. Default false. */
  readonly reverse?: boolean;
}

/** Running sum along an axis. */
export const cumSum = (x: Value, dim: number, { exclusive = false, reverse = false }: CumulativeOptions = {}): Value =>
  order.cumSum([x], { axis: axisOf(x, dim), exclusive, reverse });
/** Running product along an axis. */
export const cumProd = (x: Value, dim: number, { exclusive = false, reverse = false }: CumulativeOptions = {}): Value =>
  order.cumProd([x], { axis: axisOf(x, dim), exclusive, reverse });
/** log of the running sum of exponentials along an axis. */
export function logCumSumExp(x: Value, dim: number): Value {
  const largest = stopGradient([build.amax(x, axisOf(x, dim), { keepDims: true })]);
  const shift = build.where(np.gt(largest, -Infinity), largest, 0);
  return np.add(log([cumSum(exp([np.sub(x, shift)]), dim)]), shift);
}
/** Differences of neighbours along an axis. */
export function diff(x: Value, dim = -1): Value {
  const n = build.staticSize(x, dim, "an axis whose differences are taken");
  return np.sub(build.sliceAxis(x, dim, 1, n - 1), build.sliceAxis(x, dim, 0, n - 1));
}

/** Where each element of x would be put back by the permutation: the inverse of `argSort`'s indices along an axis. */
export const invertPermutation = (index: Value, dim = -1): Value => {
  const axis = axisOf(index, dim);
  const places = iota([], { dtype: build.dtypeOf(index), shape: build.shapeOf(index), axis });
  return ops.scatterElements([constantLike(index, 0), index, places], { axis, reduction: "none" });
};
