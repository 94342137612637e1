/**
 * Products with a matrix that lies as the rows of its transpose: C[b, m, n] = epilogue(Σ_k A[b, m, k] · B[b, n, k]). For few rows of
 * A, where reading B from memory takes the time: B is read once, as it lies, in several streams.
 *
 *   for each chunk of (batch, block of rows, block of at most 64 columns):        @…_rowproduct…
 *     for each MR rows of A:                                                       @…_rowstrip_…
 *       for j < distance:
 *         sums[r][s·distance + j] = Σ_k A[r, k] · B[s·distance + j, k]             MR × `streams` sums, each in four lanes
 *       C = epilogue(sums of the lanes)
 *
 * The rows of B that are read at once stand `distance` apart, so that each stream goes on where it is when a row ends; rows side by
 * side would be streams that start anew with every row, at half the rate.
 *
 * Every sum adds its products in one order, whatever the tile: in four lanes in the order of K, then the lanes.
 */

import type { Elem, Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  bitcast,
  constVector,
  divS,
  fma,
  geS,
  gtS,
  i32,
  load,
  minS,
  mul,
  named,
  param,
  pointer,
  remS,
  shuffle,
  splat,
  sub,
} from "../../ir/loop-build.js";
import { coverColumns, evenBlocks, existing, firstColumn, Helpers, panelsOf } from "./columns.js";
import { type Epilogue, identity } from "./epilogue.js";
import type { Kernel } from "./gemm.js";
import { type RowStorage, type RowStorageName, rowStorages } from "./row-storage.js";
import { int, ints, lanes, reduction, storeTile } from "./tile.js";

export interface RowProductSpec {
  /** How A lies: its rows run along K. */
  readonly aElem?: Elem;
  readonly b: RowStorageName;
  readonly epilogue?: Epilogue;
  readonly cElem?: Elem;
  /** N, where it is known when compiling. */
  readonly n?: number;
}

export interface RowProductKernel extends Kernel {
  /** The most rows and columns of C in one chunk: the chunk axis has batch · ceil(M/rows) · ceil(N/columns) values. */
  readonly chunkRows: number;
  readonly chunkColumns: number;
  /** Bytes of the memory that each thread needs for `sums`. */
  readonly scratchBytes: number;
}

/** Rows of B that are read at once, side by side with one row of A, or two. */
const streams = 4;

/** Rows of A in a tile: sums of all streams stay in registers. */
const mr = 2;

/** The most rows of A that a chunk walks while its rows of B are in the cache. */
const chunkRows = 96;

const chunkColumns = 64;

/** Turns of the reduction between two updates of pointers. */
const unroll = 4;

const lane = lanes.f32;

const scratchBytes = mr * (chunkColumns + streams) * 16;

interface Full {
  readonly storage: RowStorage;
  readonly b: RowStorageName;
  readonly epilogue: Epilogue;
  readonly aElem: Elem;
  readonly cElem: Elem;
  readonly n: number | undefined;
}

function stem(s: Full, part: string): string {
  const elems = s.aElem === "f32" && s.cElem === "f32" ? "" : `_${s.aElem}_${s.cElem}`;
  return `f32_${part}_${s.b}${elems}${s.epilogue.name === "" ? "" : `_${s.epilogue.name}`}`;
}

