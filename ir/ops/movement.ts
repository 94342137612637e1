/** Ops that move elements without changing them: reshape, transpose, broadcast, slice, pad, concat. */

import { type Dim, dimAdd, dimBounds, dimMax, dimMin, dimMul, dimProduct, dimSub, dimText } from "../dim.js";
import { ModelError } from "../errors.js";
import { type Shape, shapeText, typeText, type Value } from "../graph.js";
import {
  assumeEqual,
  assumeNotNegative,
  mergeShapes,
  normalizeAxis,
  requireAtLeast,
  requireAtMost,
  requireStretch,
  stretchOf,
} from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { bool, f32, i64, of, sampleWith } from "../sample.js";
import { forEachIndex, reshaped, setElement, stridesOf, type Tensor, zeros } from "../tensor.js";
import { constantLike, dimSize } from "./constant.js";
import { eq, select } from "./logic.js";
import { sum } from "./reduce.js";

export const productOf: (shape: Shape) => Dim = dimProduct;

export const reshape: PrimitiveOp<"reshape", { shape: Shape }> = defineOp<"reshape", { shape: Shape }>({
  name: "reshape",
  operands: ["x"],
  summary: "The same elements in row-major order under another shape.",
  attrs: { shape: "the new shape; its product equals the number of elements" },
  infer: ([x], { shape }) => {
    const from = productOf(x!.shape);
    const to = productOf(shape);
    if (typeof from === "number" && typeof to === "number" && from !== to) {
      throw new ModelError(`${typeText(x!)} has ${from} elements, shape ${shapeText(shape)} has ${to}`);
    }
    assumeEqual(from, to, `${shapeText(x!.shape)} must have as many elements as ${shapeText(shape)}`);
    return { dtype: x!.dtype, shape };
  },
  reference: ([x], { types, dim }) => reshaped(x!, types[0]!.shape.map(dim)),
  vjp: ({ dy, operands: [x] }) => [reshape([dy], { shape: x!.type.shape })],
  accuracy: "exact",
  samples: [
    sampleWith({ shape: [3, 2] }, f32(2, 3)),
    sampleWith({ shape: [] }, f32(1, 1)),
    sampleWith({ shape: [0, 5] }, f32(3, 0)),
    sampleWith({ shape: [2, 2, 3] }, i64(12)),
  ],
});

export const transpose: PrimitiveOp<"transpose", { perm: readonly number[] }> = defineOp<
  "transpose",
  { perm: readonly number[] }
>({
  name: "transpose",
  operands: ["x"],
  summary: "Axes reordered: axis i of the result is axis perm[i] of x.",
  attrs: { perm: "a permutation of the axes" },
  infer: ([x], { perm }) => {
    const rank = x!.shape.length;
    if (
      perm.length !== rank ||
      !perm.every((p, i) => Number.isInteger(p) && p >= 0 && p < rank && perm.indexOf(p) === i)
    ) {
      throw new ModelError(`perm [${perm}] is not a permutation of the ${rank} axes of ${typeText(x!)}`);
    }
    return { dtype: x!.dtype, shape: perm.map((p) => x!.shape[p]!) };
  },
  reference: ([x], { attrs }) => {
    const out = zeros(
      x!.dtype,
      attrs.perm.map((p) => x!.shape[p]!),
    );
    const from = stridesOf(x!.shape);
    const strides = attrs.perm.map((p) => from[p]!);
    // Weights of whole models pass here when compiling, so the place in x is followed, not computed anew.
    const index = new Array<number>(strides.length).fill(0);
    let at = 0;
    for (let flat = 0; flat < out.data.length; flat++) {
      out.data[flat] = x!.data[at]!;
      for (let a = strides.length - 1; a >= 0; a--) {
        at += strides[a]!;
        if (++index[a]! < out.shape[a]!) break;
        at -= strides[a]! * out.shape[a]!;
        index[a] = 0;
      }
    }
    return out;
  },
  vjp: ({ dy, attrs: { perm } }) => [transpose([dy], { perm: invertPermutation(perm) })],
  accuracy: "exact",
  samples: [
    sampleWith({ perm: [1, 0] }, f32(2, 3)),
    sampleWith({ perm: [1, 0] }, f32(17, 9)),
    sampleWith({ perm: [0, 2, 3, 1] }, f32(2, 3, 4, 5)),
    sampleWith({ perm: [0, 3, 1, 2] }, f32(2, 4, 5, 3)),
    sampleWith({ perm: [2, 0, 1] }, i64(2, 3, 4)),
    sampleWith({ perm: [1, 0] }, of("u8", 5, 9)),
    sampleWith({ perm: [] }, f32()),
    sampleWith({ perm: [1, 0] }, f32(0, 3)),
  ],
});

