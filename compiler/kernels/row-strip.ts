/** Strips of products with rows (row-product.ts): the sums of a few rows of A with the rows of B in a chunk, and what follows. */

import type { Elem, Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  bitcast,
  constVector,
  divS,
  fma,
  geS,
  gtS,
  i32,
  load,
  loadSplat,
  minS,
  mul,
  named,
  param,
  pointer,
  remS,
  shuffle,
  splat,
  sub,
} from "../../ir/loop-build.js";
import { coverColumns, existing, firstColumn, panelsOf } from "./columns.js";
import type { Epilogue } from "./epilogue.js";
import { numberAt } from "./row-arrange.js";
import { fixedSums } from "./row-fixed.js";
import { type FloatStorage, type PlaneStorage, planesOf, type RowStorage, type RowStorageName } from "./row-storage.js";
import { ints, lanes, reduction, storeTile } from "./tile.js";

/** Zero points of quantised rows: one for each block, or one of all, which the sums of A hold. */
export interface ZeroPoints {
  readonly elem: Elem;
  readonly each: boolean;
}

export interface Strip {
  readonly storage: RowStorage;
  readonly b: RowStorageName;
  readonly zero: ZeroPoints | undefined;
  /** Whether blocks of one scale are one group long. */
  readonly short: boolean;
  readonly epilogue: Epilogue;
  readonly aElem: Elem;
  readonly cElem: Elem;
  readonly n: number | undefined;
  /** Whether rows of A are in fixed point (row-arrange.ts). */
  readonly fixed: boolean;
}

export const lane = lanes.f32;

/** Rows of B that are read at once by so many rows of A: what they take fits the registers. */
export const streamsOf = (storage: RowStorage, rows: number): number =>
  storage.kind === "float" ? (rows > 2 ? 2 : 4) : rows === 1 ? 2 : 1;

/** Turns of the reduction between two updates of pointers. */
const unroll = 8;

/** Parameters of quantised rows: scales [N][blocks], units and sums of A, zero points as the scales. */
export const planeParams = (s: Pick<Strip, "storage" | "zero">): readonly LoopParam[] => {
  if (s.storage.kind === "float") return [];
  const zero = s.zero === undefined ? [] : [pointer("aSums", "f32"), pointer("zero", s.zero.elem)];
  return [pointer("scale", "f32"), ...ints("blocks", "perBlock"), pointer("units", "f32"), ...zero];
};

/** Part of a kernel's name that says how B's rows are quantised. */
export const formOf = ({ b, zero, short, fixed }: Pick<Strip, "b" | "zero" | "short" | "fixed">): string =>
  `${b}${fixed ? "_fixed" : ""}${zero === undefined ? "" : `_zero${zero.each ? "s" : ""}_${zero.elem}`}${short ? "_short" : ""}`;

export function stem(s: Strip, part: string): string {
  const elems = s.aElem === "f32" && s.cElem === "f32" ? "" : `_${s.aElem}_${s.cElem}`;
  return `f32_${part}_${formOf(s)}${elems}${s.epilogue.name === "" ? "" : `_${s.epilogue.name}`}`;
}

/** What strips read of A, B and the form of B's rows, each from the strip's first row on. */
interface Operands {
  readonly a: readonly Expr[];
  readonly b: readonly Expr[];
  readonly k: Expr;
  /** Rows of A, and those of B that streams read. */
  readonly rows: readonly Expr[];
  readonly columns: readonly Expr[];
}

