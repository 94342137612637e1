/**
 * Packed panels: the layout in which GEMM and convolution read a matrix B[K, N].
 *
 *   packed[p][k][j] = B[k, p·NR + j]     p < ceil(N/NR), j < NR; zeros where p·NR + j ≥ N
 *
 * so that a register tile reads its NR columns of one k in one go and the next k follows at once. Constant weights are packed
 * when compiling (`packPanels` and the convolution forms below); operands that change are packed by `packKernel`, or read
 * unpacked.
 */

import type { Elem } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, constant, divS, load, minS, mul, named, pointer, remS, sub } from "../../ir/loop-build.js";
import { elemKind } from "../../ir/loop-types.js";
import type { Kernel } from "./gemm.js";
import { int, ints } from "./tile.js";

type Numbers = { readonly length: number; [i: number]: number } | { readonly length: number; [i: number]: bigint };

/** Elements of the packed form of B[K, N]. */
export const packedLength = (k: number, n: number, nr: number): number => Math.ceil(n / nr) * k * nr;

/** Packs B[k, n] = b[at(k, n)] into `out`, which holds `packedLength(k, n, nr)` zeros. */
export function packBy<T extends Numbers>(
  b: T,
  k: number,
  n: number,
  nr: number,
  at: (k: number, n: number) => number,
  out: T,
): T {
  for (let column = 0; column < n; column++) {
    const to = Math.floor(column / nr) * k * nr + (column % nr);
    for (let i = 0; i < k; i++) (out as number[])[to + i * nr] = b[at(i, column)] as number;
  }
  return out;
}

/** Packs b[k·rowStride + n·columnStride]. */
export function packPanels<T extends Numbers>(
  b: T,
  k: number,
  n: number,
  nr: number,
  rowStride: number,
  columnStride: number,
  out: T,
): T {
  return packBy(b, k, n, nr, (i, j) => i * rowStride + j * columnStride, out);
}

/**
 * Packs one group of convolution weights w[cout, cin, …taps] (as PyTorch and ONNX lay them) for conv.ts: K runs over taps,
 * then input channels.
 */
export function packConvWeights<T extends Numbers>(
  w: T,
  cout: number,
  cin: number,
  taps: number,
  nr: number,
  out: T,
): T {
  return packBy(w, taps * cin, cout, nr, (k, n) => (n * cin + (k % cin)) * taps + Math.floor(k / cin), out);
}

/**
 * Packs one group of w[cout, cin, …taps] for conv-input-grad.ts: for each segment the panels of B[cout, run]. A run is
 * `runTaps` taps of `cin` channels (kw if segments span the width, else 1).
 */
export function packInputGradientWeights<T extends Numbers>(
  w: T,
  cout: number,
  cin: number,
  taps: number,
  runTaps: number,
  nr: number,
  out: T & { subarray(from: number): T },
): T {
  const run = runTaps * cin;
  for (let segment = 0; segment < taps / runTaps; segment++)
    packBy(
      w,
      cout,
      run,
      nr,
      (co, i) => (co * cin + (i % cin)) * taps + segment * runTaps + Math.floor(i / cin),
      out.subarray(segment * packedLength(cout, run, nr)),
    );
  return out;
}

/** Panels in one chunk of `packKernel`. */
export const packChunkPanels = 4;

/**
 * The same at run time, for a batch of matrices whose rows and columns are each two nested indices:
 *
 *   B[k, n] = b[(k div k2)·k1Stride + (k mod k2)·k2Stride + (n div n2)·n1Stride + (n mod n2)·n2Stride],   k < k1·k2, n < n1·n2
 *
 * A plain matrix has k1 = n1 = 1. Convolution weights [cout, cin, …taps] have k1 = taps, k1Stride = 1, k2 = cin,
 * k2Stride = taps, n1 = 1, n2 = cout, n2Stride = cin·taps; for the input gradient a batch of segments with k1 = 1, k2 = cout,
 * k2Stride = cin·taps, n1 = runTaps, n1Stride = 1, n2 = cin, n2Stride = taps, bBatch = runTaps.
 * Parameters: begin, end, b, packed, k1, k2, k1Stride, k2Stride, n1, n2, n1Stride, n2Stride, bBatch (strides in elements).
 * The chunk axis has ceil(batch·ceil(N/NR) / packChunkPanels) values; `panels` = batch·ceil(N/NR) is the last parameter.
 */
export function packKernel(elem: Elem, nr: number): Kernel {
  const kind = elemKind[elem];
  const bytes = elemBytes[elem];
  const sizes = ints("k1", "k2", "k1Stride", "k2Stride", "n1", "n2", "n1Stride", "n2Stride");
  const panelParams = [pointer("from", elem), pointer("to", elem), int("column0"), ...sizes];
  const panel = buildFunction(`${elem}_pack_panel_${nr}`, panelParams, undefined, (f) => {
    const { from, to, column0, k1, k2, k1Stride, k2Stride, n1, n2, n1Stride, n2Stride } = named(panelParams);
    const columns = f.let("columns", minS(sub(mul(n1, n2), column0), nr));
    const rowBytes = f.let("rowBytes", mul(k2Stride, bytes));
    f.for("j", 0, columns, 1, (j) => {
      const column = f.let("column", add(column0, j));
      const src0 = f.let(
        "src0",
        add(from, mul(add(mul(divS(column, n2), n1Stride), mul(remS(column, n2), n2Stride)), bytes)),
      );
      const dst = f.mut("dst", add(to, mul(j, bytes)));
      f.for("i1", 0, k1, 1, (i1) => {
        const src = f.mut("src", add(src0, mul(mul(i1, k1Stride), bytes)));
        f.for("i2", 0, k2, 1, () => {
          f.store(elem, dst, 0, load(kind, elem, src, 0));
          f.assign(src, add(src, rowBytes));
          f.assign(dst, add(dst, nr * bytes));
        });
      });
    });
    f.for("j", columns, nr, 1, (j) => {
      const dst = f.mut("dst", add(to, mul(j, bytes)));
      f.for("i", 0, mul(k1, k2), 1, () => {
        f.store(elem, dst, 0, constant(kind, 0));
        f.assign(dst, add(dst, nr * bytes));
      });
    });
  });
  const params = [
    int("begin"),
    int("end"),
    pointer("b", elem),
    pointer("packed", elem),
    ...sizes,
    int("bBatch"),
    int("panels"),
  ];
  const fn = buildFunction(`${elem}_pack_panels_${nr}`, params, undefined, (f) => {
    const p = named(params);
    const { begin, end, b, packed, k1, k2, n1, n2, bBatch, panels } = p;
    const perMatrix = f.let("perMatrix", divS(add(mul(n1, n2), nr - 1), nr));
    const panelBytes = f.let("panelBytes", mul(mul(k1, k2), nr * bytes));
    f.for("p", mul(begin, packChunkPanels), minS(mul(end, packChunkPanels), panels), 1, (at) =>
      f.callNamed(panel, {
        ...p,
        from: add(b, mul(mul(divS(at, perMatrix), bBatch), bytes)),
        to: add(packed, mul(at, panelBytes)),
        column0: mul(remS(at, perMatrix), nr),
      }),
    );
  });
  return { fn, helpers: [panel] };
}
