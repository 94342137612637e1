/** Pools, and sums over windows. */

import { type Dim, dimEqual } from "../../../../ir/dim.js";
import { type DType, intRange, isFloat, isInt } from "../../../../ir/dtype.js";
import { ModelError } from "../../../../ir/errors.js";
import type { Value } from "../../../../ir/graph.js";
import { productOf } from "../../../../ir/ops/movement.js";
import { spatialOf } from "../../../../ir/ops/window-geometry.js";
import { tensorFrom } from "../../../../ir/tensor.js";
import { flag, int, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import { transposedConv } from "./conv.js";
import type { Node, Row, SomeRows } from "./row.js";
import {
  apart,
  channelsFirst,
  firstShape,
  fromDoubles,
  inLayout,
  padded,
  statedPads,
  throughDoubles,
  windowAttrs,
} from "./window.js";

/** ONNX pools floats and bytes; other integers go through doubles where these hold them. */
function pooledType(dtype: DType): DType {
  return /^[iu]8$/.test(dtype) ? dtype : throughDoubles(dtype, "max pool");
}

const lowest = (e: Emitter, dtype: DType): Ref =>
  e.scalar(dtype, isInt(dtype) ? intRange(dtype).min : Number.NEGATIVE_INFINITY);

const maxPool: Row<"maxPool"> = (e, node) => {
  const x = node.operands[0]!;
  const { attrs } = node;
  const rank = x.type.shape.length;
  const { dtype } = x.type;
  const through = pooledType(dtype);
  const wanted = e.uses(node.results[1]!) > 0;
  const image = padded(
    e,
    channelsFirst(e, e.cast(e.ref(x), dtype, through), rank, attrs.layout),
    attrs,
    () => lowest(e, through),
    attrs.window,
  );
  if (wanted && !image.stated)
    throw new ModelError({
      message: "ONNX has no positions of a max pool whose padding is negative, symbolic or not below the window",
      hint: "pad before the pool",
    });
  const [y, flat] = e.ops("MaxPool", [image.x], windowAttrs(attrs.window, attrs, image.pads), wanted ? 2 : 1);
  const values = inLayout(e, fromDoubles(e, y!, through, dtype), rank, attrs.layout);
  if (!flat) return [values];
  // ONNX counts through the whole tensor, the IR within a plane.
  const plane = e.sizes.dim(productOf(spatialOf(x.type.shape, attrs.layout)));
  const within = e.cast(e.op("Mod", [flat, plane], { fmod: int(1) }), "i64", "i32");
  return [values, inLayout(e, within, rank, attrs.layout)];
};

interface Planes {
  /** Indices within a plane, those that are −1 as 0; [N, C, positions]. */
  readonly indices: Ref;
  readonly valid: Ref;
}

function planes(e: Emitter, indices: Value, layout: "channelsFirst" | "channelsLast"): Planes {
  const { shape, dtype } = indices.type;
  const [n, c, ...spatial] = firstShape(shape, layout) as [Dim, Dim, ...Dim[]];
  const first = channelsFirst(e, e.cast(e.ref(indices), dtype, "i64"), shape.length, layout);
  const flat = e.reshape(first, [n, c, productOf(spatial)]);
  const zero = e.scalar("i64", 0);
  return { indices: e.op("Max", [flat, zero]), valid: e.op("GreaterOrEqual", [flat, zero]) };
}

/** [N, C, …] or [N, …, C] as [N, C, positions]. */
function flattened(e: Emitter, v: Value, layout: "channelsFirst" | "channelsLast"): Ref {
  const [n, c, ...spatial] = firstShape(v.type.shape, layout) as [Dim, Dim, ...Dim[]];
  return e.reshape(channelsFirst(e, e.ref(v), v.type.shape.length, layout), [n, c, productOf(spatial)]);
}

const maxPoolGrad: Row<"maxPoolGrad"> = (e, node) => {
  const [dy, indices] = node.operands as [Value, Value];
  const { layout, inputSize } = node.attrs;
  const { dtype } = dy.type;
  const [n, c] = firstShape(dy.type.shape, layout) as [Dim, Dim];
  const at = planes(e, indices, layout);
  const updates = e.op("Where", [at.valid, flattened(e, dy, layout), e.scalar(dtype, 0)]);
  const empty = e.op("Expand", [e.scalar(dtype, 0), e.sizes.shape([n, c, productOf(inputSize)])]);
  const sum = e.op("ScatterElements", [empty, at.indices, updates], {
    axis: int(2),
    reduction: { kind: "string", value: "add" },
  });
  return inLayout(e, e.reshape(sum, [n, c, ...inputSize]), inputSize.length + 2, layout);
};

const maxPoolGather: Row<"maxPoolGather"> = (e, node) => {
  const [x, indices] = node.operands as [Value, Value];
  const { layout } = node.attrs;
  const at = planes(e, indices, layout);
  const found = e.op("GatherElements", [flattened(e, x, layout), at.indices], { axis: int(2) });
  const kept = e.op("Where", [at.valid, found, e.scalar(x.type.dtype, 0)]);
  const shape = firstShape(indices.type.shape, layout);
  return inLayout(e, e.reshape(kept, shape), shape.length, layout);
};

const onesOf = (e: Emitter, dtype: DType, window: readonly number[]): Ref => {
  const count = window.reduce((p, d) => p * d, 1);
  return e.constant(tensorFrom(dtype, [1, 1, ...window], new Array<number>(count).fill(1)));
};

/** A convolution of each channel by itself with a kernel of ones. */
const windowSum: Row<"windowSum"> = (e, node) => {
  const x = node.operands[0]!;
  const { attrs } = node;
  const { dtype } = x.type;
  const rank = x.type.shape.length;
  const through = throughDoubles(dtype, "sum over windows");
  const first = channelsFirst(e, e.cast(e.ref(x), dtype, through), rank, attrs.layout);
  const single = e.reshape(first, apart(firstShape(x.type.shape, attrs.layout)));
  const image = padded(e, single, attrs, () => e.scalar(through, 0));
  const sums = e.op("Conv", [image.x, onesOf(e, through, attrs.window)], windowAttrs(attrs.window, attrs, image.pads));
  const shape = firstShape(node.results[0]!.type.shape, attrs.layout);
  return inLayout(e, fromDoubles(e, e.reshape(sums, shape), through, dtype), rank, attrs.layout);
};

const windowSumGrad: Row<"windowSumGrad"> = (e, node) => {
  const dy = node.operands[0]!;
  const { attrs } = node;
  const { dtype } = dy.type;
  const rank = dy.type.shape.length;
  const through = throughDoubles(dtype, "sum over windows");
  const [n, c, ...spatial] = firstShape(dy.type.shape, attrs.layout) as [Dim, Dim, ...Dim[]];
  const first = channelsFirst(e, e.cast(e.ref(dy), dtype, through), rank, attrs.layout);
  const sums = transposedConv(e, e.reshape(first, apart([n, c, ...spatial])), onesOf(e, through, attrs.window), {
    ...attrs,
    kernel: attrs.window,
    spatial,
    size: attrs.inputSize,
    groups: 1,
    dtype: through,
  });
  const shape = [n, c, ...attrs.inputSize];
  return inLayout(e, fromDoubles(e, e.reshape(sums, shape), through, dtype), rank, attrs.layout);
};

/** Whether rounding up is what made the overhang: ONNX's ceil_mode, which drops windows that start in the padding. */
function roundsUp({ attrs, operands, results }: Node<"averagePool">, stated: readonly number[]): boolean {
  const { layout, window, dilations, strides, padLow } = attrs;
  return spatialOf(operands[0]!.type.shape, layout).every((d, a) => {
    const low = padLow[a];
    if (typeof d !== "number" || typeof low !== "number") return false;
    const reach = dilations[a]! * (window[a]! - 1) + 1;
    let count = Math.ceil((d + low + stated[a]! - reach) / strides[a]!) + 1;
    if ((count - 1) * strides[a]! >= d + low) count--;
    return dimEqual(count, spatialOf(results[0]!.type.shape, layout)[a]!);
  });
}

const averagePool: Row<"averagePool"> = (e, node) => {
  const { attrs } = node;
  const { window, layout, countPadding, overhang, padLow, padHigh } = attrs;
  const rounded = countPadding && overhang.some((d) => d !== 0);
  const high = padHigh.map((p, a) =>
    rounded && typeof p === "number" && typeof overhang[a] === "number" ? p - overhang[a] : p,
  );
  const pads = [...padLow, ...high];
  // ONNX Runtime refuses padding that is not below the window.
  const small = statedPads(pads) && pads.every((p, i) => Number(p) < window[i % window.length]!);
  if (layout !== "channelsFirst" || !small) return e.decompose(node);
  if (rounded && !roundsUp(node, pads.slice(window.length) as readonly number[])) return e.decompose(node);
  if (attrs.dilations.some((d) => d !== 1)) e.model.need(19, "an average pool with dilations", e.loc);
  return e.op("AveragePool", [e.ref(node.operands[0]!)], {
    ...windowAttrs(window, attrs, pads as readonly number[]),
    count_include_pad: flag(countPadding),
    ceil_mode: flag(rounded),
  });
};

const lpPool: Row<"lpPool"> = (e, node) => {
  const { window, layout, padLow, padHigh, p } = node.attrs;
  const pads = [...padLow, ...padHigh];
  const plain = layout === "channelsFirst" && statedPads(pads) && Number.isInteger(p);
  if (!plain || !/^f(32|64)$/.test(node.operands[0]!.type.dtype)) return e.decompose(node);
  return e.op("LpPool", [e.ref(node.operands[0]!)], { ...windowAttrs(window, node.attrs, pads), p: int(p) });
};

const globalAveragePool: Row<"globalAveragePool"> = (e, node) =>
  node.attrs.layout === "channelsFirst" && isFloat(node.operands[0]!.type.dtype)
    ? e.op("GlobalAveragePool", [e.ref(node.operands[0]!)])
    : e.decompose(node);

export const pool = {
  maxPool,
  maxPoolGrad,
  maxPoolGather,
  windowSum,
  windowSumGrad,
  averagePool,
  lpPool,
  globalAveragePool,
} satisfies SomeRows;
