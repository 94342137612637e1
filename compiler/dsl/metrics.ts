/** Metrics to hand to `trainStep`: scalars of the model's output and the target, means over the batch. */

import { asType, mean, np } from "../../ir/build.js";
import { argMax } from "../../ir/ops/reduce.js";
import { like } from "./losses/define.js";
import { type Loss, l1, mse } from "./losses.js";

/** Share of samples whose largest logit (axis 1) is the target class. */
export const accuracy = (): Loss => (output, target) => {
  const axis = output.type.shape.length === 1 ? 0 : 1;
  const best = asType(argMax([output], { axis, keepDims: false }), target.type.dtype);
  return mean(asType(np.eq(best, target), "f32"));
};

/** Share of elements where the sign of the logit agrees with a target of 0 or 1. */
export const binaryAccuracy = (): Loss => (output, target) =>
  mean(asType(np.eq(np.gt(output, 0), np.gt(like(target, output), 0.5)), "f32"));

export const meanAbsoluteError = (): Loss => l1();
export const meanSquaredError = (): Loss => mse();
