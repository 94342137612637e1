/** Feeds with NaNs, and the bits of NaNs in results. */

import type { DType } from "../../ir/dtype.js";
import type { Tensor } from "../../ir/tensor.js";

interface Format {
  readonly bits: 16 | 32 | 64;
  readonly nan: bigint;
  readonly infinity: bigint;
  /** −1, whose root is a NaN. */
  readonly minusOne: bigint;
}

const formats: { readonly [D in DType]?: Format } = {
  f64: { bits: 64, nan: 0x7ff8n << 48n, infinity: 0x7ff0n << 48n, minusOne: 0xbff0n << 48n },
  f32: { bits: 32, nan: 0x7fc00000n, infinity: 0x7f800000n, minusOne: 0xbf800000n },
  f16: { bits: 16, nan: 0x7e00n, infinity: 0x7c00n, minusOne: 0xbc00n },
  bf16: { bits: 16, nan: 0x7fc0n, infinity: 0x7f80n, minusOne: 0xbf80n },
};

const wordsOf = ({ bits }: Format, { data }: Tensor): BigUint64Array | Uint32Array | Uint16Array => {
  const Words = bits === 64 ? BigUint64Array : bits === 32 ? Uint32Array : Uint16Array;
  return new Words(data.buffer as ArrayBuffer, data.byteOffset, data.length);
};

/** The tensor with the usual NaN, both infinities and −1 among its elements. */
export function withNans(t: Tensor): Tensor {
  const format = formats[t.dtype];
  if (!format) return t;
  const { bits, nan, infinity, minusOne } = format;
  const kinds = [nan, infinity, infinity + (1n << BigInt(bits - 1)), minusOne];
  const made = { ...t, data: t.data.slice() } as Tensor;
  const words = wordsOf(format, made);
  for (let i = 0; i < words.length; i += 3) {
    const kind = kinds[(i / 3) % kinds.length]!;
    words[i] = words instanceof BigUint64Array ? kind : Number(kind);
  }
  return made;
}

/** The bits of NaNs that are not the usual one. */
export function strangeNans(t: Tensor): readonly string[] {
  const format = formats[t.dtype];
  if (!format) return [];
  const { bits, nan, infinity } = format;
  const magnitude = (1n << BigInt(bits - 1)) - 1n;
  const strange = Array.from(wordsOf(format, t), BigInt).filter((w) => (w & magnitude) > infinity && w !== nan);
  return [...new Set(strange)].map((word) => word.toString(16));
}
