/** Reductions over nothing, over one element, over repeated elements, of reductions, and of constants of few bits. */

import { dimBounds } from "../../ir/dim.js";
import { type DType, isFloat } from "../../ir/dtype.js";
import { type GraphNode, sameShape, type Value } from "../../ir/graph.js";
import { reduceNames } from "../../ir/ops/classes.js";
import { constant } from "../../ir/ops/constant.js";
import { add } from "../../ir/ops/elementwise.js";
import { broadcast, reshape } from "../../ir/ops/movement.js";
import { all, any as anyTrue, prod, reduceMax, reduceMin, sum } from "../../ir/ops/reduce.js";
import { scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { any, type NodeNamed, op, type Rule, rule } from "../pattern.js";
import { filled } from "./build.js";

type Reduce = NodeNamed<(typeof reduceNames)[number]>;

const reductions = { sum, prod, reduceMin, reduceMax, any: anyTrue, all };
const make = (n: Reduce, x: Value, axes: readonly number[], keepDims: boolean): Value =>
  reductions[n.op]([x], { axes: [...axes].sort((a, b) => a - b), keepDims });

/** Combining an element with itself gives itself. */
const idempotent = ["reduceMin", "reduceMax", "any", "all"] as const;
const isIdempotent = (n: GraphNode): boolean => (idempotent as readonly string[]).includes(n.op);
/** Any order of combination gives the same bits. */
const isAssociative = (n: GraphNode): boolean => isIdempotent(n) || !isFloat(n.results[0]!.type.dtype);

const trivial: readonly Rule[] = [
  // A reduction over axes of size 1 (or none) is its operand. A sum of floats starts at +0, which turns −0 to +0.
  rule("reduce-ones", op(reduceNames, [any("x")], "n"), ({ x, n }) => {
    if (n.attrs.axes.some((a) => x.type.shape[a] !== 1)) return undefined;
    const same = reshape([x], { shape: n.results[0]!.type.shape });
    const signed = n.op === "sum" && isFloat(x.type.dtype);
    return signed ? add([same, filled(scalar(x.type.dtype, 0), same.type.shape)]) : same;
  }),
  // reshape(reduce(x, keepDims)) → reduce(x), where the reshape drops what was kept
  rule("reduce-drop-dims", op("reshape", [op(reduceNames, [any("x")], "r")], "n"), ({ x, r, n }) => {
    const { axes, keepDims } = r.attrs;
    const rest = x.type.shape.filter((_, a) => !axes.includes(a));
    return keepDims && sameShape(n.attrs.shape, rest) ? make(r, x, axes, false) : undefined;
  }),
];

const nested: readonly Rule[] = [
  // max(max(x, a), b) → max(x, a ∪ b)
  rule("reduce-of-reduce", op(reduceNames, [op(reduceNames, [any("x")], "inner")], "n"), ({ x, inner, n }) => {
    if (inner.op !== n.op || inner.attrs.keepDims !== n.attrs.keepDims || !isAssociative(n)) return undefined;
    const left = x.type.shape.map((_, a) => a).filter((a) => inner.attrs.keepDims || !inner.attrs.axes.includes(a));
    const axes = new Set([...inner.attrs.axes, ...n.attrs.axes.map((a) => left[a]!)]);
    return make(n, x, [...axes], n.attrs.keepDims);
  }),
  // max(broadcast(x)) → max(x), over the axes that repeat elements
  rule("reduce-of-broadcast", op(idempotent, [op("broadcast", [any("x")], "b")], "n"), ({ x, b, n }) => {
    const { shape } = b.attrs;
    const repeats = (a: number) =>
      n.attrs.axes.includes(a) && !b.attrs.axes.includes(a) && dimBounds(shape[a]!).min >= 1;
    const left = shape.map((_, a) => a).filter((a) => !repeats(a));
    if (left.length === shape.length) return undefined;
    const smaller = broadcast([x], {
      shape: left.map((a) => shape[a]!),
      axes: b.attrs.axes.map((a) => left.indexOf(a)),
    });
    const axes = n.attrs.axes.filter((a) => left.includes(a)).map((a) => left.indexOf(a));
    return reshape([make(n, smaller, axes, false)], { shape: n.results[0]!.type.shape });
  }),
];

const summed: ReadonlySet<DType> = new Set(["i8", "u8", "i16", "u16"]);

/** Sums of a constant of integers of at most 16 bits over some axes, modulo 2³². */
function sumsOf(t: Tensor, axes: readonly number[], shape: readonly number[]): Tensor {
  const { data } = t as { readonly data: Int32Array };
  const last = t.shape.length - 1;
  // How far the result's index moves where an axis goes on: 0 along what is summed.
  const steps = t.shape.map(() => 0);
  let step = 1;
  for (let a = last; a >= 0; a--) {
    if (axes.includes(a)) continue;
    steps[a] = step;
    step *= t.shape[a]!;
  }
  const sums = new Int32Array(step);
  const at = t.shape.map(() => 0);
  const inner = t.shape[last] ?? 1;
  const innerStep = steps[last] ?? 0;
  for (let i = 0, to = 0; i < data.length; i += inner) {
    for (let j = 0; j < inner; j++) sums[to + j * innerStep] = (sums[to + j * innerStep]! + data[i + j]!) | 0;
    for (let a = last - 1; a >= 0; a--) {
      to += steps[a]!;
      if (++at[a]! < t.shape[a]!) break;
      to -= steps[a]! * t.shape[a]!;
      at[a] = 0;
    }
  }
  return tensorFrom("i32", shape, sums);
}

const constants: readonly Rule[] = [
  // Σ cast i32 w → its value, w a constant of integers of at most 16 bits: weights are large, their sums are small
  rule("sum-of-integers", op("sum", [any("x")], "n"), ({ x, n }) => {
    const { dtype, shape } = n.results[0]!.type;
    const w = x.def.op === "cast" ? x.def.operands[0]! : x;
    if (dtype !== "i32" || w.def.op !== "constant") return undefined;
    if (!summed.has(w.type.dtype)) return undefined;
    return constant([], { value: sumsOf(w.def.attrs.value, n.attrs.axes, shape as readonly number[]) });
  }),
];

export const reduceRules: readonly Rule[] = [...trivial, ...nested, ...constants];
