/**
 * Packed panels: the layout in which GEMM and convolution read a matrix B[K, N].
 *
 *   packed[p][k][j] = B[k, p·NR + j]     p < ceil(N/NR), j < NR; zeros where p·NR + j ≥ N
 *
 * so that a register tile reads its NR columns of one k in one go and the next k follows at once. Constant weights are packed
 * when compiling (`packPanels`); operands that change are packed by the kernel of `packKernel`, or read unpacked.
 */

import type { Elem, Expr } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, constant, divS, load, minS, mul, pointer, sub } from "../../ir/loop-build.js";
import { elemKind } from "../../ir/loop-types.js";
import type { Kernel } from "./gemm.js";
import { int } from "./tile.js";

type Numbers = { readonly length: number; [i: number]: number } | { readonly length: number; [i: number]: bigint };

/** Elements of the packed form of B[K, N]. */
export const packedLength = (k: number, n: number, nr: number): number => Math.ceil(n / nr) * k * nr;

/** Packs b[k·rowStride + n·columnStride] into `out`, which holds `packedLength(k, n, nr)` zeros. */
export function packPanels<T extends Numbers>(
  b: T,
  k: number,
  n: number,
  nr: number,
  rowStride: number,
  columnStride: number,
  out: T,
): T {
  for (let column = 0; column < n; column++) {
    const to = Math.floor(column / nr) * k * nr + (column % nr);
    for (let i = 0; i < k; i++) (out as number[])[to + i * nr] = b[i * rowStride + column * columnStride] as number;
  }
  return out;
}

/** Panels in one chunk of `packKernel`. */
export const packChunkPanels = 4;

/**
 * The same at run time. Parameters: begin, end (chunks of `packChunkPanels` panels; there are ceil(ceil(N/NR)/chunk)), b,
 * packed, k, n, rowStride, columnStride (elements).
 */
export function packKernel(elem: Elem, nr: number): Kernel {
  const kind = elemKind[elem];
  const bytes = elemBytes[elem];
  const params = [
    int("begin"),
    int("end"),
    pointer("b", elem),
    pointer("packed", elem),
    int("k"),
    int("n"),
    int("rowStride"),
    int("columnStride"),
  ];
  const row = buildFunction(
    `${elem}_pack_panel_${nr}`,
    [pointer("from", elem), pointer("to", elem), int("k"), int("columns"), int("rowStride"), int("columnStride")],
    undefined,
    (f, args) => {
      const [from, to, k, columns, rowStride, columnStride] = args as readonly Expr[] as [
        Expr,
        Expr,
        Expr,
        Expr,
        Expr,
        Expr,
      ];
      // Columns outside: one pass reads with stride rowStride, which is 1 for the usual transposed weights.
      const rowBytes = f.let("rowBytes", mul(rowStride, bytes));
      f.for("j", 0, columns, 1, (j) => {
        const src = f.mut("src", add(from, mul(mul(j, columnStride), bytes)));
        const dst = f.mut("dst", add(to, mul(j, bytes)));
        f.for("i", 0, k, 1, () => {
          f.store(elem, dst, 0, load(kind, elem, src, 0));
          f.assign(src, add(src, rowBytes));
          f.assign(dst, add(dst, nr * bytes));
        });
      });
      f.for("j", columns, add(columns, sub(nr, columns)), 1, (j) => {
        const dst = f.mut("dst", add(to, mul(j, bytes)));
        f.for("i", 0, k, 1, () => {
          f.store(elem, dst, 0, constant(kind, 0));
          f.assign(dst, add(dst, nr * bytes));
        });
      });
    },
  );
  const fn = buildFunction(`${elem}_pack_panels_${nr}`, params, undefined, (f, args) => {
    const [begin, end, b, packed, k, n, rowStride, columnStride] = args as readonly Expr[] as Expr[];
    const panels = f.let("panels", divS(add(n!, nr - 1), nr));
    const last = f.let("last", minS(mul(end!, packChunkPanels), panels));
    f.for("panel", mul(begin!, packChunkPanels), last, 1, (p) => {
      const column = f.let("column", mul(p, nr));
      f.call(row.name, [
        add(b!, mul(mul(column, columnStride!), bytes)),
        add(packed!, mul(mul(column, k!), bytes)),
        k!,
        minS(sub(n!, column), nr),
        rowStride!,
        columnStride!,
      ]);
    });
  });
  return { fn, helpers: [row] };
}
