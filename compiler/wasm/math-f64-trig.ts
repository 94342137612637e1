/**
 * f64 trigonometric functions and their inverses, scalar. Arguments are reduced by π/2 with a remainder in two f64: up to
 * 2^20·π/2 by a three-part π/2 (Cody and Waite), beyond by the needed bits of 2/π (Payne and Hanek).
 */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { bitsOf, plainPolynomial, returnIf, twoProduct, twoSum, upperPart } from "./math-tools.js";

/** π/2 in parts of 33 bits, so that products of the first three with integers below 2^20 are exact. */
const halfPi = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32] as const;
const pi = { half: 1.5707963267948966, halfLow: 6.123233995736766e-17, low: 1.2246467991473532e-16 } as const;

/** (sin x − x)/x³ and (cos x − 1 + x²/2)/x⁴ in z = x², |x| ≤ π/4. */
const sinTail = [
  -0.16666666666666666, 0.008333333333330946, -0.000198412698367542, 2.7557316100283695e-6, -2.5051131372218632e-8,
  1.5918095236696272e-10,
] as const;
const cosTail = [
  0.041666666666666664, -0.0013888888888887395, 2.480158729876295e-5, -2.755731727031051e-7, 2.087614597263508e-9,
  -1.1382611119025631e-11,
] as const;

/** Two zero words, then 1280 bits of 2/π. */
const twoOverPi = [
  ...["0", "0", "a2f9836e4e441529", "fc2757d1f534ddc0", "db6295993c439041", "fe5163abdebbc561", "b7246e3a424dd2e0"],
  ...["06492eea09d1921c", "fe1deb1cb129a73e", "e88235f52ebb4484", "e99c7026b45f7e41", "3991d639835339f4"],
  ...["9c845f8bbdf9283b", "1ff897ffde05980f", "ef2f118b5a0a6d1f", "6d367ecf27cb09b7", "4f463f669e5fea2d"],
  ...["7527bac7ebe5f17b", "3d0739f78a5292ea", "6bfb5fb11f8d5d08", "56033046fc7b6bab", "f0cfbc209af4361d"],
].map((hex) => BigInt.asIntN(64, BigInt(`0x${hex}`)));

const wordName = "math_two_over_pi_word";
const reduceName = "math_reduce_large_f64";

/** Word i of the table, by a binary search of comparisons: there is no data segment to load it from. */
function wordFunction(): LoopFunction {
  return buildFunction(wordName, [{ name: "i", type: "i32" }], "i64", (b, [i]) => {
    const search = (low: number, high: number): void => {
      if (low === high) {
        b.return(B.i64(twoOverPi[low] as bigint));
        return;
      }
      const middle = (low + high) >> 1;
      b.if(
        B.leS(i, middle),
        () => search(low, middle),
        () => search(middle + 1, high),
      );
    };
    search(0, twoOverPi.length - 1);
  });
}

/** Upper 64 bits of m·w for m < 2^53 and any unsigned w. */
function mulHigh(b: Block, m: Expr, w: Expr): Expr {
  const low32 = (x: Expr) => B.and(x, B.i64(0xffffffffn));
  const [mLow, mHigh] = [b.let("mLow", low32(m)), b.let("mHigh", B.shrU(m, 32))];
  const [wLow, wHigh] = [b.let("wLow", low32(w)), b.let("wHigh", B.shrU(w, 32))];
  const cross = b.let("cross", B.mul(mLow, wHigh));
  const other = b.let("other", B.mul(mHigh, wLow));
  const middle = B.add(B.add(B.shrU(B.mul(mLow, wLow), 32), low32(cross)), low32(other));
  return B.add(B.add(B.mul(mHigh, wHigh), B.add(B.shrU(cross, 32), B.shrU(other, 32))), B.shrU(middle, 32));
}

/**
 * Payne–Hanek reduction of finite x ≥ 2^-126: part 0 and 1 are the remainder's two f64, part 2 the quadrant 0…3.
 *
 * x = m·2^e with an integer m < 2^53. Bits of 2/π that times x are multiples of 4 drop out, and 192 bits from there on are
 * enough: the worst cancellation over all f64 is 62 bits.
 */
