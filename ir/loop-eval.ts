/** What each operation of Loop IR computes on one lane: the definition, in plain numbers. */

import { InternalError } from "./errors.js";
import type { BinaryOp, CompareOp, Elem, LoopType, UnaryOp } from "./loop.js";

/** One lane: a bigint for 64-bit integers, else a number; a mask is 0 or 1; narrow integers are signed. */
export type Lane = number | bigint;
export type LaneKind = "i8" | "i16" | "i32" | "i64" | "f32" | "f64" | "mask";

/** A ptr has 32 bits here. */
export const laneKind: Readonly<Record<LoopType, LaneKind>> = {
  i32: "i32",
  ptr: "i32",
  i64: "i64",
  f32: "f32",
  f64: "f64",
  mask: "mask",
  i8x16: "i8",
  i16x8: "i16",
  i32x4: "i32",
  i64x2: "i64",
  f32x4: "f32",
  f64x2: "f64",
  mask8x16: "mask",
  mask16x8: "mask",
  mask32x4: "mask",
  mask64x2: "mask",
};

const bitsOf = { i8: 8, i16: 16, i32: 32, i64: 64 } as const;
type IntKind = keyof typeof bitsOf;
const isInt = (kind: LaneKind): kind is IntKind => kind in bitsOf;

/** Signed value of the low bits. */
export function wrap(kind: IntKind, x: bigint): Lane {
  const value = BigInt.asIntN(bitsOf[kind], x);
  return kind === "i64" ? value : Number(value);
}

const unsigned = (kind: IntKind, x: Lane): bigint => BigInt.asUintN(bitsOf[kind], BigInt(x));
const round = (kind: LaneKind, x: number): number => (kind === "f32" ? Math.fround(x) : x);

/** To the nearest integer, ties to even, keeping the sign of zero. */
export function nearest(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const low = Math.floor(x);
  const fraction = x - low;
  const up = fraction > 0.5 || (fraction === 0.5 && low % 2 !== 0);
  const value = up ? low + 1 : low;
  return value === 0 && (x < 0 || Object.is(x, -0)) ? -0 : value;
}

export function evalUnary(op: UnaryOp, kind: LaneKind, x: Lane): Lane {
  if (kind === "mask") return 1 - Number(x);
  if (isInt(kind)) {
    const n = bitsOf[kind];
    const digits = unsigned(kind, x).toString(2).padStart(n, "0");
    switch (op) {
      case "neg":
        return wrap(kind, -BigInt(x));
      case "abs":
        return wrap(kind, x < 0 ? -BigInt(x) : BigInt(x));
      case "not":
        return wrap(kind, ~BigInt(x));
      case "clz":
        return wrap(kind, BigInt((digits.match(/^0*/) as RegExpMatchArray)[0].length));
      case "ctz":
        return wrap(kind, BigInt((digits.match(/0*$/) as RegExpMatchArray)[0].length));
      case "popcnt":
        return wrap(kind, BigInt(digits.replaceAll("0", "").length));
      default:
        throw new InternalError(`${op} of ${kind}`);
    }
  }
  const v = Number(x);
  switch (op) {
    case "neg":
      return -v;
    case "abs":
      return Math.abs(v);
    case "sqrt":
      return round(kind, Math.sqrt(v));
    case "floor":
      return Math.floor(v);
    case "ceil":
      return Math.ceil(v);
    case "trunc":
      return Math.trunc(v);
    case "nearest":
      return nearest(v);
    default:
      throw new InternalError(`${op} of ${kind}`);
  }
}

/** Operations that work lane by lane. Division by zero throws RangeError, where wasm traps. */
export function evalBinary(op: BinaryOp, kind: LaneKind, a: Lane, b: Lane): Lane {
  if (kind === "mask") {
    if (op === "and") return Number(a) & Number(b);
    return op === "or" ? Number(a) | Number(b) : Number(a) ^ Number(b);
  }
  return isInt(kind) ? intBinary(op, kind, a, b) : floatBinary(op, kind, Number(a), Number(b));
}

