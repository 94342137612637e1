/**
 * Gathers and scatters. Semantics are ONNX's: negative indices count from the end.
 *
 * An index outside [−size, size) is an error of the input: the reference throws ModelError, a run ends in one. Kernels never
 * leave their data and never trap: until then a gather clamps the index into the axis, a scatter drops the update.
 */

import { type DType, isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type Shape, shapeText, typeText, type Value } from "../graph.js";
import { mergeDims, mergeShapes } from "../infer.js";
import { type Accuracy, defineOp, type PrimitiveOp, type Sample, type SampleOperand, type Vjp } from "../op.js";
import { bool, distinct, exactly, f32, i64, of, within } from "../sample.js";
import { elementCount, forEachIndex, stridesOf, type Tensor, zeros } from "../tensor.js";
import { cast } from "./cast.js";
import { constantLike, full, iota } from "./constant.js";
import { div, mul } from "./elementwise.js";
import {
  forEachSlice,
  indexAt,
  requireAxis,
  requireElements,
  requireIndices,
  requireScatter,
  requireWithin,
  type ScatterReduction,
  tupleSize,
  update,
} from "./indexing-places.js";
import { eq } from "./logic.js";
import { concat, invertPermutation, productOf, reshape, transpose } from "./movement.js";

const storages: readonly DType[] = ["f16", "bf16", "i8", "u8", "i16", "i32", "u32", "i64", "u64", "bool", "f8e4m3fn"];

/** Away from 0, where products have no gradient by division. */
const positive = (operand: SampleOperand): SampleOperand => within(0.5, 2, operand);
/** Updates, on another grid than `positive` so that none ties with an element. */
const apart = (operand: SampleOperand): SampleOperand => within(0.53, 2.07, operand);

/** A scatterElements sample with the given indices; operands stay away from ties and zeros. */
function scatterSample(
  attrs: ScatterElementsAttrs,
  x: SampleOperand,
  indices: readonly number[],
  ...shape: number[]
): Sample<ScatterElementsAttrs> {
  const [own, updates] = isFloat(x.dtype)
    ? [distinct(positive(x)), distinct(apart({ ...x, shape }))]
    : [x, { ...x, shape }];
  return { operands: [own, exactly(indices, i64(...shape)), updates], attrs };
}

const axisDoc = "axis that is indexed, not negative";

// ---------------------------------------------------------------------------------------------------- gather

export type GatherAttrs = { readonly axis: number; readonly checked?: boolean };

const checkedDoc = "another node checks the same indices, or they are known to lie inside, so that this one only";

