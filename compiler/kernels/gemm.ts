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
import { type Expr, elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  binary,
  bool,
  divS,
  engine,
  eq,
  geS,
  i32,
  ltS,
  minS,
  mul,
  named,
  ne,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import { coverColumns, evenBlocks, Helpers, narrowTiles, panelsOf, sharedWidth, type TileWidth } from "./columns.js";
import { identity } from "./epilogue.js";
import { finishing } from "./finish.js";
import {
  type CompleteGemm,
  complete,
  type GemmKernel,
  type GemmSpec,
  gemmParams,
  rowPanel,
  rowTiles,
  stem,
} from "./gemm-spec.js";
import { strip } from "./gemm-strip.js";
import { stepsOf } from "./tile.js";

/** The most rows of A that a chunk walks while a panel of B is hot: A's block should stay in the L2 cache. */
const chunkRows = 96;

/** The most columns of one chunk; a multiple of every NR in use. */
const chunkColumns = 64;

/** Steps of K in a block: a panel of B stays in the L1 cache, the rows of a transposed A in the L2 cache. */
const blockK = 256;

/**
 * The matrix product as a kernel over chunks. Entry parameters: `gemmParams`, then the epilogue's. C[b, m, n] lies at
 * c[b·cBatch + m·cRow + n]; A and B at their own batch strides, 0 where an operand is shared by the batch.
 */
export function gemm(spec: GemmSpec): GemmKernel {
  const s = complete(spec);
  // What is finished apart is stored as it is summed.
  const sums: CompleteGemm = s.apart ? { ...s, epilogue: identity, cElem: s.lane.elem, apart: false } : s;
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
