/** Convolutions: Conv, ConvTranspose and their integer forms. */
import { expandDims, np, rankOf, reshapeTo, squeeze } from "../../../ir/build.js";
import { type Dim, dimAdd, dimFloorDiv, dimMul, dimSub, dimText } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { convInputGrad, conv as convOp } from "../../../ir/ops/conv.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { inF32 } from "./elementwise.js";
import { convOfDequantized, integerConv } from "./quantized.js";
import { perAxis, perPads, readWindow, type Window } from "./window.js";

/** A bias of one value a channel, on the channel axis of [N, C, …]. */
export function addBias(x: Value, bias: Value | undefined): Value {
  if (!bias) return x;
  return np.add(
    x,
    reshapeTo(
      bias,
      x.type.shape.map((d, i) => (i === 1 ? d : 1)),
    ),
  );
}

function kernelShape(c: NodeContext, w: Value): readonly number[] {
  return w.type.shape.slice(2).map((d) => {
    if (typeof d !== "number")
      throw c.error(`the kernel size of the weight ${typeText(w.type)} is dynamic (${dimText(d)})`);
    return d;
  });
}

function checkRanks(c: NodeContext, x: Value, w: Value): number {
  const axes = rankOf(x) - 2;
  if (axes < 0 || rankOf(w) !== rankOf(x))
    throw c.error(`the input ${typeText(x.type)} and the weight ${typeText(w.type)} don't fit together`);
  return axes;
}

/** Convolution of [N, C, …] with [O, C/g, …], and a bias of [O]. */
export function convolve(c: NodeContext, x: Value, w: Value, bias?: Value): Value {
  const axes = checkRanks(c, x, w);
  const groups = c.attrs.int("group", 1);
  const window = readWindow(c, x.type.shape.slice(2), kernelShape(c, w));
  if (axes === 0) return squeeze(convolveAs(expandDims(x, 2), expandDims(w, 2), bias, unit, groups), 2);
  return convolveAs(x, w, bias, window, groups);
}

const unit: Window = { kernel: [1], strides: [1], dilations: [1], padLow: [0], padHigh: [0] };

/** f16 and bf16 sum in f32 and round once, so that doing it in f32 changes nothing but the speed. */
function convolveAs(
  x: Value,
  w: Value,
  bias: Value | undefined,
  { strides, dilations, padLow, padHigh }: Window,
  groups: number,
): Value {
  const attrs = { strides, dilations, padLow, padHigh, groups, layout: "channelsFirst" as const };
  return inF32([x, w, ...(bias ? [bias] : [])], ([a, b, c]) => addBias(convOp([a!, b!], attrs), c));
}

/** The window of a convolution of x with w. */
export function windowOf(c: NodeContext, x: Value, w: Value): Window {
  checkRanks(c, x, w);
  return readWindow(c, x.type.shape.slice(2), kernelShape(c, w));
}

const convRow: ImportOp = (c) => {
  const [x, w] = [c.input(0), c.input(1)];
  const exact = rankOf(x) > 2 ? convOfDequantized(c, windowOf(c, x, w), c.attrs.int("group", 1)) : undefined;
  return exact ?? convolve(c, x, w, c.optional(2));
};

const convInteger: ImportOp = (c) => {
  const [x, w] = [c.input(0), c.input(1)];
  return integerConv(x, c.optional(2), w, c.optional(3), windowOf(c, x, w), c.attrs.int("group", 1));
};

/** [C, O/g, …k] as the weight [C, …] of a convolution from the output's channels: its adjoint is the transposed convolution. */
const convTranspose: ImportOp = (c) => {
  const [x, w] = [c.input(0), c.input(1)];
  const axes = checkRanks(c, x, w);
  const kernel = kernelShape(c, w);
  const strides = perAxis(c, "strides", axes, 1);
  const dilations = perAxis(c, "dilations", axes, 1);
  const extra = perAxis(c, "output_padding", axes, 0);
  const reach = kernel.map((k, a) => dilations[a]! * (k - 1) + 1);
  const spatial = x.type.shape.slice(2);
  /** Size without padding: every tap of every position. */
  const full = spatial.map((d, a) => dimAdd(dimMul(dimSub(d, 1), strides[a]!), reach[a]! + extra[a]!));
  const auto = c.attrs.oneOf("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"], "NOTSET");
  const given = c.attrs.ints("output_shape", undefined);
  let [padLow, padHigh]: [readonly Dim[], readonly Dim[]] = [spatial.map(() => 0), spatial.map(() => 0)];
  if (given || auto === "SAME_UPPER" || auto === "SAME_LOWER") {
    const wanted = given ? given.slice(-axes) : spatial.map((d, a) => dimMul(d, strides[a]!));
    const total = full.map((f, a) => dimSub(f, wanted[a]!));
    const half = total.map((t) => dimFloorDiv(t, 2));
    const rest = total.map((t, a) => dimSub(t, half[a]!));
    [padLow, padHigh] = auto === "SAME_UPPER" ? [half, rest] : [rest, half];
  } else if (auto === "NOTSET") {
    const pads = perPads(c, axes);
    [padLow, padHigh] = [pads.slice(0, axes), pads.slice(axes)];
  }
  const inputSize = full.map((f, a) => dimSub(dimSub(f, padLow[a]!), padHigh[a]!));
  // The output padding is room that no window of the adjoint reaches: it is cut from the high side.
  const high = padHigh.map((p, a) => dimSub(p, extra[a]!));
  const attrs = {
    strides,
    dilations,
    padLow,
    padHigh: high,
    groups: c.attrs.int("group", 1),
    layout: "channelsFirst" as const,
    inputSize,
  };
  const bias = c.optional(2);
  return inF32([x, w, ...(bias ? [bias] : [])], ([a, b, d]) => addBias(convInputGrad([a!, b!], attrs), d));
};

export const conv = {
  Conv: convRow,
  ConvInteger: convInteger,
  ConvTranspose: convTranspose,
} as const satisfies Readonly<Record<string, OpRow>>;