export const gather: PrimitiveOp<"gather", GatherAttrs> = defineOp<"gather", GatherAttrs>({
  name: "gather",
  operands: ["x", "indices"],
  summary:
    "Slices of x along an axis, at the given indices: the axis is replaced by the axes of indices (ONNX Gather). Indices out of range are an error.",
  attrs: { axis: axisDoc, checked: `${checkedDoc} clamps what is out of range` },
  infer: ([x, indices], { axis }) => {
    requireIndices(indices!);
    requireAxis(axis, x!);
    requireElements(x!, axis, indices!);
    return { dtype: x!.dtype, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] };
  },
  reference: ([x, indices], { attrs: { axis }, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    const outer = elementCount(x!.shape.slice(0, axis));
    const inner = elementCount(x!.shape.slice(axis + 1));
    const size = x!.shape[axis]!;
    const count = indices!.data.length;
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < count; i++) {
        const from = (o * size + indexAt(indices!, i, size)) * inner;
        const to = (o * count + i) * inner;
        for (let j = 0; j < inner; j++) out.data[to + j] = x!.data[from + j]!;
      }
    }
    return out;
  },
  // Rows of dy are added to the rows of x they came from, with the indexed axis moved to the front.
  vjp: ({ dy, operands: [x, indices], attrs: { axis } }) => {
    const rank = x!.type.shape.length;
    const k = indices!.type.shape.length;
    const front = [axis, ...Array.from({ length: rank }, (_, a) => a).filter((a) => a !== axis)];
    const dyRank = dy.type.shape.length;
    const indexAxes = Array.from({ length: k }, (_, i) => axis + i);
    const dyFront = [
      ...indexAxes,
      ...Array.from({ length: dyRank }, (_, a) => a).filter((a) => a < axis || a >= axis + k),
    ];
    const zero = full(
      x!.type.dtype,
      front.map((a) => x!.type.shape[a]!),
      0,
    );
    const rows = reshape([indices!], { shape: [...indices!.type.shape, 1] });
    const added = scatterND([zero, rows, move(dy, dyFront)], { reduction: "add" });
    return [move(added, invertPermutation(front)), undefined];
  },
  accuracy: "exact",
  samples: [
    { operands: [f32(4, 3), exactly([2, 0, -1], i64(3))], attrs: { axis: 0 } },
    { operands: [f32(6, 17), exactly([5, 5, 0, 3, -6, 1, 2, 5], i64(2, 4))], attrs: { axis: 0 } },
    { operands: [f32(2, 5, 3), exactly([4, 0, 4, -2], of("i32", 2, 2))], attrs: { axis: 1 } },
    { operands: [f32(3, 9), exactly([8, -9], i64(2))], attrs: { axis: 1 } },
    { operands: [f32(3, 4), exactly([2], i64())], attrs: { axis: 0 } },
    { operands: [f32(3, 4), i64(0)], attrs: { axis: 1 } },
    { operands: [f32(3, 0), exactly([1, 1], i64(2))], attrs: { axis: 0 } },
    { operands: [of("f64", 5), exactly([1, 1, 4], i64(3))], attrs: { axis: 0 } },
    ...storages.map((d) => ({ operands: [of(d, 5, 2), exactly([3, -1, 0], i64(3))], attrs: { axis: 0 } })),
  ],
});

function move(v: Value, perm: readonly number[]): Value {
  return perm.every((p, i) => p === i) ? v : transpose([v], { perm });
}

export const gatherElements: PrimitiveOp<"gatherElements", { axis: number }> = defineOp<
  "gatherElements",
  { axis: number }
