/**
 * The register tile that all contraction kernels share: MR rows by NV vectors of accumulators that stay in registers while
 * the reduction runs.
 *
 *   acc[r][v] = Σ_k A[r, k] · B[k, v·L … v·L + L−1]        A is read by splat loads, B by vector loads
 *
 * Every element adds its products one by one in the order of k, in every tile shape, so that a result depends neither on
 * the tile an element falls into nor on how the work is cut.
 */

import type { Elem, ElementKind, Expr, VectorKind } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import {
  add,
  binary,
  bitcast,
  constant,
  extractLane,
  fma,
  i32,
  load,
  loadSplat,
  ltS,
  mul,
  type NamedParam,
  remS,
  replaceLane,
  shrU,
  splat,
  sub,
} from "../../ir/loop-build.js";
import type { Ahead, Epilogue, Position } from "./epilogue.js";

/** What a kernel computes in: a scalar kind and, where SIMD has it, the vector of the same. */
export interface Lane {
  readonly name: "f32" | "f64" | "i32" | "i64" | "i16pair" | "i8quad";
  readonly elem: Elem;
  readonly scalar: ElementKind;
  readonly vector: VectorKind;
  /** Elements in a vector, L. */
  readonly count: number;
  /** Neighbours along K that one step multiplies and adds. */
  readonly depth: 1 | 2 | 4;
  /** How operands lie in memory unless said otherwise. */
  readonly operand: Elem;
}

export const lanes = {
  f32: { name: "f32", elem: "f32", scalar: "f32", vector: "f32x4", count: 4, depth: 1, operand: "f32" },
  f64: { name: "f64", elem: "f64", scalar: "f64", vector: "f64x2", count: 2, depth: 1, operand: "f64" },
  i32: { name: "i32", elem: "i32", scalar: "i32", vector: "i32x4", count: 4, depth: 1, operand: "i32" },
  i64: { name: "i64", elem: "i64", scalar: "i64", vector: "i64x2", count: 2, depth: 1, operand: "i64" },
  /**
   * i16 operands, two neighbours along K multiplied and added into i32 by one instruction: twice as many products a step as f32.
   * Sums wrap as i32 sums do, whatever their number.
   */
  i16pair: { name: "i16pair", elem: "i32", scalar: "i32", vector: "i32x4", count: 4, depth: 2, operand: "i16" },
  /** Bytes, four neighbours along K at once; A is read as the engine says (quads.ts). */
  i8quad: { name: "i8quad", elem: "i32", scalar: "i32", vector: "i32x4", count: 4, depth: 4, operand: "i8" },
} as const satisfies { readonly [N in Lane["name"]]: Lane };

/** a·b + c: two roundings on the baseline, perhaps one in the relaxed variant; wraps for integers. */
export function multiplyAdd(lane: Lane, a: Expr, b: Expr, c: Expr): Expr {
  switch (lane.name) {
    case "f32":
    case "f64":
      return fma(a, b, c);
    case "i32":
    case "i64":
      return add(mul(a, b), c);
    case "i16pair":
      return add(binary("dotI16", bitcast("i16x8", a), bitcast("i16x8", b)), c);
    case "i8quad":
      return add(binary("dotI8", bitcast("i8x16", b), bitcast("i8x16", a)), c);
    default:
      return lane.name satisfies never;
  }
}

/** What step number `step` multiplies of a row of A that runs along K, in all lanes. */
export function splatStep(lane: Lane, elem: Elem, pointer: Expr, step: number): Expr {
  // A pair of i16, and four bytes, are one i32.
  if (lane.depth > 1) return loadSplat(lane.vector, "i32", pointer, 0, step);
  return elemBytes[elem] === elemBytes[lane.elem]
    ? loadSplat(lane.vector, elem, pointer, 0, step)
    : splat(lane.vector, load(lane.scalar, elem, pointer, 0, step));
}

/** L neighbouring columns of B at `offset` columns from the pointer; where a step is two or four deep, columns are pairs or quads. */
export function columnVector(lane: Lane, elem: Elem, pointer: Expr, offset: number): Expr {
  if (lane.depth === 1) return load(lane.vector, elem, pointer, 0, offset);
  return bitcast(lane.vector, load(lane.depth === 2 ? "i16x8" : "i8x16", elem, pointer, 0, lane.depth * offset));
}

/** Steps that `k` elements of K take: an i32 expression. */
export const stepsOf = (lane: Lane, k: Expr): Expr =>
  lane.depth === 1 ? k : shrU(add(k, lane.depth - 1), Math.log2(lane.depth));

