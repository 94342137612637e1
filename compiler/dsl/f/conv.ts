/** Convolutions, and images as columns of windows: x [N, C, …]. Sizes are one number for all spatial axes, or a list. */

import { rankOf } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { type Blocks, foldBlocks, unfoldBlocks } from "../../../ir/sampling.js";
import { anything, atLeast, checked } from "../../options.js";
import {
  type ConvOptions,
  type ConvTransposeOptions,
  convolution,
  convTranspose,
  type Size,
  sizes,
} from "../functional.js";

export type { ConvOptions, ConvTransposeOptions, Size };

/** A convolution: x [N, C, …], weight [O, C / groups, …k], bias [O] or undefined. */
export type Conv = (x: Value, weight: Value, bias?: Value, options?: ConvOptions) => Value;
/** A transposed convolution: x [N, C, …], weight [C, O / groups, …k], bias [O] or undefined. */
export type ConvTranspose = (x: Value, weight: Value, bias?: Value, options?: ConvTransposeOptions) => Value;

const shared = { stride: anything, padding: anything, dilation: anything, groups: atLeast(1) };

function convOf(axes: number): Conv {
  return (x, weight, bias, options) => {
    if (rankOf(weight) !== axes + 2)
      throw new ModelError(`conv${axes}d takes a weight of rank ${axes + 2}, but got ${typeText(weight.type)}`);
    return convolution(x, weight, bias, checked(`conv${axes}d`, options, shared));
  };
}
function convTransposeOf(axes: number): ConvTranspose {
  return (x, weight, bias, options) => {
    if (rankOf(weight) !== axes + 2)
      throw new ModelError(
        `convTranspose${axes}d takes a weight of rank ${axes + 2}, but got ${typeText(weight.type)}`,
      );
    const given = checked(`convTranspose${axes}d`, options, { ...shared, outputPadding: anything });
    return convTranspose(x, weight, bias, given);
  };
}

/** Convolution over one axis: x [N, C, L], weight [O, C / groups, k]. */
export const conv1d: Conv = convOf(1);
/** Convolution over two axes: x [N, C, H, W], weight [O, C / groups, kH, kW]. */
export const conv2d: Conv = convOf(2);
/** Convolution over three axes: x [N, C, D, H, W], weight [O, C / groups, kD, kH, kW]. */
export const conv3d: Conv = convOf(3);
/** Transposed convolution over one axis: weight [C, O / groups, k]. */
export const convTranspose1d: ConvTranspose = convTransposeOf(1);
/** Transposed convolution over two axes: weight [C, O / groups, kH, kW]. */
export const convTranspose2d: ConvTranspose = convTransposeOf(2);
/** Transposed convolution over three axes: weight [C, O / groups, kD, kH, kW]. */
export const convTranspose3d: ConvTranspose = convTransposeOf(3);

export interface WindowOptions {
  /** Distance between windows. Default 1. */
  readonly stride?: Size;
  /** Zeros on both sides. Default 0. */
  readonly padding?: Size;
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
}

const windowChecks = { stride: anything, padding: anything, dilation: anything };

function blocksOf(what: string, axes: number, kernel: Size, options: WindowOptions | undefined): Blocks {
  const { stride = 1, padding = 0, dilation = 1 } = checked(what, options, windowChecks);
  const pads = sizes(padding, axes, "padding");
  return {
    block: sizes(kernel, axes, "kernel size"),
    strides: sizes(stride, axes, "stride"),
    dilations: sizes(dilation, axes, "dilation"),
    padLow: pads,
    padHigh: pads,
  };
}

/** The windows of x [N, C, …] as columns: [N, C · taps, positions]. */
export const unfold = (x: Value, kernelSize: Size, options?: WindowOptions): Value => {
  if (rankOf(x) < 3) throw new ModelError(`unfold takes [batch, channels, …], but got ${typeText(x.type)}`);
  return unfoldBlocks(x, blocksOf("unfold", rankOf(x) - 2, kernelSize, options));
};

/** Columns [N, C · taps, positions] added back into an image [N, C, …outputSize]. */
export function fold(x: Value, outputSize: readonly Dim[], kernelSize: Size, options?: WindowOptions): Value {
  return foldBlocks(x, outputSize, blocksOf("fold", outputSize.length, kernelSize, options));
}
