/** Building blocks that several op tables share, on top of ir/build.ts. */

import { concatenate, dimScalar, reshapeTo } from "../../ir/build.js";
import type { Dim } from "../../ir/dim.js";
import { type DType, intRange, isDType, isFloat, isInt } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { type Tensor, tensor, tensorFrom } from "../../ir/tensor.js";
import type { Bound } from "./context.js";
import type { OnnxTensor } from "./tensor.js";

export const host = (value: Tensor): Value => constant([], { value });

export const vector = (dtype: DType, values: readonly (number | bigint)[]): Value =>
  host(tensorFrom(dtype, [values.length], values));

/** A vector along one axis of a tensor of the given rank: shape [1, …, n, …, 1]. */
export function alongAxis(x: Value, axis: number, rank: number): Value {
  const shape: Dim[] = Array(rank).fill(1);
  shape[axis] = x.type.shape[0]!;
  return reshapeTo(x, shape);
}

/** Sizes as an i64 vector. */
export function dimVector(dims: readonly Dim[]): Value {
  if (dims.every((d) => typeof d === "number")) return vector("i64", dims as number[]);
  return concatenate(
    dims.map((d) => reshapeTo(dimScalar(d, "i64"), [1])),
    0,
  );
}

/** The smallest value of a dtype. */
export function lowestOf(dtype: DType): number | bigint {
  return isFloat(dtype) ? Number.NEGATIVE_INFINITY : isInt(dtype) ? intRange(dtype).min : 0;
}

/** The IR's constant of an initializer, which keeps its name, or of another tensor; or strings. */
export function bindTensor(t: OnnxTensor, name?: string): Bound {
  if (t.dtype === "string") return { kind: "strings", tensor: t };
  if (!isDType(t.dtype)) throw new InternalError(`no dtype ${t.dtype}`);
  const value = tensor(t.dtype, t.shape, t.data as Exclude<OnnxTensor["data"], readonly string[]>);
  return constant([], name === undefined ? { value } : { value, name });
}
