/**
 * f64 exponentials, logarithms and what is made of them, scalar. Coefficients are Chebyshev interpolants on the reduced
 * interval, computed with 60 digits; their error is below 2^-55 of the result.
 */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import {
  bitsOf,
  multiplyPairs,
  notANumber,
  type Pair,
  plainPolynomial,
  renormalise,
  returnIf,
  scaleByPowerOfTwo,
  twoProduct,
  twoSum,
} from "./math-tools.js";

/** ln 2 in two parts; products of the first with integers below 2^20 are exact. */
const ln2 = { hi: 0.6931471803691238, lo: 1.9082149292705877e-10 } as const;

/** (e^r − 1 − r)/r² for |r| ≤ ln2/2. */
const expTail = [
  0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333325551, 0.0013888888888883455, 0.00019841269876840357,
  2.4801587326757946e-5, 2.755725286336732e-6, 2.7557272021007835e-7, 2.510626255087908e-8, 2.0915377354156553e-9,
] as const;

/** n, r = x − n·ln2, and the rounding error of r. */
function reduceByLn2(b: Block, x: Expr): { n: Expr; r: Expr; c: Expr } {
  const n = b.let("n", B.nearest(B.mul(x, Math.LOG2E)));
  const hi = b.let("hi", B.sub(x, B.mul(n, ln2.hi)));
  const lo = b.let("lo", B.mul(n, ln2.lo));
  const r = b.let("r", B.sub(hi, lo));
  return { n, r, c: b.let("c", B.sub(B.sub(hi, r), lo)) };
}

export function exp(b: Block, x: Expr): void {
  returnIf(b, B.gt(x, 709.782712893384), B.f64(Infinity));
  returnIf(b, B.lt(x, -745.1332191019412), B.f64(0));
  const { n, r, c } = reduceByLn2(b, x);
  const y = b.let("y", B.add(B.add(r, B.add(B.mul(B.mul(r, r), plainPolynomial(r, expTail)), c)), 1));
  b.return(scaleByPowerOfTwo(b, y, b.let("k", B.convert("i32.from_f64S", n))));
}

/** (2^r − 1)/r for |r| ≤ 1/2. */
const exp2Tail = [
  Math.LN2,
  0.24022650695910072,
  0.05550410866482158,
  0.009618129107628484,
  0.0013333558146428532,
  0.00015403530393362755,
  1.5252733803933054e-5,
  1.3215486815999978e-6,
  1.0178086099902896e-7,
  7.054894386348348e-9,
  4.4455051195301306e-10,
  2.5733568308756892e-11,
  1.3747964946554344e-12,
] as const;

export function exp2(b: Block, x: Expr): void {
  returnIf(b, B.ge(x, 1024), B.f64(Infinity));
  returnIf(b, B.lt(x, -1075), B.f64(0));
  const n = b.let("n", B.nearest(x));
  const r = b.let("r", B.sub(x, n));
  const y = b.let("y", B.add(B.mul(r, plainPolynomial(r, exp2Tail)), 1));
  b.return(scaleByPowerOfTwo(b, y, b.let("k", B.convert("i32.from_f64S", n))));
}

/** 2^n·(1 − 2^-n + (e^r − 1)): the difference is exact, so nothing cancels. */
export function expm1(b: Block, x: Expr): void {
  returnIf(b, B.gt(x, 709.782712893384), B.f64(Infinity));
  returnIf(b, B.lt(x, -40), B.f64(-1));
  returnIf(b, B.lt(B.abs(x), 2 ** -54), x);
  const { n, r, c } = reduceByLn2(b, x);
  const e = b.let("e", B.add(r, B.add(B.mul(B.mul(r, r), plainPolynomial(r, expTail)), c)));
  const k = b.let("k", B.convert("i32.from_f64S", n));
  const inverse = B.bitcast("f64", B.shl(B.convert("i64.from_i32S", B.sub(1023, B.minS(k, 1000))), 52));
  const y = b.let("y", B.add(B.sub(1, inverse), e));
  b.return(scaleByPowerOfTwo(b, y, k));
}