function reduceFunction(): LoopFunction {
  const params = [
    { name: "x", type: "f64" },
    { name: "part", type: "i32" },
  ] as const;
  return buildFunction(reduceName, params, "f64", (b, [x, part]) => {
    const bits = b.let("bits", bitsOf(x));
    const exponent = B.sub(B.convert("i32.from_i64", B.shrU(bits, 52)), 1075);
    const m = b.let("m", B.or(B.and(bits, B.i64(2n ** 52n - 1n)), B.i64(2n ** 52n)));
    const first = b.let("first", B.add(exponent, 128 - 2));
    const word = b.let("word", B.shrS(first, 6));
    const shift = b.let("shift", B.and(first, 63));
    const rest = b.let("rest", B.sub(63, shift));
    const t = [0, 1, 2, 3].map((k) => b.let("t", B.call("i64", wordName, [B.add(word, k)])));
    const joined = (high: Expr, low: Expr) => B.or(B.shl(high, shift), B.shrU(B.shrU(low, 1), rest));
    const w = [0, 1, 2].map((k) => b.let("w", joined(t[k] as Expr, t[k + 1] as Expr))) as [Expr, Expr, Expr];
    // m·w modulo 2^192, most significant word p2.
    const p0 = b.let("p0", B.mul(m, w[2]));
    const c0 = b.let("c0", mulHigh(b, m, w[2]));
    const p1 = b.let("p1", B.add(B.mul(m, w[1]), c0));
    const carry = B.convert("i64.from_i32U", B.convert("i32.from_mask", B.ltU(p1, c0)));
    const c1 = b.let("c1", B.add(mulHigh(b, m, w[1]), carry));
    const p2 = b.let("p2", B.add(B.mul(m, w[0]), c1));
    // Two bits of quadrant, then the fraction, taken as signed so that it lies in −½…½.
    const fraction = b.let("fraction", B.or(B.shl(p2, 2), B.shrU(p1, 62)));
    const below = b.let("below", B.or(B.shl(p1, 2), B.shrU(p0, 62)));
    const negative = b.let("negative", B.ltS(fraction, B.i64(0)));
    const rounded = B.add(B.convert("i32.from_i64", B.shrU(p2, 62)), B.convert("i32.from_mask", negative));
    b.if(B.eq(part, 2), () => b.return(B.convert("f64.from_i32S", B.and(rounded, 3))));
    const borrow = B.convert("i64.from_i32U", B.convert("i32.from_mask", B.eq(below, B.i64(0))));
    const high = b.let("high", B.select(negative, B.add(B.not(fraction), borrow), fraction));
    const low = b.let("low", B.select(negative, B.neg(below), below));
    const zeros = b.let("zeros", B.minS(B.convert("i32.from_i64", B.unary("clz", high)), 63));
    const top = b.let("top", B.or(B.shl(high, zeros), B.shrU(B.shrU(low, 1), B.sub(63, zeros))));
    const next = b.let("next", B.or(B.shl(top, 53), B.shrU(B.shl(low, zeros), 11)));
    const unit = B.bitcast("f64", B.shl(B.convert("i64.from_i32S", B.sub(1023 - 53, zeros)), 52));
    const scale = b.let("scale", B.select(negative, B.neg(unit), unit));
    const y0 = b.let("y0", B.mul(B.convert("f64.from_i64U", B.shrU(top, 11)), scale));
    const y1 = b.let("y1", B.mul(B.mul(B.convert("f64.from_i64U", next), 2 ** -64), scale));
    const product = twoProduct(b, y0, B.f64(pi.half));
    const tail = B.add(product.lo, B.add(B.mul(y0, pi.halfLow), B.mul(y1, pi.half)));
    const sum = twoSum(b, product.hi, b.let("tail", tail));
    b.return(B.select(B.eq(part, 0), sum.hi, sum.lo));
  });
}

export const trigHelpers = (): readonly LoopFunction[] => [wordFunction(), reduceFunction()];

