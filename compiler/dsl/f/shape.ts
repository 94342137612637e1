/** Shapes: the same elements in another order or form. Axes count from the end when negative; sizes may be symbolic. */

import * as build from "../../../ir/build.js";
import { type Dim, dimAdd, dimCeilDiv, dimMin, dimMul, dimSub } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { iota, scalarConstant } from "../../../ir/ops/constant.js";
import { updateSlice } from "../../../ir/ops/movement.js";

const { rankOf, sizeOf } = build;

/** Arguments one by one, or as a list: PyTorch takes both. */
export type Listed<T> = readonly T[] | readonly [list: readonly T[]];
const listed = <T>(given: Listed<T>): readonly T[] =>
  given.length === 1 && Array.isArray(given[0]) ? (given[0] as readonly T[]) : (given as readonly T[]);

/** The same elements in row-major order under another shape, `[2, -1]` or `2, -1`; one entry may be −1. */
export const reshape = (x: Value, ...shape: Listed<Dim>): Value => build.reshapeTo(x, listed(shape));
/** Axes start to end (inclusive) as one. */
export const flatten = (x: Value, startDim = 0, endDim = -1): Value => build.flatten(x, startDim, endDim);

/** One axis divided into several; one entry of the sizes may be −1. */
export function unflatten(x: Value, dim: number, sizes: readonly Dim[]): Value {
  const a = normalizeAxis(dim, rankOf(x));
  const { shape } = x.type;
  const part = sizes.includes(-1) ? build.reshapeTo(iotaOf(shape[a]!), sizes).type.shape : sizes;
  return build.reshapeTo(x, [...shape.slice(0, a), ...part, ...shape.slice(a + 1)]);
}

const iotaOf = (size: Dim): Value => iota([], { dtype: "i32", shape: [size], axis: 0 });

/** Axes of size 1 dropped: those named, or all that are known to have size 1. */
export const squeeze = (x: Value, ...dims: Listed<number>): Value => build.squeeze(x, ...listed(dims));
/** New axes of size 1 at these positions of the result. */
export const unsqueeze = (x: Value, ...dims: Listed<number>): Value => build.expandDims(x, ...listed(dims));
/** Axes reordered: axis i of the result is axis dims[i] of x. */
export const permute = (x: Value, ...dims: Listed<number>): Value => build.permute(x, listed(dims));
/** Two axes swapped; by default the last two. */
export const transpose = (x: Value, dim0 = -2, dim1 = -1): Value => build.swapAxes(x, dim0, dim1);
/** An axis taken out and put back at another place of the result. */
export const movedim = (x: Value, from: number, to: number): Value => build.moveAxis(x, from, to);

/** Tensors joined along an axis. */
export const cat = (parts: readonly Value[], dim = 0): Value => build.concatenate(parts, dim);
/** Tensors joined along a new axis. */
export const stack = (parts: readonly Value[], dim = 0): Value => build.stack(parts, dim);

/** Parts of a size along an axis (the last may be smaller), or of the sizes of a list. */
export function split(x: Value, sizeOrSizes: number | readonly Dim[], dim = 0): readonly Value[] {
  if (typeof sizeOrSizes !== "number") return build.split(x, dim, sizeOrSizes);
  if (!(sizeOrSizes > 0)) throw new ModelError(`split needs parts of a size above 0, not ${sizeOrSizes}`);
  const length = build.staticSize(x, dim, "an axis that is split");
  const count = Math.ceil(length / sizeOrSizes);
  const sizes = Array.from({ length: count }, (_, i) => Math.min(sizeOrSizes, length - i * sizeOrSizes));
  return build.split(x, dim, sizes);
}

/** At most `chunks` parts along an axis, of equal sizes but for the last. */
export function chunk(x: Value, chunks: number, dim = 0): readonly Value[] {
  const length = sizeOf(x, dim);
  if (typeof length !== "number") return build.split(x, dim, chunks);
  return split(x, Math.max(1, Math.ceil(length / chunks)), dim);
}

