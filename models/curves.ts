/** What charts are made of. */

import type { Point } from "wasmith/callbacks";

/** Means of neighbouring values, at most `most` points: a curve that can be seen. */
export function thinned(values: readonly number[], most = 100): [x: number, y: number][] {
  const stride = Math.max(1, Math.ceil(values.length / most));
  return Array.from({ length: Math.ceil(values.length / stride) }, (_, i) => {
    const part = values.slice(i * stride, (i + 1) * stride);
    return [i * stride + part.length, part.reduce((a, b) => a + b, 0) / part.length];
  });
}

/** Points of the plane, x and y of one after those of the other. */
export const pointsOf = (values: ArrayLike<number>): Point[] =>
  Array.from({ length: values.length / 2 }, (_, i) => [values[2 * i]!, values[2 * i + 1]!]);
