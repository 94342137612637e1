/**
 * Convolution in f32, f64 and of i16 over channels-last tensors, by the kernels of compiler/kernels. Other dtypes, channels-first
 * tensors and negative or symbolic padding go to the simple kernels.
 */

import { type Dim, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import type { ConvAttrs } from "../../../ir/ops/conv.js";
import { plainTilesFor, type Tile, tilesFor } from "../../kernels/choose-tile.js";
import { type ConvSpec, conv } from "../../kernels/conv.js";
import { gemm } from "../../kernels/gemm.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import { byteProduct } from "../../kernels/quads.js";
import type { WinogradEdge } from "../../kernels/winograd-forms.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { type Finish, type KernelRow, lastResort, type ResultMatrix, tiledRow } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import { emitPack } from "../core/pack.js";
import { perNode } from "../core/per-node.js";
import { sizeOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";
import { byteArgs, isPairedWeight, type ReadyBytes, readyBytes, readyPairs } from "../product/pairs.js";
import { directCost } from "./conv-cost.js";
import { emitChannelPairs, emitDepthwise, isChannelPairs, isDepthwise } from "./conv-depthwise.js";
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
  pixelProduct,
  readsBeyond,
  segmentArgs,
  taps,
  walkArgs,
} from "./conv-geometry.js";
import { pairedConvWeights, pairedDepth } from "./conv-pairs.js";
import { lowerConvSimple } from "./conv-simple.js";
import { emitWinograd, fitsWinograd, winogradCost, winogradTilesFor } from "./winograd.js";

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
function packedWeights(ctx: LowerContext, w: Value, g: Geometry, nr: number, loc: string | undefined): View {
  const { groups } = g;
  const k = depthOf(g);
  const n = g.oPer;
  if (g.lane === "i16pair") return pairedConvWeights(ctx, w, g, nr);
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
const isPlain = (g: Geometry): g is Geometry =>
  taps(g) === 1 && g.groups === 1 && !isPadded(g) && !readsBeyond(g) && g.stride.every((s) => s === 1);

const isAny = (g: Geometry): g is Geometry => g !== undefined;

/** What the kernels serve: floats, and i16 by constant weights of 8 or 16 bits. */
function servedGeometry(x: Value, w: Value, y: Value, attrs: ConvAttrs): Geometry | undefined {
  if (x.type.dtype !== "i16" || !isPairedWeight(w)) return geometryOf(x, w, y, attrs);
  const g = geometryFor("i16pair", x, w, y, attrs);
  return typeof g?.run === "number" && typeof g.oPer === "number" ? g : undefined;
}

/** Weights as panels, and how deep a group of them is. */
function panelsOf(
  ctx: LowerContext,
  { operands: [, w], loc }: Node<"conv">,
  g: Geometry,
  nr: number,
): { readonly view: View; readonly k: Dim } {
  const stored = packedWeights(ctx, w!, g, nr, loc);
  if (g.lane !== "i16pair") return { view: stored, k: depthOf(g) };
  return { view: readyPairs(ctx, w!, stored, matrixOf(g).rows, loc), k: pairedDepth(g) };
}

const knownColumns = (g: Geometry): { readonly n?: number } => (typeof g.oPer === "number" ? { n: g.oPer } : {});

/** The weights of a plain product of bytes, where engines may have an instruction for it. */
function plainBytes(
  ctx: LowerContext,
  { operands, loc }: Node<"conv">,
  g: Geometry,
  nr: number,
): ReadyBytes | undefined {
  const [x, w] = operands as readonly [Value, Value];
  const { lane, channels: k, oPer: n } = g;
  if (lane !== "i16pair" || typeof k !== "number" || typeof n !== "number") return undefined;
  const { rows } = matrixOf(g);
  return readyBytes(ctx, x, w, packedWeights(ctx, w, g, nr, loc), { rows, k, n, nr }, loc);
}

function emitPlain(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish, tile: Tile): void {
  const { rows } = matrixOf(g);
  const bytes = plainBytes(ctx, node, g, tile.nr);
  const packed = bytes?.view ?? panelsOf(ctx, node, g, tile.nr).view;
  const spec = { ...tile, epilogue: finish.epilogue, cElem: elemOf[finish.dtype], ...knownColumns(g) };
  const kernel = bytes
    ? ctx.pool.kernel("byteProduct", byteProduct, spec)
    : ctx.pool.kernel("gemm", gemm, {
        ...spec,
        lane: g.lane,
        a: "rows",
        b: "packed",
        bElem: elemOf[packed.buffer.dtype],
      });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(ceilDiv(rows, kernel.chunkRows), ceilDiv(g.outputs, kernel.chunkColumns)),
    args: {
      a: viewArg(ctx.view(node.operands[0]!), "read"),
      b: viewArg(packed, "read"),
      c: viewArg(to, "write"),
      m: rows,
      n: g.outputs,
      k: g.channels,
      aRow: g.channels,
      aColumn: 1,
      bRow: tile.nr,
      cRow: g.outputs,
      aBatch: 0,
      bBatch: 0,
      cBatch: 0,
      ...(bytes ? byteArgs(kernel, bytes, g.channels as number) : {}),
    },
    epilogue: finish.args,
    loc: node.loc,
  });
}

