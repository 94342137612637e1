/**
 * Data-dependent sizes.
 *
 * A size that only data decides is a dim symbol with an upper bound, `unknownSize("count", bound)`. One node *finds* it: the one
 * whose attribute `defines` names it. Later shapes and attributes use the symbol like any other.
 *
 * - Order: a node that mentions the symbol runs after the node that finds it (topologicalOrder sees to it). Where no result
 *   depends on the finder except through the symbol, the graph lists the finder's result in `sizes`, so that it stays alive.
 * - Planning: buffers whose shape mentions the symbol are placed when it is found; those that live by then, as values that a loop carries,
 *   get room for its bound.
 * - Kernels: the finder's kernel writes the count to the symbol's place in the dims table, before anything reads it; elements
 *   are laid out for the actual count (not the bound). Kernels that run later read the table as for any symbolic dim.
 * - A run-time value outside [min, bound] is an error of the input: the reference throws ModelError, a run ends there in one.
 *
 * What shapes computed at run time need (ONNX's Slice, Expand, Reshape, Tile, TopK with computed operands): compute the size as
 * an i64 scalar with ordinary ops, `bindDim` it, and use the symbol in the attribute of the static op.
 */

import { type Dim, type DimExpr, dimSymbol } from "../dim.js";
import { isFloat, isInt } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type TensorType, typeText } from "../graph.js";
import { mergeDims, normalizeAxis, requireDType, requireRank, requireSameType } from "../infer.js";
import { defineMultiOp, defineOp, type PrimitiveOp, type Sample, type SampleOperand } from "../op.js";
import { bool, exactly, f32, i64, of, within } from "../sample.js";
import { bigElement, element, forEachIndex, setElement, type Tensor, tensorFrom, zeros } from "../tensor.js";
import { iota } from "./constant.js";
import { mul } from "./elementwise.js";
import { productOf } from "./movement.js";
import { sum } from "./reduce.js";

/** A symbol for a size in [min, bound] that a node finds at run time. */
export const unknownSize = (name: string, bound: Dim, min = 0): DimExpr => dimSymbol(name, { min, bound });

export type DefinesAttrs = { readonly defines: DimExpr };
const definesDoc = "the size symbol that this finds";

/** Throws unless it is a lone symbol. */
function requireSymbol(d: DimExpr): DimExpr {
  const atom = d.terms[0]?.atoms[0];
  if (d.constant !== 0 || d.terms.length !== 1 || d.key !== (atom?.kind === "symbol" ? atom.name : undefined)) {
    throw new ModelError(`defines names one size symbol, not ${d.key}`);
  }
  return d;
}

/** A sample's own symbol: its name is only used within the sample's graph. */
const size = (bound: number): DimExpr => unknownSize("count", bound);

export const bindDim: PrimitiveOp<"bindDim", DefinesAttrs> = defineOp<"bindDim", DefinesAttrs>({
  name: "bindDim",
  operands: ["value"],
  summary: "Makes an integer scalar known as a size. The result is the size as an i64 scalar.",
  attrs: { defines: definesDoc },
  infer: ([value], { defines }) => {
    requireRank(requireDType(value!, ["i32", "i64"], "value"), 0, "value");
    requireSymbol(defines);
    return { dtype: "i64", shape: [] };
  },
  reference: ([value], { attrs: { defines }, bind }) => {
    bind(defines, element(value!, 0));
    return tensorFrom("i64", [], [bigElement(value!, 0)]);
  },
  vjp: "none",
  accuracy: "exact",
  samples: [
    { operands: [exactly([5], i64())], attrs: { defines: size(9) } },
    { operands: [exactly([0], of("i32"))], attrs: { defines: size(9) } },
  ],
});

export const nonZero: PrimitiveOp<"nonZero", DefinesAttrs> = defineOp<"nonZero", DefinesAttrs>({
  name: "nonZero",
  operands: ["x"],
  summary:
    "Indices of the elements that are not 0 (NaN is not), in row-major order, as i64[rank, count] (ONNX NonZero).",
  attrs: { defines: `${definesDoc}, the number of such elements; bound: the number of elements of x` },
  infer: ([x], { defines }) => {
    requireDType(x!, "compute");
    return { dtype: "i64", shape: [x!.shape.length, requireSymbol(defines)] };
  },
  reference: ([x]) => {
    const found: (readonly number[])[] = [];
    forEachIndex(x!.shape, (index, flat) => {
      if (element(x!, flat) !== 0) found.push([...index]);
    });
    const rank = x!.shape.length;
    const out = zeros("i64", [rank, found.length]);
    found.forEach((index, i) => {
      index.forEach((v, a) => {
        out.data[a * found.length + i] = BigInt(v);
      });
    });
    return out;
  },
  vjp: "none",
  accuracy: "exact",
  samples: [
    { operands: [exactly([0, 1.5, -0, Number.NaN, 0, -2], f32(2, 3))], attrs: { defines: size(6) } },
    { operands: [bool(17)], attrs: { defines: size(17) } },
    { operands: [within(-1, 1, i64(3, 2, 2))], attrs: { defines: size(12) } },
    { operands: [exactly([0, 0], of("u8", 2))], attrs: { defines: size(2) } },
    { operands: [f32(0)], attrs: { defines: size(0) } },
    { operands: [exactly([3], f32())], attrs: { defines: size(1) } },
  ],
});