>({
  name: "gatherElements",
  operands: ["x", "indices"],
  summary:
    "For each place of indices the element of x at the same place, but for the indexed axis, where the index decides (ONNX GatherElements, torch.gather). Other axes of indices may be shorter than x's. Indices out of range are an error.",
  attrs: { axis: axisDoc },
  infer: ([x, indices], { axis }) => {
    requireIndices(indices!);
    requireAxis(axis, x!);
    requireWithin(x!, axis, indices!);
    requireElements(x!, axis, indices!);
    return { dtype: x!.dtype, shape: indices!.shape };
  },
  reference: ([x, indices], { attrs: { axis } }) => {
    const out = zeros(x!.dtype, indices!.shape);
    const strides = stridesOf(x!.shape);
    forEachIndex(out.shape, (index, flat) => {
      const at = indexAt(indices!, flat, x!.shape[axis]!);
      out.data[flat] = x!.data[index.reduce((s, v, a) => s + (a === axis ? at : v) * strides[a]!, 0)]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [x, indices], attrs: { axis } }) => [
    scatterElements([constantLike(x!, 0), indices!, dy], { axis, reduction: "add" }),
    undefined,
  ],
  accuracy: "exact",
  samples: [
    { operands: [f32(3, 5), exactly([0, 4, -1, 2, 2, 2, 1, 0, 3, -5, 4, 0], i64(3, 4))], attrs: { axis: 1 } },
    { operands: [f32(4, 3), exactly([3, 0, -4, 1, 1, 2], of("i32", 2, 3))], attrs: { axis: 0 } },
    { operands: [f32(2, 3, 2), exactly([2, 1, 0, -1], i64(2, 1, 2))], attrs: { axis: 1 } },
    { operands: [of("f64", 17), exactly([16, 0, 0], i64(3))], attrs: { axis: 0 } },
    { operands: [i64(3, 2), exactly([2, 0], i64(1, 2))], attrs: { axis: 0 } },
    { operands: [bool(5), exactly([4, 0], i64(2))], attrs: { axis: 0 } },
    { operands: [of("f16", 5), exactly([4, 0], i64(2))], attrs: { axis: 0 } },
    { operands: [f32(3, 4), i64(3, 0)], attrs: { axis: 1 } },
  ],
});

export const gatherND: PrimitiveOp<"gatherND", { batchDims: number }> = defineOp<"gatherND", { batchDims: number }>({
  name: "gatherND",
  operands: ["x", "indices"],
  summary:
    "The last axis of indices holds index tuples into the axes of x after the batch axes; each tuple is replaced by the slice of x that it names (ONNX GatherND). Indices out of range are an error.",
  attrs: { batchDims: "number of leading axes that x and indices share" },
  infer: ([x, indices], { batchDims }) => {
    requireIndices(indices!);
    if (indices!.shape.length <= batchDims || x!.shape.length < batchDims) {
      throw new ModelError(`${typeText(x!)} and indices ${typeText(indices!)} do not have ${batchDims} batch axes`);
    }
    const k = tupleSize(indices!, x!.shape.length - batchDims);
    const batch = x!.shape.slice(0, batchDims).map((d, a) => mergeDims(d, indices!.shape[a]!));
    for (let i = 0; i < k; i++) requireElements(x!, batchDims + i, indices!);
    return {
      dtype: x!.dtype,
      shape: [...batch, ...indices!.shape.slice(batchDims, -1), ...x!.shape.slice(batchDims + k)],
    };
  },
  reference: ([x, indices], { attrs: { batchDims }, types, dim }) => {
    const out = zeros(x!.dtype, types[0]!.shape.map(dim));
    forEachSlice(x!, indices!, batchDims, (at, to, inner) => {
      for (let j = 0; j < inner; j++) out.data[to + j] = x!.data[at + j]!;
    });
    return out;
  },
  vjp: ({ dy, operands: [x, indices], attrs: { batchDims } }) => [
    scatterND([constantLike(x!, 0), withBatchIndices(indices!, batchDims), dy], { reduction: "add" }),
    undefined,
  ],
  accuracy: "exact",
  samples: [
    { operands: [f32(3, 4), exactly([0, 1, 2, -1, 0, 1], i64(3, 2))], attrs: { batchDims: 0 } },
    { operands: [f32(3, 4), exactly([2, -3], i64(2, 1))], attrs: { batchDims: 0 } },
    { operands: [f32(2, 3, 4), exactly([1, -1], i64(2, 1))], attrs: { batchDims: 1 } },
    { operands: [f32(2, 3, 4), exactly([1, 0, 2, 3, 0, 0, -1, -1], of("i32", 2, 2, 2))], attrs: { batchDims: 1 } },
    { operands: [f32(3, 4), i64(2, 0)], attrs: { batchDims: 0 } },
    { operands: [i64(3, 4), exactly([2, 3], i64(2))], attrs: { batchDims: 0 } },
    { operands: [of("f64", 5, 2), exactly([4, 0, 4], i64(3, 1))], attrs: { batchDims: 0 } },
    { operands: [bool(5), exactly([4, 0], i64(2, 1))], attrs: { batchDims: 0 } },
  ],
});

/** Index tuples of gatherND with the batch position spelled out in front, for an op without batch axes. */
function withBatchIndices(indices: Value, batchDims: number): Value {
  if (batchDims === 0) return indices;
  const column: Shape = [...indices.type.shape.slice(0, -1), 1];
  const own = Array.from({ length: batchDims }, (_, axis) =>
    iota([], { dtype: indices.type.dtype, shape: column, axis }),
  );
  return concat([...own, indices], { axis: column.length - 1 });
}

// --------------------------------------------------------------------------------------------------- scatter

const reductionDoc = 'how an update meets what is there: "none" replaces, "add", "mul", "min", "max"';
const order = 'Updates apply in row-major order of the indices, so with "none" the last of duplicates stays.';

/** Gather and scatter of one family, as scatter gradients need them. */
interface Access {
  readonly gather: (x: Value) => Value;
  readonly scatter: (x: Value, updates: Value, reduction: ScatterReduction) => Value;
}

/**
 * Cotangents of a scatter.
 * - none: the last of duplicates wins. dx is dy with overwritten places zeroed; an update's share is dy where its own value
 *   survived, which is known by scattering the ordinals of the updates.
 * - add: dx = dy, du = dy gathered.
 * - mul: dx = dy · y / x, du = (dy · y) gathered / u; an operand of exactly 0 gives NaN, as in prod.
 * - min, max: dy goes to the operands that equal the result; ties share equally.
 */
function scatterVjp(
  dy: Value,
  y: Value,
  x: Value,
  updates: Value,
  reduction: ScatterReduction,
  access: Access,
): readonly (Value | undefined)[] {
  switch (reduction) {
    case "none": {
      const count = productOf(updates.type.shape);
      const ordinals = reshape([iota([], { dtype: "i64", shape: [count], axis: 0 })], { shape: updates.type.shape });
      const winners = access.scatter(full("i64", x.type.shape, -1), ordinals, "none");
      const survived = cast([eq([access.gather(winners), ordinals])], { to: dy.type.dtype });
      const kept = access.scatter(dy, constantLike(updates, 0), "none");
      return [kept, undefined, mul([access.gather(dy), survived])];
    }
    case "add":
      return [dy, undefined, access.gather(dy)];
    case "mul": {
      const scaled = mul([dy, y]);
      return [div([scaled, x]), undefined, div([access.gather(scaled), updates])];
    }
    case "min":
    case "max": {
      const here = cast([eq([x, y])], { to: dy.type.dtype });
      const there = cast([eq([updates, access.gather(y)])], { to: dy.type.dtype });
      const share = div([dy, access.scatter(here, there, "add")]);
      return [mul([here, share]), undefined, mul([there, access.gather(share)])];
    }
  }
}

/** Sums in another order may differ in the last places; other reductions are exact. */
const scatterAccuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };

