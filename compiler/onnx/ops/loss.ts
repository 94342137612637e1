/** Losses. */
import { asType, constantLike, dimScalar, expandDims, np, reshapeTo, squeeze, sum, where } from "../../../ir/build.js";

import type { Value } from "../../../ir/graph.js";
import { neg } from "../../../ir/ops/elementwise.js";
import { gather, gatherElements } from "../../../ir/ops/indexing.js";
import { eq } from "../../../ir/ops/logic.js";
import { productOf } from "../../../ir/ops/movement.js";
import { logSoftmax } from "../../../ir/ops/softmax.js";

import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";

/** −w[t] · x[n, t, …], reduced as the node says. Elements whose target is ignore_index count for nothing. */
function negativeLogLikelihood(
  c: NodeContext,
  logProbabilities: Value,
  target: Value,
  weights: Value | undefined,
): Value {
  const reduction = c.attrs.oneOf("reduction", ["mean", "sum", "none"], "mean");
  const ignore = c.attrs.int("ignore_index", undefined);
  const ignored = ignore === undefined ? undefined : eq([target, constantLike(target, ignore)]);
  const classes = ignored ? where(ignored, 0, target) : target;
  const { shape } = logProbabilities.type;
  const rows = [shape[0]!, ...shape.slice(2)];
  const picked = squeeze(gatherElements([logProbabilities, expandDims(reshapeTo(classes, rows), 1)], { axis: 1 }), 1);
  let weight = weights && gather([weights, classes], { axis: 0 });
  if (ignored)
    weight = weight ? where(ignored, 0, weight) : asType(np.eq(asType(ignored, "i32"), 0), picked.type.dtype);
  // An ignored element's own value, be it −∞, has no effect.
  const loss = weight ? where(np.eq(weight, 0), 0, neg([np.mul(picked, weight)])) : neg([picked]);
  if (reduction === "none") return loss;
  const total = sum(loss);
  if (reduction === "sum") return total;
  return np.div(total, weight ? sum(weight) : dimScalar(productOf(loss.type.shape), loss.type.dtype));
}

const nll: ImportOp = (c) => negativeLogLikelihood(c, c.input(0), c.input(1), c.optional(2));

const softmaxCrossEntropy: ImportOp = (c): readonly Bound[] => {
  const logProbabilities = logSoftmax([c.input(0)], { axis: 1 });
  return [negativeLogLikelihood(c, logProbabilities, c.input(1), c.optional(2)), logProbabilities];
};

export const loss = {
  NegativeLogLikelihoodLoss: nll,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropy,
} as const satisfies Readonly<Record<string, OpRow>>;
