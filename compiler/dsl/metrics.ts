/**
 * Metrics to hand to `trainStep`: functions of the model's output and the targets, which are right over batches of any sizes
 * (`Metric`). docs/TRAINING.md lists them all.
 */

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
export {
  meanAbsoluteError,
  meanSquaredError,
  r2,
  rootMeanSquaredError,
} from "./metrics/regression.js";
