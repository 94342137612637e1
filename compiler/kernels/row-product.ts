/**
 * Products with a matrix that lies as the rows of its transpose: C[b, m, n] = epilogue(Σ_k A[b, m, k] · B[b, n, k]). For few rows of
 * A, where reading B from memory takes the time: B is read once, as it lies, in several streams, and widened in registers.
 *
 *   for each chunk of (batch, block of rows, block of at most 64 columns):        @…_rowproduct…
 *     for each few rows of A:                                                      @…_rowstrip_…
 *       for j < distance:
 *         sums[r][s·distance + j] = Σ_k A[r, k] · B[s·distance + j, k]             for each stream s, in four lanes
 *       C = epilogue(sums of the lanes)
 *
 * The rows of B that are read at once stand `distance` apart, so that each stream goes on where it is when a row ends; rows side by
 * side would be streams that start anew with every row, at half the rate.
 *
 * Every sum adds its products in one order, whatever the tile: in four lanes in the order of K, then the lanes.
 *
 * Where a chunk has more than a few rows of A, rows of B that are narrow are widened once for all of them, 16 at a time (row-widen.ts).
 */

import type { Elem, Expr } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  divS,
  engine,
  geS,
  gt,
  gtS,
  i32,
  leS,
  load,
  minS,
  mul,
  named,
  ne,
  pointer,
  remS,
  sub,
} from "../../ir/loop-build.js";
import { evenBlocks, Helpers, panelsOf } from "./columns.js";
import { type Epilogue, identity } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { fewRows } from "./row-arrange.js";
import { type RowStorageName, rowStorages } from "./row-storage.js";
import { lane, planeParams, type Strip, stem, strip, type ZeroPoints } from "./row-strip.js";
import { widenRows } from "./row-widen.js";
import { int, ints } from "./tile.js";

export interface RowProductSpec {
  /** A of floats lies in rows along K; for quantised B it is what `arrangeRows` makes, and f32. */
  readonly aElem?: Elem;
  readonly b: RowStorageName;
  /** Zero points of quantised rows; default: none. */
  readonly zero?: ZeroPoints;
  /** Whether blocks of one scale are one group long. */
  readonly short?: boolean;
  readonly epilogue?: Epilogue;
  readonly cElem?: Elem;
  /** N, where it is known when compiling. */
  readonly n?: number;
  /** Whether there are never more than `fewRows` rows of A. */
  readonly few?: boolean;
}

export interface RowProductKernel extends Kernel {
  /** The most rows and columns of C in one chunk: the chunk axis has batch · ceil(M/rows) · ceil(N/columns) values. */
  readonly chunkRows: number;
  readonly chunkColumns: number;
  /** Bytes of the memory that each thread needs for `sums`. */
  readonly scratchBytes: number;
  /** Rows of B that are widened at once: each thread needs memory for as many of f32 in `wide`. 0: there is no such parameter. */
  readonly wideRows: number;
}

/** Rows of A in a tile. */
const mr = 2;

/**
 * Rows of A in a tile after the first, where B is f32 and in the cache: each row of B is then read for more of them. With fused
 * multiply-adds no register holds a product, and the tile is larger.
 */
const cachedRows = { apart: 4, fused: 6 };

const wideRows = 16;

/** The most rows of A that a chunk walks while its rows of B are in the cache. */
const chunkRows = 96;

const chunkColumns = 64;

const bytesOfSums = (rows: number): number => rows * (chunkColumns + 4) * 16;

/**
 * The product as a kernel over chunks. C[b, m, n] lies at c[b·cBatch + m·cRow + n], A[b, m, k] at a[b·aBatch + m·aRow + k], B[b, n, k]
 * at b[b·bBatch + n·bRow + k]; K is at least a group of B's storage. Quantised rows take bRow bytes, whole groups, and K counts those
 * of A too. Strides are in elements; nothing outside the operands is read or written.
 */
