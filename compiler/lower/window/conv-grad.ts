/** The adjoints of convolution in f32 and f64 over channels-last tensors, by the kernels of compiler/kernels. */

import { type Dim, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { plainTilesFor, type Tile } from "../../kernels/choose-tile.js";
import { convInputGradient } from "../../kernels/conv-input-grad.js";
import { convWeightGradient } from "../../kernels/conv-weight-grad.js";
import { packBy, packedLength } from "../../kernels/pack.js";
import { cropKernel } from "../../kernels/pad.js";
import type { View } from "../../schedule.js";
import { type LowerContext, offsetView } from "../core/context.js";
import { type KernelRow, lastResort, plainFinish } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";
import { emitPack } from "../core/pack.js";
import { perNode } from "../core/per-node.js";
import { Place } from "../core/place.js";
import { emitMap, iterate } from "../elementwise/map.js";
import type { Node } from "../elementwise/structured.js";
import { directCost, inputGradCost } from "./conv-cost.js";
import {
  depthOf,
  floats,
  type Geometry,
  geometryOf,
  groupLength,
  heightLoop,
  inputGradProduct,
  isPadded,
  loopsOfSegments,
  padArgs,
  paddedInput,
  paddedShape,
  segmentArgs,
  taps,
  walkArgs,
  weightGradProduct,
} from "./conv-geometry.js";
import { phasesKernel } from "./conv-phases.js";
import { lowerConvInputGradSimple, lowerConvWeightGradSimple } from "./conv-simple.js";
import {
  adjointGeometry,
  emitWinograd,
  emitWinogradGrad,
  fitsWinograd,
  winogradCost,
  winogradGradTilesFor,
  winogradTilesFor,
} from "./winograd.js";

const inputGradGeometry = perNode(({ operands: [dy, w], results: [dx], attrs }: Node<"convInputGrad">) =>
  geometryOf(dx!, w!, dy!, attrs),
);

function lowerConvInputGrad(ctx: LowerContext, node: Node<"convInputGrad">, tile: Tile): void {
  const [dy, w] = node.operands as [Value, Value];
  const dx = node.results[0]!;
  const g = inputGradGeometry(node)!;
  const weights = gradientWeights(ctx, w, g, tile.nr, node.loc);
  const to = ctx.result(dx);
  const target = isPadded(g) ? ctx.temp(g.lane, paddedShape(g)) : to;
  const kernel = ctx.pool.kernel("convInputGradient", convInputGradient, {
    lane: g.lane,
    ...tile,
    loops: loopsOfSegments(g),
    rows: { loop: heightLoop(g), stride: g.stride[1], dilation: g.dilation[1] },
    ...(typeof g.run === "number" ? { n: g.run } : {}),
  });
  addMicroKernel(ctx, {
    kernel,
    chunks: ceilDiv(g.images, kernel.chunkImages),
    args: {
      dy: viewArg(ctx.view(dy), "read"),
      w: viewArg(weights, "read"),
      dx: viewArg(target, "readWrite"),
      images: g.images,
      k: g.oPer,
      groups: g.groups,
      dyGroup: g.oPer,
      dxGroup: g.cPer,
      dyPixel: g.outputs,
      ...walkArgs(g),
      run: g.run,
      ...segmentArgs(g),
    },
    loc: node.loc,
  });
  if (target === to) return;
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("crop", ({ elem }) => cropKernel(elem), { elem: g.lane }),
    chunks: dimMul(g.images, dimMul(g.input[0], g.input[1])),
    args: { padded: viewArg(target, "read"), x: viewArg(to, "write"), ...padArgs(g) },
    loc: node.loc,
  });
}

/** Groups whose weights are packed one by one while running. */
const mostPackedGroups = 8;

/** Whether the weights can be packed: now, as constants of known sizes, or in the run. */
const hasPanels = (w: Value, g: Geometry): boolean =>
  g.groups <= mostPackedGroups ||
  (w.def.op === "constant" && [depthOf(g), g.oPer, g.run].every((d) => typeof d === "number"));

/** Weights [O, …taps, C/g] as panels of [O/g, run] for each group and segment. */
function gradientWeights(
  ctx: LowerContext,
  w: Value,
  g: Geometry<"f32" | "f64">,
  nr: number,
  loc: string | undefined,
): View {
  const { groups, run } = g;
  const k = depthOf(g);
  const segmentCount = taps(g) / g.runTaps;
  const o = g.oPer;
  const constant = w.def.op === "constant" ? w.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof o === "number" && typeof run === "number") {
    const length = packedLength(o, run, nr);
    const type = [constant.dtype, [groups * segmentCount, length]] as const;
    return ctx.derived(constant, `convinputgrad ${groups} ${nr} ${run}`, type, (out) => {
      for (let q = 0; q < groups * segmentCount; q++) {
        const group = Math.floor(q / segmentCount);
        const at = (i: number, j: number) => (group * o + i) * k + (q % segmentCount) * run + j;
        packBy(floats(constant), o, run, nr, at, floats(out).subarray(q * length, (q + 1) * length));
      }
    });
  }
  const length = groupLength(o, run, nr);
  const panels = dimMul(segmentCount, ceilDiv(run, nr));
  const view = ctx.temp(g.lane, [groups * segmentCount, length]);
  for (let group = 0; group < groups; group++) {
    const from = offsetView(ctx.view(w), dimMul(group, dimMul(o, k)));
    const to = offsetView(view, dimMul(group * segmentCount, length));
    emitPack(ctx, { view: from, k: o, n: run, kStride: k, nStride: 1, batch: run }, to, nr, panels, loc);
  }
  return view;
}

