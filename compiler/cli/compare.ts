/** Compares tensors and says how they differ. */

import { element, type Tensor } from "../../ir/tensor.js";

export interface Difference {
  readonly count: number;
  readonly total: number;
  /** Largest |got − want|. */
  readonly largest: number;
  /** Relative L2 distance. */
  readonly relative: number;
  readonly at: number;
  readonly got: number;
  readonly want: number;
}

/** How two tensors differ beyond atol + rtol · |want|; undefined if they don't. */
export function compareTensors(got: Tensor, want: Tensor, rtol: number, atol: number): Difference | string | undefined {
  if (got.dtype !== want.dtype) return `expected ${want.dtype}, got ${got.dtype}`;
  if (got.shape.length !== want.shape.length || got.shape.some((d, i) => d !== want.shape[i]))
    return `expected shape [${want.shape}], got [${got.shape}]`;
  let [count, largest, square, norm] = [0, 0, 0, 0];
  let first: { at: number; got: number; want: number } | undefined;
  for (let i = 0; i < want.data.length; i++) {
    const [a, b] = [element(got, i), element(want, i)];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) {
      norm += b * b || 0;
      continue;
    }
    const distance = Math.abs(a - b);
    if (!(distance <= largest)) largest = distance;
    square += distance * distance;
    norm += b * b;
    if (distance <= atol + rtol * Math.abs(b)) continue;
    count++;
    first ??= { at: i, got: a, want: b };
  }
  if (!first) return undefined;
  return { count, total: want.data.length, largest, relative: Math.sqrt(square / (norm || 1)), ...first };
}

export const describeDifference = (d: Difference | string): string =>
  typeof d === "string"
    ? d
    : `${d.count} of ${d.total} elements differ: element ${d.at} is ${d.got}, expected ${d.want}; ` +
      `largest difference ${d.largest.toExponential(2)}, relative L2 ${d.relative.toExponential(2)}`;

/** Largest finite magnitude. */
export function largestOf(t: Tensor): number {
  let most = 0;
  for (let i = 0; i < t.data.length; i++) {
    const v = Math.abs(element(t, i));
    if (v > most && Number.isFinite(v)) most = v;
  }
  return most;
}
