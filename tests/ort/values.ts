/** Between test data of ONNX and the tensors of wasmith/ort. */
import type { ModelValue } from "../../compiler/late/binding.js";
import type { OnnxTensor } from "../../compiler/onnx/tensor.js";
import type { DType } from "../../ir/dtype.js";
import { type OnnxValue as OrtValue, ortValueOf } from "../../ort/convert.js";
import { Tensor } from "../../ort/index.js";
import { typeOfDType } from "../../ort/types.js";
import type { OnnxValue } from "../onnx/data.js";

/** A value of a test as a session takes it. */
export function ortValue(value: OnnxValue): OrtValue {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(ortValue);
  const { dtype, shape, data } = value as OnnxTensor;
  if (dtype === "string") return new Tensor("string", data as readonly string[], shape);
  return ortValueOf({ dtype, shape, data } as ModelValue);
}

const dtypes: Readonly<Record<string, DType>> = Object.fromEntries(
  (["f32", "f64", "f16", "bf16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool"] as const)
    .concat(["f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1", "i4", "u4", "i2", "u2"] as never[])
    .map((dtype) => [typeOfDType(dtype), dtype]),
);

/** A result of a session as the comparison of tests takes it. */
export function modelValue(value: OrtValue): ModelValue {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(modelValue);
  const { type, dims, data } = value as Tensor;
  const dtype = dtypes[type]!;
  if (dtype !== "i4" && dtype !== "u4")
    return { dtype, shape: dims, data: (dtype === "f16" ? bitsOf(data as Uint16Array) : data) as never };
  const size = dims.reduce((n, d) => n * d, 1);
  const nibbles = Array.from({ length: size }, (_, i) => ((data as Uint8Array)[i >> 1]! >> ((i & 1) * 4)) & 15);
  return dtype === "u4"
    ? { dtype, shape: dims, data: Uint8Array.from(nibbles) }
    : { dtype, shape: dims, data: Int8Array.from(nibbles, (x) => (x > 7 ? x - 16 : x)) };
}

const bitsOf = (data: Uint16Array): Uint16Array => new Uint16Array(data.buffer, data.byteOffset, data.length);
