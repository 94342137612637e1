/** Broadcasts made small and moved late, so that work is done before elements are repeated. */

import { dimEqual } from "../../ir/dim.js";
import { type Shape, sameShape, type Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { spreadsLast, stretchOf } from "../../ir/infer.js";
import { elementwiseNames } from "../../ir/ops/classes.js";
import { broadcast, invertPermutation, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { any, type NodeNamed, node, op, type Rule, rule, splatOf } from "../pattern.js";
import { filled } from "./build.js";

type Broadcast = NodeNamed<"broadcast">;

const canonical: readonly Rule[] = [
  rule("broadcast-nothing", op("broadcast", [any("x")], "n"), ({ x, n }) =>
    sameShape(x.type.shape, n.attrs.shape) ? x : undefined,
  ),
  // What is laid out first stays small.
  rule("broadcast-of-broadcast", op("broadcast", [op("broadcast", [any("x")], "inner")], "n"), ({ x, inner, n }) =>
    spreadsLast(x.type.shape, inner.attrs)
      ? undefined
      : broadcast([x], { shape: n.attrs.shape, axes: inner.attrs.axes.map((a) => n.attrs.axes[a]!) }),
  ),
  // A broadcast that only adds axes of size 1 moves nothing.
  rule("broadcast-ones", op("broadcast", [any("x")], "n"), ({ x, n }) => {
    const { shape, axes } = n.attrs;
    const keeps =
      shape.every((d, a) => d === 1 || axes.includes(a)) &&
      sameShape(
        x.type.shape,
        axes.map((a) => shape[a]!),
      );
    return keeps ? reshape([x], { shape }) : undefined;
  }),
  // Axes of size 1 are dropped first, so that equal broadcasts look equal.
  rule("broadcast-of-ones", op("broadcast", [any("x")], "n"), ({ x, n }) => {
    const kept = x.type.shape.map((_, i) => i).filter((i) => x.type.shape[i] !== 1);
    if (kept.length === x.type.shape.length) return undefined;
    const dropped = reshape([x], { shape: kept.map((i) => x.type.shape[i]!) });
    return broadcast([dropped], { shape: n.attrs.shape, axes: kept.map((i) => n.attrs.axes[i]!) });
  }),
];

const after: readonly Rule[] = [
  // reshape(one value everywhere) → one value everywhere
  rule("reshape-of-splat", op("reshape", [node("broadcast", "b")], "n"), ({ b, n }) => {
    const source = b.operands[0]!;
    return source.type.shape.length === 0 ? broadcast([source], { shape: n.attrs.shape, axes: [] }) : undefined;
  }),
  // transpose(broadcast(x)) → broadcast(transpose(x))
  rule("transpose-of-broadcast", op("transpose", [op("broadcast", [any("x")], "b")], "n"), ({ x, b, n }) => {
    const place = invertPermutation(n.attrs.perm);
    const axes = b.attrs.axes.map((a) => place[a]!);
    const perm = axes.map((_, i) => i).sort((i, j) => axes[i]! - axes[j]!);
    return broadcast([transpose([x], { perm })], {
      shape: n.results[0]!.type.shape,
      axes: perm.map((i) => axes[i]!),
    });
  }),
  // slice(broadcast(x)) → broadcast(slice(x))
  rule("slice-of-broadcast", op("slice", [op("broadcast", [any("x")], "b")], "n"), ({ x, b, n }) => {
    const { axes } = b.attrs;
    const stretch = (i: number) => stretchOf(x.type.shape[i]!, b.attrs.shape[axes[i]!]!);
    const repeated = (i: number) => stretch(i) === "repeats";
    const isWhole = (a: number) => dimEqual(n.attrs.sizes[a]!, b.attrs.shape[a]!) && n.attrs.steps[a] === 1;
    if (axes.some((a, i) => stretch(i) === "either" && !isWhole(a))) return undefined;
    const size = (a: number, i: number) => (stretch(i) === "either" ? x.type.shape[i]! : n.attrs.sizes[a]!);
    const inner = slice([x], {
      starts: axes.map((a, i) => (repeated(i) ? 0 : n.attrs.starts[a]!)),
      sizes: axes.map((a, i) => (repeated(i) ? 1 : size(a, i))),
      steps: axes.map((a, i) => (repeated(i) ? 1 : n.attrs.steps[a]!)),
    });
    return broadcast([inner], { shape: n.attrs.sizes, axes });
  }),
];

/** The one broadcast that all operands have been through, splats aside. */
function commonBroadcast(operands: readonly Value[]): Broadcast | undefined {
  let common: Broadcast | undefined;
  for (const v of operands) {
    if (v.def.op === "broadcast" && v.def.operands[0]!.type.shape.length > 0) {
      const b = v.def;
      if (common !== undefined && !alike(common, b)) return undefined;
      common ??= b;
    } else if (v.def.op === "broadcast" && splatOf(v) === undefined) {
      // A scalar that is not constant: it can be spread over any inner shape.
    } else if (splatOf(v) === undefined) return undefined;
  }
  return common;
}

const alike = (a: Broadcast, b: Broadcast): boolean =>
  a.attrs.axes.length === b.attrs.axes.length &&
  a.attrs.axes.every((axis, i) => axis === b.attrs.axes[i]) &&
  sameShape(a.attrs.shape, b.attrs.shape) &&
  sameShape(a.operands[0]!.type.shape, b.operands[0]!.type.shape);

const sinking: readonly Rule[] = [
  // f(broadcast(x), broadcast(y), c) → broadcast(f(x, y, c))
  rule("broadcast-after-elementwise", node(elementwiseNames, "n"), ({ n }) => {
    const b = commonBroadcast(n.operands) ?? scalarBroadcast(n.operands);
    if (b === undefined) return undefined;
    const shape = b.operands[0]!.type.shape;
    const operands = n.operands.map((v) => before(v, shape));
    const inner = operands.every((v) => v !== undefined) ? remake(n, operands).results[0]! : undefined;
    return inner && broadcast([inner], { shape: n.results[0]!.type.shape, axes: b.attrs.axes });
  }),
];

/** A broadcast of a scalar, where all operands are such or splats. */
function scalarBroadcast(operands: readonly Value[]): Broadcast | undefined {
  const isScalar = (v: Value) => v.def.op === "broadcast" && v.def.operands[0]!.type.shape.length === 0;
  if (!operands.every((v) => isScalar(v) || splatOf(v) !== undefined)) return undefined;
  const found = operands.find(isScalar);
  return found?.def.op === "broadcast" ? found.def : undefined;
}

/** The operand as it is before the broadcast to its shape. */
function before(v: Value, shape: Shape): Value | undefined {
  if (v.def.op === "broadcast" && v.def.operands[0]!.type.shape.length === 0 && shape.length > 0) {
    return broadcast([v.def.operands[0]!], { shape, axes: [] });
  }
  if (v.def.op === "broadcast" && sameShape(v.def.operands[0]!.type.shape, shape)) return v.def.operands[0]!;
  const s = splatOf(v);
  return s && filled(s.tensor, shape);
}

export const broadcastRules: readonly Rule[] = [...canonical, ...after, ...sinking];
