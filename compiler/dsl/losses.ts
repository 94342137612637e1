/**
 * Losses to hand to `trainStep` and to use in programs: each gives a function of the model's output and the target. Defaults are
 * PyTorch's; docs/TRAINING.md lists them all.
 */

import { addAll, np } from "../../ir/build.js";
import { ModelError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import { ctcLoss } from "../../ir/ops/ctc.js";
import { defined, flag, index, option } from "../schema.js";
import { defineLoss, type Loss, reductionOption } from "./losses/define.js";

export {
  bce,
  bceWithLogits,
  crossEntropy,
  dice,
  focal,
  hinge,
  klDiv,
  multiLabelMargin,
  multiLabelSoftMargin,
  multiMargin,
  nll,
  softMargin,
  softmaxFocal,
  squaredHinge,
} from "./losses/classes.js";
export type { Loss, LossOf } from "./losses/define.js";
export {
  contrastive,
  cosineEmbedding,
  hingeEmbedding,
  infoNCE,
  marginRanking,
  triplet,
} from "./losses/pairs.js";
export {
  cosineSimilarity,
  gaussianNLL,
  huber,
  l1,
  logCosh,
  meanAbsolutePercentage,
  meanSquaredLogarithmic,
  mse,
  poissonNLL,
  smoothL1,
} from "./losses/regression.js";

export const ctc = defineLoss({
  name: "ctc",
  summary:
    "CTC of logarithms of probabilities [T, N, C], targets [N, S], and the lengths of inputs and targets [N], PyTorch's `ctc_loss`. The mean divides each loss by its target's length first.",
  options: {
    ...reductionOption,
    blank: option(index, 0, "Class that stands for no label"),
    zeroInfinity: option(flag, false, "Infinite losses and their gradients count as 0"),
  },
  of: (attrs) => (output: Value, target: Value, inputLengths: Value, targetLengths: Value) =>
    ctcLoss([output, target, inputLengths, targetLengths], attrs),
});

/** Weighted sum of losses of the same output and target. */
export const weightedSum = defined(
  {
    name: "losses.weightedSum",
    summary: "Of lists [weight, loss]: the weighted sum of losses of the same output and target.",
  },
  (...parts: readonly (readonly [weight: number, loss: Loss])[]): Loss => {
    parts.forEach((part, i) => {
      if (!Array.isArray(part) || !Number.isFinite(part[0]) || typeof part[1] !== "function")
        throw new ModelError({ where: `losses.weightedSum: part ${i + 1}`, message: "expected [weight, loss]" });
    });
    return (output, target) => addAll(parts.map(([weight, of]) => np.mul(of(output, target), weight)));
  },
);
