/** Reductions over axes: all of them by default. `keepDim` keeps the reduced axes with size 1. */

import * as build from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import * as ew from "../../../ir/ops/elementwise.js";
import * as ops from "../../../ir/ops/reduce.js";
import { logSumExp as lse } from "../../../ir/ops/softmax.js";
import { topK } from "../../../ir/ops/sort.js";
import { describe } from "../../options.js";
import { toBool } from "./cast.js";

const { np } = build;

/** One axis, several, or all where none is given. */
export type Axes = number | readonly number[] | undefined;

/** A reduction: `sum(x)`, `sum(x, -1)`, `sum(x, [0, 2], true)`. */
export type Reduction = (x: Value, dim?: Axes, keepDim?: boolean) => Value;

/** Attributes of a reduction, checked. */
function attrs(x: Value, dim: Axes, keepDim: unknown): ops.ReduceAttrs {
  if (typeof keepDim !== "boolean")
    throw new ModelError({ message: `keepDim is true or false, not ${describe(keepDim)}`, hint: "sum(x, -1, true)" });
  return { axes: build.axesOf(x, dim), keepDims: keepDim };
}

/** Sum; of bools the number that is true, as i64. */
export const sum: Reduction = (x, dim, keepDim = false) =>
  ops.sum([build.dtypeOf(x) === "bool" ? build.asType(x, "i64") : x], attrs(x, dim, keepDim));
/** Arithmetic mean of floats. */
export const mean: Reduction = (x, dim, keepDim = false) => {
  const { axes, keepDims } = attrs(x, dim, keepDim);
  return build.mean(x, axes, { keepDims });
};
/** Product. */
export const prod: Reduction = (x, dim, keepDim = false) => ops.prod([x], attrs(x, dim, keepDim));
/** Largest element; NaN if any is NaN. */
export const amax: Reduction = (x, dim, keepDim = false) => ops.reduceMax([x], attrs(x, dim, keepDim));
/** Smallest element; NaN if any is NaN. */
export const amin: Reduction = (x, dim, keepDim = false) => ops.reduceMin([x], attrs(x, dim, keepDim));
/** Whether any element is true (not 0). */
export const any: Reduction = (x, dim, keepDim = false) => ops.any([toBool(x)], attrs(x, dim, keepDim));
/** Whether all elements are true (not 0). */
export const all: Reduction = (x, dim, keepDim = false) => ops.all([toBool(x)], attrs(x, dim, keepDim));
/** Number of elements that are not 0, as i64. */
export const countNonzero: Reduction = (x, dim, keepDim = false) => sum(toBool(x), dim, keepDim);
/** log of the sum of exponentials, without overflow. */
export const logSumExp: Reduction = (x, dim, keepDim = false) => lse([x], attrs(x, dim, keepDim));

/** Variance of floats; `correction` is subtracted from the count (1: unbiased). */
const variance = (x: Value, dim?: Axes, { correction = 1, keepDim = false }: VarianceOptions = {}): Value =>
  build.variance(x, build.axesOf(x, dim), { correction, keepDims: keepDim });
export interface VarianceOptions {
  /** Subtracted from the count. Default 1: the unbiased estimate. */
  readonly correction?: number;
  /** Keeps reduced axes with size 1. Default false. */
  readonly keepDim?: boolean;
}
export { variance as var };
/** Standard deviation of floats, the root of `var`. */
export const std = (x: Value, dim?: Axes, options?: VarianceOptions): Value => ew.sqrt([variance(x, dim, options)]);

/** √(Σ x²), whose gradient is 0 at 0 as in PyTorch. */
function euclidean(x: Value, axes: readonly number[], keepDims: boolean): Value {
  const squares = build.sum(build.square(x), axes, { keepDims });
  const zero = np.eq(squares, 0);
  return build.where(zero, 0, ew.sqrt([build.where(zero, 1, squares)]));
}

