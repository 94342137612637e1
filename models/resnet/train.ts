/** Trains a small ResNet-18 on articles of clothing: `wasmith train models/resnet`. */

import type { Goal } from "wasmith";
import { classifier, linear } from "../data/fashion.js";
import { ResNet } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 3, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.86, baseline: linear };

export default classifier(new ResNet({ width: 8, small: true, classes: 10, inputs: 1 }), fit);
