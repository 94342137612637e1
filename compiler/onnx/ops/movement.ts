/** Ops that move elements: reshape, transpose, slice, join, pad, repeat. */
import {
  asType,
  broadcastTo,
  concatenate,
  dimScalar,
  expandDims,
  full,
  np,
  permute,
  rankOf,
  reshapeTo,
  split,
  sum,
  takeAt,
  tile,
  where,
} from "../../../ir/build.js";
import { type Dim, dimBounds, dimCeilDiv, dimFloorDiv, dimMax, dimMul, dimSub, dimText } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { broadcastShapes } from "../../../ir/infer.js";
import { bindDim } from "../../../ir/ops/dynamic.js";
import { productOf, reshape, slice } from "../../../ir/ops/movement.js";
import { prod } from "../../../ir/ops/reduce.js";
import { dimOf } from "../../../passes/values/index.js";
import { dimVector } from "../build.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";

import { centerCropPad, padRow } from "./pad.js";
import { sliceRow } from "./slice.js";
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
  const sizes = c.since < 13 ? c.attrs.ints("split", undefined) : c.has(1) ? c.dimsWithin(1, () => size) : undefined;
  if (sizes) return split(x, axis, sizes);
  const count = c.since >= 18 ? c.attrs.int("num_outputs", c.node.outputs.length) : c.node.outputs.length;
  const part = dimCeilDiv(size, count);
  const last = dimSub(size, dimMul(part, count - 1));
  if (dimBounds(last).max < 0) throw c.error(`an axis of size ${dimText(size)} does not split into ${count} parts`);
  return split(x, axis, [...Array<Dim>(count - 1).fill(part), last]);
};

const expandRow: ImportOp = (c) => {
  const x = c.input(0);
  return broadcastTo(x, broadcastShapes(x.type.shape, c.dimsWithin(1)));
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
  const repeats = c.dimsWithin(1);
  if (repeats.length !== rankOf(x)) throw c.error(`${repeats.length} repeats were given for ${typeText(x.type)}`);
  return tile(x, repeats);
};

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
