/** Trains a fully convolutional network to cut digits out of scenes: `wasmith train models/fcn`. */

import { type Goal, losses, metrics, optim, schedules, trainStep } from "wasmith";
import type { TrainingSession } from "wasmith/runtime";
import { scenes } from "../data/scenes.js";
import { grid } from "../pictures.js";
import { floats } from "../values.js";
import { Fcn } from "./model.js";

const side = 48;
/** No digit, and the ten digits. */
const classes = 11;

async function set(part: "train" | "test", count: number) {
  const { x, mask } = await scenes(part, { count, seed: part === "train" ? 1 : 2, side });
  return { x, mask };
}

export const fit = { epochs: 7, batchSize: 16 };
const known = 4000;
export const dataset = () => set("train", known);
export const validation = () => set("test", 300);
export const goal: Goal = {
  figure: "iou",
  atLeast: 0.5,
  baseline: { name: "softmax regression on the 9×9 pixels around each", value: 0.097 },
};

export default trainStep(new Fcn({ classes, inputs: 1, channels: [8, 16, 32, 48] }), {
  inputs: { x: ["batch", 1, side, side] },
  targets: { mask: { dtype: "i32", shape: ["batch", side, side] } },
  loss: losses.crossEntropy(),
  optimizer: optim.Adam(),
  schedule: schedules.warmupCosine(4e-3, 50, fit.epochs * Math.ceil(known / fit.batchSize)),
  metrics: { iou: metrics.iou({ classes }), accuracy: metrics.accuracy() },
});

/** Scenes, what the network takes for digits (the brighter, the larger the digit), and what is there. */
export async function show(session: TrainingSession) {
  const { x, mask } = await set("test", 8);
  const logits = floats((await session.predict({ x })).output);
  const pixels = side * side;
  const found = Array.from({ length: 8 * pixels }, (_, i) => {
    const [scene, at] = [Math.floor(i / pixels), i % pixels];
    const scores = Array.from({ length: classes }, (_, c) => logits[(scene * classes + c) * pixels + at]!);
    return scores.indexOf(Math.max(...scores)) / (classes - 1);
  });
  const there = Array.from(mask.data, (c) => c / (classes - 1));
  return { "scenes.png": grid([...x.data, ...found, ...there], { size: [side, side], columns: 8 }) };
}
