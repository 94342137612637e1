/**
 * Transposes sink towards the results: f(transpose(x)) becomes transpose(f(x)) wherever f can work on the axes in another order.
 * Two that meet cancel, and none is added: what is left stands at the graph's edges.
 */

import { type Dim, dimEqual } from "../../ir/dim.js";
import { type GraphNode, type Shape, sameShape, type Value } from "../../ir/graph.js";
import { remake } from "../../ir/graph-rebuild.js";
import { elementwiseNames, reduceNames } from "../../ir/ops/classes.js";
import {
  broadcast,
  concat,
  invertPermutation,
  pad,
  productOf,
  reshape,
  slice,
  transpose,
} from "../../ir/ops/movement.js";
import { any, node, op, type Rule, rule, splatOf } from "../pattern.js";
import { filled, increasing, variant, varies } from "./build.js";

type Transpose = Extract<GraphNode, { readonly op: "transpose" }>;
const asTranspose = (v: Value): Transpose | undefined => (v.def.op === "transpose" ? v.def : undefined);

/** v with its axes reordered, where that moves no data in a run: constants, what is constant along the axes, or transposed back. */
function reordered(v: Value, perm: readonly number[]): Value | undefined {
  const shape = perm.map((p) => v.type.shape[p]!);
  const splat = splatOf(v);
  if (splat !== undefined) return filled(splat.tensor, shape);
  if (increasing(perm.filter((p) => v.type.shape[p] !== 1))) return reshape([v], { shape });
  const t = asTranspose(v);
  if ((t?.operands[0] ?? v).def.op === "constant") return transpose([v], { perm });
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

/**
 * The operands before the permutation that the first transposed one has, if all have it or can do without. Transposed constants
 * are constants: one that sank past another would transpose it in turn.
 */
function beforeTransposes(
  operands: readonly Value[],
): { readonly perm: readonly number[]; readonly before: readonly Value[] } | undefined {
  const perm = operands
    .filter(varies)
    .map(asTranspose)
    .find((t) => t !== undefined)?.attrs.perm;
  if (perm === undefined) return undefined;
  const inverse = invertPermutation(perm);
  const before: Value[] = [];
  for (const v of operands) {
    const moved = reordered(v, inverse);
    if (moved === undefined) return undefined;
    before.push(moved);
  }
  return { perm, before };
}

interface Group {
  /** Axes before and after the reshape whose sizes have one product. */
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/**
 * The smallest runs of axes that a reshape takes to runs of axes. Axes of size 1 belong to no run before it, and after it to the
 * run at their left. Undefined where sizes do not tell.
 */
export function reshapeGroups(from: Shape, to: Shape): readonly Group[] | undefined {
  const real = (shape: Shape) => shape.map((_, a) => a).filter((a) => shape[a] !== 1);
  const left = real(from);
  const right = real(to);
  if ([...from, ...to].some((d) => d === 0)) return undefined;
  const groups: { from: number[]; to: number[] }[] = [];
  while (left.length > 0 || right.length > 0) {
    const [i, j] = shortestMatch(
      left.map((a) => from[a]!),
      right.map((a) => to[a]!),
    ) ?? [0, 0];
    if (i === 0) return undefined;
    groups.push({ from: left.splice(0, i), to: right.splice(0, j) });
  }
  if (groups.length === 0) return undefined;
  to.forEach((d, axis) => {
    if (d !== 1) return;
    const group = groups.findLast((g) => g.to[0]! < axis) ?? groups[0]!;
    group.to.push(axis);
    group.to.sort((a, b) => a - b);
  });
  return groups;
}

/** Least numbers of leading dims of both lists, at least one each, whose products are equal. */
function shortestMatch(left: readonly Dim[], right: readonly Dim[]): readonly [number, number] | undefined {
  for (let total = 2; total <= left.length + right.length; total++) {
    for (let i = Math.max(1, total - right.length); i <= Math.min(left.length, total - 1); i++) {
      if (dimEqual(productOf(left.slice(0, i)), productOf(right.slice(0, total - i)))) return [i, total - i];
    }
  }
  return undefined;
}

const pick = <T>(list: readonly T[], order: readonly number[]): T[] => order.map((i) => list[i]!);

export const sinkTransposes: readonly Rule[] = [
  // f(transpose(x, p), transpose(y, p), c) → transpose(f(x, y, c'), p), c constant along the moved axes
  rule("transpose-after-elementwise", node(elementwiseNames, "n"), ({ n }) => {
    const found = beforeTransposes(n.operands);
    return found && transpose([remake(n, found.before).results[0]!], { perm: found.perm });
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
  // concat(transpose(x, p), transpose(y, p), axis) → transpose(concat(x, y, p[axis]), p)
  rule("concat-of-transposes", node("concat", "n"), ({ n }) => {
    const found = beforeTransposes(n.operands);
    return found && transpose([concat(found.before, { axis: found.perm[n.attrs.axis]! })], { perm: found.perm });
  }),
  // slice(transpose(x, p)) → transpose(slice(x), p), and likewise for pad
  rule("slice-of-transpose", op("slice", [op("transpose", [any("x")], "t")], "n"), ({ x, t, n }) => {
    const back = invertPermutation(t.attrs.perm);
    const { starts, sizes, steps } = n.attrs;
    const inner = slice([x], { starts: pick(starts, back), sizes: pick(sizes, back), steps: pick(steps, back) });
    return transpose([inner], { perm: t.attrs.perm });
  }),
  rule("pad-of-transpose", op("pad", [op("transpose", [any("x")], "t")], "n"), ({ x, t, n }) => {
    const back = invertPermutation(t.attrs.perm);
    const { low, high, interior, value } = n.attrs;
    const inner = pad([x], { low: pick(low, back), high: pick(high, back), interior: pick(interior, back), value });
    return transpose([inner], { perm: t.attrs.perm });
  }),
  // reshape(transpose(x, p)) → transpose(reshape(x), q), where each run of axes that is merged or split lies together in x
  rule("reshape-of-transpose", op("reshape", [op("transpose", [any("x")], "t")], "n"), ({ x, t, n }) => {
    const { perm } = t.attrs;
    const { shape } = n.attrs;
    const groups = reshapeGroups(t.results[0]!.type.shape, shape);
    if (groups === undefined) return undefined;
    const inX = groups.map((g) => ({ axes: g.from.map((a) => perm[a]!), to: g.to }));
    // Axes of size 1 between those of a run take no room.
    const adjacent = (axes: readonly number[]) =>
      axes.every((a, i) => {
        if (i === 0) return true;
        const previous = axes[i - 1]!;
        return a > previous && x.type.shape.slice(previous + 1, a).every((d) => d === 1);
      });
    if (!inX.every((g) => adjacent(g.axes))) return undefined;
    const order = [...inX].sort((a, b) => a.axes[0]! - b.axes[0]!).flatMap((g) => g.to);
    const target = pick(shape, order);
    const inner = sameShape(x.type.shape, target) ? x : reshape([x], { shape: target });
    return transpose([inner], { perm: invertPermutation(order) });
  }),
];
