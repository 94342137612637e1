/**
 * Numpy-style helpers over the strict primitives: operands broadcast, numbers stand for constants, axes count from the end when
 * negative. They build nodes and nothing else; errors are ModelErrors that say which shapes did not fit.
 */

import { describe } from "./describe.js";
import {
  type Dim,
  dimAdd,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimNeg,
  dimSub,
  dimText,
  isDim,
} from "./dim.js";
import { type DType, isFloat } from "./dtype.js";
import { ModelError } from "./errors.js";
import type { NoAttrs } from "./graph.js";
import { type Shape, sameShape, shapeText, typeText, type Value } from "./graph.js";
import { broadcastShapes, listOfAxes, normalizeAxes, normalizeAxis, spreadsLast } from "./infer.js";
import { isValue, type Op, requireValue } from "./op.js";
import { cast } from "./ops/cast.js";
import { constantLike, dimSize, full, iota, scalarConstant } from "./ops/constant.js";
import * as ew from "./ops/elementwise.js";
import * as logic from "./ops/logic.js";
import { broadcast, concat, pad, productOf, reshape, slice, transpose, unbroadcast } from "./ops/movement.js";
import { reduceMax, reduceMin, sum as sumOp } from "./ops/reduce.js";

/** A value; or a number or a size (`x.shape[0]`), which takes the dtype of its partner. */
export type Arg = Value | Dim;

// ------------------------------------------------------------------------------------------------------ broadcasting

/** x repeated to a shape by numpy's rule: aligned at the last axis, axes of size 1 stretch. */
export function broadcastTo(x: Value, shape: Shape): Value {
  const from = shapeOf(x);
  if (sameShape(from, shape)) return x;
  const offset = shape.length - from.length;
  if (offset < 0) throw new ModelError(`${typeText(x.type)} does not broadcast to ${shapeText(shape)}: too many axes`);
  const axes = from.map((_, i) => i + offset);
  const last = shape.findLastIndex((d) => d !== 1);
  // Neighbours of which only the run tells whether they are copies are laid out before anything else is repeated.
  if (!spreadsLast(x.type.shape, { shape, axes })) return broadcast([x], { shape, axes });
  const row = from.map((d, i) => (axes[i] === last ? shape[last]! : d));
  return broadcastTo(broadcast([x], { shape: row, axes: from.map((_, i) => i) }), shape);
}

function toValue(x: Arg, partner: Value): Value {
  return isValue(x) ? x : dimScalar(x, partner.type.dtype);
}

/** The first value among operands that may be numbers and sizes. Throws ModelError where one is neither. */
function partnerOf(args: readonly Arg[], what: string): Value {
  const [first] = args.flatMap((a) => (isDim(a) ? [] : [requireValue(a, "an operand")]));
  if (first === undefined) throw new ModelError(what);
  return first;
}

/** All operands as values of one common shape. At least one must be a value. */
export function broadcastAll(...args: readonly Arg[]): readonly Value[] {
  const partner = partnerOf(args, "at least one operand must be a tensor, not a number");
  const values = args.map((a) => toValue(a, partner));
  const shape = broadcastShapes(...values.map((v) => v.type.shape));
  return values.map((v) => broadcastTo(v, shape));
}

const lifted =
  (op: Op<string, NoAttrs>) =>
  (a: Arg, b: Arg): Value =>
    op(broadcastAll(a, b));

/** Elementwise ops of two operands with broadcasting: `np.add(x, 1)`, `np.mul(x, scale)`. */
export const np = {
  add: lifted(ew.add),
  sub: lifted(ew.sub),
  mul: lifted(ew.mul),
  div: lifted(ew.div),
  rem: lifted(ew.rem),
  pow: lifted(ew.pow),
  min: lifted(ew.min),
  max: lifted(ew.max),
  atan2: lifted(ew.atan2),
  eq: lifted(logic.eq),
  ne: lifted(logic.ne),
  lt: lifted(logic.lt),
  le: lifted(logic.le),
  gt: lifted(logic.gt),
  ge: lifted(logic.ge),
  and: lifted(logic.logicalAnd),
  or: lifted(logic.logicalOr),
  xor: lifted(logic.logicalXor),
} as const;

