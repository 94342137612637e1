/** Scenes made of handwritten digits, for what finds or cuts out: always the same ones for a seed. */

import { type Random, randomOf } from "wasmith/data";
import { digitBytes, type Part } from "./digits.js";

export interface SceneOptions {
  readonly count: number;
  readonly seed: number;
  /** Height and width of a scene. Default 48. */
  readonly side?: number;
  /** Most digits of a scene; at least one is there. Default 3. */
  readonly most?: number;
  /** Pieces of other digits, 9×9 pixels each, that are nothing to find. Default 3. */
  readonly clutter?: number;
  /** Least and largest height and width of the square of a digit. Default [16, 28]. */
  readonly sizes?: readonly [least: number, largest: number];
}

/** From which value on a pixel is ink. */
const ink = 0.3;
/** What is behind the digits is noise from 0 to this. */
const noise = 0.25;
/** Height and width of a piece of clutter. */
const piece = 9;
/** By how many pixels the squares of digits may overlap along an axis. */
const overlap = 4;

/** A digit of 28×28 bytes as side×side values from 0 to 1, bilinear. */
function resized(pixels: Uint8Array, side: number): Float32Array {
  const result = new Float32Array(side * side);
  const at = (y: number, x: number) => pixels[Math.min(27, y) * 28 + Math.min(27, x)]! / 255;
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++) {
      const [v, u] = [(y * 27) / (side - 1), (x * 27) / (side - 1)];
      const [top, left] = [Math.floor(v), Math.floor(u)];
      const [dy, dx] = [v - top, u - left];
      result[y * side + x] =
        (1 - dy) * ((1 - dx) * at(top, left) + dx * at(top, left + 1)) +
        dy * ((1 - dx) * at(top + 1, left) + dx * at(top + 1, left + 1));
    }
  return result;
}

type Square = readonly [left: number, top: number, size: number];

/** Places for one digit or more. */
function squares(random: Random, side: number, most: number, [least, largest]: readonly [number, number]): Square[] {
  const taken: Square[] = [];
  const wanted = 1 + random.integer(most);
  for (let tries = 0; tries < 30 && taken.length < wanted; tries++) {
    const size = least + random.integer(largest - least + 1);
    const [left, top] = [random.integer(side - size + 1), random.integer(side - size + 1)];
    const apart = (a: number, sizeOfA: number, b: number, sizeOfB: number) =>
      a + sizeOfA <= b + overlap || b + sizeOfB <= a + overlap;
    if (taken.every(([l, t, s]) => apart(left, size, l, s) || apart(top, size, t, s))) taken.push([left, top, size]);
  }
  return taken;
}

/**
 * Scenes `x` [count, 1, side, side] of values in [0, 1], with noise and clutter behind the digits; `boxes` [count, most, 5] of (x1, y1, x2, y2, digit)
 * around their ink, in pixels, digit −1 where there is none; `mask` [count, side, side] in i32 with 1 + digit on ink and 0 elsewhere.
 */
export async function scenes(
  part: Part,
  { count, seed, side = 48, most = 3, clutter = 3, sizes = [16, 28] }: SceneOptions,
) {
  const { count: known, pixels, labels } = await digitBytes(part);
  const x = new Float32Array(count * side * side);
  const boxes = new Float32Array(count * most * 5).fill(-1);
  const mask = new Int32Array(count * side * side);
  const random = randomOf(seed);
  for (let scene = 0; scene < count; scene++) {
    const from = scene * side * side;
    for (let i = 0; i < side * side; i++) x[from + i] = noise * random.uniform();
    for (let i = 0; i < clutter; i++) {
      const [fromX, fromY] = [4 + random.integer(20 - piece), 4 + random.integer(20 - piece)];
      const [left, top] = [random.integer(side - piece + 1), random.integer(side - piece + 1)];
      const digit = random.integer(known) * 784;
      for (let y = 0; y < piece; y++)
        for (let px = 0; px < piece; px++) {
          const to = from + (top + y) * side + left + px;
          x[to] = Math.max(x[to]!, pixels[digit + (fromY + y) * 28 + fromX + px]! / 255);
        }
    }
    squares(random, side, most, sizes).forEach(([left, top, size], place) => {
      const which = random.integer(known);
      const digit = Number(labels.data[which]);
      const box = [side, side, 0, 0] as [number, number, number, number];
      resized(pixels.subarray(which * 784, (which + 1) * 784), size).forEach((value, i) => {
        const [px, py] = [left + (i % size), top + Math.floor(i / size)];
        const to = from + py * side + px;
        x[to] = Math.max(x[to]!, value);
        if (value <= ink) return;
        mask[to] = 1 + digit;
        box[0] = Math.min(box[0], px);
        box[1] = Math.min(box[1], py);
        box[2] = Math.max(box[2], px + 1);
        box[3] = Math.max(box[3], py + 1);
      });
      boxes.set([...box, digit], (scene * most + place) * 5);
    });
  }
  return {
    x: { dtype: "f32" as const, shape: [count, 1, side, side], data: x },
    boxes: { dtype: "f32" as const, shape: [count, most, 5], data: boxes },
    mask: { dtype: "i32" as const, shape: [count, side, side], data: mask },
  };
}
