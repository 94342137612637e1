/** What elementwise ops make of what is known of their operands. */

import { dimMax, dimMin } from "../../ir/dim.js";
import { type DType, isFloat, isInt, roundFloat } from "../../ir/dtype.js";
import type { Attrs, GraphNode } from "../../ir/graph.js";
import type { ElementwiseName } from "../../ir/ops/classes.js";
import { opOf } from "../../ir/ops/index.js";
import { roundHalfEven } from "../../ir/special.js";
import { element, tensorFrom } from "../../ir/tensor.js";
import { abs, add, between, div, extreme, mul, neg, pow, rem, rounding, sign, sub } from "./arithmetic.js";
import { dimOf, type Fact, factOfDim, factOfDType, factOfNumber, isSafe, limitsOf, MOST_EXACT } from "./fact.js";
import { and, compare, complement, nan, not, or, select, shift, truth, xor } from "./logic.js";
import { float, fractionOf, integer, isLinear, mostOf, operandType, type Rule, resultType, settled } from "./number.js";
import * as exact from "./ratio.js";

/** The result where every operand is a number: what the reference says. */
function ofNumbers(facts: readonly Fact[], n: GraphNode): Fact | undefined {
  const numbers: number[] = [];
  for (const { exact: e, computed } of facts) {
    if (typeof e !== "number" || computed !== undefined) return undefined;
    numbers.push(e);
  }
  const facts_ = opOf(n);
  const integers = n.operands.every((v) => isInt(v.type.dtype));
  if (facts_.kind !== "primitive" || (integers && !numbers.every(isSafe))) return undefined;
  const results = facts_.reference(
    n.operands.map((v, i) => tensorFrom(v.type.dtype, [], [numbers[i]!])),
    {
      attrs: n.attrs as Attrs,
      types: [{ dtype: resultType(n), shape: [] }],
      regions: [],
      run: () => [],
      dim: (d) => d as number,
      bind: () => {},
    },
  );
  const made = Array.isArray(results) ? results[0] : results;
  return factOfNumber(element(made, 0));
}

// ----------------------------------------------------------------------------------------------------- casts

const cast: Rule = ([a], n) => {
  const to = resultType(n);
  const from = operandType(n);
  if (to === from) return a!;
  if (to === "bool")
    return isFloat(from) && a!.exact === undefined && !a!.whole
      ? truth(undefined)
      : not(compare("eq", a!, factOfNumber(0)));
  if (isInt(to)) {
    if (isFloat(from)) return truncated(a!, to);
    const limits = limitsOf(to);
    if (from === "bool" || (a!.low >= limits.low && a!.high <= limits.high)) return a!;
    const d = dimOf(a);
    return typeof d === "object" ? integer(n, d, a!, a!.most) : factOfDType(to);
  }
  if (!isFloat(to)) return factOfDType(to);
  if (isFloat(from)) {
    if (a!.whole && Math.max(-a!.low, a!.high) <= MOST_EXACT && (to === "f32" || to === "f64")) return a!;
    return float(n, [a!], a!.exact, (x) => x, a!);
  }
  if (to === "f16" || to === "bf16" || (to === "f32" && a!.exact !== undefined && !isLinear(a!.exact)))
    return float(n, [a!], a!.exact, (x) => x, a!);
  const bound = Math.max(-a!.low, a!.high);
  if (a!.exact === undefined && bound > MOST_EXACT)
    return {
      low: roundFloat(to, a!.low),
      high: roundFloat(to, a!.high),
      whole: false,
      ...(a!.most === undefined ? {} : { most: a!.most }),
    };
  return typeof a!.exact === "number" && !isSafe(a!.exact) ? factOfNumber(roundFloat(to, a!.exact)) : a!;
};

/** A float as an integer: NaN is 0, numbers beyond the type are its ends. */
function truncated(a: Fact, to: DType): Fact {
  const { low, high } = limitsOf(to);
  const limit = (x: number): number => Math.min(Math.max(Math.trunc(x), low), high);
  const x = fractionOf(a);
  const floor = a.low >= 0 ? a.computed?.floor : undefined;
  const d = a.whole ? dimOf(a) : (floor ?? settled([a], x && exact.truncOf(x), Math.trunc));
  const within = { low: limit(a.low), high: limit(a.high) };
  if (typeof d === "object" && (a.low >= low || a.low === -Infinity) && (a.high <= high || a.high === Infinity))
    return factOfDim(d, within);
  const known = a.whole || a.exact !== undefined;
  const [from, to_] = known ? [within.low, within.high] : [Math.min(within.low, 0), Math.max(within.high, 0)];
  return { low: from, high: to_, whole: true, ...mostOf(a) };
}

const unknown: Rule = (_, n) => factOfDType(resultType(n));

const rules: { readonly [N in ElementwiseName]: Rule } = {
  add,
  sub,
  mul,
  div,
  rem,
  pow,
  min: extreme(dimMin, Math.min),
  max: extreme(dimMax, Math.max),
  atan2: between(-3.2, 3.2),
  neg,
  abs,
  sign,
  floor: rounding(exact.floorOf, Math.floor),
  ceil: rounding(exact.ceilOf, Math.ceil),
  trunc: rounding(exact.truncOf, Math.trunc),
  round: rounding(exact.roundOf, roundHalfEven),
  sqrt: between(-0, Infinity),
  exp: between(0, Infinity),
  expm1: between(-1, Infinity),
  log: unknown,
  log1p: unknown,
  sin: between(-1, 1),
  cos: between(-1, 1),
  tan: unknown,
  asin: between(-1.6, 1.6),
  acos: between(0, 3.2),
  atan: between(-1.6, 1.6),
  sinh: unknown,
  cosh: between(1, Infinity),
  tanh: between(-1, 1),
  asinh: unknown,
  acosh: between(0, Infinity),
  atanh: unknown,
  erf: between(-1, 1),
  sigmoid: between(0, 1),
  geluExact: between(-0.2, Infinity),
  geluExactGrad: between(-0.2, 1.2),
  eq: ([a, b]) => (nan(a!, b!) ? factOfNumber(0) : compare("eq", a!, b!)),
  ne: ([a, b]) => (nan(a!, b!) ? factOfNumber(1) : not(compare("eq", a!, b!))),
  lt: ([a, b]) => (nan(a!, b!) ? factOfNumber(0) : compare("lt", a!, b!)),
  le: ([a, b]) => (nan(a!, b!) ? factOfNumber(0) : compare("le", a!, b!)),
  gt: ([a, b]) => (nan(a!, b!) ? factOfNumber(0) : compare("lt", b!, a!)),
  ge: ([a, b]) => (nan(a!, b!) ? factOfNumber(0) : compare("le", b!, a!)),
  select,
  and,
  or,
  xor,
  not: complement,
  shiftLeft: shift(true),
  shiftRight: shift(false),
  cast,
  bitcast: unknown,
};

/** A fact of a result element of facts of the operands' elements at its place. */
export function elementwiseFact(n: GraphNode & { readonly op: ElementwiseName }, facts: readonly Fact[]): Fact {
  return ofNumbers(facts, n) ?? rules[n.op](facts, n);
}
