/** Identities of arithmetic. Each holds bit for bit, NaN, ±∞ and −0 included; those of integers hold for wrapping. */

import { isFloat, isSigned } from "../../ir/dtype.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { cast } from "../../ir/ops/cast.js";
import { abs, add, div, max, min, mul, neg, sub } from "../../ir/ops/elementwise.js";
import { ge, gt, le, lt } from "../../ir/ops/logic.js";
import { roundTo, scalar } from "../../ir/tensor.js";
import { any, node, op, type Rule, rule, splat } from "../pattern.js";
import { filled, isConstant, isConstantExpression, known, regroup } from "./build.js";

const onFloat = (n: GraphNode): boolean => isFloat(n.operands[0]!.type.dtype);
/** The value where elements are integers or bools. */
const exactly = (n: GraphNode, v: Value): Value | undefined => (onFloat(n) ? undefined : v);
const zeroLike = (v: Value): Value => filled(scalar(v.type.dtype, 0), v.type.shape);

const commutative = ["add", "mul", "min", "max", "eq", "ne", "and", "or", "xor"] as const;
const mirrored = { lt: gt, gt: lt, le: ge, ge: le };

/** What stands on the right: constants, what is computed from them, broadcasts, all else. */
const rank = (v: Value): number => (isConstant(v) ? 3 : isConstantExpression(v) ? 2 : v.def.op === "broadcast" ? 1 : 0);

/** Constants on the right, where the other rules look for them; broadcasts too, where epilogues are looked for. */
const order: readonly Rule[] = [
  // c ∘ x → x ∘ c;  broadcast(b) ∘ x → x ∘ broadcast(b)
  rule("constant-right", node(commutative, "n"), ({ n }) => {
    const [a, b] = n.operands as [Value, Value];
    return rank(a) > rank(b) ? remake(n, [b, a]).results : undefined;
  }),
  // c < x → x > c
  rule("compare-constant-right", op(["lt", "le", "gt", "ge"], [known("c"), any("x")], "n"), ({ c, x, n }) =>
    isConstant(x) ? undefined : mirrored[n.op]([x, c]),
  ),
];

const additive: readonly Rule[] = [
  // x + −0 → x;  integers: x + 0 → x.   (−0 + 0 is 0, so x + 0 stays for floats.)
  rule("add-zero", op("add", [any("x"), splat("c")]), ({ x, c }, n) =>
    c.value === 0 && (!onFloat(n) || Object.is(c.value, -0)) ? x : undefined,
  ),
  // x − 0 → x
  rule("sub-zero", op("sub", [any("x"), splat("c", 0)]), ({ x }) => x),
  // integers: x − x → 0
  rule("sub-self", op("sub", [any("x"), any("x")]), ({ x }, n) => (onFloat(n) ? undefined : zeroLike(x))),
  // x + (−y) → x − y;  (−x) + y → y − x;  x − (−y) → x + y
  rule("add-neg", op("add", [any("x"), op("neg", [any("y")])]), ({ x, y }) => sub([x, y])),
  rule("neg-add", op("add", [op("neg", [any("x")]), any("y")]), ({ x, y }) => sub([y, x])),
  rule("sub-neg", op("sub", [any("x"), op("neg", [any("y")])]), ({ x, y }) => add([x, y])),
];

/** The exact reciprocal of a power of two, if the dtype has it. */
function reciprocal(v: Value, c: number): number | undefined {
  const exponent = Math.log2(Math.abs(c));
  const r = 1 / c;
  const exact = Number.isInteger(exponent) && 2 ** exponent === Math.abs(c) && Number.isFinite(r);
  return exact && roundTo(v.type.dtype, r) === r ? r : undefined;
}

