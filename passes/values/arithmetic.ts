/** Arithmetic on what is known of numbers. */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMul,
  dimNeg,
  dimScaled,
  dimSub,
} from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import {
  dimOf,
  type Fact,
  factOfDim,
  factOfDType,
  factOfNumber,
  factWithin,
  type Interval,
  isSafe,
  upperDim,
} from "./fact.js";
import {
  dimFits,
  dimOfExact,
  divide,
  float,
  fractionOf,
  integer,
  mostOf,
  type Rule,
  resultType,
  settled,
} from "./number.js";
import * as exact from "./ratio.js";

// ------------------------------------------------------------------------------------------------ arithmetic

// 0 · ∞ is 0 for bounds.
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

function corners(a: Interval, b: Interval, f: (x: number, y: number) => number): Interval {
  const all = [f(a.low, b.low), f(a.low, b.high), f(a.high, b.low), f(a.high, b.high)];
  return { low: Math.min(...all), high: Math.max(...all) };
}

/** ∞ − ∞ says nothing. */
const ordered = (low: number, high: number): Interval => ({
  low: Number.isNaN(low) ? -Infinity : low,
  high: Number.isNaN(high) ? Infinity : high,
});

interface Arithmetic {
  readonly fraction: (a: exact.Fraction, b: exact.Fraction) => exact.Fraction | undefined;
  readonly float: (a: number, b: number) => number;
  readonly interval: (a: Interval, b: Interval) => Interval;
  readonly most?: (a: Fact, b: Fact) => Dim | undefined;
}

const arithmetic =
  (d: Arithmetic): Rule =>
  ([a, b], n) => {
    const facts = [a!, b!];
    const [x, y] = facts.map(fractionOf);
    const fraction = x && y && d.fraction(x, y);
    const within = d.interval(a!, b!);
    const e = fraction && exact.exactOf(fraction);
    if (isFloat(resultType(n))) return float(n, facts, e, d.float, within);
    const whole = e === undefined || (typeof e === "object" && e.kind === "ratio") ? undefined : e;
    return integer(n, whole, within, d.most?.(a!, b!));
  };

const bothMost =
  (f: (a: Dim, b: Dim) => Dim) =>
  (a: Fact, b: Fact): Dim | undefined => {
    const [p, q] = [upperDim(a), upperDim(b)];
    return p === undefined || q === undefined ? undefined : f(p, q);
  };

export const add = arithmetic({
  fraction: exact.addFractions,
  float: (a, b) => a + b,
  interval: (a, b) => ordered(a.low + b.low, a.high + b.high),
  most: bothMost(dimAdd),
});

export const sub = arithmetic({
  fraction: (a, b) => exact.addFractions(a, exact.negated(b)),
  float: (a, b) => a - b,
  interval: (a, b) => ordered(a.low - b.high, a.high - b.low),
  most: (a, b) => {
    const p = upperDim(a);
    const least = dimOf(b) ?? (Number.isFinite(b.low) ? Math.ceil(b.low) : undefined);
    return p === undefined || least === undefined ? undefined : dimSub(p, least);
  },
});

const multiplication = arithmetic({
  fraction: exact.multiplyFractions,
  float: (a, b) => a * b,
  interval: (a, b) => corners(a, b, times),
  most: (a, b) => (a.low >= 0 && b.low >= 0 ? bothMost(dimMul)(a, b) : undefined),
});

/** ⌊size · factor⌋ as sizes of Resize are defined. */
function scaledFloor(a: Fact, b: Fact): Dim | undefined {
  const [size, factor] = typeof a.exact === "number" ? [dimOf(b), a.exact] : [dimOf(a), b.exact];
  return size !== undefined && typeof factor === "number" && factor > 0 && Math.fround(factor) === factor
    ? dimScaled(size, factor)
    : undefined;
}

export const mul: Rule = (facts, n) => {
  const zero = facts.some((f) => f.exact === 0 && f.computed === undefined);
  if (zero && !isFloat(resultType(n))) return factOfNumber(0);
  const made = multiplication(facts, n);
  const floor = resultType(n) === "f32" && made.computed ? scaledFloor(facts[0]!, facts[1]!) : undefined;
  return floor === undefined ? made : { ...made, computed: { ...made.computed!, floor } };
};

const floatDivision = arithmetic({
  fraction: exact.divideFractions,
  float: divide,
  interval: (a, b) =>
    b.low > 0 || b.high < 0
      ? corners(a, b, (x, y) => (Number.isFinite(y) ? x / y : 0))
      : { low: -Infinity, high: Infinity },
});

export const div: Rule = (facts, n) => {
  if (isFloat(resultType(n))) return floatDivision(facts, n);
  const [a, b] = facts as [Fact, Fact];
  const [x, y] = facts.map(fractionOf);
  const quotient = x && y && exact.divideFractions(x, y);
  // x / 0 is 0.
  const away = b.low > 0 || b.high < 0;
  const bounds = away ? corners(a, b, (p, q) => (Number.isFinite(q) ? Math.trunc(p / q) : 0)) : symmetric(a, b);
  const most =
    typeof b.exact === "number" && b.exact > 0 && a.low >= 0 && a.most !== undefined
      ? dimFloorDiv(a.most, b.exact)
      : undefined;
  return integer(n, quotient && exact.truncOf(quotient), bounds, most);
};

/** Bounds of a quotient by integers that may be of either sign. */
const symmetric = (a: Interval, b: Interval): Interval => {
  const most = Math.max(-a.low, a.high);
  return { low: a.low >= 0 && b.low >= 0 ? 0 : -most, high: most };
};