export function rowProduct(spec: RowProductSpec): RowProductKernel {
  const s: Strip = {
    storage: rowStorages[spec.b],
    b: spec.b,
    zero: spec.zero,
    short: spec.short ?? false,
    epilogue: spec.epilogue ?? identity,
    aElem: spec.aElem ?? "f32",
    cElem: spec.cElem ?? "f32",
    n: spec.n,
    fixed: false,
  };
  const wide: Strip = { ...s, storage: rowStorages.f32, b: "f32", zero: undefined, short: false };
  const few = spec.few ?? false;
  const widens = s.b !== "f32" && !few;
  const own = [
    int("begin"),
    int("end"),
    pointer("a", s.aElem),
    pointer("b", s.storage.elem),
    pointer("c", s.cElem),
    ...ints("m", "n", "k", "aRow", "bRow", "cRow", "aBatch", "bBatch", "cBatch"),
    pointer("sums", "f32"),
  ] as const;
  const wideAt = pointer("wide", "f32");
  const planes = planeParams(s);
  const helpers = new Helpers();
  const name = `${stem(s, "rowproduct")}${few ? "" : "_many"}${panelsOf(lane, lane.count, s.n).suffix}`;
  const params = [...own, ...(widens ? [wideAt] : []), ...planes, ...s.epilogue.params];
  const fn = buildFunction(name, params, undefined, (f) => {
    const p = named(own);
    const { begin, end, m, n, aRow, bRow, cRow } = p;
    const given = { ...p, ...named(planes), ...named(s.epilogue.params) };
    const [rowBlocks, rowBlock] = evenBlocks(f, "row", m, chunkRows, mr);
    const [columnBlocks, columnBlock] = evenBlocks(f, "column", n, chunkColumns, lane.count);
    f.for("chunk", begin, end, 1, (chunk) => {
      const outer = f.let("outer", divS(chunk, columnBlocks));
      const column0 = f.let("column0", mul(remS(chunk, columnBlocks), columnBlock));
      const row0 = f.let("row0", mul(remS(outer, rowBlocks), rowBlock));
      const batch = f.let("batch", divS(outer, rowBlocks));
      const rowEnd = f.let("rowEnd", minS(m, add(row0, rowBlock)));
      const columnEnd = f.let("columnEnd", minS(n, add(column0, columnBlock)));
      /** All rows of A with the columns from `first` to `last`, whose rows of B are at `b`. */
      const rowsOf = (form: Strip, b: Expr, bRow: Expr, first: Expr, last: Expr) => {
        const callAs = (as: Strip, rows: number, row: Expr) =>
          f.callNamed(helpers.use(strip(as, rows)), {
            ...given,
            a: add(p.a, mul(add(mul(batch, p.aBatch), mul(row, aRow)), elemBytes[s.aElem])),
            b,
            bRow,
            c: add(p.c, mul(add(add(mul(batch, p.cBatch), mul(row, cRow)), first), elemBytes[s.cElem])),
            batch,
            row,
            column0: first,
            columnEnd: last,
          });
        /** Rows of A in fixed point by integers, those in floats one by one. */
        const call = (rows: number, row: Expr): void => {
          if (form.storage.kind === "float") {
            callAs(form, rows, row);
            return;
          }
          const { units } = named(planes) as { readonly units: Expr };
          const isFixed = (r: number) => gt(load("f32", "f32", units, row, r), 0);
          f.if(
            rows === 1 ? isFixed(0) : and(isFixed(0), isFixed(1)),
            () => callAs({ ...form, fixed: true }, rows, row),
            () => {
              if (rows === 1) callAs(form, 1, row);
              else for (let r = 0; r < rows; r++) call(1, f.let("single", add(row, r)));
            },
          );
        };
        const row = f.mut("row", row0);
        /** Tiles of so many rows, as long as there are as many. */
        const tiles = (rows: number) => {
          f.while(leS(add(row, rows), rowEnd), () => {
            call(rows, row);
            f.assign(row, add(row, rows));
          });
        };
        if (form.b === "f32" && !few) {
          // The first rows bring B into the cache, in more streams.
          f.if(leS(add(row, mr), rowEnd), () => {
            call(mr, row);
            f.assign(row, add(row, mr));
          });
          f.if(ne(engine("fma"), 0), () => tiles(cachedRows.fused));
          tiles(cachedRows.apart);
        }
        tiles(mr);
        tiles(1);
      };
      const bAt = (column: Expr) =>
        f.let("bAt", add(p.b, mul(add(mul(batch, p.bBatch), mul(column, bRow)), elemBytes[s.storage.elem])));
      // The last blocks of a dimension may be empty.
      f.if(geS(sub(columnEnd, column0), 1), () => {
        const direct = () => rowsOf(s, bAt(column0), bRow, column0, columnEnd);
        if (!widens) {
          direct();
          return;
        }
        const widened = () =>
          f.for("first", column0, columnEnd, wideRows, (first) => {
            const last = f.let("last", minS(columnEnd, add(first, wideRows)));
            const out = named([wideAt]).wide;
            const from = { b: bAt(first), out, count: sub(last, first), column: first };
            f.callNamed(helpers.use(widenRows(s)), { ...given, ...from });
            rowsOf(wide, out, p.k, first, last);
          });
        f.if(gtS(sub(rowEnd, row0), i32(fewRows)), widened, direct);
      });
    });
  });
  return {
    fn,
    helpers: helpers.list(),
    chunkRows,
    chunkColumns,
    scratchBytes: bytesOfSums(few ? mr : cachedRows.fused),
    wideRows: widens ? wideRows : 0,
  };
}