export type UniqueAttrs = { readonly defines: DimExpr; readonly sorted: boolean; readonly axis?: number };

export const unique: PrimitiveOp<"unique", UniqueAttrs, "many"> = defineMultiOp<"unique", UniqueAttrs>({
  name: "unique",
  operands: ["x"],
  summary:
    "Distinct elements of x as a vector, or distinct slices along an axis; for each the index of its first occurrence; for each element (or slice) of x the index of its equal in the result; how often each occurs. Indices and counts are i64 vectors (ONNX Unique). Sorted: ascending, slices lexicographically, NaN last and equal to itself; else in order of first occurrence.",
  attrs: {
    defines: `${definesDoc}, the number of distinct ones; bound: the number of elements or slices`,
    sorted: "ascending, or in order of first occurrence",
    axis: "axis of the slices, not negative. Default: elements",
  },
  infer: ([x], { defines, axis }) => {
    requireDType(x!, "compute");
    const count = requireSymbol(defines);
    const vector = (d: Dim): TensorType => ({ dtype: "i64", shape: [d] });
    if (axis === undefined) {
      const all = productOf(x!.shape);
      return [{ dtype: x!.dtype, shape: [count] }, vector(count), vector(all), vector(count)];
    }
    if (normalizeAxis(axis, x!.shape.length) !== axis) throw new ModelError("unique takes a non-negative axis");
    const shape = x!.shape.map((d, a) => (a === axis ? count : d));
    return [{ dtype: x!.dtype, shape }, vector(count), vector(x!.shape[axis]!), vector(count)];
  },
  reference: ([x], { attrs: { axis, sorted } }) => {
    const slices = slicesOf(x!, axis);
    const first = new Map<string, number>();
    const counts: number[] = [];
    const origin: number[] = [];
    const inverse = slices.map((slice, i) => {
      const key = slice.map((at) => keyOf(x!, at)).join();
      const known = first.get(key);
      if (known !== undefined) {
        counts[known]!++;
        return known;
      }
      first.set(key, origin.length);
      origin.push(i);
      counts.push(1);
      return origin.length - 1;
    });
    const order = origin.map((_, i) => i);
    if (sorted) order.sort((i, j) => compareSlices(x!, slices[origin[i]!]!, slices[origin[j]!]!) || i - j);
    const place = new Array<number>(order.length);
    order.forEach((was, is) => {
      place[was] = is;
    });
    const vector = (values: readonly number[]) => tensorFrom("i64", [values.length], values);
    return [
      takeSlices(
        x!,
        axis,
        slices,
        order.map((i) => origin[i]!),
      ),
      vector(order.map((i) => origin[i]!)),
      vector(inverse.map((i) => place[i]!)),
      vector(order.map((i) => counts[i]!)),
    ];
  },
  vjp: "none",
  accuracy: "exact",
  samples: [
    uniqueSample({ sorted: true }, exactly([2, 1, 1, 3, 4, 3], f32(6)), 6),
    uniqueSample({ sorted: false }, exactly([2, 1, 1, 3, 4, 3], f32(6)), 6),
    uniqueSample({ sorted: true }, within(0, 4, i64(3, 7)), 21),
    uniqueSample({ sorted: true, axis: 0 }, exactly([1, 0, 0, 1, 0, 0, 2, 3, 4], f32(3, 3)), 3),
    uniqueSample({ sorted: false, axis: 1 }, within(0, 1, i64(2, 9, 1)), 9),
    uniqueSample({ sorted: true }, exactly([Number.NaN, 1, Number.NaN, -0, 0], f32(5)), 5),
    uniqueSample({ sorted: true }, bool(5), 5),
    uniqueSample({ sorted: true }, f32(0), 0),
  ],
});

function uniqueSample(attrs: Omit<UniqueAttrs, "defines">, x: SampleOperand, bound: number): Sample<UniqueAttrs> {
  return { operands: [x], attrs: { ...attrs, defines: size(bound) }, noGrad: true };
}

