/**
 * Points as Loop IR inside loops. A point is emitted at the outermost loop where everything it depends on is known, so
 * broadcast operands and row offsets leave the inner loops.
 */

import {
  type Atom,
  atomOperands,
  type Dim,
  type DimOperation,
  dimAdd,
  dimSubstitute,
  dimSymbols,
  dimText,
} from "../../../ir/dim.js";
import { type DimPart, splitDim } from "../../../ir/dim-read.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import type { Elem, Expr, VectorKind } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import { emitDimOp } from "../../../ir/loop-dim.js";
import { isElementwise } from "../../../ir/ops/classes.js";
import type { View } from "../../schedule.js";
import { elemOf, type KernelHost, registerOf } from "../core/kernel-builder.js";
import { type Point, pointDims, visitPoints } from "../core/point.js";
import { applyNode } from "./elementwise.js";
import { isLoopSymbol } from "./loops.js";
import { bind, settle } from "./registers.js";
import { emitRounded, roundedOf } from "./rounded.js";

interface Scope {
  readonly values: Map<Point, Expr>;
  readonly indices: Map<string, Expr>;
  readonly given: Map<Value, Expr>;
}

interface Split {
  readonly rest: Dim;
  readonly parts: readonly DimPart[];
}

/** Points as vectors of four: neighbouring values of one loop variable in the lanes (or, if not `vector`, one of them). */
export interface Lane {
  readonly symbol: string;
  readonly vector: boolean;
}

/** Registers that have a vector of four. */
export const vectorOf = { f32: "f32x4", i32: "i32x4", mask: "mask32x4" } as const;

/** The register of a dtype as a vector. */
function laneType(dtype: DType): VectorKind {
  const register = registerOf(dtype);
  if (register !== "f32" && register !== "i32" && register !== "mask") {
    throw new InternalError(`${dtype} has no vector of four`);
  }
  return vectorOf[register];
}

/** One result of a kernel: `point` goes to element `at` of the view. */
export interface Store {
  readonly to: View;
  readonly at: Dim;
  readonly point: Point;
}

export class PointEmitter {
  readonly kernel: KernelHost;
  readonly #lane: Lane | undefined;
  readonly #substitution: ReadonlyMap<string, Dim>;
  readonly #scopes: Scope[] = [newScope()];
  readonly #vars = new Map<string, { readonly expr: Expr; readonly depth: number }>();
  readonly #uses = new Map<Point, number>();
  readonly #splits = new Map<string, Split>();

  /** `substitution`: what stands for the loop variables that collapsing removed. */
  constructor(kernel: KernelHost, substitution: ReadonlyMap<string, Dim> = new Map(), lane?: Lane) {
    this.kernel = kernel;
    this.#lane = lane;
    this.#substitution = substitution;
  }

  /** Counts uses, so that what is used twice is computed once. Call it with everything a loop body evaluates. */
  plan(roots: readonly Point[]): void {
    const use = (p: Point) => this.#uses.set(p, (this.#uses.get(p) ?? 0) + 1);
    for (const r of roots) use(r);
    visitPoints(roots, (p) => {
      if (p.kind === "apply") for (const a of p.args) use(a);
    });
  }

  /** Statements in a scope of their own, in which loop variables have values. */
  scope(vars: readonly (readonly [symbol: string, expr: Expr])[], body: () => void): void {
    this.#scopes.push(newScope());
    const depth = this.#scopes.length;
    for (const [symbol, expr] of vars) this.#vars.set(symbol, { expr, depth });
    body();
    for (const [symbol] of vars) this.#vars.delete(symbol);
    this.#scopes.pop();
  }

  loop(symbol: string, begin: B.Operand, end: B.Operand, vectorize: boolean, body: () => void): void {
    this.kernel.block.for("i", begin, end, 1, (i) => this.scope([[symbol, i]], body), { vectorize });
  }

  /** What a given value is, within the current scope. */
  give(value: Value, expr: Expr): void {
    this.#scopes.at(-1)!.given.set(value, expr);
  }

