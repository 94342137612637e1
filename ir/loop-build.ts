/**
 * Typed builders for Loop IR. Every function infers its result type from its operands and throws `InternalError` on
 * ill-typed use, so a wrong kernel generator fails where it is written.
 *
 * A plain number may stand for an operand beside an expression and takes its type (`add(i, 4)`, `max(x, 0)`: a vector gets
 * a constant in every lane); where no operand gives a type it is an i32. Beside a ptr an i32 counts bytes, and is computed in the width
 * of a ptr. Constant i32 and ptr arithmetic folds while building, which keeps index expressions readable. Statements are made by the functions at the end or, imperatively, by `Block`
 * (loop-block.ts).
 */

import { InternalError } from "./errors.js";
import type {
  BinaryOp,
  CompareOp,
  ConvertOp,
  Elem,
  EngineFact,
  Expr,
  LoopFunction,
  LoopParam,
  LoopType,
  MathFn,
  ReduceOp,
  ScalarKind,
  Stmt,
  UnaryOp,
  VectorKind,
} from "./loop.js";
import { foldIndex } from "./loop-fold.js";
import { inferType } from "./loop-infer.js";
import { isVector, laneInfo, mathArity, scalarOf } from "./loop-types.js";

/** An operand; a number takes the type of the other operand, or i32. */
export type Operand = Expr | number;

/** Checks one new node (its operands were checked when they were built). */
function typed<E extends Expr>(e: E): E {
  let found: LoopType;
  try {
    found = inferType(e);
  } catch (error) {
    throw new InternalError(`ill-typed Loop IR: ${(error as Error).message}`, { cause: error });
  }
  if (found !== e.type) throw new InternalError(`ill-typed Loop IR: ${e.kind} gives ${found}, not ${e.type}`);
  return e;
}

/** Builds a node whose type is inferred: `type` is filled in. */
function inferred(e: Expr): Expr {
  let type: LoopType;
  try {
    type = inferType(e);
  } catch (error) {
    throw new InternalError(`ill-typed Loop IR: ${(error as Error).message}`, { cause: error });
  }
  return { ...e, type } as Expr;
}

/** Stands in for a type that `inferred` fills in. */
const toInfer: LoopType & ScalarKind & VectorKind = "i32" as never;

export const typeOf = (e: Expr): LoopType => e.type;

// ---- leaves

/** An i32 constant; integers beyond 32 bits wrap. */
export function i32(value: number): Expr {
  if (!Number.isInteger(value)) throw new InternalError(`${value} is not an i32 constant`);
  return { kind: "const", type: "i32", value: value | 0 };
}

export const i64 = (value: number | bigint): Expr =>
  typed({ kind: "const", type: "i64", value: BigInt.asIntN(64, BigInt(value)) });
export const f32 = (value: number): Expr => typed({ kind: "const", type: "f32", value: Math.fround(value) });
export const f64 = (value: number): Expr => typed({ kind: "const", type: "f64", value });
/** A constant address or distance in bytes. */
export const ptr = (value: number): Expr => typed({ kind: "const", type: "ptr", value: value + 0 });
export const bool = (value: boolean): Expr => ({ kind: "const", type: "mask", value: value ? 1 : 0 });

/** A constant of any type: all lanes equal for vectors, rounded to f32 where the type says so. */
export function constant(type: LoopType, value: number | bigint): Expr {
  if (isVector(type)) return constVector(type, Array(laneInfo[type].lanes).fill(value));
  switch (type) {
    case "i32":
      return i32(Number(value));
    case "i64":
      return i64(value);
    case "f32":
      return f32(Number(value));
    case "f64":
      return f64(Number(value));
    case "mask":
      return bool(Number(value) !== 0);
    case "ptr":
      return ptr(Number(value));
    default:
      return type satisfies never;
  }
}

/** A vector constant, lane by lane. */
export function constVector(type: VectorKind, values: readonly (number | bigint)[]): Expr {
  const { scalar, laneBytes } = laneInfo[type];
  const bits = laneBytes * 8;
  return typed({
    kind: "constVector",
    type,
    values: values.map((x) => {
      if (scalar === "i64") return BigInt.asIntN(64, BigInt(x));
      if (scalar === "i32") return Number(BigInt.asIntN(bits, BigInt(x)));
      return scalar === "f32" ? Math.fround(Number(x)) : Number(x);
    }),
  });
}

/** A reference to a parameter, loop variable, `let` or `mut`. */
export const v = (name: string, type: LoopType): Expr => ({ kind: "var", type, name });
/** A reference to a parameter. */
export const param = (p: LoopParam): Expr => v(p.name, p.type);

const expr = (x: Operand, like?: LoopType): Expr => (typeof x === "number" ? constant(like ?? "i32", x) : x);

