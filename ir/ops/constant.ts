/** Values without operands. */

import type { Dim } from "../dim.js";
import { type DType, isFloat, isStorageOnly } from "../dtype.js";
import { ModelError } from "../errors.js";
import type { Shape, Value } from "../graph.js";
import { normalizeAxis, requireAtLeast } from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { sampleWith } from "../sample.js";
import { forEachIndex, scalar, setElement, type Tensor, tensorFrom, zeros } from "../tensor.js";
import { broadcast } from "./movement.js";

type ConstantAttrs = { readonly value: Tensor; readonly name?: string };

export const constant: PrimitiveOp<"constant", ConstantAttrs> = defineOp<"constant", ConstantAttrs>({
  name: "constant",
  operands: [],
  summary: "A dense tensor known at compile time.",
  attrs: { value: "the tensor", name: "of the weight that it is, where it is one; means nothing to what is computed" },
  infer: (_, { value }) => ({ dtype: value.dtype, shape: value.shape }),
  reference: (_, { attrs }) => attrs.value,
  vjp: "zero",
  accuracy: "exact",
  samples: [
    sampleWith({ value: tensorFrom("f32", [2, 3], [1, -2, 0.1, -0, Infinity, Number.NaN]) }),
    sampleWith({ value: tensorFrom("i64", [2], [1n << 60n, -5n]) }),
    sampleWith({ value: scalar("bool", 1) }),
    sampleWith({ value: tensorFrom("f32", [2], [1, 2]), name: "layer.weight" }),
    sampleWith({ value: tensorFrom("f16", [3], [1.5, -0.1, 65504]) }),
  ],
});

type IotaAttrs = { readonly dtype: DType; readonly shape: Shape; readonly axis: number };

export const iota: PrimitiveOp<"iota", IotaAttrs> = defineOp<"iota", IotaAttrs>({
  name: "iota",
  operands: [],
  summary: "0, 1, 2, … along one axis, equal along the others.",
  attrs: { dtype: "element type of the result", shape: "shape of the result", axis: "axis that counts" },
  infer: (_, { dtype, shape, axis }) => {
    if (isStorageOnly(dtype) || dtype === "bool") throw new ModelError(`iota does not make ${dtype}`);
    if (normalizeAxis(axis, shape.length) !== axis) throw new ModelError("iota takes a non-negative axis");
    return { dtype, shape };
  },
  reference: (_, { attrs, types, dim }) => {
    const out = zeros(attrs.dtype, types[0]!.shape.map(dim));
    forEachIndex(out.shape, (index, flat) => {
      const i = index[attrs.axis]!;
      setElement(out, flat, isFloat(attrs.dtype) ? i : BigInt(i));
    });
    return out;
  },
  vjp: "zero",
  accuracy: "exact",
  samples: [
    sampleWith({ dtype: "f32", shape: [9], axis: 0 }),
    sampleWith({ dtype: "i64", shape: [3, 4], axis: 1 }),
    sampleWith({ dtype: "i32", shape: [3, 4, 2], axis: 1 }),
    sampleWith({ dtype: "u8", shape: [5], axis: 0 }),
  ],
});

export type DimSizeAttrs = { readonly size: Dim; readonly atLeast?: number };

export const dimSize: PrimitiveOp<"dimSize", DimSizeAttrs> = defineOp<"dimSize", DimSizeAttrs>({
  name: "dimSize",
  operands: [],
  summary: "The value of a dimension expression as a rank-0 i64.",
  attrs: { size: "the expression", atLeast: "what it must be at least: a smaller size is refused" },
  infer: (_, { size, atLeast }) => {
    if (atLeast !== undefined) requireAtLeast(size, atLeast);
    return { dtype: "i64", shape: [] };
  },
  reference: (_, { attrs, dim }) => scalar("i64", BigInt(dim(attrs.size))),
  vjp: "none",
  accuracy: "exact",
  samples: [sampleWith({ size: 7 }), sampleWith({ size: 7, atLeast: 2 })],
});

/** A rank-0 constant. Throws ModelError where the dtype would lose the number's fraction. */
export function scalarConstant(dtype: DType, value: number | bigint): Value {
  if (typeof value === "number" && !isFloat(dtype) && !isStorageOnly(dtype) && !Number.isInteger(value))
    throw new ModelError({
      message: `${value} is not a number of dtype ${dtype}`,
      hint: `cast the ${dtype} tensor to a float, or round the number`,
    });
  return constant([], { value: scalar(dtype, value) });
}

/** A tensor filled with one value. */
export const full = (dtype: DType, shape: Shape, value: number | bigint): Value =>
  shape.length === 0 ? scalarConstant(dtype, value) : broadcast([scalarConstant(dtype, value)], { shape, axes: [] });

/** A tensor of the type of x, filled with one value. */
export const constantLike = (x: Value, value: number | bigint): Value => full(x.type.dtype, x.type.shape, value);