export type { ScatterReduction };
export type ScatterElementsAttrs = { readonly axis: number; readonly reduction: ScatterReduction };

const scatterElementsVjp: Vjp<ScatterElementsAttrs> = ({ dy, y, operands, attrs: { axis, reduction } }) => {
  const [x, indices, updates] = operands as readonly [Value, Value, Value];
  return scatterVjp(dy, y, x, updates, reduction, {
    gather: (v) => gatherElements([v, indices], { axis }),
    scatter: (v, u, r) => scatterElements([v, indices, u], { axis, reduction: r }),
  });
};

export const scatterElements: PrimitiveOp<"scatterElements", ScatterElementsAttrs> = defineOp<
  "scatterElements",
  ScatterElementsAttrs
>({
  name: "scatterElements",
  operands: ["x", "indices", "updates"],
  summary: `x with each update put where gatherElements with the same indices would read (ONNX ScatterElements). ${order} Indices out of range are an error.`,
  attrs: { axis: axisDoc, reduction: reductionDoc },
  infer: ([x, indices, updates], { axis, reduction }) => {
    requireScatter(x!, indices!, updates!, reduction);
    requireAxis(axis, x!);
    requireWithin(x!, axis, indices!);
    mergeShapes(indices!.shape, updates!.shape);
    return x!;
  },
  reference: ([x, indices, updates], { attrs: { axis, reduction } }) => {
    const out: Tensor = { ...x!, data: x!.data.slice() };
    const strides = stridesOf(out.shape);
    forEachIndex(indices!.shape, (index, flat) => {
      const at = indexAt(indices!, flat, out.shape[axis]!);
      const to = index.reduce((s, v, a) => s + (a === axis ? at : v) * strides[a]!, 0);
      update(out, to, updates!, flat, reduction);
    });
    return out;
  },
  vjp: scatterElementsVjp,
  accuracy: scatterAccuracy,
  samples: [
    ...(["none", "add", "mul", "min", "max"] as const).flatMap((reduction) => [
      scatterSample({ axis: 1, reduction }, f32(3, 5), [0, 4, -2, 2, 2, 0, 1, 0, 1, -5, 4, 0], 3, 4),
      scatterSample({ axis: 0, reduction }, of("f64", 6, 2), [5, 0, -1, 0, 5, 2], 3, 2),
      scatterSample({ axis: 0, reduction }, within(1, 9, i64(4)), [3, 3, 0], 3),
      scatterSample({ axis: 0, reduction }, within(1, 9, of("u8", 4)), [3, 3, 0], 3),
      scatterSample({ axis: 0, reduction }, of("f16", 4), [1, 2, 1], 3),
    ]),
    scatterSample({ axis: 0, reduction: "none" as const }, bool(5), [1, -1], 2),
    scatterSample({ axis: 1, reduction: "add" as const }, f32(2, 3), [], 2, 0),
    scatterSample(
      { axis: 0, reduction: "add" as const },
      f32(3),
      [0, 0, 0, 0, 2, 2, 2, 0, 1, 0, 2, 1, 1, 0, 2, 0, 0],
      17,
    ),
  ],
});