function pair(a: Operand, b: Operand): [Expr, Expr] {
  const x = expr(a, typeof b === "number" ? undefined : b.type);
  const y = expr(b, typeof a === "number" ? undefined : a.type);
  if (x.type === "ptr" && y.type === "i32") return [x, distance(y)];
  if (y.type === "ptr" && x.type === "i32") return [distance(x), y];
  return [x, y];
}

/** A number of bytes: an i32 whose sums and products are computed in the width of a ptr, where they do not overflow. */
export function distance(bytes: Operand): Expr {
  const e = expr(bytes, "ptr");
  if (e.type !== "i32") return e;
  if (e.kind === "const") return ptr(e.value as number);
  if (e.kind === "binary" && (e.op === "add" || e.op === "sub" || e.op === "mul"))
    return binary(e.op, distance(e.a), distance(e.b));
  return convert("ptr.from_i32S", e);
}

// ---- operations

export function unary(op: UnaryOp, x: Expr): Expr {
  return inferred({ kind: "unary", type: toInfer, op, x });
}

export function binary(op: BinaryOp, a: Operand, b: Operand): Expr {
  const [x, y] = op === "shl" || op === "shrS" || op === "shrU" ? [expr(a), expr(b)] : pair(a, b);
  return foldIndex(op, x, y) ?? inferred({ kind: "binary", type: toInfer, op, a: x, b: y });
}

export function compare(op: CompareOp, a: Operand, b: Operand): Expr {
  const [x, y] = pair(a, b);
  return inferred({ kind: "compare", type: toInfer, op, a: x, b: y });
}

/** `cond ? a : b`, lane by lane for vector masks. */
export function select(cond: Expr, a: Operand, b: Operand): Expr {
  const [x, y] = pair(a, b);
  return inferred({ kind: "select", type: toInfer, cond, a: x, b: y });
}

/** a·b + c; at least one of them is an expression that gives the type. */
export function fma(a: Operand, b: Operand, c: Operand): Expr {
  const like = [a, b, c].find((x) => typeof x !== "number")?.type ?? "f32";
  return inferred({ kind: "fma", type: toInfer, a: expr(a, like), b: expr(b, like), c: expr(c, like) });
}

export function math(fn: MathFn, x: Expr, y?: Operand): Expr {
  if ((y !== undefined) !== (mathArity[fn] === 2)) throw new InternalError(`${fn} takes ${mathArity[fn]} arguments`);
  return inferred({ kind: "math", type: toInfer, fn, args: y === undefined ? [x] : [x, expr(y, x.type)] });
}

export function convert(op: Exclude<ConvertOp, "bitcast">, x: Expr): Expr {
  return inferred({ kind: "convert", type: toInfer, op, x });
}

export function bitcast(type: LoopType, x: Expr): Expr {
  return x.type === type ? x : typed({ kind: "convert", type, op: "bitcast", x });
}

/** All lanes `x`; a constant becomes a constant vector. */
export function splat(type: VectorKind, x: Operand): Expr {
  const e = expr(x, scalarOf(type));
  if (e.kind === "const" && e.type === scalarOf(type)) return constant(type, e.value);
  return typed({ kind: "splat", type, x: e });
}

/** `x` in every lane of `type`, or `x` itself where `type` is its scalar kind: for code generic over the lane type. */
export function broadcast(type: LoopType, x: Operand): Expr {
  return isVector(type) ? splat(type, x) : expr(x, type);
}

export function extractLane(x: Expr, lane: number): Expr {
  return inferred({ kind: "extractLane", type: isVector(x.type) ? scalarOf(x.type) : toInfer, lane, x });
}

export function replaceLane(x: Expr, lane: number, value: Operand): Expr {
  const e = expr(value, scalarOf(x.type));
  return inferred({ kind: "replaceLane", type: toInfer, lane, x, value: e });
}

/** Lanes of a (0…L−1) and b (L…2L−1). */
export function shuffle(a: Expr, b: Expr, lanes: readonly number[]): Expr {
  return inferred({ kind: "shuffle", type: toInfer, a, b, lanes });
}

export function reduceLanes(op: ReduceOp, x: Expr): Expr {
  return inferred({ kind: "reduceLanes", type: toInfer, op, x });
}

/** A node whose operands were replaced, as the builder makes it of them: index arithmetic folds. */
export function refolded(e: Expr): Expr {
  if (e.kind === "convert" && e.op === "ptr.from_i32S") return distance(e.x);
  return e.kind === "binary" ? binary(e.op, e.a, e.b) : e;
}

/** Element `base + (index + offset)·elemBytes` as a `type` register; a vector type reads one element per lane. */
export function load(type: LoopType, elem: Elem, base: Expr, index: Operand, offset = 0): Expr {
  return typed({ kind: "load", type, elem, base, index: expr(index), offset });
}

