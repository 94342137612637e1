/**
 * Convolution in f32, f64 and of i16 over channels-last tensors, by the kernels of compiler/kernels. Other dtypes, channels-first
 * tensors and negative or symbolic padding go to the simple kernels.
 */

import { type Dim, dimEqual, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { ConvAttrs } from "../../../ir/ops/conv.js";
import { type ConvSpec, conv } from "../../kernels/conv.js";
import { depthwise } from "../../kernels/depthwise.js";
import { depthwisePairs } from "../../kernels/depthwise-pairs.js";
import { gemm } from "../../kernels/gemm.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import { emitPack } from "../core/pack.js";
import { Place, sizeOf } from "../core/place.js";
import type { Leaf } from "../core/point.js";
import { emitMap, iterate } from "../elementwise/map.js";
import type { Node } from "../elementwise/structured.js";
import { epilogueOf, type Finish, plainFinish, type ResultMatrix } from "../product/epilogue.js";
import { isPairedWeight, readyPairs } from "../product/pairs.js";
import {
  depthOf,
  floats,
  type Geometry,
  geometryFor,
  geometryOf,
  groupLength,
  isPadded,
  loopsOfSegments,
  paddedInput,
  readsBeyond,
  segmentArgs,
  taps,
  walkArgs,
} from "./conv-geometry.js";
import { pairedConvWeights, pairedDepth } from "./conv-pairs.js";
import { lowerConvSimple } from "./conv-simple.js";
import { emitWinograd, takesWinograd } from "./winograd.js";

/** Steps of a run in one turn of the inner loop: one that divides it leaves no rest. */
function turnOf(run: Dim): Pick<ConvSpec, "unroll" | "turns"> {
  if (typeof run !== "number") return { unroll: 4 };
  if (run >= 3 && run <= longestTurn) return { unroll: run, turns: "run" };
  const unroll = [8, 6, 5, 4, 7, 3].find((u) => run % u === 0);
  return unroll === undefined ? { unroll: 4 } : { unroll, turns: "whole" };
}

/** Steps of the longest run that is one turn of the inner loop. */
const longestTurn = 10;

/** Weights [O, …taps, C/g] as panels of [K, O/g] for each group. */
function packedWeights(ctx: LowerContext, w: Value, g: Geometry, loc: string | undefined): View {
  const { groups } = g;
  const { nr } = g.tile;
  const k = depthOf(g);
  const n = g.oPer;
  if (g.lane === "i16pair") return pairedConvWeights(ctx, w, g);
  const constant = w.def.op === "constant" ? w.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof n === "number") {
    const length = packedLength(k, n, nr);
    return ctx.derived(constant, `conv ${groups} ${nr}`, [constant.dtype, [groups, length]], (out) => {
      for (let group = 0; group < groups; group++) {
        const at = (i: number, j: number) => (group * n + j) * k + i;
        packBy(floats(constant), k, n, nr, at, floats(out).subarray(group * length, (group + 1) * length));
      }
    });
  }
  const panels = dimMul(groups, ceilDiv(n, nr));
  const view = ctx.temp(g.lane, [panels, dimMul(k, nr)]);
  emitPack(ctx, { view: ctx.view(w), k, n, kStride: 1, nStride: k, batch: dimMul(n, k) }, view, nr, panels, loc);
  return view;
}

/** Pixels of all images by channels. */
const matrixOf = (g: Geometry): ResultMatrix => ({
  batch: 1,
  rows: dimMul(g.images, sizeOf(g.output)),
  columns: g.outputs,
});

/** A convolution of one tap that sees every pixel once: a plain product. */
const isPlain = (g: Geometry): boolean =>
  taps(g) === 1 && g.groups === 1 && !isPadded(g) && !readsBeyond(g) && g.stride.every((s) => s === 1);

const isDepthwise = (g: Geometry): boolean => g.groups > 1 && g.cPer === 1 && dimEqual(g.oPer, 1);

