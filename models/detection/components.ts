/** What detectors are compared with: connected ink, and softmax regression on what it shows. */

import { randomOf } from "wasmith/data";
import { digitBytes } from "../data/digits.js";
import type { Found } from "./average-precision.js";

/** Scenes have noise below this. */
const ink = 0.3;
/** Less connected pixels are no digit. */
const leastPixels = 12;
/** Digits are looked at as side × side pixels, whatever their size. */
const side = 14;

/** Boxes around connected pixels above `ink`; diagonal neighbours are connected. @param pixels [size, size] */
export function components(pixels: ArrayLike<number>, size: number): [number, number, number, number][] {
  const seen = new Uint8Array(size * size);
  const boxes: [number, number, number, number][] = [];
  for (let start = 0; start < size * size; start++) {
    if (seen[start] || pixels[start]! <= ink) continue;
    const box: [number, number, number, number] = [size, size, 0, 0];
    const queue = [start];
    seen[start] = 1;
    for (let i = 0; i < queue.length; i++) {
      const [x, y] = [queue[i]! % size, Math.floor(queue[i]! / size)];
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x + 1);
      box[3] = Math.max(box[3], y + 1);
      for (const v of [y - 1, y, y + 1])
        for (const u of [x - 1, x, x + 1]) {
          const next = v * size + u;
          if (u < 0 || v < 0 || u >= size || v >= size || seen[next] || pixels[next]! <= ink) continue;
          seen[next] = 1;
          queue.push(next);
        }
    }
    if (queue.length >= leastPixels) boxes.push(box);
  }
  return boxes;
}

/** What a box holds, stretched to side × side, and 1 for the bias. */
export function stretched(pixels: ArrayLike<number>, size: number, box: readonly [number, number, number, number]) {
  const [left, top, right, bottom] = box;
  const values = new Float64Array(side * side + 1).fill(1);
  for (let i = 0; i < side * side; i++) {
    const x = left + ((i % side) * (right - 1 - left)) / (side - 1);
    const y = top + (Math.floor(i / side) * (bottom - 1 - top)) / (side - 1);
    const [u, v] = [Math.floor(x), Math.floor(y)];
    const at = (row: number, column: number) => pixels[Math.min(row, bottom - 1) * size + Math.min(column, right - 1)]!;
    const line = (row: number) => (1 - x + u) * at(row, u) + (x - u) * at(row, u + 1);
    values[i] = (1 - y + v) * line(v) + (y - v) * line(v + 1);
  }
  return values;
}

function probabilities(weights: readonly Float64Array[], x: Float64Array): number[] {
  const logits = weights.map((w) => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += w[i]! * x[i]!;
    return sum;
  });
  const most = Math.max(...logits);
  const powers = logits.map((v) => Math.exp(v - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / total);
}

/** Softmax regression on the digits to learn from, each cut to its ink: 3 epochs of gradient descent, one digit at a time. */
async function learnt(): Promise<Float64Array[]> {
  const { count, pixels, labels } = await digitBytes("train");
  const random = randomOf(1);
  const weights = Array.from({ length: 10 }, () => new Float64Array(side * side + 1));
  for (let step = 0; step < 3 * count; step++) {
    const which = random.integer(count);
    const own = Float32Array.from(pixels.subarray(which * 784, (which + 1) * 784), (v) => v / 255);
    const [box] = components(own, 28).sort((a, b) => (b[2] - b[0]) * (b[3] - b[1]) - (a[2] - a[0]) * (a[3] - a[1]));
    if (!box) continue;
    const x = stretched(own, 28, box);
    const said = probabilities(weights, x);
    const rate = 0.02 * (1 - step / (3 * count));
    weights.forEach((w, c) => {
      const error = said[c]! - (Number(labels.data[which]) === c ? 1 : 0);
      for (let i = 0; i < x.length; i++) w[i]! -= rate * error * x[i]!;
    });
  }
  return weights;
}

/** For each scene a box around each piece of connected ink, with each digit's probability. @param x [count, size, size] */
export async function foundByComponents(x: Float32Array, size: number): Promise<Found[][]> {
  const weights = await learnt();
  return Array.from({ length: x.length / (size * size) }, (_, i) => {
    const scene = x.subarray(i * size * size, (i + 1) * size * size);
    return components(scene, size).flatMap((corners) =>
      probabilities(weights, stretched(scene, size, corners)).map((score, label) => ({ corners, score, label })),
    );
  });
}
