/** 3×3 convolutions of stride 1 and their gradients by compiler/kernels/winograd.ts, where it saves more multiplications than its transforms cost. */

import { type Dim, dimAdd, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { elemBytes } from "../../../ir/loop.js";
import { plainTilesFor, type Tile } from "../../kernels/choose-tile.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import {
  winograd,
  winogradPlane,
  winogradScratch,
  winogradWeightChunk,
  winogradWeights,
} from "../../kernels/winograd.js";
import { type WinogradEdge, winogradForms, winogradPoints } from "../../kernels/winograd-forms.js";
import {
  winogradGrad,
  winogradGradPlane,
  winogradGradScratch,
  winogradGradWeights,
  winogradSplitTiles,
} from "../../kernels/winograd-grad.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import { emitPack } from "../core/pack.js";
import { overImages, type Product, typicalEdge } from "./conv-cost.js";
import { floats, type Geometry, paddedInput } from "./conv-geometry.js";

/** A geometry whose channels are known and fill vectors. */
type Fitting = Geometry & { readonly channels: number; readonly outputs: number };

/** Tiles along an edge of the result. */
const tilesOf = (size: Dim, edge: WinogradEdge): Dim => ceilDiv(size, edge);

/** Cycles that transforms take in a tile, for a channel of input and for one of output. */
const transforms: Readonly<Record<WinogradEdge, readonly [input: number, output: number]>> = {
  2: [28, 22],
  4: [62, 50],
};

/**
 * Cycles as measured: the products need 36 multiplications (tiles of 2×2: 16) for each pair of channels in a tile, and the transforms about
 * 62 cycles for a channel of input and 50 for one of output. Each chunk of tiles reads the weights, and they are transformed in each run unless
 * they are kept. The weight gradient is transformed at the end; its sums leave the cache. A tenth is added, for what estimates err by.
 */
export function winogradCost(g: Geometry, edge: WinogradEdge, product: Product, isKept = false): number {
  const { channels, outputs } = g as Fitting;
  const pairs = channels * outputs;
  const points = winogradPoints(edge);
  const leavesCache = points * elemBytes.f32 * pairs > 2 ** 20;
  const [read, transform, sums] = leavesCache ? [35, 55, 110] : [12, 30, 30];
  const [input, output] = transforms[edge];
  return overImages(g, product, (images) => {
    // Pixels of whole tiles that the result does not have are computed in vain.
    const [tilesH, tilesW] = [g.output[1], g.output[2]].map((size) => Math.ceil(typicalEdge(size) / edge));
    const tiles = images * tilesH! * tilesW!;
    const chunks = Math.ceil(tiles / winogradForms[edge].tiles);
    const ofPoints = product === "weights" ? sums : (isKept ? 0 : transform) + read * chunks;
    const ofPair = (points / 36) * (6 * tiles + ofPoints);
    return (tiles * (input * channels + output * outputs) + ofPair * pairs) / 0.9;
  });
}

/** Whether a convolution's form suits the kernel. */
export function fitsWinograd(g: Geometry): g is Fitting {
  return (
    g.lane === "f32" &&
    g.groups === 1 &&
    g.kernel.join() === "1,3,3" &&
    [...g.stride, ...g.dilation].every((s) => s === 1) &&
    g.output[0] === 1 &&
    typeof g.channels === "number" &&
    typeof g.outputs === "number" &&
    g.channels % 4 === 0 &&
    g.outputs % 4 === 0
  );
}

/**
 * The input gradient as a convolution of the output's gradient by the flipped weights, which writes the input's gradient; undefined where it
 * is none.
 */
export function adjointGeometry(g: Geometry): Geometry | undefined {
  const pad = (p: readonly number[]) => [0, 2 - p[1]!, 2 - p[2]!] as const;
  const [padLow, padHigh] = [pad(g.padLow), pad(g.padHigh)];
  if ([...padLow, ...padHigh].some((p) => p < 0)) return undefined;
  const sizes = { channels: g.outputs, cPer: g.oPer, outputs: g.channels, oPer: g.cPer };
  return { ...g, ...sizes, input: g.output, output: g.input, padLow, padHigh };
}

/** Tiles of its products: of tiles of pixels by output channels. */
export const winogradTilesFor = (g: Fitting, edge: WinogradEdge): readonly Tile[] =>
  plainTilesFor("f32", { rows: winogradForms[edge].tiles, columns: g.outputs });

/** Tiles of the weight gradient's: of output by input channels. */
export const winogradGradTilesFor = (g: Fitting): readonly Tile[] =>
  plainTilesFor("f32", { rows: g.outputs, columns: g.channels });

/** How the weights [O, 3, 3, C] serve: as they are, or for the input gradient. */
type Direction = "forward" | "adjoint";

/**
 * The weights as panels for each tap, transformed in the run: they would take two or four times the space in the artefact. `g` is that of the
 * convolution computed.
 */