export type ScatterNDAttrs = { readonly reduction: ScatterReduction; readonly checked?: boolean };

export const scatterND: PrimitiveOp<"scatterND", ScatterNDAttrs> = defineOp<"scatterND", ScatterNDAttrs>({
  name: "scatterND",
  operands: ["x", "indices", "updates"],
  summary: `x with each slice of updates put where gatherND with the same indices would read (ONNX ScatterND). ${order} Indices out of range are an error.`,
  attrs: {
    reduction: reductionDoc,
    checked: `${checkedDoc} drops what is out of range`,
  },
  infer: ([x, indices, updates], { reduction }) => {
    requireScatter(x!, indices!, updates!, reduction);
    if (indices!.shape.length === 0) throw new ModelError("indices must have at least one axis");
    const k = tupleSize(indices!, x!.shape.length);
    const want = [...indices!.shape.slice(0, -1), ...x!.shape.slice(k)];
    if (want.length !== updates!.shape.length) {
      throw new ModelError(`updates ${typeText(updates!)} must have shape ${shapeText(want)}`);
    }
    mergeShapes(want, updates!.shape);
    return x!;
  },
  reference: ([x, indices, updates], { attrs: { reduction } }) => {
    const out: Tensor = { ...x!, data: x!.data.slice() };
    forEachSlice(out, indices!, 0, (at, from, inner) => {
      for (let j = 0; j < inner; j++) update(out, at + j, updates!, from + j, reduction);
    });
    return out;
  },
  vjp: ({ dy, y, operands, attrs: { reduction } }) => {
    const [x, indices, updates] = operands as readonly [Value, Value, Value];
    return scatterVjp(dy, y, x, updates, reduction, {
      gather: (v) => gatherND([v, indices], { batchDims: 0 }),
      scatter: (v, u, r) => scatterND([v, indices, u], { reduction: r }),
    });
  },
  accuracy: scatterAccuracy,
  samples: (["none", "add", "mul", "min", "max"] as const).flatMap((reduction): Sample<ScatterNDAttrs>[] => [
    {
      operands: [distinct(positive(f32(5, 3))), exactly([4, 0, -1], i64(3, 1)), distinct(apart(f32(3, 3)))],
      attrs: { reduction },
    },
    {
      operands: [distinct(positive(f32(3, 4))), exactly([0, 1, 2, -1, 0, 1], i64(3, 2)), distinct(apart(f32(3)))],
      attrs: { reduction },
    },
    {
      operands: [
        distinct(positive(of("f64", 4, 2))),
        exactly([1, 1, 0, 3], of("i32", 2, 2, 1)),
        distinct(apart(of("f64", 2, 2, 2))),
      ],
      attrs: { reduction },
    },
    { operands: [within(1, 9, i64(4)), exactly([3, 3], i64(2, 1)), within(1, 9, i64(2))], attrs: { reduction } },
    { operands: [positive(f32(4, 9)), i64(0, 1), positive(f32(0, 9))], attrs: { reduction } },
  ]),
});
