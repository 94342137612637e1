/** Depthwise convolution: a group a channel. And groups of two channels, which are much the same. */

import { type Dim, dimEqual, dimMul } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { channelPairs, channelPairWeights } from "../../kernels/channel-pairs.js";
import { type DepthwiseSpec, depthwise } from "../../kernels/depthwise.js";
import { depthwisePairs } from "../../kernels/depthwise-pairs.js";
import type { Kernel } from "../../kernels/kernel.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish } from "../core/kernel-row.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { Place } from "../core/place.js";
import { emitMap, iterate } from "../elementwise/map.js";
import type { Node } from "../elementwise/structured.js";
import { floats, type Geometry, taps } from "./conv-geometry.js";

export const isDepthwise = (g: Geometry): g is Geometry => g.groups > 1 && g.cPer === 1 && dimEqual(g.oPer, 1);

/** Groups of two channels that give two, by weights that are known. */
export const isChannelPairs = (g: Geometry, w: Value): g is Geometry<"f32" | "f64"> =>
  g.groups > 1 && g.cPer === 2 && g.oPer === 2 && g.lane !== "i16pair" && w.def.op === "constant";

export function emitDepthwise(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish): void {
  const w = node.operands[1]!;
  // [C, …taps, 1] to [taps, C].
  const weights = transposed(ctx, w, [g.outputs, taps(g)], node.loc);
  const spec = specOf(g, finish);
  const kernel =
    g.lane === "i16pair"
      ? ctx.pool.kernel("depthwisePairs", depthwisePairs, { ...spec, wElem: w.type.dtype === "i8" ? "i8" : "i16" })
      : ctx.pool.kernel("depthwise", depthwise, { ...spec, elem: g.lane });
  add(ctx, node, g, kernel, weights, to, finish);
}

export function emitChannelPairs(
  ctx: LowerContext,
  node: Node<"conv">,
  g: Geometry<"f32" | "f64">,
  to: View,
  finish: Finish,
): void {
  const { def } = node.operands[1]!;
  if (def.op !== "constant") throw new InternalError("weights of channel pairs are constants");
  const { value } = def.attrs;
  const channels = 2 * g.groups;
  const type = [value.dtype, [taps(g), 2, channels]] as const;
  const weights = ctx.derived(value, "channel pairs", type, (out) => {
    channelPairWeights(floats(value), channels, taps(g), floats(out));
  });
  const kernel = ctx.pool.kernel("channelPairs", channelPairs, { ...specOf(g, finish), elem: g.lane });
  add(ctx, node, g, kernel, weights, to, finish);
}

function specOf(g: Geometry, finish: Finish): Omit<DepthwiseSpec, "elem"> {
  return {
    yElem: elemOf[finish.dtype],
    window: g.kernel,
    strides: g.stride,
    dilations: g.dilation,
    padLow: g.padLow,
    padHigh: g.padHigh,
    epilogue: finish.epilogue,
  };
}

function add(
  ctx: LowerContext,
  { operands: [x], loc }: Node<"conv">,
  g: Geometry,
  kernel: Kernel,
  weights: View,
  to: View,
  finish: Finish,
): void {
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(g.images, dimMul(g.output[0], g.output[1])),
    args: {
      x: viewArg(ctx.view(x!), "read"),
      w: viewArg(weights, "read"),
      y: viewArg(to, "write"),
      channels: g.channels,
      inD: g.input[0],
      inH: g.input[1],
      inW: g.input[2],
      outD: g.output[0],
      outH: g.output[1],
      outW: g.output[2],
    },
    epilogue: finish.args,
    loc,
  });
}

/** A matrix [rows, columns] as [columns, rows]. */
function transposed(ctx: LowerContext, v: Value, [rows, columns]: readonly [Dim, Dim], loc: string | undefined): View {
  const constant = v.def.op === "constant" ? v.def.attrs.value : undefined;
  if (constant !== undefined && typeof rows === "number" && typeof columns === "number") {
    return ctx.derived(constant, `transpose ${rows} ${columns}`, [constant.dtype, [columns, rows]], ({ data }) => {
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) data[c * rows + r] = constant.data[r * columns + c]!;
    });
  }
  const to = ctx.temp(v.type.dtype, [columns, rows]);
  emitTranspose(ctx, ctx.view(v), to, [rows, columns], loc);
  return to;
}

function emitTranspose(
  ctx: LowerContext,
  from: View,
  to: View,
  [rows, columns]: readonly [Dim, Dim],
  loc: string | undefined,
): void {
  const { dtype } = from.buffer;
  const { loops, index } = iterate([columns, rows]);
  const point = {
    kind: "load",
    view: from,
    dtype,
    at: Place.at([rows, columns], [index[1]!, index[0]!]).flat,
  } as const;
  emitMap(ctx, `${dtype}_transpose`, loops, [{ to, at: Place.at([columns, rows], index).flat, point }], loc);
}