/** The slices along an axis, which disappears. */
export const unbind = (x: Value, dim = 0): readonly Value[] =>
  Array.from({ length: build.staticSize(x, dim, "an axis that is unbound") }, (_, i) => build.takeAt(x, dim, i));

/** `length` elements of one axis from `start` on. */
export const narrow = (x: Value, dim: number, start: Dim, length: Dim): Value => build.sliceAxis(x, dim, start, length);
/** x with `src` over the elements of one axis from `start` on. A state whose next value this is keeps its place: only `src` is written. */
export const sliceScatter = (x: Value, src: Value, dim = 0, start: Dim = 0): Value => {
  const axis = normalizeAxis(dim, rankOf(x));
  return updateSlice([x, src], { starts: x.type.shape.map((_, a) => (a === axis ? start : 0)) });
};
/** One index of an axis, which disappears. */
export const select = (x: Value, dim: number, index: Dim): Value => build.takeAt(x, dim, index);

/** Elements start, start + step, … below end of one axis, as `x[start:end:step]` in Python. Numbers below 0 count from the end. */
export function slice(x: Value, dim: number, start: Dim = 0, end?: Dim, step = 1): Value {
  if (!Number.isInteger(step) || step < 1) throw new ModelError(`slice needs a step of at least 1, not ${step}`);
  const length = sizeOf(x, dim);
  const within = (d: Dim): Dim => {
    const at = typeof d === "number" && d < 0 ? dimAdd(length, d) : d;
    return typeof at === "number" && at < 0 ? 0 : dimMin(at, length);
  };
  const first = within(start);
  const count = dimCeilDiv(dimSub(end === undefined ? length : within(end), first), step);
  return build.sliceAxis(x, dim, first, typeof count === "number" ? Math.max(0, count) : count, step);
}

/** Order of the elements reversed along axes. */
export const flip = (x: Value, ...dims: Listed<number>): Value => build.flip(x, ...listed(dims));

/** Elements moved towards higher indices along axes (by default of the flat tensor); what leaves at the end enters at the start. */
export function roll(x: Value, shifts: number | readonly number[], dims?: number | readonly number[]): Value {
  if (dims === undefined) {
    if (typeof shifts !== "number") throw new ModelError("roll of several shifts needs as many axes");
    return build.reshapeTo(build.roll(build.reshapeTo(x, [-1]), shifts, 0), build.shapeOf(x));
  }
  const axes = typeof dims === "number" ? [dims] : dims;
  const by = typeof shifts === "number" ? [shifts] : shifts;
  if (axes.length !== by.length) throw new ModelError(`roll got ${by.length} shifts for ${axes.length} axes`);
  return axes.reduce((v, axis, i) => build.roll(v, by[i]!, axis), x);
}

/** x repeated as a whole, `repeats[i]` times along axis i. */
export const tile = (x: Value, ...repeats: Listed<Dim>): Value => build.tile(x, listed(repeats));
/** Each element repeated in place along an axis, or of the flat tensor. */
export const repeatInterleave = (x: Value, repeats: Dim, dim?: number): Value =>
  dim === undefined
    ? build.repeatElements(build.reshapeTo(x, [-1]), repeats, 0)
    : build.repeatElements(x, repeats, dim);
/** x repeated to a shape by numpy's rule; −1 keeps the size of an axis of x. */
export function expand(x: Value, ...sizes: Listed<Dim>): Value {
  const shape = listed(sizes);
  const offset = shape.length - rankOf(x);
  return build.broadcastTo(
    x,
    shape.map((d, i) => (d === -1 ? sizeOf(x, i - offset) : d)),
  );
}
/** x repeated to the shape of another value. */
export const expandAs = (x: Value, other: Value): Value => build.broadcastTo(x, build.shapeOf(other));
/** Values repeated to their common shape. */
export const broadcastTensors = (...values: readonly Value[]): readonly Value[] => build.broadcastAll(...values);
/** Coordinates of a grid: value i varies along axis i ("ij"), of vectors. */
export function meshgrid(...axes: readonly Value[]): readonly Value[] {
  const shape = axes.map((v) => sizeOf(v, 0));
  return axes.map((v, i) =>
    build.broadcastTo(build.reshapeTo(v, [sizeOf(v, 0), ...axes.slice(i + 1).map(() => 1)]), shape),
  );
}