  /** Stands for a point in the current scope. */
  set(point: Point, expr: Expr): void {
    this.#scopes.at(-1)!.values.set(point, expr);
  }

  #find<K>(table: (s: Scope) => Map<K, Expr>, key: K): Expr | undefined {
    for (let k = this.#scopes.length - 1; k >= 0; k--) {
      const e = table(this.#scopes[k]!).get(key);
      if (e !== undefined) return e;
    }
    return undefined;
  }

  // ---- indices

  #split(d: Dim): Split {
    const key = dimText(d);
    let split = this.#splits.get(key);
    if (split === undefined) {
      const replaced = dimSubstitute(d, (s) => this.#substitution.get(s.name));
      split = splitDim(replaced, (s) => isLoopSymbol(s.name));
      this.#splits.set(key, split);
    }
    return split;
  }

  #depthOf(factors: readonly Atom[]): number {
    let depth = 0;
    const symbol = (name: string) => {
      if (isLoopSymbol(name)) depth = Math.max(depth, this.#vars.get(name)?.depth ?? Infinity);
    };
    const walk = (a: Atom): void => {
      if (a.kind === "symbol") symbol(a.name);
      else for (const d of atomOperands(a)) for (const p of this.#split(d).parts) for (const f of p.factors) walk(f);
    };
    for (const f of factors) walk(f);
    return depth;
  }

  /** The parts of an index by the depth of the loop that they vary in; Infinity where that loop is not open. */
  #levels(d: Dim): { readonly rest: Dim; readonly levels: readonly (readonly [number, readonly DimPart[]])[] } {
    const { rest, parts } = this.#split(d);
    const byDepth = new Map<number, DimPart[]>();
    for (const p of parts) {
      const depth = this.#depthOf(p.factors);
      byDepth.set(depth, [...(byDepth.get(depth) ?? []), p]);
    }
    return { rest, levels: [...byDepth].sort(([a], [b]) => a - b) };
  }

