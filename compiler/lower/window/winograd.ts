/** 3×3 convolutions of stride 1 by compiler/kernels/winograd.ts, where it saves more multiplications than its transforms cost. */

import { type Dim, dimAdd, dimBounds, dimMul } from "../../../ir/dim.js";
import { elemBytes } from "../../../ir/loop.js";
import { zeros } from "../../../ir/tensor.js";
import { chooseTile } from "../../kernels/choose-tile.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import {
  winograd,
  winogradPoints,
  winogradScratch,
  winogradTiles,
  winogradWeightChunk,
  winogradWeights,
} from "../../kernels/winograd.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import type { Node } from "../elementwise/structured.js";
import type { Finish } from "../product/epilogue.js";
import { floats, type Geometry, paddedInput } from "./conv-geometry.js";

/** A geometry whose channels are known and fill vectors. */
type Fitting = Geometry & { readonly channels: number; readonly outputs: number };

/** Height and width that stand for an image's where they depend on the input. */
const typicalEdge = 64;

/** Tiles along an edge of the result. */
const tilesOf = (edge: Dim): Dim => ceilDiv(edge, 4);

/**
 * Cycles of one tile: direct, the products need 16·9 multiplications for each pair of channels; here 36, and the transforms
 * about 62 for a channel of input and 50 for one of output. Transforming the weights costs about 30 for a pair of channels.
 */
function isWorth(g: Fitting): boolean {
  const typical = (d: Dim): number => {
    const { min, max } = dimBounds(d);
    return Math.min(Math.max(min, typicalEdge), max);
  };
  const tiles = dimBounds(g.images).min * Math.ceil(typical(g.output[1]) / 4) * Math.ceil(typical(g.output[2]) / 4);
  // Pixels of whole tiles that the result does not have are computed in vain.
  const pixels = dimBounds(g.images).min * typical(g.output[1]) * typical(g.output[2]);
  const pairs = g.channels * g.outputs;
  const direct = 1.5 * pixels * pairs;
  const here = tiles * (6 * pairs + 62 * g.channels + 50 * g.outputs) + 30 * pairs;
  return here < 0.9 * direct;
}

/** Whether the convolution's form and sizes suit the kernel. */
export function takesWinograd(node: Node<"conv">, g: Geometry): g is Fitting {
  const fits =
    g.lane === "f32" &&
    node.operands[1]!.def.op === "constant" &&
    g.groups === 1 &&
    g.kernel.join() === "1,3,3" &&
    [...g.stride, ...g.dilation].every((s) => s === 1) &&
    typeof g.channels === "number" &&
    typeof g.outputs === "number" &&
    g.channels % 4 === 0 &&
    g.outputs % 4 === 0;
  return fits && isWorth(g as Fitting);
}

/** Weights [O, 3, 3, C] as panels for each tap, transformed in every run: they would take four times the space in the artefact. */
function transformedWeights(ctx: LowerContext, node: Node<"conv">, g: Fitting, nr: number): View {
  const { def } = node.operands[1]!;
  const { value } = (def as Extract<typeof def, { op: "constant" }>).attrs;
  const length = packedLength(g.channels, g.outputs, nr);
  const taps = ctx.derived(value, `winograd ${nr}`, () => {
    const out = zeros("f32", [9, length]);
    for (let tap = 0; tap < 9; tap++) {
      const at = (k: number, n: number) => (n * 9 + tap) * g.channels + k;
      packBy(floats(value), g.channels, g.outputs, nr, at, floats(out).subarray(tap * length, (tap + 1) * length));
    }
    return out;
  });
  const u = ctx.temp("f32", [winogradPoints, length]);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("winogradWeights", winogradWeights, {}),
    chunks: Math.ceil(length / winogradWeightChunk),
    args: { w: viewArg(taps, "read"), u: viewArg(u, "write"), length },
    loc: node.loc,
  });
  return u;
}

export function emitWinograd(ctx: LowerContext, node: Node<"conv">, g: Fitting, to: View, finish: Finish): void {
  const { loc } = node;
  const tile = chooseTile("f32", { rows: winogradTiles, columns: g.outputs });
  const u = transformedWeights(ctx, node, g, tile.nr);
  const [, outH, outW] = g.output;
  const [tilesH, tilesW] = [tilesOf(outH), tilesOf(outW)];
  const reach = (tiles: Dim): Dim => dimAdd(dimMul(tiles, 4), 2);
  const padded = [1, reach(tilesH), reach(tilesW)] as const;
  const x = paddedInput(ctx, node.operands[0]!, { ...g, padded }, loc);
  const tiles = dimMul(g.images, dimMul(tilesH, tilesW));
  const scratch = elemBytes.f32 * winogradScratch(g.channels, g.outputs);
  const xRow = dimMul(padded[2], g.channels);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("winograd", winograd, {
      ...tile,
      epilogue: finish.epilogue,
      yElem: elemOf[finish.dtype],
      n: g.outputs,
    }),
    chunks: ceilDiv(tiles, winogradTiles),
    args: {
      x: viewArg(x, "read"),
      u: viewArg(u, "read"),
      y: viewArg(to, "write"),
      s: { kind: "scratch", bytes: scratch, perThread: true },
      tiles,
      tilesH,
      tilesW,
      cin: g.channels,
      outH,
      outW,
      xRow,
      xImage: dimMul(padded[1], xRow),
      uPlane: packedLength(g.channels, g.outputs, tile.nr),
    },
    epilogue: finish.args,
    loc,
  });
}
