/**
 * Convolution and its adjoints in f32 and f64 over channels-last tensors, by the kernels of compiler/kernels. Other dtypes,
 * channels-first tensors and negative or symbolic padding go to the simple kernels.
 */

import { type Dim, dimAdd, dimEqual, dimFloorDiv, dimMul } from "../../ir/dim.js";
import type { Value } from "../../ir/graph.js";
import type { ConvAttrs } from "../../ir/ops/conv.js";
import { channelsOf, spatialOf } from "../../ir/ops/window-geometry.js";
import { type Tensor, zeros } from "../../ir/tensor.js";
import { chooseTile, type Tile } from "../kernels/choose-tile.js";
import { conv } from "../kernels/conv.js";
import { convInputGradient } from "../kernels/conv-input-grad.js";
import { convWeightGradient } from "../kernels/conv-weight-grad.js";
import { depthwise } from "../kernels/depthwise.js";
import { gemm } from "../kernels/gemm.js";
import { packBy, packChunkPanels, packedLength, packKernel } from "../kernels/pack.js";
import { cropKernel, padKernel } from "../kernels/pad.js";
import type { Axes } from "../kernels/pool.js";
import type { View } from "../schedule.js";
import { type LowerContext, offsetView } from "./context.js";
import { lowerConvInputGradSimple, lowerConvSimple, lowerConvWeightGradSimple } from "./conv-simple.js";
import { epilogueOf, type Finish, plainFinish, type ResultMatrix } from "./epilogue.js";
import { elemOf } from "./kernel-builder.js";
import { emitMap, iterate } from "./map.js";
import { addMicroKernel, ceilDiv, productSize, viewArg } from "./micro-kernel.js";
import { Place, sizeOf } from "./place.js";
import type { Leaf } from "./point.js";
import type { Node } from "./structured.js";

/** Sizes of a channels-last convolution with its spatial axes filled up to three from the left. */
interface Geometry {
  readonly lane: "f32" | "f64";
  /** Tiles of the convolution (output pixels by output channels), and of its gradients. */
  readonly tile: Tile;
  readonly inputGradTile: Tile;
  readonly weightGradTile: Tile;
  readonly images: Dim;
  readonly channels: Dim;
  /** Input channels of a group. */
  readonly cPer: Dim;
  readonly outputs: Dim;
  /** Output channels of a group. */
  readonly oPer: Dim;
  readonly groups: number;
  readonly input: readonly [Dim, Dim, Dim];
  readonly padded: readonly [Dim, Dim, Dim];
  readonly output: readonly [Dim, Dim, Dim];
  readonly kernel: Axes;
  readonly stride: Axes;
  readonly dilation: Axes;
  readonly padLow: Axes;
  readonly padHigh: Axes;
  /** Neighbouring elements that a pixel sums, and the loops over such runs, innermost first. */
  readonly run: Dim;
  /** Taps in a run. */
  readonly runTaps: number;
  readonly counts: readonly number[];
  readonly steps: readonly Dim[];
}

const fill3 = <T>(list: readonly T[], by: T): readonly [T, T, T] =>
  [...new Array<T>(3 - list.length).fill(by), ...list] as unknown as readonly [T, T, T];

