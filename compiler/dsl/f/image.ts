/** Images: padding, resizing, sampling, regions. */

import { permute, rankOf, reshapeTo, shapeOf, sliceAxis, staticSize, takeAt } from "../../../ir/build.js";
import { type Dim, dimFloorDiv, dimMod } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { full, scalarConstant } from "../../../ir/ops/constant.js";
import { nonMaxSuppression as suppressed } from "../../../ir/ops/dynamic.js";
import { productOf } from "../../../ir/ops/movement.js";
import { roiAlign as align } from "../../../ir/roi-align.js";
import { type GridMode, type GridPadding, affineGrid as gridOf, gridSample as sampled } from "../../../ir/sampling.js";
import { aBoolean, aNumber, atLeast, checked, oneOf } from "../../options.js";
import { type Context, contextOf } from "../context.js";
import * as resize from "../resize.js";

export type { GridMode, GridPadding };
export type PadMode = resize.PadMode;
export type ResizeOptions = resize.ResizeOptions;

/**
 * Elements added around the last axes, in PyTorch's order: [left, right], [left, right, top, bottom], … Negative amounts cut off.
 * Modes: "constant", "reflect" (without the edge), "replicate" (the edge), "circular" (from the other end).
 */
export function pad(x: Value, padding: readonly number[], mode: PadMode = "constant", value = 0): Value {
  if (padding.length % 2 !== 0) throw new ModelError(`pads come in pairs, from the last axis on; got [${padding}]`);
  const axes = padding.length / 2;
  const pads = Array.from({ length: axes }, (_, a) => {
    const at = 2 * (axes - 1 - a);
    return [padding[at]!, padding[at + 1]!] as const;
  });
  return resize.pad(x, pads, mode, value);
}

/** The spatial axes of x [N, C, …] in another size: "nearest", "linear" (PyTorch's bilinear and trilinear) or "cubic". */
export const interpolate = (x: Value, options: ResizeOptions): Value => resize.interpolate(x, options);

/** [N, C·r², H, W] → [N, C, H·r, W·r], https://arxiv.org/abs/1609.05158. */
export const pixelShuffle = (x: Value, factor: number): Value => resize.pixelShuffle(x, factor);

/** [N, C, H·r, W·r] → [N, C·r², H, W]: the inverse of `pixelShuffle`. */
export function pixelUnshuffle(x: Value, factor: number): Value {
  const [n, c, h, w] = shapeOf(x);
  if (rankOf(x) !== 4 || dimMod(h!, factor) !== 0 || dimMod(w!, factor) !== 0)
    throw new ModelError(`${typeText(x.type)} does not unshuffle by ${factor}: height and width must divide by it`);
  const channels = staticSize(x, 1, "the channels");
  const [rows, columns] = [dimFloorDiv(h!, factor), dimFloorDiv(w!, factor)];
  const split = reshapeTo(x, [n!, c!, rows, factor, columns, factor]);
  return reshapeTo(permute(split, [0, 1, 3, 5, 2, 4]), [n!, channels * factor ** 2, rows, columns]);
}

/** Channels (axis 1) of groups interleaved: [g · n] as [n · g]. https://arxiv.org/abs/1707.01083 */
export function channelShuffle(x: Value, groups: number): Value {
  const [n, , ...rest] = shapeOf(x);
  const channels = staticSize(x, 1, "the channels");
  if (channels % groups !== 0) throw new ModelError(`${channels} channels do not divide into ${groups} groups`);
  const split = reshapeTo(x, [n!, groups, channels / groups, ...rest]);
  return reshapeTo(permute(split, [0, 2, 1, ...rest.map((_, i) => i + 3)]), shapeOf(x));
}

export interface GridSampleOptions {
  /** Default "linear" (PyTorch's "bilinear"). */
  readonly mode?: GridMode;
  /** What is outside. Default "zeros". */
  readonly padding?: GridPadding;
  /** −1 and 1 are the centres of the corner pixels, not their outer edges. Default false. */
  readonly alignCorners?: boolean;
}

/** Values of x [N, C, …] at the points of a grid [N, …, axes] in [−1, 1], whose last axis is (x, y, …): [N, C, …]. */
export function gridSample(x: Value, grid: Value, options?: GridSampleOptions): Value {
  const checks = {
    mode: oneOf("linear", "nearest", "cubic"),
    padding: oneOf("zeros", "border", "reflection"),
    alignCorners: aBoolean,
  };
  const { mode = "linear", padding = "zeros", alignCorners = false } = checked("gridSample", options, checks);
  return sampled(x, grid, mode, padding, alignCorners);
}

