/**
 * Hot f32 functions of the math library, generic over f32 and f32x4: straight-line code with selects for the special cases, so
 * that lanes and scalars give the same bits. Coefficients are Chebyshev interpolants rounded to f32; `mathAccuracy` in math.ts
 * has the bounds.
 *
 * pmin(x, c) and pmax(x, c) with x first keep NaN as it comes.
 */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { isVector } from "../../ir/loop-types.js";
import { polynomial, shallowPolynomial } from "./math-tools.js";

const bitsOf = (x: Expr): Expr => B.bitcast(isVector(x.type) ? "i32x4" : "i32", x);

/** ln 2 in two parts: products of the first with integers below 2^15 are exact. */
const ln2 = { hi: 0.693359375, lo: -2.1219444e-4 } as const;

/** (e^r − 1 − r)/r² for |r| ≤ ln2/2. */
const expTail = [0.5, 0.16666534543037415, 0.04166724160313606, 0.008367431350052357, 0.0013863404747098684];

/** The same for what is subtracted from: near 0 its errors count four times. */
const expm1Tail = [
  0.5, 0.1666666716337204, 0.04166646674275398, 0.00833331048488617, 0.001393364742398262, 0.00019890988187398762,
];

/**
 * Adding it to an f32 below 2^22 rounds that to an integer k and leaves k + 254 in the low bits: cheaper than rounding and
 * converting, for which engines emit ten instructions.
 */
const rounder = 1.5 * 2 ** 23 + 254;

interface Scaled {
  /** e^r − 1 for the remainder r. */
  readonly minusOne: Expr;
  /** Bits of `rounder` + k: the low ones are those of k + 254, two biased exponents whose sum is k. */
  readonly biased: Expr;
}

/** e^x = 2^k·(1 + minusOne), for |x| < 2^15. */
function expParts(b: Block, x: Expr, tail: readonly number[] = expTail): Scaled {
  const shifted = b.let("shifted", B.fma(x, Math.LOG2E, rounder));
  const n = b.let("n", B.sub(shifted, rounder));
  const r = b.let("r", B.fma(n, -ln2.lo, B.fma(n, -ln2.hi, x)));
  const minusOne = b.let("minusOne", B.fma(B.mul(r, r), shallowPolynomial(b, r, tail), r));
  return { minusOne, biased: b.let("biased", bitsOf(shifted)) };
}

/** The float with this biased exponent; the shift drops what lies above it. */
const powerOfTwo = (exponent: Expr, type: Expr["type"]): Expr => B.bitcast(type, B.shl(exponent, 23));

/** 2^k as two powers of about half the exponent: neither overflows or is subnormal for k in −252…254. */
function halves(b: Block, { biased }: Scaled, type: Expr["type"]): { half: Expr; low: Expr; high: Expr } {
  const half = b.let("half", B.shrS(biased, 1));
  return { half, low: powerOfTwo(half, type), high: powerOfTwo(B.sub(biased, half), type) };
}

/** y·2^k in two steps, so that subnormals are rounded once. */
function scale(b: Block, y: Expr, parts: Scaled): Expr {
  const { low, high } = halves(b, parts, y.type);
  return B.mul(B.mul(y, low), high);
}

/**
 * Beyond −104…89 the result is 0 or infinity anyway. At −176 both factors of the scale are 0: products that underflow take processors ten times
 * as long, and masks of attention make half of all numbers −∞.
 */
export function exp(b: Block, x: Expr): Expr {
  const parts = expParts(b, b.let("t", B.pmax(B.pmin(x, 89), -176)));
  const { low, high } = halves(b, parts, x.type);
  const factor = b.let("factor", low);
  return B.mul(B.fma(parts.minusOne, factor, factor), high);
}

