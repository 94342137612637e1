/** The handwritten digits of models/data/digits, as tensors for LeNet: 32×32 with the 28×28 picture in the middle, normalised. */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const folder = new URL("../models/data/digits/", import.meta.url);
const unpack = (name) => gunzipSync(readFileSync(new URL(name, folder)));

/** Mean and deviation of MNIST's pixels in [0, 1]. */
const mean = 0.1307;
const deviation = 0.3081;

/** @param {"train" | "test"} part */
export function digits(part) {
  const pixels = unpack(`${part}-images.idx3.gz`).subarray(16);
  const labels = unpack(`${part}-labels.idx1.gz`).subarray(8);
  const count = labels.length;
  const x = new Float32Array(count * 32 * 32).fill(-mean / deviation);
  for (let n = 0; n < count; n++) {
    for (let row = 0; row < 28; row++) {
      for (let column = 0; column < 28; column++) {
        x[(n * 32 + row + 2) * 32 + column + 2] = (pixels[(n * 28 + row) * 28 + column] / 255 - mean) / deviation;
      }
    }
  }
  return {
    count,
    x: { dtype: "f32", shape: [count, 1, 32, 32], data: x },
    y: { dtype: "i64", shape: [count], data: BigInt64Array.from(labels, BigInt) },
  };
}

/** Samples [from, from + count) of a data set. */
export function take(set, from, count) {
  const size = set.x.data.length / set.count;
  return {
    count,
    x: {
      ...set.x,
      shape: [count, ...set.x.shape.slice(1)],
      data: set.x.data.subarray(from * size, (from + count) * size),
    },
    y: { ...set.y, shape: [count], data: set.y.data.subarray(from, from + count) },
  };
}

/** A picture as text, two rows of pixels a line. */
export function draw(set, index) {
  const picture = set.x.data.subarray(index * 1024, (index + 1) * 1024);
  const ink = (row, column) => (picture[row * 32 + column] ?? 0) > 0.6;
  const lines = [];
  for (let row = 2; row < 30; row += 2) {
    let line = "";
    for (let column = 2; column < 30; column++) {
      const upper = ink(row, column);
      const lower = ink(row + 1, column);
      line += upper ? (lower ? "█" : "▀") : lower ? "▄" : " ";
    }
    lines.push(line);
  }
  return lines;
}
