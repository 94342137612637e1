/**
 * Vectorize: widens step-1 loops marked `vectorize` to 4 lanes (i32, f32) or 2 (i64, f64), with a scalar loop for the rest.
 *
 *   for %i = 0 to %n vectorize {                    let %main = maxS(%n, 0) & −4
 *     store f32 %y[%i] = load f32 %x[%i] * %s       for %i = 0 to %main step 4 {
 *   }                                        ⇒        store f32x4 %y[%i] = load f32x4 %x[%i] * splat.f32x4(%s)
 *                                                   }
 *                                                   for %i = %main to %n { …as before… }
 *
 * Unit-stride accesses become vector accesses, invariant loads splats, other loads gathers of scalar loads, other stores one
 * store per lane. Reductions `acc = acc ∘ e` into a `mut` of outside run in several vector accumulators, combined after the
 * loop, so the order of float additions changes. Inner loops and ifs stay where their bounds and conditions do not depend on
 * the index. What does not fit is left scalar and noted. The mark says that iterations are otherwise independent; it is
 * removed either way.
 */

import type { Expr, LoopFunction, LoopType, ReduceOp, Stmt, VectorKind } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import {
  bodiesOf,
  boundNames,
  flatMapStmts,
  mapStmt,
  namesOf,
  operandsOf,
  someExpr,
  visitExprs,
  visitStmts,
} from "../../ir/loop-walk.js";
import { Lanes, NotVectorizable } from "./lanes.js";
import { type LoopPass, Names, type Note } from "./pass.js";
import { sizeOf, unrolledBody } from "./unroll-body.js";

type For = Extract<Stmt, { kind: "for" }>;

export const vectorize: LoopPass = {
  name: "vectorize",
  run: (f, note) => {
    const names = new Names(namesOf(f));
    const visit = (body: readonly Stmt[]): readonly Stmt[] =>
      flatMapStmts(body, (s) => {
        if (s.kind !== "for" || !s.vectorize) return mapStmt(s, (e) => e, visit);
        return vectorizeLoop(f, s, names, note);
      });
    const body = visit(f.body);
    return body === f.body ? f : { ...f, body };
  },
};

function vectorizeLoop(f: LoopFunction, loop: For, names: Names, note: Note | undefined): readonly Stmt[] {
  const { vectorize: _, ...scalar } = loop;
  try {
    return widen(scalar, names);
  } catch (error) {
    if (!(error instanceof NotVectorizable)) throw error;
    note?.(`@${f.name}: loop over %${loop.name} stays scalar: ${error.message}`);
    return [scalar];
  }
}

interface Reduction {
  readonly name: string;
  readonly op: ReduceOp;
  readonly type: LoopType;
}

function widen(loop: For, names: Names): readonly Stmt[] {
  const lanes = new Lanes(laneCount(loop), loop.name);
  const total = constantTrips(loop);
  if (total !== undefined && total < lanes.count) throw new NotVectorizable(`it runs ${total} times`);
  const reductions = findReductions(loop);
  const accumulators = new Map(reductions.map((r) => [r.name, names.fresh(`${r.name}_lanes`)]));
  const body = new Widener(lanes, names, reductions, accumulators).body(loop.body);
  if (lanes.wide === 0) throw new NotVectorizable("no access or function would be wider");
  if (lanes.copies > 4 * lanes.count * lanes.wide) throw new NotVectorizable("too much of it goes lane by lane");

  // One accumulator would wait for itself at every turn.
  const simple = reductions.length > 0 && loop.body.every((s) => bodiesOf(s).length === 0);
  const copies = simple && sizeOf(body) <= 40 ? 4 : 1;
  const { count } = lanes;
  const before: Stmt[] = [];
  const bound = (name: string, value: Expr): Expr => {
    if (value.kind === "const" || value.kind === "var") return value;
    before.push({ kind: "let", name: names.fresh(name), value });
    return B.v((before.at(-1) as { name: string }).name, "i32");
  };
  const begin = bound(`${loop.name}_begin`, loop.begin);
  const end = bound(`${loop.name}_end`, loop.end);
  const span = B.maxS(B.sub(end, begin), 0);
  const upTo = (step: number) => B.add(begin, B.and(span, -step));
  const main = bound(`${loop.name}_main`, upTo(count));
  const wideMain = copies > 1 ? bound(`${loop.name}_wide`, upTo(count * copies)) : begin;

  const perCopy = Array.from({ length: copies }, (_, k) =>
    reductions.map((r) => ({
      ...r,
      lanes: k === 0 ? (accumulators.get(r.name) as string) : names.fresh(`${r.name}_lanes`),
    })),
  );
  for (const copy of perCopy)
    for (const r of copy) before.push(B.mut(r.lanes, identity(r.op, lanes.vectorType(r.type))));

  const loops: Stmt[] = [];
  if (copies > 1 && !isSame(begin, wideMain)) {
    const unrolled = unrolledBody(body, loop.name, count, copies, names, (name, k) => {
      const r = reductions.findIndex((x) => accumulators.get(x.name) === name);
      return r < 0 ? name : (perCopy[k]?.[r]?.lanes as string);
    });
    loops.push({ ...loop, begin, end: wideMain, step: count * copies, body: unrolled });
  }
  if (!isSame(wideMain, main)) loops.push({ ...loop, begin: wideMain, end: main, step: count, body });

  const after = reductions.map((r, i) => {
    const vectors = perCopy.map((copy) => B.v(copy[i]?.lanes as string, lanes.vectorType(r.type)));
    const combined = vectors.reduce((a, b) => B.binary(r.op, a, b));
    return B.assign(B.v(r.name, r.type), B.binary(r.op, B.v(r.name, r.type), B.reduceLanes(r.op, combined)));
  });
  const tail: Stmt[] = total !== undefined && total % count === 0 ? [] : [{ ...loop, begin: main, end }];
  return [...before, ...loops, ...after, ...tail];
}

