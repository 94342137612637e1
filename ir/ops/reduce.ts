/** Reductions over axes. */

import { dimMin, dimProduct } from "../dim.js";
import { type DType, intRange, isFloat, isInt } from "../dtype.js";
import { typeText, type Value } from "../graph.js";
import { type DTypeClass, normalizeAxes, requireAtLeast, requireDType } from "../infer.js";
import { type Accuracy, defineOp, type PrimitiveOp, type Sample, type SampleOperand, type Vjp } from "../op.js";
import { bool, distinct, f32, i32, of, sampleWith, within } from "../sample.js";
import { bigElement, element, forEachIndex, setElement, stridesOf, type Tensor, zeros } from "../tensor.js";
import { cast } from "./cast.js";
import { div, mul } from "./elementwise.js";
import { eq } from "./logic.js";
import { broadcast } from "./movement.js";

export type ReduceAttrs = { readonly axes: readonly number[]; readonly keepDims: boolean };

/** Shape of the result: reduced axes are 1 (keepDims) or gone. */
export function reducedShape<D>(shape: readonly D[], axes: readonly number[], keepDims: boolean): readonly (D | 1)[] {
  return keepDims ? shape.map((d, a) => (axes.includes(a) ? 1 : d)) : shape.filter((_, a) => !axes.includes(a));
}

/** A reduced value spread back over the shape it was reduced from. */
export function spread(reduced: Value, like: Value, axes: readonly number[], keepDims: boolean): Value {
  const kept = like.type.shape.map((_, a) => a).filter((a) => keepDims || !axes.includes(a));
  return broadcast([reduced], { shape: like.type.shape, axes: kept });
}

interface Reduction<N extends string> {
  readonly name: N;
  readonly summary: string;
  readonly dtypes: DTypeClass;
  readonly initial: number | "lowest" | "highest";
  readonly float?: (a: number, b: number) => number;
  readonly int: (a: bigint, b: bigint) => bigint;
  readonly vjp: Vjp<ReduceAttrs>;
  readonly accuracy: Accuracy;
  readonly operand: (...shape: number[]) => SampleOperand;
}

function reduction<N extends string>(d: Reduction<N>): PrimitiveOp<N, ReduceAttrs> {
  const samples: Sample<ReduceAttrs>[] = [
    sampleWith({ axes: [1], keepDims: false }, d.operand(3, 4)),
    sampleWith({ axes: [0], keepDims: true }, d.operand(5, 9)),
    sampleWith({ axes: [0, 2], keepDims: false }, d.operand(2, 3, 5)),
    sampleWith({ axes: [0, 1], keepDims: true }, d.operand(2, 3)),
    sampleWith({ axes: [], keepDims: false }, d.operand(4)),
    sampleWith({ axes: [0], keepDims: false }, d.operand(33)),
    sampleWith({ axes: [1], keepDims: false }, d.operand(2, 0)),
    sampleWith({ axes: [1], keepDims: false }, d.operand(0, 2)),
    ...(d.dtypes === "bool"
      ? []
      : (["f64", "f16", "i8", "u8", "i32", "i64"] as const).map((t) =>
          sampleWith({ axes: [1], keepDims: false }, within(0, 3, of(t, 3, 7))),
        )),
  ];
  return defineOp<N, ReduceAttrs>({
    name: d.name,
    operands: ["x"],
    summary: d.summary,
    attrs: {
      axes: "axes to reduce, increasing, not negative; none copies x",
      keepDims: "keep reduced axes with size 1",
    },
    infer: ([x], { axes, keepDims }) => {
      requireDType(x!, d.dtypes);
      normalizeAxes(axes, x!.shape.length);
      return { dtype: x!.dtype, shape: reducedShape(x!.shape, axes, keepDims) };
    },
    reference: ([x], { attrs }) => reduceTensor(x!, attrs, d),
    vjp: d.vjp,
    accuracy: d.accuracy,
    samples,
  });
}

