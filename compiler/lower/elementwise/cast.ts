/** Conversions between dtypes in registers, with the semantics of the `cast` op: floats round once, integers wrap, float → integer saturates. */

import { type DType, dtypeInfo, isFloat, isSigned } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import type { Expr } from "../../../ir/loop.js";
import type { Block } from "../../../ir/loop-block.js";
import * as B from "../../../ir/loop-build.js";
import { registerOf } from "../core/kernel-builder.js";
import { decodeStored, encodeStored, type StoredFloat } from "./narrow-float.js";
import { bind, same, settle } from "./registers.js";

const isStoredFloat = (d: DType): d is StoredFloat => d.startsWith("f8") || d === "f4e2m1";
const isHalf = (d: DType): boolean => d === "f16" || d === "bf16";

export function castExpr(b: Block, x: Expr, from: DType, to: DType, saturate: boolean): Expr {
  if (from === to) return x;
  if (isStoredFloat(from)) return castExpr(b, decodeStored(b, from, x), "f32", to, saturate);
  if (to === "bool") return toBool(x, from);
  if (isStoredFloat(to)) return encodeStored(b, to, toWideF32(b, x, from), saturate);
  if (from === "bool") return fromBool(x, to);
  if (isFloat(from)) return isFloat(to) ? floatToFloat(b, x, from, to) : floatToInt(x, from, to);
  return isFloat(to) ? intToFloat(b, x, from, to) : intToInt(x, from, to);
}

/** Whether the same code converts a vector of four. 32-bit integers become half floats by way of f64, of which a vector has two. */
export const castsLanes = (from: DType, to: DType): boolean =>
  !(isHalf(to) && !isFloat(from) && from !== "bool" && dtypeInfo[from].bits > 16);

function toBool(x: Expr, from: DType): Expr {
  if (isFloat(from)) return B.ne(x, same(x, 0));
  return B.convert(x.type === "i64" ? "mask.from_i64" : "mask.from_i32", x);
}

function fromBool(x: Expr, to: DType): Expr {
  const register = registerOf(to);
  switch (register) {
    case "f32":
      // As lanes: the mask of a vector chooses among vectors of f32.
      return x.type === "mask32x4"
        ? B.select(x, B.constant("f32x4", 1), B.constant("f32x4", 0))
        : B.select(x, B.f32(1), B.f32(0));
    case "f64":
      return B.select(x, B.f64(1), B.f64(0));
    case "i32":
      return B.convert("i32.from_mask", x);
    case "i64":
      return B.convert("i64.from_i32U", B.convert("i32.from_mask", x));
    case "mask":
      return x;
  }
}

function floatToFloat(b: Block, x: Expr, from: DType, to: DType): Expr {
  if (from === "f64") return to === "f32" ? B.convert("f32.from_f64", x) : settle(to, stickyF32(b, x));
  if (to === "f64") return B.convert("f64.from_f32", x);
  return settle(to, x);
}

/**
 * An f64 as an f32 rounded to odd: inexact results have their last bit set, so that rounding again to a narrower type rounds
 * as if once.
 */
function stickyF32(b: Block, x0: Expr): Expr {
  const x = bind(b, x0, "wide");
  const near = b.let("near", B.convert("f32.from_f64", x));
  const back = b.let("back", B.convert("f64.from_f32", near));
  const bits = B.bitcast("i32", near);
  const towardsZero = b.let("towardsZero", B.select(B.gt(B.abs(back), B.abs(x)), B.sub(bits, 1), bits));
  return B.bitcast("f32", B.select(B.ne(back, x), B.or(towardsZero, 1), towardsZero));
}

/** A 64-bit integer as an f64 whose last bit is sticky: exact below 2^53, rounded to odd above. */
function stickyF64(b: Block, x0: Expr, signed: boolean): Expr {
  const x = bind(b, x0, "wide");
  const low = B.and(x, B.i64(0x7ffn));
  const cut = B.and(x, B.i64(~0x7ffn));
  const sticky = B.select(B.ne(low, B.i64(0n)), B.or(cut, B.i64(0x800n)), cut);
  const limit = B.i64(1n << 53n);
  const small = signed ? B.and(B.ltS(x, limit), B.gtS(x, B.i64(-(1n << 53n)))) : B.ltU(x, limit);
  return B.convert(signed ? "f64.from_i64S" : "f64.from_i64U", B.select(small, x, sticky));
}

/** Any number as an f32 that rounds to narrower formats as the number itself would. */
function toWideF32(b: Block, x: Expr, from: DType): Expr {
  if (from === "bool") return fromBool(x, "f32");
  if (from === "f64") return stickyF32(b, x);
  if (isFloat(from)) return x;
  const signed = isSigned(from);
  if (x.type === "i64") return stickyF32(b, stickyF64(b, x, signed));
  if (dtypeInfo[from].bits <= 16) return B.convert("f32.from_i32S", x);
  return stickyF32(b, B.convert(signed ? "f64.from_i32S" : "f64.from_i32U", x));
}

function intToFloat(b: Block, x: Expr, from: DType, to: DType): Expr {
  const signed = isSigned(from);
  if (isHalf(to)) return settle(to, toWideF32(b, x, from));
  const narrow = x.type !== "i64";
  if (to === "f32") {
    return narrow
      ? B.convert(from === "u32" ? "f32.from_i32U" : "f32.from_i32S", x)
      : B.convert(signed ? "f32.from_i64S" : "f32.from_i64U", x);
  }
  return narrow
    ? B.convert(from === "u32" ? "f64.from_i32U" : "f64.from_i32S", x)
    : B.convert(signed ? "f64.from_i64S" : "f64.from_i64U", x);
}

/** Truncates and saturates; NaN → 0. */
function floatToInt(x: Expr, from: DType, to: DType): Expr {
  const wide = from === "f64";
  switch (to) {
    case "i64":
      return B.convert(wide ? "i64.from_f64S" : "i64.from_f32S", x);
    case "u64":
      return B.convert(wide ? "i64.from_f64U" : "i64.from_f32U", x);
    case "i32":
      return B.convert(wide ? "i32.from_f64S" : "i32.from_f32S", x);
    case "u32":
      return B.convert(wide ? "i32.from_f64U" : "i32.from_f32U", x);
    default: {
      const { bits, signed } = dtypeInfo[to];
      const i = B.convert(wide ? "i32.from_f64S" : "i32.from_f32S", x);
      const low = signed ? -(2 ** (bits - 1)) : 0;
      const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
      return B.minS(B.maxS(i, same(i, low)), same(i, high));
    }
  }
}

function intToInt(x: Expr, from: DType, to: DType): Expr {
  const toWide = registerOf(to) === "i64";
  if (x.type === "i64") return toWide ? x : settle(to, B.convert("i32.from_i64", x));
  if (toWide) return B.convert(from === "u32" ? "i64.from_i32U" : "i64.from_i32S", x);
  return settle(to, x);
}

/** The same bits in another type of the same width. Half floats are read as such from memory instead. */
export function bitcastExpr(x: Expr, from: DType, to: DType): Expr {
  if (isHalf(from) || isHalf(to) || isStoredFloat(from) || isStoredFloat(to)) {
    throw new InternalError(`bitcast of ${from} to ${to} in a register`);
  }
  const register = registerOf(to);
  if (register !== x.type) return B.bitcast(register, x);
  return settle(to, x);
}