/** Size of an axis, or of all elements, as a rank-0 i64 value. `build.shapeOf(x)` has sizes for shapes. */
export function size(x: Value, dim?: number): Value {
  const d = dim === undefined ? build.shapeOf(x).reduce<Dim>((n, s) => dimMul(n, s), 1) : sizeOf(x, dim);
  return build.dimScalar(d, "i64");
}

/** Row minus column for each place of the last two axes. */
function offsets(x: Value): Value {
  if (rankOf(x) < 2) throw new ModelError(`a triangle is taken of matrices, not of ${typeText(x.type)}`);
  const shape = build.shapeOf(x).slice(-2);
  return build.np.sub(iota([], { dtype: "i32", shape, axis: 0 }), iota([], { dtype: "i32", shape, axis: 1 }));
}

const zeroOf = (x: Value): Value => scalarConstant(build.dtypeOf(x), 0);

/** Of matrices the part on and below a diagonal, 0 elsewhere. */
export const tril = (x: Value, diagonal = 0): Value => build.where(build.np.ge(offsets(x), -diagonal), x, zeroOf(x));
/** Of matrices the part on and above a diagonal, 0 elsewhere. */
export const triu = (x: Value, diagonal = 0): Value => build.where(build.np.le(offsets(x), -diagonal), x, zeroOf(x));

/** The diagonal of the last two axes, as a last axis. */
export function diagonal(x: Value, offset = 0): Value {
  if (rankOf(x) < 2) throw new ModelError(`a diagonal is taken of matrices, not of ${typeText(x.type)}`);
  const rows = build.sliceAxis(x, -2, Math.max(0, -offset), dimSub(sizeOf(x, -2), Math.max(0, -offset)));
  const block = build.sliceAxis(rows, -1, Math.max(0, offset), dimSub(sizeOf(rows, -1), Math.max(0, offset)));
  const [n, m] = [build.staticSize(block, -2, "the rows"), build.staticSize(block, -1, "the columns")];
  const length = Math.max(0, Math.min(n, m));
  const square = build.sliceAxis(build.sliceAxis(block, -2, 0, length), -1, 0, length);
  // Every (length + 1)-th element of the rows laid one after the other.
  const flat = build.reshapeTo(square, [...build.shapeOf(square).slice(0, -2), length * length]);
  return length < 2 ? flat : build.sliceAxis(flat, -1, 0, length, length + 1);
}

/** A matrix of a vector on its diagonal, 0 elsewhere, for each vector of the last axis. */
export function diagEmbed(x: Value): Value {
  const n = sizeOf(x, -1);
  const index = (axis: number) => iota([], { dtype: "i32", shape: [n, n], axis });
  return build.where(build.np.eq(index(0), index(1)), build.expandDims(x, -2), zeroOf(x));
}

/** Windows of `size` elements along an axis, `step` apart, as a new last axis (PyTorch's `x.unfold(dim, size, step)`). */
export function windows(x: Value, dim: number, size: number, step = 1): Value {
  const length = sizeOf(x, dim);
  if (typeof length === "number" && size > length)
    throw new ModelError(`windows of ${size} are larger than axis ${dim} of ${typeText(x.type)}`);
  const count = dimCeilDiv(dimSub(length, size - 1), step);
  const parts = Array.from({ length: size }, (_, i) => build.sliceAxis(x, dim, i, count, step));
  return build.stack(parts, -1);
}