function intBinary(op: BinaryOp, kind: IntKind, x: Lane, y: Lane): Lane {
  const [a, b] = [BigInt(x), BigInt(y)];
  const [ua, ub] = [unsigned(kind, x), unsigned(kind, y)];
  const n = BigInt(bitsOf[kind]);
  const most = 2n ** n;
  const clamp = (v: bigint, low: bigint, high: bigint) => wrap(kind, v < low ? low : v > high ? high : v);
  switch (op) {
    case "add":
      return wrap(kind, a + b);
    case "sub":
      return wrap(kind, a - b);
    case "mul":
      return wrap(kind, a * b);
    case "divS":
      if (b === -1n && a === -most / 2n) throw new RangeError("integer overflow");
      return wrap(kind, a / b);
    case "divU":
      return wrap(kind, ua / ub);
    case "remS":
      return wrap(kind, a % b);
    case "remU":
      return wrap(kind, ua % ub);
    case "minS":
      return a < b ? x : y;
    case "maxS":
      return a > b ? x : y;
    case "minU":
      return ua < ub ? x : y;
    case "maxU":
      return ua > ub ? x : y;
    case "and":
      return wrap(kind, a & b);
    case "or":
      return wrap(kind, a | b);
    case "xor":
      return wrap(kind, a ^ b);
    // Shifts count modulo the lane's width.
    case "shl":
      return wrap(kind, a << (BigInt.asUintN(32, b) % n));
    case "shrS":
      return wrap(kind, a >> (BigInt.asUintN(32, b) % n));
    case "shrU":
      return wrap(kind, ua >> (BigInt.asUintN(32, b) % n));
    case "addSatS":
      return clamp(a + b, -most / 2n, most / 2n - 1n);
    case "addSatU":
      return clamp(ua + ub, 0n, most - 1n);
    case "subSatS":
      return clamp(a - b, -most / 2n, most / 2n - 1n);
    case "subSatU":
      return clamp(ua - ub, 0n, most - 1n);
    case "avgrU":
      return wrap(kind, (ua + ub + 1n) >> 1n);
    case "q15mulr":
      return clamp((a * b + 0x4000n) >> 15n, -most / 2n, most / 2n - 1n);
    default:
      throw new InternalError(`${op} of ${kind}`);
  }
}

function floatBinary(op: BinaryOp, kind: LaneKind, a: number, b: number): number {
  switch (op) {
    case "add":
      return round(kind, a + b);
    case "sub":
      return round(kind, a - b);
    case "mul":
      return round(kind, a * b);
    case "div":
      return round(kind, a / b);
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    case "pmin":
      return b < a ? b : a;
    case "pmax":
      return a < b ? b : a;
    case "copysign":
      return b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a);
    default:
      throw new InternalError(`${op} of ${kind}`);
  }
}

export function evalCompare(op: CompareOp, kind: LaneKind, a: Lane, b: Lane): 0 | 1 {
  const [x, y] = op.endsWith("U") && isInt(kind) ? [unsigned(kind, a), unsigned(kind, b)] : [a, b];
  const holds = ((): boolean => {
    switch (op) {
      case "eq":
        return x === y;
      case "ne":
        return x !== y;
      case "ltS":
      case "ltU":
      case "lt":
        return x < y;
      case "leS":
      case "leU":
      case "le":
        return x <= y;
      case "gtS":
      case "gtU":
      case "gt":
        return x > y;
      case "geS":
      case "geU":
      case "ge":
        return x >= y;
      default:
        return op satisfies never;
    }
  })();
  return holds ? 1 : 0;
}

/** An integer register's value from a float: truncated, saturated, 0 for NaN. */
export function truncate(kind: "i32" | "i64", isUnsigned: boolean, x: number): Lane {
  if (Number.isNaN(x)) return wrap(kind, 0n);
  const n = BigInt(bitsOf[kind]);
  const [low, high] = isUnsigned ? [0n, 2n ** n - 1n] : [-(2n ** (n - 1n)), 2n ** (n - 1n) - 1n];
  if (x <= Number(low)) return wrap(kind, low);
  if (x >= Number(high)) return wrap(kind, high);
  return wrap(kind, BigInt(Math.trunc(x)));
}