/** Flat indices of the elements of each slice. */
function slicesOf(x: Tensor, axis: number | undefined): number[][] {
  if (axis === undefined) return Array.from({ length: x.data.length }, (_, i) => [i]);
  const slices = Array.from({ length: x.shape[axis]! }, (): number[] => []);
  forEachIndex(x.shape, (index, flat) => {
    slices[index[axis]!]!.push(flat);
  });
  return slices;
}

function takeSlices(
  x: Tensor,
  axis: number | undefined,
  slices: readonly number[][],
  chosen: readonly number[],
): Tensor {
  const shape = axis === undefined ? [chosen.length] : x.shape.map((d, a) => (a === axis ? chosen.length : d));
  const out = zeros(x.dtype, shape);
  const cursor = chosen.map(() => 0);
  forEachIndex(shape, (index, flat) => {
    const slice = index[axis ?? 0]!;
    out.data[flat] = x.data[slices[chosen[slice]!]![cursor[slice]!++]!]!;
  });
  return out;
}

const valueAt = (x: Tensor, at: number): number | bigint => (isFloat(x.dtype) ? element(x, at) : bigElement(x, at));
// −0 and 0 are equal, hence one key.
const keyOf = (x: Tensor, at: number): string => String(valueAt(x, at));

function compareSlices(x: Tensor, a: readonly number[], b: readonly number[]): number {
  for (const [i, at] of a.entries()) {
    const p = valueAt(x, at);
    const q = valueAt(x, b[i]!);
    if (Number.isNaN(p) || Number.isNaN(q)) {
      if (Number.isNaN(p) !== Number.isNaN(q)) return Number.isNaN(p) ? 1 : -1;
    } else if (p !== q) return p < q ? -1 : 1;
  }
  return 0;
}

export const range: PrimitiveOp<"range", DefinesAttrs> = defineOp<"range", DefinesAttrs>({
  name: "range",
  operands: ["start", "limit", "delta"],
  summary:
    "start + i·delta for i in [0, count), count = max(⌈(limit − start) / delta⌉, 0) (ONNX Range). A delta of 0 is an error in the reference and gives count 0 in kernels.",
  attrs: { defines: `${definesDoc}, count` },
  infer: (types, { defines }) => {
    const t = requireSameType(types);
    requireRank(requireDType(t, "number"), 0);
    return { dtype: t.dtype, shape: [requireSymbol(defines)] };
  },
  reference: ([start, limit, delta]) => {
    const [from, to, step] = [start!, limit!, delta!].map((t) => valueAt(t, 0)) as [number, number, number];
    if (Number(step) === 0) throw new ModelError("a range needs a delta other than 0");
    const count = isInt(start!.dtype)
      ? ceilDiv(BigInt(to) - BigInt(from), BigInt(step))
      : Math.ceil((to - from) / step);
    const out = zeros(start!.dtype, [Math.max(0, count)]);
    for (let i = 0; i < out.data.length; i++) {
      setElement(out, i, isInt(out.dtype) ? BigInt(from) + BigInt(i) * BigInt(step) : from + i * step);
    }
    return out;
  },
  vjp: ({ dy }) => {
    const i = iota([], { dtype: dy.type.dtype, shape: dy.type.shape, axis: 0 });
    const total = { axes: [0], keepDims: false };
    return [sum([dy], total), undefined, sum([mul([dy, i])], total)];
  },
  accuracy: { ulp: 1 },
  samples: [
    rangeSample("i64", 2, 9, 3),
    rangeSample("i32", 9, 0, -2),
    rangeSample("f32", 0.5, 5, 0.75),
    rangeSample("f64", 1, 0, 1),
    rangeSample("i64", -3, 30, 1),
  ],
});

function rangeSample(
  dtype: "i32" | "i64" | "f32" | "f64",
  start: number,
  limit: number,
  delta: number,
): Sample<DefinesAttrs> {
  // A finite step of the limit may change the count: no gradient check.
  return {
    operands: [start, limit, delta].map((v) => exactly([v], of(dtype))),
    attrs: { defines: size(64) },
    noGrad: true,
  };
}

function ceilDiv(a: bigint, b: bigint): number {
  const q = a / b;
  return Number(q * b !== a && a < 0n === b < 0n ? q + 1n : q);
}

export type NmsAttrs = { readonly defines: DimExpr; readonly centerPointBox: boolean };

