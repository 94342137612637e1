/** What the detectors here learn: to find handwritten digits in scenes that also hold pieces of digits. */

import type { Tensor } from "wasmith/runtime";
import { scenes } from "../data/scenes.js";
import { floats } from "../values.js";
import { type Found, intersectionOverUnion, meanAveragePrecision } from "./average-precision.js";
import { drawn } from "./draw.js";
import { boxesOf, foundOf } from "./rows.js";

/** Height and width of scenes. */
export const side = 48;
/** Most digits of a scene. */
export const most = 3;
const learnt = 6000;

/** Scenes `x` [6000, 1, 48, 48] and `boxes` [6000, 3, 5] of corners and digit, digit −1 where there is none. */
export async function dataset() {
  const { x, boxes } = await scenes("train", { count: learnt, seed: 1, side, most });
  return { x, boxes };
}

/** Batches in an epoch. */
export const updatesAnEpoch = (batchSize: number) => Math.ceil(learnt / batchSize);

/** Scenes of digits that are not learnt from. */
export const unseen = (count: number) => scenes("test", { count, seed: 2, side, most });

/** What detectors are compared with, see components.ts: mAP of the same 500 scenes. */
export const components = { name: "connected ink, and softmax regression on what it shows", value: 0.487 };

/** A session of a detector: `found` holds rows (x1, y1, x2, y2, score, class) of each scene, score 0 where there are no more. */
export interface Detector {
  predict(feeds: { readonly x: Tensor<"f32"> }): Promise<{ readonly found: Tensor | number }>;
}

async function found(session: Detector, x: Tensor<"f32">): Promise<Found[][]> {
  const [count, ...rest] = x.shape as [number, ...number[]];
  const size = rest.reduce((a, b) => a * b, 1);
  const all: Found[][] = [];
  for (let from = 0; from < count; from += 50) {
    const batch = x.data.subarray(from * size, (from + 50) * size);
    const { found } = await session.predict({ x: { ...x, shape: [batch.length / size, ...rest], data: batch } });
    all.push(...foundOf(floats(found), (found as Tensor).shape[1]!));
  }
  return all;
}

/** mAP of 500 scenes that were not learnt from, with boxes that overlap by half. */
export async function measure(session: Detector) {
  const { x, boxes } = await unseen(500);
  const there = boxesOf(boxes.data, most);
  const all = await found(session, x);
  const places = <B extends { label: number }>(scenes: readonly (readonly B[])[]) =>
    scenes.map((boxes) => boxes.map((box) => ({ ...box, label: 0 })));
  return {
    mAP: meanAveragePrecision(all, there),
    /** Whatever digit is said. */
    placesAP: meanAveragePrecision(places(all), places(there)),
  };
}

/** Scenes with what is found in them with a score of 0.25 or more, better boxes above others: green where class and place are right. */
export async function show(session: Detector) {
  const { x, boxes } = await unseen(20);
  const there = boxesOf(boxes.data, most);
  const pictures = (await found(session, x)).map((all, i) => ({
    pixels: x.data.subarray(i * side * side, (i + 1) * side * side),
    boxes: all
      .filter((box) => box.score >= 0.25)
      .sort((a, b) => a.score - b.score)
      .map((box) => ({
        ...box,
        right: there[i]!.some((t) => t.label === box.label && intersectionOverUnion(t.corners, box.corners) >= 0.5),
      })),
  }));
  return { "found.png": drawn(pictures, { side, columns: 5 }) };
}
