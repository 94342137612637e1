/** Weights of integer products, packed in pairs when compiling. */

import { type Dim, dimBounds } from "../../../ir/dim.js";
import { param, type Value } from "../../../ir/graph.js";
import { cast } from "../../../ir/ops/cast.js";
import { elementCount, type Tensor } from "../../../ir/tensor.js";
import { packedPairsLength, packPairs } from "../../kernels/pack-pairs.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { Place } from "../core/place.js";
import { Points } from "../core/point.js";
import { emitMap, iterate } from "../elementwise/map.js";

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

/** Rows of a product from which on its weights are widened before it. */
const manyRows = 16;

/**
 * Packed weights as the kernel reads them fastest: as i16, which saves a tenth of its instructions, where that is made once
 * (compiler/plan/prepare.ts) and read by many rows; as they are stored otherwise.
 */
export function readyPairs(ctx: LowerContext, weight: Value, packed: View, rows: Dim, loc: string | undefined): View {
  const { dtype, shape } = packed.buffer;
  if (dtype === "i16" || !ctx.isKept(weight) || dimBounds(rows).min < manyRows) return packed;
  const to = ctx.temp("i16", shape);
  const w = param("w", { dtype, shape });
  const wide = cast([w], { to: "i16" });
  const { loops, index } = iterate(shape);
  const place = Place.at(shape, index);
  const point = new Points((v) => (v === w ? { kind: "view", view: packed } : undefined)).at(wide, place);
  emitMap(ctx, "i16_widen_pairs", loops, [{ to, at: place.flat, point }], loc);
  return to;
}