const multiplicative: readonly Rule[] = [
  // x · 1 → x;  x / 1 → x
  rule("mul-one", op(["mul", "div"], [any("x"), splat("c", 1)]), ({ x }) => x),
  // x · −1 → −x;  x / −1 → −x.   (Both wrap alike for the smallest integer. Unsigned types have no −1.)
  rule("mul-minus-one", op(["mul", "div"], [any("x"), splat("c", -1)]), ({ x }) => neg([x])),
  // integers: x · 0 → 0
  rule("mul-zero", op("mul", [any("x"), splat("c", 0)]), ({ x }, n) => exactly(n, zeroLike(x))),
  // (−x) · (−y) → x · y;  (−x) / (−y) → x / y for floats
  rule("mul-neg-neg", op("mul", [op("neg", [any("x")]), op("neg", [any("y")])]), ({ x, y }) => mul([x, y])),
  rule("div-neg-neg", op("div", [op("neg", [any("x")]), op("neg", [any("y")])]), ({ x, y }, n) =>
    onFloat(n) ? div([x, y]) : undefined,
  ),
  // floats: x / 2ᵏ → x · 2⁻ᵏ
  rule("div-power-of-two", op("div", [any("x"), splat("c")]), ({ x, c }, n) => {
    const r = onFloat(n) ? reciprocal(x, c.value) : undefined;
    return r === undefined ? undefined : mul([x, filled(scalar(x.type.dtype, r), x.type.shape)]);
  }),
  // x¹ → x;  x⁰ → 1;  x² → x · x.   (NaN⁰ is 1. f64 squares may differ in the last place from a power within `pow`'s accuracy.)
  rule("pow-constant", op("pow", [any("x"), splat("c")]), ({ x, c }) => {
    if (c.value === 1) return x;
    if (c.value === 0) return filled(scalar(x.type.dtype, 1), x.type.shape);
    return c.value === 2 ? mul([x, x]) : undefined;
  }),
];

const rounded = ["floor", "ceil", "trunc", "round", "sign"] as const;

const unary: readonly Rule[] = [
  // −(−x) → x;  |−x| → |x| (unsigned types wrap instead);  ||x|| → |x|
  rule("neg-neg", op("neg", [op("neg", [any("x")])]), ({ x }) => x),
  rule("abs-neg", op("abs", [op("neg", [any("x")])]), ({ x }) => (isSigned(x.type.dtype) ? abs([x]) : undefined)),
  rule("abs-abs", op("abs", [op("abs", [any("x")], "inner")]), ({ inner }) => inner.results),
  // ⌊⌈x⌉⌋ → ⌈x⌉ and the like: what is a whole number stays
  rule("round-whole", op(["floor", "ceil", "trunc", "round"], [node(rounded, "inner")]), ({ inner }) => inner.results),
  rule("round-integer", op(["floor", "ceil", "trunc", "round"], [op("cast", [any("x")], "inner")]), ({ x, inner }) =>
    onFloat(inner) || x.type.dtype.startsWith("f") ? undefined : inner.results,
  ),
];

const extremes: readonly Rule[] = [
  // max(x, x) → x;  x ∧ x → x
  rule("idempotent", op(["min", "max", "and", "or"], [any("x"), any("x")]), ({ x }) => x),
  // max(x, −∞) → x;  min(x, ∞) → x
  rule("max-lowest", op("max", [any("x"), splat("c", -Infinity)]), ({ x }) => x),
  rule("min-highest", op("min", [any("x"), splat("c", Infinity)]), ({ x }) => x),
  // max(max(x, c), d) → max(x, max(c, d))
  regroup("max-max", "max", "max", ({ x, c, d }) => max([x, max([c, d])])),
  regroup("min-min", "min", "min", ({ x, c, d }) => min([x, min([c, d])])),
  // max(cast t x, c) → cast t max(x, c), t a narrower float, which has c: rounding keeps the order of numbers
  rule("extreme-of-rounded", op(["max", "min"], [op("cast", [any("x")], "t"), splat("c")], "n"), ({ x, t, c, n }) => {
    const { to } = t.attrs;
    if (x.type.dtype !== "f32" || (to !== "f16" && to !== "bf16")) return undefined;
    return cast(remake(n, [x, filled(scalar("f32", c.value), x.type.shape)]).results, { to });
  }),
  // integers and bools: (x ∘ c) ∘ d → x ∘ (c ∘ d)
  ...(["add", "mul", "and", "or", "xor"] as const).map((name) =>
    regroup(`associate-${name}`, name, name, ({ x, c, d }, n) =>
      exactly(n, remake(n, [x, remake(n, [c, d]).results[0]!]).results[0]!),
    ),
  ),
  // integers: (x − c) + d → x + (d − c);  (x − c) − d → x − (c + d);  (x + c) − d → x + (c − d)
  regroup("associate-sub-add", "add", "sub", ({ x, c, d }, n) => exactly(n, add([x, sub([d, c])]))),
  regroup("associate-sub-sub", "sub", "sub", ({ x, c, d }, n) => exactly(n, sub([x, add([c, d])]))),
  regroup("associate-add-sub", "sub", "add", ({ x, c, d }, n) => exactly(n, add([x, sub([c, d])]))),
];

export const arithmeticRules: readonly Rule[] = [...order, ...additive, ...multiplicative, ...unary, ...extremes];