const isSame = (a: Expr, b: Expr): boolean =>
  a === b || (a.kind === "const" && b.kind === "const" && a.value === b.value);

function constantTrips(loop: For): number | undefined {
  if (loop.begin.kind !== "const" || loop.end.kind !== "const") return undefined;
  return Math.max(0, (loop.end.value as number) - (loop.begin.value as number));
}

/** 2 if the loop moves 64-bit values, else 4. A mixture fails later, where a type has no vector of that count. */
function laneCount(loop: For): 2 | 4 {
  let wide = false;
  visitExprs(loop.body, (e) => {
    if (e.type === "i64" || e.type === "f64") wide = true;
  });
  return wide ? 2 : 4;
}

const reducible: Readonly<Record<string, ReduceOp>> = {
  add: "add",
  mul: "mul",
  min: "min",
  max: "max",
  minS: "minS",
  minU: "minU",
  maxS: "maxS",
  maxU: "maxU",
  and: "and",
  or: "or",
};

/** Registers of outside that the loop assigns, each of which must be a reduction and nothing else. */
function findReductions(loop: For): Reduction[] {
  const inside = boundNames(loop.body);
  const found = new Map<string, Reduction>();
  let uses = 0;
  visitStmts(loop.body, (s) => {
    if (s.kind !== "assign" || inside.has(s.name)) return;
    const op = reductionOf(s.name, s.value);
    if (op === undefined) throw new NotVectorizable(`%${s.name} depends on the turn before`);
    const known = found.get(s.name);
    if (known !== undefined && known.op !== op) throw new NotVectorizable(`%${s.name} is reduced in two ways`);
    found.set(s.name, { name: s.name, op, type: s.value.type });
    uses++;
  });
  visitExprs(loop.body, (e) => {
    if (e.kind === "var" && found.has(e.name)) uses--;
  });
  if (uses !== 0) throw new NotVectorizable("a reduction's running value is read");
  return [...found.values()];
}

/** ∘ if the value is `name ∘ e`, e without `name`; fma(a, b, name) adds. */
function reductionOf(name: string, value: Expr): ReduceOp | undefined {
  const isIt = (e: Expr) => e.kind === "var" && e.name === name;
  const mentions = (e: Expr) => someExpr(e, isIt);
  if (value.kind === "fma") return isIt(value.c) && !mentions(value.a) && !mentions(value.b) ? "add" : undefined;
  if (value.kind !== "binary" || value.type === "mask") return undefined;
  const op = reducible[value.op];
  const once = (isIt(value.a) && !mentions(value.b)) || (isIt(value.b) && !mentions(value.a));
  return once ? op : undefined;
}

/** The value that leaves others as they are: −0 for float sums, because +0 would lose a −0. */
function identity(op: ReduceOp, type: VectorKind): Expr {
  const float = type === "f32x4" || type === "f64x2";
  const [least, most] = type === "i64x2" ? [-(2n ** 63n), 2n ** 63n - 1n] : [-(2 ** 31), 2 ** 31 - 1];
  switch (op) {
    case "add":
      return B.constant(type, float ? -0 : 0);
    case "mul":
      return B.constant(type, 1);
    case "min":
      return B.constant(type, Infinity);
    case "max":
      return B.constant(type, -Infinity);
    case "minS":
      return B.constant(type, most as number);
    case "maxS":
      return B.constant(type, least as number);
    case "minU":
    case "and":
      return B.constant(type, -1);
    case "maxU":
    case "or":
      return B.constant(type, 0);
    default:
      return op satisfies never;
  }
}

