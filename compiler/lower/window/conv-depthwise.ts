/** Depthwise convolution: a group a channel. */

import { type Dim, dimEqual, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { depthwise } from "../../kernels/depthwise.js";
import { depthwisePairs } from "../../kernels/depthwise-pairs.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish } from "../core/kernel-row.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { Place } from "../core/place.js";
import { emitMap, iterate } from "../elementwise/map.js";
import type { Node } from "../elementwise/structured.js";
import { type Geometry, taps } from "./conv-geometry.js";

export const isDepthwise = (g: Geometry): g is Geometry => g.groups > 1 && g.cPer === 1 && dimEqual(g.oPer, 1);

export function emitDepthwise(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish): void {
  const [x, w] = node.operands as [Value, Value];
  // [C, …taps, 1] to [taps, C].
  const weights = transposed(ctx, w, [g.outputs, taps(g)], node.loc);
  const spec = {
    yElem: elemOf[finish.dtype],
    window: g.kernel,
    strides: g.stride,
    dilations: g.dilation,
    padLow: g.padLow,
    padHigh: g.padHigh,
    epilogue: finish.epilogue,
  };
  const kernel =
    g.lane === "i16pair"
      ? ctx.pool.kernel("depthwisePairs", depthwisePairs, { ...spec, wElem: w.type.dtype === "i8" ? "i8" : "i16" })
      : ctx.pool.kernel("depthwise", depthwise, { ...spec, elem: g.lane });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(g.images, dimMul(g.output[0], g.output[1])),
    args: {
      x: viewArg(ctx.view(x), "read"),
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
    loc: node.loc,
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
