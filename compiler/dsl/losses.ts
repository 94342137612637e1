/** Losses to hand to `trainStep`: each gives a function of the model's output and the target. */

import { addAll, asType, dimScalar, expandDims, mean, np, sizeOf, sum } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { constant, constantLike, iota } from "../../ir/ops/constant.js";
import { ctcLoss } from "../../ir/ops/ctc.js";
import type { Reduction } from "../../ir/ops/loss.js";
import * as loss from "../../ir/ops/loss.js";
import { softmax } from "../../ir/ops/normalize.js";
import { tensorFrom } from "../../ir/tensor.js";

/** A scalar of output and target. */
export type Loss = (output: Value, target: Value) => Value;

interface ReductionOption {
  /** Default "mean". */
  readonly reduction?: Reduction;
}

const vector = (weights: readonly number[], like: Value): Value =>
  constant([], { value: tensorFrom(like.type.dtype, [weights.length], weights) });

/** A target of the output's float type, so that labels may come as integers. */
export const like = (target: Value, output: Value): Value => asType(target, output.type.dtype);

export interface ClassLossOptions extends ReductionOption {
  /** One weight for each class. */
  readonly weight?: readonly number[];
  /** Targets of this class do not count. */
  readonly ignoreIndex?: number;
}

export interface CrossEntropyOptions extends ClassLossOptions {
  /** Share of each target that is spread over all classes. */
  readonly labelSmoothing?: number;
}

/** Of logits [N, C, …] and class indices [N, …] (or probabilities [N, C, …]). */
export const crossEntropy =
  ({ weight, ignoreIndex, reduction = "mean", labelSmoothing = 0 }: CrossEntropyOptions = {}): Loss =>
  (output, target) =>
    loss.crossEntropy([output, target, ...(weight ? [vector(weight, output)] : [])], {
      reduction,
      labelSmoothing,
      ...(ignoreIndex === undefined ? {} : { ignoreIndex }),
    });

/** Of logarithms of probabilities [N, C, …] and class indices [N, …]. */
export const nll =
  ({ weight, ignoreIndex, reduction = "mean" }: ClassLossOptions = {}): Loss =>
  (output, target) =>
    loss.nllLoss([output, target, ...(weight ? [vector(weight, output)] : [])], {
      reduction,
      ...(ignoreIndex === undefined ? {} : { ignoreIndex }),
    });

export const mse =
  ({ reduction = "mean" }: ReductionOption = {}): Loss =>
  (output, target) =>
    loss.mseLoss([output, like(target, output)], { reduction });

export const l1 =
  ({ reduction = "mean" }: ReductionOption = {}): Loss =>
  (output, target) =>
    loss.l1Loss([output, like(target, output)], { reduction });

export const smoothL1 =
  ({ reduction = "mean", beta = 1 }: ReductionOption & { readonly beta?: number } = {}): Loss =>
  (output, target) =>
    loss.smoothL1Loss([output, like(target, output)], { reduction, beta });

export const huber =
  ({ reduction = "mean", delta = 1 }: ReductionOption & { readonly delta?: number } = {}): Loss =>
  (output, target) =>
    loss.huberLoss([output, like(target, output)], { reduction, delta });

/** Of probabilities in [0, 1]. */
export const bce =
  ({ reduction = "mean" }: ReductionOption = {}): Loss =>
  (output, target) =>
    loss.bceLoss([output, like(target, output)], { reduction });

/** Of logits; `posWeight` scales the positive class, one weight for all or one for each element of the last axis. */
export const bceWithLogits =
  ({ reduction = "mean", posWeight }: ReductionOption & { readonly posWeight?: readonly number[] } = {}): Loss =>
  (output, target) =>
    loss.bceWithLogitsLoss([output, like(target, output), ...(posWeight ? [vector(posWeight, output)] : [])], {
      reduction,
    });

/** Of logarithms of probabilities; "batchmean" divides the sum by the batch size. */
export const klDiv =
  ({
    reduction = "mean",
    logTarget = false,
  }: {
    readonly reduction?: Reduction | "batchmean";
    readonly logTarget?: boolean;
  } = {}): Loss =>
  (output, target) => {
    if (reduction !== "batchmean") return loss.klDivLoss([output, target], { reduction, logTarget });
    const total = loss.klDivLoss([output, target], { reduction: "sum", logTarget });
    return np.div(total, dimScalar(sizeOf(output, 0), output.type.dtype));
  };

/** Soft Dice loss of logits [N, C, …] and class indices [N, …]: 1 − (2·overlap + s) / (total + s), mean over samples and classes. */
export const dice =
  ({ smoothing = 1 }: { readonly smoothing?: number } = {}): Loss =>
  (output, target) => {
    const p = softmax([output], { axis: 1 });
    const counter = { dtype: target.type.dtype, shape: output.type.shape.map((d, a) => (a === 1 ? d : 1)), axis: 1 };
    const hot = asType(np.eq(expandDims(target, 1), iota([], counter)), output.type.dtype);
    const axes = output.type.shape.map((_, a) => a).slice(2);
    const overlap = np.add(np.mul(sum(np.mul(p, hot), axes), 2), smoothing);
    const total = np.add(np.add(sum(p, axes), sum(hot, axes)), smoothing);
    return mean(np.sub(constantLike(overlap, 1), np.div(overlap, total)));
  };

/**
 * CTC of logarithms of probabilities [T, N, C] and targets [N, S]; further targets of the objective are the lengths of the inputs
 * and of the targets, [N] each.
 */
export const ctc =
  ({
    blank = 0,
    reduction = "mean",
    zeroInfinity = false,
  }: ReductionOption & { readonly blank?: number; readonly zeroInfinity?: boolean } = {}) =>
  (output: Value, target: Value, inputLengths: Value, targetLengths: Value): Value =>
    ctcLoss([output, target, inputLengths, targetLengths], { blank, reduction, zeroInfinity });

/** Weighted sum of losses of the same output and target. */
export const weightedSum =
  (...parts: readonly (readonly [weight: number, loss: Loss])[]): Loss =>
  (output, target) =>
    addAll(parts.map(([weight, of]) => np.mul(of(output, target), weight)));
