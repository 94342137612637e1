/** Facts of integers and floats of a dtype: integers wrap, floats round. */

import { type Dim, dimAdd, dimBounds } from "../../ir/dim.js";
import { type DType, dtypeInfo, isFloat, roundFloat } from "../../ir/dtype.js";
import type { GraphNode } from "../../ir/graph.js";
import { compute, isComputed } from "./computed.js";
import {
  type Exact,
  type Fact,
  factOfDim,
  factOfDType,
  factOfNumber,
  factWithin,
  type Interval,
  isShort,
  limitsOf,
  MOST_EXACT,
} from "./fact.js";
import * as exact from "./ratio.js";

/** A fact of one result element of facts of the operands' elements. */
export type Rule = (facts: readonly Fact[], n: GraphNode) => Fact;

export const resultType = (n: GraphNode): DType => n.results[0]!.type.dtype;
export const operandType = (n: GraphNode): DType => n.operands[0]!.type.dtype;

/** An integer that is `d`, if that is known, and lies in the interval, unless it wraps. */
export function integer(n: GraphNode, d: Dim | undefined, within: Interval, most?: Dim): Fact {
  const dtype = resultType(n);
  const { low, high } = limitsOf(dtype);
  const { bits, signed } = dtypeInfo[dtype];
  // Sizes that no memory holds do not count: an expression without bounds does not wrap 32 bits.
  const unbounded = bits >= 32;
  if (d !== undefined) {
    const { min, max } = dimBounds(d);
    const fits =
      (min >= low || (unbounded && signed && min === -Infinity)) && (max <= high || (unbounded && max === Infinity));
    const limits = { low: Math.max(within.low, low), high: Math.min(within.high, high) };
    if (fits && isShort(d)) return factOfDim(d, limits);
  }
  // Doubles of 64 bits are too coarse at the ends.
  const inside = bits === 64 ? within.low > low && within.high < high : within.low >= low && within.high <= high;
  return inside ? factWithin(within.low, within.high, true, most) : factOfDType(dtype);
}

export const isPowerOfTwo = (x: number): boolean => Number.isInteger(Math.log2(x));

/** A float that is `e` but for rounding. */
export function float(
  n: GraphNode,
  facts: readonly Fact[],
  e: Exact | undefined,
  f: (...x: number[]) => number,
  within: Interval,
): Fact {
  const dtype = resultType(n);
  const round = (x: number): number => (isFloat(dtype) ? roundFloat(dtype, x) : x);
  // Rounding keeps order.
  const [low, high] = [round(within.low), round(within.high)];
  const bound = Math.max(-low, high);
  const small = (dtype === "f32" || dtype === "f64") && bound <= MOST_EXACT;
  if (e === undefined || typeof e === "number") {
    if (typeof e === "number" && facts.every((x) => x.computed === undefined && isPlain(x.exact!)))
      return factOfNumber(round(e));
    return { low, high, whole: small && facts.every((x) => x.whole) && f !== divide };
  }
  const dyadic = e.kind === "dim" || (typeof e.den === "number" && isPowerOfTwo(e.den) && e.den <= 4096);
  const holds = dtype === "f64" || (dtype === "f32" && isLinear(e));
  const plain = dyadic && holds && facts.every((x) => x.computed === undefined && isPlain(x.exact!));
  const computed = plain ? undefined : compute(facts, (...x) => round(f(...x)));
  if (!plain && computed === undefined) return { low, high, whole: false };
  if (e.kind === "dim" && !dimFits(e)) return { low, high, whole: false };
  const bounds = e.kind === "dim" ? dimBounds(e) : undefined;
  return {
    exact: e,
    low: computed === undefined && bounds ? Math.max(low, bounds.min) : low,
    high: computed === undefined && bounds ? Math.min(high, bounds.max) : high,
    whole: plain && e.kind === "dim",
    ...(computed ? { computed } : {}),
  };
}

/** Whether no sizes are multiplied: such numbers are taken to be ones that f32 holds. */
export const isLinear = (e: Exact): boolean =>
  typeof e === "number" ||
  (e.kind === "ratio"
    ? isLinear(e.num as Exact) && isLinear(e.den as Exact)
    : e.terms.every((t) => t.atoms.length === 1));

export const dimFits = (d: Dim): boolean => factOfDim(d).exact !== undefined;

/** Whether floats hold the number as the fraction that it is taken for. */
export function isPlain(e: Exact): boolean {
  if (typeof e !== "number") return true;
  const f = exact.fractionOf(e);
  return f !== undefined && typeof f.den === "number" && isPowerOfTwo(f.den) && f.den <= 4096;
}

export const fractionOf = (f: Fact): exact.Fraction | undefined =>
  f.exact === undefined ? undefined : exact.fractionOf(f.exact);

/** The integer `d` of an argument, where it is that as computed; else what lies in the interval. */
export function settled(facts: readonly Fact[], d: Dim | undefined, f: (...x: number[]) => number): Dim | undefined {
  if (d === undefined || !dimFits(d)) return undefined;
  if (facts.every((x) => x.computed === undefined)) return d;
  const computed = compute(facts, f);
  return computed !== undefined && isComputed(d, computed) ? d : undefined;
}

export const divide = (a: number, b: number): number => a / b;

export const dimOfExact = (e: Exact | undefined): Dim | undefined =>
  typeof e === "number" ? (Number.isInteger(e) ? e : undefined) : e?.kind === "dim" ? e : undefined;

/** What the number, rounded to an integer, does not exceed. */
export const mostOf = (f: Fact): { readonly most?: Dim } => {
  if (f.most !== undefined) return { most: f.most };
  const x = fractionOf(f);
  // Rounding may carry it over.
  const above = x && dimAdd(exact.ceilOf(x), f.computed === undefined ? 0 : 1);
  return above === undefined || !dimFits(above) ? {} : { most: above };
};