/** The smallest and largest value of a dtype; ∓∞ for floats. */
export function lowestOf(d: DType): number | bigint {
  return isFloat(d) ? -Infinity : isInt(d) ? intRange(d).min : 0n;
}
export function highestOf(d: DType): number | bigint {
  return isFloat(d) ? Infinity : isInt(d) ? intRange(d).max : 1n;
}

function initialValue(x: Tensor, initial: Reduction<string>["initial"]): number | bigint {
  if (initial === "highest") return highestOf(x.dtype);
  if (initial === "lowest") return lowestOf(x.dtype);
  return isFloat(x.dtype) ? initial : BigInt(initial);
}

function reduceTensor(x: Tensor, { axes, keepDims }: ReduceAttrs, d: Reduction<string>): Tensor {
  const out = zeros(x.dtype, reducedShape(x.shape, axes, keepDims));
  const kept = stridesOf(reducedShape(x.shape, axes, true));
  const start = initialValue(x, d.initial);
  const strides = kept.map((s, a) => (axes.includes(a) ? 0 : s));
  const target = (index: readonly number[]) => index.reduce((s, v, a) => s + v * strides[a]!, 0);
  if (isFloat(x.dtype) && d.float) {
    const acc = new Float64Array(out.data.length).fill(Number(start));
    const combine = d.float;
    forEachIndex(x.shape, (index, flat) => {
      const to = target(index);
      acc[to] = combine(acc[to]!, element(x, flat));
    });
    acc.forEach((v, i) => {
      setElement(out, i, v);
    });
  } else {
    const acc = new Array<bigint>(out.data.length).fill(BigInt(start));
    forEachIndex(x.shape, (index, flat) => {
      const to = target(index);
      acc[to] = d.int(acc[to]!, bigElement(x, flat));
    });
    acc.forEach((v, i) => {
      setElement(out, i, v);
    });
  }
  return out;
}

const sumAccuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };

export const sum: PrimitiveOp<"sum", ReduceAttrs> = reduction({
  name: "sum",
  summary:
    "Sum; 0 of nothing. Floats add in an order fixed by the shape; f16 and bf16 accumulate in f32. Integers wrap.",
  dtypes: "number",
  initial: 0,
  float: (a, b) => a + b,
  int: (a, b) => a + b,
  vjp: ({ dy, operands: [x], attrs: { axes, keepDims } }) => [spread(dy, x!, axes, keepDims)],
  accuracy: sumAccuracy,
  operand: f32,
});

export const prod: PrimitiveOp<"prod", ReduceAttrs> = reduction({
  name: "prod",
  summary: "Product; 1 of nothing. Integers wrap. The gradient divides by x, so an x of exactly 0 gives NaN.",
  dtypes: "number",
  initial: 1,
  float: (a, b) => a * b,
  int: (a, b) => a * b,
  vjp: ({ dy, operands: [x], y, attrs: { axes, keepDims } }) => [
    div([mul([spread(dy, x!, axes, keepDims), spread(y, x!, axes, keepDims)]), x!]),
  ],
  accuracy: sumAccuracy,
  operand: (...shape) => within(0.5, 1.5, f32(...shape)),
});

/** Cotangents of reduceMin/reduceMax: shared equally among the elements that attain the extremum. */
const toExtremum: Vjp<ReduceAttrs> = ({ dy, operands: [x], y, attrs: { axes, keepDims } }) => {
  const winners = cast([eq([x!, spread(y, x!, axes, keepDims)])], { to: x!.type.dtype });
  const ties = sum([winners], { axes, keepDims });
  return [mul([winners, spread(div([dy, ties]), x!, axes, keepDims)])];
};

export const reduceMin: PrimitiveOp<"reduceMin", ReduceAttrs> = reduction({
  name: "reduceMin",
  summary: "Smallest element; the type's largest value (∞ for floats) of nothing. NaN if any is NaN.",
  dtypes: "number",
  initial: "highest",
  float: Math.min,
  int: (a, b) => (a < b ? a : b),
  vjp: toExtremum,
  accuracy: "exact",
  operand: (...shape) => distinct(f32(...shape)),
});

