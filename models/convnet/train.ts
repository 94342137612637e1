/** Trains the ConvNet on handwritten digits: `wasmith train models/convnet`. */

import { type Goal, losses, metrics, optim, schedules, trainStep } from "wasmith";
import { augment, normalize, rotate, shift } from "wasmith/data";
import { digits } from "../data/digits.js";
import { convNet } from "./model.js";

/** Pictures 28×28 in the middle of 32×32. */
export const margin = 2;
/** Mean 0 and deviation 1 over all pixels. */
export const scale = normalize({ mean: 0.1307, std: 0.3081 });
const moved = augment("x", [shift({ x: 2, y: 2 }), rotate(15), scale]);

export const fit = { epochs: 40, batchSize: 32 };
export const training = async () => (await digits("train", { margin })).shuffle({ seed: 1 }).map(moved, { seed: 1 });
export const validation = async () => (await digits("test", { margin })).map(augment("x", [scale]));
export { training as dataset };
export const goal: Goal = {
  figure: "accuracy",
  atLeast: 0.985,
  baseline: { name: "softmax regression on pixels", value: 0.879 },
};

/** Updates in all epochs: 10,000 pictures. */
const updates = fit.epochs * Math.ceil(10_000 / fit.batchSize);

export default trainStep(convNet(), {
  inputs: { x: ["batch", 1, 32, 32] },
  targets: { y: { dtype: "i64", shape: ["batch"] } },
  loss: losses.crossEntropy({ labelSmoothing: 0.1 }),
  optimizer: optim.SGD({ momentum: 0.9, weightDecay: 1e-4 }),
  schedule: schedules.warmupCosine(0.04, 200, updates),
  metrics: { accuracy: metrics.accuracy() },
});
