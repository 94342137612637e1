/** Ops that move elements: reshape, transpose, slice, join, pad, repeat. */
import {
  asType,
  broadcastTo,
  clamp,
  concatenate,
  dimScalar,
  expandDims,
  full,
  np,
  padConstant,
  permute,
  rankOf,
  reshapeTo,
  sliceAxis,
  split,
  sum,
  takeAt,
  tile,
  where,
} from "../../../ir/build.js";
import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMul,
  dimSub,
  dimText,
} from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { broadcastShapes } from "../../../ir/infer.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { productOf, reshape, slice } from "../../../ir/ops/movement.js";
import { prod } from "../../../ir/ops/reduce.js";
import { dimOf, factOf } from "../../../passes/values/index.js";
import { dimVector } from "../build.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";

/** ONNX's target shape: 0 copies the input's size (unless allowzero), −1 takes what remains. */
export function resolveReshape(c: NodeContext, x: Value, target: readonly Dim[], allowZero: boolean): readonly Dim[] {
  const shape = target.map((d, i) => {
    if (d !== 0 || allowZero) return d;
    const own = x.type.shape[i];
    if (own === undefined)
      throw c.error(
        `the target shape [${target.map(dimText).join(", ")}] copies axis ${i}, which ${typeText(x.type)} does not have`,
      );
    return own;
  });
  const open = shape.indexOf(-1);
  if (open < 0) return shape;
  if (shape.indexOf(-1, open + 1) >= 0)
    throw c.error(`the target shape [${target.map(dimText).join(", ")}] has -1 twice`);
  const total = productOf(x.type.shape);
  const rest = productOf(shape.filter((_, i) => i !== open));
  if (rest === 0)
    throw c.error(
      `-1 in the target shape [${target.map(dimText).join(", ")}] is undetermined, since another size is 0`,
    );
  if (typeof total === "number" && typeof rest === "number" && total % rest !== 0)
    throw c.error(`${typeText(x.type)} does not divide into [${target.map(dimText).join(", ")}]`);
  return shape.map((d, i) => (i === open ? dimFloorDiv(total, rest) : d));
}

/**
 * A target shape that only the running program knows: 0 and −1 are resolved there, each size is then found. What is below −1,
 * −1 for the second time, or a 0 that has no size to copy is negative there, which no size may be.
 */
function runtimeTarget(c: NodeContext, x: Value, allowZero: boolean): readonly Dim[] {
  const given = asType(c.input(1), "i64");
  const length = c.rankOf(given);
  const own = dimVector(Array.from({ length }, (_, i) => x.type.shape[i] ?? -2));
  const copied = allowZero ? given : where(np.eq(given, 0), own, given);
  const isOpen = np.eq(copied, -1);
  const rest = prod([where(isOpen, 1, copied)], { axes: [0], keepDims: false });
  const open = np.div(dimScalar(productOf(x.type.shape), "i64"), np.max(rest, 1));
  const single = np.le(sum(asType(isOpen, "i64")), 1);
  const resolved = where(isOpen, where(single, open, -1), copied);
  const bound = x.type.shape.reduce<Dim>((p, d) => dimMul(p, dimMax(d, 1)), 1);
  return Array.from({ length }, (_, k) => {
    const scalar = takeAt(resolved, 0, k);
    return c.services.findSize("size", bound, (defines) => bindDim([scalar], { defines })).size;
  });
}

const reshapeRow: ImportOp = (c) => {
  const x = c.input(0);
  const allowZero = c.attrs.flag("allowzero", false);
  if (c.since < 5) return reshapeTo(x, resolveReshape(c, x, c.attrs.requiredInts("shape"), allowZero));
  const known = c.facts(1)?.map(dimOf);
  if (!known || known.every((d) => d === undefined)) return reshape([x], { shape: runtimeTarget(c, x, allowZero) });
  const target = c.dimsWithin(1, () => productOf(x.type.shape));
  return reshapeTo(x, resolveReshape(c, x, target, allowZero));
};

const flattenRow: ImportOp = (c) => {
  const x = c.input(0);
  const rank = rankOf(x);
  const axis = c.attrs.int("axis", 1);
  const at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at > rank) throw c.error(`axis ${axis} is outside the ${rank} axes of the input`);
  return reshapeTo(x, [productOf(x.type.shape.slice(0, at)), productOf(x.type.shape.slice(at))]);
};