/** The convolution of padded x by packed weights, of `k` elements for each output; the pixels of `to` are `pixel` elements apart. */
export function emitDirect(
  ctx: LowerContext,
  x: View,
  { view: packed, k }: { readonly view: View; readonly k: Dim },
  g: Geometry,
  to: { readonly view: View; readonly pixel: Dim },
  finish: Finish,
  tile: Tile,
  loc: string | undefined,
): void {
  const { rows } = matrixOf(g);
  const kernel = ctx.pool.kernel("conv", conv, {
    lane: g.lane,
    ...tile,
    loops: loopsOfSegments(g),
    ...turnOf(g.lane === "i16pair" ? ceilDiv(g.run, 2) : g.run),
    epilogue: finish.epilogue,
    wElem: elemOf[packed.buffer.dtype],
    yElem: elemOf[finish.dtype],
    ...knownColumns(g),
  });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(g.groups, dimMul(ceilDiv(rows, kernel.chunkPixels), ceilDiv(g.oPer, kernel.chunkColumns))),
    args: {
      x: viewArg(x, "read"),
      w: viewArg(packed, "read"),
      y: viewArg(to.view, "write"),
      pixels: rows,
      n: g.oPer,
      groups: g.groups,
      xGroup: g.cPer,
      wGroup: groupLength(k, g.oPer, tile.nr),
      yPixel: to.pixel,
      ...walkArgs(g),
      run: g.run,
      ...segmentArgs(g),
    },
    epilogue: finish.args,
    loc,
  });
}

const geometry = perNode((node: Node<"conv">) =>
  servedGeometry(node.operands[0]!, node.operands[1]!, node.results[0]!, node.attrs),
);

/** A kernel for some geometries. */
interface ConvRow<G extends Geometry> {
  readonly only: (g: Geometry) => g is G;
  readonly tiles: (g: G) => readonly Tile[];
  readonly store: (ctx: LowerContext, node: Node<"conv">, g: G, to: View, finish: Finish, tile: Tile) => void;
  readonly cost?: (g: G, node: Node<"conv">, ctx: LowerContext) => number;
}

function row<G extends Geometry>(name: string, { only, tiles, store, cost }: ConvRow<G>): KernelRow<"conv"> {
  const served = (node: Node<"conv">): G | undefined => {
    const g = geometry(node);
    return g !== undefined && only(g) ? g : undefined;
  };
  return tiledRow<"conv">({
    name,
    serves: (node) => served(node) !== undefined,
    matrix: (node) => matrixOf(served(node)!),
    tiles: (node) => tiles(served(node)!),
    store: (ctx, node, to, finish, tile) => store(ctx, node, served(node)!, to, finish, tile),
    ...(cost ? { cost: (node, ctx) => cost(served(node)!, node, ctx) } : {}),
  });
}

const depthwise: KernelRow<"conv"> = {
  name: "depthwise",
  serves: (node) => {
    const g = geometry(node);
    return g !== undefined && isDepthwise(g);
  },
  matrix: (node) => matrixOf(geometry(node)!),
  store: (ctx, node, to, finish) => emitDepthwise(ctx, node, geometry(node)!, to, finish),
};

const channelPairs: KernelRow<"conv"> = {
  name: "channelPairs",
  serves: (node) => {
    const g = geometry(node);
    return g !== undefined && isChannelPairs(g, node.operands[1]!);
  },
  matrix: (node) => matrixOf(geometry(node)!),
  store: (ctx, node, to, finish) => emitChannelPairs(ctx, node, geometry(node) as Geometry<"f32" | "f64">, to, finish),
};

const winogradRow = (name: string, edge: WinogradEdge): KernelRow<"conv"> =>
  row(name, {
    only: fitsWinograd,
    tiles: (g) => winogradTilesFor(g, edge),
    store: (ctx, { operands: [x, w], loc }, g, to, finish, tile) =>
      emitWinograd(ctx, [x!, w!], g, edge, "forward", to, finish, tile, loc),
    cost: (g, { operands: [, w] }, ctx) => winogradCost(g, edge, "convolution", ctx.isKept(w!)),
  });

export const convKernels: readonly KernelRow<"conv">[] = [
  depthwise,
  channelPairs,
  row("gemm", { only: isPlain, tiles: (g) => tilesFor(g.lane, pixelProduct(g)), store: emitPlain }),
  winogradRow("winograd", 4),
  winogradRow("winograd2", 2),
  row("direct", {
    only: isAny,
    tiles: (g) => plainTilesFor(g.lane, pixelProduct(g)),
    store: (ctx, node, g, to, finish, tile) => {
      const panels = panelsOf(ctx, node, g, tile.nr);
      const x = paddedInput(ctx, node.operands[0]!, g, node.loc);
      emitDirect(ctx, x, panels, g, { view: to, pixel: g.outputs }, finish, tile, node.loc);
    },
    cost: (g) => directCost(g, "convolution"),
  }),
  { name: "loops", cost: lastResort, lower: lowerConvSimple },
];
