/** Reshape, transpose, slice, pad and concat: doing nothing, undoing one another, composing. */

import { type Dim, dimAdd, dimEqual, dimMul, dimSub } from "../../ir/dim.js";
import { type Shape, sameShape, type Value } from "../../ir/graph.js";
import { dotGeneral, freeAxes } from "../../ir/ops/contraction.js";
import { concat, pad, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { any, type NodeNamed, node, op, type Rule, rule } from "../pattern.js";
import { increasing, isNonNegative } from "./build.js";

const zeros = (dims: readonly Dim[]): boolean => dims.every((d) => d === 0);

const reshapes: readonly Rule[] = [
  rule("reshape-nothing", op("reshape", [any("x")], "n"), ({ x, n }) =>
    sameShape(x.type.shape, n.attrs.shape) ? x : undefined,
  ),
  rule("reshape-of-reshape", op("reshape", [op("reshape", [any("x")])], "n"), ({ x, n }) => reshape([x], n.attrs)),
];

export const transposeRules: readonly Rule[] = [
  rule("transpose-nothing", op("transpose", [any("x")], "n"), ({ x, n }) =>
    n.attrs.perm.every((p, i) => p === i) ? x : undefined,
  ),
  // transpose(transpose(x, p), q) → transpose(x, p∘q)
  rule("transpose-of-transpose", op("transpose", [op("transpose", [any("x")], "p")], "q"), ({ x, p, q }) =>
    transpose([x], { perm: q.attrs.perm.map((i) => p.attrs.perm[i]!) }),
  ),
  // A transpose that keeps the order of all axes but those of size 1 moves nothing.
  rule("transpose-ones", op("transpose", [any("x")], "n"), ({ x, n }) =>
    increasing(n.attrs.perm.filter((p) => x.type.shape[p] !== 1))
      ? reshape([x], { shape: n.results[0]!.type.shape })
      : undefined,
  ),
];

const products: readonly Rule[] = [
  // dot(transpose(a), b) → dot(a, b) with a's axes renamed, where its free axes keep their order; and for b
  rule(
    "dot-of-transpose-left",
    op("dotGeneral", [op("transpose", [any("a")], "t"), any("b")], "n"),
    ({ a, t, b, n }) => {
      const { batchA, contractA } = n.attrs;
      const axis = (i: number) => t.attrs.perm[i]!;
      return increasing(freeAxes(a.type.shape.length, batchA, contractA).map(axis))
        ? dotGeneral([a, b], { ...n.attrs, batchA: batchA.map(axis), contractA: contractA.map(axis) })
        : undefined;
    },
  ),
  rule(
    "dot-of-transpose-right",
    op("dotGeneral", [any("a"), op("transpose", [any("b")], "t")], "n"),
    ({ a, t, b, n }) => {
      const { batchB, contractB } = n.attrs;
      const axis = (i: number) => t.attrs.perm[i]!;
      return increasing(freeAxes(b.type.shape.length, batchB, contractB).map(axis))
        ? dotGeneral([a, b], { ...n.attrs, batchB: batchB.map(axis), contractB: contractB.map(axis) })
        : undefined;
    },
  ),
];

type SliceAttrs = NodeNamed<"slice">["attrs"];

/** Smallest and largest index that a slice reads along an axis. */
function reach({ starts, sizes, steps }: SliceAttrs, axis: number): { low: Dim; high: Dim } {
  const first = starts[axis]!;
  const last = dimAdd(first, dimMul(dimSub(sizes[axis]!, 1), steps[axis]!));
  return steps[axis]! > 0 ? { low: first, high: last } : { low: last, high: first };
}

/** The slice with `shift` taken from its starts, if it then lies inside a shape; axes that are not shifted are inside anyway. */
function shifted(attrs: SliceAttrs, shift: readonly Dim[], shape: Shape): SliceAttrs | undefined {
  const inside = shape.every((d, a) => {
    if (dimEqual(shift[a]!, 0) && isNonNegative(dimSub(d, dimAdd(reach(attrs, a).high, 1)))) return true;
    const { low, high } = reach(attrs, a);
    return isNonNegative(dimSub(low, shift[a]!)) && isNonNegative(dimSub(dimAdd(shift[a]!, d), dimAdd(high, 1)));
  });
  return inside ? { ...attrs, starts: attrs.starts.map((s, a) => dimSub(s, shift[a]!)) } : undefined;
}

const slices: readonly Rule[] = [
  rule("slice-nothing", op("slice", [any("x")], "n"), ({ x, n }) =>
    zeros(n.attrs.starts) && n.attrs.steps.every((s) => s === 1) && sameShape(n.attrs.sizes, x.type.shape)
      ? x
      : undefined,
  ),
  // x[s + t·i][s' + t'·j] → x[s + t·s' + t·t'·j]
  rule("slice-of-slice", op("slice", [op("slice", [any("x")], "inner")], "n"), ({ x, inner, n }) =>
    slice([x], {
      starts: inner.attrs.starts.map((s, a) => dimAdd(s, dimMul(n.attrs.starts[a]!, inner.attrs.steps[a]!))),
      sizes: n.attrs.sizes,
      steps: inner.attrs.steps.map((t, a) => t * n.attrs.steps[a]!),
    }),
  ),
  // A slice that lies in one part of a concat is a slice of that part.
  rule("slice-of-concat", op("slice", [node("concat", "c")], "n"), ({ c, n }) => {
    const { axis } = c.attrs;
    let offset: Dim = 0;
    for (const part of c.operands) {
      const shift = n.attrs.starts.map((_, a) => (a === axis ? offset : 0));
      const attrs = shifted(n.attrs, shift, part.type.shape);
      if (attrs !== undefined) return slice([part], attrs);
      offset = dimAdd(offset, part.type.shape[axis]!);
    }
    return undefined;
  }),
  // A slice that misses the padding is a slice of what was padded.
  rule("slice-of-pad", op("slice", [op("pad", [any("x")], "p")], "n"), ({ x, p, n }) => {
    if (p.attrs.interior.some((i) => i !== 0)) return undefined;
    const attrs = shifted(n.attrs, p.attrs.low, x.type.shape);
    return attrs && slice([x], attrs);
  }),
];

const pads: readonly Rule[] = [
  rule("pad-nothing", op("pad", [any("x")], "n"), ({ x, n }) =>
    zeros(n.attrs.low) && zeros(n.attrs.high) && zeros(n.attrs.interior) ? x : undefined,
  ),
  // pad(pad(x, v), v) → pad(x, v), where the outer one pads the sides only
  rule("pad-of-pad", op("pad", [op("pad", [any("x")], "inner")], "n"), ({ x, inner, n }) =>
    Object.is(inner.attrs.value, n.attrs.value) && zeros(n.attrs.interior)
      ? pad([x], {
          low: n.attrs.low.map((d, a) => dimAdd(d, inner.attrs.low[a]!)),
          high: n.attrs.high.map((d, a) => dimAdd(d, inner.attrs.high[a]!)),
          interior: inner.attrs.interior,
          value: n.attrs.value,
        })
      : undefined,
  ),
];

/** A value that is joined with itself again and again would have parts without end. */
const mostParts = 256;

const concats: readonly Rule[] = [
  rule("concat-one", op("concat", [any("x")]), ({ x }) => x),
  // Parts without elements go, if another part is left.
  rule("concat-empty", node("concat", "n"), ({ n }) => {
    const parts = n.operands.filter((v) => v.type.shape[n.attrs.axis] !== 0);
    return parts.length > 0 && parts.length < n.operands.length ? concat(parts, n.attrs) : undefined;
  }),
  // concat(a, concat(b, c)) → concat(a, b, c) along one axis
  rule("concat-of-concat", node("concat", "n"), ({ n }) => {
    const flat = n.operands.flatMap((v) =>
      v.def.op === "concat" && v.def.attrs.axis === n.attrs.axis ? v.def.operands : [v],
    );
    if (flat.length > mostParts) return undefined;
    return flat.length > n.operands.length || flat.some((v, i) => v !== n.operands[i])
      ? concat(flat, n.attrs)
      : undefined;
  }),
  // concat(x[0:a], x[a:b]) → x[0:b]
  rule("concat-of-slices", node("concat", "n"), ({ n }) => {
    const joined: Value[] = [];
    for (const v of n.operands) {
      const before = joined.at(-1);
      const both = before === undefined ? undefined : joinSlices(before, v, n.attrs.axis);
      if (both === undefined) joined.push(v);
      else joined[joined.length - 1] = both;
    }
    return joined.length < n.operands.length ? concat(joined, n.attrs) : undefined;
  }),
];

/** One slice for two that follow each other along an axis. */
function joinSlices(first: Value, second: Value, axis: number): Value | undefined {
  const a = first.def;
  const b = second.def;
  if (a.op !== "slice" || b.op !== "slice" || a.operands[0] !== b.operands[0]) return undefined;
  const p = a.attrs;
  const q = b.attrs;
  const next = dimAdd(p.starts[axis]!, dimMul(p.sizes[axis]!, p.steps[axis]!));
  const follows = p.starts.every(
    (s, i) =>
      p.steps[i] === q.steps[i] &&
      (i === axis ? dimEqual(next, q.starts[i]!) : dimEqual(s, q.starts[i]!) && dimEqual(p.sizes[i]!, q.sizes[i]!)),
  );
  if (!follows) return undefined;
  const sizes = p.sizes.map((d, i) => (i === axis ? dimAdd(d, q.sizes[i]!) : d));
  return slice(a.operands, { ...p, sizes });
}

export const movementRules: readonly Rule[] = [
  ...reshapes,
  ...transposeRules,
  ...products,
  ...slices,
  ...pads,
  ...concats,
];
