/** Trains a small DenseNet on articles of clothing: `wasmith train models/densenet`. */

import { type Goal, losses, metrics, optim, schedules, trainStep } from "wasmith";
import { linear, updatesAnEpoch } from "../data/fashion.js";
import { DenseNet } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 4, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default trainStep(
  new DenseNet({ depths: [3, 3, 3], growth: 8, bottleneck: 2, width: 16, small: true, classes: 10, inputs: 1 }),
  {
    inputs: { x: ["batch", 1, 28, 28] },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam(),
    schedule: schedules.warmupCosine(2e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize)),
    metrics: { accuracy: metrics.accuracy() },
  },
);
