/**
 * Which register tile a product takes. Two shapes keep 8 accumulators and everything they need in V8's 15 vector registers:
 * 4 rows × 2 vectors, and 2 rows × 4 vectors. The wide one serves few rows better (one row has four sums in flight instead of
 * two) and reads A less often; the tall one wastes less on narrow results.
 *
 * Where a multiply-add is one instruction, 6 rows × 2 vectors fit too: no register holds a product. That hides the latency of an addition
 * better, and takes fewer loads for as many products.
 */

import type { Lane } from "./tile.js";
import { lanes } from "./tile.js";

export interface Tile {
  readonly mr: number;
  readonly nr: number;
  /** The tile of variants with fused multiply-adds, as long as there are so many rows; its columns are part of a panel's. */
  readonly fused?: { readonly mr: number; readonly nr: number };
}

/** What is known of a product's sizes when compiling. */
export interface ProductSize {
  /** Rows, or their least number where they depend on the input (a batch of 1). */
  readonly rows: number;
  /** Whether `rows` is only the least number. */
  readonly rowsVary?: boolean;
  /** Columns, where known. */
  readonly columns?: number;
}

/** Cycles of one step of K in a tile of so many rows and vectors, fitted to measurements (docs/KERNELS.md). */
function stepCycles(lane: Lane["name"], rows: number, vectors: number): number {
  if (vectors === 0) return 0;
  // Pairs are widened as they are loaded.
  return 2 + 0.47 * rows * vectors + (lane === "i16pair" ? 0.25 * vectors : 0);
}

/** Cycles per step of K of a whole product. */
function cycles({ mr, nr }: Tile, lane: Lane["name"], rows: number, columns: number): number {
  const L = lanes[lane].count;
  const oneRowTile = (r: number): number =>
    Math.floor(columns / nr) * stepCycles(lane, r, nr / L) + stepCycles(lane, r, Math.ceil((columns % nr) / L));
  let total = Math.floor(rows / mr) * oneRowTile(mr);
  let rest = rows % mr;
  if (mr > 3) {
    total += Math.floor(rest / 2) * oneRowTile(2);
    rest %= 2;
  }
  return total + rest * oneRowTile(1);
}

/** Rows that stand for "many" where the number varies. */
const manyRows = 64;

/** The tile for a product of these sizes; `nr` is also the panel width its weights are packed with. */
export function chooseTile(lane: Lane["name"], size: ProductSize): Tile {
  const L = lanes[lane].count;
  const columns = size.columns ?? 256;
  const cost = (t: Tile): number => {
    const least = cycles(t, lane, Math.max(size.rows, 1), columns);
    return size.rowsVary ? Math.sqrt(least * cycles(t, lane, Math.max(size.rows, manyRows), columns)) : least;
  };
  const tall: Tile = { mr: 4, nr: 2 * L };
  const wide: Tile = { mr: 2, nr: 4 * L };
  const tile = cost(wide) <= cost(tall) ? wide : tall;
  const fused = { mr: 6, nr: 2 * L };
  const isFloat = lane === "f32" || lane === "f64";
  return isFloat && (size.rowsVary || size.rows >= fused.mr) ? { ...tile, fused } : tile;
}

/** Rows and vectors of the tiles that are worth a measurement: the two above, and those that some engine may have the registers for. */
const shapes: readonly (readonly [rows: number, vectors: number])[] = [
  [4, 2],
  [2, 4],
  [5, 2],
  [3, 2],
  [8, 1],
  [2, 2],
  [1, 8],
];

/**
 * All tiles that may be worth a measurement for a product of these sizes, that of `chooseTile` first. Results have the same bits with each,
 * since all add in the order of K.
 */
export function tilesFor(lane: Lane["name"], size: ProductSize): readonly Tile[] {
  const { fused, ...first } = chooseTile(lane, size);
  const L = lanes[lane].count;
  const { rows, rowsVary = false, columns = Number.POSITIVE_INFINITY } = size;
  const isFew = !rowsVary && rows <= 3;
  const others = shapes
    // Bytes of pairs are arranged for eight columns, as many as these two have.
    .filter(([mr, vectors]) => lane !== "i16pair" || (mr <= 4 && vectors >= 2 && mr * vectors === 8))
    .filter(([, vectors]) => vectors > 1 || columns <= L)
    .filter(([mr, vectors]) => (isFew ? mr <= 2 : mr > 1 && mr * vectors > 4 && (rowsVary || mr <= rows)))
    .map(([mr, vectors]): Tile => ({ mr, nr: vectors * L }))
    .filter(({ mr, nr }) => 2 * columns > nr && (mr !== first.mr || nr !== first.nr));
  const plain = [first, ...others];
  if (fused === undefined) return plain;
  const both = plain.map((t): Tile => (t.nr % fused.nr === 0 ? { ...t, fused } : t));
  return [...both, first, { ...first, fused: { ...fused, mr: 5 } }];
}

/** The same for kernels whose code is one, whether multiply-adds are fused or not. */
export function plainTilesFor(lane: Lane["name"], size: ProductSize): readonly Tile[] {
  const tiles = tilesFor(lane, size).map(({ mr, nr }): Tile => ({ mr, nr }));
  return tiles.filter(({ mr, nr }, i) => tiles.findIndex((t) => t.mr === mr && t.nr === nr) === i);
}