function geometryOf(x: Value, w: Value, y: Value, attrs: ConvAttrs): Geometry | undefined {
  const { dtype } = x.type;
  if ((dtype !== "f32" && dtype !== "f64") || attrs.layout !== "channelsLast") return undefined;
  const known = (d: Dim): d is number => typeof d === "number" && d >= 0;
  if (!attrs.padLow.every(known) || !attrs.padHigh.every(known)) return undefined;
  const channels = channelsOf(x.type.shape, "channelsLast");
  const kernel = fill3(spatialOf(w.type.shape, "channelsLast") as readonly number[], 1);
  const input = fill3(spatialOf(x.type.shape, "channelsLast"), 1);
  const padLow = fill3(attrs.padLow as readonly number[], 0);
  const padHigh = fill3(attrs.padHigh as readonly number[], 0);
  const padded = input.map((d, a) => dimAdd(d, padLow[a]! + padHigh[a]!)) as unknown as readonly [Dim, Dim, Dim];
  const dilation = fill3(attrs.dilations, 1);
  const { groups } = attrs;
  // Taps of a row lie next to one another where nothing is between them.
  const merged = groups === 1 && dilation[2] === 1;
  const counts: number[] = [];
  const steps: Dim[] = [];
  let pitch: Dim = channels;
  for (let a = 2; a >= 0; a--) {
    if (!(merged && a === 2) && kernel[a] !== 1) {
      counts.push(kernel[a]!);
      steps.push(dimMul(dilation[a]!, pitch));
    }
    pitch = dimMul(pitch, padded[a]!);
  }
  if (counts.length === 0) {
    counts.push(1);
    steps.push(0);
  }
  const cPer = dimFloorDiv(channels, groups);
  const outputs = w.type.shape[0]!;
  const oPer = dimFloorDiv(outputs, groups);
  const run = merged ? dimMul(channels, kernel[2]) : cPer;
  const images = x.type.shape[0]!;
  const output = fill3(spatialOf(y.type.shape, "channelsLast"), 1);
  return {
    lane: dtype,
    tile: chooseTile(dtype, productSize(dimMul(images, sizeOf(output)), oPer)),
    // Its rows are images, those of the other are elements of the weights.
    inputGradTile: chooseTile(dtype, productSize(images, run)),
    weightGradTile: chooseTile(dtype, productSize(dimMul(sizeOf(kernel), cPer), oPer)),
    images,
    channels,
    cPer,
    outputs,
    oPer,
    groups,
    input,
    padded,
    output,
    kernel,
    stride: fill3(attrs.strides, 1),
    dilation,
    padLow,
    padHigh,
    run,
    runTaps: merged ? kernel[2] : 1,
    counts,
    steps,
  };
}

const taps = (g: Geometry): number => g.kernel[0] * g.kernel[1] * g.kernel[2];
/** Elements that one output element sums. */
const depthOf = (g: Geometry): Dim => dimMul(taps(g), g.cPer);
const loopsOfSegments = (g: Geometry): 1 | 2 | 3 => g.counts.length as 1 | 2 | 3;
const isPadded = (g: Geometry): boolean => [...g.padLow, ...g.padHigh].some((p) => p !== 0);

const segmentArgs = (g: Geometry): { readonly [name: string]: Dim } =>
  Object.fromEntries(g.counts.flatMap((c, i) => [[`count${i}`, c] as const, [`segment${i}`, g.steps[i]!] as const]));

/** How the first elements of neighbouring output pixels lie in the padded input. */
function walkArgs(g: Geometry): { readonly [name: string]: Dim } {
  const row = dimMul(g.padded[2], g.channels);
  const plane = dimMul(g.padded[1], row);
  return {
    outW: g.output[2],
    outH: g.output[1],
    outD: g.output[0],
    stepW: dimMul(g.stride[2], g.channels),
    stepH: dimMul(g.stride[1], row),
    stepD: dimMul(g.stride[0], plane),
    stepImage: dimMul(g.padded[0], plane),
  };
}

function padArgs(g: Geometry): { readonly [name: string]: Dim } {
  return {
    d: g.input[0],
    h: g.input[1],
    row: dimMul(g.input[2], g.channels),
    padFront: g.padLow[0],
    padTop: g.padLow[1],
    padLeft: dimMul(g.padLow[2], g.channels),
    paddedD: g.padded[0],
    paddedH: g.padded[1],
    paddedRow: dimMul(g.padded[2], g.channels),
  };
}

const paddedShape = (g: Geometry): readonly Dim[] => [g.images, ...g.padded, g.channels];

/** x with its padding in memory, so that kernels need no checks. */
function paddedInput(ctx: LowerContext, x: Value, g: Geometry, loc: string | undefined): View {
  if (!isPadded(g)) return ctx.view(x);
  const view = ctx.temp(g.lane, paddedShape(g));
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("pad", ({ elem }) => padKernel(elem), { elem: g.lane }),
    chunks: dimMul(g.images, dimMul(g.padded[0], g.padded[1])),
    args: { x: viewArg(ctx.view(x), "read"), padded: viewArg(view, "write"), ...padArgs(g) },
    loc,
  });
  return view;
}

