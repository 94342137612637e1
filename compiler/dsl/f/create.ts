/** Tensors out of nothing: constants, ramps, one-hot rows. */

import { asType, dimScalar, dtypeOf, oneHot as hot, np, shapeOf } from "../../../ir/build.js";
import { type Dim, dimSub } from "../../../ir/dim.js";
import { type DType, isDType, isFloat, isInt } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import type { Shape, Value } from "../../../ir/graph.js";
import * as ops from "../../../ir/ops/constant.js";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { describe, tensorProblem } from "../../options.js";

/** Numbers, or lists of them, as deep as the tensor has axes. */
export type Nested = number | bigint | boolean | readonly Nested[];

/** Shape of nested lists. Throws ModelError where they are ragged. */
function listShape(data: Nested): readonly number[] {
  if (!Array.isArray(data)) return [];
  const inner = (data as readonly Nested[]).map(listShape);
  const [first = []] = inner;
  if (inner.some((s) => s.join() !== first.join())) throw new ModelError("the lists of a constant differ in length");
  return [inner.length, ...first];
}

/**
 * A tensor known when compiling (PyTorch's `torch.tensor`): of numbers, nested lists, a typed array (one axis) or a host tensor.
 * Default dtype: f32; bool of booleans, i64 of bigints; of a host tensor its own.
 */
export function constant(data: Nested | ArrayBufferView | Tensor, dtype?: DType): Value {
  if (typeof data === "object" && data !== null && "dtype" in data) {
    const problem = tensorProblem(data);
    if (problem) throw new ModelError(problem);
    const value = ops.constant([], { value: data as Tensor });
    return dtype === undefined ? value : asType(value, dtype);
  }
  if (dtype !== undefined && !isDType(dtype)) throw new ModelError(`there is no dtype ${describe(dtype)}`);
  const list = ArrayBuffer.isView(data) ? Array.from(data as unknown as ArrayLike<number>) : (data as Nested);
  const shape = listShape(list);
  const flat = [list].flat(Number.POSITIVE_INFINITY as 1) as readonly (number | bigint | boolean)[];
  for (const v of flat)
    if (typeof v !== "number" && typeof v !== "bigint" && typeof v !== "boolean")
      throw new ModelError({ where: "F.constant", message: `expected numbers, or lists of them, got ${describe(v)}` });
  const to = dtype ?? (typeof flat[0] === "boolean" ? "bool" : typeof flat[0] === "bigint" ? "i64" : "f32");
  const lost = isInt(to) && flat.find((v) => typeof v === "number" && !Number.isInteger(v));
  if (lost !== false && lost !== undefined)
    throw new ModelError({
      message: `${lost} is not a number of dtype ${to}`,
      hint: "make it f32, and cast it where you round",
    });
  const numbers = flat.map((v) => (typeof v === "boolean" ? Number(v) : v));
  return ops.constant([], { value: tensorFrom(to, shape, isFloat(to) ? numbers.map(Number) : numbers) });
}

/** A tensor of a shape, filled with a number. */
export const full = (shape: Shape, value: number | bigint, dtype: DType = "f32"): Value =>
  ops.full(dtype, shape, value);
/** A tensor of zeros. */
export const zeros = (shape: Shape, dtype: DType = "f32"): Value => ops.full(dtype, shape, 0);
/** A tensor of ones. */
export const ones = (shape: Shape, dtype: DType = "f32"): Value => ops.full(dtype, shape, 1);
/** A tensor of the type of x, filled with a number. */
export const fullLike = (x: Value, value: number | bigint, dtype: DType = dtypeOf(x)): Value =>
  ops.full(dtype, shapeOf(x), value);
/** A tensor of the type of x, of zeros. */
export const zerosLike = (x: Value, dtype: DType = dtypeOf(x)): Value => ops.full(dtype, shapeOf(x), 0);
/** A tensor of the type of x, of ones. */
export const onesLike = (x: Value, dtype: DType = dtypeOf(x)): Value => ops.full(dtype, shapeOf(x), 1);

/** The identity matrix. */
export function eye(rows: Dim, columns: Dim = rows, dtype: DType = "f32"): Value {
  const at = (axis: number) => ops.iota([], { dtype: "i32", shape: [rows, columns], axis });
  return asType(np.eq(at(0), at(1)), dtype);
}

/**
 * start, start + step, … below end: `arange(n)` or `arange(start, end, step)`. Sizes may be symbolic where the step is 1. Default
 * dtype: i64, or f32 where a number is no integer.
 */
export function arange(startOrEnd: Dim, end?: Dim, step = 1, dtype?: DType): Value {
  const [from, to]: readonly [Dim, Dim] = end === undefined ? [0, startOrEnd] : [startOrEnd, end];
  const whole = [from, to, step].every((v) => typeof v !== "number" || Number.isInteger(v));
  const type = dtype ?? (whole ? "i64" : "f32");
  if (typeof from === "number" && typeof to === "number") {
    if (!(Math.abs(step) > 0) || !Number.isFinite((to - from) / step))
      throw new ModelError(`arange needs finite bounds and a step other than 0, not ${from}, ${to}, ${step}`);
    const count = Math.max(0, Math.ceil((to - from) / step));
    if (from === 0 && step === 1) return ops.iota([], { dtype: type, shape: [count], axis: 0 });
    const values = Array.from({ length: count }, (_, i) => from + i * step);
    return constant(values, type);
  }
  if (step !== 1) throw new ModelError("arange over symbolic sizes needs step 1");
  const counter = ops.iota([], { dtype: type, shape: [dimSub(to, from)], axis: 0 });
  return from === 0 ? counter : np.add(counter, dimScalar(from, type));
}

/** `steps` numbers from start to end, both included. */
export function linspace(start: number, end: number, steps: number, dtype: "f32" | "f64" = "f32"): Value {
  if (!Number.isInteger(steps) || steps < 0) throw new ModelError(`linspace needs a count of steps, not ${steps}`);
  const at = (i: number) => (steps === 1 ? start : i === steps - 1 ? end : start + (i * (end - start)) / (steps - 1));
  return constant(
    Array.from({ length: steps }, (_, i) => at(i)),
    dtype,
  );
}

/** `steps` numbers from base^start to base^end, evenly spaced in their logarithms. */
export function logspace(start: number, end: number, steps: number, base = 10): Value {
  if (!Number.isInteger(steps) || steps < 0) throw new ModelError(`logspace needs a count of steps, not ${steps}`);
  const at = (i: number) => base ** (steps === 1 ? start : start + (i * (end - start)) / (steps - 1));
  return constant(Array.from({ length: steps }, (_, i) => at(i)));
}

/** 1 at each index along a new last axis, else 0; indices [...] of integers give [..., numClasses]. PyTorch's is of i64. */
export function oneHot(indices: Value, numClasses: Dim, dtype: DType = "f32"): Value {
  return hot(indices, numClasses, dtype);
}