/** (ln((1+s)/(1−s)) − 2s)/s³ as a polynomial in z = s², for m in √½…√2. */
const logTail = [
  0.666666666666667, 0.3999999999989819, 0.28571428626570206, 0.2222221103781659, 0.18182896183483085,
  0.15331487235865734, 0.14619343453512615,
] as const;

interface Split {
  /** Exponent, as f64. */
  readonly k: Expr;
  /** m − 1, where the argument is 2^k·m. */
  readonly f: Expr;
}

/** x = 2^k·(1 + f) with 1 + f in √½…√2, for x > 0 and finite. */
function split(b: Block, x: Expr): Split {
  const small = b.let("small", B.lt(x, 2 ** -1022));
  const bits = b.let("bits", bitsOf(B.select(small, B.mul(x, 2 ** 54), x)));
  const k = b.let("k", B.shrS(B.sub(bits, B.i64(0x3fe6a09e667f3bcdn)), 52));
  const m = B.bitcast("f64", B.sub(bits, B.shl(k, 52)));
  const exponent = B.sub(B.convert("f64.from_i64S", k), B.select(small, B.f64(54), B.f64(0)));
  return { k: b.let("exponent", exponent), f: b.let("f", B.sub(m, 1)) };
}

/** ln(1 + f) = f − (half − tail). */
function logOnePlus(b: Block, f: Expr): { half: Expr; tail: Expr } {
  const s = b.let("s", B.div(f, B.add(f, 2)));
  const z = b.let("z", B.mul(s, s));
  const half = b.let("halfSquare", B.mul(B.mul(f, f), 0.5));
  return { half, tail: b.let("logTail", B.mul(s, B.add(half, B.mul(z, plainPolynomial(z, logTail))))) };
}

/** NaN for NaN and x < 0, −∞ for 0, ∞ for ∞. */
function returnLogSpecials(b: Block, x: Expr): void {
  b.if(B.not(B.gt(x, 0)), () => b.return(B.select(B.eq(x, 0), B.f64(-Infinity), B.f64(NaN))));
  returnIf(b, B.eq(x, Infinity), x);
}

export function log(b: Block, x: Expr): void {
  returnLogSpecials(b, x);
  const { k, f } = split(b, x);
  const { half, tail } = logOnePlus(b, f);
  b.return(B.sub(B.mul(k, ln2.hi), B.sub(B.sub(half, B.add(tail, B.mul(k, ln2.lo))), f)));
}

export function log1p(b: Block, x: Expr): void {
  b.if(B.not(B.gt(x, -1)), () => b.return(B.select(B.eq(x, -1), B.f64(-Infinity), B.f64(NaN))));
  returnIf(b, B.eq(x, Infinity), x);
  returnIf(b, B.lt(B.abs(x), 2 ** -54), x);
  const u = b.let("u", B.add(x, 1));
  // What the rounding of 1 + x lost.
  const lost = B.select(B.gt(x, 1), B.sub(1, B.sub(u, x)), B.sub(x, B.sub(u, 1)));
  const c = b.let("c", B.div(lost, u));
  const { k, f } = split(b, u);
  const { half, tail } = logOnePlus(b, f);
  const low = B.add(B.mul(k, ln2.lo), c);
  b.return(B.sub(B.mul(k, ln2.hi), B.sub(B.sub(half, B.add(tail, low)), f)));
}

/** log2 e in two parts, the first of 21 bits. */
const log2e = { hi: 1.4426946640014648, lo: 3.768874985636099e-7 } as const;

export function log2(b: Block, x: Expr): void {
  returnLogSpecials(b, x);
  const { k, f } = split(b, x);
  const { half, tail } = logOnePlus(b, f);
  const sum = b.let("sum", B.sub(f, half));
  const hi = b.let("hi", B.bitcast("f64", B.and(bitsOf(sum), B.i64(0xffffffff00000000n))));
  const lo = b.let("lo", B.add(B.sub(B.sub(f, hi), half), tail));
  const main = twoSum(b, k, B.mul(hi, log2e.hi));
  b.return(B.add(main.hi, B.add(main.lo, B.add(B.mul(B.add(lo, hi), log2e.lo), B.mul(lo, log2e.hi)))));
}

