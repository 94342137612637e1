/**
 * Limits of numbers move behind their rounding, scaling and shifting, where two of them become one: a quantisation limits what an
 * activation has limited already. Rounding, and what is rounded of a sum or of a quotient, never decreases where its argument grows, so
 * the limits may be rounded instead; that holds for NaN, ±∞ and both zeros. With c, d and s > 0 constant, and max standing for min too:
 *
 *   round(max(x, c)) → max(round(x), round(c))
 *   max(x, c) / s → max(x / s, c / s)        where x is a multiple of integers: then the two factors become one (`fold-scales`)
 *   max(x, c) + d → max(x + d, c + d)        where x is rounded
 *   max(min(max(x, c), d), e) → min(max(x, max(c, e)), d)        e ≤ d
 */

import { isInt } from "../../ir/dtype.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { roundHalfEven } from "../../ir/special.js";
import { roundTo, scalar } from "../../ir/tensor.js";
import { any, op, type Rule, rule, type Splat, splat, splatOf } from "../pattern.js";
import { filled, isConstantExpression } from "./build.js";

const extremes = ["max", "min"] as const;
const roundings = ["round", "floor", "ceil", "trunc"] as const;
const rounded: { readonly [N in (typeof roundings)[number]]: (x: number) => number } = {
  round: roundHalfEven,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
};

const isF32 = (v: Value): boolean => v.type.dtype === "f32";

/** The value under its limits. */
function unlimited(v: Value): Value {
  let at = v;
  while ((at.def.op === "max" || at.def.op === "min") && splatOf(at.def.operands[1]!)) at = at.def.operands[0]!;
  return at;
}

/** A number of integers, times or by a constant. */
function isScaledInteger(v: Value): boolean {
  const { def } = v;
  if (def.op !== "mul" && def.op !== "div") return false;
  const [x, c] = def.operands;
  return x!.def.op === "cast" && isInt(x!.def.operands[0]!.type.dtype) && isConstantExpression(c!);
}

/** x limited by c, as `n` limits. */
const limited = (n: GraphNode, x: Value, c: number): Value =>
  remake(n, [x, filled(scalar(x.type.dtype, c), x.type.shape)]).results[0]!;

/** a > b, where 0 > −0. */
const isAbove = (a: number, b: number): boolean => a > b || (a === b && Object.is(b, -0) && Object.is(a, 0));

const isOrdered = (c: Splat): boolean => !Number.isNaN(c.value);

export const clampRules: readonly Rule[] = [
  rule("round-limited", op(roundings, [op(extremes, [any("x", isF32), splat("c")], "m")], "n"), ({ x, c, m, n }) =>
    isOrdered(c) ? limited(m, remake(n, [x]).results[0]!, rounded[n.op](c.value)) : undefined,
  ),
  rule(
    "scale-limited",
    op(["div", "mul"], [op(extremes, [any("x", isF32), splat("c")], "m"), splat("s")], "n"),
    ({ x, c, s, m, n }) => {
      const isScale = s.value > 0 && Number.isFinite(s.value) && isOrdered(c) && Number.isFinite(c.value);
      if (!isScale || !isScaledInteger(unlimited(x))) return undefined;
      const by = n.operands[1]!;
      return limited(
        m,
        remake(n, [x, by]).results[0]!,
        roundTo("f32", n.op === "div" ? c.value / s.value : c.value * s.value),
      );
    },
  ),
  rule(
    "shift-limited",
    op("add", [op(extremes, [any("x", isF32), splat("c")], "m"), splat("d")], "n"),
    ({ x, c, d, m, n }) => {
      const isShift = Number.isFinite(d.value) && d.value !== 0 && Number.isFinite(c.value);
      if (!isShift || !(roundings as readonly string[]).includes(unlimited(x).def.op)) return undefined;
      return limited(m, remake(n, [x, n.operands[1]!]).results[0]!, roundTo("f32", c.value + d.value));
    },
  ),
  rule(
    "limit-limited",
    op("max", [op("min", [op("max", [any("x", isF32), splat("c")], "low"), splat("d")], "high"), splat("e")], "n"),
    ({ x, c, d, e, low, high }) => {
      if (![c, d, e].every(isOrdered) || isAbove(e.value, d.value) || isAbove(c.value, d.value)) return undefined;
      return limited(high, limited(low, x, isAbove(e.value, c.value) ? e.value : c.value), d.value);
    },
  ),
];