/** Sums of `rows` rows of A with all rows of B in a chunk, then the epilogue over them. `a`, `b` and `c` point to their first. */
export function strip(s: Strip, rows: number): LoopFunction {
  const streams = streamsOf(s.storage, rows);
  const own = [
    pointer("a", s.aElem),
    pointer("b", s.storage.elem),
    pointer("c", s.cElem),
    pointer("sums", "f32"),
    ...ints("k", "aRow", "bRow", "cRow", "batch", "row", "column0", "columnEnd"),
  ] as const;
  const planes = planeParams(s);
  const panels = panelsOf(lane, lane.count, s.n);
  const name = `${stem(s, "rowstrip")}_${rows}x${streams}${panels.suffix}`;
  return buildFunction(name, [...own, ...planes, ...s.epilogue.params], undefined, (f) => {
    const p = named(own);
    const { a, b, c, sums, k, cRow, batch, row, column0, columnEnd } = p;
    const count = f.let("count", sub(columnEnd, column0));
    const distance = f.let("distance", divS(add(count, streams - 1), streams));
    const sumRow = f.let("sumRow", mul(distance, streams));
    f.for("j", 0, distance, 1, (j) => {
      const columns = Array.from({ length: streams }, (_, t) => f.let("column", add(j, mul(distance, t))));
      // Streams beyond the last column read its row again.
      const read = columns.map((x) => f.let("read", minS(x, sub(count, 1))));
      const operands: Operands = {
        a: Array.from({ length: rows }, (_, r) => f.mut("aAt", add(a, mul(mul(p.aRow, r), elemBytes[s.aElem])))),
        b: read.map((x) => f.mut("bAt", add(b, mul(mul(x, p.bRow), elemBytes[s.storage.elem])))),
        k,
        rows: Array.from({ length: rows }, (_, r) => add(row, r)),
        columns: read.map((x) => add(column0, x)),
      };
      const acc =
        s.storage.kind === "float"
          ? floatSums(f, s.storage, s.aElem, operands)
          : planeSums(f, s, s.storage, operands, planeArgs(planes));
      acc.forEach((list, r) => {
        list.forEach((x, t) => {
          f.store("f32", sums, mul(add(mul(sumRow, r), columns[t]!), lane.count), x);
        });
      });
    });
    const cAt = Array.from({ length: rows }, (_, r) => f.let("c_", add(c, mul(mul(cRow, r), elemBytes[s.cElem]))));
    const extra = s.epilogue.params.map(param);
    coverColumns(f, lane, panels, column0, columnEnd, (width, column, exist) => {
      const at = f.let("at", sub(column, column0));
      const acc = Array.from({ length: rows }, (_, r) => [
        lanesSummed(f, add(sums, mul(add(mul(sumRow, r), at), lane.count * elemBytes.f32))),
      ]);
      storeTile(f, lane, acc, {
        elem: s.cElem,
        rowPointer: (r) => add(cAt[r]!, mul(at, elemBytes[s.cElem])),
        epilogue: s.epilogue,
        params: extra,
        at: (r) => ({ batch, row: add(row, r), column }),
        columns: existing(lane, width, exist),
        firstColumn: (v) => firstColumn(lane, width, v),
      });
    });
  });
}

/** Sums of the lanes of four neighbouring vectors in memory. */
function lanesSummed(f: Block, at: Expr): Expr {
  const base = f.let("vectors", at);
  const x = Array.from({ length: 4 }, (_, i) => f.let("v", load("f32x4", "f32", base, 0, 4 * i)));
  const halves = (p: Expr, q: Expr) => f.let("halves", add(shuffle(p, q, [0, 4, 1, 5]), shuffle(p, q, [2, 6, 3, 7])));
  const [low, high] = [halves(x[0]!, x[1]!), halves(x[2]!, x[3]!)];
  return f.let("sum", add(shuffle(low, high, [0, 1, 4, 5]), shuffle(low, high, [2, 3, 6, 7])));
}

/** Σ_k of rows of A with rows of B, by lanes. The pointers are moved. */
function floatSums(
  f: Block,
  { group, elem, widen }: FloatStorage,
  aElem: Elem,
  { a, b, k }: Operands,
): readonly (readonly Expr[])[] {
  const acc = a.map(() => b.map(() => f.mut("acc", splat("f32x4", 0))));
  const step = (u: number, existing: (x: Expr) => Expr = (x) => x) => {
    const ofA = (x: Expr) => f.let("av", existing(load("f32x4", aElem, x, 0, u * group)));
    const ofB = (x: Expr) => f.let("w", existing(widen(x, u)));
    const product = (r: number, t: number, v: Expr, w: Expr) => f.assign(acc[r]![t]!, fma(v, w, acc[r]![t]!));
    // What there are fewer of stays in registers.
    if (a.length <= b.length) {
      const vs = a.map(ofA);
      for (const [t, x] of b.entries()) {
        const w = ofB(x);
        for (const [r, v] of vs.entries()) product(r, t, v, w);
      }
    } else {
      const ws = b.map(ofB);
      for (const [r, x] of a.entries()) {
        const v = ofA(x);
        for (const [t, w] of ws.entries()) product(r, t, v, w);
      }
    }
  };
  const advance = (elements: Expr) => {
    for (const x of a) f.assign(x, add(x, mul(elements, elemBytes[aElem])));
    for (const x of b) f.assign(x, add(x, mul(elements, elemBytes[elem])));
  };
  reduction(f, divS(k, group), unroll, step, (groups) => advance(i32(groups * group)));
  const rest = f.let("rest", remS(k, group));
  // The last vector is read so that it ends with the row; of it counts what has not been added yet.
  f.if(gtS(rest, 0), () => {
    const before = f.let("before", sub(group, rest));
    const isNew = geS(constVector("i32x4", [0, 1, 2, 3]), splat("i32x4", before));
    const mask = f.let("mask", bitcast("i32x4", isNew));
    advance(mul(before, -1));
    step(0, (x) => bitcast("f32x4", and(bitcast("i32x4", x), mask)));
  });
  return acc;
}

