/** Packing matrices in the run. */

import type { Dim } from "../../../ir/dim.js";
import { type Along, packChunkPanels, packKernel } from "../../kernels/pack.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "./context.js";
import { elemOf } from "./kernel-builder.js";
import { addMicroKernel, ceilDiv, viewArg } from "./micro-kernel.js";

/** A batch of matrices B[k, n] in memory; strides in elements. */
export interface Unpacked {
  readonly view: View;
  readonly k: Dim;
  readonly n: Dim;
  readonly kStride: Dim;
  readonly nStride: Dim;
  readonly batch: Dim;
}

/** Packs the matrices into `to` as panels of `nr` columns, `panels` in all. */
export function emitPack(
  ctx: LowerContext,
  { view, batch, ...sizes }: Unpacked,
  to: View,
  nr: number,
  panels: Dim,
  loc: string | undefined,
): void {
  const along: Along = sizes.nStride === 1 ? "n" : sizes.kStride === 1 ? "k" : "neither";
  addMicroKernel(ctx, {
    kernel: ctx.pool.kernel("pack", packKernel, { elem: elemOf[view.buffer.dtype], nr, along }),
    chunks: ceilDiv(panels, packChunkPanels),
    args: { b: viewArg(view, "read"), packed: viewArg(to, "write"), ...sizes, bBatch: batch, panels },
    loc,
  });
}
