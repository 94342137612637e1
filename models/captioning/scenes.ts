/** Scenes of one or two handwritten digits, and what one would say of them. */

import { randomOf } from "wasmith/data";
import { digitBytes, type Part } from "../data/digits.js";

/** Height and width of a scene, and of its quarters, which hold a digit each at most. */
export const side = 32;
export const half = side / 2;
export const names = "zero one two three four five six seven eight nine".split(" ");

export interface Scene {
  /** [1, side, side], from 0 to 1. */
  readonly picture: Float32Array;
  readonly caption: string;
}

/** Draws digits, 14 or 9 pixels high, somewhere in a square of `half` pixels, always the same ones for a seed. */
async function drawing(part: Part, seed: number) {
  const { count, pixels, labels } = await digitBytes(part);
  const random = randomOf(seed);
  function draw(picture: Float32Array, { left, top, width }: { left: number; top: number; width: number }) {
    const isSmall = random.chance(0.5);
    const shrunk = isSmall ? 3 : 2;
    const size = Math.floor(28 / shrunk);
    const i = random.integer(count);
    const [x0, y0] = [left + random.integer(half - size + 1), top + random.integer(half - size + 1)];
    for (let y = 0; y < size * shrunk; y++)
      for (let x = 0; x < size * shrunk; x++)
        picture[(y0 + Math.floor(y / shrunk)) * width + x0 + Math.floor(x / shrunk)]! +=
          pixels[i * 784 + y * 28 + x]! / 255 / shrunk ** 2;
    return { isSmall, digit: Number(labels.data[i]) };
  }
  return { random, draw };
}

/** Scenes, others for each seed, of the digits to learn from or of those to measure on. */
export async function scenes(part: Part, count: number, seed: number): Promise<readonly Scene[]> {
  const { random, draw } = await drawing(part, seed);
  return Array.from({ length: count }, () => {
    const picture = new Float32Array(side * side);
    const told = (column: number, row: number) => {
      const { isSmall, digit } = draw(picture, { left: column * half, top: row * half, width: side });
      return `a ${isSmall ? "small" : "large"} ${names[digit]}`;
    };
    const [column, row] = [random.integer(2), random.integer(2)];
    if (random.chance(0.3)) return { picture, caption: told(column, row) };
    if (random.chance(0.5)) return { picture, caption: `${told(column, 0)} above ${told(column, 1)}` };
    return { picture, caption: `${told(0, row)} left of ${told(1, row)}` };
  });
}

/** Single digits `x` [1, half, half], as scenes have them, and which they are `y`. */
export async function singles(part: Part, count: number, seed: number) {
  const { draw } = await drawing(part, seed);
  return Array.from({ length: count }, () => {
    const data = new Float32Array(half * half);
    const { digit: y } = draw(data, { left: 0, top: 0, width: half });
    return { x: { dtype: "f32" as const, shape: [1, half, half], data }, y };
  });
}
