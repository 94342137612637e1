/**
 * General matrix product: C[b, m, n] = epilogue(Σ_k A[b, m, k] · B[b, k, n]).
 *
 *   for each chunk of (batch, block of ROWS rows, block of COLUMNS columns):      @…_gemm…: begin, end count chunks
 *     for each panel of NR columns:                                                its B stays in the L1 cache
 *       for each tile of MR rows:                                                  @…_gemmstrip_…_MRxNR
 *         acc[MR][NR] = Σ_k A · B
 *         C = epilogue(acc)
 *
 * Where neighbours along K are a row of A apart, a long K would leave the caches before the next tile: A is packed, or K is at least taken
 * in blocks, while sums wait in C.
 *
 * All strides are in elements and come as i32 parameters, so that layers of one network share the functions. Nothing outside
 * the operands is read or written.
 */

import { InternalError } from "../../ir/errors.js";
import type { Elem, Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  binary,
  bool,
  divS,
  engine,
  eq,
  geS,
  gtS,
  i32,
  ltS,
  minS,
  mul,
  named,
  ne,
  param,
  pointer,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import type { Tile } from "./choose-tile.js";
import {
  coverColumns,
  evenBlocks,
  existing,
  firstColumn,
  Helpers,
  narrowTiles,
  panelsOf,
  sharedWidth,
  type TileWidth,
  tileName,
} from "./columns.js";
import { type Epilogue, identity } from "./epilogue.js";
import { finishing } from "./finish.js";
import {
  aheadOfTile,
  columnVector,
  int,
  type Lane,
  lanes,
  loadTile,
  partialVector,
  reduction,
  splatStep,
  startTile,
  stepsOf,
  storeTile,
  tileStep,
} from "./tile.js";

/** How A lies: which of its strides is known to be 1, so that the kernel reads the other one only; or packed. */
export type Rows = "rows" | "columns" | "strided" | "panels";

/** Rows of A in a panel: with a panel of B, a block of K fits the L1 cache. */
export const rowPanel = 8;

export interface GemmSpec {
  readonly lane: Lane["name"];
  /**
   * `rows`: A[m, k] at a[m·aRow + k] (aColumn is not read); `columns`: at a[m + k·aColumn] (a transposed operand, aRow is not
   * read); `strided`: at a[m·aRow + k·aColumn]; `panels`: packed as B is, in panels of `rowPanel` rows, [ceil(M/8)][K][8] (neither
   * stride is read).
   */
  readonly a: Rows;
  /**
   * `packed`: panels of NR columns as `packPanels` writes them, [ceil(N/NR)][K][NR] with zeros beyond N (bRow is not read).
   * `rows`: B[k, n] at b[k·bRow + n].
   */
  readonly b: "packed" | "rows";
  readonly epilogue?: Epilogue;
  /** Rows of a tile; default 4. */
  readonly mr?: number;
  /** Columns of a tile, a multiple of the lanes; also the width of packed panels. Default 2 vectors. */
  readonly nr?: number;
  /**
   * Storage of A, B and C; default the lane's own. Must load into the lane's registers. `i16pair`: A of i16 in rows, B of i16 or
   * i8 in packed pairs (pack-pairs.ts); where K is odd, one element beyond each row of A is read and multiplied by 0.
   */
  readonly aElem?: Elem;
  readonly bElem?: Elem;
  readonly cElem?: Elem;
  /** The tile of variants with fused multiply-adds (choose-tile.ts). Its columns divide a panel's. */
  readonly fused?: Tile["fused"];
  /** N, where it is known when compiling: tails that can't occur are left out. */
  readonly n?: number;
  /** Strides that are known when compiling, in elements: a turn of the inner loop then reaches its steps by offsets. */
  readonly strides?: {
    /** From column to column of A where its rows are neighbours. */
    readonly aColumn?: number;
    /** From row to row of a B in rows. */
    readonly bRow?: number;
  };
  /** Add to what C holds, each product in the order of K, instead of starting from zero. */
  readonly accumulate?: boolean;
}

/** A kernel and the functions it calls. Functions of equal name are equal. */
export interface Kernel {
  readonly fn: LoopFunction;
  readonly helpers: readonly LoopFunction[];
}

export interface GemmKernel extends Kernel {
  /** The most rows and columns of C in one chunk: the chunk axis has batch · ceil(M/rows) · ceil(N/columns) values. */
  readonly chunkRows: number;
  readonly chunkColumns: number;
  readonly mr: number;
  readonly nr: number;
  /** Whether the sums wait in C for the epilogue: C then lies over nothing that the epilogue reads. */
  readonly finishesApart: boolean;
}

/** Parameters of every GEMM entry, before those of the epilogue. */
export const gemmParams = (aElem: Elem, bElem: Elem, cElem: Elem) => [
  int("begin"),
  int("end"),
  pointer("a", aElem),
  pointer("b", bElem),
  pointer("c", cElem),
  int("m"),
  int("n"),
  int("k"),
  int("aRow"),
  int("aColumn"),
  int("bRow"),
  int("cRow"),
  int("aBatch"),
  int("bBatch"),
  int("cBatch"),
];

/** Row counts of the tiles that cover any M, largest first. */
export function rowTiles(mr: number): readonly number[] {
  return mr === 1 ? [1] : mr <= 3 ? [mr, 1] : [mr, 2, 1];
}

interface Full extends Required<Omit<GemmSpec, "lane" | "n" | "fused" | "strides">> {
  readonly lane: Lane;
  readonly n: number | undefined;
  readonly fused: Tile["fused"];
  readonly aColumn: number | undefined;
  readonly bRow: number | undefined;
  /** Whether K is taken in blocks, between which the sums wait in C. */
  readonly blocked: boolean;
  /** Whether all sums of a chunk wait in C until the epilogue comes. */
  readonly apart: boolean;
}

function complete(spec: GemmSpec): Full {
  const lane = lanes[spec.lane];
  const nr = spec.nr ?? 2 * lane.count;
  if (lane.depth > 1 && (spec.a !== "rows" || spec.b !== "packed")) throw new InternalError("pairs lie in packed rows");
  if (nr % lane.count !== 0) throw new InternalError(`a tile of ${nr} columns is no multiple of ${lane.count} lanes`);
  const epilogue = spec.epilogue ?? identity;
  const cElem = spec.cElem ?? lane.elem;
  const isPlain = epilogue.name === identity.name && cElem === lane.elem;
  const apart = epilogue.math === true && elemBytes[cElem] === elemBytes[lane.elem];
  const accumulate = spec.accumulate ?? false;
  if (accumulate && !isPlain) throw new InternalError("sums that start in C are the lane's own, and have no epilogue");
  return {
    lane,
    a: spec.a,
    b: spec.b,
    epilogue,
    mr: spec.mr ?? 4,
    nr,
    aElem: spec.aElem ?? lane.operand,
    bElem: spec.bElem ?? lane.operand,
    cElem,
    n: spec.n,
    fused: spec.fused,
    aColumn: spec.a === "columns" ? spec.strides?.aColumn : undefined,
    bRow: spec.b === "rows" ? spec.strides?.bRow : undefined,
    accumulate,
    blocked: spec.a !== "rows" && (isPlain || apart),
    apart,
  };
}

const storage = (s: Full): string =>
  s.aElem === s.lane.operand && s.bElem === s.lane.operand && s.cElem === s.lane.elem
    ? ""
    : `_${s.aElem}_${s.bElem}_${s.cElem}`;

function stem(s: Full, part = "gemm"): string {
  const epilogue = s.epilogue.name === "" ? "" : `_${s.epilogue.name}`;
  const [a, b] = [s.aColumn ?? "", s.bRow ?? ""];
  return `${s.lane.name}_${part}_${s.a}${a}_${s.b}${b}${storage(s)}${s.accumulate ? "_accumulate" : ""}${epilogue}`;
}

/** Steps of the reduction in one turn of the inner loop: fewer pointer updates where consecutive A[m, k] are neighbours. */
const unroll = 8;

/** The most rows of A that a chunk walks while a panel of B is hot: A's block should stay in the L2 cache. */
const chunkRows = 96;

/** The most columns of one chunk; a multiple of every NR in use. */
const chunkColumns = 64;

/** Steps of K in a block: a panel of B stays in the L1 cache, the rows of a transposed A in the L2 cache. */
const blockK = 256;

/**
 * All tiles of MR rows in a strip of rows, against one panel (or its first NV vectors):
 *
 *   for (i = 0; i + MR ≤ rows; i += MR) C[i … i+MR, column …] = epilogue(A[i … i+MR, :] · B)
 *
 * a, b and c point to the strip's first row, the panel and the strip's first element; row, column and batch are its logical
 * place. With `cut`, only `columns` columns exist, between (NV−1)·L+1 and NV·L.
 */
function strip(s: Full, mr: number, width: TileWidth): LoopFunction {
  const { lane } = s;
  const { vectors: nv } = width;
  const L = lane.count;
  const aBytes = elemBytes[s.aElem] * lane.depth;
  const bBytes = elemBytes[s.bElem] * lane.depth;
  const cBytes = elemBytes[s.cElem];
  const own = [
    pointer("a", s.aElem),
    pointer("b", s.bElem),
    pointer("c", s.cElem),
    int("rows"),
    int("k"),
    int("aRow"),
    int("aColumn"),
    int("bRow"),
    int("cRow"),
    int("batch"),
    int("row"),
    int("column"),
    int("columns"),
    int("more"),
  ];
  const params = [...own, ...s.epilogue.params];
  return buildFunction(`${stem(s, "gemmstrip")}_${tileName(lane, mr, s.nr, width)}`, params, undefined, (f) => {
    const { a, b, c, rows, k, aRow, aColumn, bRow, cRow, batch, row, column, columns, more } = named(own);
    const extra = s.epilogue.params.map(param);
    const exist = existing(lane, width, columns);
    const columnOf = (v: number) => firstColumn(lane, width, v);
    const neighbours = s.a === "columns" || s.a === "panels";
    const aRowBytes = neighbours ? i32(aBytes) : f.let("aRowBytes", mul(aRow, elemBytes[s.aElem]));
    const aStep =
      s.a === "rows" ? i32(aBytes) : f.let("aStep", mul(s.a === "panels" ? i32(rowPanel) : aColumn, aBytes));
    const bStep = s.b === "packed" ? i32(s.nr * bBytes) : f.let("bStep", mul(bRow, bBytes));
    const cRowBytes = f.let("cRowBytes", mul(cRow, cBytes));
    const aTile = f.mut("aTile", a);
    const cTile = f.mut("cTile", c);
    const finish = { epilogue: s.epilogue, params: extra, columns: exist, firstColumn: columnOf };
    const ahead = aheadOfTile(f, nv, finish, column);
    f.for("i", 0, sub(rows, mr - 1), mr, (i) => {
      const rowsOfC = () => {
        const at: Expr[] = [cTile];
        for (let r = 1; r < mr; r++) at.push(f.let(`c_${r}`, add(at[r - 1]!, cRowBytes)));
        return { ...finish, elem: s.cElem, rowPointer: (r: number) => at[r]! };
      };
      const acc = startTile(f, lane, mr, nv, ahead);
      if (s.blocked || s.accumulate) f.if(ne(more, 0), () => loadTile(f, lane, acc, rowsOfC()));
      // One pointer per row, or one for all where the rows of A are neighbours.
      const aAt: Expr[] = [];
      for (let r = 0; r < (neighbours ? 1 : mr); r++)
        aAt.push(f.mut(`a_${r}`, r === 0 ? aTile : add(aAt[r - 1]!, aRowBytes)));
      const bAt = f.mut("b_", b);
      // Steps at known distances are reached by constant offsets, and pointers move once a turn; others move every step.
      const apartA = s.a === "rows" ? 1 : s.aColumn;
      const apartB = s.b === "packed" ? s.nr : s.bRow;
      const loadA = (u: number) => (r: number) =>
        splatStep(lane, s.aElem, aAt[neighbours ? 0 : r]!, (neighbours ? r : 0) + u * (apartA ?? 0));
      const vectorB = (u: number) => (v: number) => columnVector(lane, s.bElem, bAt, u * (apartB ?? 0) + columnOf(v));
      const step = (u: number, loadB = vectorB(u)) => {
        tileStep(f, lane, acc, loadA(u), loadB);
        if (apartA === undefined) for (const p of aAt) f.assign(p, add(p, aStep));
        if (apartB === undefined) f.assign(bAt, add(bAt, bStep));
      };
      const advance = (steps: number) => {
        if (apartA !== undefined) for (const p of aAt) f.assign(p, add(p, steps * apartA * aBytes));
        if (apartB !== undefined) f.assign(bAt, add(bAt, steps * apartB * bBytes));
      };
      if (s.b === "rows" && exist !== undefined) {
        // A vector of the last rows of B may reach beyond the operand: these are read element by element.
        const loose = select(geS(bRow, L), i32(1), k);
        const safe = f.let("safe", select(gtS(k, loose), sub(k, loose), 0));
        reduction(f, safe, unroll, step, advance);
        f.for("kk", safe, k, 1, () => {
          step(0, (v) => (v < nv - 1 ? vectorB(0)(v) : partialVector(f, lane, s.bElem, bAt, v * L, exist)));
          advance(1);
        });
      } else reduction(f, stepsOf(lane, k), unroll, step, advance);

      storeTile(f, lane, acc, {
        ...rowsOfC(),
        ahead,
        at: (r) => ({ batch: batch, row: add(add(row, i), r), column: column }),
      });
      f.assign(aTile, add(aTile, mul(aRowBytes, mr)));
      f.assign(cTile, add(cTile, mul(cRowBytes, mr)));
    });
  });
}

/**
 * The matrix product as a kernel over chunks. Entry parameters: `gemmParams`, then the epilogue's. C[b, m, n] lies at
 * c[b·cBatch + m·cRow + n]; A and B at their own batch strides, 0 where an operand is shared by the batch.
 */
export function gemm(spec: GemmSpec): GemmKernel {
  const s = complete(spec);
  // What is finished apart is stored as it is summed.
  const sums: Full = s.apart ? { ...s, epilogue: identity, cElem: s.lane.elem, apart: false } : s;
  const { lane, mr, nr } = s;
  if (chunkColumns % nr !== 0) throw new InternalError(`panels of ${nr} columns do not fill chunks of ${chunkColumns}`);
  const panels = panelsOf(lane, nr, spec.n);
  const helpers = new Helpers();
  const fused = s.fused === undefined ? "" : `_${s.fused.mr}x${s.fused.nr}`;
  const name = `${stem(s)}_${mr}x${nr}${fused}${panels.suffix}`;
  const aBytes = elemBytes[s.aElem];
  const bBytes = elemBytes[s.bElem];
  const cBytes = elemBytes[s.cElem];
  const own = gemmParams(s.aElem, s.bElem, s.cElem);
  const params = [...own, ...s.epilogue.params];
  const fn = buildFunction(name, params, undefined, (f) => {
    const p = named(own);
    const { begin, end, a, b, c, m, n, k, aRow, aColumn, bRow, cRow, aBatch, bBatch, cBatch } = p;
    const extra = named(s.epilogue.params);
    const inPanels = s.a === "panels";
    const [rowBlocks, rowBlock] = evenBlocks(f, "row", m, chunkRows, inPanels ? rowPanel : mr);
    const [columnBlocks, columnBlock] = evenBlocks(f, "column", n, chunkColumns, nr);
    // Chunks of the same columns follow one another where B is larger than A, so that it comes from memory once; else those of the same rows,
    // for which bytes are arranged (quads.ts).
    const fewRows = f.let("fewRows", lane.depth > 1 ? bool(false) : ltS(m, n));
    f.for("chunk", begin, end, 1, (chunk) => {
      const [inner, other] = [select(fewRows, rowBlocks, columnBlocks), select(fewRows, columnBlocks, rowBlocks)];
      const [outer, within] = [f.let("outer", divS(chunk, inner)), f.let("within", remS(chunk, inner))];
      const around = f.let("around", remS(outer, other));
      const column0 = f.let("column0", mul(select(fewRows, around, within), columnBlock));
      const row0 = f.let("row0", mul(select(fewRows, within, around), rowBlock));
      const batch = f.let("batch", divS(outer, other));
      const blockEnd = f.let("rowEnd", minS(m, add(row0, rowBlock)));
      const columnEnd = f.let("columnEnd", minS(n, add(column0, columnBlock)));
      // Rows of a panel are neighbours, panels lie one after the other.
      const aRowStride = s.a === "columns" ? i32(1) : inPanels ? k : aRow;
      const aAt = f.let("aAt", add(a, mul(add(mul(batch, aBatch), mul(row0, aRowStride)), aBytes)));
      const bAt = f.let("bAt", add(b, mul(mul(batch, bBatch), bBytes)));
      const cAt = f.let("cAt", add(c, mul(add(mul(batch, cBatch), mul(row0, cRow)), cBytes)));

      /** Steps of K from `from` on, `count` of them, with A from `source` on. */
      const tiles = (source: Expr, from: Expr, count: Expr, more: Expr) =>
        coverColumns(f, lane, panels, column0, columnEnd, (width, column, columns) => {
          const before = s.b === "packed" ? mul(column, mul(stepsOf(lane, k), lane.depth)) : column;
          const start = add(before, mul(from, s.b === "packed" ? i32(nr) : bRow));
          const bPanel = f.let("bPanel", add(bAt, mul(start, bBytes)));
          const cColumn = f.let("cColumn", add(cAt, mul(column, cBytes)));
          /** The rows from `first` to `end`, their A from `rowsOfA` on. */
          const rowsOf = (rowsOfA: Expr, first: Expr, end: Expr) => {
            /** Tiles of `size` rows from row `at` on, in the columns of `tile`, which starts `after` the panel's first. */
            const call = (size: number, tile: TileWidth, after: number, at: Expr, rows: Expr) =>
              f.callNamed(helpers.use(strip(sums, size, tile)), {
                ...p,
                ...extra,
                k: count,
                a: add(rowsOfA, mul(mul(sub(at, first), inPanels ? i32(1) : aRowStride), aBytes)),
                b: add(bPanel, after * bBytes),
                c: add(add(cColumn, mul(mul(sub(at, row0), cRow), cBytes)), after * cBytes),
                rows,
                batch,
                row: at,
                column: add(column, after),
                columns: sub(columns, after),
                more,
              });
            let done = first;
            if (s.fused) {
              const { mr: size, nr: columnsOfTile } = s.fused;
              const covered = f.mut("covered", first);
              const left = f.let("left", sub(end, first));
              const pieces = narrowTiles(lane, width, columnsOfTile / lane.count);
              f.if(ne(engine("fma"), 0), () =>
                f.if(geS(left, size), () => {
                  for (const piece of pieces) call(size, piece.width, piece.after, first, left);
                  f.assign(covered, sub(end, remS(left, size)));
                }),
              );
              done = covered;
            }
            for (const size of rowTiles(mr)) {
              const at = done;
              const left = f.let("left", sub(end, at));
              // A whole panel's last rows share the code of the cut one.
              const tile = size < mr ? sharedWidth(panels, width) : width;
              f.if(geS(left, size), () => call(size, tile, 0, at, left));
              if (size > 1) done = f.let("done", sub(end, remS(left, size)));
            }
          };
          if (!inPanels) rowsOf(source, row0, blockEnd);
          else
            f.for("panel", row0, blockEnd, rowPanel, (panel) => {
              const at = f.let("panelAt", add(source, mul(mul(sub(panel, row0), k), aBytes)));
              rowsOf(at, panel, f.let("panelEnd", minS(blockEnd, add(panel, rowPanel))));
            });
        });
      const finish = () =>
        coverColumns(f, lane, panels, column0, columnEnd, (width, column, columns) => {
          const at = add(cAt, mul(column, cBytes));
          const rows = sub(blockEnd, row0);
          const tile = sharedWidth(panels, width);
          const place = { c: at, rows, batch, row: row0, column, columns };
          f.callNamed(helpers.use(finishing(s, tile)), { ...p, ...extra, ...place });
        });
      const started = i32(s.accumulate ? 1 : 0);
      if (!s.blocked) {
        tiles(aAt, i32(0), k, started);
        if (s.apart) finish();
        return;
      }
      const from = f.mut("from", i32(0));
      // At least one round, so that C is written even without products.
      f.while(binary("or", eq(from, 0), ltS(from, k)), () => {
        const count = f.let("count", minS(sub(k, from), blockK));
        const source = f.let("source", add(aAt, mul(mul(from, inPanels ? i32(rowPanel) : aColumn), aBytes)));
        tiles(source, from, count, s.accumulate ? started : from);
        f.assign(from, add(from, blockK));
      });
      if (s.apart) finish();
    });
  });
  return { fn, helpers: helpers.list(), chunkRows, chunkColumns, mr, nr, finishesApart: s.apart };
}
