/** Pools and their adjoints by the kernels of compiler/kernels, which have window and padding in their code. */

import { type Dim, dimAdd, dimFloorDiv, dimMax, dimMul } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { elemBytes } from "../../../ir/loop.js";
import type { PoolAttrs } from "../../../ir/ops/window.js";
import { channelsOf, spatialOf } from "../../../ir/ops/window-geometry.js";
import type { Kernel } from "../../kernels/kernel.js";
import { type Axes, maxPool, type PoolSpec, windowSum } from "../../kernels/pool.js";
import { maxPoolGradient, windowSumGradient } from "../../kernels/pool-grad.js";
import { copiesRows, maxPoolRows, servesRows } from "../../kernels/pool-rows.js";
import type { Arg, View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, registerOf } from "../core/kernel-builder.js";
import { type Finish, type KernelRow, lastResort, type ResultMatrix } from "../core/kernel-row.js";
import { addMicroKernel, viewArg } from "../core/micro-kernel.js";
import { sizeOf } from "../core/place.js";
import type { Node } from "../elementwise/structured.js";
import {
  lowerMaxPoolGradSimple,
  lowerMaxPoolSimple,
  lowerWindowSumGradSimple,
  lowerWindowSumSimple,
} from "./window-simple.js";

interface Pool {
  readonly spec: PoolSpec;
  readonly sizes: { readonly [name: string]: Dim };
  readonly images: Dim;
  /** Rows of output pixels in all. */
  readonly rows: Dim;
  readonly pixels: Dim;
}

const fill3 = <T>(list: readonly T[], by: T): readonly [T, T, T] =>
  [...new Array<T>(3 - list.length).fill(by), ...list] as unknown as readonly [T, T, T];

/** Kernels have the padding in their code. */
const hasKnownPads = ({ attrs }: { readonly attrs: PoolAttrs }): boolean =>
  [...attrs.padLow, ...attrs.padHigh].every((d) => typeof d === "number");

/** `x` is what is pooled, `y` what it is pooled to; padding is known. */
function poolOf(x: Value, y: Value, attrs: PoolAttrs): Pool {
  const { layout } = attrs;
  const channels = channelsOf(x.type.shape, layout);
  const input = fill3(spatialOf(x.type.shape, layout), 1);
  const output = fill3(spatialOf(y.type.shape, layout), 1);
  // A channels-first tensor is one of many images with one channel each.
  const first = layout === "channelsFirst";
  const images = first ? dimMul(x.type.shape[0]!, channels) : x.type.shape[0]!;
  const rows = dimMul(images, dimMul(output[0], output[1]));
  return {
    spec: {
      elem: elemOf[x.type.dtype],
      window: fill3(attrs.window, 1) as Axes,
      strides: fill3(attrs.strides, 1) as Axes,
      dilations: fill3(attrs.dilations, 1) as Axes,
      padLow: fill3(attrs.padLow as readonly number[], 0) as Axes,
      padHigh: fill3(attrs.padHigh as readonly number[], 0) as Axes,
    },
    sizes: {
      channels: first ? 1 : channels,
      inD: input[0],
      inH: input[1],
      inW: input[2],
      outD: output[0],
      outH: output[1],
      outW: output[2],
    },
    images,
    rows,
    pixels: dimMul(images, sizeOf(output)),
  };
}

function call(
  ctx: LowerContext,
  kernel: Kernel,
  chunks: Dim,
  sizes: { readonly [name: string]: Dim },
  args: { readonly [name: string]: Arg },
  loc: string | undefined,
  epilogue: readonly Arg[] = [],
): void {
  addMicroKernel(ctx, { kernel, chunks, args: { ...sizes, ...args }, epilogue, loc });
}

function lowerMaxPool(ctx: LowerContext, node: Node<"maxPool">): void {
  const x = node.operands[0]!;
  const [y, indices] = node.results as [Value, Value];
  const pool = poolOf(x, y, node.attrs);
  const wanted = ctx.isUsed(indices);
  if (!wanted && node.attrs.layout === "channelsFirst" && servesRows(pool.spec)) {
    emitMaxPoolRows(ctx, node, pool);
    return;
  }
  const args = { x: viewArg(ctx.view(x), "read"), y: viewArg(ctx.result(y), "write") };
  const places = wanted ? { indices: viewArg(ctx.result(indices), "write") } : {};
  call(
    ctx,
    ctx.pool.kernel("maxPool", ({ indices, ...spec }) => maxPool(spec, { indices }), { ...pool.spec, indices: wanted }),
    pool.rows,
    pool.sizes,
    { ...args, ...places },
    node.loc,
  );
}

/** Elements of the input rows that a band sees, about: they stay in the L1 cache while its pixels are computed. */
const bandElements = 4096;

