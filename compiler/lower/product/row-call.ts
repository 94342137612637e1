/** The step that calls the kernel over rows of B: all that such a call needs beside the operands is said here. */

import { type Dim, dimMul } from "../../../ir/dim.js";
import { type RowProductSpec, rowProduct } from "../../kernels/row-product.js";
import type { Arg, View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf } from "../core/kernel-builder.js";
import type { Finish } from "../core/kernel-row.js";
import { addMicroKernel, ceilDiv, viewArg } from "../core/micro-kernel.js";

/** How rows lie: the elements from one to the next, and from one matrix of a batch to the next. */
export interface Rows {
  readonly view: View;
  readonly row: Dim;
  readonly batch: Dim;
}

export interface RowCall {
  readonly spec: Pick<RowProductSpec, "aElem" | "b" | "zero" | "short" | "few">;
  /** K counts the elements of a row of A, whole groups where B is quantised. */
  readonly sizes: { readonly batch: Dim; readonly m: Dim; readonly n: Dim; readonly k: Dim };
  readonly a: Rows;
  readonly b: Rows;
  readonly to: View;
  readonly finish: Finish;
  /** What describes quantised rows. */
  readonly args?: Readonly<Record<string, Arg | Dim>>;
  readonly loc: string | undefined;
}

export function addRowProduct(ctx: LowerContext, { spec, sizes, a, b, to, finish, args, loc }: RowCall): void {
  const { batch, m, n, k } = sizes;
  const kernel = ctx.pool.kernel("rows", rowProduct, {
    ...spec,
    epilogue: finish.epilogue,
    cElem: elemOf[finish.dtype],
    ...(typeof n === "number" ? { n } : {}),
  });
  const scratch = (bytes: Dim): Arg => ({ kind: "scratch", bytes, perThread: true });
  addMicroKernel(ctx, {
    kernel,
    chunks: dimMul(batch, dimMul(ceilDiv(m, kernel.chunkRows), ceilDiv(n, kernel.chunkColumns))),
    args: {
      a: viewArg(a.view, "read"),
      b: viewArg(b.view, "read"),
      c: viewArg(to, "write"),
      m,
      n,
      k,
      aRow: a.row,
      bRow: b.row,
      cRow: n,
      aBatch: a.batch,
      bBatch: b.batch,
      cBatch: dimMul(m, n),
      sums: scratch(kernel.scratchBytes),
      ...(kernel.wideRows === 0 ? {} : { wide: scratch(dimMul(k, 4 * kernel.wideRows)) }),
      ...args,
    },
    epilogue: finish.args,
    inPlace: { written: "c", over: finish.over },
    loc,
  });
}