/** a where the condition holds, else b. Numbers take the dtype of the other branch. */
export function where(condition: Value, a: Arg, b: Arg): Value {
  const partner = partnerOf([a, b], "where needs a tensor in one of its branches, not two numbers");
  const values = [requireValue(condition, "the condition"), toValue(a, partner), toValue(b, partner)];
  const shape = broadcastShapes(...values.map((v) => v.type.shape));
  return logic.select(values.map((v) => broadcastTo(v, shape)));
}

// ------------------------------------------------------------------------------------------------------- elementwise

export const square = (x: Value): Value => ew.mul([x, x]);
export const reciprocal = (x: Value): Value => ew.div([constantLike(requireValue(x), 1), x]);
export const rsqrt = (x: Value): Value => reciprocal(ew.sqrt([x]));

/** x limited to [low, high]; an omitted bound does not limit. NaN stays NaN. */
export function clamp(x: Value, low?: Arg, high?: Arg): Value {
  const raised = low === undefined ? requireValue(x) : np.max(x, low);
  return high === undefined ? raised : np.min(raised, high);
}

/** x as another dtype; x itself when it already has it. */
export const asType = (x: Value, to: DType): Value => (requireValue(x).type.dtype === to ? x : cast([x], { to }));

/** Sum of values, of equal types. */
export function addAll(values: readonly Value[]): Value {
  const [first, ...rest] = values;
  if (first === undefined) throw new ModelError("a sum needs at least one value");
  return rest.reduce((total, v) => ew.add([total, v]), first);
}

// ------------------------------------------------------------------------------------------------------------- shapes

/** These four throw ModelError where x is no value: what functions ask for first. */
export const dtypeOf = (x: Value): DType => requireValue(x).type.dtype;
export const shapeOf = (x: Value): Shape => requireValue(x).type.shape;
export const rankOf = (x: Value): number => shapeOf(x).length;

/** Size of one axis, counted from the end when negative. */
export function sizeOf(x: Value, axis: number): Dim {
  const at = normalizeAxis(axis, rankOf(x));
  return shapeOf(x)[at]!;
}

/** Size of an axis that must be known now (channels, features). Throws ModelError when it is symbolic. */
export function staticSize(x: Value, axis: number, what: string): number {
  const d = sizeOf(x, axis);
  if (typeof d !== "number") throw new ModelError(`${what} must have a fixed size, but axis ${axis} is ${dimText(d)}`);
  return d;
}

/** @throws ModelError where a shape of callers, who may write JavaScript, is none */
function requireShape(shape: readonly unknown[]): void {
  const hint = "sizes are numbers, or those of a shape: x.reshape([x.shape[0], -1])";
  if (!Array.isArray(shape))
    throw new ModelError({ message: `expected a list of sizes, got ${describe(shape)}`, hint });
  const wrong = shape.findIndex((d) => (typeof d === "number" ? !Number.isInteger(d) : !isDim(d)));
  if (wrong >= 0)
    throw new ModelError({
      message: `size ${wrong} of a shape is ${describe(shape[wrong])}`,
      hint: Number.isNaN(shape[wrong])
        ? "sizes with names are no numbers of JavaScript: let −1 stand for a product, or x.flatten() make it"
        : hint,
    });
}

/** Reshape that is skipped when nothing changes. One entry may be −1: it takes what remains. */
export function reshapeTo(x: Value, shape: readonly Dim[]): Value {
  requireShape(shape);
  const open = shape.indexOf(-1);
  if (open < 0) return sameShape(shapeOf(x), shape) ? x : reshape([x], { shape });
  // Sizes on both sides cancel, whatever they are: [n − 1, 8] divides into [n − 1, 4, ?].
  const own = [...shapeOf(x)];
  const others = shape.filter((d, i) => {
    const same = d === 0 ? -1 : own.findIndex((size) => dimEqual(size, d));
    if (i !== open && same >= 0) own.splice(same, 1);
    return i !== open && same < 0;
  });
  const [total, rest] = [productOf(own), productOf(others)];
  if (rest === 0 || dimMod(total, rest) !== 0) {
    const wanted = shape.map((d) => (d === -1 ? "?" : dimText(d)));
    throw new ModelError(`${typeText(x.type)} does not divide into [${wanted}]`);
  }
  return reshapeTo(
    x,
    shape.map((d, i) => (i === open ? dimFloorDiv(total, rest) : d)),
  );
}

