/** Exact arithmetic on fractions of sizes. */

import {
  type Dim,
  type DimExpr,
  dimAdd,
  dimBounds,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimNeg,
  dimSub,
} from "../../ir/dim.js";
import type { Exact } from "./fact.js";

/** num / den with den > 0, not necessarily reduced. */
export interface Fraction {
  readonly num: Dim;
  readonly den: Dim;
}

/** Denominators of the fractions that constants are taken for. */
const MOST_DENOMINATOR = 4096;

/** p / q of small q that rounds to the float: what its author meant by 0.1f. */
function simpleFraction(x: number): Fraction | undefined {
  // Continued fraction of |x|.
  let [p0, q0, p, q] = [0, 1, 1, 0];
  let rest = Math.abs(x);
  for (let i = 0; i < 24; i++) {
    const whole = Math.floor(rest);
    [p0, q0, p, q] = [p, q, whole * p + p0, whole * q + q0];
    if (q > MOST_DENOMINATOR || !Number.isSafeInteger(p)) return undefined;
    const near = (Math.sign(x) * p) / q;
    if (near === x || Math.fround(near) === x) return { num: Math.sign(x) * p, den: q };
    if (rest === whole) return undefined;
    rest = 1 / (rest - whole);
  }
  return undefined;
}

/** The number as a fraction. Of a float that has no short one, the fraction that it is. */
export function fractionOf(e: Exact): Fraction | undefined {
  if (typeof e === "object") return e.kind === "ratio" ? e : { num: e, den: 1 };
  if (Number.isInteger(e)) return Number.isSafeInteger(e) ? { num: e, den: 1 } : undefined;
  if (!Number.isFinite(e)) return undefined;
  const simple = simpleFraction(e);
  if (simple) return simple;
  let den = 2;
  while (!Number.isInteger(e * den) && den < 2 ** 40) den *= 2;
  return Number.isSafeInteger(e * den) ? { num: e * den, den } : undefined;
}

function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** The largest integer that divides every coefficient. */
const contentOf = (d: Dim): number =>
  typeof d === "number" ? Math.abs(d) : d.terms.reduce((g, t) => gcd(g, t.coefficient), Math.abs(d.constant));

/** a / b where b divides it as an expression. */
export function exactQuotient(a: Dim, b: Dim): Dim | undefined {
  if (b === 0) return undefined;
  const q = dimFloorDiv(a, b);
  return dimEqual(dimMul(q, b), a) ? q : undefined;
}

const isExact = (d: Dim): boolean =>
  typeof d === "number"
    ? Number.isSafeInteger(d)
    : Number.isSafeInteger(d.constant) && d.terms.every((t) => Number.isSafeInteger(t.coefficient));

/** The fraction in lowest terms, as far as coefficients and common factors go. */
export function exactOf({ num, den }: Fraction): Exact | undefined {
  if (!isExact(num) || !isExact(den)) return undefined;
  if (num === 0) return 0;
  const common = gcd(contentOf(num), contentOf(den));
  const [n, d] = common > 1 ? [exactQuotient(num, common)!, exactQuotient(den, common)!] : [num, den];
  if (typeof n === "number" && typeof d === "number") return n / d;
  const whole = exactQuotient(n, d);
  if (whole !== undefined) return whole;
  const inverse = typeof n === "object" && dimBounds(n).min > 0 ? exactQuotient(d, n) : undefined;
  return inverse === undefined ? { kind: "ratio", num: n, den: d } : { kind: "ratio", num: 1, den: inverse };
}

export function addFractions(a: Fraction, b: Fraction): Fraction {
  if (dimEqual(a.den, b.den)) return { num: dimAdd(a.num, b.num), den: a.den };
  return { num: dimAdd(dimMul(a.num, b.den), dimMul(b.num, a.den)), den: dimMul(a.den, b.den) };
}

export const negated = (a: Fraction): Fraction => ({ num: dimNeg(a.num), den: a.den });

/** Common factors go first, so that a / b · b is a. */
export function multiplyFractions(a: Fraction, b: Fraction): Fraction {
  const p = exactOf({ num: a.num, den: b.den });
  const q = exactOf({ num: b.num, den: a.den });
  const [x, y] = [p === undefined ? undefined : fractionOf(p), q === undefined ? undefined : fractionOf(q)];
  if (!x || !y) return { num: dimMul(a.num, b.num), den: dimMul(a.den, b.den) };
  return { num: dimMul(x.num, y.num), den: dimMul(x.den, y.den) };
}

/** a / b; undefined where b may be 0 or of either sign. */
export function divideFractions(a: Fraction, b: Fraction): Fraction | undefined {
  const { min, max } = dimBounds(b.num);
  if (min > 0) return multiplyFractions(a, { num: b.den, den: b.num });
  if (max < 0) return multiplyFractions(negated(a), { num: b.den, den: dimNeg(b.num) });
  return undefined;
}

/** The sign of it is the sign of a − b. */
export const difference = (a: Fraction, b: Fraction): Dim =>
  dimEqual(a.den, b.den) ? dimSub(a.num, b.num) : dimSub(dimMul(a.num, b.den), dimMul(b.num, a.den));

// --------------------------------------------------------------------------------------------- integers of fractions

/** 1 where d > 0, else 0. */
export const isPositive = (d: Dim): Dim => dimMin(dimMax(d, 0), 1);

/** 1 where d = 0, else 0. */
export const isZero = (d: Dim): Dim => dimSub(1, dimMin(dimAbs(d), 1));

export const dimAbs = (d: Dim): Dim => {
  const { min, max } = dimBounds(d);
  return min >= 0 ? d : max <= 0 ? dimNeg(d) : dimMax(d, dimNeg(d));
};

export const floorOf = ({ num, den }: Fraction): Dim => dimFloorDiv(num, den);
export const ceilOf = ({ num, den }: Fraction): Dim => dimNeg(dimFloorDiv(dimNeg(num), den));

/** Towards 0. */
export function truncOf(f: Fraction): Dim {
  const { min, max } = dimBounds(f.num);
  if (min >= 0) return floorOf(f);
  if (max <= 0) return ceilOf(f);
  return dimSub(dimFloorDiv(dimMax(f.num, 0), f.den), dimFloorDiv(dimMax(dimNeg(f.num), 0), f.den));
}

/** To the nearest, ties to even. */
export function roundOf({ num, den }: Fraction): Dim {
  const doubled = dimMul(den, 2);
  const shifted = dimAdd(dimMul(num, 2), den);
  const up = dimFloorDiv(shifted, doubled);
  if (typeof den === "number" && den % 2 === 1) return up;
  const tie = isZero(dimMod(shifted, doubled));
  return dimSub(up, dimMul(tie, dimMod(up, 2)));
}

/** C's remainder, of the sign of a; b > 0. */
export function remainder(a: Dim, b: Dim): Dim {
  const { min, max } = dimBounds(a);
  if (min >= 0) return dimMod(a, b);
  if (max <= 0) return dimNeg(dimMod(dimNeg(a), b));
  return dimSub(dimMod(dimMax(a, 0), b), dimMod(dimMax(dimNeg(a), 0), b));
}

export const isSymbolic = (d: Dim): d is DimExpr => typeof d === "object";