/** Rows of channels-first images are vectors of neighbouring pixels. */
function emitMaxPoolRows(ctx: LowerContext, node: Node<"maxPool">, { spec, sizes, images }: Pool): void {
  const [x] = node.operands as [Value];
  const [y] = node.results as [Value];
  const { inH, inW, outH, outW } = sizes as { readonly [name in "inH" | "inW" | "outH" | "outW"]: Dim };
  const width = dimAdd(inW, spec.padLow[2] + spec.padHigh[2]);
  const band = dimMax(dimFloorDiv(bandElements, dimMax(dimMul(width, spec.strides[1]), 1)), 1);
  const bands = dimFloorDiv(dimAdd(outH, dimAdd(band, -1)), band);
  const rows = dimAdd(dimMul(dimAdd(band, -1), spec.strides[1]), (spec.window[1] - 1) * spec.dilations[1] + 1);
  const bytes = copiesRows(spec) ? dimMul(dimMul(width, rows), elemBytes[spec.elem]) : 0;
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("maxPoolRows", maxPoolRows, spec),
    chunks: dimMul(images, bands),
    args: {
      x: viewArg(ctx.view(x), "read"),
      y: viewArg(ctx.result(y), "write"),
      s: { kind: "scratch", bytes, perThread: true },
      inH,
      inW,
      outH,
      outW,
      band,
      bands,
    },
    loc: node.loc,
  });
}

function lowerMaxPoolGrad(ctx: LowerContext, node: Node<"maxPoolGrad">): void {
  const [dy, indices] = node.operands as [Value, Value];
  const dx = node.results[0]!;
  const pool = poolOf(dx, dy, node.attrs);
  const args = {
    dy: viewArg(ctx.view(dy), "read"),
    indices: viewArg(ctx.view(indices), "read"),
    dx: viewArg(ctx.result(dx), "readWrite"),
  };
  call(ctx, ctx.pool.kernel("maxPoolGradient", maxPoolGradient, pool.spec), pool.images, pool.sizes, args, node.loc);
}

function emitWindowSum(ctx: LowerContext, node: Node<"windowSum">, to: View, finish: Finish): void {
  const pool = poolOf(node.operands[0]!, node.results[0]!, node.attrs);
  const args = { x: viewArg(ctx.view(node.operands[0]!), "read"), y: viewArg(to, "write") };
  const spec = { ...pool.spec, epilogue: finish.epilogue };
  call(ctx, ctx.pool.kernel("windowSum", windowSum, spec), pool.rows, pool.sizes, args, node.loc, finish.args);
}

function lowerWindowSumGrad(ctx: LowerContext, node: Node<"windowSumGrad">): void {
  const dy = node.operands[0]!;
  const dx = node.results[0]!;
  const pool = poolOf(dx, dy, node.attrs);
  const args = { dy: viewArg(ctx.view(dy), "read"), dx: viewArg(ctx.result(dx), "readWrite") };
  call(
    ctx,
    ctx.pool.kernel("windowSumGradient", windowSumGradient, pool.spec),
    pool.images,
    pool.sizes,
    args,
    node.loc,
  );
}

/** The kernel stores elements of the type it reads, and runs of channels. */
function windowSumMatrix(node: Node<"windowSum">, output: Value): ResultMatrix | undefined {
  const y = node.results[0]!;
  const { dtype } = y.type;
  if (node.attrs.layout !== "channelsLast" || output.type.dtype !== dtype || registerOf(dtype) !== "f32")
    return undefined;
  const { pixels } = poolOf(node.operands[0]!, y, node.attrs);
  return { batch: 1, rows: pixels, columns: channelsOf(y.type.shape, "channelsLast") };
}

export const maxPoolKernels: readonly KernelRow<"maxPool">[] = [
  { name: "window", serves: hasKnownPads, lower: lowerMaxPool },
  { name: "loops", cost: lastResort, lower: lowerMaxPoolSimple },
];

export const maxPoolGradKernels: readonly KernelRow<"maxPoolGrad">[] = [
  { name: "window", serves: hasKnownPads, lower: lowerMaxPoolGrad },
  { name: "loops", cost: lastResort, lower: lowerMaxPoolGradSimple },
];

export const windowSumKernels: readonly KernelRow<"windowSum">[] = [
  { name: "window", serves: hasKnownPads, matrix: windowSumMatrix, store: emitWindowSum },
  { name: "loops", cost: lastResort, lower: lowerWindowSumSimple },
];

export const windowSumGradKernels: readonly KernelRow<"windowSumGrad">[] = [
  { name: "window", serves: hasKnownPads, lower: lowerWindowSumGrad },
  { name: "loops", cost: lastResort, lower: lowerWindowSumGradSimple },
];