class Widener {
  readonly #lanes: Lanes;
  readonly #names: Names;
  readonly #reductions: ReadonlyMap<string, Reduction>;
  readonly #accumulators: ReadonlyMap<string, string>;

  constructor(lanes: Lanes, names: Names, reductions: readonly Reduction[], accumulators: ReadonlyMap<string, string>) {
    this.#lanes = lanes;
    this.#names = names;
    this.#reductions = new Map(reductions.map((r) => [r.name, r]));
    this.#accumulators = accumulators;
    for (const r of reductions) lanes.meanings.set(r.name, { kind: "vector", type: lanes.vectorType(r.type) });
  }

  body(body: readonly Stmt[]): readonly Stmt[] {
    return body.flatMap((s) => this.#stmt(s));
  }

  #stmt(s: Stmt): readonly Stmt[] {
    const lanes = this.#lanes;
    switch (s.kind) {
      case "let":
        return this.#let(s.name, s.value);
      case "mut": {
        const value = lanes.vector(s.value);
        lanes.meanings.set(s.name, { kind: "vector", type: value.type as VectorKind });
        return [{ ...s, value }];
      }
      case "assign":
        return [this.#assign(s.name, s.value)];
      case "store":
        return this.#store(s);
      case "for": {
        if (!lanes.isUniform(s.begin) || !lanes.isUniform(s.end))
          throw new NotVectorizable(`the bounds of %${s.name} differ between lanes`);
        const { vectorize: _, ...inner } = s;
        return [{ ...inner, body: this.body(s.body) }];
      }
      case "if":
        if (!lanes.isUniform(s.cond)) throw new NotVectorizable("a condition differs between lanes");
        return [{ ...s, then: this.body(s.then), else: this.body(s.else) }];
      case "comment":
        return [s];
      default:
        throw new NotVectorizable(`it holds a ${s.kind}`);
    }
  }

  #let(name: string, value: Expr): readonly Stmt[] {
    const lanes = this.#lanes;
    const stride = lanes.stride(value);
    if (stride !== undefined) {
      lanes.meanings.set(name, stride === 0 ? { kind: "uniform" } : { kind: "affine", stride });
      return [{ kind: "let", name, value }];
    }
    const copies = lanes.copies;
    const vector = lanes.vector(value);
    if (value.type === "i32" && lanes.copies > copies) {
      // Integers that go lane by lane are indices as a rule: keep them where addresses can use them.
      const scalars = Array.from({ length: lanes.count }, () => this.#names.fresh(name));
      const stmts = scalars.map((n, k): Stmt => ({ kind: "let", name: n, value: lanes.lane(value, k) }));
      lanes.meanings.set(name, { kind: "scalars", names: scalars });
      return stmts;
    }
    lanes.meanings.set(name, { kind: "vector", type: vector.type as VectorKind });
    return [{ kind: "let", name, value: vector }];
  }

  #assign(name: string, value: Expr): Stmt {
    const lanes = this.#lanes;
    const reduction = this.#reductions.get(name);
    if (reduction === undefined) return { kind: "assign", name, value: lanes.vector(value) };
    const accumulator = this.#accumulators.get(name) as string;
    const type = lanes.vectorType(reduction.type);
    const rename = (e: Expr): Expr => (e.kind === "var" && e.name === name ? B.v(accumulator, type) : e);
    const widened = lanes.vector(value);
    // The operand that is the accumulator stands directly below the operation.
    const operands = operandsOf(widened);
    if (widened.kind === "fma") return B.assign(accumulator, B.fma(widened.a, widened.b, rename(operands[2] as Expr)));
    if (widened.kind !== "binary") throw new NotVectorizable(`%${name} is reduced lane by lane`);
    return B.assign(accumulator, B.binary(widened.op, rename(widened.a), rename(widened.b)));
  }

  #store(s: Extract<Stmt, { kind: "store" }>): readonly Stmt[] {
    const lanes = this.#lanes;
    const stride = lanes.stride(s.index);
    if (!lanes.isUniform(s.base) || stride === 0)
      throw new NotVectorizable("a store goes to the same place at every turn");
    if (stride === 1) {
      lanes.wide++;
      return [{ ...s, value: lanes.vector(s.value) }];
    }
    lanes.copies += lanes.count;
    const vector = lanes.vector(s.value);
    const name = this.#names.fresh("scattered");
    const each = Array.from({ length: lanes.count }, (_, k): Stmt => {
      const value = B.extractLane(B.v(name, vector.type), k);
      return { ...(lanes.aheadBy(s, k) ?? { ...s, index: lanes.lane(s.index, k) }), value };
    });
    return [{ kind: "let", name, value: vector }, ...each];
  }
}
