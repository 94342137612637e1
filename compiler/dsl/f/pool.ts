/** Pools over the spatial axes of x [N, C, …]. Sizes are one number for all axes, or a list. */

import { rankOf } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import * as fn from "../functional.js";

type Size = fn.Size;

function expect(x: Value, axes: number, what: string): Value {
  if (rankOf(x) !== axes + 2)
    throw new ModelError(`${what}${axes}d takes [batch, channels, …] of rank ${axes + 2}, but got ${typeText(x.type)}`);
  return x;
}

/** The largest element of each window. Default stride: the kernel's size. */
export type MaxPool = (x: Value, kernelSize: Size, options?: fn.PoolOptions) => Value;
/** The mean of each window. Default stride: the kernel's size. */
export type AvgPool = (x: Value, kernelSize: Size, options?: fn.AvgPoolOptions) => Value;
/** A pool whose windows give the wanted size of the spatial axes. */
export type AdaptivePool = (x: Value, outputSize: Size) => Value;

const maxOf =
  (axes: number): MaxPool =>
  (x, kernelSize, options) =>
    fn.maxPool(expect(x, axes, "maxPool"), kernelSize, options);
const avgOf =
  (axes: number): AvgPool =>
  (x, kernelSize, options) =>
    fn.avgPool(expect(x, axes, "avgPool"), kernelSize, options);
const adaptiveAvgOf =
  (axes: number): AdaptivePool =>
  (x, outputSize) =>
    fn.adaptiveAvgPool(expect(x, axes, "adaptiveAvgPool"), outputSize);
const adaptiveMaxOf =
  (axes: number): AdaptivePool =>
  (x, outputSize) =>
    fn.adaptiveMaxPool(expect(x, axes, "adaptiveMaxPool"), outputSize);

/** Largest element of each window of [N, C, L]. */
export const maxPool1d: MaxPool = maxOf(1);
/** Largest element of each window of [N, C, H, W]. */
export const maxPool2d: MaxPool = maxOf(2);
/** Largest element of each window of [N, C, D, H, W]. */
export const maxPool3d: MaxPool = maxOf(3);
/** Mean of each window of [N, C, L]. */
export const avgPool1d: AvgPool = avgOf(1);
/** Mean of each window of [N, C, H, W]. */
export const avgPool2d: AvgPool = avgOf(2);
/** Mean of each window of [N, C, D, H, W]. */
export const avgPool3d: AvgPool = avgOf(3);
/** Mean pool of [N, C, L] to a size. */
export const adaptiveAvgPool1d: AdaptivePool = adaptiveAvgOf(1);
/** Mean pool of [N, C, H, W] to a size. */
export const adaptiveAvgPool2d: AdaptivePool = adaptiveAvgOf(2);
/** Mean pool of [N, C, D, H, W] to a size. */
export const adaptiveAvgPool3d: AdaptivePool = adaptiveAvgOf(3);
/** Max pool of [N, C, L] to a size. */
export const adaptiveMaxPool1d: AdaptivePool = adaptiveMaxOf(1);
/** Max pool of [N, C, H, W] to a size. */
export const adaptiveMaxPool2d: AdaptivePool = adaptiveMaxOf(2);
/** Max pool of [N, C, D, H, W] to a size. */
export const adaptiveMaxPool3d: AdaptivePool = adaptiveMaxOf(3);
/** p-norm of each window: (Σ |x|^p)^(1/p). */
export const lpPool = (x: Value, p: number, kernelSize: Size, options?: Omit<fn.PoolOptions, "padding">): Value =>
  fn.lpPool(x, p, kernelSize, options);