export const rem: Rule = ([a, b], n) => {
  const limit = Math.max(-b!.low, b!.high) - (isFloat(resultType(n)) ? 0 : 1);
  const within = {
    low: a!.low >= 0 ? 0 : Math.max(a!.low, -Math.max(limit, 0)),
    high: a!.high <= 0 ? 0 : Math.min(a!.high, Math.max(limit, 0)),
  };
  const [x, y] = [dimOf(a), dimOf(b)];
  const r = x !== undefined && y !== undefined && dimBounds(y).min > 0 ? exact.remainder(x, y) : undefined;
  if (isFloat(resultType(n))) return float(n, [a!, b!], r, (p, q) => p % q, within);
  return integer(n, r, within);
};

const MOST_POWER = 4;

export const pow: Rule = ([a, b], n) => {
  const e = b!.exact;
  if (typeof e === "number" && Number.isInteger(e) && e >= 1 && e <= MOST_POWER) {
    const x = fractionOf(a!);
    let product = x;
    for (let i = 1; i < e; i++) product = product && x && exact.multiplyFractions(product, x);
    const made = product && exact.exactOf(product);
    const even = e % 2 === 0;
    const ends = [a!.low ** e, a!.high ** e];
    const within = {
      low: even ? (a!.low <= 0 && a!.high >= 0 ? 0 : Math.min(...ends)) : ends[0]!,
      high: Math.max(...ends),
    };
    if (isFloat(resultType(n))) return float(n, [a!], made, (p) => p ** e, within);
    return integer(
      n,
      made !== undefined && (typeof made === "number" || made.kind === "dim") ? made : undefined,
      within,
    );
  }
  return factOfDType(resultType(n));
};

/** The largest integers, which no double holds exactly, are beyond every size. */
function extremeOf(dim: (a: Dim, b: Dim) => Dim, a: Dim, b: Dim): Dim {
  const [x, y] = typeof a === "number" ? [b, a] : [a, b];
  if (typeof x === "number" || typeof y !== "number" || isSafe(y)) return dim(a, b);
  return (dim === dimMin) === y > 0 ? x : y;
}

export const extreme =
  (dim: (a: Dim, b: Dim) => Dim, number: (a: number, b: number) => number): Rule =>
  ([a, b], n) => {
    const facts = [a!, b!];
    const [x, y] = facts.map(fractionOf);
    const within = { low: number(a!.low, b!.low), high: number(a!.high, b!.high) };
    if (isFloat(resultType(n))) {
      const fraction = x && y && { num: dim(dimMul(x.num, y.den), dimMul(y.num, x.den)), den: dimMul(x.den, y.den) };
      const same = x && y && dimEqual(x.den, y.den) ? { num: dim(x.num, y.num), den: x.den } : fraction;
      const made = float(n, facts, same && exact.exactOf(same), number, within);
      return made.exact === undefined ? { ...within, whole: a!.whole && b!.whole } : made;
    }
    const [p, q] = [upperDim(a!), upperDim(b!)];
    const [i, j] = [dimOf(a), dimOf(b)];
    const made = i === undefined || j === undefined ? undefined : extremeOf(dim, i, j);
    const most =
      dim === dimMin
        ? p === undefined || q === undefined
          ? (p ?? q)
          : dimMin(p, q)
        : p !== undefined && q !== undefined
          ? dimMax(p, q)
          : undefined;
    return made !== undefined && dimFits(made)
      ? factOfDim(made, within)
      : factWithin(within.low, within.high, true, most);
  };

// --------------------------------------------------------------------------------------------- of one number

export const neg: Rule = ([a], n) => {
  const x = fractionOf(a!);
  const e = x && exact.exactOf(exact.negated(x));
  const within = { low: -a!.high, high: -a!.low };
  if (isFloat(resultType(n))) return float(n, [a!], e, (p) => -p, within);
  return integer(n, dimOfExact(e), within);
};

export const abs: Rule = ([a], n) => {
  const x = fractionOf(a!);
  const e = x && exact.exactOf({ num: exact.dimAbs(x.num), den: x.den });
  const most = Math.max(-a!.low, a!.high);
  const within = { low: Math.max(0, a!.low, -a!.high), high: most };
  if (isFloat(resultType(n))) return { ...float(n, [a!], e, Math.abs, within) };
  if (a!.low >= 0) return a!;
  return integer(n, dimOfExact(e), within);
};

export const sign: Rule = ([a], n) => {
  const x = fractionOf(a!);
  const d = x && dimSub(exact.isPositive(x.num), exact.isPositive(dimNeg(x.num)));
  const within = { low: a!.low > 0 ? 1 : a!.low === 0 ? 0 : -1, high: a!.high < 0 ? -1 : a!.high === 0 ? 0 : 1 };
  const whole = settled([a!], d, Math.sign);
  if (isFloat(resultType(n))) return whole === undefined ? { ...within, whole: a!.whole } : factOfDim(whole, within);
  return integer(n, d, within);
};

/** A float rounded to an integer. */
export const rounding =
  (dim: (f: exact.Fraction) => Dim, number: (x: number) => number): Rule =>
  ([a]) => {
    if (a!.whole) return a!;
    const x = fractionOf(a!);
    const within = { low: number(a!.low), high: number(a!.high) };
    const d = (number === Math.floor ? a!.computed?.floor : undefined) ?? settled([a!], x && dim(x), number);
    if (d !== undefined) return factOfDim(d, within);
    return { ...within, whole: false, ...mostOf(a!) };
  };

/** Bounds alone, of a function that kernels may compute a little off. */
export const between =
  (low: number, high: number): Rule =>
  () => ({ low, high, whole: false });