/** 2^k·((1 − 2^-k) + (e^r − 1)), whose difference is exact. */
export function expm1(b: Block, x: Expr): Expr {
  const parts = expParts(b, b.let("t", B.pmax(B.pmin(x, 89), -18)), expm1Tail);
  const bits = bitsOf(B.broadcast(x.type, rounder));
  const k = b.let("k", B.sub(parts.biased, bits));
  const inverse = powerOfTwo(B.sub(B.broadcast(k.type, 127), B.minS(k, 126)), x.type);
  const y = b.let("y", B.add(B.sub(B.broadcast(x.type, 1), inverse), parts.minusOne));
  return B.select(B.eq(x, 0), x, scale(b, y, parts));
}

/** (e^-r − 1 + r)/−r² for |r| ≤ ln2/2: the terms of `expTail`, whose odd powers change sign. */
const negatedTail = expTail.map((c, i) => (i % 2 === 0 ? -c : c));

/**
 * 2^-30 over 2^-30 + 2^-30·e^-x, whose terms neither overflow nor are subnormal for x in −105…18. Beyond it the result is 0 or 1 anyway; what
 * is subnormal is rounded once, by the division.
 */
export function sigmoid(b: Block, x: Expr): Expr {
  const t = b.let("t", B.pmax(B.pmin(x, 18), -105));
  const bias = 1.5 * 2 ** 23 + 127 - 30;
  const shifted = b.let("shifted", B.fma(t, -Math.LOG2E, bias));
  const n = b.let("n", B.sub(shifted, bias));
  // −x = n·ln 2 − r.
  const r = b.let("r", B.fma(n, ln2.lo, B.fma(n, ln2.hi, t)));
  const power = b.let("power", powerOfTwo(bitsOf(shifted), x.type));
  const m = B.fma(B.mul(r, r), shallowPolynomial(b, r, negatedTail), r);
  const e = B.sub(power, B.mul(power, m));
  const one = B.broadcast(x.type, 2 ** -30);
  return B.div(one, B.add(one, e));
}

/** (2^f − 1)/f for |f| ≤ ½. */
const exp2Tail = [
  0.6931471824645996, 0.24022647738456726, 0.05550359934568405, 0.009618505835533142, 0.0013390807434916496,
  0.00015326458378694952,
];

/** 2^y where its result is normal, to 2^-23: for what is added to something larger. */
function coarseExp2(b: Block, y: Expr): Expr {
  const shifted = b.let("shifted", B.add(y, rounder - 127));
  const f = b.let("f", B.sub(y, B.sub(shifted, rounder - 127)));
  const m = B.fma(f, shallowPolynomial(b, f, exp2Tail), B.broadcast(y.type, 1));
  return B.mul(m, powerOfTwo(bitsOf(shifted), y.type));
}

/** (1 − e^-2r − 2r)/r² for |r| ≤ ln2/4. */
const tanhTail = [
  -1.9999998807907104, 1.3333200216293335, -0.6666744947433472, 0.2678331732749939, -0.08888877928256989,
];

/**
 * u/(2 − u) for u = 1 − e^-2x = 2^k·(1 − e^-2r) − (2^k − 1). Multiples of ½ln 2 up to the third are exact enough, later ones count little. The
 * differences are those that keep −0.
 */
export function tanh(b: Block, x: Expr): Expr {
  const t = b.let("t", B.pmax(B.pmin(x, 9.1), -9.1));
  const shifted = b.let("shifted", B.fma(t, -2 * Math.LOG2E, rounder - 127));
  const r = b.let("r", B.sub(t, B.mul(B.sub(shifted, rounder - 127), -Math.LN2 / 2)));
  const power = b.let("power", powerOfTwo(bitsOf(shifted), x.type));
  const m = B.fma(B.mul(r, r), shallowPolynomial(b, r, tanhTail), B.add(r, r));
  const u = b.let("u", B.sub(B.mul(power, m), B.sub(power, 1)));
  return B.div(u, B.sub(B.broadcast(x.type, 2), u));
}

