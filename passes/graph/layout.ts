/**
 * Channels-last inside: convolutions and pools read and write images as [N, spatial…, C], which is how their kernels run.
 * Transposes appear around each of them, sink through elementwise ops and reductions, and cancel where two meet; what is left
 * stands at the graph's edges.
 */

import type { Attrs, GraphNode, Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { makeNode } from "../../ir/op.js";
import { elementwiseNames, reduceNames } from "../../ir/ops/classes.js";
import { opOf } from "../../ir/ops/index.js";
import { broadcast, invertPermutation, reshape, transpose } from "../../ir/ops/movement.js";
import { any, node, op, type Rule, rule, splatOf } from "../pattern.js";
import { type RewritePass, rewritePass } from "../rewrite.js";
import { filled } from "../rules/build.js";
import { transposeRules } from "../rules/movement.js";

const images = [
  "conv",
  "convInputGrad",
  "convWeightGrad",
  "maxPool",
  "maxPoolGrad",
  "maxPoolGather",
  "windowSum",
  "windowSumGrad",
] as const;

/** The node's op on other operands with other attributes. */
const variant = (n: GraphNode, operands: readonly Value[], attrs: Attrs): readonly Value[] =>
  makeNode(opOf(n), operands, { ...(n.attrs as Attrs), ...attrs }, n.regions, n.loc).results;

/** [N, C, spatial…] → [N, spatial…, C]; weights [O, C, k…] → [O, k…, C] alike. */
const toLast = (v: Value): Value => {
  const rank = v.type.shape.length;
  return transpose([v], { perm: [0, ...Array.from({ length: rank - 2 }, (_, a) => a + 2), 1] });
};

const toFirst = (v: Value): Value => {
  const rank = v.type.shape.length;
  return transpose([v], { perm: [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, a) => a + 1)] });
};

const wraps: readonly Rule[] = [
  // conv(x, w) → toFirst(conv(toLast(x), toLast(w))), and likewise for the others
  rule("channels-last", node(images, "n"), ({ n }) => {
    if (n.attrs.layout === "channelsLast") return undefined;
    return variant(n, n.operands.map(toLast), { layout: "channelsLast" }).map(toFirst);
  }),
];

type Transpose = Extract<GraphNode, { readonly op: "transpose" }>;
const asTranspose = (v: Value): Transpose | undefined => (v.def.op === "transpose" ? v.def : undefined);

/** v with its axes reordered, where that moves no data: what is constant along the axes, or transposed the other way. */
function reordered(v: Value, perm: readonly number[]): Value | undefined {
  const shape = perm.map((p) => v.type.shape[p]!);
  const splat = splatOf(v);
  if (splat !== undefined) return filled(splat.tensor, shape);
  const t = asTranspose(v);
  if (t !== undefined) {
    const inverse = invertPermutation(t.attrs.perm);
    return inverse.every((p, i) => p === perm[i]) ? t.operands[0]! : undefined;
  }
  if (v.def.op !== "broadcast") return undefined;
  // Axis a of the broadcast moves to where perm puts it; the operand's own axes must stay in order.
  const { axes } = v.def.attrs;
  const place = invertPermutation(perm);
  const moved = axes.map((a) => place[a]!);
  const order = moved.map((_, i) => i).sort((i, j) => moved[i]! - moved[j]!);
  const x = v.def.operands[0]!;
  const sorted = order.every((i, k) => i === k) ? x : transpose([x], { perm: order });
  return broadcast([sorted], { shape, axes: order.map((i) => moved[i]!) });
}

const sinks: readonly Rule[] = [
  // f(transpose(x, p), transpose(y, p), c) → transpose(f(x, y, c'), p), c constant along the moved axes
  rule("transpose-after-elementwise", node(elementwiseNames, "n"), ({ n }) => {
    const first = n.operands.map(asTranspose).find((t) => t !== undefined);
    if (first === undefined) return undefined;
    const { perm } = first.attrs;
    const inverse = invertPermutation(perm);
    const operands: Value[] = [];
    for (const v of n.operands) {
      const moved = reordered(v, inverse);
      if (moved === undefined) return undefined;
      operands.push(moved);
    }
    return transpose([remake(n, operands).results[0]!], { perm });
  }),
  // reduce(transpose(x, p), axes) → reduce(x, p[axes]), transposed where kept axes change their order
  rule("reduce-of-transpose", op(reduceNames, [op("transpose", [any("x")], "t")], "n"), ({ x, t, n }) => {
    const { perm } = t.attrs;
    const { axes, keepDims } = n.attrs;
    const reduced = axes.map((a) => perm[a]!).sort((a, b) => a - b);
    const inner = variant(n, [x], { axes: reduced, keepDims: false })[0]!;
    const keptBefore = perm.map((_, a) => a).filter((a) => !reduced.includes(a));
    const keptAfter = perm.filter((_, a) => !axes.includes(a));
    const order = keptAfter.map((p) => keptBefore.indexOf(p));
    const sorted = order.every((p, i) => p === i) ? inner : transpose([inner], { perm: order });
    return keepDims ? reshape([sorted], { shape: n.results[0]!.type.shape }) : sorted;
  }),
];

export const layout: RewritePass = rewritePass("layout", [...wraps, ...transposeRules, ...sinks]);
