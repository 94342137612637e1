/** Two domains of digits: white on black, and on textured grounds, where a digit is where the ground's brightness is inverted. */

import { type Random, randomOf } from "wasmith/data";
import { digitBytes, type Part } from "../data/digits.js";

const side = 28;
const size = side * side;
const cells = 4;

/** A texture: brightness at random nodes of a grid, linear between them, and noise. Values 0 … 1. */
function texture(random: Random): Float32Array {
  const brightness = random.between(0.1, 0.5);
  const node = Float32Array.from({ length: (cells + 1) ** 2 }, () => brightness + random.between(-0.3, 0.3));
  return Float32Array.from({ length: size }, (_, p) => {
    const [y, x] = [(Math.floor(p / side) * cells) / side, ((p % side) * cells) / side];
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const between = (a: number, b: number, t: number) => a + (b - a) * t;
    const row = (at: number) => between(node[at * (cells + 1) + left]!, node[at * (cells + 1) + left + 1]!, x - left);
    const value = between(row(top), row(top + 1), y - top) + 0.05 * random.normal();
    return Math.min(1, Math.max(0, value));
  });
}

/** Digits from one to another, in both domains: pictures [count, 1, 28, 28], and labels. */
export async function domains(part: Part, { from = 0, to = Number.POSITIVE_INFINITY, seed = 1 } = {}) {
  const { count: there, pixels, labels } = await digitBytes(part);
  const count = Math.min(to, there) - from;
  const random = randomOf(seed);
  const plain = Float32Array.from(pixels.subarray(from * size, (from + count) * size), (ink) => ink / 255);
  const textured = new Float32Array(count * size);
  for (let i = 0; i < count; i++) {
    const ground = texture(random);
    for (let p = 0; p < size; p++) textured[i * size + p] = Math.abs(ground[p]! - plain[i * size + p]!);
  }
  const y = Int32Array.from(labels.data.subarray(from, from + count) as Uint8Array);
  return { count, shape: [count, 1, side, side] as const, plain, textured, y };
}
