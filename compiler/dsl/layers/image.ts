/** Windows, pixels, channels and regions of images [N, C, …]. */

import type { Value } from "../../../ir/graph.js";
import {
  parameter as argument,
  count,
  flag,
  index,
  integer,
  type Kind,
  number,
  type OptionsOf,
  option,
  positional,
  type Settings,
  size,
} from "../../schema.js";
import type { Context } from "../context.js";
import { fold, unfold } from "../f/conv.js";
import { channelShuffle, pixelUnshuffle, roiAlign } from "../f/image.js";
import { cosineSimilarity, pairwiseDistance } from "../f/product.js";
import type { Size } from "../functional.js";
import { Module } from "../module.js";
import { pixelShuffle } from "../resize.js";
import { amounts, defineLayer, type FunctionLayer, functionLayer, sizes } from "./define.js";

const windowOptions = {
  stride: option(sizes, 1, "Step of the window"),
  padding: option(amounts, 0, "Zeros before and after each axis"),
  dilation: option(sizes, 1, "Distance of the window's elements"),
};
export type UnfoldOptions = OptionsOf<typeof windowOptions>;

export const Unfold = defineLayer({
  name: "Unfold",
  summary: "The windows of an image as columns: [N, C, …] → [N, C · taps, positions]",
  parameters: [argument("kernel", sizes, "Size of the window")],
  options: windowOptions,
  make: (settings, kernel: Size): FunctionLayer => functionLayer((x) => unfold(x, kernel, settings)),
});
export const Fold = defineLayer({
  name: "Fold",
  summary: "Columns added up to an image: [N, C · taps, positions] → [N, C, …output]",
  parameters: [
    argument(
      "output",
      { expected: "a list of sizes", fits: (v) => Array.isArray(v) && sizes.fits(v) } as Kind<readonly number[]>,
      "Size of the image's spatial axes",
    ),
    argument("kernel", sizes, "Size of the window"),
  ],
  options: windowOptions,
  make: (settings, output: readonly number[], kernel: Size): FunctionLayer =>
    functionLayer((x) => fold(x, output, kernel, settings)),
});

const factor = argument("factor", count, "r");
export const PixelShuffle = positional(
  "nn.PixelShuffle",
  "[N, C·r², H, W] → [N, C, H·r, W·r]",
  [factor],
  (factor: number) => functionLayer((x) => pixelShuffle(x, factor)),
);
export const PixelUnshuffle = positional(
  "nn.PixelUnshuffle",
  "[N, C, H·r, W·r] → [N, C·r², H, W]",
  [factor],
  (factor: number) => functionLayer((x) => pixelUnshuffle(x, factor)),
);
export const ChannelShuffle = positional(
  "nn.ChannelShuffle",
  "Channels of groups interleaved",
  [argument("groups", count, "How many")],
  (groups: number) => functionLayer((x) => channelShuffle(x, groups)),
);

const roiOptions = {
  spatialScale: option(number, 1, "From coordinates of boxes to pixels of x"),
  samplingRatio: option(index, 0, "Samples of a cell along each axis; 0: as many as it has pixels, rounded up"),
  aligned: option(flag, false, "Pixels have their centres at halves"),
};
export type RoiAlignLayerOptions = OptionsOf<typeof roiOptions>;

/** Boxes [K, 5] of (image, x1, y1, x2, y2) taken from x [N, C, H, W] by interpolation: [K, C, …output]. */
export class RoiAlignLayer extends Module<readonly [x: Value, boxes: Value]> {
  readonly #output: Size;
  readonly #settings: Settings<typeof roiOptions>;

  constructor(output: Size, settings: Settings<typeof roiOptions>) {
    super();
    this.#output = output;
    this.#settings = settings;
  }

  forward(ctx: Context, x: Value, boxes: Value): Value {
    const output = this.#output as number | readonly [number, number];
    return roiAlign(ctx, x, boxes, output, this.#settings);
  }
}
export const RoiAlign = defineLayer({
  name: "RoiAlign",
  summary:
    "`layer(ctx, x, boxes)`: boxes [K, 5] of (image, x1, y1, x2, y2) taken from x [N, C, H, W] by interpolation → [K, C, …output]",
  parameters: [
    argument(
      "output",
      { expected: "a size, or [height, width]", fits: (v) => sizes.fits(v) && [v].flat().length <= 2 } as Kind<Size>,
      "Size of the result's spatial axes",
    ),
  ],
  options: roiOptions,
  make: (settings, output: Size) => new RoiAlignLayer(output, settings),
});

/** A function of two values as a layer. */
export class PairLayer extends Module<readonly [a: Value, b: Value]> {
  readonly #body: (a: Value, b: Value) => Value;

  constructor(body: (a: Value, b: Value) => Value) {
    super();
    this.#body = body;
  }

  forward(_ctx: Context, a: Value, b: Value): Value {
    return this.#body(a, b);
  }
}

export const CosineSimilarity = defineLayer({
  name: "CosineSimilarity",
  summary: "`layer(ctx, a, b)`: a·b/(|a|·|b|) along an axis",
  parameters: [],
  options: { axis: option(integer, 1, "Which"), epsilon: option(size, 1e-8, "Least product of the lengths") },
  make: ({ axis, epsilon }) => new PairLayer((a, b) => cosineSimilarity(a, b, axis, epsilon)),
});
export const PairwiseDistance = defineLayer({
  name: "PairwiseDistance",
  summary: "`layer(ctx, a, b)`: p-norm of a − b along the last axis",
  parameters: [],
  options: {
    p: option(number, 2, "Of the norm"),
    epsilon: option(size, 1e-6, "Added to the difference"),
    keepDim: option(flag, false, "The axis stays with size 1"),
  },
  make: ({ p, epsilon, keepDim }) => new PairLayer((a, b) => pairwiseDistance(a, b, p, epsilon, keepDim)),
});
