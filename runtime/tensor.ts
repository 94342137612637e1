/** Tensors as callers see them, and their element types. */
import { describe } from "./errors.js";
import { arrayTypes, type DimInfo, type DType, type ManifestDim } from "./format.js";

interface Arrays {
  Float32Array: Float32Array;
  Float64Array: Float64Array;
  Int8Array: Int8Array;
  Uint8Array: Uint8Array;
  Int16Array: Int16Array;
  Uint16Array: Uint16Array;
  Int32Array: Int32Array;
  Uint32Array: Uint32Array;
  BigInt64Array: BigInt64Array;
  BigUint64Array: BigUint64Array;
}
/** Over any kind of buffer. */
export type DataOf<D extends DType> = Arrays[InstanceType<(typeof arrayTypes)[D]>[typeof Symbol.toStringTag]];
export type TensorData = DataOf<DType>;

/** A dense, row-major tensor. */
export type Tensor<D extends DType = DType> = {
  [K in D]: { readonly dtype: K; readonly shape: readonly number[]; readonly data: DataOf<K> };
}[D];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Bytes that a tensor takes. */
export const byteSize = (dtype: DType, shape: readonly number[]): number =>
  sizeOf(shape) * arrayTypes[dtype].BYTES_PER_ELEMENT;

const bare = (d: ManifestDim): string => (typeof d === "number" ? String(d) : d.dim);
/** `f32[batch, 3, 224, 224]` */
export const signature = (t: { readonly dtype: DType; readonly shape: readonly ManifestDim[] }): string =>
  `${t.dtype}[${t.shape.map(bare).join(", ")}]`;

/** Whether a size is one that the dim may have. */
export const isInRange = ({ min, max }: DimInfo, size: number): boolean =>
  Number.isInteger(size) && size >= min && size <= (max ?? 2 ** 31 - 1);

/** `[1, ∞]` */
export const rangeText = ({ min, max }: DimInfo): string => `[${min}, ${max ?? "∞"}]`;

/** A view of `count` elements at a byte address. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, at: number, count: number): TensorData {
  return new arrayTypes[dtype](buffer as ArrayBuffer, at, count);
}

/** The bytes of an array, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Arrays whose elements are those of a dtype as well: of newer platforms, and of pictures. */
const also: { readonly [dtype: string]: string } = { f16: "Float16Array ", u8: "Uint8ClampedArray " };

/** True if the array may hold elements of the dtype. */
export function holds(dtype: DType, data: unknown): data is TensorData {
  return data instanceof arrayTypes[dtype] || describe(data).startsWith(also[dtype] ?? "!");
}

// Bits of the exponent and the mantissa.
type Layout = readonly [exponent: number, mantissa: number];
const f16: Layout = [5, 10];
const bf16: Layout = [8, 7];
const scratch = new DataView(new ArrayBuffer(8));

/** Rounds to nearest, ties to even; too large gives ∞. */
function encode(x: number, [eb, mb]: Layout): number {
  const infinity = (2 ** eb - 1) * 2 ** mb;
  if (Number.isNaN(x)) return infinity + 2 ** (mb - 1);
  const sign = x < 0 || Object.is(x, -0) ? 2 ** (eb + mb) : 0;
  const a = Math.abs(x);
  if (a === Infinity) return sign + infinity;
  scratch.setFloat64(0, a);
  const lowest = 2 - 2 ** (eb - 1);
  const e = Math.max(lowest, (scratch.getUint16(0) >> 4) - 1023);
  // Adding and taking away 2^52 rounds to an integer. The leading 1 of a normal number carries into the exponent.
  const rounded = a / 2 ** (e - mb) + 2 ** 52 - 2 ** 52;
  return sign + Math.min(infinity, (e - lowest) * 2 ** mb + rounded);
}

function decode(bits: number, [eb, mb]: Layout): number {
  const sign = bits >> (eb + mb) ? -1 : 1;
  const e = (bits >> mb) & (2 ** eb - 1);
  const m = bits & (2 ** mb - 1);
  if (e === 2 ** eb - 1) return m ? NaN : sign * Infinity;
  const lowest = 2 - 2 ** (eb - 1);
  return sign * (e ? (m + 2 ** mb) * 2 ** (e - 1 + lowest - mb) : m * 2 ** (lowest - mb));
}

/** Bit patterns of IEEE 754 half precision; rounds to nearest even. */
export const toFloat16 = (values: ArrayLike<number>): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, (x) => encode(x, f16));
export const fromFloat16 = (bits: ArrayLike<number>): Float32Array<ArrayBuffer> =>
  Float32Array.from(bits, (x) => decode(x, f16));
/** Bit patterns of bfloat16; rounds to nearest even. */
export const toBFloat16 = (values: ArrayLike<number>): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, (x) => encode(x, bf16));
export const fromBFloat16 = (bits: ArrayLike<number>): Float32Array<ArrayBuffer> =>
  Float32Array.from(bits, (x) => decode(x, bf16));
