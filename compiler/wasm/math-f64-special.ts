/** f64 error function, GELU, log-gamma, cube root and remainder, scalar. */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { bitsOf, plainPolynomial, returnIf, upperPart } from "./math-tools.js";

/** erf x / x − 1 in z = x², x ≤ 0.84. */
const erfSmall = [
  0.1283791670955126, -0.37612638903183754, 0.11283791670955126, -0.02686617064513121, 0.005223977625441392,
  -0.0008548327023362146, 0.00012055332975385575, -1.4925650044315585e-5, 1.6462103617076302e-6, -1.636558505205246e-7,
  1.4802777543195503e-8, -1.2238688037063195e-9, 9.019534910595516e-11, -4.810386865851387e-12,
] as const;

/** e^(x²)·erfc x·(1 + x/2) in t − 0.385…, t = 1/(1 + x/2), for x in 0.84…28. */
const erfcScaled = [
  0.43916265603670157, 0.565775521295009, 0.4970861429814881, 0.20845655909542957, -0.09702399566203077,
  -0.15031451200901502, 0.02872705272912169, 0.1128250643879741, -0.028851815631050364, -0.09643700261273719,
  0.054173351121140266, 0.07984508500204308, -0.09649073475484343, -0.039671932317053134, 0.1421611253350081,
  -0.04932661055326584, -0.15028232135092542, 0.19149001914242064, 0.05027658876011032, -0.314543734909295,
  0.17289958283165677, 0.2512630020614123, -0.27922971750648895,
] as const;

/** erfc u for u in 0.84…28, where `square(part)` gives −u² in two parts whose first is exact. */
function erfcLarge(b: Block, u: Expr, square: { readonly main: Expr; readonly rest: Expr }): Expr {
  const t = b.let("t", B.div(B.f64(1), B.add(B.mul(u, 0.5), 1)));
  const h = B.mul(t, plainPolynomial(b.let("d", B.sub(t, 0.3854460093896714)), erfcScaled));
  return B.mul(B.mul(B.math("exp", square.main), B.math("exp", square.rest)), h);
}

/** −scale·a² as an exact first part and the rest; scale is a power of two. */
function negatedSquare(b: Block, a: Expr, scale: number): { main: Expr; rest: Expr } {
  const top = b.let("top", upperPart(a));
  return {
    main: b.let("square", B.mul(B.mul(top, top), -scale)),
    rest: b.let("squareRest", B.mul(B.mul(B.sub(a, top), B.add(a, top)), -scale)),
  };
}

export function erf(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  b.if(B.lt(a, 0.84), () => {
    const z = b.let("z", B.mul(x, x));
    b.return(B.add(x, B.mul(x, plainPolynomial(z, erfSmall))));
  });
  returnIf(b, B.gt(a, 6), B.copysign(B.f64(1), x));
  b.return(B.copysign(B.sub(1, erfcLarge(b, a, negatedSquare(b, a, 1))), x));
}

/** x·Φ(x) with Φ(−a) = erfc(a/√2)/2, whose tail keeps its relative accuracy; −∞ ↦ −0, the limit. */
export function gelu(b: Block, x: Expr): void {
  const a = b.let("a", B.abs(x));
  const u = b.let("u", B.mul(a, Math.SQRT1_2));
  b.if(B.lt(u, 0.84), () => {
    const z = b.let("z", B.mul(u, u));
    const half = b.let("half", B.mul(B.add(u, B.mul(u, plainPolynomial(z, erfSmall))), 0.5));
    b.return(B.mul(x, B.add(B.copysign(half, x), 0.5)));
  });
  b.if(B.gt(a, 39.5), () => b.return(B.select(B.gt(x, 0), x, B.f64(-0))));
  returnIf(b, B.ne(x, x), x);
  const tail = b.let("tail", B.mul(erfcLarge(b, u, negatedSquare(b, a, 0.5)), 0.5));
  b.return(B.select(B.lt(x, 0), B.mul(x, tail), B.sub(x, B.mul(x, tail))));
}

