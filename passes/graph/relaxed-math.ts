/**
 * Algebra of real numbers that floats only nearly obey: it changes rounding, and is wrong for NaN, ∞ and −0. Opt-in: no pipeline
 * runs it unless asked. Integers go through `simplify`, where all of this is exact.
 */

import { isFloat } from "../../ir/dtype.js";
import { type GraphNode, isStaticShape, type Value } from "../../ir/graph.js";
import { add, div, log, mul, sqrt, sub } from "../../ir/ops/elementwise.js";
import { broadcast, reshape } from "../../ir/ops/movement.js";
import { sum } from "../../ir/ops/reduce.js";
import { elementCount, scalar } from "../../ir/tensor.js";
import { any, op, type Rule, rule, splat } from "../pattern.js";
import { rewritePass } from "../rewrite.js";
import { filled, isConstant, known, regroup, varies } from "../rules/build.js";

const float = (n: GraphNode): boolean => isFloat(n.results[0]!.type.dtype);
const number = (like: Value, value: number): Value => filled(scalar(like.type.dtype, value), like.type.shape);

const arithmetic: readonly Rule[] = [
  // x + 0 → x;  x − x → 0;  x · 0 → 0
  rule("relaxed-add-zero", op("add", [any("x"), splat("c", 0)]), ({ x }, n) => (float(n) ? x : undefined)),
  rule("relaxed-sub-self", op("sub", [any("x"), any("x")]), ({ x }, n) => (float(n) ? number(x, 0) : undefined)),
  rule("relaxed-mul-zero", op("mul", [any("x"), splat("c", 0)]), ({ x }, n) => (float(n) ? number(x, 0) : undefined)),
  // x / c → x · (1 / c)
  rule("relaxed-reciprocal", op("div", [any("x"), known("c")]), ({ x, c }, n) =>
    float(n) && !isConstant(x) ? mul([x, div([number(c, 1), c])]) : undefined,
  ),
  // (x + c) + d → x + (c + d);  (x − c) + d → x + (d − c);  (x · c) · d → x · (c · d)
  regroup("relaxed-add-add", "add", "add", ({ x, c, d }, n) => (float(n) ? add([x, add([c, d])]) : undefined)),
  regroup("relaxed-sub-add", "add", "sub", ({ x, c, d }, n) => (float(n) ? add([x, sub([d, c])]) : undefined)),
  regroup("relaxed-mul-mul", "mul", "mul", ({ x, c, d }, n) => (float(n) ? mul([x, mul([c, d])]) : undefined)),
  // (x + c) · d → x · d + c · d, so that scales meet: the product of constants is folded
  rule(
    "relaxed-distribute",
    op("mul", [op("add", [op("mul", [any("x", varies), known("s")]), known("c")]), known("d")]),
    ({ x, s, c, d }, n) => (float(n) ? add([mul([x, mul([s, d])]), mul([c, d])]) : undefined),
  ),
];

const functions: readonly Rule[] = [
  // x^½ → √x;  x^−½ → 1 / √x
  rule("relaxed-pow-root", op("pow", [any("x"), splat("c")]), ({ x, c }) => {
    if (c.value === 0.5) return sqrt([x]);
    return c.value === -0.5 ? div([number(x, 1), sqrt([x])]) : undefined;
  }),
  // log(eˣ) → x;  e^(log x) → x
  rule("relaxed-log-exp", op("log", [op("exp", [any("x")])]), ({ x }) => x),
  rule("relaxed-exp-log", op("exp", [op("log", [any("x")])]), ({ x }) => x),
  // log(x / y) of a softmax: log(eˣ / s) → x − log s
  rule("relaxed-log-softmax", op("log", [op("div", [op("exp", [any("x")]), any("s")])]), ({ x, s }) =>
    sub([x, log([s])]),
  ),
];

const sums: readonly Rule[] = [
  // Σ Σ x → Σ x
  rule("relaxed-sum-of-sum", op("sum", [op("sum", [any("x")], "inner")], "n"), ({ x, inner, n }) => {
    if (!float(n) || inner.attrs.keepDims || n.attrs.keepDims) return undefined;
    const left = x.type.shape.map((_, a) => a).filter((a) => !inner.attrs.axes.includes(a));
    const axes = [...inner.attrs.axes, ...n.attrs.axes.map((a) => left[a]!)].sort((a, b) => a - b);
    return sum([x], { axes, keepDims: false });
  }),
  // Σ broadcast(x) → x · n, over new axes
  rule("relaxed-sum-of-broadcast", op("sum", [op("broadcast", [any("x")], "b")], "n"), ({ x, b, n }) => {
    const { shape } = b.attrs;
    const repeated = n.attrs.axes.filter((a) => !b.attrs.axes.includes(a));
    const sizes = repeated.map((a) => shape[a]!);
    if (!float(n) || repeated.length === 0 || !isStaticShape(sizes)) return undefined;
    const left = shape.map((_, a) => a).filter((a) => !repeated.includes(a));
    const spread = broadcast([x], {
      shape: left.map((a) => shape[a]!),
      axes: b.attrs.axes.map((a) => left.indexOf(a)),
    });
    const axes = n.attrs.axes.filter((a) => !repeated.includes(a)).map((a) => left.indexOf(a));
    const scaled = mul([spread, number(spread, elementCount(sizes))]);
    const summed = axes.length === 0 ? scaled : sum([scaled], { axes, keepDims: false });
    return reshape([summed], { shape: n.results[0]!.type.shape });
  }),
];

export const relaxedMath = rewritePass("relaxed-math", [...arithmetic, ...functions, ...sums], true);
