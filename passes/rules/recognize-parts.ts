/** Sums of parts that lie beside one another, as the gradients of slices are. */

import { type Dim, dimAdd, dimEqual, dimText } from "../../ir/dim.js";
import type { GraphNode, Value } from "../../ir/graph.js";
import { concat } from "../../ir/ops/movement.js";
import { type NodeNamed, node, type Rule, rule } from "../pattern.js";

type Pad = NodeNamed<"pad">;

/** The one axis along which zeros surround the operand. */
function paddedAxis(v: Value): number | undefined {
  const { def } = v;
  if (def.op !== "pad" || !Object.is(def.attrs.value, 0)) return undefined;
  const { low, high, interior } = def.attrs;
  if (interior.some((d) => d !== 0)) return undefined;
  const axes = low.flatMap((d, a) => (d === 0 && high[a] === 0 ? [] : [a]));
  return axes.length === 1 ? axes[0] : undefined;
}

/** Summands of a tree of additions, if all are padded along this axis. */
function partsOf(sum: GraphNode, axis: number): readonly Pad[] | undefined {
  const parts: Pad[] = [];
  const open: Value[] = [...sum.operands];
  for (let v = open.pop(); v !== undefined; v = open.pop()) {
    if (v.def.op === "add") open.push(...v.def.operands);
    else if (v.def.op === "pad" && paddedAxis(v) === axis) parts.push(v.def);
    else return undefined;
  }
  return parts;
}

/** The axis of any summand: all have the same, or the sum is none of parts. */
function firstAxis(sum: GraphNode): number | undefined {
  let v = sum.operands[0]!;
  while (v.def.op === "add") v = v.def.operands[0]!;
  return paddedAxis(v);
}

export const partRules: readonly Rule[] = [
  // pad(a, [0, 5]) + pad(b, [3, 0]) → concat(a, b), where a is 3 and b is 5 long. A part's −0 was +0 in the sum.
  rule("recognize-sum-of-parts", node(["add"], "n"), ({ n }) => {
    const axis = firstAxis(n);
    const parts = axis === undefined ? undefined : partsOf(n, axis);
    if (axis === undefined || parts === undefined) return undefined;
    const byStart = new Map(parts.map((p) => [dimText(p.attrs.low[axis]!), p]));
    if (byStart.size !== parts.length) return undefined;
    const ordered: Value[] = [];
    let at: Dim = 0;
    for (let p = byStart.get(dimText(at)); p !== undefined; p = byStart.get(dimText(at))) {
      byStart.delete(dimText(at));
      const x = p.operands[0]!;
      ordered.push(x);
      at = dimAdd(at, x.type.shape[axis]!);
    }
    const isWhole = byStart.size === 0 && dimEqual(at, n.results[0]!.type.shape[axis]!);
    return isWhole ? concat(ordered, { axis }) : undefined;
  }),
];
