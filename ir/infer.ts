/** Checks that inference functions share. All throw ModelError with what was expected. */

import { describe } from "./describe.js";
import {
  type Dim,
  dimBounds,
  dimDiffers,
  dimEqual,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimSub,
  dimSymbols,
  dimText,
  isNeverNegative,
} from "./dim.js";
import { type DType, isFloat, isInt, isStorageOnly } from "./dtype.js";
import { ModelError } from "./errors.js";
import { type Shape, shapeText, type TensorType, typeText } from "./graph.js";
import { inScope, scope } from "./scope.js";

/** What inference takes for granted about sizes that are not known when compiling; a run checks it. */
export interface Assumption {
  readonly value: Dim;
  readonly must: "be zero" | "not be negative";
  /** For people: which sizes must be what. */
  readonly text: string;
  /** For people: what to do where they are not, if there is more to say than to give other sizes. */
  readonly hint?: string;
}

/** What inference assumes while `body` runs. */
export function recordAssumptions(body: () => void): readonly Assumption[] {
  const found: Assumption[] = [];
  inScope({ assumed: (a) => found.push(a) }, body);
  return found;
}

export function assumeEqual(a: Dim, b: Dim, text?: string): void {
  const { assumed } = scope();
  if (!assumed || dimEqual(a, b)) return;
  assumed({ value: dimSub(a, b), must: "be zero", text: text ?? `${dimText(a)} must equal ${dimText(b)}` });
}

export function assumeZero(value: Dim, text: string): void {
  scope().assumed?.({ value, must: "be zero", text });
}

export function assumeNotNegative(d: Dim, text = `${dimText(d)} must not be negative`, hint?: string): void {
  const { assumed } = scope();
  if (!assumed || isNeverNegative(d)) return;
  assumed({ value: d, must: "not be negative", text, ...(hint === undefined ? {} : { hint }) });
}

/**
 * States that d is at least `bound`: refused where it never is, taken for granted where it always is, else left for the run to
 * check before anything relies on it. `text` says for people what must be so, `hint` what to do where it is not.
 */
export function requireAtLeast(d: Dim, bound: Dim, text?: () => string, hint?: string): void {
  const room = dimSub(d, bound);
  const { min, max } = dimBounds(room);
  if (min >= 0) return;
  const says = text?.() ?? `${dimText(d)} must be at least ${dimText(bound)}`;
  if (max < 0) throw new ModelError(hint === undefined ? says : { message: says, hint });
  assumeNotNegative(room, says, hint);
}

/** The same for d at most `bound`. */
export const requireAtMost = (d: Dim, bound: Dim, text?: () => string, hint?: string): void =>
  requireAtLeast(bound, d, text ?? (() => `${dimText(d)} must be at most ${dimText(bound)}`), hint);

/** States that d is a multiple of `factor`, as `requireAtLeast` does. */
export function requireMultiple(d: Dim, factor: Dim, text: () => string): void {
  const rest = dimMod(d, factor);
  const { min, max } = dimBounds(rest);
  if (min > 0) throw new ModelError(text());
  if (max > 0) assumeZero(rest, text());
}

/** Which dtypes an operand may have. `any` includes the storage-only types. */
export type DTypeClass =
  | "float"
  | "int"
  | "number"
  | "signed"
  | "bool"
  | "logical"
  | "compute"
  | "any"
  | readonly DType[];

const classText: Record<Exclude<DTypeClass, readonly DType[]>, string> = {
  float: "a float type",
  int: "an integer type",
  number: "a float or integer type",
  signed: "a float or signed integer type",
  bool: "bool",
  logical: "bool or an integer type",
  compute: "a type that computes",
  any: "any type",
};

export function isInClass(d: DType, c: DTypeClass): boolean {
  if (typeof c !== "string") return c.includes(d);
  switch (c) {
    case "float":
      return isFloat(d);
    case "int":
      return isInt(d);
    case "number":
      return isFloat(d) || isInt(d);
    case "signed":
      return isFloat(d) || (isInt(d) && d.startsWith("i"));
    case "bool":
      return d === "bool";
    case "logical":
      return d === "bool" || isInt(d);
    case "compute":
      return !isStorageOnly(d);
    case "any":
      return true;
  }
}

export function requireDType(t: TensorType, c: DTypeClass, what = "operand"): TensorType {
  if (!isInClass(t.dtype, c)) {
    throw new ModelError({
      message: `${what} must be of ${typeof c === "string" ? classText[c] : c.join(" or ")}, but is ${typeText(t)}`,
      hint: "cast it first",
    });
  }
  return t;
}

export function requireRank(t: TensorType, rank: number, what = "operand"): TensorType {
  if (t.shape.length !== rank) throw new ModelError(`${what} must have rank ${rank}, but is ${typeText(t)}`);
  return t;
}

/** Same dtype, and shapes that are not provably different. The result takes the more static dims. */
export function requireSameType(types: readonly TensorType[]): TensorType {
  const [first, ...rest] = types;
  if (first === undefined) throw new ModelError("at least one operand is needed");
  let shape = first.shape;
  for (const t of rest) {
    if (t.dtype !== first.dtype) {
      throw new ModelError({
        message: `operands must have one dtype, but are ${types.map(typeText).join(" and ")}`,
        hint: "cast one of them",
      });
    }
    shape = mergeShapes(shape, t.shape);
  }
  return { dtype: first.dtype, shape };
}

