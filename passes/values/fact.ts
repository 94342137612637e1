/** What is known of one number that a program computes: a constant, an expression over sizes, or bounds. */

import { type Dim, type DimEnv, type DimExpr, type DimSymbol, dimBounds, dimEqual, dimMax } from "../../ir/dim.js";
import { type DType, dtypeInfo, isInt } from "../../ir/dtype.js";

/** num / den of sizes; den > 0 for all of them, and neither divides the other. */
export interface Ratio {
  readonly kind: "ratio";
  readonly num: Dim;
  readonly den: Dim;
}

/** Numbers hold integers, floats and bools alike; integers beyond ±2⁵³ are near, not exact (see `isSafe`). */
export type Exact = number | DimExpr | Ratio;

/** A number as the program computes it where floats may round on the way. */
export interface Computed {
  readonly at: (sizes: DimEnv) => number;
  readonly symbols: ReadonlyMap<string, DimSymbol>;
  /** Operations that `at` takes. */
  readonly cost: number;
  /** The whole part below it, where an expression says just what floats make of it. */
  readonly floor?: Dim;
}

/** What holds of a number, or of every element of a tensor. */
export interface Fact {
  /** The number itself; where `computed` stands beside it, but for the rounding of floats. */
  readonly exact?: Exact;
  readonly computed?: Computed;
  /** Unless it is NaN it lies in [low, high]. */
  readonly low: number;
  readonly high: number;
  /** It is not NaN and has no fraction. */
  readonly whole: boolean;
  /** A size that it does not exceed, where that says more than `high`. */
  readonly most?: Dim;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** What a dtype says. */
export function factOfDType(dtype: DType): Fact {
  if (dtype === "bool") return { low: 0, high: 1, whole: true };
  if (!isInt(dtype)) return { low: -Infinity, high: Infinity, whole: dtypeInfo[dtype].kind === "int" };
  return { ...limitsOf(dtype), whole: true };
}

/** Smallest and largest value of an integer type, as doubles. */
export function limitsOf(dtype: DType): Interval {
  const { bits, signed } = dtypeInfo[dtype];
  return signed ? { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1 } : { low: 0, high: 2 ** bits - 1 };
}

export function factOfNumber(x: number): Fact {
  return Number.isNaN(x)
    ? { exact: x, low: 0, high: 0, whole: false }
    : { exact: x, low: x, high: x, whole: Number.isInteger(x) };
}

/** Longer expressions cost more than they tell. */
const MOST_TEXT = 600;

export const isShort = (d: Dim): boolean => typeof d === "number" || d.key.length <= MOST_TEXT;

/** A size. `within`: what else is known of it. */
export function factOfDim(d: Dim, within: Interval = { low: -Infinity, high: Infinity }): Fact {
  if (typeof d === "number") return factOfNumber(d);
  const { min, max } = dimBounds(d);
  const fact = { low: Math.max(min, within.low), high: Math.min(max, within.high), whole: true };
  return isShort(d) ? { ...fact, exact: d } : fact;
}

/** A number in an interval. */
export const factWithin = (low: number, high: number, whole: boolean, most?: Dim): Fact =>
  most === undefined || typeof most === "number" || !isShort(most)
    ? { low, high: typeof most === "number" ? Math.min(high, most) : high, whole }
    : { low, high, whole, most };

/** Whether a number is an integer that doubles hold exactly, or a float. */
export const isSafe = (x: number): boolean => !Number.isInteger(x) || Number.isSafeInteger(x);

/** The number as an integer expression, where it is one without doubt. */
export function dimOf(f: Fact | undefined): Dim | undefined {
  const { exact } = f ?? {};
  if (typeof exact === "number") return Number.isInteger(exact) ? exact : undefined;
  return exact?.kind === "dim" && f!.computed === undefined ? exact : undefined;
}

/** A size that the number does not exceed. */
export function upperDim(f: Fact): Dim | undefined {
  return dimOf(f) ?? f.most ?? (Number.isFinite(f.high) ? Math.floor(f.high) : undefined);
}

export function sameExact(a: Exact, b: Exact): boolean {
  if (typeof a === "number" || typeof b === "number") return Object.is(a, b);
  if (a.kind === "ratio" || b.kind === "ratio")
    return (
      a.kind === b.kind && a.kind === "ratio" && dimEqual(a.num, (b as Ratio).num) && dimEqual(a.den, (b as Ratio).den)
    );
  return dimEqual(a, b);
}

/** What holds of both. */
export function hull(a: Fact, b: Fact): Fact {
  if (a === b) return a;
  const same = a.exact !== undefined && b.exact !== undefined && sameExact(a.exact, b.exact);
  if (same && a.computed === b.computed) return a;
  const [low, high, whole] = [Math.min(a.low, b.low), Math.max(a.high, b.high), a.whole && b.whole];
  if (Number.isFinite(high)) return { low, high, whole };
  const [p, q] = [upperDim(a), upperDim(b)];
  return p === undefined || q === undefined ? { low, high, whole } : factWithin(low, high, whole, dimMax(p, q));
}

export const hullOf = (facts: readonly Fact[]): Fact =>
  facts.length === 0 ? { low: 0, high: 0, whole: true } : facts.reduce(hull);

/** Whole numbers up to here are exact in f32, and so are the sums of them that stay below. */
export const MOST_EXACT = 2 ** 24;
