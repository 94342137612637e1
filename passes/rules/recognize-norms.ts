/** Layer and RMS norm in the steps that exporters write. */

import { isFloat } from "../../ir/dtype.js";
import type { Value } from "../../ir/graph.js";
import { normalizeAxis } from "../../ir/infer.js";
import { div, mul } from "../../ir/ops/elementwise.js";
import { broadcast } from "../../ir/ops/movement.js";
import { layerNorm, rmsNorm } from "../../ir/ops/normalize.js";
import { scalar } from "../../ir/tensor.js";
import { any, node, op, type Rule, rule, splatOf } from "../pattern.js";
import { filled } from "./build.js";
import { isSplat, meanBy, repeated, squeezed, standsFor, trailingPart } from "./forms.js";

interface Root {
  /** What the root is taken of. */
  readonly of: Value;
  readonly inverse: boolean;
}

/** √v, 1 / √v, v^½ or v^−½. */
function rootForm(v: Value): Root | undefined {
  const { def } = squeezed(v);
  switch (def.op) {
    case "sqrt":
      return { of: squeezed(def.operands[0]!), inverse: false };
    case "pow": {
      const e = splatOf(def.operands[1]!)?.value;
      return e === 0.5 || e === -0.5 ? { of: squeezed(def.operands[0]!), inverse: e < 0 } : undefined;
    }
    case "div": {
      const [one, root] = def.operands as [Value, Value];
      const inner = isSplat(one, 1) ? rootForm(root) : undefined;
      return inner && { ...inner, inverse: !inner.inverse };
    }
    default:
      return undefined;
  }
}

/** The least ε whose reciprocal root is far from overflow. */
const leastEpsilon = 1e-30;

/** The ε and the axes of y / √(mean(y²) + ε). */
function rmsForm(
  y: Value,
  by: Value,
  divides: boolean,
): { readonly epsilon: number; readonly axis: number } | undefined {
  const spread = repeated(by);
  const root = spread && rootForm(spread.inner);
  if (root === undefined || root.inverse === divides || root.of.def.op !== "add") return undefined;
  const epsilon = splatOf(root.of.def.operands[1]!)?.value;
  const mean = meanBy(root.of.def.operands[0]!);
  const square = mean?.x.def;
  const isSquare =
    square?.op === "mul"
      ? square.operands.every((v) => v === y)
      : square?.op === "pow" && square.operands[0] === y && isSplat(square.operands[1]!, 2);
  const { shape } = y.type;
  if (!isSquare || epsilon === undefined || !(epsilon >= 0) || !standsFor(spread!.axes, shape, mean!.axes))
    return undefined;
  const axis = shape.length - mean!.axes.length;
  return mean!.axes.every((a, i) => a === axis + i) ? { epsilon, axis } : undefined;
}

/** x where c is x − mean(x) over the axes from `axis` on. */
function centredForm(c: Value, axis: number): Value | undefined {
  if (c.def.op !== "sub") return undefined;
  const [x, by] = c.def.operands as [Value, Value];
  const spread = repeated(by);
  const mean = spread && meanBy(spread.inner);
  const axes = x.type.shape.map((_, a) => a).slice(axis);
  const fits = mean?.x === x && mean.axes.join() === axes.join() && standsFor(spread!.axes, x.type.shape, axes);
  return fits ? x : undefined;
}

export const normRules: readonly Rule[] = [
  // (x − mean x) / √(mean (x − mean x)² + ε) → layerNorm(x);  x / √(mean x² + ε) → rmsNorm(x)
  rule("recognize-norm", node(["div", "mul"], "n"), ({ n }) => {
    const [y, by] = n.operands as [Value, Value];
    if (!isFloat(y.type.dtype)) return undefined;
    const attrs = rmsForm(y, by, n.op === "div");
    if (attrs === undefined) return undefined;
    const x = centredForm(y, attrs.axis);
    return x === undefined ? rmsNorm([y], attrs) : layerNorm([x], attrs);
  }),
  // layerNorm(x) · s → layerNorm(x, s), and for rmsNorm
  rule("recognize-norm-scale", node("mul", "n"), ({ n }) => {
    for (const [y, s] of [n.operands, n.operands.toReversed()] as [Value, Value][]) {
      const { def } = y;
      if ((def.op !== "layerNorm" && def.op !== "rmsNorm") || def.operands.length > 1 || splatOf(s)) continue;
      const scale = trailingPart(s, normalizeAxis(def.attrs.axis, s.type.shape.length));
      if (scale !== undefined)
        return (def.op === "layerNorm" ? layerNorm : rmsNorm)([def.operands[0]!, scale], def.attrs);
    }
    return undefined;
  }),
  // layerNorm(x, s) + b → layerNorm(x, s, b)
  rule("recognize-norm-bias", node("add", "n"), ({ n }) => {
    for (const [y, b] of [n.operands, n.operands.toReversed()] as [Value, Value][]) {
      const { def } = y;
      if (def.op !== "layerNorm" || def.operands.length !== 2 || splatOf(b)) continue;
      const bias = trailingPart(b, normalizeAxis(def.attrs.axis, b.type.shape.length));
      if (bias !== undefined) return layerNorm([...def.operands, bias], def.attrs);
    }
    return undefined;
  }),
  // x / √(v + ε) → x · (1 / √(v + ε)), the root repeated: one division a root
  rule("recognize-root-divisor", op("div", [any("x"), any("by")]), ({ x, by }) => {
    const root = by.def.op === "broadcast" ? by.def.operands[0]! : by;
    const { def } = squeezed(root);
    if (by.def.op !== "broadcast" || def.op !== "sqrt" || def.operands[0]!.def.op !== "add") return undefined;
    const epsilon = splatOf(def.operands[0]!.def.operands[1]!);
    if (epsilon === undefined || epsilon.value < leastEpsilon || !isFloat(x.type.dtype)) return undefined;
    const one = filled(scalar(x.type.dtype, 1), root.type.shape);
    return mul([x, broadcast([div([one, root])], by.def.attrs)]);
  }),
];