/** What the kernels serve: floats, and i16 by constant weights of 8 or 16 bits. */
function servedGeometry(x: Value, w: Value, y: Value, attrs: ConvAttrs): Geometry | undefined {
  if (x.type.dtype !== "i16" || !isPairedWeight(w)) return geometryOf(x, w, y, attrs);
  const g = geometryFor("i16pair", x, w, y, attrs);
  return typeof g?.run === "number" && typeof g.oPer === "number" ? g : undefined;
}

function emitConv(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish): void {
  const [x, w] = node.operands as [Value, Value];
  const { loc } = node;
  const y = viewArg(to, "write");
  if (isDepthwise(g)) {
    emitDepthwise(ctx, node, g, to, finish);
    return;
  }
  if (takesWinograd(g, "convolution", ctx.isKept(w))) {
    emitWinograd(ctx, [x, w], g, "forward", to, finish, loc);
    return;
  }
  const { rows } = matrixOf(g);
  const k = g.lane === "i16pair" ? pairedDepth(g) : depthOf(g);
  const n = typeof g.oPer === "number" ? { n: g.oPer } : {};
  const stored = packedWeights(ctx, w, g, loc);
  const packed = g.lane === "i16pair" ? readyPairs(ctx, w, stored, rows, loc) : stored;
  if (isPlain(g)) {
    const kernel = ctx.pool.kernel("gemm", gemm, {
      lane: g.lane,
      a: "rows",
      b: "packed",
      ...g.tile,
      bElem: elemOf[packed.buffer.dtype],
      epilogue: finish.epilogue,
      cElem: elemOf[finish.dtype],
      ...n,
    });
    addMicroKernel(ctx, {
      kernel,
      chunks: dimMul(ceilDiv(rows, kernel.chunkRows), ceilDiv(g.outputs, kernel.chunkColumns)),
      args: {
        a: viewArg(ctx.view(x), "read"),
        b: viewArg(packed, "read"),
        c: y,
        m: rows,
        n: g.outputs,
        k: g.channels,
        aRow: g.channels,
        aColumn: 1,
        bRow: g.tile.nr,
        cRow: g.outputs,
        aBatch: 0,
        bBatch: 0,
        cBatch: 0,
      },
      epilogue: finish.args,
      loc,
    });
    return;
  }
  const kernel = ctx.pool.kernel("conv", conv, {
    lane: g.lane,
    ...g.tile,
    loops: loopsOfSegments(g),
    ...turnOf(g.lane === "i16pair" ? ceilDiv(g.run, 2) : g.run),
    epilogue: finish.epilogue,
    wElem: elemOf[packed.buffer.dtype],
    yElem: elemOf[finish.dtype],
    ...n,
  });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(g.groups, dimMul(ceilDiv(rows, kernel.chunkPixels), ceilDiv(g.oPer, kernel.chunkColumns))),
    args: {
      x: viewArg(paddedInput(ctx, x, g, loc), "read"),
      w: viewArg(packed, "read"),
      y,
      pixels: rows,
      n: g.oPer,
      groups: g.groups,
      xGroup: g.cPer,
      wGroup: groupLength(k, g.oPer, g.tile.nr),
      yPixel: g.outputs,
      ...walkArgs(g),
      run: g.run,
      ...segmentArgs(g),
    },
    epilogue: finish.args,
    loc,
  });
}

function emitDepthwise(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish): void {
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

export function lowerConv(ctx: LowerContext, node: Node<"conv">): void {
  const y = node.results[0]!;
  const g = servedGeometry(node.operands[0]!, node.operands[1]!, y, node.attrs);
  if (g === undefined) lowerConvSimple(ctx, node);
  else emitConv(ctx, node, g, ctx.result(y), plainFinish(y.type.dtype));
}

/** The convolution with what follows it in a fusion, in one kernel; false where that can't be. */
export function lowerConvWithEpilogue(
  ctx: LowerContext,
  node: Node<"conv">,
  output: Value,
  to: View,
  leaf: (v: Value) => Leaf | undefined,
): boolean {
  const y = node.results[0]!;
  const g = servedGeometry(node.operands[0]!, node.operands[1]!, y, node.attrs);
  if (g === undefined) return false;
  const finish = epilogueOf(ctx.pool, y, output, matrixOf(g), leaf);
  if (finish === undefined) return false;
  emitConv(ctx, node, g, to, finish);
  return true;
}
