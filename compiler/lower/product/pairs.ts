/** Weights of integer products, packed in pairs when compiling. */

import { type Dim, dimBounds } from "../../../ir/dim.js";
import { param, type Value } from "../../../ir/graph.js";
import { cast } from "../../../ir/ops/cast.js";
import { elementCount, type Tensor } from "../../../ir/tensor.js";
import { contentsOf } from "../../../passes/values/index.js";
import type { GemmKernel } from "../../kernels/gemm-spec.js";
import { packedPairsLength, packPairs } from "../../kernels/pack-pairs.js";
import { byteProductScratch, readyWeightsKernel } from "../../kernels/quads.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { addMicroKernel, type MicroCall, viewArg } from "../core/micro-kernel.js";
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

/** Weights of bytes as `byteProduct` reads them, made once, and the least number of A. */
export interface ReadyBytes {
  readonly view: View;
  readonly sums: View;
  readonly low: number;
}

/** What `byteProduct` takes besides what a product of pairs takes. */
export const byteArgs = (kernel: GemmKernel, { sums, low }: ReadyBytes, k: number): MicroCall["args"] => ({
  sums: viewArg(sums, "read"),
  s: { kind: "scratch", bytes: byteProductScratch(kernel, k), perThread: true },
  low,
});

/** Range of a byte. */
const byteRange = 255;

/**
 * Packed weights for a product that takes bytes where the engine has an instruction for it: where they are made once and read by many rows, and
 * all numbers of A lie within 256. Undefined: products of pairs it is, by `readyPairs`.
 */
export function readyBytes(
  ctx: LowerContext,
  a: Value,
  weight: Value,
  packed: View,
  { rows, k, n, nr }: { readonly rows: Dim; readonly k: number; readonly n: number; readonly nr: number },
  loc: string | undefined,
): ReadyBytes | undefined {
  const { dtype, shape } = packed.buffer;
  const { low, high } = contentsOf(a).each;
  const fits = dtype === "i8" && shape[0] === 1 && high - low <= byteRange;
  if (!fits || !ctx.isKept(weight) || dimBounds(rows).min < manyRows) return undefined;
  const panels = Math.ceil(n / nr);
  const view = ctx.temp("i16", shape);
  const sums = ctx.temp("i32", [panels * nr]);
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("readyWeights", ({ width }) => readyWeightsKernel(width), { width: nr }),
    chunks: panels,
    args: {
      packed: viewArg(packed, "read"),
      ready: viewArg(view, "write"),
      sums: viewArg(sums, "write"),
      steps: Math.ceil(k / 2),
      low,
    },
    loc,
  });
  return { view, sums, low };
}

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