/** A float from an integer register's value, rounded once. */
export function fromInteger(kind: "f32" | "f64", isUnsigned: boolean, x: Lane): number {
  const exact = isUnsigned ? BigInt.asUintN(typeof x === "bigint" ? 64 : 32, BigInt(x)) : BigInt(x);
  if (kind === "f64") return Number(exact);
  // Through f64 a value may round twice: keep 25 bits of a large one and mark the rest in the lowest.
  const magnitude = exact < 0n ? -exact : exact;
  const extra = BigInt(Math.max(0, magnitude.toString(2).length - 40));
  const sticky = (magnitude >> extra) << extra !== magnitude ? 1n : 0n;
  const value = Math.fround(Number(((magnitude >> extra) | sticky) << extra));
  return exact < 0n ? -value : value;
}

/** Value of an f16 or bf16 bit pattern. */
export function fromHalf(elem: "f16" | "bf16", bits: number): number {
  const [width, bias] = elem === "f16" ? [10, 15] : [7, 127];
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> width;
  const fraction = bits & ((1 << width) - 1);
  if (exponent === 2 * bias + 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - width);
  return sign * (1 + fraction / 2 ** width) * 2 ** (exponent - bias);
}

/** Bit pattern of the nearest f16 or bf16, ties to even; NaN is 0x7e00 or 0x7fc0. */
export function toHalf(elem: "f16" | "bf16", x: number): number {
  const [width, bias] = elem === "f16" ? [10, 15] : [7, 127];
  const infinity = (2 * bias + 1) << width;
  if (Number.isNaN(x)) return infinity | (1 << (width - 1));
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (a === Infinity) return sign | infinity;
  const exponent = a === 0 ? 1 - bias : Math.max(Math.floor(Math.log2(a)), 1 - bias);
  const fraction = nearest(a / 2 ** (exponent - width));
  // A carry out of the fraction moves on into the exponent, and from the largest into infinity.
  const bits = exponent === 1 - bias ? fraction : ((exponent + bias - 1) << width) + fraction;
  return sign | Math.min(bits, infinity);
}

/** What a load of one element gives as a register value of `kind`. */
export function readElem(view: DataView, address: number, elem: Elem, kind: LaneKind): Lane {
  const value = ((): Lane => {
    switch (elem) {
      case "i8":
        return view.getInt8(address);
      case "u8":
        return view.getUint8(address);
      case "i16":
        return view.getInt16(address, true);
      case "u16":
        return view.getUint16(address, true);
      case "i32":
        return view.getInt32(address, true);
      case "u32":
        return view.getUint32(address, true);
      case "i64":
      case "u64":
        return view.getBigInt64(address, true);
      case "f16":
      case "bf16":
        return fromHalf(elem, view.getUint16(address, true));
      case "f32":
        return view.getFloat32(address, true);
      case "f64":
        return view.getFloat64(address, true);
      default:
        return elem satisfies never;
    }
  })();
  return isInt(kind) ? wrap(kind, BigInt(value)) : value;
}

/** Stores a register's value as one element. */
export function writeElem(view: DataView, address: number, elem: Elem, value: Lane): void {
  const low = (bits: number): number => Number(BigInt.asUintN(bits, BigInt(value)));
  switch (elem) {
    case "i8":
    case "u8":
      view.setUint8(address, low(8));
      break;
    case "i16":
    case "u16":
      view.setUint16(address, low(16), true);
      break;
    case "i32":
    case "u32":
      view.setUint32(address, low(32), true);
      break;
    case "i64":
    case "u64":
      view.setBigInt64(address, BigInt.asIntN(64, BigInt(value)), true);
      break;
    case "f16":
    case "bf16":
      view.setUint16(address, toHalf(elem, Number(value)), true);
      break;
    case "f32":
      view.setFloat32(address, Number(value), true);
      break;
    case "f64":
      view.setFloat64(address, Number(value), true);
      break;
    default:
      elem satisfies never;
  }
}