/** Φ(x) + x·φ(x), within a few ulp of 1. */
export function geluGrad(b: Block, x: Expr): void {
  b.if(B.gt(B.abs(x), 39.5), () => b.return(B.select(B.gt(x, 0), B.f64(1), B.f64(0))));
  const normal = B.mul(B.add(B.math("erf", B.mul(x, Math.SQRT1_2)), 1), 0.5);
  const density = B.mul(B.math("exp", B.mul(B.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  b.return(B.add(normal, B.mul(x, density)));
}

/** lnΓ(x)/((x−1)(x−2)) around 1.5 and 2.5, and the correction of Stirling's series in 1/x². */
const lgammaLow = [
  0.4831289505409809, -0.14595989591430594, 0.06291140107456485, -0.03130848750105327, 0.01679709863121395,
  -0.009425622444829649, 0.005446457842219553, -0.0032120742206072908, 0.0019229162321227923, -0.001164411377219605,
  0.0007115202752051298, -0.00043803516132580534, 0.00027130273545114005, -0.0001685717945035172,
  0.00010541715222185904, -6.793733027397047e-5, 4.281642862794779e-5, -2.148770252062576e-5, 1.3584275459130943e-5,
  -1.8527803997032962e-5, 1.1820969445467145e-5,
] as const;
const lgammaHigh = [
  0.37957716063055885, -0.07466357415449941, 0.019905154304743208, -0.006018768527036914, 0.0019490574889463365,
  -0.0006586397065650056, 0.00022905363747507287, -8.130229408034726e-5, 2.929928312004998e-5, -1.0682259123883373e-5,
  3.9305860909127655e-6, -1.4575541733757617e-6, 5.436082854534496e-7, -2.015090104183497e-7, 7.585695078040205e-8,
  -3.385821013938236e-8, 1.2848137769988069e-8,
] as const;
const stirling = [
  0.08333333333333333, -0.002777777777773988, 0.0007936507897524059, -0.0005952365845057049, 0.0008414700852503147,
  -0.001890382993887715, 0.005065905360156132,
] as const;

/** ln|Γ(x)|: ∞ at 0, −1, −2, … and at ±∞. Near its zeros at negative x only the absolute error is small. */
export function lgamma(b: Block, x: Expr): void {
  returnIf(b, B.ne(x, x), x);
  const a = b.let("a", B.abs(x));
  returnIf(b, B.or(B.eq(a, Infinity), B.and(B.le(x, 0), B.eq(B.floor(x), x))), B.f64(Infinity));
  returnIf(b, B.lt(a, 2 ** -70), B.neg(B.math("log", a)));
  const value = b.mut("value", B.f64(0));
  // lnΓ(y) for y in 1…3 with Γ(y+1) = y·Γ(y); from a below 1, y − 1 = a is exact where y is not.
  const y = b.mut("y", a);
  const yMinus1 = b.mut("yMinus1", B.sub(a, 1));
  b.if(
    B.ge(a, 8),
    () => {
      const z = b.let("z", B.div(B.f64(1), a));
      const correction = B.add(B.mul(z, plainPolynomial(b.let("w", B.mul(z, z)), stirling)), 0.4189385332046727);
      b.assign(value, B.add(B.mul(B.sub(a, 0.5), B.sub(B.math("log", a), 1)), correction));
    },
    () => {
      b.if(
        B.lt(a, 1),
        () => {
          b.assign(value, B.neg(B.math("log", a)));
          b.assign(y, B.add(a, 1));
          b.assign(yMinus1, a);
        },
        () =>
          b.if(B.ge(a, 3), () => {
            const product = b.mut("factor", B.f64(1));
            b.while(B.ge(y, 3), () => {
              b.assign(y, B.sub(y, 1));
              b.assign(product, B.mul(product, y));
            });
            b.assign(value, B.math("log", product));
            b.assign(yMinus1, B.sub(y, 1));
          }),
      );
      const zeros = B.mul(yMinus1, B.sub(yMinus1, 1));
      b.if(
        B.lt(y, 2),
        () => b.assign(value, B.add(value, B.mul(zeros, plainPolynomial(b.let("d", B.sub(yMinus1, 0.5)), lgammaLow)))),
        () => b.assign(value, B.add(value, B.mul(zeros, plainPolynomial(b.let("d", B.sub(yMinus1, 1.5)), lgammaHigh)))),
      );
    },
  );
  b.if(B.lt(x, 0), () => {
    // Reflection: Γ(x)·Γ(−x) = −π/(x·sin πx), with the sine of the distance to the nearest integer.
    const distance = b.let("distance", B.abs(B.sub(a, B.nearest(a))));
    const sine = B.math("sin", B.mul(distance, Math.PI));
    b.return(B.sub(B.math("log", B.div(B.f64(Math.PI), B.mul(a, sine))), value));
  });
  b.return(value);
}

/** A third of the exponent as first guess, two steps of Halley's method, and one of Newton's on a rounded root. */
export function cbrt(b: Block, x: Expr): void {
  b.if(B.or(B.eq(x, 0), B.not(B.lt(B.abs(x), Infinity))), () => b.return(B.add(x, x)));
  // Scaled by powers of 2^54, so that neither the guess meets a subnormal nor the steps overflow.
  const small = b.let("small", B.lt(B.abs(x), 2 ** -1022));
  const large = b.let("large", B.gt(B.abs(x), 2 ** 1000));
  const either = (s: number, l: number) => B.select(small, B.f64(s), B.select(large, B.f64(l), B.f64(1)));
  const a = b.let("a", B.mul(B.abs(x), either(2 ** 54, 2 ** -54)));
  const third = B.binary("divU", bitsOf(a), B.i64(3));
  const t = b.mut("t", B.bitcast("f64", B.add(third, B.i64(715094163n << 32n))));
  for (let k = 0; k < 2; k++) {
    const cube = b.let("cube", B.mul(B.mul(t, t), t));
    b.assign(t, B.mul(t, B.div(B.add(cube, B.mul(a, 2)), B.add(B.mul(cube, 2), a))));
  }
  const rounded = B.and(B.add(bitsOf(t), B.i64(0x80000000n)), B.i64(0xffffffffc0000000n));
  const root = b.let("root", B.bitcast("f64", rounded));
  const r = b.let("r", B.div(a, B.mul(root, root)));
  const y = B.add(root, B.mul(root, B.div(B.sub(r, root), B.add(B.add(root, root), r))));
  b.return(B.copysign(B.mul(y, either(2 ** -18, 2 ** 18)), x));
}

/** Exact remainder of x/y with the sign of x, by long division of the significands. NaN for y = 0 and infinite x. */
export function fmod(b: Block, x: Expr, y: Expr): void {
  const [ax, ay] = [b.let("ax", B.abs(x)), b.let("ay", B.abs(y))];
  const invalid = B.or(B.or(B.eq(ay, 0), B.ne(y, y)), B.not(B.lt(ax, Infinity)));
  returnIf(b, invalid, B.f64(NaN));
  returnIf(b, B.lt(ax, ay), x);
  const significand = (v: Expr, name: string): { m: Expr; e: Expr } => {
    const bits = b.let(`${name}Bits`, bitsOf(v));
    const e = b.let(`${name}Exponent`, B.convert("i32.from_i64", B.shrU(bits, 52)));
    const shift = b.let(`${name}Shift`, B.sub(B.convert("i32.from_i64", B.unary("clz", bits)), 11));
    const normal = B.or(B.and(bits, B.i64(2n ** 52n - 1n)), B.i64(2n ** 52n));
    return {
      m: B.select(B.eq(e, 0), B.shl(bits, shift), normal),
      e: B.select(B.eq(e, 0), B.sub(1, shift), e),
    };
  };
  const sx = significand(ax, "x");
  const sy = significand(ay, "y");
  const m = b.mut("m", sx.m);
  const e = b.mut("e", sx.e);
  const divisor = b.let("divisor", sy.m);
  const last = b.let("last", sy.e);
  const subtractIfFits = () => b.assign(m, B.select(B.geS(m, divisor), B.sub(m, divisor), m));
  b.while(B.gtS(e, last), () => {
    subtractIfFits();
    b.assign(m, B.shl(m, 1));
    b.assign(e, B.sub(e, 1));
  });
  subtractIfFits();
  b.if(B.eq(m, B.i64(0)), () => b.return(B.copysign(B.f64(0), x)));
  const shift = b.let("shift", B.sub(B.convert("i32.from_i64", B.unary("clz", m)), 11));
  b.assign(m, B.shl(m, shift));
  b.assign(e, B.sub(e, shift));
  const normal = B.add(B.sub(m, B.i64(2n ** 52n)), B.shl(B.convert("i64.from_i32S", e), 52));
  const subnormal = B.shrU(m, B.sub(1, e));
  b.return(B.copysign(B.bitcast("f64", B.select(B.gtS(e, 0), normal, subnormal)), x));
}
