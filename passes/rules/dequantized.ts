/**
 * What moves weights of few bits moves these before they are dequantised: each element is dequantised by itself, with the scale and zero point of its
 * place. So an embedding takes rows and dequantises those alone, and parts of a matrix, or several, stay what products stream. Exact.
 *
 *   gather(D(q, s, z), i) → D(gather(q, i), gather(s, i), gather(z, i))      slice, transpose, reshape, concat alike
 *
 * Where bytes hold several values, or scales are of blocks, the last axis stays whole.
 */

import { broadcastTo, reshapeTo } from "../../ir/build.js";
import { type Dim, dimBounds, dimEqual, dimProduct } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { type NodeOf, sameShape, type Value } from "../../ir/graph.js";
import { gather } from "../../ir/ops/indexing.js";
import { concat, slice, transpose } from "../../ir/ops/movement.js";
import { type DequantizeAttrs, dequantize } from "../../ir/ops/quantized.js";
import { any, node, op, type Rule, rule } from "../pattern.js";

/** What is dequantised, with scale and zero point of as many axes. */
interface Dequantized {
  readonly parts: readonly Value[];
  readonly attrs: DequantizeAttrs;
  /** Whether the last axis is more than its elements one by one. */
  readonly joined: boolean;
}

function dequantizedOf(x: Value): Dequantized | undefined {
  if (x.def.op !== "dequantize") return undefined;
  const { operands, attrs } = x.def as NodeOf<"dequantize", DequantizeAttrs>;
  const [values, ...parameters] = operands as readonly [Value, ...Value[]];
  const { dtype, shape } = values.type;
  const missing = (p: Value): readonly Dim[] => Array.from({ length: shape.length - p.type.shape.length }, () => 1);
  if (parameters.some((p) => p.type.shape.length > shape.length)) return undefined;
  const aligned = parameters.map((p) => reshapeTo(p, [...missing(p), ...p.type.shape]));
  return { parts: [values, ...aligned], attrs, joined: attrs.block > 0 || attrs.bits < dtypeInfo[dtype].bits };
}

const isOne = (p: Value, axis: number): boolean => p.type.shape[axis] === 1;

/** Whether D may be computed of this many elements along an axis instead: not of more than there are. */
const fewer = (count: Dim, size: Dim): boolean =>
  typeof count !== "number" || typeof size !== "number" ? dimBounds(count).min <= dimBounds(size).max : count <= size;

export const dequantizedRules: readonly Rule[] = [
  rule("gather-of-dequantize", op("gather", [any("x"), any("at")], "n"), ({ x, at, n }) => {
    const { axis } = n.attrs;
    const found = dequantizedOf(x);
    const { shape } = at.type;
    if (found === undefined || (found.joined && axis === x.type.shape.length - 1)) return undefined;
    if (!fewer(dimProduct(shape), x.type.shape[axis]!)) return undefined;
    const taken = found.parts.map((p, i) => {
      const own = p.type.shape;
      if (i > 0 && isOne(p, axis))
        return reshapeTo(p, [...own.slice(0, axis), ...shape.map(() => 1), ...own.slice(axis + 1)]);
      // Indices are checked once.
      return gather([p, at], i === 0 ? n.attrs : { ...n.attrs, checked: true });
    });
    return dequantize(taken, found.attrs);
  }),
  rule("slice-of-dequantize", op("slice", [any("x")], "n"), ({ x, n }) => {
    const found = dequantizedOf(x);
    if (found === undefined) return undefined;
    const { starts, sizes, steps } = n.attrs;
    const last = x.type.shape.length - 1;
    const isWhole = (a: number) => starts[a] === 0 && steps[a] === 1 && dimEqual(sizes[a]!, x.type.shape[a]!);
    if (found.joined && !isWhole(last)) return undefined;
    const cut = found.parts.map((p, i) => {
      const stays = (a: number) => (i > 0 && isOne(p, a)) || (found.joined && a === last);
      return slice([p], {
        starts: starts.map((s, a) => (stays(a) ? 0 : s)),
        sizes: sizes.map((s, a) => (stays(a) ? p.type.shape[a]! : s)),
        steps: steps.map((s, a) => (stays(a) ? 1 : s)),
      });
    });
    return dequantize(cut, found.attrs);
  }),
  rule("transpose-of-dequantize", op("transpose", [any("x")], "n"), ({ x, n }) => {
    const found = dequantizedOf(x);
    const { perm } = n.attrs;
    if (found === undefined || (found.joined && perm.at(-1) !== perm.length - 1)) return undefined;
    return dequantize(
      found.parts.map((p) => transpose([p], { perm })),
      found.attrs,
    );
  }),
  // Where scale and zero point are the same for all.
  rule("reshape-of-dequantize", op("reshape", [any("x")], "n"), ({ x, n }) => {
    const found = dequantizedOf(x);
    if (found === undefined || found.joined) return undefined;
    const [values, ...parameters] = found.parts as readonly [Value, ...Value[]];
    if (!parameters.every((p) => p.type.shape.every((d) => d === 1))) return undefined;
    return dequantize([reshapeTo(values, n.attrs.shape), ...parameters.map((p) => reshapeTo(p, []))], found.attrs);
  }),
  rule("concat-of-dequantize", node("concat", "n"), ({ n }) => {
    const { axis } = n.attrs;
    const all = n.operands.map(dequantizedOf);
    const [first] = all;
    if (first === undefined || (first.joined && axis === n.results[0]!.type.shape.length - 1)) return undefined;
    const isAlike = (d: Dequantized | undefined): d is Dequantized =>
      d !== undefined &&
      d.attrs.bits === first.attrs.bits &&
      d.attrs.block === first.attrs.block &&
      d.parts.length === first.parts.length &&
      d.parts.every((p, i) => {
        const like = first.parts[i]!.type;
        const beside = (_: Dim, a: number) => a !== axis;
        return p.type.dtype === like.dtype && sameShape(p.type.shape.filter(beside), like.shape.filter(beside));
      });
    if (!all.every(isAlike)) return undefined;
    const joined = first.parts.map((part, i) => {
      const parts = all.map((d) => d.parts[i]!);
      if (i > 0 && isOne(part, axis) && parts.every((p) => p === part)) return part;
      const whole = all.map(({ parts: [values] }, k) => {
        const wanted = parts[k]!.type.shape.map((d, a) => (a === axis ? values!.type.shape[a]! : d));
        return broadcastTo(parts[k]!, wanted);
      });
      return concat(whole, { axis });
    });
    return dequantize(joined, first.attrs);
  }),
];