export function invertPermutation(perm: readonly number[]): readonly number[] {
  const inverse = new Array<number>(perm.length);
  perm.forEach((p, i) => {
    inverse[p] = i;
  });
  return inverse;
}

export type BroadcastAttrs = { readonly shape: Shape; readonly axes: readonly number[] };

/** The adjoint of `broadcast` from `own`: sums over what it repeated. */
export function unbroadcast(dy: Value, own: Shape, { shape, axes }: BroadcastAttrs): Value {
  const stretch = (i: number) => stretchOf(own[i]!, shape[axes[i]!]!);
  const reduced = shape.map((_, a) => a).filter((a) => !axes.includes(a) || stretch(axes.indexOf(a)) === "repeats");
  const summed = reduced.length === 0 ? dy : sum([dy], { axes: reduced, keepDims: false });
  // As long as dy where the run decides; there the sum goes to the one element, if there is but one.
  const long = own.map((d, i) => (stretch(i) === "either" ? shape[axes[i]!]! : d));
  let dx = reshape([summed], { shape: long });
  own.forEach((d, i) => {
    if (stretch(i) === "either") dx = sumIfOne(dx, i, d);
  });
  return dx;
}

export const broadcast: PrimitiveOp<"broadcast", BroadcastAttrs> = defineOp<"broadcast", BroadcastAttrs>({
  name: "broadcast",
  operands: ["x"],
  summary:
    "x repeated along new axes and along axes of size 1; a symbolic size may turn out to be 1 in a run. Axis i of x becomes axis axes[i] of the result.",
  attrs: { shape: "shape of the result", axes: "increasing; one axis of the result for each axis of x" },
  infer: ([x], { shape, axes }) => {
    if (
      axes.length !== x!.shape.length ||
      axes.some((a, i) => a < 0 || a >= shape.length || (i > 0 && a <= axes[i - 1]!))
    ) {
      throw new ModelError(`axes [${axes}] do not place the axes of ${typeText(x!)} in ${shapeText(shape)}`);
    }
    const text = () => `${typeText(x!)} does not broadcast to ${shapeText(shape)} by axes [${axes}]`;
    x!.shape.forEach((d, i) => {
      requireStretch(d, shape[axes[i]!]!, text);
    });
    return { dtype: x!.dtype, shape };
  },
  reference: ([x], { attrs, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    const strides = stridesOf(x!.shape).map((s, i) => (x!.shape[i] === 1 ? 0 : s));
    forEachIndex(out.shape, (index, flat) => {
      out.data[flat] = x!.data[attrs.axes.reduce((s, axis, i) => s + index[axis]! * strides[i]!, 0)]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [x], attrs }) => [unbroadcast(dy, x!.type.shape, attrs)],
  accuracy: "exact",
  samples: [
    sampleWith({ shape: [4, 3], axes: [1] }, f32(3)),
    sampleWith({ shape: [3, 5], axes: [0, 1] }, f32(3, 1)),
    sampleWith({ shape: [2, 3, 17], axes: [] }, f32()),
    sampleWith({ shape: [2, 3, 4], axes: [1] }, i64(3)),
    sampleWith({ shape: [0, 3], axes: [1] }, f32(3)),
    sampleWith({ shape: [9, 2], axes: [0, 1] }, bool(1, 2)),
  ],
});

/** Along the axis the first d elements; where d is 1, the sum of all in place of the first. */
function sumIfOne(v: Value, axis: number, d: Dim): Value {
  const cut = v.type.shape.map((size, a) => (a === axis ? d : size));
  const zero = cut.map(() => 0);
  const first = slice([v], { starts: zero, sizes: cut, steps: cut.map(() => 1) });
  const total = broadcast([sum([v], { axes: [axis], keepDims: true })], { shape: cut, axes: cut.map((_, a) => a) });
  const isOne = eq([dimSize([], { size: d }), dimSize([], { size: 1 })]);
  return select([broadcast([isOne], { shape: cut, axes: [] }), total, first]);
}

type SliceAttrs = {
  readonly starts: readonly Dim[];
  readonly sizes: readonly Dim[];
  readonly steps: readonly number[];
};

export const slice: PrimitiveOp<"slice", SliceAttrs> = defineOp<"slice", SliceAttrs>({
  name: "slice",
  operands: ["x"],
  summary:
    "Along each axis the elements start, start + step, … (size of them). Steps may be negative; every index must lie inside.",
  attrs: {
    starts: "first index of each axis",
    sizes: "number of elements of each axis",
    steps: "distance between elements, not 0",
  },
  infer: ([x], { starts, sizes, steps }) => {
    const rank = x!.shape.length;
    if (starts.length !== rank || sizes.length !== rank || steps.length !== rank) {
      throw new ModelError(`slice of ${typeText(x!)} needs ${rank} starts, sizes and steps`);
    }
    x!.shape.forEach((d, a) => {
      const step = steps[a]!;
      if (!Number.isInteger(step) || step === 0)
        throw new ModelError(`step ${step} of axis ${a} is not a non-zero integer`);
      const first = dimBounds(starts[a]!);
      const lastMinusSize = dimBounds(dimSub(dimAdd(starts[a]!, dimMul(dimSub(sizes[a]!, 1), step)), d));
      const none = dimBounds(sizes[a]!).max === 0;
      if (!none && (first.max < 0 || (step > 0 && dimBounds(sizes[a]!).min > 0 && lastMinusSize.min >= 0))) {
        throw new ModelError(
          `slice [start ${dimText(starts[a]!)}, size ${dimText(sizes[a]!)}, step ${step}] leaves axis ${a} of ${typeText(x!)}`,
        );
      }
      const last = dimAdd(starts[a]!, dimMul(dimSub(sizes[a]!, 1), step));
      const [low, high] = step > 0 ? [starts[a]!, last] : [last, starts[a]!];
      const text = `the elements ${dimText(starts[a]!)} to ${dimText(last)} must lie inside axis ${a} of ${typeText(x!)}`;
      // Nothing is read where the size is 0.
      const any = dimMin(sizes[a]!, 1);
      assumeNotNegative(dimMul(any, low), text);
      assumeNotNegative(dimMul(any, dimSub(dimSub(d, 1), high)), text);
    });
    return { dtype: x!.dtype, shape: sizes };
  },
  reference: ([x], { attrs, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    const strides = stridesOf(x!.shape);
    const starts = attrs.starts.map(dim);
    forEachIndex(out.shape, (index, flat) => {
      out.data[flat] = x!.data[index.reduce((s, v, a) => s + (starts[a]! + v * attrs.steps[a]!) * strides[a]!, 0)]!;
    });
    return out;
  },
  // The adjoint writes dy into zeros: interior padding by |step| − 1, then padding on both sides.
  vjp: ({ dy, operands: [x], attrs: { starts, sizes, steps } }) => {
    const zeros = sizes.map(() => 0);
    const forward = steps.some((s) => s < 0)
      ? slice([dy], {
          starts: sizes.map((d, a) => (steps[a]! < 0 ? dimSub(d, 1) : 0)),
          sizes,
          steps: steps.map((s) => (s < 0 ? -1 : 1)),
        })
      : dy;
    if (sizes.some((d) => d === 0)) return [constantLike(x!, 0)];
    // dy goes back between zeros: |step| − 1 inside, the rest of the axis around.
    const span = sizes.map((d, a) => dimMul(dimSub(d, 1), Math.abs(steps[a]!)));
    const low = starts.map((s, a) => (steps[a]! < 0 ? dimSub(s, span[a]!) : s));
    const high = x!.type.shape.map((d, a) => dimSub(d, dimAdd(dimAdd(low[a]!, span[a]!), 1)));
    return [pad([forward], { low, high, interior: zeros.map((_, a) => Math.abs(steps[a]!) - 1), value: 0 })];
  },
  accuracy: "exact",
  samples: [
    sampleWith({ starts: [1, 0], sizes: [2, 3], steps: [1, 1] }, f32(4, 3)),
    sampleWith({ starts: [0, 5], sizes: [3, 3], steps: [1, -2] }, f32(3, 6)),
    sampleWith({ starts: [16], sizes: [17], steps: [-1] }, f32(17)),
    sampleWith({ starts: [1], sizes: [4], steps: [3] }, i64(11)),
    sampleWith({ starts: [0, 2], sizes: [0, 1], steps: [1, 1] }, f32(3, 4)),
  ],
});

type UpdateSliceAttrs = { readonly starts: readonly Dim[]; readonly hint?: string };

export const updateSlice: PrimitiveOp<"updateSlice", UpdateSliceAttrs> = defineOp<"updateSlice", UpdateSliceAttrs>({
  name: "updateSlice",
  operands: ["x", "update"],
  summary:
    "x with the update over the elements from `starts` on. The update has the axes of x and must lie inside it. Where x is a state whose next value this is, only the update is written.",
  attrs: { starts: "first index of each axis", hint: "what to do where the update does not fit, for people" },
  infer: ([x, update], { starts, hint }) => {
    const [to, from] = [x!, update!];
    const is = `update ${typeText(from)} at [${starts.map(dimText)}] of ${typeText(to)}`;
    if (from.dtype !== to.dtype || from.shape.length !== to.shape.length || starts.length !== to.shape.length)
      throw new ModelError(`${is}: one dtype, one rank and a start for each axis are needed`);
    to.shape.forEach((d, a) => {
      const text = () =>
        `${dimText(dimAdd(starts[a]!, from.shape[a]!))} must be at most ${dimText(d)}, the size of axis ${a} of ${typeText(to)}`;
      requireAtLeast(starts[a]!, 0, () => `${is} begins before axis ${a}`);
      requireAtMost(dimAdd(starts[a]!, from.shape[a]!), d, text, hint);
    });
    return to;
  },
  reference: ([x, update], { attrs, dim }) => {
    const out: Tensor = { ...x!, data: x!.data.slice() };
    const strides = stridesOf(out.shape);
    const first = attrs.starts.reduce<number>((at, s, a) => at + dim(s) * strides[a]!, 0);
    forEachIndex(update!.shape, (index, flat) => {
      out.data[index.reduce((at, i, a) => at + i * strides[a]!, first)] = update!.data[flat]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [, update], attrs: { starts } }) => [
    updateSlice([dy, constantLike(update!, 0)], { starts }),
    slice([dy], { starts, sizes: update!.type.shape, steps: starts.map(() => 1) }),
  ],
  accuracy: "exact",
  samples: [
    sampleWith({ starts: [1, 0] }, f32(4, 3), f32(2, 3)),
    sampleWith({ starts: [0, 2, 1] }, f32(2, 5, 17), f32(2, 3, 9)),
    sampleWith({ starts: [4] }, i64(9), i64(5)),
    sampleWith({ starts: [3, 0] }, bool(3, 4), bool(0, 4)),
    sampleWith({ starts: [0, 1] }, of("f16", 2, 6), of("f16", 2, 4)),
    sampleWith({ starts: [] }, f32(), f32()),
  ],
});

type PadAttrs = {
  readonly low: readonly Dim[];
  readonly high: readonly Dim[];
  readonly interior: readonly number[];
  readonly value: number;
};

export const pad: PrimitiveOp<"pad", PadAttrs> = defineOp<"pad", PadAttrs>({
  name: "pad",
  operands: ["x"],
  summary:
    "x with a constant around it: `low` before, `high` after, `interior` between neighbouring elements of each axis.",
  attrs: {
    low: "elements before, per axis, ≥ 0",
    high: "elements after, per axis, ≥ 0",
    interior: "elements between neighbours, per axis",
    value: "what to pad with",
  },
  infer: ([x], { low, high, interior }) => {
    const rank = x!.shape.length;
    if (low.length !== rank || high.length !== rank || interior.length !== rank) {
      throw new ModelError(`pad of ${typeText(x!)} needs ${rank} values of low, high and interior`);
    }
    const text = () => `pads [${low.map(dimText)}], [${high.map(dimText)}] of ${typeText(x!)} must not be negative`;
    for (const d of [...low, ...high, ...interior]) requireAtLeast(d, 0, text);
    return {
      dtype: x!.dtype,
      shape: x!.shape.map((d, a) => {
        const gaps = interior[a] === 0 ? 0 : dimMul(dimMax(dimSub(d, 1), 0), interior[a]!);
        return dimAdd(dimAdd(d, gaps), dimAdd(low[a]!, high[a]!));
      }),
    };
  },
  reference: ([x], { attrs, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    if (!Object.is(attrs.value, 0)) for (let i = 0; i < out.data.length; i++) setElement(out, i, attrs.value);
    const low = attrs.low.map(dim);
    const strides = stridesOf(out.shape);
    forEachIndex(x!.shape, (index, flat) => {
      const to = index.reduce((s, v, a) => s + (low[a]! + v * (attrs.interior[a]! + 1)) * strides[a]!, 0);
      out.data[to] = x!.data[flat]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [x], attrs: { low, interior } }) => [
    slice([dy], { starts: low, sizes: x!.type.shape, steps: interior.map((i) => i + 1) }),
  ],
  accuracy: "exact",
  samples: [
    sampleWith({ low: [1, 2], high: [0, 1], interior: [0, 0], value: 0 }, f32(2, 3)),
    sampleWith({ low: [1], high: [2], interior: [2], value: 1.5 }, f32(4)),
    sampleWith({ low: [3], high: [3], interior: [0], value: -1 }, i64(4)),
    sampleWith({ low: [2], high: [0], interior: [0], value: 0 }, f32(0)),
    sampleWith({ low: [0, 1, 1], high: [0, 1, 1], interior: [0, 0, 0], value: -Infinity }, f32(2, 5, 6)),
  ],
});

export const concat: PrimitiveOp<"concat", { axis: number }> = defineOp<"concat", { axis: number }>({
  name: "concat",
  operands: ["...parts"],
  summary: "Tensors joined along one axis.",
  attrs: { axis: "axis to join along, not negative" },
  infer: (parts, { axis }) => {
    const first = parts[0];
    if (first === undefined) throw new ModelError("concat needs at least one operand");
    if (normalizeAxis(axis, first.shape.length) !== axis) throw new ModelError("concat takes a non-negative axis");
    let shape = first.shape;
    for (const t of parts.slice(1)) {
      if (t.dtype !== first.dtype)
        throw new ModelError(`concat of ${typeText(first)} and ${typeText(t)}: one dtype is needed`);
      if (t.shape.length !== shape.length)
        throw new ModelError(`concat of ${typeText(first)} and ${typeText(t)}: one rank is needed`);
      const size = dimAdd(shape[axis]!, t.shape[axis]!);
      shape = mergeShapes(
        shape.map((d, a) => (a === axis ? size : d)),
        t.shape.map((d, a) => (a === axis ? size : d)),
      );
    }
    return { dtype: first.dtype, shape };
  },
  reference: (parts, { attrs: { axis } }) => {
    const first = parts[0]!;
    const total = parts.reduce((n, t) => n + t.shape[axis]!, 0);
    const out = zeros(
      first.dtype,
      first.shape.map((d, a) => (a === axis ? total : d)),
    );
    const strides = stridesOf(out.shape);
    let offset = 0;
    for (const t of parts) {
      forEachIndex(t.shape, (index, flat) => {
        out.data[index.reduce((s, v, a) => s + (a === axis ? v + offset : v) * strides[a]!, 0)] = t.data[flat]!;
      });
      offset += t.shape[axis]!;
    }
    return out;
  },
  vjp: ({ dy, operands, attrs: { axis } }) => {
    let offset: Dim = 0;
    return operands.map((x) => {
      const start = offset;
      offset = dimAdd(offset, x.type.shape[axis]!);
      return slice([dy], {
        starts: x.type.shape.map((_, a) => (a === axis ? start : 0)),
        sizes: x.type.shape,
        steps: x.type.shape.map(() => 1),
      });
    });
  },
  accuracy: "exact",
  samples: [
    sampleWith({ axis: 0 }, f32(2, 3), f32(1, 3)),
    sampleWith({ axis: 1 }, f32(2, 3), f32(2, 5), f32(2, 0)),
    sampleWith({ axis: 1 }, i64(2, 1, 2), i64(2, 3, 2)),
    sampleWith({ axis: 0 }, bool(9), bool(8)),
  ],
});