/** Arguments of `planeParams`. */
export interface PlaneArgs {
  readonly scale: Expr;
  readonly blocks: Expr;
  readonly perBlock: Expr;
  readonly units: Expr;
  readonly aSums?: Expr;
  readonly zero?: Expr;
}

/** The arguments, by the names of the parameters. */
export const planeArgs = (params: readonly LoopParam[]): PlaneArgs =>
  Object.fromEntries(params.map((p) => [p.name, param(p)])) as unknown as PlaneArgs;

/** Runs `body` for the groups of a block. */
export function groupsOf(f: Block, s: Pick<Strip, "short">, perBlock: Expr, body: () => void): void {
  if (s.short) body();
  else f.for("g", 0, perBlock, 1, body);
}

/** The same with quantised rows: block by block, each times its scale. */
function planeSums(
  f: Block,
  s: Strip,
  storage: PlaneStorage,
  { a, b, rows, columns }: Operands,
  { scale, blocks, perBlock, units, aSums, zero }: PlaneArgs,
): readonly (readonly Expr[])[] {
  const ofColumn = (base: Expr, elem: Elem) =>
    columns.map((x) => f.mut("at", add(base, mul(mul(x, blocks), elemBytes[elem]))));
  const scales = ofColumn(scale, "f32");
  const zeroElem = s.zero?.elem ?? "f32";
  const zeros = zero === undefined || !s.zero?.each ? [] : ofColumn(zero, zeroElem);
  const starts =
    aSums === undefined ? [] : rows.map((r) => f.mut("sumsAt", add(aSums, mul(mul(r, blocks), 4 * elemBytes.f32))));
  const totals = rows.map(() => columns.map(() => f.mut("total", splat("f32x4", 0))));
  f.for("block", 0, blocks, 1, (counter) => {
    const start = starts.map((x) => f.let("start", load("f32x4", "f32", x, 0)));
    const ofBlock = zeros.map((z) => f.let("z", splat("f32x4", numberAt(zeroElem, z, 0))));
    const firsts = rows.map((_, r) =>
      columns.map((_, t) => {
        const first = start[r];
        return first === undefined || ofBlock[t] === undefined ? first : mul(first, ofBlock[t]!);
      }),
    );
    const sums = s.fixed
      ? fixedSums(f, storage, { a, b, groups: s.short ? undefined : perBlock, counter })
      : floatBlock(f, s, storage, { a, b, perBlock }, firsts);
    const acc = s.fixed ? sums.map((list, r) => list.map((x, t) => plus(x, firsts[r]![t]))) : sums;
    for (const [t, at] of scales.entries()) {
      const factor = f.let("factor", loadSplat("f32x4", "f32", at, 0));
      for (const [r, list] of totals.entries()) f.assign(list[t]!, fma(acc[r]![t]!, factor, list[t]!));
      f.assign(at, add(at, elemBytes.f32));
    }
    for (const z of zeros) f.assign(z, add(z, elemBytes[zeroElem]));
    for (const x of starts) f.assign(x, add(x, 4 * elemBytes.f32));
  });
  if (!s.fixed) return totals;
  const ofRow = rows.map((r) => f.let("unit", loadSplat("f32x4", "f32", units, r)));
  return totals.map((list, r) => list.map((x) => mul(x, ofRow[r]!)));
}

const plus = (x: Expr, y: Expr | undefined): Expr => (y === undefined ? x : add(x, y));

/** A block's sums of rows of A in floats, which begin with `firsts`. Pointers are moved past it. */
function floatBlock(
  f: Block,
  s: Pick<Strip, "short">,
  storage: PlaneStorage,
  { a, b, perBlock }: Pick<Operands, "a" | "b"> & { readonly perBlock: Expr },
  firsts: readonly (readonly (Expr | undefined)[])[],
): readonly (readonly Expr[])[] {
  const acc = firsts.map((list) => list.map((first) => f.mut("acc", first ?? splat("f32x4", 0))));
  groupsOf(f, s, perBlock, () => {
    const xs = b.map((x) => f.let("x", load("i32x4", "i32", x, 0)));
    for (let v = 0; v < planesOf(storage); v++) {
      const as = a.map((x) => f.let("av", load("f32x4", "f32", x, 0, 4 * v)));
      for (const [t, x] of xs.entries()) {
        const w = f.let("w", storage.plane(x, v));
        for (const [r, y] of as.entries()) f.assign(acc[r]![t]!, fma(y, w, acc[r]![t]!));
      }
    }
    for (const x of a) f.assign(x, add(x, storage.group * elemBytes.f32));
    for (const x of b) f.assign(x, add(x, 16));
  });
  return acc;
}
