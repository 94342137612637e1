/** Losses as functions of output and target, with PyTorch's names. `losses` has the same to hand to a training step. */

import { asType, dtypeOf } from "../../../ir/build.js";
import { isFloat } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { ctcLoss as ctc } from "../../../ir/ops/ctc.js";
import * as ops from "../../../ir/ops/loss.js";
import { aNumber, anything, checked, oneOf } from "../../options.js";

export interface LossOptions {
  /** "mean" (default), "sum", or "none": the loss of each element. */
  readonly reduction?: ops.Reduction;
}

const reduction = oneOf("none", "sum", "mean");
/** Integer targets become floats; others stay, and must be of the output's type. */
const like = (target: Value, output: Value): Value =>
  isFloat(dtypeOf(target)) ? target : asType(target, dtypeOf(output));

type Pairwise = (output: Value, target: Value, options?: LossOptions) => Value;

const pairwise =
  (name: string, op: typeof ops.mseLoss | typeof ops.l1Loss | typeof ops.bceLoss): Pairwise =>
  (output, target, options) =>
    op([output, like(target, output)], { reduction: checked(name, options, { reduction }).reduction ?? "mean" });

/** (output − target)². */
export const mseLoss: Pairwise = pairwise("mseLoss", ops.mseLoss);
/** |output − target|. */
export const l1Loss: Pairwise = pairwise("l1Loss", ops.l1Loss);
/** Binary cross-entropy of probabilities. */
export const binaryCrossEntropy: Pairwise = pairwise("binaryCrossEntropy", ops.bceLoss);

export interface ClassOptions extends LossOptions {
  /** One weight for each class, [C]. */
  readonly weight?: Value;
  /** Targets of this class do not count. Default −100. */
  readonly ignoreIndex?: number;
}
export interface CrossEntropyOptions extends ClassOptions {
  /** Share of each target that is spread over all classes. Default 0. */
  readonly labelSmoothing?: number;
}
const classChecks = { reduction, weight: anything, ignoreIndex: aNumber };

/** −log softmax(logits) of the target class: logits [N, C, …], targets [N, …] of integers, or probabilities [N, C, …]. */
export function crossEntropy(logits: Value, target: Value, options?: CrossEntropyOptions): Value {
  const given = checked("crossEntropy", options, { ...classChecks, labelSmoothing: aNumber });
  const { weight, ignoreIndex = -100, labelSmoothing = 0 } = given;
  const ignored = isFloat(dtypeOf(target)) ? {} : { ignoreIndex };
  return ops.crossEntropy([logits, target, ...(weight === undefined ? [] : [weight])], {
    reduction: given.reduction ?? "mean",
    labelSmoothing,
    ...ignored,
  });
}

/** −log p of the target class, from logarithms of probabilities [N, C, …]. */
export function nllLoss(logProbabilities: Value, target: Value, options?: ClassOptions): Value {
  const { weight, ignoreIndex = -100, reduction: how = "mean" } = checked("nllLoss", options, classChecks);
  return ops.nllLoss([logProbabilities, target, ...(weight === undefined ? [] : [weight])], {
    reduction: how,
    ignoreIndex,
  });
}

/** Binary cross-entropy of sigmoid(logits), without overflow. `posWeight` broadcasts. */
export function binaryCrossEntropyWithLogits(
  logits: Value,
  target: Value,
  options?: LossOptions & { readonly posWeight?: Value },
): Value {
  const { posWeight, reduction: how = "mean" } = checked("binaryCrossEntropyWithLogits", options, {
    reduction,
    posWeight: anything,
  });
  const operands = [logits, like(target, logits), ...(posWeight === undefined ? [] : [posWeight])];
  return ops.bceWithLogitsLoss(operands, { reduction: how });
}

/** d² / 2 beta below beta, d − beta / 2 from there on, with d = |output − target|. */
export function smoothL1Loss(output: Value, target: Value, options?: LossOptions & { readonly beta?: number }): Value {
  const { beta = 1, reduction: how = "mean" } = checked("smoothL1Loss", options, { reduction, beta: aNumber });
  return ops.smoothL1Loss([output, like(target, output)], { reduction: how, beta });
}

/** d² / 2 up to delta, delta · (d − delta / 2) beyond, with d = |output − target|. */
export function huberLoss(output: Value, target: Value, options?: LossOptions & { readonly delta?: number }): Value {
  const { delta = 1, reduction: how = "mean" } = checked("huberLoss", options, { reduction, delta: aNumber });
  return ops.huberLoss([output, like(target, output)], { reduction: how, delta });
}

/** target · (log target − output), where the output holds logarithms of probabilities. */
export function klDiv(output: Value, target: Value, options?: LossOptions & { readonly logTarget?: boolean }): Value {
  const given = checked("klDiv", options, { reduction, logTarget: anything });
  return ops.klDivLoss([output, target], { reduction: given.reduction ?? "mean", logTarget: given.logTarget ?? false });
}

export interface CtcOptions extends LossOptions {
  /** Class that stands for nothing. Default 0. */
  readonly blank?: number;
  /** Infinite losses (targets that do not fit) count 0. Default false. */
  readonly zeroInfinity?: boolean;
}

/** Connectionist temporal classification: log p [steps, batch, C], targets [batch, length], lengths [batch]. https://doi.org/10.1145/1143844.1143891 */
export function ctcLoss(
  logProbabilities: Value,
  targets: Value,
  inputLengths: Value,
  targetLengths: Value,
  options?: CtcOptions,
): Value {
  const given = checked("ctcLoss", options, { reduction, blank: aNumber, zeroInfinity: anything });
  const { blank = 0, reduction: how = "mean", zeroInfinity = false } = given;
  return ctc([logProbabilities, targets, inputLengths, targetLengths], { blank, reduction: how, zeroInfinity });
}
