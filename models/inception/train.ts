/** Trains a small Inception-v3 on articles of clothing: `wasmith train models/inception`. */

import type { Goal } from "wasmith";
import { linear, supervisedOnTheWay } from "../data/fashion.js";
import { InceptionV3 } from "./model.js";

export { accuracy as measure, hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 5, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default supervisedOnTheWay(
  new InceptionV3({ width: 1 / 8, depths: [1, 1, 1], dropout: 0.2, small: true, classes: 10, inputs: 1 }),
  fit,
);
