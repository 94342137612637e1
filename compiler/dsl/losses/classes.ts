/** Losses of class labels: of logits or probabilities, one class a sample or several. */

import { asType, dimScalar, expandDims, mean, np, sizeOf, sum, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { softplus } from "../../../ir/ops/activation.js";
import { iota } from "../../../ir/ops/constant.js";
import { log, mul, neg, sigmoid } from "../../../ir/ops/elementwise.js";
import { gatherElements } from "../../../ir/ops/indexing.js";
import * as loss from "../../../ir/ops/loss.js";
import { any } from "../../../ir/ops/reduce.js";
import { logSoftmax, softmax } from "../../../ir/ops/softmax.js";
import { choice, flag, integer, list, number, option, optional, share, size } from "../../schema.js";
import {
  classCount,
  defineLoss,
  isTarget,
  like,
  one,
  positivePart,
  reduce,
  reductionOption,
  vector,
  weightOption,
} from "./define.js";

const classOptions = {
  ...reductionOption,
  ...weightOption("class"),
  ignoreIndex: option(integer, -100, "Targets of this class do not count"),
};

/** Probabilities of classes as logarithms, as Keras takes them: each row made to add up to 1, kept away from 0 and 1. */
function logOf(p: Value): Value {
  const axis = p.type.shape.length === 1 ? 0 : 1;
  const shares = np.div(p, sum(p, axis, { keepDims: true }));
  return log([np.min(np.max(shares, 1e-7), 1 - 1e-7)]);
}

export const crossEntropy = defineLoss({
  name: "crossEntropy",
  summary:
    "Of logits [N, C, …] and class indices [N, …] (or probabilities [N, C, …]), PyTorch's `cross_entropy`. The mean is over the class weights of the counted targets.",
  options: {
    ...classOptions,
    labelSmoothing: option(share, 0, "Share of each target that is spread over all classes"),
    fromLogits: option(flag, true, "false: of probabilities, as Keras's losses take them"),
  },
  of:
    ({ weight, fromLogits, ...attrs }) =>
    (output: Value, target: Value) =>
      // softmax(log p) is p.
      loss.crossEntropy(
        [fromLogits ? output : logOf(output), target, ...(weight ? [vector(weight, output)] : [])],
        attrs,
      ),
});

export const nll = defineLoss({
  name: "nll",
  summary: "Of logarithms of probabilities [N, C, …] and class indices [N, …], PyTorch's `nll_loss`.",
  options: classOptions,
  of:
    ({ weight, ...attrs }) =>
    (output: Value, target: Value) =>
      loss.nllLoss([output, target, ...(weight ? [vector(weight, output)] : [])], attrs),
});

export const focal = defineLoss({
  name: "focal",
  summary:
    "Of logits and targets of 0 and 1, each element by itself: cross-entropy times (1 − p)^gamma of the right answer, https://arxiv.org/abs/1708.02002 (torchvision's `sigmoid_focal_loss`).",
  options: {
    reduction: reductionOption.reduction,
    alpha: option(number, 0.25, "Weight of the targets of 1; the others have 1 − alpha. Below 0: no weights"),
    gamma: option(size, 2, "How much what is right already loses weight"),
  },
  of:
    ({ reduction, alpha, gamma }) =>
    (output: Value, target: Value) => {
      const t = like(target, output);
      const p = sigmoid([output]);
      const entropy = loss.bceWithLogitsLoss([output, t], { reduction: "none" });
      const wrong = np.sub(np.add(p, t), np.mul(mul([p, t]), 2));
      const factor = gamma === 0 ? one(wrong) : gamma === 2 ? mul([wrong, wrong]) : np.pow(wrong, gamma);
      const focused = mul([entropy, factor]);
      if (alpha < 0) return reduce(focused, reduction);
      return reduce(mul([focused, np.add(np.mul(t, 2 * alpha - 1), 1 - alpha)]), reduction);
    },
});

export const softmaxFocal = defineLoss({
  name: "softmaxFocal",
  summary:
    "Of logits [N, C, …] and class indices [N, …]: cross-entropy of each target times (1 − p)^gamma of its class. A mean divides as crossEntropy's does.",
  options: { ...classOptions, gamma: option(size, 2, "How much what is right already loses weight") },
  of:
    ({ gamma, reduction, weight, ignoreIndex }) =>
    (output: Value, target: Value) => {
      const weights = weight ? [vector(weight, output)] : [];
      const p = softmax([output], { axis: 1 });
      const logP = logSoftmax([output], { axis: 1 });
      const rest = np.sub(one(p), p);
      const factor = gamma === 0 ? one(rest) : gamma === 2 ? mul([rest, rest]) : np.pow(rest, gamma);
      return loss.nllLoss([mul([factor, logP]), target, ...weights], { reduction, ignoreIndex });
    },
});

const elementWeight = { weight: optional(list(number), "Weights, one for each element of the last axis") };

export const bce = defineLoss({
  name: "bce",
  summary: "Binary cross-entropy of probabilities in [0, 1] and targets, PyTorch's `binary_cross_entropy`.",
  options: { ...reductionOption, ...elementWeight },
  of:
    ({ reduction, weight }) =>
    (output: Value, target: Value) => {
      if (weight === undefined) return loss.bceLoss([output, like(target, output)], { reduction });
      const each = loss.bceLoss([output, like(target, output)], { reduction: "none" });
      return reduce(np.mul(each, vector(weight, output)), reduction);
    },
});

export const bceWithLogits = defineLoss({
  name: "bceWithLogits",
  summary: "Binary cross-entropy of logits and targets, PyTorch's `binary_cross_entropy_with_logits`.",
  options: {
    ...reductionOption,
    ...elementWeight,
    posWeight: optional(
      list(number),
      "Weights of the targets of 1, one for all or one for each element of the last axis",
    ),
  },
  of:
    ({ reduction, weight, posWeight }) =>
    (output: Value, target: Value) => {
      const operands = [output, like(target, output), ...(posWeight ? [vector(posWeight, output)] : [])];
      if (weight === undefined) return loss.bceWithLogitsLoss(operands, { reduction });
      const each = loss.bceWithLogitsLoss(operands, { reduction: "none" });
      return reduce(np.mul(each, vector(weight, output)), reduction);
    },
});

export const dice = defineLoss({
  name: "dice",
  summary:
    "Soft Dice loss of logits [N, C, …] and class indices [N, …]: 1 − (2·overlap + s) / (total + s), mean over samples and classes.",
  options: { smoothing: option(size, 1, "s, which keeps classes that are absent at 0") },
  of:
    ({ smoothing }) =>
    (output: Value, target: Value) => {
      const p = softmax([output], { axis: 1 });
      const hot = asType(isTarget(target, output), output.type.dtype);
      const axes = output.type.shape.map((_, a) => a).slice(2);
      const overlap = np.add(np.mul(sum(np.mul(p, hot), axes), 2), smoothing);
      const total = np.add(np.add(sum(p, axes), sum(hot, axes)), smoothing);
      return mean(np.sub(one(overlap), np.div(overlap, total)));
    },
});

export const klDiv = defineLoss({
  name: "klDiv",
  summary:
    "Kullback-Leibler divergence of logarithms of probabilities from targets, PyTorch's `kl_div`; `batchmean` divides the sum by the batch's size.",
  options: {
    reduction: option(choice("mean", "sum", "none", "batchmean"), "mean", "What becomes of the loss of each element"),
    logTarget: option(flag, false, "The targets are logarithms as well"),
  },
  of:
    ({ reduction, logTarget }) =>
    (output: Value, target: Value) => {
      if (reduction !== "batchmean") return loss.klDivLoss([output, target], { reduction, logTarget });
      const total = loss.klDivLoss([output, target], { reduction: "sum", logTarget });
      return np.div(total, dimScalar(sizeOf(output, 0), output.type.dtype));
    },
});

// ----------------------------------------------------------------------------------------------------------- margins

export const multiMargin = defineLoss({
  name: "multiMargin",
  summary:
    "Of scores [N, C] and class indices [N]: mean over the other classes' max(0, margin − score of the class + score)^p, PyTorch's `multi_margin_loss`.",
  options: {
    ...reductionOption,
    ...weightOption("class"),
    p: option(choice(1, 2), 1, "Power"),
    margin: option(number, 1, "What the class is to be ahead by"),
  },
  of:
    ({ reduction, weight, p, margin }) =>
    (output: Value, target: Value) => {
      const hot = isTarget(target, output);
      const own = sum(where(hot, output, 0), 1, { keepDims: true });
      const short = positivePart(np.add(np.sub(output, own), margin));
      const powered = p === 1 ? short : mul([short, short]);
      const weighted = weight
        ? np.mul(powered, sum(where(hot, vector(weight, output), 0), 1, { keepDims: true }))
        : powered;
      return reduce(np.div(sum(where(hot, 0, weighted), 1), classCount(output)), reduction);
    },
});

export const multiLabelMargin = defineLoss({
  name: "multiLabelMargin",
  summary:
    "Of scores [N, C] and class indices [N, C], of which those before the first −1 count: sum over pairs of a class that is meant and one that is not of max(0, 1 − difference) / C, PyTorch's `multilabel_margin_loss`.",
  options: reductionOption,
  of:
    ({ reduction }) =>
    (output: Value, target: Value) => {
      const classes = classCount(output);
      // Entry j counts while no entry up to it is negative.
      const at = (axis: number) => iota([], { dtype: "i32", shape: [1, classes, classes], axis });
      const ends = np.and(expandDims(np.lt(target, 0), 1), np.le(at(2), at(1)));
      const counts = np.eq(asType(any([ends], { axes: [2], keepDims: false }), "i32"), 0);
      const safe = where(counts, target, 0);
      const counter = iota([], { dtype: target.type.dtype, shape: [1, 1, classes], axis: 2 });
      // [N, entry, class]
      const named = np.and(np.eq(expandDims(safe, 2), counter), expandDims(counts, 2));
      const meant = any([named], { axes: [1], keepDims: false });
      const own = expandDims(gatherElements([output, safe], { axis: 1 }), 2);
      const short = positivePart(np.add(np.sub(expandDims(output, 1), own), 1));
      const pairs = np.and(expandDims(counts, 2), np.eq(asType(expandDims(meant, 1), "i32"), 0));
      return reduce(np.div(sum(where(pairs, short, 0), [1, 2]), classes), reduction);
    },
});

export const multiLabelSoftMargin = defineLoss({
  name: "multiLabelSoftMargin",
  summary:
    "Of logits [N, C] and targets of 0 and 1: binary cross-entropy, mean over the classes of each sample, PyTorch's `multilabel_soft_margin_loss`.",
  options: { ...reductionOption, ...weightOption("class") },
  of:
    ({ reduction, weight }) =>
    (output: Value, target: Value) => {
      const each = loss.bceWithLogitsLoss([output, like(target, output)], { reduction: "none" });
      const weighted = weight ? np.mul(each, vector(weight, output)) : each;
      return reduce(mean(weighted, -1), reduction);
    },
});

export const softMargin = defineLoss({
  name: "softMargin",
  summary: "log(1 + exp(−target · output)) with targets of 1 and −1, PyTorch's `soft_margin_loss`.",
  options: reductionOption,
  of:
    ({ reduction }) =>
    (output: Value, target: Value) =>
      reduce(softplus([neg([np.mul(output, like(target, output))])], { beta: 1 }), reduction),
});

/** Targets of 0 and 1 as −1 and 1; those of −1 stay. */
const signs = (target: Value): Value => where(np.le(target, 0), -1, target);

export const hinge = defineLoss({
  name: "hinge",
  summary: "max(0, margin − target · output) with targets of 1 and −1 (or 0), Keras's `hinge`.",
  options: { ...reductionOption, margin: option(number, 1, "From where on an output is right enough") },
  of:
    ({ reduction, margin }) =>
    (output: Value, target: Value) =>
      reduce(positivePart(np.add(neg([np.mul(output, signs(like(target, output)))]), margin)), reduction),
});

export const squaredHinge = defineLoss({
  name: "squaredHinge",
  summary: "max(0, margin − target · output)², Keras's `squared_hinge`.",
  options: { ...reductionOption, margin: option(number, 1, "From where on an output is right enough") },
  of:
    ({ reduction, margin }) =>
    (output: Value, target: Value) => {
      const short = positivePart(np.add(neg([np.mul(output, signs(like(target, output)))]), margin));
      return reduce(mul([short, short]), reduction);
    },
});
