/** Sorting, selection of the largest, and cumulative sums and products. */

import { type Dim, dimText } from "../dim.js";
import { type DType, isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type TensorType, typeText, type Value } from "../graph.js";
import { normalizeAxis, requireAtLeast, requireAtMost, requireDType } from "../infer.js";
import {
  type Accuracy,
  defineMultiOp,
  defineOp,
  type PrimitiveOp,
  type Sample,
  type SampleOperand,
  type Vjp,
} from "../op.js";
import { distinct, exactly, f32, of, sampleWith, within } from "../sample.js";
import { bigElement, element, forEachIndex, setElement, stridesOf, type Tensor, zeros } from "../tensor.js";
import { constantLike } from "./constant.js";
import { div, mul } from "./elementwise.js";
import { scatterElements } from "./indexing.js";

function requireAxis(axis: number, x: TensorType): void {
  if (normalizeAxis(axis, x.shape.length) !== axis || x.shape.length === 0) {
    throw new ModelError(`axis ${axis} of ${typeText(x)}: an axis counted from 0 is needed`);
  }
}

/** Visits each line of elements along an axis: flat index of its first element and the distance between neighbours. */
function forEachLine(shape: readonly number[], axis: number, visit: (start: number, stride: number) => void): void {
  const strides = stridesOf(shape);
  const outer = shape.map((d, a) => (a === axis ? 1 : d));
  forEachIndex(outer, (index) => {
    visit(
      index.reduce((s, v, a) => s + v * strides[a]!, 0),
      strides[axis]!,
    );
  });
}