export const nonMaxSuppression: PrimitiveOp<"nonMaxSuppression", NmsAttrs> = defineOp<"nonMaxSuppression", NmsAttrs>({
  name: "nonMaxSuppression",
  operands: ["boxes", "scores", "maxPerClass", "iouThreshold", "scoreThreshold"],
  summary:
    "For each batch and class the boxes of highest score that overlap no better one by more than iouThreshold, at most maxPerClass of them, among scores > scoreThreshold; of equal scores the box of lower index first. boxes [N,B,4], scores [N,C,B], three scalars (i64, f32, f32); result i64[count,3] of (batch, class, box), batch by batch, class by class, best first (ONNX NonMaxSuppression).",
  attrs: {
    defines: `${definesDoc}, count; bound: N·C·min(B, maxPerClass)`,
    centerPointBox: "boxes are (x centre, y centre, width, height), else two opposite corners (y1, x1, y2, x2)",
  },
  infer: ([boxes, scores, most, iou, threshold], { defines }) => {
    for (const [t, what] of [
      [boxes, "boxes"],
      [scores, "scores"],
    ] as const)
      requireRank(requireDType(t!, ["f32", "f64"], what), 3, what);
    requireRank(requireDType(most!, ["i64"], "maxPerClass"), 0, "maxPerClass");
    for (const t of [iou, threshold]) requireRank(requireDType(t!, ["f32"], "a threshold"), 0, "a threshold");
    mergeDims(boxes!.shape[2]!, 4, () => `boxes ${typeText(boxes!)} need 4 coordinates each`);
    mergeDims(
      boxes!.shape[0]!,
      scores!.shape[0]!,
      () => `boxes ${typeText(boxes!)} and scores ${typeText(scores!)} differ in batch`,
    );
    mergeDims(
      boxes!.shape[1]!,
      scores!.shape[2]!,
      () => `boxes ${typeText(boxes!)} and scores ${typeText(scores!)} differ in the number of boxes`,
    );
    return { dtype: "i64", shape: [requireSymbol(defines), 3] };
  },
  reference: ([boxes, scores, most, iou, threshold], { attrs: { centerPointBox } }) => {
    const [batches, classes, count] = scores!.shape as [number, number, number];
    const limit = element(most!, 0);
    const found: number[] = [];
    for (let n = 0; n < batches; n++) {
      const corners = Array.from({ length: count }, (_, b) => cornersOf(boxes!, (n * count + b) * 4, centerPointBox));
      for (let c = 0; c < classes; c++) {
        const score = (b: number) => element(scores!, (n * classes + c) * count + b);
        const candidates = corners
          .map((_, b) => b)
          .filter((b) => score(b) > element(threshold!, 0))
          .sort((a, b) => score(b) - score(a) || a - b);
        const kept: number[] = [];
        for (const b of candidates) {
          if (kept.length >= limit) break;
          if (kept.every((k) => overlap(corners[b]!, corners[k]!) <= element(iou!, 0))) kept.push(b);
        }
        for (const b of kept) found.push(n, c, b);
      }
    }
    return tensorFrom("i64", [found.length / 3, 3], found);
  },
  vjp: "none",
  accuracy: "exact",
  samples: [
    nmsSample(false, 3, 0.5, 0),
    nmsSample(true, 2, 0.3, 0.4),
    nmsSample(false, 0, 0.5, 0),
    nmsSample(false, 9, 0, 0.9),
  ],
});

type Corners = readonly [y1: number, x1: number, y2: number, x2: number];

function cornersOf(boxes: Tensor, at: number, centerPointBox: boolean): Corners {
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => element(boxes, at + i)) as [number, number, number, number];
  if (centerPointBox) return [b - d / 2, a - c / 2, b + d / 2, a + c / 2];
  return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
}

/** Intersection over union; 0 where either box or their intersection is empty. */
function overlap(a: Corners, b: Corners): number {
  const height = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const width = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const area = (r: Corners) => (r[2] - r[0]) * (r[3] - r[1]);
  if (!(height > 0 && width > 0) || area(a) <= 0 || area(b) <= 0) return 0;
  return (height * width) / (area(a) + area(b) - height * width);
}

function nmsSample(centerPointBox: boolean, most: number, iou: number, threshold: number): Sample<NmsAttrs> {
  const boxes = [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 1, 11.1, 0, 10.1, 0, 100, 1, 101];
  return {
    operands: [
      exactly([...boxes, ...boxes.map((v) => v * 0.5)], f32(2, 6, 4)),
      within(0, 1, f32(2, 2, 6)),
      exactly([most], i64()),
      exactly([iou], f32()),
      exactly([threshold], f32()),
    ],
    attrs: { defines: size(24), centerPointBox },
    noGrad: true,
  };
}