/** The grid that `gridSample` takes for affine maps theta [N, 2, 3] (or [N, 3, 4]) of images of size [N, C, …]. */
export const affineGrid = (theta: Value, size: readonly Dim[], alignCorners = false): Value =>
  gridOf(theta, size.slice(2), alignCorners);

export interface RoiAlignOptions {
  /** From coordinates of boxes to pixels of x. Default 1. */
  readonly spatialScale?: number;
  /** Samples of a cell along each axis; 0: as many as the cell has pixels, rounded up. Default 0. */
  readonly samplingRatio?: number;
  /** Boxes are moved by half a pixel, so that pixels have their centres at halves. Default false. */
  readonly aligned?: boolean;
}

/**
 * Boxes [K, 5] of (image, x1, y1, x2, y2) taken from x [N, C, H, W] by interpolation: [K, C, …outputSize].
 * https://arxiv.org/abs/1703.06870, as torchvision.ops.roi_align.
 */
export function roiAlign(
  ctx: Context,
  x: Value,
  boxes: Value,
  outputSize: number | readonly [height: number, width: number],
  options?: RoiAlignOptions,
): Value {
  const checks = { spatialScale: aNumber, samplingRatio: atLeast(0), aligned: aBoolean };
  const { spatialScale = 1, samplingRatio = 0, aligned = false } = checked("roiAlign", options, checks);
  if (rankOf(boxes) !== 2 || rankOf(x) !== 4 || shapeOf(boxes)[1] !== 5)
    throw new ModelError(
      `roiAlign takes [N, C, H, W] and boxes [K, 5], but got ${typeText(x.type)} and ${typeText(boxes.type)}`,
    );
  return align(
    x,
    sliceAxis(boxes, 1, 1, 4),
    takeAt(boxes, 1, 0),
    {
      output: typeof outputSize === "number" ? [outputSize, outputSize] : outputSize,
      scale: spatialScale,
      ratio: samplingRatio,
      half: aligned,
      average: true,
    },
    (name, bound, make) => contextOf(ctx).findSize(name, bound, make).size,
  );
}

/**
 * Indices (i64 [count]) of the boxes that overlap no better one by more than the threshold, best first: boxes [K, 4] of (x1, y1, x2, y2)
 * in f32, scores [K] in f32. As torchvision.ops.nms.
 */
export function nms(ctx: Context, boxes: Value, scores: Value, iouThreshold: number): Value {
  const count = shapeOf(scores)[0];
  if (rankOf(boxes) !== 2 || rankOf(scores) !== 1 || count === undefined)
    throw new ModelError(
      `nms takes boxes [K, 4] and scores [K], but got ${typeText(boxes.type)} and ${typeText(scores.type)}`,
    );
  const all = [reshapeTo(boxes, [1, ...shapeOf(boxes)]), reshapeTo(scores, [1, 1, count])] as const;
  return takeAt(nonMaxSuppression(ctx, ...all, iouThreshold), 1, 2);
}

export interface NonMaxSuppressionOptions {
  /** Boxes of higher scores alone are looked at. Default −∞. */
  readonly scoreThreshold?: number;
  /** Boxes of each class of each image at most. Default: no limit. */
  readonly maxPerClass?: number;
}

/**
 * `nms` in each image and class: rows (image, class, box), i64 [count, 3], of the boxes [N, K, 4] that overlap no better one of their
 * class by more than the threshold; scores [N, C, K]. Image by image, class by class, best first. As ONNX's NonMaxSuppression.
 */
export function nonMaxSuppression(
  ctx: Context,
  boxes: Value,
  scores: Value,
  iouThreshold: number,
  options?: NonMaxSuppressionOptions,
): Value {
  const checks = { scoreThreshold: aNumber, maxPerClass: atLeast(0) };
  const { scoreThreshold = -Infinity, maxPerClass } = checked("nonMaxSuppression", options, checks);
  const [images, classes, count] = shapeOf(scores);
  if (rankOf(boxes) !== 3 || rankOf(scores) !== 3)
    throw new ModelError(
      `nonMaxSuppression takes boxes [N, K, 4] and scores [N, C, K], but got ${typeText(boxes.type)} and ${typeText(scores.type)}`,
    );
  const most = scalarConstant("i64", maxPerClass === undefined ? 2n ** 31n - 1n : BigInt(maxPerClass));
  const limits = [scalarConstant("f32", iouThreshold), full("f32", [], scoreThreshold)] as const;
  return contextOf(ctx).findSize("kept", productOf([images!, classes!, count!]), (defines) =>
    suppressed([boxes, scores, most, ...limits], { defines, centerPointBox: false }),
  ).made;
}