/** (ln(1 + f) − f + f²/2)/f³ for 1 + f in √½…√2. */
const logTail = [
  0.3333333134651184, -0.2499999701976776, 0.20000717043876648, -0.16667798161506653, 0.14249032735824585,
  -0.12425776571035385, 0.11685796082019806, -0.1147918775677681, 0.0696975365281105,
];

/** ln x + low for positive finite x. */
function logParts(b: Block, x: Expr, low?: Expr): Expr {
  const small = b.let("small", B.lt(x, 2 ** -126));
  const bits = b.let("bits", bitsOf(B.select(small, B.mul(x, 2 ** 23), x)));
  const k = b.let("k", B.shrS(B.sub(bits, 0x3f3504f3), 23));
  const f = b.let("f", B.sub(B.bitcast(x.type, B.sub(bits, B.shl(k, 23))), 1));
  const shifted = B.select(small, B.broadcast(x.type, 23), B.broadcast(x.type, 0));
  const n = b.let("n", B.sub(B.convert("f32.from_i32S", k), shifted));
  const z = b.let("z", B.mul(f, f));
  const tail = b.let("tail", B.fma(B.mul(z, f), shallowPolynomial(b, f, logTail), B.mul(z, -0.5)));
  const rest = B.fma(n, ln2.lo, tail);
  return B.fma(n, ln2.hi, B.add(f, low === undefined ? rest : B.add(rest, low)));
}

/** −∞ for 0, NaN for x < 0 and NaN. */
export function log(b: Block, x: Expr): Expr {
  const y = b.let("y", logParts(b, x));
  const special = B.select(B.eq(x, 0), B.broadcast(x.type, -Infinity), B.broadcast(x.type, NaN));
  return B.select(B.gt(x, 0), B.select(B.eq(x, Infinity), x, y), special);
}

/** ln(1 + x) with what the rounding of 1 + x lost added back. */
export function log1p(b: Block, x: Expr): Expr {
  const u = b.let("u", B.add(x, 1));
  const one = B.broadcast(x.type, 1);
  const lost = B.select(B.gt(x, 1), B.sub(one, B.sub(u, x)), B.sub(x, B.sub(u, 1)));
  const y = b.let("y", logParts(b, u, B.div(lost, u)));
  const special = B.select(B.eq(x, -1), B.broadcast(x.type, -Infinity), B.broadcast(x.type, NaN));
  const unchanged = B.or(B.lt(B.abs(x), 2 ** -25), B.eq(x, Infinity));
  return B.select(B.gt(x, -1), B.select(unchanged, x, y), special);
}

/** erf x / x − 1 in x² for |x| < 0.92, and log2(erfc x)/x for x in 0.92…4. */
const erfSmall = [
  0.12837916612625122, -0.37612634897232056, 0.11283699423074722, -0.0268595889210701, 0.0052014561370015144,
  -0.0008147081243805587, 8.387074194615707e-5,
];
const erfLarge = [
  -1.6283009052276611, -0.9163073301315308, -0.15330545604228973, 0.03431509807705879, -0.005271297413855791,
  0.0004698207776527852, -1.6623038391117007e-5,
];

export function erf(b: Block, x: Expr): Expr {
  const a = b.let("a", B.abs(x));
  const small = B.fma(x, polynomial(b.let("z", B.mul(x, x)), erfSmall), x);
  const t = b.let("t", B.pmin(a, 4));
  const erfc = coarseExp2(b, b.let("y", B.mul(t, shallowPolynomial(b, t, erfLarge))));
  const large = B.sub(B.broadcast(x.type, 1), erfc);
  return B.select(B.lt(a, 0.92), small, B.copysign(large, x));
}

/** Numerator and denominator in x² of an odd function of x over x, for |x| ≤ limit. */
interface OddQuotient {
  readonly limit: number;
  readonly over: readonly number[];
  readonly under: readonly number[];
}

