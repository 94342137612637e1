/**
 * Packed panels: the layout in which GEMM and convolution read a matrix B[K, N].
 *
 *   packed[p][k][j] = B[k, p·NR + j]     p < ceil(N/NR), j < NR; zeros where p·NR + j ≥ N
 *
 * so that a register tile reads its NR columns of one k in one go and the next k follows at once. Constant weights are packed
 * when compiling (`packPanels` and the convolution forms below); operands that change are packed by `packKernel`, or read
 * unpacked.
 */

import type { Elem, Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import { add, constant, divS, eq, load, minS, mul, named, pointer, remS, shuffle, sub } from "../../ir/loop-build.js";
import { elemKind } from "../../ir/loop-types.js";
import type { Kernel } from "./kernel.js";
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
  const from = b as ArrayLike<number>;
  const to = out as number[];
  for (let first = 0, at = 0; first < n; first += nr) {
    const columns = Math.min(nr, n - first);
    for (let i = 0; i < k; i++, at += nr) {
      for (let j = 0, source = i * rowStride + first * columnStride; j < columns; j++, source += columnStride)
        to[at + j] = from[source]!;
    }
  }
  return out;
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
 * Along what the operand's neighbours in memory lie, where that is known when compiling: the rows of B (`kStride` = 1), its
 * columns (`nStride` = 1), or neither.
 */
export type Along = "k" | "n" | "neither";

export interface PackSpec {
  readonly elem: Elem;
  readonly nr: number;
  readonly along: Along;
}

/** Steps of K that are read before the next columns: a cache line of each column. */
const blockK = 16;

/** Copies `count` neighbouring elements from `from` to `to`, in the widest registers that fit. */
export function copyElements(f: Block, elem: Elem, from: Expr, to: Expr, count: number): void {
  const widths = [
    { bytes: 16, kind: "i32x4", elem: "i32" },
    { bytes: 8, kind: "i64", elem: "i64" },
    { bytes: 4, kind: "i32", elem: "i32" },
    { bytes: 2, kind: "i32", elem: "i16" },
    { bytes: 1, kind: "i32", elem: "i8" },
  ] as const;
  const bytes = elemBytes[elem];
  let at = 0;
  for (const w of widths)
    for (; count * bytes - at >= w.bytes; at += w.bytes) {
      const value = load(w.kind, w.elem, add(from, at), 0);
      f.store(w.elem, add(to, at), 0, value);
    }
}

/** Column by column: any strides. Columns that do not exist are zeros. */
function packColumns(f: Block, s: PackSpec, p: PanelArgs): void {
  const { elem, nr } = s;
  const kind = elemKind[elem];
  const bytes = elemBytes[elem];
  const { k, columns, kBytes, nBytes } = p;
  const column = (j: Expr, value: (src: Expr) => Expr) => {
    const src = f.mut("src", add(p.from, mul(j, nBytes)));
    const dst = f.mut("dst", add(p.to, mul(j, bytes)));
    f.for("i", 0, k, 1, () => {
      f.store(elem, dst, 0, value(src));
      f.assign(src, add(src, kBytes));
      f.assign(dst, add(dst, nr * bytes));
    });
  };
  f.for("j", 0, columns, 1, (j) => column(j, (src) => load(kind, elem, src, 0)));
  f.for("j", columns, nr, 1, (j) => column(j, () => constant(kind, 0)));
}

interface PanelArgs {
  readonly from: Expr;
  readonly to: Expr;
  readonly k: Expr;
  /** Columns that exist, at most NR. */
  readonly columns: Expr;
  readonly kBytes: Expr;
  readonly nBytes: Expr;
}

/** Whole panels row by row, in vectors. */
function packAlongColumns(f: Block, s: PackSpec, p: PanelArgs): void {
  const src = f.mut("src", p.from);
  const dst = f.mut("dst", p.to);
  f.for("i", 0, p.k, 1, () => {
    copyElements(f, s.elem, src, dst, s.nr);
    f.assign(src, add(src, p.kBytes));
    f.assign(dst, add(dst, s.nr * elemBytes[s.elem]));
  });
}

/** Four steps of K of four columns: a matrix of 4×4 turned in registers. */
function turn(f: Block, from: Expr, nBytes: Expr, to: Expr, nr: number): void {
  const rows: Expr[] = [];
  let at = from;
  for (let j = 0; j < 4; j++) {
    if (j > 0) at = f.let("column", add(at, nBytes));
    rows.push(f.let("c", load("f32x4", "f32", at, 0)));
  }
  const [a, b, c, d] = rows as [Expr, Expr, Expr, Expr];
  const low = (x: Expr, y: Expr) => f.let("t", shuffle(x, y, [0, 4, 1, 5]));
  const high = (x: Expr, y: Expr) => f.let("t", shuffle(x, y, [2, 6, 3, 7]));
  const halves = [low(a, b), low(c, d), high(a, b), high(c, d)] as const;
  const put = (step: number, x: Expr, y: Expr, lanes: readonly number[]) =>
    f.store("f32", to, 0, shuffle(x, y, lanes), step * nr);
  put(0, halves[0], halves[1], [0, 1, 4, 5]);
  put(1, halves[0], halves[1], [2, 3, 6, 7]);
  put(2, halves[2], halves[3], [0, 1, 4, 5]);
  put(3, halves[2], halves[3], [2, 3, 6, 7]);
}

/** Whole panels of f32 in blocks of 4×4, so that lines of the cache are read and written whole. */
function packAlongRows(f: Block, s: PackSpec, p: PanelArgs): void {
  const bytes = elemBytes.f32;
  const { nr } = s;
  const four = f.let("four", mul(p.nBytes, 4));
  const wholeK = f.let("wholeK", sub(p.k, remS(p.k, 4)));
  f.for("block", 0, wholeK, blockK, (block) => {
    const last = f.let("last", minS(wholeK, add(block, blockK)));
    const group = f.mut("group", p.from);
    f.for("j", 0, nr, 4, (j) => {
      const to = f.let("to", add(p.to, mul(j, bytes)));
      f.for("i", block, last, 4, (i) => turn(f, add(group, mul(i, bytes)), p.nBytes, add(to, mul(i, nr * bytes)), nr));
      f.assign(group, add(group, four));
    });
  });
  f.for("i", wholeK, p.k, 1, (i) => {
    const src = f.mut("src", add(p.from, mul(i, bytes)));
    const dst = f.let("dst", add(p.to, mul(i, nr * bytes)));
    f.for("j", 0, nr, 1, (j) => {
      f.store("f32", dst, j, load("f32", "f32", src, 0));
      f.assign(src, add(src, p.nBytes));
    });
  });
}

/**
 * Packs at run time, for a batch of matrices: B[k, n] = b[k·kStride + n·nStride], each `bBatch` elements after the one before.
 *
 * Parameters: begin, end, b, packed, k, n, kStride, nStride, bBatch, panels = batch·ceil(N/NR). The chunk axis has
 * ceil(panels / packChunkPanels) values.
 */
export function packKernel(spec: PackSpec): Kernel {
  const { elem, nr } = spec;
  const bytes = elemBytes[elem];
  // Other elements than f32 are seldom packed in a run.
  const along = spec.along === "k" && (elem !== "f32" || nr % 4 !== 0) ? "neither" : spec.along;
  const panelParams = [pointer("from", elem), pointer("to", elem), ...ints("k", "columns", "kStride", "nStride")];
  const name = `${elem}_pack_panel_${nr}${along === "neither" ? "" : `_along_${along}`}`;
  const panel: LoopFunction = buildFunction(name, panelParams, undefined, (f) => {
    const { from, to, k, columns, kStride, nStride } = named(panelParams);
    const kBytes = f.let("kBytes", mul(kStride, bytes));
    const nBytes = f.let("nBytes", mul(nStride, bytes));
    const args = { from, to, k, columns, kBytes, nBytes };
    const any = () => packColumns(f, spec, args);
    if (along === "neither") any();
    else f.if(eq(columns, nr), () => (along === "k" ? packAlongRows : packAlongColumns)(f, spec, args), any);
  });
  const params = [
    int("begin"),
    int("end"),
    pointer("b", elem),
    pointer("packed", elem),
    ...ints("k", "n", "kStride", "nStride", "bBatch", "panels"),
  ];
  const fn = buildFunction(name.replace("panel", "panels"), params, undefined, (f) => {
    const p = named(params);
    const { begin, end, b, packed, k, n, nStride, bBatch, panels } = p;
    const perMatrix = f.let("perMatrix", divS(add(n, nr - 1), nr));
    const panelBytes = f.let("panelBytes", mul(k, nr * bytes));
    f.for("p", mul(begin, packChunkPanels), minS(mul(end, packChunkPanels), panels), 1, (at) => {
      const column = f.let("column", mul(remS(at, perMatrix), nr));
      const start = add(mul(divS(at, perMatrix), bBatch), mul(column, nStride));
      f.callNamed(panel, {
        ...p,
        from: add(b, mul(start, bytes)),
        to: add(packed, mul(at, panelBytes)),
        columns: minS(sub(n, column), nr),
      });
    });
  });
  return { fn, helpers: [panel] };
}