/** Total order with NaN as the largest. */
function compare(a: number | bigint, b: number | bigint): number {
  if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
  if (Number.isNaN(b)) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Places along a line in sorted order; equals keep their order. */
function sortedPlaces(x: Tensor, start: number, stride: number, size: number, descending: boolean): number[] {
  const values = Array.from({ length: size }, (_, i) =>
    isFloat(x.dtype) ? element(x, start + i * stride) : bigElement(x, start + i * stride),
  );
  return values
    .map((_, i) => i)
    .sort((i, j) => (descending ? compare(values[j]!, values[i]!) : compare(values[i]!, values[j]!)) || i - j);
}

/** The first `count` of each sorted line, with their places. */
function selectSorted(x: Tensor, shape: readonly number[], axis: number, descending: boolean): Tensor[] {
  const values = zeros(x.dtype, shape);
  const indices = zeros("i64", shape);
  const starts: number[] = [];
  forEachLine(shape, axis, (start) => starts.push(start));
  const stride = stridesOf(shape)[axis]!;
  let line = 0;
  forEachLine(x.shape, axis, (from, step) => {
    const to = starts[line++]!;
    const places = sortedPlaces(x, from, step, x.shape[axis]!, descending);
    for (let i = 0; i < shape[axis]!; i++) {
      values.data[to + i * stride] = x.data[from + places[i]! * step]!;
      indices.data[to + i * stride] = BigInt(places[i]!);
    }
  });
  return [values, indices];
}

/** dy goes back to where the values came from. */
const toPlaces =
  <A extends { readonly axis: number }>(): Vjp<A> =>
  ({ dys: [dy], operands: [x], results, attrs: { axis } }) => [
    dy && scatterElements([constantLike(x!, 0), results[1]!, dy], { axis, reduction: "add" }),
  ];

export type SortAttrs = { readonly axis: number; readonly descending: boolean };

const ordered: readonly DType[] = ["f64", "f16", "bf16", "i8", "u8", "i32", "i64"];
const nanLine = exactly([3, Number.NaN, -1, Infinity, Number.NaN, -0, 0, -Infinity], f32(8));

export const sort: PrimitiveOp<"sort", SortAttrs, "many"> = defineMultiOp<"sort", SortAttrs>({
  name: "sort",
  operands: ["x"],
  summary:
    "Elements in order along an axis, and the i64 index each came from. Stable: equals keep their order, also when descending. NaN counts as the largest; −0 equals 0.",
  attrs: { axis: "axis to sort along, not negative", descending: "largest first" },
  infer: ([x], { axis }) => {
    requireDType(x!, "number");
    requireAxis(axis, x!);
    return [x!, { dtype: "i64", shape: x!.shape }];
  },
  reference: ([x], { attrs: { axis, descending } }) => selectSorted(x!, x!.shape, axis, descending),
  vjp: toPlaces<SortAttrs>(),
  accuracy: "exact",
  samples: [
    sampleWith({ axis: 1, descending: false }, distinct(f32(3, 5))),
    sampleWith({ axis: 0, descending: true }, distinct(f32(9, 2))),
    sampleWith({ axis: 1, descending: true }, distinct(f32(2, 33, 2))),
    sampleWith({ axis: 0, descending: false }, f32(0)),
    sampleWith({ axis: 0, descending: false }, f32(1)),
    { ...sampleWith({ axis: 0, descending: false }, nanLine), noGrad: true },
    { ...sampleWith({ axis: 0, descending: true }, nanLine), noGrad: true },
    ...ordered.map((d) => ({
      ...sampleWith({ axis: 1, descending: true }, within(0, 5, of(d, 2, 17))),
      noGrad: true,
    })),
  ],
});

export type TopKAttrs = { readonly k: Dim; readonly axis: number; readonly largest: boolean };

export const topK: PrimitiveOp<"topK", TopKAttrs, "many"> = defineMultiOp<"topK", TopKAttrs>({
  name: "topK",
  operands: ["x"],
  summary:
    "The k largest (or smallest) elements along an axis, best first, and the i64 index of each. Of equals the one of lower index comes first. NaN counts as the largest.",
  attrs: {
    k: "how many, at most the size of the axis",
    axis: "axis to select along, not negative",
    largest: "largest or smallest",
  },
  infer: ([x], { k, axis }) => {
    requireDType(x!, "number");
    requireAxis(axis, x!);
    const size = x!.shape[axis]!;
    const text = () =>
      `k = ${dimText(k)} must be between 0 and the ${dimText(size)} elements of axis ${axis} of ${typeText(x!)}`;
    requireAtLeast(k, 0, text);
    requireAtMost(k, size, text);
    const shape = x!.shape.map((d, a) => (a === axis ? k : d));
    return [
      { dtype: x!.dtype, shape },
      { dtype: "i64", shape },
    ];
  },
  reference: ([x], { attrs: { axis, largest }, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    if (shape[axis]! > x!.shape[axis]!) {
      throw new ModelError(`k = ${shape[axis]} is more than the ${x!.shape[axis]} elements of axis ${axis}`);
    }
    return selectSorted(x!, shape, axis, largest);
  },
  vjp: toPlaces<TopKAttrs>(),
  accuracy: "exact",
  samples: [
    sampleWith({ k: 2, axis: 1, largest: true }, distinct(f32(3, 5))),
    sampleWith({ k: 3, axis: 0, largest: false }, distinct(f32(9, 2))),
    sampleWith({ k: 5, axis: 1, largest: true }, distinct(f32(2, 33, 2))),
    sampleWith({ k: 0, axis: 0, largest: true }, f32(4)),
    sampleWith({ k: 7, axis: 0, largest: true }, distinct(f32(7))),
    { ...sampleWith({ k: 4, axis: 0, largest: true }, nanLine), noGrad: true },
    { ...sampleWith({ k: 4, axis: 0, largest: false }, nanLine), noGrad: true },
    ...ordered.map((d) => ({
      ...sampleWith({ k: 6, axis: 1, largest: true }, within(0, 5, of(d, 2, 17))),
      noGrad: true,
    })),
  ],
});

// ------------------------------------------------------------------------------------------------ cumulative

export type CumulativeAttrs = { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };

function cumulative<N extends string>(d: {
  readonly name: N;
  readonly summary: string;
  readonly initial: 0 | 1;
  readonly float: (a: number, b: number) => number;
  readonly int: (a: bigint, b: bigint) => bigint;
  readonly vjp: Vjp<CumulativeAttrs>;
  readonly operand: (...shape: number[]) => SampleOperand;
}): PrimitiveOp<N, CumulativeAttrs> {
  const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };
  const modes = [
    { exclusive: false, reverse: false },
    { exclusive: true, reverse: false },
    { exclusive: false, reverse: true },
    { exclusive: true, reverse: true },
  ];
  const samples: Sample<CumulativeAttrs>[] = [
    ...modes.map((mode) => sampleWith({ axis: 1, ...mode }, d.operand(3, 5))),
    ...modes.map((mode) => sampleWith({ axis: 0, ...mode }, d.operand(9, 2))),
    sampleWith({ axis: 1, exclusive: false, reverse: false }, d.operand(2, 17, 3)),
    sampleWith({ axis: 0, exclusive: false, reverse: false }, d.operand(0)),
    sampleWith({ axis: 0, exclusive: true, reverse: false }, d.operand(1)),
    ...(["f64", "f16", "bf16"] as const).map((t) =>
      sampleWith({ axis: 0, exclusive: false, reverse: false }, { ...d.operand(6), dtype: t }),
    ),
    ...(["i8", "u8", "i32", "i64"] as const).map((t) =>
      sampleWith({ axis: 0, exclusive: false, reverse: true }, within(0, 5, of(t, 7))),
    ),
  ];
  return defineOp<N, CumulativeAttrs>({
    name: d.name,
    operands: ["x"],
    summary: d.summary,
    attrs: {
      axis: "axis to run along, not negative",
      exclusive: "leave the element itself out",
      reverse: "run from the end",
    },
    infer: ([x], { axis }) => {
      requireDType(x!, "number");
      requireAxis(axis, x!);
      return x!;
    },
    reference: ([x], { attrs: { axis, exclusive, reverse } }) => {
      const out = zeros(x!.dtype, x!.shape);
      const size = x!.shape[axis]!;
      const run = <T extends number | bigint>(start: T, get: (i: number) => T, step: (a: T, b: T) => T) =>
        forEachLine(x!.shape, axis, (first, stride) => {
          let total = start;
          for (let i = 0; i < size; i++) {
            const at = first + (reverse ? size - 1 - i : i) * stride;
            const next = step(total, get(at));
            setElement(out, at, exclusive ? total : next);
            total = next;
          }
        });
      if (isFloat(x!.dtype)) run<number>(d.initial, (i) => element(x!, i), d.float);
      else run<bigint>(BigInt(d.initial), (i) => bigElement(x!, i), d.int);
      return out;
    },
    vjp: d.vjp,
    accuracy,
    samples,
  });
}

export const cumSum: PrimitiveOp<"cumSum", CumulativeAttrs> = cumulative({
  name: "cumSum",
  summary: "Running sum along an axis. f16 and bf16 accumulate in f32. Integers wrap.",
  initial: 0,
  float: (a, b) => a + b,
  int: (a, b) => a + b,
  vjp: ({ dy, attrs }) => [cumSum([dy], { ...attrs, reverse: !attrs.reverse })],
  operand: f32,
});

export const cumProd: PrimitiveOp<"cumProd", CumulativeAttrs> = cumulative({
  name: "cumProd",
  summary: "Running product along an axis. Integers wrap. The gradient divides by x, so an x of exactly 0 gives NaN.",
  initial: 1,
  float: (a, b) => a * b,
  int: (a, b) => a * b,
  vjp: ({ dy, operands: [x], y, attrs }) => [
    div([cumSum([mul([dy, y])], { ...attrs, reverse: !attrs.reverse }), x as Value]),
  ],
  operand: (...shape) => within(0.5, 1.5, f32(...shape)),
});
