/**
 * Elementwise ops as Loop IR expressions. Operands come in their dtype's register (bool as a mask, narrow integers extended in
 * an i32), and so does the result. The same code serves scalars and, for floats, vectors.
 */

import { type DType, dtypeInfo, isFloat, isInt, isSigned } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import type { NoAttrs } from "../../../ir/graph.js";
import type { Expr, MathFn, UnaryOp } from "../../../ir/loop.js";
import type { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";
import type { ElementwiseName } from "../../../ir/ops/classes.js";
import type { AttrsOf } from "../../../ir/ops/index.js";
import { bitcastExpr, castExpr } from "./cast.js";
import { bind, same, settle } from "./registers.js";

export interface ApplyContext<A> {
  readonly block: Block;
  readonly attrs: A;
  /** dtype of the operands (of a select: of its values). */
  readonly from: DType;
  readonly to: DType;
}

/** Whether integers of the type compare and divide as signed ones in their register. */
const signedRegister = (d: DType): boolean => isSigned(d) || d === "u8" || d === "u16";

type Emit<A = NoAttrs> = (args: readonly Expr[], c: ApplyContext<A>) => Expr;

const arithmetic =
  (op: "add" | "sub" | "mul"): Emit =>
  ([a, b], { to }) =>
    settle(to, B.binary(op, a!, b!));

const math =
  (fn: MathFn): Emit =>
  ([x], { to }) =>
    settle(to, B.math(fn, x!));

const binaryMath =
  (fn: MathFn): Emit =>
  ([a, b], { to }) =>
    settle(to, B.math(fn, a!, b!));

// Rounding to an integer never needs rounding to the dtype again.
const unaryFloat =
  (op: UnaryOp): Emit =>
  ([x]) =>
    B.unary(op, x!);

const compare =
  (op: "lt" | "le" | "gt" | "ge"): Emit =>
  ([a, b], { from }) =>
    isFloat(from) ? B.compare(op, a!, b!) : B.compare(`${op}${signedRegister(from) ? "S" : "U"}`, a!, b!);

const extremum =
  (op: "min" | "max"): Emit =>
  ([a, b], { from }) =>
    isFloat(from) ? B.binary(op, a!, b!) : B.binary(`${op}${signedRegister(from) ? "S" : "U"}`, a!, b!);

/** Integer quotient or remainder without traps: x / 0 and x rem 0 are 0, min / −1 wraps. */
function divide(op: "div" | "rem", a0: Expr, b0: Expr, { block, to }: ApplyContext<unknown>): Expr {
  const a = bind(block, a0, "a");
  const b = bind(block, b0, "b");
  const zero = bind(block, B.eq(b, 0), "zero");
  if (!signedRegister(to)) {
    const q = B.binary(op === "div" ? "divU" : "remU", a, B.select(zero, 1, b));
    return B.select(zero, 0, q);
  }
  const minus = bind(block, B.eq(b, -1), "minus");
  const safe = B.select(B.or(zero, minus), 1, b);
  const q = B.binary(op === "div" ? "divS" : "remS", a, safe);
  const other = op === "div" ? B.neg(a) : B.constant(a.type, 0);
  return settle(to, B.select(zero, 0, B.select(minus, other, q)));
}

/** Square and multiply; a negative exponent gives the truncated reciprocal. */
function integerPower(a: Expr, b: Expr, { block, to }: ApplyContext<unknown>): Expr {
  const one = B.constant(a.type, 1);
  const base = block.mut("base", a);
  const left = block.mut("left", b);
  const result = block.mut("power", one);
  const exponent = bind(block, b, "exponent");
  const origin = bind(block, a, "origin");
  const unsigned = !isSigned(to);
  block.while(unsigned ? B.ne(left, 0) : B.gtS(left, 0), () => {
    block.if(B.ne(B.and(left, 1), 0), () => block.assign(result, settle(to, B.mul(result, base))));
    block.assign(base, settle(to, B.mul(base, base)));
    block.assign(left, B.shrU(left, 1));
  });
  if (unsigned) return result;
  const odd = B.ne(B.and(exponent, 1), 0);
  const reciprocal = B.select(
    B.eq(origin, 1),
    1,
    B.select(B.eq(origin, -1), B.select(odd, B.constant(a.type, -1), one), B.constant(a.type, 0)),
  );
  return B.select(B.ltS(exponent, 0), reciprocal, result);
}

/** The number that all lanes are. */
function constantOf(x: Expr): number | undefined {
  if (x.kind === "const") return Number(x.value);
  if (x.kind === "constVector") return x.values.every((v) => v === x.values[0]) ? Number(x.values[0]) : undefined;
  return x.kind === "splat" ? constantOf(x.x) : undefined;
}

/** aᵇ. Few factors are as accurate as `pow`, and don't call it; where a² overflows or vanishes, so do its multiples. */
function floatPower(a0: Expr, b: Expr, block: Block): Expr {
  const exponent = constantOf(b);
  switch (exponent) {
    case -1:
      return B.div(same(a0, 1), a0);
    case 2:
    case 3:
    case 4: {
      const a = bind(block, a0, "a");
      const square = bind(block, B.mul(a, a), "square");
      return exponent === 2 ? square : B.mul(square, exponent === 3 ? a : square);
    }
    default:
      return B.math("pow", a0, b);
  }
}

function shift(op: "shl" | "shr", x: Expr, n0: Expr, { block, to }: ApplyContext<unknown>): Expr {
  const { bits } = dtypeInfo[to];
  const n = bind(block, n0, "n");
  // As an unsigned number a negative shift is too wide as well.
  const fits = B.ltU(n, bits);
  const amount = n.type === "i64" ? B.convert("i32.from_i64", n) : n;
  const value = bind(block, x, "x");
  const inWidth = B.and(amount, bits - 1);
  if (op === "shl") return B.select(fits, settle(to, B.shl(value, inWidth)), 0);
  if (!isSigned(to)) return B.select(fits, B.shrU(value, inWidth), 0);
  return B.shrS(value, B.select(fits, inWidth, bits - 1));
}

const bits =
  (op: "and" | "or" | "xor"): Emit =>
  ([a, b]) =>
    B.binary(op, a!, b!);

/** A row for each elementwise op. */
export const elementwise = {
  add: arithmetic("add"),
  sub: arithmetic("sub"),
  mul: arithmetic("mul"),
  div: ([a, b], c) => (isFloat(c.to) ? settle(c.to, B.div(a!, b!)) : divide("div", a!, b!, c)),
  rem: ([a, b], c) => (isFloat(c.to) ? settle(c.to, B.math("fmod", a!, b!)) : divide("rem", a!, b!, c)),
  pow: ([a, b], c) => (isFloat(c.to) ? settle(c.to, floatPower(a!, b!, c.block)) : integerPower(a!, b!, c)),
  min: extremum("min"),
  max: extremum("max"),
  atan2: binaryMath("atan2"),
  neg: ([x], { to }) => settle(to, B.neg(x!)),
  abs: ([x], { to }) => (isFloat(to) || isSigned(to) ? settle(to, B.abs(x!)) : x!),
  sign: ([x0], { block, to }) => {
    const x = bind(block, x0!, "x");
    const [one, minusOne] = [same(x, 1), same(x, -1)];
    if (isFloat(to)) {
      const zero = same(x, 0);
      return B.select(B.gt(x, zero), one, B.select(B.lt(x, zero), minusOne, x));
    }
    const zero = same(x, 0);
    if (!isSigned(to)) return B.select(B.ne(x, zero), one, zero);
    return B.select(B.gtS(x, zero), one, B.select(B.ltS(x, zero), minusOne, zero));
  },
  floor: unaryFloat("floor"),
  ceil: unaryFloat("ceil"),
  trunc: unaryFloat("trunc"),
  round: unaryFloat("nearest"),
  sqrt: ([x], { to }) => settle(to, B.sqrt(x!)),
  exp: math("exp"),
  expm1: math("expm1"),
  log: math("log"),
  log1p: math("log1p"),
  sin: math("sin"),
  cos: math("cos"),
  tan: math("tan"),
  asin: math("asin"),
  acos: math("acos"),
  atan: math("atan"),
  sinh: math("sinh"),
  cosh: math("cosh"),
  tanh: math("tanh"),
  asinh: math("asinh"),
  acosh: math("acosh"),
  atanh: math("atanh"),
  erf: math("erf"),
  sigmoid: math("sigmoid"),
  geluExact: math("gelu"),
  geluExactGrad: math("geluGrad"),
  eq: ([a, b], { from }) => (from === "bool" ? B.not(B.xor(a!, b!)) : B.eq(a!, b!)),
  ne: ([a, b], { from }) => (from === "bool" ? B.xor(a!, b!) : B.ne(a!, b!)),
  lt: compare("lt"),
  le: compare("le"),
  gt: compare("gt"),
  ge: compare("ge"),
  select: ([c, a, b]) => B.select(c!, a!, b!),
  and: bits("and"),
  or: bits("or"),
  xor: bits("xor"),
  not: ([x], { to }) => settle(to, B.not(x!)),
  shiftLeft: ([x, n], c) => shift("shl", x!, n!, c),
  shiftRight: ([x, n], c) => shift("shr", x!, n!, c),
  cast: ([x], { block, from, to, attrs }) => castExpr(block, x!, from, to, attrs.saturate ?? true),
  bitcast: ([x], { from, to }) => bitcastExpr(x!, from, to),
} satisfies { readonly [N in ElementwiseName]: Emit<AttrsOf<N>> };

/** Emits a node's operation. */
export function applyNode(
  block: Block,
  op: ElementwiseName,
  attrs: unknown,
  from: DType,
  to: DType,
  args: readonly Expr[],
): Expr {
  const emit = elementwise[op] as (args: readonly Expr[], c: ApplyContext<unknown>) => Expr;
  return emit(args, { block, attrs, from, to });
}

/** a ∘ b of a reduction, in the register of its accumulator. */
export function combine(
  op: "sum" | "prod" | "reduceMin" | "reduceMax" | "any" | "all",
  dtype: DType,
  a: Expr,
  b: Expr,
): Expr {
  switch (op) {
    case "sum":
      return B.add(a, b);
    case "prod":
      return B.mul(a, b);
    case "reduceMin":
      return isFloat(dtype) ? B.min(a, b) : B.binary(signedRegister(dtype) ? "minS" : "minU", a, b);
    case "reduceMax":
      return isFloat(dtype) ? B.max(a, b) : B.binary(signedRegister(dtype) ? "maxS" : "maxU", a, b);
    case "any":
      return B.or(a, b);
    case "all":
      return B.and(a, b);
  }
}

/** What a reduction of nothing gives. */
export function neutral(op: "sum" | "prod" | "reduceMin" | "reduceMax" | "any" | "all", dtype: DType): number | bigint {
  switch (op) {
    case "sum":
    case "any":
      return 0;
    case "prod":
    case "all":
      return 1;
    case "reduceMin":
    case "reduceMax": {
      const high = op === "reduceMin";
      if (isFloat(dtype)) return high ? Infinity : -Infinity;
      if (!isInt(dtype)) throw new InternalError(`${op} of ${dtype}`);
      const { bits: width, signed } = dtypeInfo[dtype];
      const n = BigInt(width);
      if (signed) return high ? (1n << (n - 1n)) - 1n : -(1n << (n - 1n));
      return high ? (1n << n) - 1n : 0n;
    }
  }
}
