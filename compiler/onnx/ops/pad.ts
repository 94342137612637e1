/** Pad and CenterCropPad. */

import {
  asType,
  broadcastTo,
  clamp,
  concatenate,
  dimScalar,
  full,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sliceAxis,
  where,
} from "../../../ir/build.js";
import { type Dim, dimAdd, dimFloorDiv, dimMax, dimMin, dimNeg, dimSub } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { gather } from "../../../ir/ops/indexing.js";
import type { ImportOp } from "../context.js";

const MODES = ["constant", "reflect", "edge", "wrap"] as const;

/** Elements past an edge: mirrored without the edge, the edge repeated, or from the other side. */
function padAxis(x: Value, axis: number, low: number, high: number, mode: "reflect" | "edge" | "wrap"): Value {
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

/** Padding, or cropping, by amounts that only the run knows: for each result position the index it is taken from. */
function padByIndex(x: Value, axis: number, low: Dim, high: Dim, mode: "reflect" | "edge" | "wrap"): Value {
  const size = x.type.shape[axis]!;
  const count = dimAdd(size, dimAdd(low, high));
  const at = np.sub(iota([], { dtype: "i64", shape: [count], axis: 0 }), dimScalar(low, "i64"));
  const last = dimScalar(dimSub(size, 1), "i64");
  if (mode === "edge") return gather([x, clamp(at, 0, last)], { axis });
  // Reflection goes there and back again.
  const period = np.max(mode === "reflect" ? np.mul(last, 2) : dimScalar(size, "i64"), 1);
  const place = np.rem(np.add(np.rem(at, period), period), period);
  return gather([x, mode === "reflect" ? np.min(place, np.sub(period, place)) : place], { axis });
}

export const padRow: ImportOp = (c) => {
  const x = c.input(0);
  const rank = rankOf(x);
  const old = c.since < 11;
  const pads = old ? (c.attrs.ints("pads", undefined) ?? c.attrs.requiredInts("paddings")) : c.dimsWithin(1);
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
    if (typeof l !== "number" || typeof h !== "number") {
      padded = padByIndex(padded, axis, l, h, mode);
      continue;
    }
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

export const centerCropPad: ImportOp = (c) => {
  let x = c.input(0);
  const target = c.dimsWithin(1);
  const axes = c.attrs.ints("axes", undefined) ?? x.type.shape.map((_, i) => i);
  if (axes.length !== target.length) throw c.error(`the shape has ${target.length} sizes for ${axes.length} axes`);
  axes.forEach((given, i) => {
    const axis = c.axis(given, rankOf(x));
    const [size, want] = [x.type.shape[axis]!, target[i]!];
    // The half of an odd difference that is left over is cut, or added, at the end.
    const missing = dimSub(want, size);
    const [cut, added] = [dimFloorDiv(dimMax(dimNeg(missing), 0), 2), dimFloorDiv(dimMax(missing, 0), 2)];
    const kept = dimMin(size, want);
    x = sliceAxis(x, axis, cut, kept);
    const amounts = (d: Dim) => x.type.shape.map((_, a): Dim => (a === axis ? d : 0));
    x = padConstant(x, amounts(added), amounts(dimSub(want, dimAdd(kept, added))));
  });
  return x;
};