/** Shapes that must agree: a static dim wins over a symbolic one that may equal it. */
export function mergeShapes(a: Shape, b: Shape): Shape {
  if (a.length !== b.length) {
    throw new ModelError({
      message: `shapes ${shapeText(a)} and ${shapeText(b)} differ in rank`,
      hint: "broadcast or reshape one of them",
    });
  }
  return a.map((d, i) => mergeDims(d, b[i]!, () => `shapes ${shapeText(a)} and ${shapeText(b)} differ at axis ${i}`));
}

export function mergeDims(
  a: Dim,
  b: Dim,
  describe: () => string = () => `sizes ${dimText(a)} and ${dimText(b)} differ`,
): Dim {
  if (dimEqual(a, b)) return a;
  if (dimDiffers(a, b)) throw new ModelError(describe());
  assumeEqual(a, b);
  return moreStatic(a, b);
}

/** Of two sizes that inference has taken as equal the one that says more: operands state different halves of a shape. */
export const moreStatic = (a: Dim, b: Dim): Dim => (typeof b === "number" ? b : a);

/** Axis in [0, rank), counting from the end when negative. */
export function normalizeAxis(axis: number, rank: number, what = "axis"): number {
  if (!Number.isInteger(axis)) {
    throw new ModelError({
      message: `${what}: expected an integer, got ${describe(axis)}`,
      hint: "axes are arguments by place: F.softmax(x, -1), x.sum(1)",
    });
  }
  if (axis < -rank || axis >= Math.max(rank, 1))
    throw new ModelError(`${what} ${axis} is out of range for rank ${rank}`);
  return axis < 0 ? axis + rank : axis;
}

/** @throws ModelError where it is none; lists come from callers, who may write JavaScript */
export function listOfAxes(axes: readonly number[]): readonly number[] {
  if (Array.isArray(axes)) return axes;
  throw new ModelError({
    message: `expected a list of axes, got ${describe(axes)}`,
    hint: "axes are arguments by place: x.sum([0, 1]), x.permute([0, 2, 1])",
  });
}

/** Axes normalised, distinct and sorted. */
export function normalizeAxes(axes: readonly number[], rank: number): readonly number[] {
  const sorted = listOfAxes(axes)
    .map((a) => normalizeAxis(a, rank))
    .sort((a, b) => a - b);
  if (new Set(sorted).size !== sorted.length) throw new ModelError(`axes [${axes}] name one axis twice`);
  return sorted;
}

/**
 * How an axis of one size becomes one of another by broadcasting: its one element is repeated, it stays the same, or a run
 * decides between these.
 */
export type Stretch = "repeats" | "same" | "either";

const mayBeOne = (d: Dim): boolean => dimBounds(d).min <= 1 && dimBounds(d).max >= 1;

/** Sizes that come from different inputs may well differ; those computed from one another are meant to be equal. */
function areIndependent(a: Dim, b: Dim): boolean {
  const symbols = dimSymbols(a);
  return ![...dimSymbols(b).keys()].some((name) => symbols.has(name));
}

/** How an axis of size d broadcasts to one of size `to`; undefined where it never does. */
export function stretchOf(d: Dim, to: Dim): Stretch | undefined {
  if (dimEqual(d, to)) return "same";
  if (d === 1) return "repeats";
  const isOne = mayBeOne(d) && (areIndependent(d, to) || dimEqual(dimMax(d, to), to));
  if (dimDiffers(d, to)) return isOne ? "repeats" : undefined;
  return isOne && dimBounds(d).min === 1 && dimBounds(to).min >= 1 ? "either" : "same";
}

/** Throws, or leaves for the run to check, what `stretchOf` says. */
export function requireStretch(d: Dim, to: Dim, describe: () => string): void {
  switch (stretchOf(d, to)) {
    case undefined:
      throw new ModelError(describe());
    case "same":
      mergeDims(d, to, describe);
      return;
    case "repeats":
      assumeEqual(d, 1);
      return;
    case "either":
      assumeZero(dimMul(dimSub(d, 1), dimSub(d, to)), `${dimText(d)} must be 1 or ${dimText(to)}`);
  }
}

/** Whether a run decides if the neighbouring elements of a broadcast's result are copies of one. */
export function spreadsLast(from: Shape, to: { readonly shape: Shape; readonly axes: readonly number[] }): boolean {
  const last = to.shape.findLastIndex((d) => d !== 1);
  const i = to.axes.indexOf(last);
  return i >= 0 && stretchOf(from[i]!, to.shape[last]!) === "either";
}

/** The number of elements between neighbours along an axis of size d ≥ 1 that is repeated where d is 1: 0 or 1. */
export const spreadOf = (d: Dim): Dim => dimMin(dimSub(d, 1), 1);

/**
 * Numpy's rule for two dims: equal, or one of them is 1. Symbolic pairs that nothing decides: sizes computed from one another
 * are taken to be equal, those of different inputs may each be 1 in a run.
 */
export function broadcastDims(a: Dim, b: Dim, describe?: () => string): Dim {
  if (a === 1) return b;
  if (b === 1) return a;
  const [fromA, fromB] = [stretchOf(a, b), stretchOf(b, a)];
  if (fromA === "repeats") return b;
  if (fromB === "repeats") return a;
  if (fromA === "either" && fromB === "either") return dimMax(a, b);
  if (fromA === "either") return b;
  if (fromB === "either") return a;
  return mergeDims(a, b, describe);
}

/** Numpy's broadcasting of whole shapes, aligned at the last axis. */
export function broadcastShapes(...shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, axis) => {
    let d: Dim = 1;
    for (const s of shapes) {
      const own = s[axis - (rank - s.length)];
      if (own !== undefined)
        d = broadcastDims(d, own, () => `shapes ${shapes.map(shapeText).join(" and ")} do not broadcast`);
    }
    return d;
  });
}
