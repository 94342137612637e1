/** Activation functions in the steps that exporters write. */

import { isFloat } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { gelu, hardSwish, softplus } from "../../ir/ops/activation.js";
import { div, mul, sigmoid } from "../../ir/ops/elementwise.js";
import { scalar } from "../../ir/tensor.js";
import { any, node, op, type Rule, rule, splat } from "../pattern.js";
import { filled } from "./build.js";
import { isNear, isPolynomial, isSplat, polynomial, productForms } from "./forms.js";

/** v where f is 1 + op(v). */
function onePlus(name: "erf" | "tanh", f: Value): Value | undefined {
  if (f.def.op !== "add" || !isSplat(f.def.operands[1]!, 1)) return undefined;
  const inner = f.def.operands[0]!.def;
  return inner.op === name ? inner.operands[0]! : undefined;
}

const tanhSlope = Math.sqrt(2 / Math.PI);

/** x where f is min(max(x + 3, 0), 6). */
const isRelu6Of3 = (f: Value, x: Value): boolean => {
  const { def } = f;
  if (def.op !== "min" || !isSplat(def.operands[1]!, 6)) return false;
  const low = def.operands[0]!.def;
  if (low.op !== "max" || !isSplat(low.operands[1]!, 0)) return false;
  return isPolynomial(polynomial(low.operands[0]!, x), [3, 1]);
};

export const activationRules: readonly Rule[] = [
  rule("recognize-activation", node(["mul", "div"], "n"), ({ n }) => {
    const y = n.results[0]!;
    if (!isFloat(y.type.dtype)) return undefined;
    for (const { c, x, f } of productForms(y)) {
      // ½x(1 + erf(x / √2)) → gelu(x)
      const e = onePlus("erf", f);
      if (e && isNear(c, 0.5) && isPolynomial(polynomial(e, x), [0, Math.SQRT1_2]))
        return gelu([x], { approximate: "none" });
      // ½x(1 + tanh(√(2/π)(x + 0.044715x³))) → gelu(x) by tanh
      const t = onePlus("tanh", f);
      if (t && isNear(c, 0.5) && isPolynomial(polynomial(t, x), [0, tanhSlope, 0, 0.044715 * tanhSlope])) {
        return gelu([x], { approximate: "tanh" });
      }
      // x · min(max(x + 3, 0), 6) / 6 → hardSwish(x)
      if (isNear(c, 1 / 6) && isRelu6Of3(f, x)) return hardSwish([x]);
    }
    return undefined;
  }),
  // log(eˣ + 1) → softplus(x), which does not overflow
  rule("recognize-softplus", op("log", [op("add", [op("exp", [any("x")]), splat("c", 1)])]), ({ x }) =>
    softplus([x], { beta: 1 }),
  ),
  // 1 / (e^−x + 1) → sigmoid(x)
  rule(
    "recognize-sigmoid",
    op("div", [splat("a", 1), op("add", [op("exp", [op("neg", [any("x")])]), splat("b", 1)])]),
    ({ x }) => sigmoid([x]),
  ),
  // x³ → x · x · x;  x⁴ → (x · x)²;  x⁻¹ → 1 / x;  x⁻² → 1 / x².   A power is far slower.
  rule("recognize-whole-power", op("pow", [any("x"), splat("c")]), ({ x, c }) => {
    if (!isFloat(x.type.dtype)) return undefined;
    const square = mul([x, x]);
    const one = filled(scalar(x.type.dtype, 1), x.type.shape);
    switch (c.value) {
      case 3:
        return mul([square, x]);
      case 4:
        return mul([square, square]);
      case -1:
        return div([one, x]);
      case -2:
        return div([one, square]);
      default:
        return undefined;
    }
  }),
];
