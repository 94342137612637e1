/** Pools, padding and resizing of the spatial axes of [N, C, …]. */

import { rankOf } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import {
  type AvgPoolOptions,
  adaptiveAvgPool,
  adaptiveMaxPool,
  avgPool,
  lpPool,
  maxPool,
  type PoolOptions,
  type Size,
} from "../functional.js";
import { interpolate, type PadMode, type Pads, pad, pixelShuffle, type ResizeOptions } from "../resize.js";
import { type FunctionLayer, Lambda } from "./basic.js";

/** A pool over a fixed number of spatial axes. */
const pool = (axes: number, body: (x: Value) => Value): FunctionLayer =>
  Lambda((x) => {
    if (rankOf(x) !== axes + 2) {
      const want = `a ${axes}-d pool takes [batch, channels, …] of rank ${axes + 2}`;
      throw new ModelError(`${want}, but got ${typeText(x.type)}`);
    }
    return body(x);
  });

type MaxPoolOf = (kernel: Size, options?: PoolOptions) => FunctionLayer;
const maxOf =
  (axes: number): MaxPoolOf =>
  (kernel, options) =>
    pool(axes, (x) => maxPool(x, kernel, options));
export const MaxPool1d: MaxPoolOf = maxOf(1);
export const MaxPool2d: MaxPoolOf = maxOf(2);
export const MaxPool3d: MaxPoolOf = maxOf(3);

type AvgPoolOf = (kernel: Size, options?: AvgPoolOptions) => FunctionLayer;
const avgOf =
  (axes: number): AvgPoolOf =>
  (kernel, options) =>
    pool(axes, (x) => avgPool(x, kernel, options));
export const AvgPool1d: AvgPoolOf = avgOf(1);
export const AvgPool2d: AvgPoolOf = avgOf(2);
export const AvgPool3d: AvgPoolOf = avgOf(3);

type LPPoolOf = (p: number, kernel: Size, options?: Omit<PoolOptions, "padding">) => FunctionLayer;
const lpOf =
  (axes: number): LPPoolOf =>
  (p, kernel, options) =>
    pool(axes, (x) => lpPool(x, p, kernel, options));
export const LPPool1d: LPPoolOf = lpOf(1);
export const LPPool2d: LPPoolOf = lpOf(2);

type AdaptiveOf = (output: Size) => FunctionLayer;
const adaptiveOf =
  (axes: number, body: (x: Value, output: Size) => Value): AdaptiveOf =>
  (output) =>
    pool(axes, (x) => body(x, output));
export const AdaptiveAvgPool1d: AdaptiveOf = adaptiveOf(1, adaptiveAvgPool);
export const AdaptiveAvgPool2d: AdaptiveOf = adaptiveOf(2, adaptiveAvgPool);
export const AdaptiveAvgPool3d: AdaptiveOf = adaptiveOf(3, adaptiveAvgPool);
export const AdaptiveMaxPool1d: AdaptiveOf = adaptiveOf(1, adaptiveMaxPool);
export const AdaptiveMaxPool2d: AdaptiveOf = adaptiveOf(2, adaptiveMaxPool);
export const AdaptiveMaxPool3d: AdaptiveOf = adaptiveOf(3, adaptiveMaxPool);

/** Mean over all spatial axes, which stay with size 1. */
export const GlobalAvgPool = (): FunctionLayer => Lambda((x) => adaptiveAvgPool(x, 1));
/** Largest element over all spatial axes, which stay with size 1. */
export const GlobalMaxPool = (): FunctionLayer => Lambda((x) => adaptiveMaxPool(x, 1));

/** Pads of the last axes, first to last: `Pad([[1, 1], [2, 2]], "reflect")`. */
export const Pad = (pads: Pads, mode?: PadMode, value?: number): FunctionLayer =>
  Lambda((x) => pad(x, pads, mode, value));
/** Resizes the spatial axes. */
export const Upsample = (options: ResizeOptions): FunctionLayer => Lambda((x) => interpolate(x, options));
export const PixelShuffle = (factor: number): FunctionLayer => Lambda((x) => pixelShuffle(x, factor));