/** New axes of size 1 at these positions of the result. */
export function expandDims(x: Value, ...axes: readonly number[]): Value {
  const rank = rankOf(x) + axes.length;
  const at = normalizeAxes(axes, rank);
  const from = [...shapeOf(x)];
  return reshapeTo(
    x,
    Array.from({ length: rank }, (_, a) => (at.includes(a) ? 1 : from.shift()!)),
  );
}

/** Axes of size 1 dropped: those named, or all whose size is known to be 1. */
export function squeeze(x: Value, ...axes: readonly number[]): Value {
  const named = axes.length > 0 ? normalizeAxes(axes, rankOf(x)) : undefined;
  for (const a of named ?? []) {
    const d = shapeOf(x)[a]!;
    if (typeof d === "number" && d !== 1)
      throw new ModelError(`axis ${a} of ${typeText(x.type)} has size ${d}: only size 1 can be squeezed`);
  }
  return reshapeTo(
    x,
    shapeOf(x).filter((d, a) => !(named ? named.includes(a) : d === 1)),
  );
}

/** Axes start to end (inclusive) as one. */
export function flatten(x: Value, start = 0, end = -1): Value {
  if (rankOf(x) === 0) return reshapeTo(x, [1]);
  const first = normalizeAxis(start, rankOf(x));
  const last = normalizeAxis(end, rankOf(x));
  if (first > last) throw new ModelError(`cannot flatten axes ${first} to ${last} of ${typeText(x.type)}`);
  const { shape } = x.type;
  return reshapeTo(x, [...shape.slice(0, first), productOf(shape.slice(first, last + 1)), ...shape.slice(last + 1)]);
}

/** Axes reordered, negative ones counted from the end; nothing is made for the identity. */
export function permute(x: Value, perm: readonly number[]): Value {
  const axes = listOfAxes(perm).map((p) => normalizeAxis(p, rankOf(x)));
  return axes.length === rankOf(x) && axes.every((p, i) => p === i) ? x : transpose([x], { perm: axes });
}

export function swapAxes(x: Value, a: number, b: number): Value {
  const perm = shapeOf(x).map((_, i) => i);
  const i = normalizeAxis(a, perm.length);
  const j = normalizeAxis(b, perm.length);
  perm[i] = j;
  perm[j] = i;
  return permute(x, perm);
}

/** Axis `from` taken out and put back at position `to` of the result. */
export function moveAxis(x: Value, from: number, to: number): Value {
  const source = normalizeAxis(from, rankOf(x));
  const perm = shapeOf(x)
    .map((_, i) => i)
    .filter((i) => i !== source);
  perm.splice(normalizeAxis(to, rankOf(x)), 0, source);
  return permute(x, perm);
}

// ------------------------------------------------------------------------------------------------------------ slicing

/** `size` elements of one axis from `start` on, `step` apart. A negative start number counts from the end. */
export function sliceAxis(x: Value, axis: number, start: Dim, size: Dim, step = 1): Value {
  const a = normalizeAxis(axis, rankOf(x));
  const length = shapeOf(x)[a]!;
  const first = typeof start === "number" && start < 0 ? dimAdd(length, start) : start;
  if (first === 0 && step === 1 && sameShape([size], [length])) return x;
  return slice([x], {
    starts: shapeOf(x).map((_, i) => (i === a ? first : 0)),
    sizes: shapeOf(x).map((d, i) => (i === a ? size : d)),
    steps: shapeOf(x).map((_, i) => (i === a ? step : 1)),
  });
}

/** One index of an axis, which disappears. */
export const takeAt = (x: Value, axis: number, index: Dim): Value => {
  const a = normalizeAxis(axis, rankOf(x));
  return squeeze(sliceAxis(x, a, index, 1), a);
};