/** Remainder y0 + y1 of x by π/2 and the quadrant (i32, its low two bits count). NaN for ±∞ and NaN. */
function reduce(b: Block, x: Expr): { y0: Expr; y1: Expr; quadrant: Expr } {
  const y0 = b.mut("y0", x);
  const y1 = b.mut("y1", B.f64(0));
  const quadrant = b.mut("quadrant", B.i32(0));
  const a = b.let("a", B.abs(x));
  b.if(
    B.lt(a, 1647099),
    () => {
      const n = b.let("n", B.nearest(B.mul(x, 2 / Math.PI)));
      b.assign(quadrant, B.convert("i32.from_f64S", n));
      const r = b.let("r", B.sub(x, B.mul(n, halfPi[0])));
      const second = twoSum(b, r, b.let("part2", B.mul(n, -halfPi[1])));
      const third = twoSum(b, second.hi, b.let("part3", B.mul(n, -halfPi[2])));
      const low = B.sub(B.add(second.lo, third.lo), B.mul(n, halfPi[3]));
      const sum = twoSum(b, third.hi, b.let("low", low));
      b.assign(y0, sum.hi);
      b.assign(y1, sum.lo);
    },
    () => {
      b.if(
        B.lt(a, Infinity),
        () => {
          const part = (k: number) => B.call("f64", reduceName, [a, k]);
          const negative = b.let("negative", B.lt(x, 0));
          const signed = (v: Expr) => B.select(negative, B.neg(v), v);
          b.assign(y0, signed(b.let("first", part(0))));
          b.assign(y1, signed(b.let("second", part(1))));
          const q = b.let("q", B.convert("i32.from_f64S", part(2)));
          b.assign(quadrant, B.select(negative, B.neg(q), q));
        },
        () => b.assign(y0, B.f64(NaN)),
      );
    },
  );
  return { y0, y1, quadrant };
}

function sinKernel(b: Block, y0: Expr, y1: Expr): Expr {
  const z = b.let("z", B.mul(y0, y0));
  const cube = b.let("cube", B.mul(z, y0));
  const r = plainPolynomial(z, sinTail.slice(1));
  const inner = B.sub(B.mul(z, B.sub(B.mul(y1, 0.5), B.mul(cube, r))), y1);
  return b.let("sine", B.sub(y0, B.sub(inner, B.mul(cube, sinTail[0]))));
}

function cosKernel(b: Block, y0: Expr, y1: Expr): Expr {
  const z = b.let("z", B.mul(y0, y0));
  const half = b.let("halfSquare", B.mul(z, 0.5));
  const w = b.let("w", B.sub(1, half));
  const r = B.sub(B.mul(B.mul(z, z), plainPolynomial(z, cosTail)), B.mul(y0, y1));
  return b.let("cosine", B.add(w, B.add(B.sub(B.sub(1, w), half), r)));
}

const bit = (x: Expr, mask: number): Expr => B.ne(B.and(x, mask), 0);

export function sin(b: Block, x: Expr): void {
  returnIf(b, B.lt(B.abs(x), 2 ** -27), x);
  const { y0, y1, quadrant } = reduce(b, x);
  const value = B.select(bit(quadrant, 1), cosKernel(b, y0, y1), sinKernel(b, y0, y1));
  b.return(B.select(bit(quadrant, 2), B.neg(value), value));
}

export function cos(b: Block, x: Expr): void {
  const { y0, y1, quadrant } = reduce(b, x);
  const value = b.let("value", B.select(bit(quadrant, 1), sinKernel(b, y0, y1), cosKernel(b, y0, y1)));
  b.return(B.select(bit(B.add(quadrant, 1), 2), B.neg(value), value));
}

export function tan(b: Block, x: Expr): void {
  returnIf(b, B.lt(B.abs(x), 2 ** -27), x);
  const { y0, y1, quadrant } = reduce(b, x);
  const s = sinKernel(b, y0, y1);
  const c = cosKernel(b, y0, y1);
  b.return(B.select(bit(quadrant, 1), B.div(B.neg(c), s), B.div(s, c)));
}

/** (asin x − x)/x³ in z = x², |x| ≤ ½. */
const asinTail = [
  0.16666666666666666, 0.07500000000000118, 0.044642857142551895, 0.03038194447553234, 0.02237215744350722,
  0.017352816540325496, 0.01396378001220357, 0.011566459612121669, 0.009621842970100282, 0.009319560794767446,
  0.0030448799094556773, 0.019554513336123378, -0.01924167174674304, 0.02961201126495512,
] as const;

/** For a ≥ ½: z = (1−a)/2, s = √z in two parts, r with asin s = s + s·r. */
function nearOne(b: Block, a: Expr): { s: Expr; main: Expr; rest: Expr; r: Expr } {
  const z = b.let("z", B.mul(B.sub(1, a), 0.5));
  const s = b.let("s", B.sqrt(z));
  const main = b.let("main", upperPart(s));
  const rest = B.select(B.eq(s, 0), B.f64(0), B.div(B.sub(z, B.mul(main, main)), B.add(s, main)));
  return { s, main, rest: b.let("rest", rest), r: b.let("r", B.mul(z, plainPolynomial(z, asinTail))) };
}

