/** Trains a small AlexNet on articles of clothing: `wasmith train models/alexnet`. */

import type { Goal } from "wasmith";
import { classifier, linear } from "../data/fashion.js";
import { AlexNet, responseNorms } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 4, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default classifier(
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
  fit,
);