/** p-norm (Σ |x|^p)^(1/p) over axes; p may be ∞, −∞, or 0 (the number of elements that are not 0). */
export function norm(x: Value, p = 2, dim?: Axes, keepDim = false): Value {
  const { axes, keepDims } = attrs(x, dim, keepDim);
  if (p === 2) return euclidean(x, axes, keepDims);
  const size = ew.abs([x]);
  if (p === 1) return build.sum(size, axes, { keepDims });
  if (p === Infinity) return build.amax(size, axes, { keepDims });
  if (p === -Infinity) return build.amin(size, axes, { keepDims });
  if (p === 0) return build.sum(build.asType(np.ne(x, 0), build.dtypeOf(x)), axes, { keepDims });
  const zero = np.eq(size, 0);
  const powers = build.where(zero, 0, np.pow(build.where(zero, 1, size), p));
  const total = build.sum(powers, axes, { keepDims });
  const none = np.eq(total, 0);
  return build.where(none, 0, np.pow(build.where(none, 1, total), 1 / p));
}

type ArgOp = typeof ops.argMax;

/** The axis is searched; without one the flat tensor. */
function argOf(op: ArgOp | typeof ops.argMin, x: Value, dim: number | undefined, keepDim: boolean): Value {
  if (dim === undefined) return op([build.reshapeTo(x, [-1])], { axis: 0, keepDims: false });
  return op([x], { axis: normalizeAxis(dim, build.rankOf(x)), keepDims: keepDim });
}

/** Index (i64) of the largest element along an axis, or of the flat tensor; of equals the first. */
export const argMax = (x: Value, dim?: number, keepDim = false): Value => argOf(ops.argMax, x, dim, keepDim);
/** Index (i64) of the smallest element along an axis, or of the flat tensor; of equals the first. */
export const argMin = (x: Value, dim?: number, keepDim = false): Value => argOf(ops.argMin, x, dim, keepDim);

/** Extremum along an axis, and its index. */
function extremum(x: Value, dim: number, keepDim: boolean, largest: boolean): readonly [Value, Value] {
  const axis = normalizeAxis(dim, build.rankOf(x));
  const [values, indices] = topK([x], { k: 1, axis, largest }) as readonly [Value, Value];
  return keepDim ? [values, indices] : [build.squeeze(values, axis), build.squeeze(indices, axis)];
}

/** The largest element; along an axis [values, indices]. For two tensors see `maximum`, for the values alone `amax`. */
export function max(x: Value): Value;
export function max(x: Value, dim: number, keepDim?: boolean): readonly [values: Value, indices: Value];
export function max(x: Value, dim?: number, keepDim = false): Value | readonly [Value, Value] {
  return dim === undefined ? amax(x) : extremum(x, dim, keepDim, true);
}

/** The smallest element; along an axis [values, indices]. For two tensors see `minimum`, for the values alone `amin`. */
export function min(x: Value): Value;
export function min(x: Value, dim: number, keepDim?: boolean): readonly [values: Value, indices: Value];
export function min(x: Value, dim?: number, keepDim = false): Value | readonly [Value, Value] {
  return dim === undefined ? amin(x) : extremum(x, dim, keepDim, false);
}

/** The k-th smallest element along an axis (k from 1), and its index. */
export function kthvalue(x: Value, k: number, dim = -1, keepDim = false): readonly [values: Value, indices: Value] {
  const axis = normalizeAxis(dim, build.rankOf(x));
  const found = topK([x], { k, axis, largest: false }) as readonly [Value, Value];
  const [values, indices] = found.map((v) => build.sliceAxis(v, axis, k - 1, 1)) as [Value, Value];
  return keepDim ? [values, indices] : [build.squeeze(values, axis), build.squeeze(indices, axis)];
}

/** The lower of the middle elements along an axis of fixed size, and its index. */
export function median(x: Value, dim = -1, keepDim = false): readonly [values: Value, indices: Value] {
  const n = build.staticSize(x, dim, "an axis whose median is taken");
  if (n === 0) throw new ModelError(`${typeText(x.type)} has no median: it has no elements`);
  return kthvalue(x, Math.floor((n + 1) / 2), dim, keepDim);
}

/** Standard deviation and mean of floats over axes. */
export const stdMean = (x: Value, dim?: Axes, options?: VarianceOptions): readonly [std: Value, mean: Value] => [
  std(x, dim, options),
  mean(x, dim, options?.keepDim ?? false),
];
