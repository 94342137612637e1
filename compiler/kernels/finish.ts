/** The epilogue in a loop of its own, over sums that wait where their results go. */

import type { Elem, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, mul, named, param, pointer } from "../../ir/loop-build.js";
import { existing, firstColumn, type TileWidth, tileName } from "./columns.js";
import type { Epilogue } from "./epilogue.js";
import { aheadOfTile, ints, type Lane, loadTile, startTile, storeTile } from "./tile.js";

export interface Finishing {
  readonly lane: Lane;
  /** Columns of a panel. */
  readonly nr: number;
  /** What is stored; as wide as the sums. */
  readonly cElem: Elem;
  readonly epilogue: Epilogue;
}

/**
 * The epilogue of sums that wait in C, for a panel's columns (or its first NV vectors) of some rows, in a small loop: in a tile's code each
 * vector would call the math library, or build all its constants.
 */
export function finishing(s: Finishing, width: TileWidth): LoopFunction {
  const { lane } = s;
  const { vectors: nv } = width;
  const own = [pointer("c", s.cElem), ...ints("rows", "cRow", "batch", "row", "column", "columns")];
  const name = `${lane.elem}_finish_${s.cElem}_${s.epilogue.name}_${tileName(lane, 1, s.nr, width)}`;
  return buildFunction(name, [...own, ...s.epilogue.params], undefined, (f) => {
    const { c, rows, cRow, batch, row, column, columns } = named(own);
    const finish = {
      epilogue: s.epilogue,
      params: s.epilogue.params.map(param),
      columns: existing(lane, width, columns),
      firstColumn: (v: number) => firstColumn(lane, width, v),
    };
    const ahead = aheadOfTile(f, nv, finish, column);
    const cRowBytes = f.let("cRowBytes", mul(cRow, elemBytes[s.cElem]));
    const at = f.mut("at", c);
    f.for("i", 0, rows, 1, (i) => {
      const acc = startTile(f, lane, 1, nv);
      loadTile(f, lane, acc, { ...finish, elem: lane.elem, rowPointer: () => at });
      for (const [v, x] of acc[0]!.entries()) {
        const start = ahead[v]?.start;
        if (start !== undefined) f.assign(x, add(x, start));
      }
      const place = () => ({ batch, row: add(row, i), column });
      storeTile(f, lane, acc, { ...finish, elem: s.cElem, rowPointer: () => at, ahead, at: place });
      f.assign(at, add(at, cRowBytes));
    });
  });
}