/** NaN beyond ±1. */
export function asin(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  b.if(B.lt(a, 0.5), () => {
    const z = b.let("z", B.mul(x, x));
    b.return(B.add(x, B.mul(x, B.mul(z, plainPolynomial(z, asinTail)))));
  });
  const { s, main, rest, r } = nearOne(b, a);
  const p = B.sub(B.mul(B.mul(s, 2), r), B.sub(pi.halfLow, B.mul(rest, 2)));
  const q = B.sub(Math.PI / 4, B.mul(main, 2));
  b.return(B.copysign(B.sub(Math.PI / 4, B.sub(p, q)), x));
}

export function acos(b: Block, x: Expr): void {
  b.if(B.lt(B.abs(x), 0.5), () => {
    const z = b.let("z", B.mul(x, x));
    const r = B.mul(z, plainPolynomial(z, asinTail));
    b.return(B.sub(pi.half, B.sub(x, B.sub(pi.halfLow, B.mul(x, r)))));
  });
  const { s, main, rest, r } = nearOne(b, b.let("a", B.abs(x)));
  b.if(B.lt(x, 0), () => b.return(B.mul(B.sub(pi.half, B.add(s, B.sub(B.mul(r, s), pi.halfLow))), 2)));
  b.return(B.mul(B.add(main, B.add(B.mul(r, s), rest)), 2));
}

/** (atan x − x)/x³ in z = x², |x| ≤ 7/16. */
const atanTail = [
  -0.3333333333333333, 0.19999999999999407, -0.1428571428556615, 0.11111111096587765, -0.09090908353049669,
  0.0769228548876496, -0.06666240859375808, 0.0587693549653035, -0.05216607416783708, 0.044919637149159995,
  -0.033121323310643644, 0.01476642155379467,
] as const;

/** atan a = atan c + atan((a − c)/(1 + a·c)) for the nearest of five c. */
export function atan(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  const t = b.mut("t", a);
  const hi = b.mut("hi", B.f64(0));
  const lo = b.mut("lo", B.f64(0));
  const around = (argument: Expr, high: number, low: number) => () => {
    b.assign(t, argument);
    b.assign(hi, B.f64(high));
    b.assign(lo, B.f64(low));
  };
  const ratio = (c: number) => B.div(B.sub(a, c), B.add(B.mul(a, c), 1));
  b.if(B.ge(a, 7 / 16), () => {
    b.if(
      B.lt(a, 11 / 16),
      around(B.div(B.sub(B.mul(a, 2), 1), B.add(a, 2)), 0.4636476090008061, 2.2698777452961687e-17),
      () =>
        b.if(B.lt(a, 19 / 16), around(ratio(1), 0.7853981633974483, 3.061616997868383e-17), () =>
          b.if(
            B.lt(a, 39 / 16),
            around(ratio(1.5), 0.982793723247329, 1.3903311031230998e-17),
            around(B.div(B.f64(-1), a), pi.half, pi.halfLow),
          ),
        ),
    );
  });
  const z = b.let("z", B.mul(t, t));
  const tail = b.let("tail", B.mul(t, B.mul(z, plainPolynomial(z, atanTail))));
  b.return(B.copysign(B.add(hi, B.add(t, B.add(tail, lo))), x));
}

/** Angle of the point (x, y), with all the signed zeros and infinities of C's atan2. */
export function atan2(b: Block, y: Expr, x: Expr): void {
  returnIf(b, B.or(B.ne(x, x), B.ne(y, y)), B.f64(NaN));
  const [ax, ay] = [b.let("ax", B.abs(x)), b.let("ay", B.abs(y))];
  const bothInfinite = B.and(B.eq(ax, Infinity), B.eq(ay, Infinity));
  const quotient = B.select(B.eq(ay, 0), B.f64(0), B.select(bothInfinite, B.f64(1), B.div(ay, ax)));
  const z = b.let("z", B.math("atan", quotient));
  const left = B.ltS(bitsOf(x), B.i64(0));
  b.return(B.copysign(B.select(left, B.sub(Math.PI, B.sub(z, pi.low)), z), y));
}
