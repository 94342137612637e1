/** Normalisation layers as functions, with PyTorch's order of arguments. */

import { rankOf, sizeOf } from "../../../ir/build.js";
import { dimDiffers } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import * as ops from "../../../ir/ops/normalize.js";

/** Scale and bias as an op takes them: a bias alone needs a scale of ones, which PyTorch has no use for either. */
function given(weight: Value | undefined, bias: Value | undefined): readonly Value[] {
  if (weight === undefined && bias !== undefined)
    throw new ModelError("a bias without a weight: pass F.ones([…]) as the weight");
  return [weight, bias].filter((v) => v !== undefined);
}

function trailing(x: Value, shape: number | readonly number[]): number {
  const sizes = typeof shape === "number" ? [shape] : shape;
  sizes.forEach((n, i) => {
    if (rankOf(x) < sizes.length || dimDiffers(sizeOf(x, i - sizes.length), n))
      throw new ModelError(`the last axes are [${sizes}], but got ${typeText(x.type)}`);
  });
  return -sizes.length;
}

/** (x − mean) / √(variance + eps) · weight + bias over the last axes, which have this shape. https://arxiv.org/abs/1607.06450 */
export const layerNorm = (
  x: Value,
  normalizedShape: number | readonly number[],
  weight?: Value,
  bias?: Value,
  eps = 1e-5,
): Value => ops.layerNorm([x, ...given(weight, bias)], { axis: trailing(x, normalizedShape), epsilon: eps });
/** x / √(mean of squares + eps) · weight over the last axes, which have this shape. https://arxiv.org/abs/1910.07467 */
export const rmsNorm = (x: Value, normalizedShape: number | readonly number[], weight?: Value, eps = 2 ** -23): Value =>
  ops.rmsNorm([x, ...given(weight, undefined)], { axis: trailing(x, normalizedShape), epsilon: eps });
/** Channels (axis 1) in groups, each normalised with all further axes; weight and bias [channels]. */
export const groupNorm = (x: Value, numGroups: number, weight?: Value, bias?: Value, eps = 1e-5): Value =>
  ops.groupNorm([x, ...given(weight, bias)], { groups: numGroups, epsilon: eps });
/** Each channel (axis 1) of each sample normalised over all further axes; weight and bias [channels]. */
export const instanceNorm = (x: Value, weight?: Value, bias?: Value, eps = 1e-5): Value =>
  ops.instanceNorm([x, ...given(weight, bias)], { epsilon: eps });
/** Channels (axis 1) normalised with given statistics [channels], as in evaluation. https://arxiv.org/abs/1502.03167 */
export const batchNorm = (
  x: Value,
  runningMean: Value,
  runningVar: Value,
  weight?: Value,
  bias?: Value,
  eps = 1e-5,
): Value => ops.batchNorm([x, runningMean, runningVar, ...given(weight, bias)], { axis: 1, epsilon: eps });

export interface BatchNormTrainOptions {
  /** Weight of this batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}
/** Channels (axis 1) normalised with the statistics of the batch. Results: y, and the running statistics moved towards the batch's. */
export const batchNormTrain = (
  x: Value,
  runningMean: Value,
  runningVar: Value,
  weight?: Value,
  bias?: Value,
  { momentum = 0.1, eps = 1e-5 }: BatchNormTrainOptions = {},
): readonly [y: Value, runningMean: Value, runningVar: Value] =>
  ops.batchNormTrain([x, runningMean, runningVar, ...given(weight, bias)], {
    axis: 1,
    epsilon: eps,
    momentum,
    correction: 1,
  }) as readonly [Value, Value, Value];

export interface LocalResponseOptions {
  /** Default 1e-4. */
  readonly alpha?: number;
  /** Default 0.75. */
  readonly beta?: number;
  /** Default 1. */
  readonly k?: number;
}
/** x / (k + alpha · mean of squares over `size` neighbouring channels)^beta. https://papers.nips.cc/paper/4824 */
export const localResponseNorm = (
  x: Value,
  size: number,
  { alpha = 1e-4, beta = 0.75, k = 1 }: LocalResponseOptions = {},
): Value => ops.lrn([x], { before: Math.floor(size / 2), after: Math.floor((size - 1) / 2), alpha, beta, bias: k });
