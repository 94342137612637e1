/** Pictures with the boxes that were found in them, as PNG files. */

import { grid } from "../pictures.js";
import type { Box } from "./average-precision.js";

type Color = readonly [red: number, green: number, blue: number];
const [right, wrong]: readonly [Color, Color] = [
  [0.25, 0.9, 0.4],
  [1, 0.35, 0.25],
];

/** Rows of 3 bits for each digit. */
const glyphs = [
  [7, 5, 5, 5, 7],
  [2, 6, 2, 2, 7],
  [7, 1, 7, 4, 7],
  [7, 1, 3, 1, 7],
  [5, 5, 7, 1, 1],
  [7, 4, 7, 1, 7],
  [7, 4, 7, 5, 7],
  [7, 1, 2, 2, 2],
  [7, 5, 7, 5, 7],
  [7, 5, 7, 1, 7],
];

export interface Drawn {
  /** Values from 0 to 1, [side, side]. */
  readonly pixels: ArrayLike<number>;
  readonly boxes: readonly (Box & { readonly right: boolean })[];
}

/** Each pixel is drawn as so many in both directions. */
const scale = 3;

/** A picture [3, scale · side, scale · side]: frames with the digit in their corner, green where they are right. */
function framed({ pixels, boxes }: Drawn, side: number): Float32Array {
  const wide = side * scale;
  const picture = Float32Array.from({ length: 3 * wide * wide }, (_, i) => {
    const [x, y] = [i % wide, Math.floor(i / wide) % wide];
    return pixels[Math.floor(y / scale) * side + Math.floor(x / scale)]!;
  });
  const paint = (x: number, y: number, color: Color) => {
    if (x < 0 || y < 0 || x >= wide || y >= wide) return;
    color.forEach((value, c) => {
      picture[(c * wide + y) * wide + x] = value;
    });
  };
  for (const box of boxes) {
    const color = box.right ? right : wrong;
    const [x1, y1, x2, y2] = Array.from({ length: 4 }, (_, i) =>
      Math.min(wide - 1, Math.max(0, Math.round(box.corners[i]! * scale) - (i < 2 ? 0 : 1))),
    ) as [number, number, number, number];
    for (let x = x1; x <= x2; x++) for (const y of [y1, y2]) paint(x, y, color);
    for (let y = y1; y <= y2; y++) for (const x of [x1, x2]) paint(x, y, color);
    // The digit on a plate, twice as large as its bits.
    const glyph = glyphs[box.label] ?? [];
    for (let y = 0; y < 14; y++)
      for (let x = 0; x < 10; x++) {
        const bit = glyph[(y >> 1) - 1] !== undefined && ((glyph[(y >> 1) - 1]! << 1) >> (4 - (x >> 1))) & 1;
        paint(x1 + x, y1 + y, bit ? [0, 0, 0] : color);
      }
  }
  return picture;
}

/** Square pictures with boxes around digits, in a grid. */
export const drawn = (pictures: readonly Drawn[], { side, columns }: { side: number; columns: number }): Uint8Array => {
  const wide = side * scale;
  const all = new Float32Array(pictures.length * 3 * wide * wide);
  pictures.forEach((picture, i) => {
    all.set(framed(picture, side), i * 3 * wide * wide);
  });
  return grid(all, { size: [wide, wide], channels: 3, columns, scale: 1 });
};
