/** Trains a small VGG on articles of clothing: `wasmith train models/vgg`. */

import type { Goal } from "wasmith";
import { classifier, linear } from "../data/fashion.js";
import { Vgg } from "./model.js";

export { hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 2, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default classifier(
  new Vgg({
    depths: [1, 1, 2],
    channels: [12, 24, 48],
    hidden: 128,
    dropout: 0.2,
    side: 3,
    norms: true,
    classes: 10,
    inputs: 1,
  }),
  fit,
);
