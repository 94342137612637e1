/** Slice: the range that starts, ends and steps name along each axis. */

import { asType, clamp, dimScalar, np, rankOf, takeAt, where } from "../../../ir/build.js";
import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimEqual,
  dimMax,
  dimMin,
  dimMul,
  dimNeg,
  dimSub,
  dimSubstitute,
  dimSymbol,
  dimSymbols,
  isNeverNegative,
} from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { slice } from "../../../ir/ops/movement.js";
import { dimOf, factOf } from "../../../passes/values/index.js";
import type { ImportOp, NodeContext } from "../context.js";
import { sizeWithin } from "../context.js";

/** Sizes fit an i32: a step of this much never takes a second element. */
const LONGEST_AXIS = 2 ** 31 - 1;

/** Whether a step reaches past any second element. */
const isLong = (step: number, size: Dim): boolean => Math.abs(step) >= Math.min(dimBounds(size).max, LONGEST_AXIS);

interface SliceRange {
  readonly first: Dim;
  readonly count: Dim;
  readonly step: number;
}

/** A step that reaches past the axis, as one that takes the same elements and stays small: the axis ends after the first. */
function sliceRange(size: Dim, start: Dim, end: Dim, step: number): SliceRange {
  if (!isLong(step, size)) return { ...rangeOf(size, start, end, step), step };
  const { first, count } = rangeOf(size, start, end, Math.sign(step));
  return { first, count: dimMin(count, 1), step: 1 };
}

/** The first index and number of elements of ONNX's slice along one axis. */
function rangeOf(size: Dim, start: Dim, end: Dim, step: number): { first: Dim; count: Dim } {
  // Negative positions count from the end; then both are limited to the axis.
  const absolute = (d: Dim): Dim => {
    if (isNeverNegative(d)) return d;
    return dimAdd(d, dimBounds(d).max < 0 ? size : dimMul(size, dimMin(dimMax(dimNeg(d), 0), 1)));
  };
  // No axis has 10⁹ elements: such positions say "to the end".
  const limit = (d: Dim, low: Dim, high: Dim): Dim =>
    typeof d === "number" && d >= 1e9 ? high : dimMin(dimMax(d, low), high);
  if (step > 0) {
    const first = limit(absolute(start), 0, size);
    const last = limit(absolute(end), 0, size);
    return { first, count: dimMax(dimCeilDiv(dimSub(last, first), step), 0) };
  }
  const top = dimSub(size, 1);
  const first = limit(absolute(start), 0, top);
  // An end far below −size means "past the first element".
  const last = typeof end === "number" && end <= -1e9 ? -1 : limit(absolute(end), -1, top);
  return { first, count: dimMax(dimCeilDiv(dimSub(first, last), -step), 0) };
}

/** The range of a slice whose start or end only the running program knows; both, and the count, are found there. */
function runtimeRange(c: NodeContext, size: Dim, start: Value, end: Value, step: number): SliceRange {
  const whole = dimScalar(size, "i64");
  const top = np.sub(whole, 1);
  const absolute = (v: Value) => where(np.lt(v, 0), np.add(v, whole), v);
  const forward = step > 0;
  const from = forward ? clamp(absolute(start), 0, whole) : np.min(np.max(absolute(start), 0), top);
  const to = forward ? clamp(absolute(end), 0, whole) : np.min(np.max(absolute(end), -1), top);
  const stride = Math.min(Math.abs(step), LONGEST_AXIS);
  const span = np.max(forward ? np.sub(to, from) : np.sub(from, to), 0);
  const length = np.div(np.add(span, stride - 1), stride);
  const find = (v: Value): Dim => {
    const fact = factOf(v);
    const known = dimOf(fact);
    if (known !== undefined) return known;
    return c.services.findSize("slice", sizeWithin(fact, size), (defines) => bindDim([v], { defines })).size;
  };
  return { first: find(np.max(np.min(from, top), 0)), count: find(length), step: isLong(step, size) ? 1 : step };
}

/** A name that no model gives. */
const LEGAL = "_legal";

/**
 * The range for a size that windows and strides leave of the inputs' sizes, which is taken to be at least 1: the last element is
 * then one element. The slice checks when it runs that what it takes is there. Sizes that may well be 0, found in the data or
 * of caches, are left as they are.
 */
function ofLegalSize<R extends { readonly first: Dim; readonly count: Dim }>(size: Dim, range: (size: Dim) => R): R {
  const { min, max } = dimBounds(size);
  const symbols = [...dimSymbols(size).values()];
  if (min >= 1 || max < 1 || symbols.some((s) => s.bound !== undefined || s.min < 1)) return range(size);
  const made = range(dimSymbol(LEGAL, { max }));
  const back = (d: Dim): Dim => dimSubstitute(d, (s) => (s.name === LEGAL ? size : undefined));
  return { ...made, first: back(made.first), count: back(made.count) };
}

export const sliceRow: ImportOp = (c) => {
  const x = c.input(0);
  const rank = rankOf(x);
  const old = c.since < 10;
  const known = (i: number, name: string): readonly (Dim | undefined)[] => {
    if (old) return c.attrs.requiredInts(name);
    if (typeof c.input(i).type.shape[0] !== "number") throw c.dependsOnData(i, `the ${name}`);
    const facts = c.facts(i);
    return Array.from({ length: c.rankOf(c.input(i)) }, (_, k) => dimOf(facts?.[k]));
  };
  const starts = known(1, "starts");
  const ends = known(2, "ends");
  const axes = (old ? c.attrs.ints("axes", undefined) : c.optionalInts(3, "the axes")) ?? starts.map((_, i) => i);
  const steps = (old ? undefined : c.optionalInts(4, "the steps")) ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length)
    throw c.error(
      `starts, ends, axes and steps differ in length (${starts.length}, ${ends.length}, ${axes.length}, ${steps.length})`,
    );
  const first: Dim[] = x.type.shape.map(() => 0);
  const counts: Dim[] = [...x.type.shape];
  const by: number[] = x.type.shape.map(() => 1);
  axes.forEach((given, i) => {
    const axis = c.axis(given, rank);
    const [size, start, end, step] = [x.type.shape[axis]!, starts[i], ends[i], steps[i]!];
    if (step === 0) throw c.error("a step is 0");
    const at = (input: number) => asType(takeAt(c.input(input), 0, i), "i64");
    const part =
      start === undefined || end === undefined
        ? runtimeRange(c, size, at(1), at(2), step)
        : ofLegalSize(size, (d) => sliceRange(d, start, end, step));
    first[axis] = part.count === 0 ? 0 : part.first;
    counts[axis] = part.count;
    by[axis] = part.step;
  });
  const whole = counts.every((d, a) => by[a] === 1 && first[a] === 0 && dimEqual(d, x.type.shape[a]!));
  return whole ? x : slice([x], { starts: first, sizes: counts, steps: by });
};
