/**
 * Matrices turned in registers: y[…, j, i] = x[…, i, j] for elements of 1, 2, 4 and 8 bytes, whatever they mean.
 *
 *   for each unit (chunk axis): one of the outer matrices, and a band of its columns
 *     for each 64 bytes of y's rows: for each block of L columns: for each block of L rows:   L×L elements in registers
 *
 * so that lines of the cache are read and written whole. Blocks at an edge are moved back so that they end with it. Two to four
 * columns (or rows) that lie without gaps, as channels of images do, are taken apart (or joined) by vectors of whole pixels.
 */

import type { Elem, Expr, LoopFunction, VectorKind } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  bitcast,
  divS,
  eq,
  extractLane,
  geS,
  load,
  loadSplat,
  minS,
  mul,
  named,
  pointer,
  remS,
  select,
  shuffle,
  sub,
} from "../../ir/loop-build.js";
import { elemKind } from "../../ir/loop-types.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";

export interface TransposeSpec {
  readonly elem: Elem;
  /** Loops around the matrices. */
  readonly outer: number;
  /** So many columns (of x) or rows, without gaps between their elements and the next ones: what is joined or taken apart. */
  readonly few?: { readonly axis: "rows" | "columns"; readonly count: number };
}

/** The most columns or rows that are taken as `few`, by bytes of an element: where a block has more of them. */
export const mostFew: Readonly<Record<number, number>> = { 1: 4, 2: 4, 4: 3, 8: 3 };

interface Raw {
  readonly elem: Elem;
  readonly vector: VectorKind;
  /** Elements of a vector. */
  readonly lanes: number;
  /** Elements along the sides of a block. */
  readonly side: number;
}

/** How elements of so many bytes are moved. */
const raws: Readonly<Record<number, Raw>> = {
  1: { elem: "i8", vector: "i8x16", lanes: 16, side: 8 },
  2: { elem: "i16", vector: "i16x8", lanes: 8, side: 8 },
  4: { elem: "i32", vector: "i32x4", lanes: 4, side: 4 },
  8: { elem: "i64", vector: "i64x2", lanes: 2, side: 2 },
};

const rawOf = (elem: Elem): Raw => raws[elemBytes[elem]]!;

interface Matrix {
  readonly from: Expr;
  readonly to: Expr;
  readonly rows: Expr;
  readonly columns: Expr;
  /** Bytes between rows of x, and between rows of y. */
  readonly xPitch: Expr;
  readonly yPitch: Expr;
}

/** Neighbouring lanes of a and b in turn: the lower half of them, and the upper. */
function interleave(f: Block, a: Expr, b: Expr, lanes: number): readonly [Expr, Expr] {
  const half = (from: number) =>
    f.let(
      "t",
      shuffle(
        a,
        b,
        Array.from({ length: lanes }, (_, l) => from + (l >> 1) + (l % 2) * lanes),
      ),
    );
  return [half(0), half(lanes / 2)];
}

/** Interleaving the first half of the vectors with the second moves the highest bit of an element's place to the end. */
function interleaveHalves(f: Block, vectors: readonly Expr[], lanes: number): readonly Expr[] {
  const half = vectors.length / 2;
  return Array.from({ length: half }, (_, i) => interleave(f, vectors[i]!, vectors[i + half]!, lanes)).flat();
}

/** One block; `from` and `to` are its first element in x and in y. */
function turn(f: Block, raw: Raw, from: Expr, xPitch: Expr, to: Expr, yPitch: Expr): void {
  const { side, lanes, elem, vector } = raw;
  const along = (start: Expr, pitch: Expr, visit: (at: Expr, k: number) => void) => {
    let at = start;
    for (let k = 0; k < side; k++) {
      if (k > 0) at = f.let("line", add(at, pitch));
      visit(at, k);
    }
  };
  let vectors: readonly Expr[] = [];
  if (side === lanes) {
    along(from, xPitch, (at) => {
      vectors = [...vectors, f.let("row", load(vector, elem, at, 0))];
    });
    for (let n = 1; n < side; n *= 2) vectors = interleaveHalves(f, vectors, lanes);
    along(to, yPitch, (at, k) => f.store(elem, at, 0, vectors[k]!));
    return;
  }
  // Rows of half a vector: the first step makes whole vectors of them, and what comes out is two rows in each.
  along(from, xPitch, (at) => {
    vectors = [...vectors, f.let("row", bitcast(vector, loadSplat("i64x2", "i64", at, 0)))];
  });
  vectors = Array.from({ length: side / 2 }, (_, i) => interleave(f, vectors[i]!, vectors[i + side / 2]!, lanes)[0]);
  for (let n = 2; n < side; n *= 2) vectors = interleaveHalves(f, vectors, lanes);
  along(to, yPitch, (at, k) => f.store("i64", at, 0, extractLane(bitcast("i64x2", vectors[k >> 1]!), k % 2)));
}