/** Steps of a run in one turn of the inner loop: one that divides it leaves no rest. */
const unrollOf = (run: Dim): number =>
  typeof run === "number" ? ([4, 5, 3, 6, 2].find((u) => run % u === 0) ?? 4) : 4;

/** Weights [O, …taps, C/g] as panels of [K, O/g] for each group. */
function packedWeights(ctx: LowerContext, w: Value, g: Geometry, loc: string | undefined): View {
  const { groups } = g;
  const { nr } = g.tile;
  const k = depthOf(g);
  const n = g.oPer;
  const constant = w.def.op === "constant" ? w.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof n === "number") {
    return ctx.derived(constant, `conv ${groups} ${nr}`, () => {
      const length = packedLength(k, n, nr);
      const out = zeros(constant.dtype, [groups, length]);
      for (let group = 0; group < groups; group++) {
        const at = (i: number, j: number) => (group * n + j) * k + i;
        packBy(floats(constant), k, n, nr, at, floats(out).subarray(group * length, (group + 1) * length));
      }
      return out;
    });
  }
  const panels = dimMul(groups, ceilDiv(n, nr));
  const view = ctx.temp(g.lane, [panels, dimMul(k, nr)]);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("pack", ({ elem, width }) => packKernel(elem, width), { elem: g.lane, width: nr }),
    chunks: ceilDiv(panels, packChunkPanels),
    args: {
      b: viewArg(ctx.view(w), "read"),
      packed: viewArg(view, "write"),
      k1: 1,
      k2: k,
      k1Stride: 0,
      k2Stride: 1,
      n1: 1,
      n2: n,
      n1Stride: 0,
      n2Stride: k,
      bBatch: dimMul(n, k),
      panels,
    },
    loc,
  });
  return view;
}

const floats = (t: Tensor): Float32Array => t.data as Float32Array;

/** Elements of the panels of one group. */
const groupLength = (k: Dim, n: Dim, nr: number): Dim => dimMul(dimMul(ceilDiv(n, nr), nr), k);

/** Pixels of all images by channels. */
const matrixOf = (g: Geometry): ResultMatrix => ({
  batch: 1,
  rows: dimMul(g.images, sizeOf(g.output)),
  columns: g.outputs,
});

/** A convolution of one tap that sees every pixel once: a plain product. */
const isPlain = (g: Geometry): boolean =>
  taps(g) === 1 && g.groups === 1 && !isPadded(g) && g.stride.every((s) => s === 1);

const isDepthwise = (g: Geometry): boolean => g.groups > 1 && g.cPer === 1 && dimEqual(g.oPer, 1);