/** MR × NV accumulators, as `mut` variables. */
export type Accumulators = readonly (readonly Expr[])[];

/** Declares the accumulators: zero, or what the epilogue starts the columns at. */
export function startTile(b: Block, lane: Lane, mr: number, nv: number, ahead: AheadOfTile = []): Accumulators {
  return Array.from({ length: mr }, (_, r) =>
    Array.from({ length: nv }, (_, v) => b.mut(`acc${r}_${v}`, ahead[v]?.start ?? constant(lane.vector, 0))),
  );
}

/** What the epilogue has of each vector of a tile's columns before its rows: undefined of a vector that is cut. */
export type AheadOfTile = readonly (Ahead | undefined)[];

export function aheadOfTile(
  b: Block,
  nv: number,
  { epilogue, params, columns, firstColumn }: Pick<TileOutput, "epilogue" | "params" | "columns" | "firstColumn">,
  column: Expr,
): AheadOfTile {
  const { ahead } = epilogue;
  if (ahead === undefined) return [];
  const whole = columns === undefined ? nv : nv - 1;
  return Array.from({ length: whole }, (_, v) => ahead(b, add(column, firstColumn(v)), params));
}

/** One step of the reduction: reads NV vectors of B and MR splats of A, and multiplies each with each. */
export function tileStep(
  b: Block,
  lane: Lane,
  acc: Accumulators,
  loadA: (row: number) => Expr,
  loadB: (vector: number) => Expr,
): void {
  const nv = acc[0]?.length ?? 0;
  const bs = Array.from({ length: nv }, (_, v) => b.let(`b${v}`, loadB(v)));
  for (const [r, row] of acc.entries()) {
    const a = b.let(`a${r}`, loadA(r));
    for (const [v, x] of row.entries()) b.assign(x, multiplyAdd(lane, a, bs[v]!, x));
  }
}

/** Above every number of steps: a reduction's elements lie in memory. */
const manySteps = 0x7fff_ff00;

/** step(0) … step(count − 1), each in a basic block of its own: see `reduction`. `counter`: a number of steps that a loop counts. */
export function apart(b: Block, counter: Expr, count: number, step: (u: number) => void): void {
  const from = (u: number): void => {
    step(u);
    if (u + 1 < count) b.if(ltS(counter, manySteps + u), () => from(u + 1));
  };
  from(0);
}

/**
 * for (i = 0; i < count; i++) step(i mod unroll), with `advance(n)` moving the pointers past n steps.
 *
 * The steps of one turn are separated by branches on purpose, that always go on. V8 schedules all loads of a basic block before its
 * arithmetic, so that two steps in one block need twice the registers and spill; a branch whose other side needs the accumulators keeps
 * each step in a block of its own, while the pointers still move only once a turn. Comparing with constants takes one instruction;
 * they differ, since V8 drops a branch on what it has compared before. `whole`: the count is a multiple of `unroll`.
 */
export function reduction(
  b: Block,
  count: Expr,
  unroll: number,
  step: (u: number) => void,
  advance: (steps: number) => void,
  whole = false,
): void {
  const turns = whole ? count : b.let("turns", sub(count, remS(count, unroll)));
  b.for("kk", 0, turns, unroll, (k) => {
    apart(b, k, unroll, step);
    advance(unroll);
  });
  if (whole) return;
  b.for("kk", turns, count, 1, () => {
    step(0);
    advance(1);
  });
}

/** Does something if a column exists: decided now where their number is known. */
function whereExists(b: Block, column: number, columns: Expr, body: () => void): void {
  if (columns.kind !== "const") b.if(ltS(i32(column), columns), body);
  else if (column < Number(columns.value)) body();
}

/** The elements below `columns` of a vector that starts at column `from`, zeros above them; at least one exists. */
export function partialVector(b: Block, lane: Lane, elem: Elem, pointer: Expr, from: number, columns: Expr): Expr {
  const x = b.mut("edge", constant(lane.vector, 0));
  for (let l = 0; l < lane.count; l++) {
    const put = () => b.assign(x, replaceLane(x, l, load(lane.scalar, elem, pointer, 0, from + l)));
    if (l === 0) put();
    else whereExists(b, from + l, columns, put);
  }
  return x;
}

