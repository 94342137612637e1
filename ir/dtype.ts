/** Element types: what each is, how the host holds it, how it rounds. */

import { ModelError } from "./errors.js";
import { fromBf16, fromF16, toBf16, toF16 } from "./float-formats.js";
import { dtypeCalled } from "./names.js";

export const computeDtypes = [
  "f32",
  "f64",
  "f16",
  "bf16",
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "bool",
] as const;

/** Types that can only be loaded, cast and stored, one element a byte in memory. */
export const storageDtypes = [
  "f8e4m3fn",
  "f8e4m3fnuz",
  "f8e5m2",
  "f8e5m2fnuz",
  "f8e8m0",
  "f4e2m1",
  "i4",
  "u4",
  "i2",
  "u2",
] as const;

export const dtypes = [...computeDtypes, ...storageDtypes] as const;

export type ComputeDType = (typeof computeDtypes)[number];
export type StorageDType = (typeof storageDtypes)[number];
export type DType = ComputeDType | StorageDType;

export type FloatDType = "f32" | "f64" | "f16" | "bf16";
export type IntDType = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "i64" | "u64";

/** The typed array that holds a tensor's elements on the host (f16/bf16 as bit patterns, bool as 0/1). */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Makes an array of so many zeros, or a view of elements in a buffer. */
export interface ArrayType {
  new (length: number): TensorData;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): TensorData;
  readonly BYTES_PER_ELEMENT: number;
  readonly name: string;
}

interface Row {
  readonly kind: "float" | "int" | "bool";
  /** Bits of an element's own; memory has whole bytes of each. */
  readonly bits: number;
  readonly signed: boolean;
  /** What holds elements on the host. */
  readonly array: ArrayType;
}

interface DTypeInfo extends Row {
  /** Bytes per element in memory. */
  readonly bytes: 1 | 2 | 4 | 8;
}

const rows: Readonly<Record<DType, Row>> = {
  f32: { kind: "float", bits: 32, signed: true, array: Float32Array },
  f64: { kind: "float", bits: 64, signed: true, array: Float64Array },
  f16: { kind: "float", bits: 16, signed: true, array: Uint16Array },
  bf16: { kind: "float", bits: 16, signed: true, array: Uint16Array },
  i8: { kind: "int", bits: 8, signed: true, array: Int8Array },
  u8: { kind: "int", bits: 8, signed: false, array: Uint8Array },
  i16: { kind: "int", bits: 16, signed: true, array: Int16Array },
  u16: { kind: "int", bits: 16, signed: false, array: Uint16Array },
  i32: { kind: "int", bits: 32, signed: true, array: Int32Array },
  u32: { kind: "int", bits: 32, signed: false, array: Uint32Array },
  i64: { kind: "int", bits: 64, signed: true, array: BigInt64Array },
  u64: { kind: "int", bits: 64, signed: false, array: BigUint64Array },
  bool: { kind: "bool", bits: 1, signed: false, array: Uint8Array },
  f8e4m3fn: { kind: "float", bits: 8, signed: true, array: Uint8Array },
  f8e4m3fnuz: { kind: "float", bits: 8, signed: true, array: Uint8Array },
  f8e5m2: { kind: "float", bits: 8, signed: true, array: Uint8Array },
  f8e5m2fnuz: { kind: "float", bits: 8, signed: true, array: Uint8Array },
  f8e8m0: { kind: "float", bits: 8, signed: false, array: Uint8Array },
  f4e2m1: { kind: "float", bits: 4, signed: true, array: Uint8Array },
  i4: { kind: "int", bits: 4, signed: true, array: Int8Array },
  u4: { kind: "int", bits: 4, signed: false, array: Uint8Array },
  i2: { kind: "int", bits: 2, signed: true, array: Int8Array },
  u2: { kind: "int", bits: 2, signed: false, array: Uint8Array },
};

export const dtypeInfo = Object.fromEntries(
  Object.entries(rows).map(([name, row]) => [name, { ...row, bytes: row.array.BYTES_PER_ELEMENT }]),
) as Readonly<Record<DType, DTypeInfo>>;

const names: ReadonlySet<string> = new Set(dtypes);
const storageNames: ReadonlySet<string> = new Set(storageDtypes);

export function isDType(name: string): name is DType {
  return names.has(name);
}
/** The dtype of a name that a user gave. @throws ModelError that says which one other libraries' names mean */
export function requireDType(name: unknown, where?: string): DType {
  if (typeof name === "string" && isDType(name)) return name;
  const called = dtypeCalled(name);
  const shown = typeof name === "string" ? JSON.stringify(name.slice(0, 60)) : String(name);
  throw new ModelError({
    where,
    message: `there is no dtype ${shown}`,
    hint: called === undefined ? `the dtypes are: ${dtypes.join(" ")}` : `wasmith calls it "${called}"`,
  });
}
export function isStorageOnly(d: DType): d is StorageDType {
  return storageNames.has(d);
}
export function isFloat(d: DType): d is FloatDType {
  return dtypeInfo[d].kind === "float" && !isStorageOnly(d);
}
export function isInt(d: DType): d is IntDType {
  return dtypeInfo[d].kind === "int" && !isStorageOnly(d);
}
export function isSigned(d: DType): boolean {
  return dtypeInfo[d].signed;
}
/** i64 and u64, whose host elements are bigints. */
export function isBig(d: DType): d is "i64" | "u64" {
  return d === "i64" || d === "u64";
}

/** Smallest and largest value of an integer type. */
export function intRange(d: IntDType): { readonly min: bigint; readonly max: bigint } {
  const { bits, signed } = dtypeInfo[d];
  return signed
    ? { min: -(1n << BigInt(bits - 1)), max: (1n << BigInt(bits - 1)) - 1n }
    : { min: 0n, max: (1n << BigInt(bits)) - 1n };
}

/** Wraps an exact integer to the type (two's complement). */
export function wrapInt(d: IntDType, x: bigint): bigint {
  const { bits, signed } = dtypeInfo[d];
  return signed ? BigInt.asIntN(bits, x) : BigInt.asUintN(bits, x);
}

/** Rounds a real number to the float type, ties to even. */
export function roundFloat(d: FloatDType, x: number): number {
  switch (d) {
    case "f64":
      return x;
    case "f32":
      return Math.fround(x);
    case "f16":
      return fromF16(toF16(x));
    case "bf16":
      return fromBf16(toBf16(x));
  }
}