/** ln x to about 65 bits, for x > 0 and finite: s = f/(2 + f) and the series' first two terms in pairs of f64. */
function logPair(b: Block, x: Expr): Pair {
  const { k, f } = split(b, x);
  const d = twoSum(b, B.f64(2), f);
  const s = b.let("s", B.div(f, d.hi));
  const check = twoProduct(b, s, d.hi);
  const rest = B.sub(B.sub(B.sub(f, check.hi), check.lo), B.mul(s, d.lo));
  const ratio: Pair = { hi: s, lo: b.let("sLow", B.div(rest, d.hi)) };
  const square = multiplyPairs(b, ratio, ratio);
  const series = plainPolynomial(
    square.hi,
    [
      0.4000000000000003, 0.2857142857133739, 0.2222222227161022, 0.18181808164729227, 0.15385580823628317,
      0.1328575731452747, 0.12916088513173332,
    ],
  );
  const inner = twoSum(b, B.f64(2 / 3), b.let("inner", B.mul(square.hi, series)));
  const cubic = multiplyPairs(b, square, {
    hi: inner.hi,
    lo: b.let("innerLow", B.add(inner.lo, 3.700743415417188e-17)),
  });
  const tail = multiplyPairs(b, ratio, cubic);
  const linear = twoSum(b, b.let("kln2", B.mul(k, ln2.hi)), b.let("twice", B.mul(ratio.hi, 2)));
  const total = twoSum(b, linear.hi, tail.hi);
  const low = B.add(B.add(linear.lo, total.lo), B.add(B.add(tail.lo, B.mul(ratio.lo, 2)), B.mul(k, ln2.lo)));
  return renormalise(b, total.hi, low);
}

/** IEEE 754 special cases (1^y = x^0 = 1 even for NaN), then e^(y·ln x) with the product in a pair. */
export function pow(b: Block, x: Expr, y: Expr): void {
  returnIf(b, B.or(B.eq(y, 0), B.eq(x, 1)), B.f64(1));
  returnIf(b, B.or(notANumber(x), notANumber(y)), B.f64(NaN));
  const a = b.let("a", B.abs(x));
  const whole = b.let("whole", B.eq(B.trunc(y), y));
  const halfY = B.mul(y, 0.5);
  const odd = B.and(whole, B.and(B.lt(B.abs(y), 2 ** 53), B.ne(B.trunc(halfY), halfY)));
  const negative = b.let("negative", B.and(B.ltS(bitsOf(x), B.i64(0)), odd));
  const signed = (value: Expr): Expr => B.select(negative, B.neg(value), value);
  const grows = B.eq(B.convert("i32.from_mask", B.gt(a, 1)), B.convert("i32.from_mask", B.gt(y, 0)));
  b.if(B.or(B.eq(a, 0), B.or(B.eq(a, Infinity), B.eq(B.abs(y), Infinity))), () => {
    returnIf(b, B.eq(a, 1), B.f64(1));
    b.return(signed(B.select(grows, B.f64(Infinity), B.f64(0))));
  });
  returnIf(b, B.and(B.lt(x, 0), B.not(whole)), B.f64(NaN));

  // Beyond 2^65 every result but that of 1 has overflowed or vanished, and smaller factors keep the products finite.
  const factor = b.let("factor", B.pmax(B.pmin(y, 2 ** 65), -(2 ** 65)));
  const p = multiplyPairs(b, logPair(b, a), { hi: factor, lo: B.f64(0) });
  returnIf(b, B.gt(p.hi, 709.79), signed(B.f64(Infinity)));
  returnIf(b, B.lt(p.hi, -745.2), signed(B.f64(0)));
  const { n, r, c } = reduceByLn2(b, p.hi);
  const rest = renormalise(b, r, B.add(c, p.lo));
  const e = B.add(rest.hi, B.add(B.mul(B.mul(rest.hi, rest.hi), plainPolynomial(rest.hi, expTail)), rest.lo));
  const k = b.let("k", B.convert("i32.from_f64S", n));
  b.return(signed(b.let("power", scaleByPowerOfTwo(b, b.let("e", B.add(e, 1)), k))));
}