/** Φ(x) − ½, least greatest error. */
const normalCentred: OddQuotient = {
  limit: 5.6,
  over: [
    0.398942232131958, 0.03437585383653641, 0.0047072432935237885, 0.00017384816601406783, 6.3565144046151545e-6,
    2.2145499656289758e-8,
  ],
  under: [
    1, 0.25283318758010864, 0.02893994189798832, 0.001912963343784213, 7.510111026931554e-5, 1.1802162589447107e-6,
  ],
};

/** Φ(x) + x·φ(x) − ½. */
const slopeCentred: OddQuotient = {
  limit: 6,
  over: [
    0.7978845238685608, -0.01803806610405445, 0.013569013215601444, 0.00028522300999611616, 3.202718653483316e-5,
    1.1219309499210794e-6, 1.300300223050499e-8, -2.8880160415911682e-11,
  ],
  under: [
    1, 0.31072548031806946, 0.04558280110359192, 0.0041502173990011215, 0.00025860589812509716, 1.0812233995238785e-5,
    3.636349674707162e-7,
  ],
};

/** The quotient at x ≥ −limit, and at the limit beyond it. */
function oddQuotient(b: Block, x: Expr, { limit, over, under }: OddQuotient): Expr {
  const t = b.let("t", B.pmin(x, limit));
  const z = b.let("z", B.mul(t, t));
  return B.div(B.mul(t, shallowPolynomial(b, z, over)), shallowPolynomial(b, z, under));
}

/** x·Φ(x); −∞ ↦ −0. Without exponentials, as results near 0 need no digits: a third of the time. */
export function gelu(b: Block, x: Expr): Expr {
  const above = b.let("above", B.pmax(x, -normalCentred.limit));
  const half = b.let("half", B.pmax(B.pmin(oddQuotient(b, above, normalCentred), 0.5), -0.5));
  return B.mul(above, B.add(half, 0.5));
}

/** Φ(x) + x·φ(x). */
export function geluGrad(b: Block, x: Expr): Expr {
  return B.add(oddQuotient(b, b.let("above", B.pmax(x, -slopeCentred.limit)), slopeCentred), 0.5);
}

/** π/2 in parts of 33 bits. */
const halfPi = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21] as const;
const sinTail = [-0.16666666663797544, 0.008333331852310973, -0.00019840074665737465, 2.7248364773036666e-6];
const cosTail = [0.04166666666427301, -0.0013888887653322967, 2.4800590303711416e-5, -2.7299656316022867e-7];
/** Adding it leaves an integer in the low bits of an f64. */
const magic = 1.5 * 2 ** 52;

/** sin (or cos) of f64 lanes up to 2^20·π/2, to more than f32's accuracy. */
function sineF64(b: Block, x: Expr, cosine: boolean): Expr {
  const ints = isVector(x.type) ? "i64x2" : "i64";
  const shifted = b.let("shifted", B.add(B.mul(x, 2 / Math.PI), magic));
  const n = b.let("n", B.sub(shifted, magic));
  const r = b.let("r", B.sub(B.sub(B.sub(x, B.mul(n, halfPi[0])), B.mul(n, halfPi[1])), B.mul(n, halfPi[2])));
  const quadrant = b.let("quadrant", B.add(B.bitcast(ints, shifted), cosine ? 1 : 0));
  const z = b.let("z", B.mul(r, r));
  const sine = B.fma(B.mul(z, r), polynomial(z, sinTail), r);
  const cos = B.fma(B.mul(z, z), polynomial(z, cosTail), B.fma(z, -0.5, B.broadcast(x.type, 1)));
  const value = b.let("value", B.select(B.ne(B.and(quadrant, 1), 0), cos, sine));
  const sign = B.bitcast(x.type, B.shl(B.shrU(quadrant, 1), 63));
  return B.bitcast(x.type, B.xor(B.bitcast(ints, value), B.bitcast(ints, sign)));
}