/** Element by element, of [r0, rows) × [c0, columns). */
function turnSingly(f: Block, elem: Elem, m: Matrix, r0: Expr | number, c0: Expr | number): void {
  const raw = rawOf(elem);
  const bytes = elemBytes[elem];
  f.for("c", c0, m.columns, 1, (c) => {
    const from = f.let("column", add(m.from, mul(c, bytes)));
    const to = f.let("row", add(m.to, mul(c, m.yPitch)));
    f.for("r", r0, m.rows, 1, (r) => {
      f.store(raw.elem, to, r, load(elemKind[raw.elem], raw.elem, add(from, mul(r, m.xPitch)), 0));
    });
  });
}

/** Bytes of y's rows that are written before the next columns: a line of the cache. */
const lineBytes = 64;

function turnBlocks(f: Block, elem: Elem, m: Matrix): void {
  const raw = rawOf(elem);
  const { side } = raw;
  const bytes = elemBytes[elem];
  const line = lineBytes / bytes;
  f.if(
    and(geS(m.rows, side), geS(m.columns, side)),
    () => {
      const lastRow = f.let("lastRow", sub(m.rows, side));
      const lastColumn = f.let("lastColumn", sub(m.columns, side));
      f.for("line", 0, m.rows, line, (first) => {
        const end = f.let("lineEnd", minS(add(first, line), m.rows));
        f.for("c", 0, m.columns, side, (c) => {
          const column = f.let("column", minS(c, lastColumn));
          const from = f.let("from", add(m.from, mul(column, bytes)));
          const to = f.let("to", add(m.to, mul(column, m.yPitch)));
          f.for("r", first, end, side, (r) => {
            const row = f.let("row", minS(r, lastRow));
            const at = f.let("at", add(from, mul(row, m.xPitch)));
            turn(f, raw, at, m.xPitch, f.let("out", add(to, mul(row, bytes))), m.yPitch);
          });
        });
      });
    },
    () => turnSingly(f, elem, m, 0, 0),
  );
}

/** Lane l of the result is lane `at(l) % L` of vector ⌊at(l) / L⌋. */
function pick(f: Block, vectors: readonly Expr[], lanes: number, at: (lane: number) => number): Expr {
  const places = Array.from({ length: lanes }, (_, l) => at(l));
  let picked = vectors[0]!;
  for (let v = 1; v < vectors.length; v++) {
    const choice = places.map((p, l) => {
      if (Math.floor(p / lanes) === v) return lanes + (p % lanes);
      // Not there yet: any lane does.
      return v === 1 && p < lanes ? p : l;
    });
    picked = f.let("picked", shuffle(picked, vectors[v]!, choice));
  }
  return picked;
}

/** Columns without gaps: L rows of them are as many vectors as there are columns. */
function takeApart(f: Block, elem: Elem, count: number, m: Matrix): void {
  const { lanes, vector, elem: raw } = rawOf(elem);
  const bytes = elemBytes[elem];
  const whole = f.let("whole", sub(m.rows, remS(m.rows, lanes)));
  const rows = Array.from({ length: count }, (_, c) => (c === 0 ? m.to : f.let("row", add(m.to, mul(m.yPitch, c)))));
  f.for("r", 0, whole, lanes, (r) => {
    const from = f.let("from", add(m.from, mul(r, count * bytes)));
    const vectors = rows.map((_, v) => f.let("v", load(vector, raw, from, 0, v * lanes)));
    for (const [c, to] of rows.entries())
      f.store(
        raw,
        to,
        r,
        pick(f, vectors, lanes, (l) => l * count + c),
      );
  });
  turnSingly(f, elem, m, whole, 0);
}

