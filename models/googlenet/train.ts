/** Trains a small GoogLeNet on articles of clothing: `wasmith train models/googlenet`. */

import type { Goal } from "wasmith";
import { linear, supervisedOnTheWay } from "../data/fashion.js";
import { GoogLeNet } from "./model.js";

export { accuracy as measure, hardest as show, training as dataset, validation } from "../data/fashion.js";
export const fit = { epochs: 8, batchSize: 32 };
export const goal: Goal = { figure: "accuracy", atLeast: 0.85, baseline: linear };

export default supervisedOnTheWay(new GoogLeNet({ width: 1 / 8, small: true, classes: 10, inputs: 1 }), fit);
