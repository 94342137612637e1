/** Trains a small AlexNet on articles of clothing: `wasmith train models/alexnet`. */

import { type Goal, losses, metrics, optim, schedules, trainStep } from "wasmith";
import { linear, updatesAnEpoch } from "../data/fashion.js";
import { AlexNet, responseNorms } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 4, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default trainStep(
  new AlexNet({
    classes: 10,
    inputs: 1,
    channels: [12, 24, 32, 24, 24],
    hidden: [128, 128],
    stem: { kernel: 5, stride: 1 },
    side: 2,
    dropout: 0.2,
    norms: responseNorms(),
  }),
  {
    inputs: { x: ["batch", 1, 28, 28] },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam(),
    schedule: schedules.warmupCosine(2e-3, 50, fit.epochs * updatesAnEpoch(fit.batchSize)),
    metrics: { accuracy: metrics.accuracy() },
  },
);
