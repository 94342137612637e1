/** Weights of integer products, packed in pairs when compiling. */

import type { Value } from "../../../ir/graph.js";
import { elementCount, type Tensor } from "../../../ir/tensor.js";
import { packedPairsLength, packPairs } from "../../kernels/pack-pairs.js";

export type Bytes = Int8Array | Int16Array;

/** Whether the value is a constant that the `i16pair` kernels can read. */
export const isPairedWeight = (v: Value): boolean =>
  v.def.op === "constant" && (v.type.dtype === "i8" || v.type.dtype === "i16");

/** Packs a constant batch of matrices as pairs; `at` gives the place of element (k, n) of a matrix. */
export function packMatrixPairs(
  t: Tensor,
  starts: readonly number[],
  [k, n]: readonly [number, number],
  nr: number,
  at: (k: number, n: number) => number,
  out: Tensor,
): void {
  if (elementCount(t.shape) === 0) return;
  const length = packedPairsLength(1, k, n, nr);
  starts.forEach((start, b) => {
    const target = (out.data as Bytes).subarray(b * length, (b + 1) * length);
    packPairs(t.data as Bytes, [1, k, n], nr, (_, i, j) => start + at(i, j), target);
  });
}