/** Where a finished tile goes. */
export interface TileOutput {
  readonly elem: Elem;
  /** Pointer to element (row r, first column of the tile). */
  readonly rowPointer: (row: number) => Expr;
  readonly epilogue: Epilogue;
  readonly params: readonly Expr[];
  /** What the accumulators started with (`startTile`). */
  readonly ahead?: AheadOfTile;
  /** Logical place of element (row r, first column of the tile). */
  readonly at: (row: number) => Position;
  /**
   * Columns of the tile that exist: undefined for all; otherwise an i32 expression in ((NV−1)·L, NV·L], so that only the
   * last vector is cut, or a constant below NV·L.
   */
  readonly columns: Expr | undefined;
  /** Where a vector starts, in columns from the tile's first; vectors may overlap. */
  readonly firstColumn: (vector: number) => number;
  /** Add to what the output holds instead of replacing it; the epilogue sees the new sum. */
  readonly accumulate?: boolean;
}

/** Sets the accumulators to what the output holds. */
export function loadTile(
  b: Block,
  lane: Lane,
  acc: Accumulators,
  out: Pick<TileOutput, "elem" | "rowPointer" | "columns" | "firstColumn">,
): void {
  const last = (acc[0]?.length ?? 0) - 1;
  for (const [r, row] of acc.entries())
    for (const [v, x] of row.entries())
      b.assign(
        x,
        out.columns !== undefined && v === last
          ? partialVector(b, lane, out.elem, out.rowPointer(r), out.firstColumn(v), out.columns)
          : load(lane.vector, out.elem, out.rowPointer(r), 0, out.firstColumn(v)),
      );
}

/** Two vectors of numbers of a narrow type as one of half the width, where there is an instruction for it. */
export function narrowed(elem: Elem, a: Expr, b: Expr): Expr | undefined {
  if (a.type !== "i32x4") return undefined;
  switch (elem) {
    case "i8":
    case "u8":
    case "i16":
      return binary("narrowS", a, b);
    case "u16":
      return binary("narrowU", a, b);
    default:
      return undefined;
  }
}

/** Applies the epilogue to each accumulator and stores it; cut columns go element by element. */
export function storeTile(b: Block, lane: Lane, acc: Accumulators, out: TileOutput): void {
  const L = lane.count;
  const finished = (r: number, column: number, x: Expr, ahead?: Ahead): Expr => {
    const sum = out.accumulate ? add(load(x.type, out.elem, out.rowPointer(r), 0, column), x) : x;
    return b.let("finished", out.epilogue.apply(b, sum, shift(out.at(r), column), out.params, ahead));
  };
  const store = (r: number, column: number, value: Expr) => b.store(out.elem, out.rowPointer(r), 0, value, column);
  /** Reads all of what it adds to before it stores anything: vectors may overlap. */
  const whole = (r: number, vectors: readonly Expr[], first: number): void => {
    const columns = vectors.map((_, v) => out.firstColumn(first + v));
    const values = vectors.map((x, v) => finished(r, columns[v]!, x, out.ahead?.[first + v]));
    for (let v = 0; v < values.length; v++) {
      const next = columns[v + 1] === columns[v]! + L ? values[v + 1] : undefined;
      const both = out.epilogue.fits && next !== undefined ? narrowed(out.elem, values[v]!, next) : undefined;
      store(r, columns[v]!, both ?? values[v]!);
      if (both !== undefined) v++;
    }
  };
  const single = (r: number, v: number, l: number, x: Expr): void =>
    store(r, v * L + l, finished(r, v * L + l, b.let("x", extractLane(x, l))));
  const last = (acc[0]?.length ?? 0) - 1;
  for (const [r, row] of acc.entries()) whole(r, out.columns === undefined ? row : row.slice(0, last), 0);
  if (out.columns === undefined) return;
  const columns = out.columns;
  const pieces = () => {
    for (let l = 0; l < L - 1; l++)
      whereExists(b, last * L + l, columns, () => {
        for (const [r, row] of acc.entries()) single(r, last, l, row[last]!);
      });
  };
  if (columns.kind === "const") pieces();
  else
    b.if(ltS(columns, (last + 1) * L), pieces, () => {
      for (const [r, row] of acc.entries()) whole(r, [row[last]!], last);
    });
}

function shift(at: Position, columns: number): Position {
  return { ...at, column: add(at.column, columns) };
}

export const int = <const N extends string>(name: N): NamedParam<N> => ({ name, type: "i32" });

/** Several sizes. */
export const ints = <const N extends readonly string[]>(...names: N): readonly NamedParam<N[number]>[] =>
  names.map((name: N[number]) => int(name));