/** The other way round. */
function join(f: Block, elem: Elem, count: number, m: Matrix): void {
  const { lanes, vector, elem: raw } = rawOf(elem);
  const bytes = elemBytes[elem];
  const whole = f.let("whole", sub(m.columns, remS(m.columns, lanes)));
  const rows = Array.from({ length: count }, (_, r) =>
    r === 0 ? m.from : f.let("row", add(m.from, mul(m.xPitch, r))),
  );
  f.for("c", 0, whole, lanes, (c) => {
    const vectors = rows.map((from) => f.let("v", load(vector, raw, from, c)));
    const to = f.let("to", add(m.to, mul(c, count * bytes)));
    for (let v = 0; v < count; v++) {
      const joined = pick(
        f,
        vectors,
        lanes,
        (l) => ((v * lanes + l) % count) * lanes + Math.floor((v * lanes + l) / count),
      );
      f.store(raw, to, 0, joined, v * lanes);
    }
  });
  turnSingly(f, elem, m, 0, whole);
}

/**
 * Parameters: begin, end, x, y, rows, columns, xRow (elements between rows of x), yRow (between rows of y, which are columns of
 * x), band (columns of a unit; rows, where columns are few), bands (of a matrix: the last one goes on to the end), units, perChunk
 * (units of a chunk), then for each outer loop its size and the elements between its rounds in x and in y.
 */
export function transpose(s: TransposeSpec): Kernel {
  const { elem, outer, few } = s;
  const bytes = elemBytes[elem];
  const { elem: raw } = rawOf(elem);
  const cut = few?.axis === "columns" ? "rows" : "columns";
  const what = few === undefined ? "" : `_${few.count}${few.axis}`;
  const pointers = [pointer("x", elem), pointer("y", elem)];
  // Shared by all elements of a size.
  const blockParams = [pointer("from", raw), pointer("to", raw), ...ints("rows", "columns", "xRow", "yRow")];
  const block: LoopFunction = buildFunction(`${raw}_turn${what}`, blockParams, undefined, (f) => {
    const { from, to, rows, columns, xRow, yRow } = named(blockParams);
    const pitch = (row: Expr) => f.let("pitch", mul(row, bytes));
    const m: Matrix = { from, to, rows, columns, xPitch: pitch(xRow), yPitch: pitch(yRow) };
    if (few === undefined) turnBlocks(f, elem, m);
    else (few.axis === "columns" ? takeApart : join)(f, elem, few.count, m);
  });
  const loops = Array.from({ length: outer }, (_, k) => ints(`size${k}`, `xStep${k}`, `yStep${k}`)).flat();
  const params = [
    int("begin"),
    int("end"),
    ...pointers,
    ...ints("rows", "columns", "xRow", "yRow", "band", "bands", "units", "perChunk"),
    ...loops,
  ];
  const fn = buildFunction(`${elem}_transpose${what}_${outer}`, params, undefined, (f) => {
    const p = named(params);
    const { begin, end, x, y, band, bands, units, perChunk } = p;
    f.for("unit", mul(begin, perChunk), minS(mul(end, perChunk), units), 1, (unit) => {
      const which = f.let("which", remS(unit, bands));
      const first = f.let("first", mul(which, band));
      let [xAt, yAt] = cut === "columns" ? [first, mul(first, p.yRow)] : [mul(first, p.xRow), first];
      let left = f.let("matrix", divS(unit, bands));
      for (let k = outer - 1; k >= 0; k--) {
        const index = k === 0 ? left : f.let("index", remS(left, p[`size${k}`]!));
        if (k > 0) left = f.let("left", divS(left, p[`size${k}`]!));
        xAt = add(xAt, mul(index, p[`xStep${k}`]!));
        yAt = add(yAt, mul(index, p[`yStep${k}`]!));
      }
      const size = p[cut]!;
      f.callNamed(block, {
        ...p,
        from: add(x, mul(xAt, bytes)),
        to: add(y, mul(yAt, bytes)),
        [cut]: select(eq(add(which, 1), bands), sub(size, first), band),
      });
    });
  });
  return { fn, helpers: [block] };
}