/** Reduced in f64; arguments beyond 2^20·π/2 and infinities go lane by lane through the f64 function. */
function sine(b: Block, x: Expr, cosine: boolean, throughF64: () => Expr): Expr {
  const large = B.gt(B.abs(x), 1647099);
  b.if(isVector(x.type) ? B.reduceLanes("or", large) : large, () => b.return(throughF64()));
  const y = inF64(b, [x], ([wide]) => sineF64(b, wide!, cosine));
  return cosine ? y : B.select(B.eq(x, 0), x, y);
}

/** f32 lanes through a function of f64 lanes, two at a time, rounded once. */
function inF64(b: Block, args: readonly Expr[], f: (args: readonly Expr[]) => Expr): Expr {
  const half = (lanes: readonly Expr[]): Expr =>
    b.let("half", B.convert("f32.from_f64", f(lanes.map((x) => b.let("wide", B.convert("f64.from_f32", x))))));
  if (!isVector(args[0]!.type)) return half(args);
  return B.shuffle(half(args), half(args.map((x) => B.shuffle(x, x, [2, 3, 2, 3]))), [0, 1, 4, 5]);
}

/** √½ as the bits of an f64. */
const sqrtHalfBits = 0x3fe6a09e667f3bcdn;
/** ln m = 2·(s + s³/3 + s⁵/5 + …), s = (m − 1)/(m + 1), over s in s², to 2^-39 for m in √½…√2. */
const logSeries = [2, 2 / 3, 2 / 5, 2 / 7, 2 / 9, 2 / 11, 2 / 13];
/** e^r to 2^-32 for |r| ≤ ln2/2. */
const expSeries = [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320];

/** x^y = 2^(y·log2 x) for positive normal x, good for an f32 result of every size. */
function powerF64(b: Block, x: Expr, y: Expr): Expr {
  const ints = isVector(x.type) ? "i64x2" : "i64";
  const whole = (v: bigint) => B.constant(ints, v);
  const bits = b.let("bits", B.bitcast(ints, x));
  // The exponent where it lies: engines have no shift of 64-bit lanes that keeps the sign.
  const power = b.let("power", B.and(B.sub(bits, whole(sqrtHalfBits)), whole(-(2n ** 52n))));
  const m = b.let("m", B.bitcast(x.type, B.sub(bits, power)));
  const biased = B.shrU(B.add(power, whole(2n ** 62n)), 52);
  const exponent = B.sub(B.bitcast(x.type, B.add(biased, whole(0x4330000000000000n))), 2 ** 52 + 1024);
  const s = b.let("s", B.div(B.sub(m, 1), B.add(m, 1)));
  const log2 = B.add(exponent, B.mul(B.mul(s, shallowPolynomial(b, b.let("z", B.mul(s, s)), logSeries)), Math.LOG2E));
  // Beyond −160…140 the result is 0 or infinity anyway.
  const t = b.let("t", B.pmax(B.pmin(B.mul(y, log2), 140), -160));
  const shifted = b.let("shifted", B.add(t, magic));
  const r = b.let("r", B.mul(B.sub(t, B.sub(shifted, magic)), Math.LN2));
  const scale = B.bitcast(x.type, B.shl(B.add(B.bitcast(ints, shifted), whole(1023n)), 52));
  return B.mul(shallowPolynomial(b, r, expSeries), scale);
}

/** In f64; x that are not positive and whatever is not finite go lane by lane through the f64 function. */
export function pow(b: Block, x: Expr, throughF64: () => Expr, y: Expr): Expr {
  const plain = b.let("plain", B.and(B.and(B.gt(x, 0), B.lt(x, Infinity)), B.lt(B.abs(y), Infinity)));
  const fast = b.let(
    "fast",
    inF64(b, [x, y], ([u, v]) => powerF64(b, u!, v!)),
  );
  b.if(isVector(x.type) ? B.reduceLanes("and", plain) : plain, () => b.return(fast));
  return B.select(plain, fast, throughF64());
}

export const sin = (b: Block, x: Expr, throughF64: () => Expr): Expr => sine(b, x, false, throughF64);
export const cos = (b: Block, x: Expr, throughF64: () => Expr): Expr => sine(b, x, true, throughF64);