export const reduceMax: PrimitiveOp<"reduceMax", ReduceAttrs> = reduction({
  name: "reduceMax",
  summary: "Largest element; the type's smallest value (−∞ for floats) of nothing. NaN if any is NaN.",
  dtypes: "number",
  initial: "lowest",
  float: Math.max,
  int: (a, b) => (a > b ? a : b),
  vjp: toExtremum,
  accuracy: "exact",
  operand: (...shape) => distinct(f32(...shape)),
});

export const any: PrimitiveOp<"any", ReduceAttrs> = reduction({
  name: "any",
  summary: "Whether any element is true; false of nothing.",
  dtypes: "bool",
  initial: 0,
  int: (a, b) => a | b,
  vjp: "none",
  accuracy: "exact",
  operand: bool,
});

export const all: PrimitiveOp<"all", ReduceAttrs> = reduction({
  name: "all",
  summary: "Whether all elements are true; true of nothing.",
  dtypes: "bool",
  initial: 1,
  int: (a, b) => a & b,
  vjp: "none",
  accuracy: "exact",
  operand: bool,
});

export type ArgAttrs = { readonly axis: number; readonly keepDims: boolean; readonly last?: boolean };

const isNan = (v: number | bigint) => typeof v === "number" && Number.isNaN(v);

function argExtremum<N extends string>(
  name: N,
  word: string,
  better: (a: number | bigint, b: number | bigint) => boolean,
): PrimitiveOp<N, ArgAttrs> {
  return defineOp<N, ArgAttrs>({
    name,
    operands: ["x"],
    summary: `Index of the ${word} element along an axis, as i64: the first of equals (or the last, if asked). A NaN counts as the ${word}.`,
    attrs: {
      axis: "axis to search, not negative",
      keepDims: "keep the axis with size 1",
      last: "take the last of equals",
    },
    infer: ([x], { axis, keepDims }) => {
      requireDType(x!, "number");
      normalizeAxes([axis], x!.shape.length);
      const text = () => `axis ${axis} of ${typeText(x!)} must have elements, one of which is the extremum`;
      requireAtLeast(x!.shape[axis]!, dimMin(dimProduct(reducedShape(x!.shape, [axis], false)), 1), text);
      return { dtype: "i64", shape: reducedShape(x!.shape, [axis], keepDims) };
    },
    reference: ([x], { attrs: { axis, keepDims, last } }) => {
      const out = zeros("i64", reducedShape(x!.shape, [axis], keepDims));
      const stride = stridesOf(x!.shape);
      const outer = reducedShape(x!.shape, [axis], true);
      const get = (i: number) => (isFloat(x!.dtype) ? element(x!, i) : bigElement(x!, i));
      forEachIndex(outer, (index, flat) => {
        const base = index.reduce((s, v, a) => s + v * stride[a]!, 0);
        let best = 0;
        for (let i = 1; i < x!.shape[axis]!; i++) {
          const candidate = get(base + i * stride[axis]!);
          const leader = get(base + best * stride[axis]!);
          const wins = isNan(candidate)
            ? !isNan(leader) || last
            : !isNan(leader) && (better(candidate, leader) || (last && candidate === leader));
          if (wins) best = i;
        }
        setElement(out, flat, BigInt(best));
      });
      return out;
    },
    vjp: "none",
    accuracy: "exact",
    samples: [
      { ...sampleWith({ axis: 1, keepDims: false }, distinct(f32(3, 9))), noGrad: true },
      { ...sampleWith({ axis: 0, keepDims: true }, f32(5, 4)), noGrad: true },
      sampleWith({ axis: 0, keepDims: false, last: true }, within(0, 3, i32(17))),
      sampleWith({ axis: 2, keepDims: false }, within(0, 3, of("u8", 2, 3, 5))),
      sampleWith({ axis: 0, keepDims: false }, within(-3, 3, of("i64", 7, 2))),
    ],
  });
}

export const argMax: PrimitiveOp<"argMax", ArgAttrs> = argExtremum("argMax", "largest", (a, b) => a > b);
export const argMin: PrimitiveOp<"argMin", ArgAttrs> = argExtremum("argMin", "smallest", (a, b) => a < b);