  /** The sum of the parts down to `depth`; `bindAll` names each partial sum, for use in the loops below. */
  #sum(d: Dim, depth: number, bindAll: boolean): Expr {
    const { rest, levels } = this.#levels(d);
    let dim: Dim = rest;
    let sum: Expr | undefined = rest === 0 ? undefined : this.kernel.size(rest);
    for (const [level, parts] of levels) {
      if (level > depth) break;
      dim = parts.reduce<Dim>((total, p) => dimAdd(total, p.value), dim);
      const known = this.#find((s) => s.indices, dimText(dim));
      if (known !== undefined) {
        sum = known;
        continue;
      }
      for (const p of parts) {
        const term = this.#part(p);
        sum = sum === undefined ? term : B.add(sum, term);
      }
      if (bindAll && sum!.kind !== "var") {
        sum = this.kernel.block.let("at", sum!);
        this.#scopes.at(-1)!.indices.set(dimText(dim), sum);
      }
    }
    return sum ?? B.i32(0);
  }

  #part(p: DimPart): Expr {
    const product = p.factors.map((f) => this.#atom(f)).reduce((a, b) => B.mul(a, b));
    return p.coefficient === -1 ? B.sub(0, product) : B.mul(product, this.kernel.size(p.coefficient));
  }

  #atom(a: Atom): Expr {
    switch (a.kind) {
      case "symbol": {
        const known = this.#vars.get(a.name);
        if (known === undefined) throw new InternalError(`loop variable ${a.name} is not open`);
        return known.expr;
      }
      case "scaled":
        return B.scaledIndex(this.index(a.a), a.factor);
      default:
        return emitDimOp(a, this.index(a.a), this.#divisor(a), (e) => bind(this.kernel.block, e, "part"));
    }
  }

  // A literal divisor lets the engine multiply instead.
  #divisor({ kind, b }: DimOperation): Expr {
    const divides = kind === "floordiv" || kind === "mod";
    return divides && typeof b === "number" ? B.i32(b) : this.index(b);
  }

  /** The value of an index expression; its loops must be open. */
  index(d: Dim): Expr {
    return this.#sum(d, Number.MAX_SAFE_INTEGER, false);
  }

  // ---- values

  #available(p: Point): boolean {
    if (this.#find((s) => s.values, p) !== undefined) return true;
    switch (p.kind) {
      case "const":
        return true;
      case "given":
        return this.#find((s) => s.given, p.value) !== undefined;
      case "load":
      case "index":
        return this.#levels(p.at).levels.every(([depth]) => depth < Infinity);
      case "apply":
        return p.args.every((a) => this.#available(a));
    }
  }

  /** Emits here all that the roots need and that is known already, so that the loops opened next only use it. */
  hoist(roots: readonly Point[]): void {
    const seen = new Set<Point>();
    const walk = (p: Point): void => {
      if (seen.has(p) || p.kind === "const" || p.kind === "given") return;
      seen.add(p);
      if (this.#find((s) => s.values, p) !== undefined) return;
      if (this.#available(p)) {
        this.set(p, this.kernel.block.let(hintOf(p), this.#make(p)));
        return;
      }
      if (p.kind === "apply") for (const a of p.args) walk(a);
      else for (const d of pointDims(p)) this.hoistIndex(d);
    };
    for (const r of roots) walk(r);
  }

  /** Names the part of an index that the open loops decide. */
  hoistIndex(d: Dim): void {
    this.#sum(d, Number.MAX_SAFE_INTEGER, true);
  }

  value(p: Point): Expr {
    const known = this.#find((s) => s.values, p);
    if (known !== undefined) return known;
    const e = this.#make(p);
    if (p.kind === "const" || p.kind === "given" || (this.#uses.get(p) ?? 0) < 2) return e;
    const bound = this.kernel.block.let(hintOf(p), e);
    this.set(p, bound);
    return bound;
  }

  #make(p: Point): Expr {
    switch (p.kind) {
      case "const":
        return this.#constant(p);
      case "given": {
        const e = this.#find((s) => s.given, p.value);
        if (e === undefined) throw new InternalError("a given value is not at hand");
        return e;
      }
      case "index":
        return indexAs(p.dtype, this.index(p.at));
      case "load":
        return this.#load(p);
      case "apply": {
        const { node } = p;
        if (p.list !== undefined) return this.#lookedUp(p.dtype, p.list, this.value(p.args[0]!));
        if (!isElementwise(node.op)) throw new InternalError(`${node.op} is not elementwise`);
        const rounded = node.op === "cast" ? this.#rounded(p) : undefined;
        if (rounded !== undefined) return rounded;
        const from = node.operands.at(-1)!.type.dtype;
        const args = p.args.map((a) => this.#operand(node.op, a));
        return applyNode(this.kernel.block, node.op, node.attrs, from, p.dtype, args);
      }
    }
  }

  /** The element of a list at each lane's place. */
  #lookedUp(dtype: DType, list: View, at: Expr): Expr {
    const pointer = this.kernel.pointer(list, "read", elemOf[dtype]);
    if (!this.#lane?.vector) return loadElement(dtype, pointer, at);
    const places = bind(this.kernel.block, at, "place");
    const type = laneType(dtype);
    const element = (lane: number) => loadElement(dtype, pointer, B.extractLane(places, lane));
    return [1, 2, 3].reduce<Expr>((all, lane) => B.replaceLane(all, lane, element(lane)), B.splat(type, element(0)));
  }

  /** A cast of a number that has just been rounded and limited, unless that is at hand. */
  #rounded(cast: Extract<Point, { kind: "apply" }>): Expr | undefined {
    const rounded = roundedOf(cast, (p) => this.#find((s) => s.values, p) !== undefined);
    if (rounded === undefined) return undefined;
    const x = bind(this.kernel.block, this.value(rounded.x), "x");
    // Other casts of it look through their own roundings.
    this.set(rounded.x, x);
    return emitRounded(this.kernel, x, rounded);
  }

  /** Whole numbers that are added (zero points) differ from layer to layer, too. */
  #operand(op: string, p: Point): Expr {
    const isShift = (op === "add" || op === "sub") && p.kind === "const" && p.dtype === "i32" && this.kernel.number;
    if (!isShift) return this.value(p);
    const shift = this.kernel.size(Number(p.value));
    return this.#lane?.vector ? B.splat("i32x4", shift) : shift;
  }

  #constant({ dtype, value }: Extract<Point, { kind: "const" }>): Expr {
    const type = this.#lane?.vector ? laneType(dtype) : registerOf(dtype);
    // Scales differ from layer to layer; whole numbers (limits, zero points) choose instructions.
    const differs = registerOf(dtype) === "f32" && Number.isFinite(value) && !Number.isInteger(value);
    return differs && this.kernel.number
      ? B.broadcast(type, this.kernel.number(value as number))
      : B.constant(type, value);
  }

  #load(p: Extract<Point, { kind: "load" }>): Expr {
    const pointer = this.kernel.pointer(p.view, "read", elemOf[p.dtype]);
    const at = this.index(p.at);
    const lane = this.#lane;
    if (!lane?.vector) return loadElement(p.dtype, pointer, at);
    const along = this.#split(p.at).parts.some((part) => part.factors.some((f) => atomMentions(f, lane.symbol)));
    if (along) return B.load(laneType(p.dtype), elemOf[p.dtype], pointer, at);
    return B.splat(laneType(p.dtype), loadElement(p.dtype, pointer, at));
  }

  /**
   * Stores the results of one round. All of them are computed before the first is stored: it may go over what another one is
   * computed from.
   */
  storeAll(stores: readonly Store[]): void {
    const bindAll = stores.length > 1;
    const values = stores.map(({ point }) => {
      const value = this.value(point);
      return bindAll ? bind(this.kernel.block, value, hintOf(point)) : value;
    });
    stores.forEach(({ to, at, point }, k) => {
      this.store(point.dtype, this.kernel.pointer(to, "write"), at, values[k]!);
    });
  }

  /** Stores an element given in its dtype's register. */
  store(dtype: DType, pointer: Expr, at: Dim | Expr, value: Expr): void {
    const index = typeof at === "number" || at.kind === "dim" ? this.index(at) : at;
    storeElement(this.kernel, dtype, pointer, index, value);
  }
}

function atomMentions(a: Atom, symbol: string): boolean {
  if (a.kind === "symbol") return a.name === symbol;
  return atomOperands(a).some((d) => dimSymbols(d).has(symbol));
}

function newScope(): Scope {
  return { values: new Map(), indices: new Map(), given: new Map() };
}

function hintOf(p: Point): string {
  return p.kind === "apply" ? p.node.op : p.kind === "load" ? "v" : p.kind === "index" ? "index" : "c";
}

/** An element in its dtype's register. */
export function loadElement(dtype: DType, pointer: Expr, index: B.Operand): Expr {
  const register = registerOf(dtype);
  if (register === "mask") return B.convert("mask.from_i32", B.load("i32", "u8", pointer, index));
  return B.load(register, elemOf[dtype], pointer, index);
}

export function storeElement(kernel: KernelHost, dtype: DType, pointer: Expr, index: B.Operand, value: Expr): void {
  const elem: Elem = elemOf[dtype];
  kernel.block.store(elem, pointer, index, dtype === "bool" ? B.convert("i32.from_mask", value) : value);
}

/** An i32 index as a number of the dtype. */
function indexAs(dtype: DType, i: Expr): Expr {
  switch (registerOf(dtype)) {
    case "f32":
      return settle(dtype, B.convert("f32.from_i32S", i));
    case "f64":
      return B.convert("f64.from_i32S", i);
    case "i64":
      return B.convert("i64.from_i32S", i);
    case "i32":
      return settle(dtype, i);
    case "mask":
      throw new InternalError(`an index as ${dtype}${isFloat(dtype) ? "" : " is no number"}`);
  }
}