/** Sums of `rows` rows of A with all rows of B in a chunk, then the epilogue over them. `a`, `b` and `c` point to their first. */
function strip(s: Full, rows: number): LoopFunction {
  const own = [
    pointer("a", s.aElem),
    pointer("b", s.storage.elem),
    pointer("c", s.cElem),
    pointer("sums", "f32"),
    ...ints("k", "aRow", "bRow", "cRow", "batch", "row", "column0", "columnEnd", "distance"),
  ] as const;
  const panels = panelsOf(lane, lane.count, s.n);
  const name = `${stem(s, "rowstrip")}_${rows}x${streams}${panels.suffix}`;
  return buildFunction(name, [...own, ...s.epilogue.params], undefined, (f) => {
    const p = named(own);
    const { a, b, c, sums, k, cRow, batch, row, column0, columnEnd, distance } = p;
    const sumRow = f.let("sumRow", mul(distance, streams));
    const count = f.let("count", sub(columnEnd, column0));
    f.for("j", 0, distance, 1, (j) => {
      const columns = Array.from({ length: streams }, (_, t) => f.let("column", add(j, mul(distance, t))));
      const acc = rowSums(f, s, {
        a: Array.from({ length: rows }, (_, r) => f.mut("aAt", add(a, mul(mul(p.aRow, r), elemBytes[s.aElem])))),
        // Streams beyond the last column read its row again.
        b: columns.map((x) =>
          f.mut("bAt", add(b, mul(mul(minS(x, sub(count, 1)), p.bRow), elemBytes[s.storage.elem]))),
        ),
        k,
      });
      acc.forEach((list, r) => {
        list.forEach((x, t) => {
          f.store("f32", sums, mul(add(mul(sumRow, r), columns[t]!), lane.count), x);
        });
      });
    });
    const cAt = Array.from({ length: rows }, (_, r) => f.let("c_", add(c, mul(mul(cRow, r), elemBytes[s.cElem]))));
    const extra = s.epilogue.params.map(param);
    coverColumns(f, lane, panels, column0, columnEnd, (width, column, exist) => {
      const at = f.let("at", sub(column, column0));
      const acc = Array.from({ length: rows }, (_, r) => [
        lanesSummed(f, add(sums, mul(add(mul(sumRow, r), at), lane.count * elemBytes.f32))),
      ]);
      storeTile(f, lane, acc, {
        elem: s.cElem,
        rowPointer: (r) => add(cAt[r]!, mul(at, elemBytes[s.cElem])),
        epilogue: s.epilogue,
        params: extra,
        at: (r) => ({ batch, row: add(row, r), column }),
        columns: existing(lane, width, exist),
        firstColumn: (v) => firstColumn(lane, width, v),
      });
    });
  });
}

/** Sums of the lanes of four neighbouring vectors in memory. */
function lanesSummed(f: Block, at: Expr): Expr {
  const base = f.let("vectors", at);
  const x = Array.from({ length: 4 }, (_, i) => f.let("v", load("f32x4", "f32", base, 0, 4 * i)));
  const halves = (p: Expr, q: Expr) => f.let("halves", add(shuffle(p, q, [0, 4, 1, 5]), shuffle(p, q, [2, 6, 3, 7])));
  const [low, high] = [halves(x[0]!, x[1]!), halves(x[2]!, x[3]!)];
  return f.let("sum", add(shuffle(low, high, [0, 1, 4, 5]), shuffle(low, high, [2, 3, 6, 7])));
}

/** Σ_k of rows of A with rows of B, by lanes. The pointers are moved. */
function rowSums(
  f: Block,
  { storage, aElem }: Full,
  { a, b, k }: { readonly a: readonly Expr[]; readonly b: readonly Expr[]; readonly k: Expr },
): readonly (readonly Expr[])[] {
  const { group, elem } = storage;
  const acc = a.map(() => b.map(() => f.mut("acc", splat("f32x4", 0))));
  const step = (u: number, existing: (x: Expr) => Expr = (x) => x) => {
    const as = a.map((x) => f.let("av", existing(load("f32x4", aElem, x, 0, u * group))));
    for (const [t, x] of b.entries()) {
      const w = f.let("w", existing(storage.widen(x, u)));
      for (const [r, v] of as.entries()) f.assign(acc[r]![t]!, fma(v, w, acc[r]![t]!));
    }
  };
  const advance = (elements: Expr) => {
    for (const x of a) f.assign(x, add(x, mul(elements, elemBytes[aElem])));
    for (const x of b) f.assign(x, add(x, mul(elements, elemBytes[elem])));
  };
  reduction(f, divS(k, group), unroll, step, (groups) => advance(i32(groups * group)));
  const rest = f.let("rest", remS(k, group));
  // The last vector is read so that it ends with the row; of it counts what has not been added yet.
  f.if(gtS(rest, 0), () => {
    const before = f.let("before", sub(group, rest));
    const isNew = geS(constVector("i32x4", [0, 1, 2, 3]), splat("i32x4", before));
    const mask = f.let("mask", bitcast("i32x4", isNew));
    advance(mul(before, -1));
    step(0, (x) => bitcast("f32x4", and(bitcast("i32x4", x), mask)));
  });
  return acc;
}