function emitConv(ctx: LowerContext, node: Node<"conv">, g: Geometry, to: View, finish: Finish): void {
  const [x, w] = node.operands as [Value, Value];
  const { loc } = node;
  const y = viewArg(to, "write");
  if (isDepthwise(g)) {
    emitDepthwise(ctx, node, g, to, finish);
    return;
  }
  const { rows } = matrixOf(g);
  const n = typeof g.oPer === "number" ? { n: g.oPer } : {};
  const packed = packedWeights(ctx, w, g, loc);
  if (isPlain(g)) {
    const kernel = ctx.pool.kernel("gemm", gemm, {
      lane: g.lane,
      a: "rows",
      b: "packed",
      ...g.tile,
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
    unroll: unrollOf(g.run),
    epilogue: finish.epilogue,
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
      wGroup: groupLength(depthOf(g), g.oPer, g.tile.nr),
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
  const kernel = ctx.pool.kernel("depthwise", depthwise, {
    elem: g.lane,
    window: g.kernel,
    strides: g.stride,
    dilations: g.dilation,
    padLow: g.padLow,
    padHigh: g.padHigh,
    epilogue: finish.epilogue,
  });
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
    return ctx.derived(constant, `transpose ${rows} ${columns}`, () => {
      const out = zeros(constant.dtype, [columns, rows]);
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) out.data[c * rows + r] = constant.data[r * columns + c]!;
      return out;
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
  const g = geometryOf(node.operands[0]!, node.operands[1]!, y, node.attrs);
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
  const g = geometryOf(node.operands[0]!, node.operands[1]!, y, node.attrs);
  // The convolution kernels store what they compute in.
  if (g === undefined || output.type.dtype !== g.lane) return false;
  const finish = epilogueOf(ctx.pool, y, output, matrixOf(g), leaf);
  if (finish === undefined) return false;
  emitConv(ctx, node, g, to, finish);
  return true;
}

export function lowerConvInputGrad(ctx: LowerContext, node: Node<"convInputGrad">): void {
  const [dy, w] = node.operands as [Value, Value];
  const dx = node.results[0]!;
  const g = geometryOf(dx, w, dy, node.attrs);
  const weights = g && gradientWeights(ctx, w, g, node.loc);
  if (g === undefined || weights === undefined) {
    lowerConvInputGradSimple(ctx, node);
    return;
  }
  const to = ctx.result(dx);
  const target = isPadded(g) ? ctx.temp(g.lane, paddedShape(g)) : to;
  const kernel = ctx.pool.kernel("convInputGradient", convInputGradient, {
    lane: g.lane,
    ...g.inputGradTile,
    loops: loopsOfSegments(g),
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

/** Weights [O, …taps, C/g] as panels of [O/g, run] for each group and segment. */
function gradientWeights(ctx: LowerContext, w: Value, g: Geometry, loc: string | undefined): View | undefined {
  const { groups, run } = g;
  const { nr } = g.inputGradTile;
  const k = depthOf(g);
  const segmentCount = taps(g) / g.runTaps;
  const o = g.oPer;
  const constant = w.def.op === "constant" ? w.def.attrs.value : undefined;
  if (constant !== undefined && typeof k === "number" && typeof o === "number" && typeof run === "number") {
    return ctx.derived(constant, `convinputgrad ${groups} ${nr} ${run}`, () => {
      const length = packedLength(o, run, nr);
      const out = zeros(constant.dtype, [groups * segmentCount, length]);
      for (let q = 0; q < groups * segmentCount; q++) {
        const group = Math.floor(q / segmentCount);
        const at = (i: number, j: number) => (group * o + i) * k + (q % segmentCount) * run + j;
        packBy(floats(constant), o, run, nr, at, floats(out).subarray(q * length, (q + 1) * length));
      }
      return out;
    });
  }
  if (groups > mostPackedGroups) return undefined;
  const length = groupLength(o, run, nr);
  const panels = dimMul(segmentCount, ceilDiv(run, nr));
  const view = ctx.temp(g.lane, [groups * segmentCount, length]);
  for (let group = 0; group < groups; group++) {
    addMicroKernel(ctx, {
      kernel: ctx.pool.kernel("pack", ({ elem, width }) => packKernel(elem, width), { elem: g.lane, width: nr }),
      chunks: ceilDiv(panels, packChunkPanels),
      args: {
        b: viewArg(offsetView(ctx.view(w), dimMul(group, dimMul(o, k))), "read"),
        packed: viewArg(offsetView(view, dimMul(group * segmentCount, length)), "write"),
        k1: 1,
        k2: o,
        k1Stride: 0,
        k2Stride: k,
        n1: 1,
        n2: run,
        n1Stride: 0,
        n2Stride: 1,
        bBatch: run,
        panels,
      },
      loc,
    });
  }
  return view;
}

export function lowerConvWeightGrad(ctx: LowerContext, node: Node<"convWeightGrad">): void {
  const [x, dy] = node.operands as [Value, Value];
  const dw = node.results[0]!;
  const g = geometryOf(x, dw, dy, node.attrs);
  if (g === undefined) {
    lowerConvWeightGradSimple(ctx, node);
    return;
  }
  const k = depthOf(g);
  const sums = ctx.temp(g.lane, [g.groups, k, g.oPer]);
  const kernel = ctx.pool.kernel("convWeightGradient", convWeightGradient, {
    lane: g.lane,
    ...g.weightGradTile,
    loops: loopsOfSegments(g),
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