/** Parts along an axis: a number of equal parts, or the size of each. */
export function split(x: Value, axis: number, parts: number | readonly Dim[]): readonly Value[] {
  const length = sizeOf(x, axis);
  if (typeof parts === "number" && dimMod(length, parts) !== 0) {
    throw new ModelError(`axis ${axis} of ${typeText(x.type)} does not split into ${parts} equal parts`);
  }
  const sizes =
    typeof parts === "number" ? new Array<Dim>(parts).fill(dimFloorDiv(length, parts)) : (parts as readonly Dim[]);
  const total = sizes.reduce<Dim>((n, d) => dimAdd(n, d), 0);
  if (typeof dimSub(total, length) === "number" && dimSub(total, length) !== 0) {
    throw new ModelError(`parts [${sizes.map(dimText)}] do not add up to axis ${axis} of ${typeText(x.type)}`);
  }
  let start: Dim = 0;
  return sizes.map((size) => {
    const part = sliceAxis(x, axis, start, size);
    start = dimAdd(start, size);
    return part;
  });
}

function firstOf(parts: readonly Value[], what: string): Value {
  if (!Array.isArray(parts)) throw new ModelError(`${what} takes a list of values, but got ${describe(parts)}`);
  if (parts.length === 0) throw new ModelError(`${what} needs at least one tensor`);
  return requireValue(parts[0]);
}

/** Joined along an axis, counted from the end when negative. */
export function concatenate(parts: readonly Value[], axis: number): Value {
  const first = firstOf(parts, "concatenate");
  return parts.length === 1 ? first : concat(parts, { axis: normalizeAxis(axis, rankOf(first)) });
}

/** Joined along a new axis. */
export function stack(parts: readonly Value[], axis = 0): Value {
  const first = firstOf(parts, "stack");
  const a = normalizeAxis(axis, rankOf(first) + 1);
  return concatenate(
    parts.map((p) => expandDims(p, a)),
    a,
  );
}

/** Order of the elements reversed along axes. */
export function flip(x: Value, ...axes: readonly number[]): Value {
  const at = normalizeAxes(axes, rankOf(x));
  if (at.length === 0) return x;
  return slice([x], {
    starts: shapeOf(x).map((d, a) => (at.includes(a) ? dimSub(d, 1) : 0)),
    sizes: shapeOf(x),
    steps: shapeOf(x).map((_, a) => (at.includes(a) ? -1 : 1)),
  });
}

/** Elements moved `shift` places towards higher indices along an axis; what leaves at the end enters at the start. */
export function roll(x: Value, shift: number, axis: number): Value {
  const length = staticSize(x, axis, "an axis to roll");
  const by = length === 0 ? 0 : ((shift % length) + length) % length;
  if (by === 0) return x;
  return concatenate([sliceAxis(x, axis, length - by, by), sliceAxis(x, axis, 0, length - by)], axis);
}

/** x repeated as a whole, `repeats[i]` times along axis i. Missing leading axes count as size 1. */
export function tile(x: Value, repeats: readonly Dim[]): Value {
  const rank = Math.max(rankOf(x), repeats.length);
  const own = [...new Array<Dim>(rank - rankOf(x)).fill(1), ...shapeOf(x)];
  const times = [...new Array<Dim>(rank - repeats.length).fill(1), ...repeats];
  const spread = broadcast([reshapeTo(x, own)], {
    shape: own.flatMap((d, a) => [times[a]!, d]),
    axes: own.map((_, a) => 2 * a + 1),
  });
  return reshapeTo(
    spread,
    own.map((d, a) => dimMul(d, times[a]!)),
  );
}

/** Each element repeated in place along an axis. */
export function repeatElements(x: Value, count: Dim, axis: number): Value {
  const a = normalizeAxis(axis, rankOf(x));
  const shape = shapeOf(x);
  const spread = broadcast([x], {
    shape: [...shape.slice(0, a + 1), count, ...shape.slice(a + 1)],
    axes: shape.map((_, i) => (i <= a ? i : i + 1)),
  });
  return reshapeTo(
    spread,
    shape.map((d, i) => (i === a ? dimMul(d, count) : d)),
  );
}

