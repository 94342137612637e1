/** Gathers and scatters at constant indices that lie in a row are slices and concatenations. Exact: elements only move. */

import { sliceAxis } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { broadcast, concat, reshape, slice } from "../../ir/ops/movement.js";
import { element } from "../../ir/tensor.js";
import { any, op, type Rule, rule, splatOf } from "../pattern.js";

/** Elements of a constant of integers as they index an axis of this size; undefined where one is out of range. */
function indicesOf(v: Value, sizeAt: (i: number) => number): readonly number[] | undefined {
  const splat = splatOf(v);
  const source = v.def.op === "constant" ? v.def.attrs.value : splat?.tensor;
  const count = v.type.shape.reduce<number>((n, d) => (typeof d === "number" ? n * d : Number.NaN), 1);
  if (source === undefined || !(count > 0)) return undefined;
  const indices: number[] = [];
  for (let i = 0; i < count; i++) {
    const size = sizeAt(i);
    const given = element(source, source.data.length === 1 ? 0 : i);
    const at = given < 0 ? given + size : given;
    if (!(at >= 0 && at < size)) return undefined;
    indices.push(at);
  }
  return indices;
}

/** Most axes along which a box may leave something out: each is a concatenation. */
const mostPartial = 2;

/** x with the elements of a box replaced. The box is full along the axes from `starts.length` on. */
function replaced(x: Value, updates: Value, starts: readonly number[], sizes: readonly number[], axis: number): Value {
  const whole = x.type.shape[axis] as number;
  if (axis === starts.length) return updates;
  const [start, size] = [starts[axis]!, sizes[axis]!];
  const inside = sliceAxis(x, axis, start, size);
  const parts = [
    ...(start > 0 ? [sliceAxis(x, axis, 0, start)] : []),
    replaced(inside, updates, starts, sizes, axis + 1),
    ...(start + size < whole ? [sliceAxis(x, axis, start + size, whole - start - size)] : []),
  ];
  return parts.length === 1 ? parts[0]! : concat(parts, { axis });
}

export const indexingRules: readonly Rule[] = [
  // x[s, s + t, s + 2t …] → slice(x), repeated where t is 0
  rule("gather-of-range", op("gather", [any("x"), any("at")], "n"), ({ x, at, n }) => {
    const { axis } = n.attrs;
    const size = x.type.shape[axis]!;
    if (typeof size !== "number") return undefined;
    const indices = indicesOf(at, () => size);
    if (indices === undefined) return undefined;
    const [start] = indices as [number];
    const step = indices.length === 1 ? 1 : indices[1]! - start;
    if (!indices.every((v, i) => v === start + i * step)) return undefined;
    const count = step === 0 ? 1 : indices.length;
    const row = slice([x], {
      starts: x.type.shape.map((_, a) => (a === axis ? start : 0)),
      sizes: x.type.shape.map((d, a) => (a === axis ? count : d)),
      steps: x.type.shape.map((_, a) => (a === axis && step !== 0 ? step : 1)),
    });
    const shape = n.results[0]!.type.shape;
    if (step !== 0) return reshape([row], { shape });
    const rest = x.type.shape.filter((_, a) => a !== axis);
    const axes = shape.map((_, a) => a).filter((a) => a < axis || a >= axis + at.type.shape.length);
    return broadcast([reshape([row], { shape: rest })], { shape, axes });
  }),
  // x with a box of elements replaced → slices of x around the new elements
  rule("scatter-of-box", op("scatterND", [any("x"), any("at"), any("u")], "n"), ({ x, at, u, n }) => {
    const k = at.type.shape.at(-1);
    if (n.attrs.reduction !== "none" || at.def.op !== "constant" || typeof k !== "number" || k === 0) return undefined;
    const outer = x.type.shape.slice(0, k);
    if (!outer.every((d) => typeof d === "number")) return undefined;
    const indices = indicesOf(at, (i) => outer[i % k] as number);
    if (indices === undefined) return undefined;
    const starts = indices.slice(0, k);
    const sizes = indices.slice(-k).map((last, a) => last - starts[a]! + 1);
    if (!isBox(indices, starts, sizes)) return undefined;
    if (sizes.filter((size, a) => size !== outer[a]).length > mostPartial) return undefined;
    const updates = reshape([u], { shape: [...sizes, ...x.type.shape.slice(k)] });
    return replaced(x, updates, starts, sizes, 0);
  }),
];

/** Whether the tuples of indices are those of a box, in row-major order. */
function isBox(indices: readonly number[], starts: readonly number[], sizes: readonly number[]): boolean {
  const k = starts.length;
  const count = sizes.reduce((n, d) => n * d, 1);
  if (sizes.some((d) => d < 1) || count * k !== indices.length) return false;
  for (let i = 0; i < count; i++) {
    let rest = i;
    for (let a = k - 1; a >= 0; a--) {
      if (indices[i * k + a] !== starts[a]! + (rest % sizes[a]!)) return false;
      rest = Math.floor(rest / sizes[a]!);
    }
  }
  return true;
}
