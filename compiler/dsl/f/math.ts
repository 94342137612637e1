/** Functions of each element. */

import { reciprocal as inverse, rsqrt as inverseRoot, np, square as squared, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import * as ew from "../../../ir/ops/elementwise.js";
import { clamp } from "./arithmetic.js";
import { type Unary, unary } from "./lift.js";

/** −x. */
export const neg: Unary = unary(ew.neg);
/** |x|. */
export const abs: Unary = unary(ew.abs);
/** −1, 0 or 1. */
export const sign: Unary = unary(ew.sign);
/** Largest integer ≤ x. */
export const floor: Unary = unary(ew.floor);
/** Smallest integer ≥ x. */
export const ceil: Unary = unary(ew.ceil);
/** Integer part of x, towards 0. */
export const trunc: Unary = unary(ew.trunc);
/** Nearest integer, ties to even. */
export const round: Unary = unary(ew.round);
/** x − trunc(x). */
export const frac: Unary = (x) => np.sub(x, ew.trunc([x]));
/** x². */
export const square: Unary = squared;
/** √x. */
export const sqrt: Unary = unary(ew.sqrt);
/** 1 / √x. */
export const rsqrt: Unary = inverseRoot;
/** 1 / x. */
export const reciprocal: Unary = inverse;
/** eˣ. */
export const exp: Unary = unary(ew.exp);
/** 2ˣ. */
export const exp2: Unary = (x) => ew.exp([np.mul(x, Math.LN2)]);
/** eˣ − 1 without cancellation near 0. */
export const expm1: Unary = unary(ew.expm1);
/** Natural logarithm. */
export const log: Unary = unary(ew.log);
/** Logarithm to base 2. */
export const log2: Unary = (x) => np.mul(ew.log([x]), Math.LOG2E);
/** Logarithm to base 10. */
export const log10: Unary = (x) => np.mul(ew.log([x]), Math.LOG10E);
/** log(1 + x) without cancellation near 0. */
export const log1p: Unary = unary(ew.log1p);
/** x · log y, and 0 where x is 0. */
export function xlogy(x: Value, y: Value): Value {
  const zero = np.eq(x, 0);
  return where(zero, 0, np.mul(x, ew.log([where(zero, 1, y)])));
}
/** Sine of radians. */
export const sin: Unary = unary(ew.sin);
/** Cosine of radians. */
export const cos: Unary = unary(ew.cos);
/** Tangent of radians. */
export const tan: Unary = unary(ew.tan);
/** Inverse sine. */
export const asin: Unary = unary(ew.asin);
/** Inverse cosine. */
export const acos: Unary = unary(ew.acos);
/** Inverse tangent. */
export const atan: Unary = unary(ew.atan);
/** Hyperbolic sine. */
export const sinh: Unary = unary(ew.sinh);
/** Hyperbolic cosine. */
export const cosh: Unary = unary(ew.cosh);
/** Hyperbolic tangent. */
export const tanh: Unary = unary(ew.tanh);
/** Inverse hyperbolic sine. */
export const asinh: Unary = unary(ew.asinh);
/** Inverse hyperbolic cosine. */
export const acosh: Unary = unary(ew.acosh);
/** Inverse hyperbolic tangent. */
export const atanh: Unary = unary(ew.atanh);
/** Error function. */
export const erf: Unary = unary(ew.erf);
/** 1 − erf(x), which loses digits where x is large. */
export const erfc: Unary = (x) => np.sub(1, ew.erf([x]));
/** 1 / (1 + e⁻ˣ). */
export const sigmoid: Unary = unary(ew.sigmoid);
/** log(x / (1 − x)), with x limited to [eps, 1 − eps] where eps is given. */
export function logit(x: Value, eps?: number): Value {
  const p = eps === undefined ? x : clamp(x, eps, 1 - eps);
  return ew.log([np.div(p, np.sub(1, p))]);
}
/** Radians of degrees. */
export const deg2rad: Unary = (x) => np.mul(x, Math.PI / 180);
/** Degrees of radians. */
export const rad2deg: Unary = (x) => np.mul(x, 180 / Math.PI);
