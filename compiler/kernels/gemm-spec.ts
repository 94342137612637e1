/** What a matrix product is asked to be: how its operands lie, and what its functions are called. */

import { InternalError } from "../../ir/errors.js";
import { type Elem, elemBytes } from "../../ir/loop.js";
import { pointer } from "../../ir/loop-build.js";
import type { Tile } from "./choose-tile.js";
import { type Epilogue, identity } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { int, type Lane, lanes } from "./tile.js";

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

/** A spec with its defaults. */
export interface CompleteGemm extends Required<Omit<GemmSpec, "lane" | "n" | "fused" | "strides">> {
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

export function complete(spec: GemmSpec): CompleteGemm {
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

const storage = (s: CompleteGemm): string =>
  s.aElem === s.lane.operand && s.bElem === s.lane.operand && s.cElem === s.lane.elem
    ? ""
    : `_${s.aElem}_${s.bElem}_${s.cElem}`;

/** How the functions of a spec are called. */
export function stem(s: CompleteGemm, part = "gemm"): string {
  const epilogue = s.epilogue.name === "" ? "" : `_${s.epilogue.name}`;
  const [a, b] = [s.aColumn ?? "", s.bRow ?? ""];
  return `${s.lane.name}_${part}_${s.a}${a}_${s.b}${b}${storage(s)}${s.accumulate ? "_accumulate" : ""}${epilogue}`;
}
