/** Sizes of channels-last convolutions, as the kernels of compiler/kernels take them. */

import { type Dim, dimAdd, dimEqual, dimFloorDiv, dimMul } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { moreStatic } from "../../../ir/infer.js";
import type { ConvAttrs } from "../../../ir/ops/conv.js";
import { channelsOf, spatialOf } from "../../../ir/ops/window-geometry.js";
import type { Tensor } from "../../../ir/tensor.js";
import type { ProductSize } from "../../kernels/choose-tile.js";
import { padKernel } from "../../kernels/pad.js";
import type { Axes } from "../../kernels/pool.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import { addMicroKernel, ceilDiv, productSize, viewArg } from "../core/micro-kernel.js";
import { sizeOf } from "../core/place.js";

type LaneName = "f32" | "f64" | "i16pair";

/** Sizes of a channels-last convolution with its spatial axes filled up to three from the left. */
export interface Geometry<L extends LaneName = LaneName> {
  readonly lane: L;
  /** dtype of x. */
  readonly dtype: DType;
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

export const fill3 = <T>(list: readonly T[], by: T): readonly [T, T, T] =>
  [...new Array<T>(3 - list.length).fill(by), ...list] as unknown as readonly [T, T, T];

/** The sizes of a convolution of floats, or of what its gradients belong to; undefined where the kernels don't serve it. */
export function geometryOf(x: Value, w: Value, y: Value, attrs: ConvAttrs): Geometry<"f32" | "f64"> | undefined {
  const { dtype } = x.type;
  return dtype === "f32" || dtype === "f64" ? geometryFor(dtype, x, w, y, attrs) : undefined;
}

/** The same for a convolution in an accumulator that the dtypes of its operands do not decide alone. */
export function geometryFor<L extends LaneName>(
  lane: L,
  x: Value,
  w: Value,
  y: Value,
  attrs: ConvAttrs,
): Geometry<L> | undefined {
  if (attrs.layout !== "channelsLast") return undefined;
  const known = (d: Dim): d is number => typeof d === "number" && d >= 0;
  if (!attrs.padLow.every(known) || !attrs.padHigh.every(known)) return undefined;
  const { groups } = attrs;
  const channels = moreStatic(
    channelsOf(x.type.shape, "channelsLast"),
    dimMul(channelsOf(w.type.shape, "channelsLast"), groups),
  );
  const kernel = fill3(spatialOf(w.type.shape, "channelsLast") as readonly number[], 1);
  const strides = fill3(attrs.strides, 1);
  const padLow = fill3(attrs.padLow as readonly number[], 0);
  const padHigh = fill3(attrs.padHigh as readonly number[], 0);
  const [n, x3, y3] = [
    x.type.shape[0]!,
    fill3(spatialOf(x.type.shape, "channelsLast"), 1),
    fill3(spatialOf(y.type.shape, "channelsLast"), 1),
  ];
  // Planes that meet no others are images.
  const isFlat = kernel[0] === 1 && strides[0] === 1 && padLow[0] + padHigh[0] === 0;
  const images = isFlat ? dimMul(n, x3[0]) : n;
  const input: readonly [Dim, Dim, Dim] = isFlat ? [1, x3[1], x3[2]] : x3;
  const output: readonly [Dim, Dim, Dim] = isFlat ? [1, y3[1], y3[2]] : y3;
  return geometryOfSizes({
    lane,
    dtype: x.type.dtype,
    images,
    channels,
    outputs: w.type.shape[0]!,
    groups,
    input,
    padded: input.map((d, a) => dimAdd(d, padLow[a]! + padHigh[a]!)) as unknown as readonly [Dim, Dim, Dim],
    output,
    kernel,
    stride: strides,
    dilation: fill3(attrs.dilations, 1),
    padLow,
    padHigh,
  });
}

/** What a geometry is computed from. */
type Sizes<L extends LaneName> = Pick<
  Geometry<L>,
  | "lane"
  | "dtype"
  | "images"
  | "channels"
  | "outputs"
  | "groups"
  | "input"
  | "padded"
  | "output"
  | "kernel"
  | "stride"
  | "dilation"
  | "padLow"
  | "padHigh"
>;

/** With the runs that a pixel sums. */
export function geometryOfSizes<L extends LaneName>(sizes: Sizes<L>): Geometry<L> {
  const { channels, outputs, groups, padded, kernel, dilation } = sizes;
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
  return {
    ...sizes,
    cPer,
    oPer: dimFloorDiv(outputs, groups),
    run: merged ? dimMul(channels, kernel[2]) : cPer,
    runTaps: merged ? kernel[2] : 1,
    counts,
    steps,
  };
}

/** What is known of the product that the convolution is: output pixels by output channels of a group. */
export const pixelProduct = (g: Geometry): ProductSize => productSize(dimMul(g.images, sizeOf(g.output)), g.oPer);
/** Of its input gradient: images by a run. */
export const inputGradProduct = (g: Geometry): ProductSize => productSize(g.images, g.run);
/** Of its weight gradient: elements of the weights by output channels of a group. */
export const weightGradProduct = (g: Geometry): ProductSize => productSize(depthOf(g), g.oPer);

export const taps = (g: Geometry): number => g.kernel[0] * g.kernel[1] * g.kernel[2];
/** Elements that one output element sums. */
export const depthOf = (g: Geometry): Dim => dimMul(taps(g), g.cPer);
export const loopsOfSegments = (g: Geometry): 1 | 2 | 3 => g.counts.length as 1 | 2 | 3;
/** Which of the loops over segments is that over the kernel's height, if one is: that over its width comes before it. */
export const heightLoop = (g: Geometry): number | undefined =>
  g.kernel[1] === 1 ? undefined : g.runTaps === g.kernel[2] ? 0 : 1;
export const isPadded = (g: Geometry): boolean => [...g.padLow, ...g.padHigh].some((p) => p !== 0);

export const segmentArgs = (g: Geometry): { readonly [name: string]: Dim } =>
  Object.fromEntries(g.counts.flatMap((c, i) => [[`count${i}`, c] as const, [`segment${i}`, g.steps[i]!] as const]));

/** How the first elements of neighbouring output pixels lie in the padded input. */
export function walkArgs(g: Geometry): { readonly [name: string]: Dim } {
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

export function padArgs(g: Geometry): { readonly [name: string]: Dim } {
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

export const paddedShape = (g: Geometry): readonly Dim[] => [g.images, ...g.padded, g.channels];

/** Whether the kernel reads one element beyond what it sums: the last of an odd run comes with its neighbour. */
export const readsBeyond = (g: Geometry): boolean =>
  g.lane === "i16pair" && !(typeof g.run === "number" && g.run % 2 === 0);

/** x with its padding in memory, so that kernels need no checks, and with an element more where they read beyond. */
export function paddedInput(ctx: LowerContext, x: Value, g: Geometry, loc: string | undefined): View {
  if (g.padded.every((d, a) => dimEqual(d, g.input[a]!)) && !readsBeyond(g)) return ctx.view(x);
  const shape = readsBeyond(g) ? [dimAdd(sizeOf(paddedShape(g)), 1)] : paddedShape(g);
  const view = ctx.temp(g.dtype, shape);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("pad", ({ elem }) => padKernel(elem), { elem: elemOf[g.dtype] }),
    chunks: dimMul(g.images, dimMul(g.padded[0], g.padded[1])),
    args: { x: viewArg(ctx.view(x), "read"), padded: viewArg(view, "write"), ...padArgs(g) },
    loc,
  });
  return view;
}

export const floats = (t: Tensor): Float32Array => t.data as Float32Array;

/** Elements of the panels of one group. */
export const groupLength = (k: Dim, n: Dim, nr: number): Dim => dimMul(dimMul(ceilDiv(n, nr), nr), k);
