/** ONNX's element types (TensorProto.DataType) and wasmith's names for them. */

import type { DType } from "../../ir/dtype.js";

/** Every element type of an ONNX tensor that wasmith represents. Complex types and float6 are not among them. */
export type OnnxDType = DType | "string";

interface Row {
  readonly code: number;
  /** ONNX's own name, for messages. */
  readonly onnx: string;
  /** Bits per element in raw_data; 0 for strings, which have none. */
  readonly bits: number;
}

export const DTYPES = {
  f32: { code: 1, onnx: "float", bits: 32 },
  u8: { code: 2, onnx: "uint8", bits: 8 },
  i8: { code: 3, onnx: "int8", bits: 8 },
  u16: { code: 4, onnx: "uint16", bits: 16 },
  i16: { code: 5, onnx: "int16", bits: 16 },
  i32: { code: 6, onnx: "int32", bits: 32 },
  i64: { code: 7, onnx: "int64", bits: 64 },
  string: { code: 8, onnx: "string", bits: 0 },
  bool: { code: 9, onnx: "bool", bits: 8 },
  f16: { code: 10, onnx: "float16", bits: 16 },
  f64: { code: 11, onnx: "double", bits: 64 },
  u32: { code: 12, onnx: "uint32", bits: 32 },
  u64: { code: 13, onnx: "uint64", bits: 64 },
  bf16: { code: 16, onnx: "bfloat16", bits: 16 },
  f8e4m3fn: { code: 17, onnx: "float8e4m3fn", bits: 8 },
  f8e4m3fnuz: { code: 18, onnx: "float8e4m3fnuz", bits: 8 },
  f8e5m2: { code: 19, onnx: "float8e5m2", bits: 8 },
  f8e5m2fnuz: { code: 20, onnx: "float8e5m2fnuz", bits: 8 },
  u4: { code: 21, onnx: "uint4", bits: 4 },
  i4: { code: 22, onnx: "int4", bits: 4 },
  f4e2m1: { code: 23, onnx: "float4e2m1", bits: 4 },
  f8e8m0: { code: 24, onnx: "float8e8m0", bits: 8 },
  u2: { code: 25, onnx: "uint2", bits: 2 },
  i2: { code: 26, onnx: "int2", bits: 2 },
} as const satisfies { readonly [D in OnnxDType]: Row };

const UNSUPPORTED: Readonly<Record<number, string>> = {
  14: "complex64",
  15: "complex128",
  27: "float6e2m3",
  28: "float6e3m2",
};

const byCode = new Map(Object.entries(DTYPES).map(([name, row]) => [row.code as number, name as OnnxDType]));

/** The dtype of an ONNX element type code; undefined for codes that wasmith doesn't represent. */
export function dtypeOfCode(code: number): OnnxDType | undefined {
  return byCode.get(code);
}

export function codeOfDType(dtype: OnnxDType): number {
  return DTYPES[dtype].code;
}

/** ONNX's name of an element type code, for messages. */
export function describeCode(code: number): string {
  const dtype = byCode.get(code);
  return dtype ? DTYPES[dtype].onnx : (UNSUPPORTED[code] ?? `element type ${code}`);
}