/**
 * The product as a kernel over chunks. C[b, m, n] lies at c[b·cBatch + m·cRow + n], A[b, m, k] at a[b·aBatch + m·aRow + k], B[b, n, k]
 * at b[b·bBatch + n·bRow + k]; K is at least a group of B's storage. Strides are in elements; nothing outside the operands is read or
 * written.
 */
export function rowProduct(spec: RowProductSpec): RowProductKernel {
  const s: Full = {
    storage: rowStorages[spec.b],
    b: spec.b,
    epilogue: spec.epilogue ?? identity,
    aElem: spec.aElem ?? "f32",
    cElem: spec.cElem ?? "f32",
    n: spec.n,
  };
  const own = [
    int("begin"),
    int("end"),
    pointer("a", s.aElem),
    pointer("b", s.storage.elem),
    pointer("c", s.cElem),
    ...ints("m", "n", "k", "aRow", "bRow", "cRow", "aBatch", "bBatch", "cBatch"),
    pointer("sums", "f32"),
  ] as const;
  const helpers = new Helpers();
  const name = `${stem(s, "rowproduct")}_${mr}x${streams}${panelsOf(lane, lane.count, s.n).suffix}`;
  const fn = buildFunction(name, [...own, ...s.epilogue.params], undefined, (f) => {
    const p = named(own);
    const { begin, end, m, n, aRow, bRow, cRow } = p;
    const extra = named(s.epilogue.params);
    const [rowBlocks, rowBlock] = evenBlocks(f, "row", m, chunkRows, mr);
    const [columnBlocks, columnBlock] = evenBlocks(f, "column", n, chunkColumns, lane.count);
    f.for("chunk", begin, end, 1, (chunk) => {
      const outer = f.let("outer", divS(chunk, columnBlocks));
      const column0 = f.let("column0", mul(remS(chunk, columnBlocks), columnBlock));
      const row0 = f.let("row0", mul(remS(outer, rowBlocks), rowBlock));
      const batch = f.let("batch", divS(outer, rowBlocks));
      const rowEnd = f.let("rowEnd", minS(m, add(row0, rowBlock)));
      const columnEnd = f.let("columnEnd", minS(n, add(column0, columnBlock)));
      const distance = f.let("distance", divS(add(sub(columnEnd, column0), streams - 1), streams));
      const bAt = f.let("bAt", add(p.b, mul(add(mul(batch, p.bBatch), mul(column0, bRow)), elemBytes[s.storage.elem])));
      const call = (rows: number, row: Expr) =>
        f.callNamed(helpers.use(strip(s, rows)), {
          ...p,
          ...extra,
          a: add(p.a, mul(add(mul(batch, p.aBatch), mul(row, aRow)), elemBytes[s.aElem])),
          b: bAt,
          c: add(p.c, mul(add(add(mul(batch, p.cBatch), mul(row, cRow)), column0), elemBytes[s.cElem])),
          batch,
          row,
          column0,
          columnEnd,
          distance,
        });
      // The last blocks of a dimension may be empty.
      f.if(geS(sub(columnEnd, column0), 1), () => {
        const pairsEnd = f.let("pairsEnd", sub(rowEnd, remS(sub(rowEnd, row0), mr)));
        f.for("row", row0, pairsEnd, mr, (row) => call(mr, row));
        f.for("row", pairsEnd, rowEnd, 1, (row) => call(1, row));
      });
    });
  });
  return { fn, helpers: helpers.list(), chunkRows, chunkColumns, scratchBytes };
}
