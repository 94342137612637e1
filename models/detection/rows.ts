/** Rows of boxes, as scenes have them and entries give them, as objects. */

import type { Box, Found } from "./average-precision.js";

/** The boxes of each picture. @param rows [pictures, each, 5] of corners and class, class −1 where there is none */
export function boxesOf(rows: Float32Array, each: number): Box[][] {
  return pictures(rows, each, 5).map((boxes) =>
    boxes.filter((b) => b[4]! >= 0).map((b) => ({ corners: b.subarray(0, 4), label: b[4]! })),
  );
}

/** What is found in each picture. @param rows [pictures, each, 6] of corners, score and class, score 0 where there is none */
export function foundOf(rows: Float32Array, each: number): Found[][] {
  return pictures(rows, each, 6).map((boxes) =>
    boxes.filter((b) => b[4]! > 0).map((b) => ({ corners: b.subarray(0, 4), score: b[4]!, label: b[5]! })),
  );
}

const pictures = (rows: Float32Array, each: number, width: number): Float32Array[][] =>
  Array.from({ length: rows.length / (each * width) }, (_, picture) =>
    Array.from({ length: each }, (_, i) => {
      const at = (picture * each + i) * width;
      return rows.subarray(at, at + width);
    }),
  );
