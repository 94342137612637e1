/**
 * Packed pairs: B[K, N] of i8 or i16 as the `i16pair` lane of gemm.ts and conv.ts reads it. K is cut into runs (one for a matrix,
 * the segments of a convolution), and each run into pairs; the last pair of an odd run ends with a 0.
 *
 *   packed[p][run][s][j][h] = B[run][2s + h, p·NR + j]      s < ceil(length/2), j < NR, h < 2; zeros beyond N and the run
 *
 * i8 weights stay i8: the kernel widens eight of them by the load itself.
 */

import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, and, divS, fill, load, minS, mul, named, pointer, remS, shrU, sub } from "../../ir/loop-build.js";
import type { Kernel } from "./kernel.js";
import { packChunkPanels } from "./pack.js";
import { int, ints } from "./tile.js";

/** Elements of the packed form of `runs` runs of `length` elements by `n` columns. */
export const packedPairsLength = (runs: number, length: number, n: number, nr: number): number =>
  Math.ceil(n / nr) * nr * runs * Math.ceil(length / 2) * 2;

/** Packs B[run][i, n] = b[at(run, i, n)] into `out`, which holds `packedPairsLength(runs, length, n, nr)` zeros. */
export function packPairs<T extends Int8Array | Int16Array>(
  b: ArrayLike<number>,
  [runs, length, n]: readonly [number, number, number],
  nr: number,
  at: (run: number, i: number, n: number) => number,
  out: T,
): T {
  const steps = Math.ceil(length / 2);
  for (let column = 0; column < n; column++) {
    const panel = Math.floor(column / nr) * runs * steps * nr;
    for (let run = 0; run < runs; run++)
      for (let i = 0; i < length; i++) {
        const step = panel + (run * steps + (i >> 1)) * nr + (column % nr);
        out[2 * step + (i & 1)] = b[at(run, i, column)]!;
      }
  }
  return out;
}

/**
 * The same at run time, for a batch of matrices B[k, n] = b[batch·bBatch + k·kStride + n·nStride] of i16. Parameters: begin, end,
 * b, packed, k, n, kStride, nStride, bBatch, panels (= batch·ceil(n/NR)). The chunk axis has ceil(panels / packChunkPanels) values.
 */
export function packPairsKernel(nr: number): Kernel {
  const bytes = elemBytes.i16;
  const params = [
    int("begin"),
    int("end"),
    pointer("b", "i16"),
    pointer("packed", "i16"),
    ...ints("k", "n", "kStride", "nStride", "bBatch", "panels"),
  ];
  const fn = buildFunction(`i16_pack_pairs_${nr}`, params, undefined, (f) => {
    const { begin, end, b, packed, k, n, kStride, nStride, bBatch, panels } = named(params);
    const perMatrix = f.let("perMatrix", divS(add(n, nr - 1), nr));
    const panelBytes = f.let("panelBytes", mul(and(add(k, 1), -2), nr * bytes));
    const nextRow = f.let("nextRow", mul(kStride, bytes));
    f.for("p", mul(begin, packChunkPanels), minS(mul(end, packChunkPanels), panels), 1, (p) => {
      const to = f.let("to", add(packed, mul(p, panelBytes)));
      const column0 = f.let("column0", mul(remS(p, perMatrix), nr));
      const from = f.let("from", add(mul(divS(p, perMatrix), bBatch), mul(column0, nStride)));
      f.push(fill(to, 0, panelBytes));
      f.for("j", 0, minS(sub(n, column0), nr), 1, (j) => {
        const src = f.mut("src", add(b, mul(add(from, mul(j, nStride)), bytes)));
        f.for("i", 0, k, 1, (i) => {
          const step = add(mul(shrU(i, 1), nr), j);
          f.store("i16", to, add(mul(step, 2), and(i, 1)), load("i32", "i16", src, 0));
          f.assign(src, add(src, nextRow));
        });
      });
    });
  });
  return { fn, helpers: [] };
}
