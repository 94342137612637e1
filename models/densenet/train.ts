/** Trains a small DenseNet on articles of clothing: `wasmith train models/densenet`. */

import type { Goal } from "wasmith";
import { classifier, linear } from "../data/fashion.js";
import { DenseNet } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 4, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default classifier(
  new DenseNet({ depths: [3, 3, 3], growth: 8, bottleneck: 2, width: 16, small: true, classes: 10, inputs: 1 }),
  fit,
);
