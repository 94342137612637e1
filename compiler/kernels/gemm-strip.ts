/** The tiles of a matrix product. */

import { type Expr, elemBytes, type LoopFunction } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, geS, gtS, i32, mul, named, ne, param, pointer, select, sub } from "../../ir/loop-build.js";
import { existing, firstColumn, type TileWidth, tileName } from "./columns.js";
import { type CompleteGemm, rowPanel, stem } from "./gemm-spec.js";
import {
  aheadOfTile,
  columnVector,
  int,
  loadTile,
  partialVector,
  reduction,
  splatStep,
  startTile,
  stepsOf,
  storeTile,
  tileStep,
} from "./tile.js";

/** Steps of the reduction in one turn of the inner loop: fewer pointer updates where consecutive A[m, k] are neighbours. */
const unroll = 8;

/**
 * All tiles of MR rows in a strip of rows, against one panel (or its first NV vectors):
 *
 *   for (i = 0; i + MR ≤ rows; i += MR) C[i … i+MR, column …] = epilogue(A[i … i+MR, :] · B)
 *
 * a, b and c point to the strip's first row, the panel and the strip's first element; row, column and batch are its logical
 * place. With `cut`, only `columns` columns exist, between (NV−1)·L+1 and NV·L.
 */
export function strip(s: CompleteGemm, mr: number, width: TileWidth): LoopFunction {
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
