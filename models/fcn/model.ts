/**
 * A fully convolutional network: x [batch, inputs, H, W] → logits [batch, classes, H, W], a class for each pixel. Scores of coarse maps are
 * resized and added to those of finer ones.
 * Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", 2015.
 */

import { nn, type Value } from "wasmith";

const convolution = (from: number, to: number) => [
  nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
  nn.BatchNorm2d(to),
  nn.ReLU(),
];

/** Weights [classes, classes, 4, 4] of a transposed convolution that begins as bilinear interpolation, as in the paper. */
const bilinear: nn.init.Initializer = ([classes = 0, , height = 0, width = 0]) =>
  Array.from({ length: classes * classes * height * width }, (_, i) => {
    const tent = (at: number, size: number) => 1 - Math.abs(at - (size - 1) / 2) / (size / 2);
    const [x, y, pair] = [i % width, Math.floor(i / width) % height, Math.floor(i / (width * height))];
    return Math.floor(pair / classes) === pair % classes ? tent(x, width) * tent(y, height) : 0;
  });

export interface FcnOptions {
  readonly classes: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** Channels of the trunk's stages; each but the first is half as large as the one before. */
  readonly channels?: readonly number[];
}

export class Fcn extends nn.Module {
  readonly stages: readonly nn.Layer[];
  readonly scores: readonly nn.Layer[];
  readonly upscores: readonly nn.Layer[];

  constructor({ classes, inputs = 3, channels = [64, 128, 256, 512] }: FcnOptions) {
    super();
    this.stages = channels.map((to, i) => {
      const from = channels[i - 1] ?? inputs;
      const pool = i === 0 ? [] : [nn.MaxPool2d(2)];
      return nn.sequential(...pool, ...convolution(from, to), ...convolution(to, to));
    });
    this.scores = channels.map((from) => nn.Conv2d(from, classes, 1));
    this.upscores = channels
      .slice(1)
      .map(() => nn.ConvTranspose2d(classes, classes, 4, { stride: 2, padding: 1, bias: false, weightInit: bilinear }));
  }

  forward(ctx: nn.Context, x: Value): Value {
    let map = x;
    const scores = this.stages.map((stage, i) => {
      map = stage(ctx, map);
      return this.scores[i]!(ctx, map);
    });
    // From the coarsest to the finest.
    return scores.reduceRight((coarse, fine, i) => this.upscores[i]!(ctx, coarse).add(fine));
  }
}