/** One element into all lanes. */
export function loadSplat(type: VectorKind, elem: Elem, base: Expr, index: Operand, offset = 0): Expr {
  return typed({ kind: "load", type, elem, base, index: expr(index), offset, splat: true });
}

/** Value of a call to a function whose result type is `type`. */
export function call(type: LoopType, fn: string, args: readonly Operand[]): Expr {
  return { kind: "call", type, fn, args: args.map((x) => expr(x)) };
}

export const poll = (): Expr => ({ kind: "host", type: "i32", fn: "poll", args: [] });
export const reserve = (bytes: Expr): Expr => ({ kind: "host", type: "i32", fn: "reserve", args: [bytes] });

/** What the module knows of its engine. */
export const engine = (fact: EngineFact): Expr => ({ kind: "engine", type: "i32", fact });

export const add = (a: Operand, b: Operand): Expr => binary("add", a, b);
export const sub = (a: Operand, b: Operand): Expr => binary("sub", a, b);
export const mul = (a: Operand, b: Operand): Expr => binary("mul", a, b);
export const div = (a: Operand, b: Operand): Expr => binary("div", a, b);
export const divS = (a: Operand, b: Operand): Expr => binary("divS", a, b);
export const divU = (a: Operand, b: Operand): Expr => binary("divU", a, b);
export const remS = (a: Operand, b: Operand): Expr => binary("remS", a, b);
export const remU = (a: Operand, b: Operand): Expr => binary("remU", a, b);
export const min = (a: Operand, b: Operand): Expr => binary("min", a, b);
export const max = (a: Operand, b: Operand): Expr => binary("max", a, b);
export const minS = (a: Operand, b: Operand): Expr => binary("minS", a, b);
export const maxS = (a: Operand, b: Operand): Expr => binary("maxS", a, b);
export const minU = (a: Operand, b: Operand): Expr => binary("minU", a, b);
export const maxU = (a: Operand, b: Operand): Expr => binary("maxU", a, b);
export const pmin = (a: Operand, b: Operand): Expr => binary("pmin", a, b);
export const pmax = (a: Operand, b: Operand): Expr => binary("pmax", a, b);
export const copysign = (a: Operand, b: Operand): Expr => binary("copysign", a, b);
export const and = (a: Operand, b: Operand): Expr => binary("and", a, b);
export const or = (a: Operand, b: Operand): Expr => binary("or", a, b);
export const xor = (a: Operand, b: Operand): Expr => binary("xor", a, b);
export const shl = (a: Operand, b: Operand): Expr => binary("shl", a, b);
export const shrS = (a: Operand, b: Operand): Expr => binary("shrS", a, b);
export const shrU = (a: Operand, b: Operand): Expr => binary("shrU", a, b);
export const neg = (x: Expr): Expr => unary("neg", x);
export const abs = (x: Expr): Expr => unary("abs", x);
/** An i32 index times a factor, rounded to f32, down to a whole number: `dimScaled` of ir/dim.ts. */
export const scaledIndex = (x: Expr, factor: number): Expr =>
  convert("i32.from_f32S", floor(mul(convert("f32.from_i32S", x), f32(factor))));
export const sqrt = (x: Expr): Expr => unary("sqrt", x);
export const floor = (x: Expr): Expr => unary("floor", x);
export const ceil = (x: Expr): Expr => unary("ceil", x);
export const trunc = (x: Expr): Expr => unary("trunc", x);
export const nearest = (x: Expr): Expr => unary("nearest", x);
export const not = (x: Expr): Expr => unary("not", x);
export const eq = (a: Operand, b: Operand): Expr => compare("eq", a, b);
export const ne = (a: Operand, b: Operand): Expr => compare("ne", a, b);
export const lt = (a: Operand, b: Operand): Expr => compare("lt", a, b);
export const le = (a: Operand, b: Operand): Expr => compare("le", a, b);
export const gt = (a: Operand, b: Operand): Expr => compare("gt", a, b);
export const ge = (a: Operand, b: Operand): Expr => compare("ge", a, b);
export const ltS = (a: Operand, b: Operand): Expr => compare("ltS", a, b);
export const leS = (a: Operand, b: Operand): Expr => compare("leS", a, b);
export const gtS = (a: Operand, b: Operand): Expr => compare("gtS", a, b);
export const geS = (a: Operand, b: Operand): Expr => compare("geS", a, b);
export const ltU = (a: Operand, b: Operand): Expr => compare("ltU", a, b);
export const leU = (a: Operand, b: Operand): Expr => compare("leU", a, b);
export const gtU = (a: Operand, b: Operand): Expr => compare("gtU", a, b);
export const geU = (a: Operand, b: Operand): Expr => compare("geU", a, b);

// ---- statements