/** A constant around x: `low` before and `high` after each axis. Negative amounts cut off, also where only a run tells. */
export function padConstant(x: Value, low: readonly Dim[], high: readonly Dim[], value = 0): Value {
  const cut = (d: Dim) => dimNeg(dimMin(d, 0));
  const added = (d: Dim) => dimMax(d, 0);
  let inner = x;
  shapeOf(x).forEach((d, a) => {
    const [before, after] = [cut(low[a]!), cut(high[a]!)];
    inner = sliceAxis(inner, a, before, dimSub(d, dimAdd(before, after)));
  });
  if ([...low, ...high].every((d) => added(d) === 0)) return inner;
  const interior = low.map(() => 0);
  return pad([inner], { low: low.map(added), high: high.map(added), interior, value });
}

// --------------------------------------------------------------------------------------------------------- reductions

export interface ReduceOptions {
  readonly keepDims?: boolean;
}

type Axes = readonly number[] | number | undefined;

/** Axes as a sorted list; all of them when none are named. */
export function axesOf(x: Value, axes: Axes): readonly number[] {
  if (axes === undefined) return shapeOf(x).map((_, a) => a);
  return normalizeAxes(typeof axes === "number" ? [axes] : axes, rankOf(x));
}

export const sum = (x: Value, axes?: Axes, { keepDims = false }: ReduceOptions = {}): Value =>
  sumOp([x], { axes: axesOf(x, axes), keepDims });
/** The adjoint of `broadcastTo`: sums over what it repeats of a value of that shape. */
export const sumToShape = (x: Value, shape: Shape): Value =>
  unbroadcast(x, shape, { shape: shapeOf(x), axes: shape.map((_, a) => a + rankOf(x) - shape.length) });
export const amax = (x: Value, axes?: Axes, { keepDims = false }: ReduceOptions = {}): Value =>
  reduceMax([x], { axes: axesOf(x, axes), keepDims });
export const amin = (x: Value, axes?: Axes, { keepDims = false }: ReduceOptions = {}): Value =>
  reduceMin([x], { axes: axesOf(x, axes), keepDims });

/** A dimension as a rank-0 tensor of a dtype: a constant when it is known now. */
export function dimScalar(d: Dim, dtype: DType): Value {
  return typeof d === "number" ? scalarConstant(dtype, d) : asType(dimSize([], { size: d }), dtype);
}

/** Number of elements that a reduction over these axes sums up. */
export const reducedCount = (x: Value, axes: readonly number[]): Dim => productOf(axes.map((a) => shapeOf(x)[a]!));

/** Arithmetic mean of floats; NaN of nothing. */
export function mean(x: Value, axes?: Axes, options: ReduceOptions = {}): Value {
  if (!isFloat(x.type.dtype)) throw new ModelError({ message: `mean of ${typeText(x.type)}`, hint: "cast to a float" });
  const over = axesOf(x, axes);
  return np.div(sum(x, over, options), dimScalar(reducedCount(x, over), x.type.dtype));
}

/** Variance in two passes; `correction` is subtracted from the count (1: unbiased). */
export function variance(x: Value, axes?: Axes, options: ReduceOptions & { readonly correction?: number } = {}): Value {
  const over = axesOf(x, axes);
  const centred = np.sub(x, mean(x, over, { keepDims: true }));
  const count = dimScalar(dimSub(reducedCount(x, over), options.correction ?? 0), x.type.dtype);
  return np.div(sum(square(centred), over, options), count);
}

/** Euclidean norm. */
export const norm2 = (x: Value, axes?: Axes, options: ReduceOptions = {}): Value =>
  ew.sqrt([sum(square(x), axes, options)]);

// ------------------------------------------------------------------------------------------------------------ indices

/** 1 where the index of the new last axis equals the element, else 0. */
export function oneHot(indices: Value, depth: Dim, dtype: DType): Value {
  const shape = [...shapeOf(indices), depth];
  const counter = iota([], { dtype: dtypeOf(indices), shape, axis: shape.length - 1 });
  return asType(np.eq(expandDims(indices, -1), counter), dtype);
}

/** bool[rows, columns]: true where column ≤ row + offset. */
export function lowerTriangle(rows: Dim, columns: Dim, offset = 0): Value {
  const at = (axis: number) => iota([], { dtype: "i32", shape: [rows, columns], axis });
  return np.le(at(1), np.add(at(0), offset));
}

export { constantLike, full, scalarConstant };
