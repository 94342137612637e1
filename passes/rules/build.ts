/** What rules build with, and the questions they ask of values. */

import { type Dim, dimBounds } from "../../ir/dim.js";
import type { Attrs, GraphNode, Shape, Value } from "../../ir/graph.js";
import { makeNode } from "../../ir/op.js";
import { constant } from "../../ir/ops/constant.js";
import { opOf } from "../../ir/ops/index.js";
import { broadcast } from "../../ir/ops/movement.js";
import type { Tensor } from "../../ir/tensor.js";
import { type Pattern, splatOf } from "../pattern.js";

/** A tensor of one element, repeated over a shape. */
export const filled = (element: Tensor, shape: Shape): Value => {
  const c = constant([], { value: element });
  return shape.length === 0 ? c : broadcast([c], { shape, axes: [] });
};

/** The node's op on other operands with other attributes. */
export const variant = (n: GraphNode, operands: readonly Value[], attrs: Attrs): readonly Value[] =>
  makeNode(opOf(n), operands, { ...(n.attrs as Attrs), ...attrs }, n.regions, n.loc).results;

/** Known at compile time, so that arithmetic on it will be folded. */
export const isConstant = (v: Value): boolean => v.def.op === "constant" || splatOf(v) !== undefined;

/** Known at compile time, directly or repeated along axes. */
export const isKnown = (v: Value): boolean =>
  isConstant(v) || (v.def.op === "broadcast" && v.def.operands[0]!.def.op === "constant");

/** A value known at compile time. */
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