const axesOfInput = (c: NodeContext) =>
  c.since < 13 ? c.attrs.ints("axes", undefined) : c.optionalInts(1, "the axes");

/** x with the axis cut to its first index, where its size is taken as 1. A size of 0, too, gives one index: the check fails later. */
function cutToOne(c: NodeContext, x: Value, axis: number): Value {
  const d = x.type.shape[axis]!;
  const zero = d === 1 ? undefined : c.services.assumedOne(d);
  if (zero === undefined) return x;
  const one = x.type.shape.map((size, i): Dim => (i === axis ? 1 : size));
  const never = dimBounds(d).min > 0 ? x : concatenate([x, full(x.type.dtype, one, 0)], axis);
  return slice([never], {
    starts: one.map((_, i) => (i === axis ? zero : 0)),
    sizes: one,
    steps: one.map(() => 1),
  });
}

const squeezeRow: ImportOp = (c) => {
  const given = axesOfInput(c);
  const whole = c.input(0);
  const x = (given ? c.axes(given, rankOf(whole)) : []).reduce((v, axis) => cutToOne(c, v, axis), whole);
  const axes = given ? c.axes(given, rankOf(x)) : x.type.shape.flatMap((d, i) => (d === 1 ? [i] : []));
  for (const a of axes) {
    const { min, max } = dimBounds(x.type.shape[a]!);
    if (min > 1 || max < 1)
      throw c.error(`axis ${a} of ${typeText(x.type)} can't be squeezed, since its size is not 1`);
  }
  return reshapeTo(
    x,
    x.type.shape.filter((_, i) => !axes.includes(i)),
  );
};

const unsqueezeRow: ImportOp = (c) => {
  const x = c.input(0);
  const given = axesOfInput(c);
  if (!given) throw c.error("the axes are missing");
  const axes = c.axes(given, rankOf(x) + given.length);
  return axes.length === 0 ? x : expandDims(x, ...axes);
};

const transposeRow: ImportOp = (c) => {
  const x = c.input(0);
  const perm = c.attrs.ints("perm", undefined);
  return permute(x, perm ?? x.type.shape.map((_, i) => rankOf(x) - 1 - i));
};

const concatRow: ImportOp = (c) => {
  const values = c.values();
  const [first] = values;
  if (!first) throw c.error("there is nothing to join");
  const axis = c.since < 4 ? c.attrs.int("axis", 1) : c.attrs.requiredInt("axis");
  return concatenate(values, c.axis(axis, rankOf(first)));
};

const splitRow: ImportOp = (c) => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", 0), rankOf(x));
  const size = x.type.shape[axis]!;
  const sizes =
    c.since < 13 ? c.attrs.ints("split", undefined) : c.has(1) ? c.dims(1, "the sizes of the parts") : undefined;
  if (sizes) return split(x, axis, sizes);
  const count = c.since >= 18 ? c.attrs.int("num_outputs", c.node.outputs.length) : c.node.outputs.length;
  const part = dimCeilDiv(size, count);
  const last = dimSub(size, dimMul(part, count - 1));
  if (dimBounds(last).max < 0) throw c.error(`an axis of size ${dimText(size)} does not split into ${count} parts`);
  return split(x, axis, [...Array<Dim>(count - 1).fill(part), last]);
};

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
  const absolute = (d: Dim): Dim =>
    typeof d === "number" ? (d < 0 ? dimAdd(size, d) : d) : dimBounds(d).max < 0 ? dimAdd(size, d) : d;
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
  const find = (v: Value): Dim =>
    dimOf(factOf(v)) ?? c.services.findSize("slice", size, (defines) => bindDim([v], { defines })).size;
  return { first: find(np.max(np.min(from, top), 0)), count: find(length), step: isLong(step, size) ? 1 : step };
}

const sliceRow: ImportOp = (c) => {
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
        : sliceRange(size, start, end, step);
    first[axis] = part.count === 0 ? 0 : part.first;
    counts[axis] = part.count;
    by[axis] = part.step;
  });
  const whole = counts.every((d, a) => by[a] === 1 && first[a] === 0 && dimEqual(d, x.type.shape[a]!));
  return whole ? x : slice([x], { starts: first, sizes: counts, steps: by });
};

