/** What rules build with, and the questions they ask of values. */

import { type Dim, dimBounds } from "../../ir/dim.js";
import type { Attrs, GraphNode, Shape, Value } from "../../ir/graph.js";
import { makeNode } from "../../ir/op.js";
import { constant } from "../../ir/ops/constant.js";
import { type OpName, opOf } from "../../ir/ops/index.js";
import { broadcast } from "../../ir/ops/movement.js";
import type { Tensor } from "../../ir/tensor.js";
import { any, op, type Pattern, type Rule, rule, splatOf } from "../pattern.js";

/** A tensor of one element, repeated over a shape. */
export const filled = (element: Tensor, shape: Shape): Value => {
  const c = constant([], { value: element });
  return shape.length === 0 ? c : broadcast([c], { shape, axes: [] });
};

/** The node's op on other operands with other attributes. */
export const variant = (n: GraphNode, operands: readonly Value[], attrs: Attrs): readonly Value[] =>
  makeNode(opOf(n), operands, { ...(n.attrs as Attrs), ...attrs }, n.regions, n.loc).results;

/** A constant, directly or spread, reshaped or moved from one element. */
export const isConstant = (v: Value): boolean => v.def.op === "constant" || splatOf(v) !== undefined;

const constantExpressions = new WeakMap<GraphNode, boolean>();

/** Computed from constants alone, by any ops: no run needs to compute it. */
export function isConstantExpression({ def: root }: Value): boolean {
  if (root.op === "param") return false;
  const stack = [{ node: root, next: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const { node } = top;
    const decided = constantExpressions.get(node) ?? leafKind(node);
    const operand = decided === undefined ? node.operands[top.next]?.def : undefined;
    if (decided === undefined && operand !== undefined) {
      const known = operand.op === "param" ? false : constantExpressions.get(operand);
      if (known === undefined) stack.push({ node: operand as GraphNode, next: 0 });
      else if (known) top.next++;
      else constantExpressions.set(node, false);
      continue;
    }
    constantExpressions.set(node, decided ?? true);
    stack.pop();
  }
  return constantExpressions.get(root)!;
}

/** What a node is whose operands don't decide it. */
function leafKind(n: GraphNode): boolean | undefined {
  if (n.op === "constant") return true;
  return n.operands.length === 0 || n.regions.length > 0 ? false : undefined;
}

/** Computed in a run. */
export const varies = (v: Value): boolean => !isConstantExpression(v);

/**
 * (x inner c) outer d → what `build` makes of x and of c and d combined, so that the combination is folded. Applies where c and d
 * are constant expressions and x is none, and there replaces two ops that a run computes by one: that number falls with each
 * firing, so such rules end, whatever they make of one another's results. Trees of constants are left to `fold-constants`.
 */
export const regroup = (
  name: string,
  outer: OpName,
  inner: OpName,
  build: (bound: { readonly x: Value; readonly c: Value; readonly d: Value }, n: GraphNode) => Value | undefined,
): Rule =>
  rule(
    name,
    op(outer, [op(inner, [any("x", varies), any("c", isConstantExpression)]), any("d", isConstantExpression)]),
    build,
  );

/** A constant. */
export const known = <K extends string>(name: K): Pattern<{ readonly [k in K]: Value }> => ({
  match: (v, into) => {
    if (!isConstant(v)) return false;
    into.set(name, v);
    return true;
  },
});

/** Provably d ≥ 0 for all values of the symbols. */
export const isNonNegative = (d: Dim): boolean => dimBounds(d).min >= 0;

export const increasing = (list: readonly number[]): boolean => list.every((v, i) => i === 0 || v > list[i - 1]!);
