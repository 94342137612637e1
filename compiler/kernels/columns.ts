/** Cutting products into chunks, and columns into whole panels and one narrower panel at the end. */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, divS, gtS, i32, leS, maxS, mul, remS, sub } from "../../ir/loop-build.js";
import type { Lane } from "./tile.js";

/** A tile width: vectors, and whether only part of the last one may exist. */
export interface TileWidth {
  readonly vectors: number;
  readonly cut: boolean;
  /** How many columns of the last vector exist, where known when compiling. */
  readonly lanes?: number;
  /**
   * Columns that the last vector is moved down by so that it ends with the last column: those it shares with the vector before are computed
   * in both. This takes a known number of columns, and two vectors.
   */
  readonly down?: number;
}

export interface Panels {
  readonly nr: number;
  /** Vectors of a whole panel. */
  readonly vectors: number;
  /** Widths that the last, narrower panel can need, ascending; one at most if N is known. */
  readonly narrow: readonly TileWidth[];
  /** Whether whole panels can occur. */
  readonly whole: boolean;
  /** Part of a kernel's name that says what is known about N. */
  readonly suffix: string;
}

export function panelsOf(lane: Lane, nr: number, n: number | undefined): Panels {
  const vectors = nr / lane.count;
  if (n === undefined)
    return {
      nr,
      vectors,
      narrow: Array.from({ length: vectors }, (_, v) => ({ vectors: v + 1, cut: true })),
      whole: true,
      suffix: "",
    };
  const tail = n % nr;
  const lanes = tail % lane.count;
  const tailVectors = Math.ceil(tail / lane.count);
  const last = lanes === 0 ? {} : tailVectors > 1 ? { down: lane.count - lanes } : { lanes };
  const width = { vectors: tailVectors, cut: "lanes" in last, ...last };
  return {
    nr,
    vectors,
    narrow: tail === 0 ? [] : [width],
    whole: n >= nr,
    suffix: `_n${tail}${n >= nr ? "" : "only"}`,
  };
}

/**
 * Calls `body` for the panels of columns `from … to`: in a loop for whole ones, then for the rest by its number of vectors.
 * `from` is at a panel's start.
 */
export function coverColumns(
  f: Block,
  lane: Lane,
  panels: Panels,
  from: Expr,
  to: Expr,
  body: (tile: TileWidth, column: Expr, width: Expr) => void,
): void {
  const { nr, vectors, narrow, whole } = panels;
  const wholeEnd = whole ? f.let("wholeEnd", sub(to, remS(sub(to, from), nr))) : from;
  if (whole) f.for("column", from, wholeEnd, nr, (column) => body({ vectors, cut: false }, column, i32(nr)));
  if (narrow.length === 0) return;
  const width = f.let("width", sub(to, wholeEnd));
  const byWidth = (i: number): void => {
    const tile = narrow[i]!;
    const put = () => body(tile, wholeEnd, width);
    if (i === narrow.length - 1) put();
    else f.if(leS(width, tile.vectors * lane.count), put, () => byWidth(i + 1));
  };
  f.if(gtS(width, 0), () => byWidth(0));
}

/** `size` cut into the fewest blocks of at most `most`, as even as multiples of `unit` allow: their number, and the size of each but the last. */
export function evenBlocks(f: Block, name: string, size: Expr, most: number, unit: number): readonly [Expr, Expr] {
  const count = f.let(`${name}Blocks`, divS(add(size, most - 1), most));
  // Nothing is computed where there is nothing; divisors are not 0 all the same.
  const each = divS(add(size, sub(count, 1)), maxS(count, 1));
  return [count, f.let(`${name}Block`, mul(divS(add(each, unit - 1), unit), unit))];
}

/** The width that serves a panel with the code of a narrower one, if there is such code: whole panels are cut nowhere. */
export function sharedWidth(panels: Panels, width: TileWidth): TileWidth {
  const serves = (w: TileWidth) => w.vectors === width.vectors && w.lanes === undefined && w.down === undefined;
  return panels.narrow.find(serves) ?? width;
}

/**
 * A tile of many vectors as tiles of at most `most`, and how many columns each starts after the first. The last one is whole, since its last
 * vector may share columns with the one before.
 */
export function narrowTiles(
  lane: Lane,
  width: TileWidth,
  most: number,
): readonly { readonly width: TileWidth; readonly after: number }[] {
  const tiles: { readonly width: TileWidth; readonly after: number }[] = [];
  for (let end = width.vectors; end > 0; ) {
    const vectors = Math.min(most, end);
    const whole = { vectors, cut: false };
    tiles.unshift({
      width: end === width.vectors ? { ...width, vectors } : whole,
      after: (end - vectors) * lane.count,
    });
    end -= vectors;
  }
  return tiles;
}

/** Where a vector of the tile starts, in columns from the tile's first. */
export const firstColumn = (lane: Lane, { vectors, down = 0 }: TileWidth, vector: number): number =>
  vector * lane.count - (vector === vectors - 1 ? down : 0);

/** How many columns of the tile exist: the run-time parameter, or a constant; undefined for all. */
export function existing(lane: Lane, width: TileWidth, columns: Expr): Expr | undefined {
  if (!width.cut) return undefined;
  return width.lanes === undefined ? columns : i32((width.vectors - 1) * lane.count + width.lanes);
}

/**
 * Part of a helper's name: `2x8of16_cut` is a tile of 2 × 8 on panels of 16, of which the last vector is cut; `_cut3` where it
 * is known to hold three columns, `_down1` where it is moved down by one.
 */
export function tileName(lane: Lane, mr: number, nr: number, { vectors, cut, lanes, down }: TileWidth): string {
  const columns = vectors * lane.count;
  const last = cut ? `_cut${lanes ?? ""}` : down === undefined ? "" : `_down${down}`;
  return `${mr}x${columns}${columns === nr ? "" : `of${nr}`}${last}`;
}

/** Collects the functions a kernel calls. */
export class Helpers {
  readonly #functions = new Map<string, LoopFunction>();

  /** Adds a function unless it is there; gives it back, to call it. */
  use(f: LoopFunction): LoopFunction {
    this.#functions.set(f.name, f);
    return f;
  }

  list(): readonly LoopFunction[] {
    return [...this.#functions.values()];
  }
}
