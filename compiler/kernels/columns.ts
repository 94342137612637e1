/** Cutting the columns of a product into whole panels and one narrower panel at the end. */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { gtS, i32, leS, remS, sub } from "../../ir/loop-build.js";
import type { Lane } from "./tile.js";

/** A tile width: vectors, and whether only part of the last one exists. */
export interface TileWidth {
  readonly vectors: number;
  readonly cut: boolean;
}

export interface Panels {
  readonly nr: number;
  /** Vectors of a whole panel. */
  readonly vectors: number;
  /** Vectors that the last, narrower panel can need, ascending; fewer if N is known. */
  readonly cutVectors: readonly number[];
  /** Whether whole panels can occur. */
  readonly whole: boolean;
  /** Part of a kernel's name that says what is known about N. */
  readonly suffix: string;
}

export function panelsOf(lane: Lane, nr: number, n: number | undefined): Panels {
  const vectors = nr / lane.count;
  if (n === undefined)
    return { nr, vectors, cutVectors: Array.from({ length: vectors }, (_, v) => v + 1), whole: true, suffix: "" };
  const tail = n % nr;
  return {
    nr,
    vectors,
    cutVectors: tail === 0 ? [] : [Math.ceil(tail / lane.count)],
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
  const { nr, vectors, cutVectors, whole } = panels;
  const wholeEnd = whole ? f.let("wholeEnd", sub(to, remS(sub(to, from), nr))) : from;
  if (whole) f.for("column", from, wholeEnd, nr, (column) => body({ vectors, cut: false }, column, i32(nr)));
  if (cutVectors.length === 0) return;
  const width = f.let("width", sub(to, wholeEnd));
  const byWidth = (i: number): void => {
    const tile = { vectors: cutVectors[i]!, cut: true };
    const put = () => body(tile, wholeEnd, width);
    if (i === cutVectors.length - 1) put();
    else f.if(leS(width, tile.vectors * lane.count), put, () => byWidth(i + 1));
  };
  f.if(gtS(width, 0), () => byWidth(0));
}

/** Part of a helper's name: `2x8of16_cut` is a tile of 2 × 8 on panels of 16, of which the last vector is cut. */
export const tileName = (lane: Lane, mr: number, nr: number, { vectors, cut }: TileWidth): string =>
  `${mr}x${vectors * lane.count}${vectors * lane.count === nr ? "" : `of${nr}`}${cut ? "_cut" : ""}`;

/** Collects the functions a kernel calls. */
export class Helpers {
  readonly #functions = new Map<string, LoopFunction>();

  /** Adds a function unless it is there; gives its name, to call it by. */
  use(f: LoopFunction): string {
    this.#functions.set(f.name, f);
    return f.name;
  }

  list(): readonly LoopFunction[] {
    return [...this.#functions.values()];
  }
}
