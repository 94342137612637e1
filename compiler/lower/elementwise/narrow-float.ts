/** 8- and 4-bit float formats in registers: bit patterns in an i32, values in an f32. The host's definition is ir/float-formats.ts. */

import type { StorageDType } from "../../../ir/dtype.js";
import { floatFormat, largestFinite, type NarrowFloat } from "../../../ir/float-formats.js";
import type { Expr } from "../../../ir/loop.js";
import type { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";

export type StoredFloat = Extract<StorageDType, `f${string}`>;

/** The f32 value of a bit pattern; every such value is an f32. */
export function decodeStored(b: Block, format: StoredFloat, pattern: Expr): Expr {
  const bits = b.let("bits", pattern);
  if (format === "f8e8m0") {
    // 2^−127 is a subnormal f32.
    const field = B.select(B.eq(bits, 0), 0x00400000, B.shl(bits, 23));
    return B.select(B.eq(bits, 255), B.f32(Number.NaN), B.bitcast("f32", field));
  }
  const f = floatFormat(format);
  const { exponentBits: e, mantissaBits: m, bias } = f;
  const top = (1 << e) - 1;
  const exponent = b.let("exponent", B.and(B.shrU(bits, m), top));
  const mantissa = b.let("mantissa", B.and(bits, (1 << m) - 1));
  const normal = B.bitcast("f32", B.or(B.shl(B.add(exponent, 127 - bias), 23), B.shl(mantissa, 23 - m)));
  const subnormal = B.mul(B.convert("f32.from_i32S", mantissa), B.f32(2 ** (1 - bias - m)));
  const negative = B.ne(B.and(bits, 1 << (e + m)), 0);
  let magnitude = B.select(B.eq(exponent, 0), subnormal, normal);
  if (f.specials === "ieee") {
    const special = B.select(B.eq(mantissa, 0), B.f32(Infinity), B.f32(Number.NaN));
    magnitude = B.select(B.eq(exponent, top), special, magnitude);
  }
  const value = b.let("magnitude", magnitude);
  const signed = B.select(negative, B.neg(value), value);
  if (f.unsignedZero) return B.select(B.eq(bits, 1 << (e + m)), B.f32(Number.NaN), signed);
  if (f.specials === "nan-only") {
    return B.select(B.eq(B.and(bits, (1 << (e + m)) - 1), (1 << (e + m)) - 1), B.f32(Number.NaN), signed);
  }
  return signed;
}

/** The bit pattern nearest to an f32, ties to even. An f32 that stands for a wider number must carry a sticky last bit. */
export function encodeStored(b: Block, format: StoredFloat, x: Expr, saturate: boolean): Expr {
  const value = b.let("value", x);
  const a = b.let("a", B.abs(value));
  const nan = B.ne(value, value);
  const aBits = b.let("aBits", B.bitcast("i32", a));
  if (format === "f8e8m0") {
    const up = B.add(B.shrU(aBits, 23), B.select(B.ne(B.and(aBits, 0x7fffff), 0), 1, 0));
    const code = B.select(B.le(a, B.f32(2 ** -127)), 0, up);
    return B.select(nan, 255, saturate ? B.minS(code, 254) : B.minS(code, 255));
  }
  return encodeBits(b, format, { value, a, aBits, nan }, saturate);
}

interface Parts {
  readonly value: Expr;
  readonly a: Expr;
  readonly aBits: Expr;
  readonly nan: Expr;
}

function encodeBits(b: Block, format: NarrowFloat, { value, a, aBits, nan }: Parts, saturate: boolean): Expr {
  const f = floatFormat(format);
  const { exponentBits: e, mantissaBits: m, bias } = f;
  const sign = 1 << (e + m);
  const nanCode = f.unsignedZero ? sign : f.specials === "ieee" ? (((1 << e) - 1) << m) | (1 << (m - 1)) : sign - 1;
  const max = largestFinite(format);
  // Quantum of the binade: |x| scaled by a power of two so that rounding to an integer rounds to the format.
  const binade = b.let("binade", B.maxS(B.sub(B.shrU(aBits, 23), 127), 1 - bias));
  const scale = B.bitcast("f32", B.shl(B.sub(127 + m, binade), 23));
  const rounded = b.let("rounded", B.convert("i32.from_f32S", B.nearest(B.mul(a, scale))));
  const normal = B.add(B.shl(B.add(binade, bias), m), B.sub(rounded, 1 << m));
  const code = b.let("code", B.select(B.ltS(rounded, 1 << m), rounded, normal));
  const negative = B.ltS(B.bitcast("i32", value), 0);
  const withSign = (bits: Expr): Expr => B.select(negative, B.or(bits, sign), bits);
  const finite = f.unsignedZero ? B.select(B.eq(code, 0), 0, withSign(code)) : withSign(code);
  const beyond =
    saturate || format === "f4e2m1"
      ? withSign(B.i32(max))
      : f.specials === "ieee"
        ? withSign(B.i32(((1 << e) - 1) << m))
        : f.unsignedZero
          ? B.i32(nanCode)
          : withSign(B.i32(nanCode));
  const over = B.or(B.eq(a, B.f32(Infinity)), B.gtS(code, max));
  return B.select(nan, nanCode, B.select(over, beyond, finite));
}