function transformedWeights(
  ctx: LowerContext,
  w: Value,
  g: Fitting,
  edge: WinogradEdge,
  direction: Direction,
  nr: number,
  loc: string | undefined,
): View {
  const length = packedLength(g.channels, g.outputs, nr);
  // Strides of what is summed over and of what results.
  const [kStride, nStride] = direction === "forward" ? [1, 9 * g.channels] : [9 * g.outputs, 1];
  const batch = direction === "forward" ? g.channels : g.outputs;
  const constant = w.def.op === "constant" ? w.def.attrs.value : undefined;
  const packed = (): View => {
    const view = ctx.temp("f32", [9, length]);
    const unpacked = { view: ctx.view(w), k: g.channels, n: g.outputs, kStride, nStride, batch };
    emitPack(ctx, unpacked, view, nr, 9 * Math.ceil(g.outputs / nr), loc);
    return view;
  };
  const taps = constant
    ? ctx.derived(constant, `winograd ${direction} ${nr}`, ["f32", [9, length]], (out) => {
        for (let tap = 0; tap < 9; tap++) {
          const at = (k: number, n: number) => k * kStride + n * nStride + tap * batch;
          packBy(
            floats(constant),
            g.channels,
            g.outputs,
            nr,
            at,
            floats(out).subarray(tap * length, (tap + 1) * length),
          );
        }
      })
    : packed();
  const u = ctx.temp("f32", [winogradPoints(edge), winogradPlane(length)]);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("winogradWeights", winogradWeights, { edge, flipped: direction === "adjoint" }),
    chunks: Math.ceil(length / winogradWeightChunk),
    args: { w: viewArg(taps, "read"), u: viewArg(u, "write"), length },
    loc,
  });
  return u;
}

/** Numbers of tiles, and the input with its padding to the end of the last. */
function tiled(ctx: LowerContext, x: Value, g: Fitting, edge: WinogradEdge, loc: string | undefined) {
  const [, outH, outW] = g.output;
  const [tilesH, tilesW] = [tilesOf(outH, edge), tilesOf(outW, edge)];
  const reach = (tiles: Dim): Dim => dimAdd(dimMul(tiles, edge), 2);
  const padded = [1, reach(tilesH), reach(tilesW)] as const;
  const xRow = dimMul(padded[2], g.channels);
  return {
    x: viewArg(paddedInput(ctx, x, { ...g, padded }, loc), "read"),
    tiles: dimMul(g.images, dimMul(tilesH, tilesW)),
    tilesH,
    tilesW,
    xRow,
    xImage: dimMul(padded[1], xRow),
  };
}

/** The convolution of x, or (`adjoint`) the input gradient of which x is the output's. */
export function emitWinograd(
  ctx: LowerContext,
  [x, w]: readonly [Value, Value],
  g: Fitting,
  edge: WinogradEdge,
  direction: Direction,
  to: View,
  finish: Finish,
  tile: Tile,
  loc: string | undefined,
): void {
  const u = transformedWeights(ctx, w, g, edge, direction, tile.nr, loc);
  const sizes = tiled(ctx, x, g, edge, loc);
  const scratch = elemBytes.f32 * winogradScratch(edge, g.channels, g.outputs);
  const kernel = ctx.pool.kernel("winograd", winograd, {
    ...tile,
    edge,
    epilogue: finish.epilogue,
    yElem: elemOf[finish.dtype],
    n: g.outputs,
  });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(ceilDiv(sizes.tiles, winogradForms[edge].tiles), kernel.columnBlocks),
    args: {
      ...sizes,
      u: viewArg(u, "read"),
      y: viewArg(to, "write"),
      s: { kind: "scratch", bytes: scratch, perThread: true },
      cin: g.channels,
      outH: g.output[1],
      outW: g.output[2],
      uPlane: winogradPlane(packedLength(g.channels, g.outputs, tile.nr)),
    },
    epilogue: finish.args,
    loc,
  });
}

/** The weight gradient [O, 3, 3, C] from the input and the output's gradient. */
export function emitWinogradGrad(
  ctx: LowerContext,
  [x, dy]: readonly [Value, Value],
  g: Fitting,
  to: View,
  tile: Tile,
  loc: string | undefined,
): void {
  const { channels: cin, outputs: cout } = g;
  const sizes = tiled(ctx, x, g, 4, loc);
  const whole = [1, dimMul(sizes.tilesH, 4), dimMul(sizes.tilesW, 4)] as const;
  const none = [0, 0, 0] as const;
  const pixels = { ...g, channels: cout, input: g.output, padded: whole, padLow: none, padHigh: none };
  const splits = ceilDiv(sizes.tiles, winogradSplitTiles(cin, cout));
  const plane = winogradGradPlane(cin, cout);
  const u = ctx.temp("f32", [splits, winogradPoints(4), plane]);
  const scratch = elemBytes.f32 * winogradGradScratch(cin, cout);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("winogradGrad", winogradGrad, { ...tile, cin, cout }),
    chunks: splits,
    args: {
      ...sizes,
      dy: viewArg(paddedInput(ctx, dy, pixels, loc), "read"),
      u: viewArg(u, "write"),
      s: { kind: "scratch", bytes: scratch, perThread: true },
    },
    loc,
  });
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("winogradGradWeights", winogradGradWeights, {}),
    chunks: cout,
    args: { u: viewArg(u, "read"), dw: viewArg(to, "write"), splits, cin, plane },
    loc,
  });
}
