/** Dense host tensors: constants, feeds of the reference evaluator, stored weights. Row-major. */

import { type DType, dtypeInfo, isFloat, requireDType, roundFloat, type TensorData, wrapInt } from "./dtype.js";
import { ModelError } from "./errors.js";
import { decodeE8M0, decodeFloat, encodeE8M0, encodeFloat } from "./float-formats.js";

export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** f16 and bf16 hold bit patterns, bool holds 0 and 1, sub-byte types one element a byte. */
  readonly data: TensorData;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * shape[i + 1]!;
  return strides;
}

/** A tensor over existing data. Throws ModelError when the length does not match the shape. */
export function tensor(dtype: DType, shape: readonly number[], data: TensorData): Tensor {
  const info = dtypeInfo[requireDType(dtype)];
  if (!(data instanceof info.array)) {
    throw new ModelError(`a ${dtype} tensor is held in ${info.array.name}, not ${data.constructor.name}`);
  }
  if (data.length !== elementCount(shape)) {
    throw new ModelError(`shape [${shape}] has ${elementCount(shape)} elements, but the data has ${data.length}`);
  }
  return { dtype, shape, data };
}

/** A tensor of zeros. */
export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  return { dtype, shape, data: new dtypeInfo[requireDType(dtype)].array(elementCount(shape)) };
}

/** A tensor of the given real numbers, rounded (floats) or wrapped (integers) to the dtype. */
export function tensorFrom(dtype: DType, shape: readonly number[], values: ArrayLike<number | bigint>): Tensor {
  const t = zeros(dtype, shape);
  if (values.length !== t.data.length) {
    throw new ModelError(`shape [${shape}] has ${t.data.length} elements, but ${values.length} were given`);
  }
  for (let i = 0; i < values.length; i++) setElement(t, i, values[i]!);
  return t;
}

/** A rank-0 tensor. */
export function scalar(dtype: DType, value: number | bigint): Tensor {
  return tensorFrom(dtype, [], [value]);
}

/** Element i as a double. 64-bit integers beyond 2^53 lose digits: use `bigElement` where that matters. */
export function element(t: Tensor, i: number): number {
  const raw = t.data[i]!;
  if (typeof raw === "bigint") return Number(raw);
  switch (t.dtype) {
    case "f16":
    case "bf16":
    case "f8e4m3fn":
    case "f8e4m3fnuz":
    case "f8e5m2":
    case "f8e5m2fnuz":
    case "f4e2m1":
      return decodeFloat(t.dtype, raw);
    case "f8e8m0":
      return decodeE8M0(raw);
    default:
      return raw;
  }
}

/** Element i of an integer or bool tensor, exactly. */
export function bigElement(t: Tensor, i: number): bigint {
  const raw = t.data[i]!;
  return typeof raw === "bigint" ? raw : BigInt(raw);
}

/** Stores a value, rounding floats to nearest even and wrapping integers; bool becomes 0 or 1. */
export function setElement(t: Tensor, i: number, value: number | bigint): void {
  const { dtype, data } = t;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    data[i] = typeof value === "bigint" ? value : BigInt(Math.trunc(value));
    return;
  }
  switch (dtype) {
    case "bool":
      data[i] = value ? 1 : 0;
      return;
    case "f16":
    case "bf16":
    case "f8e4m3fn":
    case "f8e4m3fnuz":
    case "f8e5m2":
    case "f8e5m2fnuz":
    case "f4e2m1":
      data[i] = encodeFloat(dtype, Number(value));
      return;
    case "f8e8m0":
      data[i] = encodeE8M0(Number(value));
      return;
    case "f32":
    case "f64": {
      const x = Number(value);
      // A NaN that arithmetic made has whatever sign and payload the engine gave it.
      data[i] = Number.isNaN(x) ? Number.NaN : x;
      return;
    }
    case "i4":
    case "i2": {
      data[i] = Number(BigInt.asIntN(dtype === "i4" ? 4 : 2, BigInt(value)));
      return;
    }
    case "u4":
    case "u2": {
      data[i] = Number(BigInt.asUintN(dtype === "u4" ? 4 : 2, BigInt(value)));
      return;
    }
    default:
      data[i] = typeof value === "bigint" ? Number(wrapInt(dtype as "i32", value)) : value;
  }
}

/** All elements as doubles. */
export function toNumbers(t: Tensor): number[] {
  return Array.from({ length: t.data.length }, (_, i) => element(t, i));
}

/** Doubles of a float or integer tensor in one typed array, for arithmetic in references. */
export function toFloat64(t: Tensor): Float64Array {
  if (t.data instanceof Float64Array) return t.data;
  if (t.data instanceof Float32Array) return Float64Array.from(t.data);
  return Float64Array.from(toNumbers(t));
}

/** A view of the same elements under another shape. */
export function reshaped(t: Tensor, shape: readonly number[]): Tensor {
  return { dtype: t.dtype, shape, data: t.data };
}

/** Equal dtype, shape and bits (NaN equals NaN of the same pattern; −0 differs from 0). */
export function sameTensor(a: Tensor, b: Tensor): boolean {
  if (a === b) return true;
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length || a.data.length !== b.data.length) return false;
  if (!a.shape.every((d, i) => d === b.shape[i])) return false;
  const x = bytesOf(a);
  const y = bytesOf(b);
  return x.every((v, i) => v === y[i]);
}

/** The bytes of the tensor's data (a view). */
export function bytesOf(t: Tensor): Uint8Array {
  return new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
}

/** Calls `visit` with each multi-index of the shape in row-major order. The same array is reused. */
export function forEachIndex(shape: readonly number[], visit: (index: readonly number[], flat: number) => void): void {
  const n = elementCount(shape);
  const index = new Array<number>(shape.length).fill(0);
  for (let flat = 0; flat < n; flat++) {
    visit(index, flat);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** Rounds a double to the dtype and back. */
export function roundTo(d: DType, x: number): number {
  return isFloat(d) ? roundFloat(d, x) : x;
}
