/** Comparison, selection, logic and bits of what is known of numbers. */

import {
  type Dim,
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
import { dtypeInfo } from "../../ir/dtype.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { compute, isComputed } from "./computed.js";
import { dimOf, type Fact, factOfDim, factOfDType, factOfNumber, factWithin, hull, limitsOf } from "./fact.js";
import { dimFits, fractionOf, integer, isPowerOfTwo, type Rule, resultType } from "./number.js";
import * as exact from "./ratio.js";

// ----------------------------------------------------------------------------------------- comparison and logic

/** A truth that is `d`, 0 or 1, where that is known. */
export const truth = (d: Dim | undefined): Fact =>
  d !== undefined && dimFits(d) ? factOfDim(d, { low: 0, high: 1 }) : factWithin(0, 1, true);

type Relation = "lt" | "le" | "eq";

/** 1, 0, or an expression that is one of them. */
function relation(kind: Relation, d: Dim): Dim {
  const { min, max } = dimBounds(d);
  switch (kind) {
    case "lt":
      return max < 0 ? 1 : min >= 0 ? 0 : exact.isPositive(dimNeg(d));
    case "le":
      return max <= 0 ? 1 : min > 0 ? 0 : exact.isPositive(dimSub(1, d));
    case "eq":
      return min === 0 && max === 0 ? 1 : min > 0 || max < 0 ? 0 : exact.isZero(d);
  }
}

/** By bounds alone. */
function decided(kind: Relation, a: Fact, b: Fact): boolean | undefined {
  switch (kind) {
    case "lt":
      return a.high < b.low && isNumber(a, b) ? true : a.low >= b.high ? false : undefined;
    case "le":
      return a.high <= b.low && isNumber(a, b) ? true : a.low > b.high ? false : undefined;
    case "eq":
      return a.low > b.high || b.low > a.high ? false : undefined;
  }
}

/** NaN compares false; of integers there is none. */
const isNumber = (a: Fact, b: Fact): boolean => a.whole && b.whole;

const holds: Readonly<Record<Relation, (a: number, b: number) => number>> = {
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  eq: (a, b) => Number(a === b),
};

export function compare(kind: Relation, a: Fact, b: Fact): Fact {
  const sure = decided(kind, a, b);
  if (sure !== undefined) return factOfNumber(Number(sure));
  const [x, y] = [fractionOf(a), fractionOf(b)];
  if (x === undefined || y === undefined) {
    // The largest integers are far from any size.
    return truth(undefined);
  }
  const d = relation(kind, exact.difference(x, y));
  if (a.computed === undefined && b.computed === undefined) return truth(d);
  const computed = compute([a, b], holds[kind]);
  return truth(computed !== undefined && isComputed(d, computed) ? d : undefined);
}

export const not = (f: Fact): Fact => {
  const d = dimOf(f);
  return truth(d === undefined ? undefined : dimSub(1, d));
};

export const nan = (...facts: readonly Fact[]): boolean =>
  facts.some((f) => typeof f.exact === "number" && Number.isNaN(f.exact));

const isTrue = (f: Fact): boolean => f.exact === 1;
const isFalse = (f: Fact): boolean => f.exact === 0;

/** Bits that hold both bounds. */
const bitsOf = (...facts: readonly Fact[]): number => {
  const most = Math.max(...facts.map((f) => f.high));
  return Number.isFinite(most) ? 2 ** Math.ceil(Math.log2(most + 1)) - 1 : Infinity;
};

/** x & (2ᵏ − 1) and x & −2ᵏ are a remainder and what it leaves. */
function masked(x: Dim, mask: number): Dim | undefined {
  if (mask >= 0 && isPowerOfTwo(mask + 1)) return dimMod(x, mask + 1);
  if (mask < 0 && isPowerOfTwo(-mask)) return dimSub(x, dimMod(x, -mask));
  return undefined;
}

export const and: Rule = ([a, b], n) => {
  const [x, y] = [dimOf(a), dimOf(b)];
  if (resultType(n) === "bool") {
    if (isFalse(a!) || isFalse(b!)) return factOfNumber(0);
    if (isTrue(a!)) return b!;
    if (isTrue(b!)) return a!;
    return truth(x === undefined || y === undefined ? undefined : dimMin(x, y));
  }
  const d =
    typeof y === "number" && x !== undefined
      ? masked(x, y)
      : typeof x === "number" && y !== undefined
        ? masked(y, x)
        : undefined;
  // A number that is not negative limits the result.
  const limits = [a!, b!].filter((f) => f.low >= 0).map((f) => f.high);
  if (limits.length === 0) return integer(n, d, limitsOf(resultType(n)));
  return d === undefined
    ? factWithin(0, Math.min(...limits), true)
    : integer(n, d, { low: 0, high: Math.min(...limits) });
};

export const or: Rule = ([a, b], n) => {
  const [x, y] = [dimOf(a), dimOf(b)];
  if (resultType(n) === "bool") {
    if (isTrue(a!) || isTrue(b!)) return factOfNumber(1);
    if (isFalse(a!)) return b!;
    if (isFalse(b!)) return a!;
    return truth(x === undefined || y === undefined ? undefined : dimMax(x, y));
  }
  if (a!.low >= 0 && b!.low >= 0)
    return factWithin(Math.max(a!.low, b!.low), Math.min(bitsOf(a!, b!), limitsOf(resultType(n)).high), true);
  return factOfDType(resultType(n));
};

export const xor: Rule = ([a, b], n) => {
  const [x, y] = [dimOf(a), dimOf(b)];
  if (resultType(n) === "bool") {
    if (isFalse(a!)) return b!;
    if (isFalse(b!)) return a!;
    if (isTrue(a!)) return not(b!);
    if (isTrue(b!)) return not(a!);
    return truth(x === undefined || y === undefined ? undefined : exact.dimAbs(dimSub(x, y)));
  }
  if (a!.low >= 0 && b!.low >= 0) return factWithin(0, Math.min(bitsOf(a!, b!), limitsOf(resultType(n)).high), true);
  return factOfDType(resultType(n));
};

export const complement: Rule = ([a], n) => {
  if (resultType(n) === "bool") return not(a!);
  const d = dimOf(a);
  const { signed } = dtypeInfo[resultType(n)];
  return signed
    ? integer(n, d === undefined ? undefined : dimSub(-1, d), { low: -1 - a!.high, high: -1 - a!.low })
    : factOfDType(resultType(n));
};

/** x · 2ᵏ, or ⌊x / 2ᵏ⌋. */
export const shift =
  (left: boolean): Rule =>
  ([a, b], n) => {
    const k = b!.exact;
    const { bits } = dtypeInfo[resultType(n)];
    if (typeof k !== "number" || k < 0 || k >= Math.min(bits, 53)) {
      if (!left && a!.low >= 0) return factWithin(0, a!.high, true);
      return factOfDType(resultType(n));
    }
    const d = dimOf(a);
    const by = 2 ** k;
    if (left) return integer(n, d === undefined ? undefined : dimMul(d, by), { low: a!.low * by, high: a!.high * by });
    return integer(n, d === undefined ? undefined : dimFloorDiv(d, by), {
      low: Math.floor(a!.low / by),
      high: Math.floor(a!.high / by),
    });
  };

/**
 * The operands (a, b) of Python's remainder as import writes it,
 * `select(((a rem b) < 0 ⊕ b < 0) ∧ (a rem b) ≠ 0, (a rem b) + b, a rem b)`.
 */
export function floorModOf(n: GraphNode): readonly [Value, Value] | undefined {
  const [condition, shifted, r] = n.operands as [Value, Value, Value];
  if (r.def.op !== "rem" || shifted.def.op !== "add" || condition.def.op !== "and") return undefined;
  const [a, b] = r.def.operands as [Value, Value];
  if (shifted.def.operands[0] !== r || shifted.def.operands[1] !== b) return undefined;
  const [differs, nonZero] = condition.def.operands as [Value, Value];
  if (differs.def.op !== "xor" || nonZero.def.op !== "ne" || nonZero.def.operands[0] !== r) return undefined;
  const signs = differs.def.operands.map((v) => (v.def.op === "lt" ? v.def.operands[0] : undefined));
  return signs[0] === r && signs[1] === b ? [a, b] : undefined;
}

/** a − b · ⌊a / b⌋ */
export function floorMod([a, b]: readonly [Fact, Fact], n: GraphNode): Fact {
  const [x, y] = [dimOf(a), dimOf(b)];
  if (typeof x === "number" && typeof y === "number") return factOfNumber(y === 0 ? 0 : x - y * Math.floor(x / y));
  const known = x !== undefined && y !== undefined && dimBounds(y).min > 0;
  const within = b.low > 0 ? { low: 0, high: b.high - 1 } : { low: Math.min(b.low, 0), high: Math.max(b.high, 0) };
  return integer(n, known ? dimMod(x, y) : undefined, b.low === 0 && b.high === 0 ? { low: 0, high: 0 } : within);
}

export const select: Rule = ([c, a, b]) => {
  if (isTrue(c!)) return a!;
  if (isFalse(c!)) return b!;
  const either = hull(a!, b!);
  const [i, x, y] = [dimOf(c), dimOf(a), dimOf(b)];
  if (i === undefined || x === undefined || y === undefined) return either;
  const d = chosen(i, x, y);
  return dimFits(d) ? factOfDim(d, either) : either;
};

/** x where the truth i is 1, else y. */
function chosen(i: Dim, x: Dim, y: Dim): Dim {
  if (dimEqual(x, y)) return x;
  // select(p < q, p, q) is the smaller, select(p < q, q, p) the larger; so it is with ≤.
  const gap = dimSub(y, x);
  for (const strict of [0, 1]) {
    if (dimEqual(i, relation("lt", dimSub(dimNeg(gap), strict)))) return dimMin(x, y);
    if (dimEqual(i, relation("lt", dimSub(gap, strict)))) return dimMax(x, y);
  }
  return dimAdd(y, dimMul(i, dimSub(x, y)));
}