const expandRow: ImportOp = (c) => {
  const x = c.input(0);
  return broadcastTo(x, broadcastShapes(x.type.shape, c.dims(1, "the shape")));
};

const tileRow: ImportOp = (c) => {
  const x = c.input(0);
  if (c.since < 6) {
    const axis = c.axis(c.scalar(2, "the axis"), rankOf(x));
    const count = c.scalar(1, "the number of tiles");
    return tile(
      x,
      x.type.shape.map((_, a) => (a === axis ? count : 1)),
    );
  }
  const repeats = c.dims(1, "the repeats");
  if (repeats.length !== rankOf(x)) throw c.error(`${repeats.length} repeats were given for ${typeText(x.type)}`);
  return tile(x, repeats);
};

const MODES = ["constant", "reflect", "edge", "wrap"] as const;

/** Elements past an edge: mirrored without the edge, the edge repeated, or from the other side. */
export function padAxis(x: Value, axis: number, low: number, high: number, mode: "reflect" | "edge" | "wrap"): Value {
  const size = x.type.shape[axis]!;
  if (mode === "edge") {
    const repeated = (index: Dim, count: number) => {
      const shape = x.type.shape.map((d, a) => (a === axis ? count : d));
      return broadcastTo(sliceAxis(x, axis, index, 1), shape);
    };
    return concatenate(
      [...(low > 0 ? [repeated(0, low)] : []), x, ...(high > 0 ? [repeated(dimSub(size, 1), high)] : [])],
      axis,
    );
  }
  // One round adds at most a whole period on each side; more takes several rounds.
  const limit = typeof size === "number" ? (mode === "reflect" ? size - 1 : size) : Math.max(low, high);
  if (limit <= 0) return padAxis(x, axis, low, high, "edge");
  let padded = x;
  let [before, after] = [low, high];
  while (before > 0 || after > 0) {
    const now = padded.type.shape[axis]!;
    const most = typeof now === "number" ? (mode === "reflect" ? now - 1 : now) : limit;
    const [b, a] = [Math.min(before, most), Math.min(after, most)];
    const parts: Value[] = [];
    if (mode === "reflect") {
      if (b > 0) parts.push(sliceAxis(padded, axis, b, b, -1));
      parts.push(padded);
      if (a > 0) parts.push(sliceAxis(padded, axis, dimSub(now, 2), a, -1));
    } else {
      if (b > 0) parts.push(sliceAxis(padded, axis, dimSub(now, b), b));
      parts.push(padded);
      if (a > 0) parts.push(sliceAxis(padded, axis, 0, a));
    }
    padded = concatenate(parts, axis);
    before -= b;
    after -= a;
  }
  return padded;
}

const padRow: ImportOp = (c) => {
  const x = c.input(0);
  const rank = rankOf(x);
  const old = c.since < 11;
  const pads = old ? (c.attrs.ints("pads", undefined) ?? c.attrs.requiredInts("paddings")) : c.dims(1, "the pads");
  const given = !old && c.has(3) ? c.ints(3, "the axes") : undefined;
  const axes = given ? given.map((a) => c.axis(a, rank)) : x.type.shape.map((_, i) => i);
  if (pads.length !== 2 * axes.length) throw c.error(`${pads.length} pads were given for ${axes.length} axes`);
  const low: Dim[] = x.type.shape.map(() => 0);
  const high: Dim[] = x.type.shape.map(() => 0);
  axes.forEach((axis, i) => {
    low[axis] = pads[i]!;
    high[axis] = pads[i + axes.length]!;
  });
  const mode = c.attrs.oneOf("mode", MODES, "constant");
  if (mode === "constant") {
    if (old) return padConstant(x, low, high, c.attrs.float("value", 0));
    const fill = c.optional(2);
    const known = fill ? c.constant(2) : undefined;
    if (!fill || known) return padConstant(x, low, high, fill ? c.scalar(2, "the value") : 0);
    return padWithValue(x, low, high, fill);
  }
  let padded = x;
  for (let axis = 0; axis < rank; axis++) {
    const [l, h] = [low[axis]!, high[axis]!];
    if (typeof l !== "number" || typeof h !== "number")
      throw c.error(`padding by the dynamic sizes ${dimText(l)}, ${dimText(h)} works in constant mode only`);
    const none = x.type.shape.map(() => 0);
    const cut = (d: number) => none.map((_, a) => (a === axis ? Math.min(d, 0) : 0));
    if (l < 0 || h < 0) padded = padConstant(padded, cut(l), cut(h));
    if (l > 0 || h > 0) padded = padAxis(padded, axis, Math.max(l, 0), Math.max(h, 0), mode);
  }
  return padded;
};

