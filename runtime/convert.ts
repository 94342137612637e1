/** Numbers as elements of another dtype: what data sets and `fit` share. */
import { arrayTypes, type DType } from "./format.js";
import { fromBFloat16, fromFloat16, type TensorData, toBFloat16, toFloat16 } from "./tensor.js";

/** dtypes whose elements are shown as plain values; those of the others are bit patterns, and stay tensors. */
const plain = ["f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool"] as const;

export const isPlain = (dtype: DType): boolean => (plain as readonly DType[]).includes(dtype);

/** The dtype of a bare typed array; f16, bf16, bool and others that share an array type are told apart by tensors only. */
export function dtypeOfArray(data: unknown): DType | undefined {
  // Not the constructor's name: a Buffer of Node is a Uint8Array.
  const name = ArrayBuffer.isView(data) ? (data as TensorData)[Symbol.toStringTag] : undefined;
  if ((name as string) === "Uint8ClampedArray") return "u8";
  return plain.find((d) => arrayTypes[d].name === name);
}

/** Whether elements are numbers, or bits that `numbersOf` decodes. */
export const isNumeric = (dtype: DType): boolean => isPlain(dtype) || dtype === "f16" || dtype === "bf16";

/** The numbers that elements of an array stand for: bit patterns are decoded. */
export const numbersOf = (dtype: DType, data: TensorData): ArrayLike<number | bigint> =>
  dtype === "f16"
    ? fromFloat16(data as Uint16Array)
    : dtype === "bf16"
      ? fromBFloat16(data as Uint16Array)
      : (data as ArrayLike<number | bigint>);

/** Elements of the dtype. Floats round; @returns the index of the first value that is no number which the dtype holds, where there is one */
export function elementsOf(dtype: DType, values: ArrayLike<unknown>): TensorData | number {
  const numbers = Array.from(values, (v) => (typeof v === "boolean" ? Number(v) : v));
  const other = numbers.findIndex((v) => typeof v !== "number" && typeof v !== "bigint");
  if (other >= 0) return other;
  if (dtype === "f16" || dtype === "bf16") {
    const floats = numbers.map(Number);
    return dtype === "f16" ? toFloat16(floats) : toBFloat16(floats);
  }
  const out = new arrayTypes[dtype](numbers.length);
  const wide = out instanceof BigInt64Array || out instanceof BigUint64Array;
  const isFloat = dtype === "f32" || dtype === "f64";
  for (const [i, v] of (numbers as (number | bigint)[]).entries()) {
    if (wide) {
      if (typeof v === "number" && !Number.isSafeInteger(v)) return i;
      out[i] = BigInt(v);
      if (out[i] !== BigInt(v)) return i;
    } else {
      (out as Float64Array)[i] = Number(v);
      if (!isFloat && (out[i] !== Number(v) || (dtype === "bool" && Number(v) > 1))) return i;
    }
  }
  return out;
}
