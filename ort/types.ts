/** Element types by the names that onnxruntime gives them, what holds their elements there, and wasmith's names. */

import type { OnnxDType } from "../compiler/onnx/dtype.js";
import type { DType } from "../ir/dtype.js";
import { ModelError } from "../ir/errors.js";

/** onnxruntime's types, and those of ONNX that it has no tensors of in JavaScript. */
export type TensorType = (typeof tensorTypes)[number];

/** What holds elements: float16 and bfloat16 as bits where the engine has no `Float16Array`, bool as 0 and 1, two of (u)int4 a byte. */
export type TensorDataOf<T extends TensorType> = T extends "string"
  ? string[]
  : T extends "float32"
    ? Float32Array
    : T extends "float64"
      ? Float64Array
      : T extends "int8" | "int2"
        ? Int8Array
        : T extends "int16"
          ? Int16Array
          : T extends "float16" | "uint16" | "bfloat16"
            ? Uint16Array
            : T extends "int32"
              ? Int32Array
              : T extends "uint32"
                ? Uint32Array
                : T extends "int64"
                  ? BigInt64Array
                  : T extends "uint64"
                    ? BigUint64Array
                    : Uint8Array;

export type TensorData = TensorDataOf<TensorType>;
export type NumericData = Exclude<TensorData, string[]>;

/** Constructor of the typed array of a type. */
export interface ArrayConstructor {
  new (length: number): NumericData;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): NumericData;
  from(values: Iterable<number> | Iterable<bigint>): NumericData;
  readonly name: string;
}

export const tensorTypes = [
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
  "uint4",
  "int4",
  "bfloat16",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "float8e8m0",
  "float4e2m1",
  "uint2",
  "int2",
] as const;

const dtypeOf: Readonly<Record<TensorType, OnnxDType>> = {
  float32: "f32",
  uint8: "u8",
  int8: "i8",
  uint16: "u16",
  int16: "i16",
  int32: "i32",
  int64: "i64",
  string: "string",
  bool: "bool",
  float16: "f16",
  float64: "f64",
  uint32: "u32",
  uint64: "u64",
  uint4: "u4",
  int4: "i4",
  bfloat16: "bf16",
  float8e4m3fn: "f8e4m3fn",
  float8e4m3fnuz: "f8e4m3fnuz",
  float8e5m2: "f8e5m2",
  float8e5m2fnuz: "f8e5m2fnuz",
  float8e8m0: "f8e8m0",
  float4e2m1: "f4e2m1",
  uint2: "u2",
  int2: "i2",
};

const typeOf = Object.fromEntries(Object.entries(dtypeOf).map(([type, dtype]) => [dtype, type])) as Readonly<
  Record<OnnxDType, TensorType>
>;

export const isTensorType = (name: unknown): name is TensorType =>
  typeof name === "string" && (tensorTypes as readonly string[]).includes(name);

/** onnxruntime's name of a dtype. */
export const typeOfDType = (dtype: OnnxDType): TensorType => typeOf[dtype];

/** wasmith's name of a type. @throws ModelError for strings, and for what is no type */
export function dtypeOfType(type: string, where: string): DType {
  const dtype = isTensorType(type) ? dtypeOf[type] : undefined;
  if (dtype === "string")
    throw new ModelError({
      where,
      message: "tensors of strings are not supported",
      hint: "process text before the model, and give it numbers",
    });
  if (dtype === undefined)
    throw new ModelError({
      where,
      message: `there is no tensor type ${JSON.stringify(type)}`,
      hint: `there are: ${tensorTypes.join(", ")}`,
    });
  return dtype;
}

/** `Float16Array`, where the engine has it. */
export const float16Array = (): ArrayConstructor | undefined =>
  (globalThis as { readonly Float16Array?: ArrayConstructor }).Float16Array;

const arrays: Readonly<Record<Exclude<TensorType, "string" | "float16">, ArrayConstructor>> = (() => {
  const row = (array: unknown): ArrayConstructor => array as ArrayConstructor;
  const bytes = row(Uint8Array);
  return {
    float32: row(Float32Array),
    uint8: bytes,
    int8: row(Int8Array),
    uint16: row(Uint16Array),
    int16: row(Int16Array),
    int32: row(Int32Array),
    int64: row(BigInt64Array),
    bool: bytes,
    float64: row(Float64Array),
    uint32: row(Uint32Array),
    uint64: row(BigUint64Array),
    uint4: bytes,
    int4: bytes,
    bfloat16: row(Uint16Array),
    float8e4m3fn: bytes,
    float8e4m3fnuz: bytes,
    float8e5m2: bytes,
    float8e5m2fnuz: bytes,
    float8e8m0: bytes,
    float4e2m1: bytes,
    uint2: bytes,
    int2: row(Int8Array),
  };
})();

/** The typed array that holds elements of a type. */
export const arrayOf = (type: Exclude<TensorType, "string">): ArrayConstructor =>
  type === "float16" ? (float16Array() ?? (Uint16Array as unknown as ArrayConstructor)) : arrays[type];

/** The type whose elements an array holds where nothing else is said. */
export function typeOfArray(data: ArrayBufferView): TensorType | undefined {
  if (data.constructor === float16Array()) return "float16";
  return (Object.keys(arrays) as (keyof typeof arrays)[]).find(
    (type) => type !== "bool" && (data.constructor as unknown) === arrays[type],
  );
}

/** Whether two elements share a byte, the first in its lower half. */
export const isPacked = (type: TensorType): type is "int4" | "uint4" => type === "int4" || type === "uint4";