export function sigmoid(b: Block, x: Expr): void {
  const e = b.let("e", B.math("exp", B.neg(B.abs(x))));
  b.return(B.div(B.select(B.lt(x, 0), e, B.f64(1)), B.add(e, 1)));
}

export function tanh(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  returnIf(b, B.gt(a, 22), B.copysign(B.f64(1), x));
  b.if(B.ge(a, 1), () => {
    const t = b.let("t", B.math("expm1", B.mul(a, 2)));
    b.return(B.copysign(B.sub(1, B.div(B.f64(2), B.add(t, 2))), x));
  });
  const t = b.let("t", B.math("expm1", B.mul(a, -2)));
  b.return(B.copysign(B.div(t, B.add(t, 2)), x));
}

export function sinh(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  const half = b.let("h", B.copysign(B.f64(0.5), x));
  b.if(B.lt(a, 22), () => {
    const t = b.let("t", B.math("expm1", a));
    const q = b.let("q", B.div(t, B.add(t, 1)));
    returnIf(b, B.lt(a, 1), B.mul(half, B.sub(B.mul(t, 2), B.mul(t, q))));
    b.return(B.mul(half, B.add(t, q)));
  });
  // In two factors, because e^a overflows before its half does.
  const w = b.let("w", B.math("exp", B.mul(a, 0.5)));
  b.if(B.gt(a, 709), () => b.return(B.mul(B.mul(half, w), w)));
  b.return(B.mul(half, B.math("exp", a)));
}

export function cosh(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  b.if(B.lt(a, 0.35), () => {
    const t = b.let("t", B.math("expm1", a));
    const w = B.add(t, 1);
    b.return(B.add(B.div(B.mul(t, t), B.add(w, w)), 1));
  });
  b.if(B.lt(a, 22), () => {
    const e = b.let("e", B.math("exp", a));
    b.return(B.add(B.mul(e, 0.5), B.div(B.f64(0.5), e)));
  });
  const w = b.let("w", B.math("exp", B.mul(a, 0.5)));
  b.if(B.gt(a, 709), () => b.return(B.mul(B.mul(w, 0.5), w)));
  b.return(B.mul(B.math("exp", a), 0.5));
}

export function asinh(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  const t = b.let("t", B.mul(a, a));
  b.if(B.gt(a, 2 ** 28), () => b.return(B.copysign(B.add(B.math("log", a), Math.LN2), x)));
  const root = b.let("root", B.sqrt(B.add(t, 1)));
  b.if(B.gt(a, 2), () => {
    b.return(B.copysign(B.math("log", B.add(B.mul(a, 2), B.div(B.f64(1), B.add(root, a)))), x));
  });
  b.return(B.copysign(B.math("log1p", B.add(a, B.div(t, B.add(root, 1)))), x));
}

/** NaN below 1. */
export function acosh(b: Block, x: Expr): void {
  returnIf(b, B.not(B.ge(x, 1)), B.f64(NaN));
  b.if(B.gt(x, 2 ** 28), () => b.return(B.add(B.math("log", x), Math.LN2)));
  b.if(B.gt(x, 2), () => {
    const root = B.sqrt(B.sub(B.mul(x, x), 1));
    b.return(B.math("log", B.sub(B.mul(x, 2), B.div(B.f64(1), B.add(x, root)))));
  });
  const t = b.let("t", B.sub(x, 1));
  b.return(B.math("log1p", B.add(t, B.sqrt(B.add(B.mul(t, 2), B.mul(t, t))))));
}

/** ±∞ at ±1, NaN beyond. */
export function atanh(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  const twice = b.let("twice", B.mul(a, 2));
  const rest = b.let("rest", B.sub(1, a));
  const argument = B.select(B.lt(a, 0.5), B.add(twice, B.div(B.mul(twice, a), rest)), B.div(twice, rest));
  b.return(B.copysign(B.mul(B.math("log1p", argument), 0.5), x));
}
