/**
 * Metrics to hand to `trainStep`: functions of the model's output and the targets, which are right over batches of any sizes
 * (`Metric`). docs/TRAINING.md lists them all.
 */

import type { Value } from "../../ir/graph.js";
import { defined, type Kind, type OptionsOf, option, settle } from "../schema.js";
import { gradientNorm as norm } from "./optim/clip.js";

export {
  accuracy,
  auc,
  averagePrecision,
  binaryAccuracy,
  confusionMatrix,
  f1,
  fBeta,
  iou,
  meanAveragePrecision,
  perplexity,
  precision,
  recall,
  topK,
} from "./metrics/classes.js";
export type { Metric, Sums } from "./metrics/define.js";
export { boxAveragePrecision } from "./metrics/detection.js";
export {
  meanAbsoluteError,
  meanSquaredError,
  r2,
  rootMeanSquaredError,
} from "./metrics/regression.js";

const anyNorm: Kind<number> = { expected: "a number > 0, or Infinity", fits: (v) => typeof v === "number" && v > 0 };
const normOptions = { p: option(anyNorm, 2, "Which norm") };

export const gradientNorm = defined(
  {
    name: "metrics.gradientNorm",
    summary:
      "Norm of all gradients as one vector, before they are clipped. Training steps have it, evaluation does not.",
    options: normOptions,
  },
  (given?: OptionsOf<typeof normOptions>) => {
    const { p } = settle("metrics.gradientNorm", given, normOptions);
    return { gradients: (gradients: readonly Value[]): Value => norm(gradients, p) };
  },
);