/** A turn of the inner loop that divides a row of output pixels. */
function turnOf(row: Dim): { readonly turn?: number } {
  const turn = typeof row === "number" ? [8, 7, 6, 5, 4].find((t) => row % t === 0) : undefined;
  return turn === undefined ? {} : { turn };
}

const weightGradGeometry = perNode(({ operands: [x, dy], results: [dw], attrs }: Node<"convWeightGrad">) =>
  geometryOf(x!, dw!, dy!, attrs),
);

function lowerConvWeightGrad(ctx: LowerContext, node: Node<"convWeightGrad">, tile: Tile): void {
  const [x, dy] = node.operands as [Value, Value];
  const dw = node.results[0]!;
  const g = weightGradGeometry(node)!;
  const k = depthOf(g);
  const sums = ctx.temp(g.lane, [g.groups, k, g.oPer]);
  const kernel = ctx.pool.kernel("convWeightGradient", convWeightGradient, {
    lane: g.lane,
    ...tile,
    loops: loopsOfSegments(g),
    ...turnOf(g.output[2]),
    ...(typeof g.oPer === "number" ? { n: g.oPer } : {}),
  });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(g.groups, ceilDiv(k, kernel.chunkK)),
    args: {
      x: viewArg(paddedInput(ctx, x, g, node.loc), "read"),
      dy: viewArg(ctx.view(dy), "read"),
      dw: viewArg(sums, "readWrite"),
      rows: dimMul(g.images, dimMul(g.output[0], g.output[1])),
      n: g.oPer,
      xGroup: g.cPer,
      dyPixel: g.outputs,
      ...walkArgs(g),
      run: g.run,
      ...segmentArgs(g),
    },
    loc: node.loc,
  });
  // [groups, K, O/g] to [groups, O/g, K].
  const to = ctx.result(dw);
  const target = [g.groups, g.oPer, k];
  const { loops, index } = iterate(target);
  const [group, o, i] = index as [Dim, Dim, Dim];
  const at = Place.at([g.groups, k, g.oPer], [group, i, o]).flat;
  const point = { kind: "load", view: sums, dtype: g.lane, at } as const;
  emitMap(ctx, `${g.lane}_transpose`, loops, [{ to, at: Place.at(target, index).flat, point }], node.loc);
}

/** The input gradient as a convolution of the output's gradient, where that suits Winograd's kernel. */
const adjoint = perNode((node: Node<"convInputGrad">) => {
  const g = inputGradGeometry(node);
  const found = g && adjointGeometry(g);
  return found !== undefined && fitsWinograd(found) ? found : undefined;
});

export const convInputGradKernels: readonly KernelRow<"convInputGrad">[] = [
  phasesKernel,
  {
    name: "winograd",
    serves: (node) => adjoint(node) !== undefined,
    cost: (node, ctx) => winogradCost(adjoint(node)!, 4, "convolution", ctx.isKept(node.operands[1]!)),
    tiles: (node) => winogradTilesFor(adjoint(node)!, 4),
    lower: (ctx, node, tile) => {
      const [dy, w] = node.operands as [Value, Value];
      const dx = node.results[0]!;
      const finish = plainFinish(dx.type.dtype);
      emitWinograd(ctx, [dy, w], adjoint(node)!, 4, "adjoint", ctx.result(dx), finish, tile, node.loc);
    },
  },
  {
    name: "direct",
    serves: (node) => {
      const g = inputGradGeometry(node);
      return g !== undefined && hasPanels(node.operands[1]!, g);
    },
    cost: (node) => inputGradCost(inputGradGeometry(node)!),
    // A pixel of dx sums over taps that lie in several panels, panel by panel: only equal panels give equal bits.
    tiles: (node) => {
      const g = inputGradGeometry(node)!;
      const tiles = plainTilesFor(g.lane, inputGradProduct(g));
      return tiles.filter(({ nr }) => nr === tiles[0]!.nr);
    },
    lower: lowerConvInputGrad,
  },
  { name: "loops", cost: lastResort, lower: lowerConvInputGradSimple },
];

function winogradWeightGrad(node: Node<"convWeightGrad">) {
  const g = weightGradGeometry(node);
  return g !== undefined && fitsWinograd(g) ? g : undefined;
}

export const convWeightGradKernels: readonly KernelRow<"convWeightGrad">[] = [
  {
    name: "winograd",
    serves: (node) => winogradWeightGrad(node) !== undefined,
    cost: (node) => winogradCost(winogradWeightGrad(node)!, 4, "weights"),
    tiles: (node) => winogradGradTilesFor(winogradWeightGrad(node)!),
    lower: (ctx, node, tile) => {
      const [x, dy] = node.operands as [Value, Value];
      emitWinogradGrad(ctx, [x, dy], winogradWeightGrad(node)!, ctx.result(node.results[0]!), tile, node.loc);
    },
  },
  {
    name: "direct",
    serves: (node) => weightGradGeometry(node) !== undefined,
    cost: (node) => directCost(weightGradGeometry(node)!, "weights"),
    tiles: (node) => {
      const g = weightGradGeometry(node)!;
      return plainTilesFor(g.lane, weightGradProduct(g));
    },
    lower: lowerConvWeightGrad,
  },
  { name: "loops", cost: lastResort, lower: lowerConvWeightGradSimple },
];