/** Padding with a value that the program computes. */
function padWithValue(x: Value, low: readonly Dim[], high: readonly Dim[], fill: Value): Value {
  const inside = padConstant(full("u8", x.type.shape, 1), low, high);
  return where(asType(inside, "bool"), padConstant(x, low, high), reshapeTo(fill, []));
}

/** [n, c, h, w] with blocks of channels spread over space. */
export function depthToSpace(x: Value, block: number, mode: "DCR" | "CRD"): Value {
  const [n, c, h, w] = x.type.shape as [Dim, Dim, Dim, Dim];
  const depth = dimFloorDiv(c, block * block);
  const result = [n, depth, dimMul(h, block), dimMul(w, block)];
  if (mode === "DCR")
    return reshapeTo(permute(reshapeTo(x, [n, block, block, depth, h, w]), [0, 3, 4, 1, 5, 2]), result);
  return reshapeTo(permute(reshapeTo(x, [n, depth, block, block, h, w]), [0, 1, 4, 2, 5, 3]), result);
}

const blockRow =
  (build: (c: NodeContext, x: Value, block: number) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    if (rankOf(x) !== 4) throw c.error(`the input should have 4 axes, but is ${typeText(x.type)}`);
    return build(c, x, c.attrs.requiredInt("blocksize"));
  };

const spaceToDepth = (x: Value, block: number, mode: "DCR" | "CRD"): Value => {
  const [n, c, h, w] = x.type.shape as [Dim, Dim, Dim, Dim];
  const [rows, columns] = [dimFloorDiv(h, block), dimFloorDiv(w, block)];
  const order = mode === "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4];
  const parts = permute(reshapeTo(x, [n, c, rows, block, columns, block]), order);
  return reshapeTo(parts, [n, dimMul(c, block * block), rows, columns]);
};

const centerCropPad: ImportOp = (c) => {
  let x = c.input(0);
  const target = c.dims(1, "the shape");
  const axes = c.attrs.ints("axes", undefined) ?? x.type.shape.map((_, i) => i);
  if (axes.length !== target.length) throw c.error(`the shape has ${target.length} sizes for ${axes.length} axes`);
  axes.forEach((given, i) => {
    const axis = c.axis(given, rankOf(x));
    const [size, want] = [x.type.shape[axis]!, target[i]!];
    if (typeof size !== "number" || typeof want !== "number")
      throw c.error(`cropping or padding ${dimText(size)} to ${dimText(want)} needs fixed sizes`);
    if (want < size) x = sliceAxis(x, axis, Math.floor((size - want) / 2), want);
    else if (want > size) {
      const before = Math.floor((want - size) / 2);
      const amounts = (n: number) => x.type.shape.map((_, a) => (a === axis ? n : 0));
      x = padConstant(x, amounts(before), amounts(want - size - before));
    }
  });
  return x;
};

export const movement = {
  Reshape: reshapeRow,
  Flatten: flattenRow,
  Squeeze: squeezeRow,
  Unsqueeze: unsqueezeRow,
  Transpose: transposeRow,
  Concat: concatRow,
  Split: splitRow,
  Slice: sliceRow,
  Expand: expandRow,
  Tile: tileRow,
  Pad: padRow,
  DepthToSpace: blockRow((c, x, block) => depthToSpace(x, block, c.attrs.oneOf("mode", ["DCR", "CRD"], "DCR"))),
  SpaceToDepth: blockRow((c, x, block) => spaceToDepth(x, block, c.attrs.oneOf("mode", ["DCR", "CRD"], "DCR"))),
  CenterCropPad: centerCropPad,
} as const satisfies Readonly<Record<string, OpRow>>;