export function store(elem: Elem, base: Expr, index: Operand, value: Expr, offset = 0): Stmt {
  const at = expr(index);
  typed({ kind: "load", type: value.type, elem, base, index: at, offset });
  return { kind: "store", elem, base, index: at, offset, value };
}

/** An immutable binding, followed by the statements that use it. */
export function letIn(name: string, value: Expr, body: (x: Expr) => readonly Stmt[]): Stmt[] {
  return [{ kind: "let", name, value }, ...body(v(name, value.type))];
}

/** A mutable register with its first value; read it as `v(name, type)`. */
export const mut = (name: string, value: Expr): Stmt => ({ kind: "mut", name, value });

/** A mutable register, followed by the statements that use it. */
export function mutIn(name: string, value: Expr, body: (x: Expr) => readonly Stmt[]): Stmt[] {
  return [mut(name, value), ...body(v(name, value.type))];
}

/** Gives a `mut` register (its name, or the variable that reads it) a new value. */
export function assign(target: string | Expr, value: Operand): Stmt {
  if (typeof target === "string") return { kind: "assign", name: target, value: expr(value) };
  if (target.kind !== "var") throw new InternalError(`assignment to a ${target.kind}`);
  const e = target.type === "ptr" ? distance(value) : expr(value, target.type);
  if (e.type !== target.type)
    throw new InternalError(`ill-typed Loop IR: ${e.type} assigned to ${target.name}: ${target.type}`);
  return { kind: "assign", name: target.name, value: e };
}

/** for name = begin; name < end (signed); name += step. `vectorize` asks that pass to widen a step-1 loop. */
export function forLoop(
  name: string,
  begin: Operand,
  end: Operand,
  step: number,
  body: (i: Expr) => readonly Stmt[],
  options: { readonly vectorize?: boolean } = {},
): Stmt {
  if (!Number.isInteger(step) || step <= 0)
    throw new InternalError(`for ${name}: the step is a constant > 0, not ${step}`);
  const loop = { kind: "for", name, begin: expr(begin), end: expr(end), step, body: body(v(name, "i32")) } as const;
  requireType("i32", `for ${name}`, loop.begin, loop.end);
  return options.vectorize ? { ...loop, vectorize: true } : loop;
}

export function whileLoop(cond: Expr, body: readonly Stmt[]): Stmt {
  requireMask("while", cond);
  return { kind: "while", cond, body };
}

export function ifThen(cond: Expr, then: readonly Stmt[], otherwise: readonly Stmt[] = []): Stmt {
  requireMask("if", cond);
  return { kind: "if", cond, then, else: otherwise };
}

export const callStmt = (fn: string, args: readonly Operand[]): Stmt => ({
  kind: "call",
  fn,
  args: args.map((x) => expr(x)),
});

/** memmove of `bytes` bytes. */
export function copy(dst: Expr, src: Expr, bytes: Operand): Stmt {
  const n = distance(bytes);
  requireType("ptr", "copy", dst, src, n);
  return { kind: "copy", dst, src, bytes: n };
}

export function fill(dst: Expr, byte: Operand, bytes: Operand): Stmt {
  const stmt = { kind: "fill", dst, byte: expr(byte), bytes: distance(bytes) } as const;
  requireType("ptr", "fill", dst, stmt.bytes);
  requireType("i32", "fill", stmt.byte);
  return stmt;
}

export function barrier(threads: Operand): Stmt {
  const n = expr(threads);
  requireType("i32", "barrier", n);
  return { kind: "barrier", threads: n };
}

export const ret = (value?: Expr): Stmt => (value === undefined ? { kind: "return" } : { kind: "return", value });
export const comment = (text: string): Stmt => ({ kind: "comment", text });

/** A parameter whose name is known to the type checker. */
export type NamedParam<N extends string> = LoopParam & { readonly name: N };

/** A parameter that points to elements of a type. */
export const pointer = <const N extends string>(name: N, points: Elem): NamedParam<N> => ({
  name,
  type: "ptr",
  points,
});

/** Parameters as variables, by their names. */
export type Named<P extends readonly LoopParam[]> = { readonly [N in P[number]["name"]]: Expr };

export const named = <const P extends readonly LoopParam[]>(params: P): Named<P> =>
  Object.fromEntries(params.map((p) => [p.name, param(p)])) as Named<P>;

export function func(
  name: string,
  params: readonly LoopParam[],
  body: readonly Stmt[],
  result?: LoopType,
): LoopFunction {
  return result === undefined ? { name, params, body } : { name, params, result, body };
}

function requireType(type: LoopType, what: string, ...operands: readonly Expr[]): void {
  for (const e of operands) if (e.type !== type) throw new InternalError(`${what} takes ${type}, not ${e.type}`);
}

function requireMask(what: string, cond: Expr): void {
  if (cond.type !== "mask") throw new InternalError(`${what} takes a scalar mask, not ${cond.type}`);
}
