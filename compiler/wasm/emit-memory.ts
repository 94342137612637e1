/** Loads and stores: addresses, widening, narrowing and splats. */

import { InternalError } from "../../ir/errors.js";
import { type Elem, type Expr, elemBytes, type LoopType, type VectorKind } from "../../ir/loop.js";
import { elemKind, isVector, laneInfo } from "../../ir/loop-types.js";
import type { FunctionContext } from "./emit-context.js";
import { emitHalf } from "./half.js";
import type { Ref } from "./module.js";
import { lanesType } from "./opcodes.js";

type Emit = (e: Expr) => Ref;
type Load = Extract<Expr, { kind: "load" }>;

interface Address {
  /** The address without the immediate. */
  readonly ptr: Ref;
  /** The immediate, in bytes. */
  readonly offset: number;
}

const u32 = 2 ** 32;

/**
 * `base + (index << log2 bytes)`, constants ≥ 0 in the immediate. The immediate is added without wrapping, so a constant
 * leaves the index only as a whole, when it is not negative.
 */
function addressOf(
  ctx: FunctionContext,
  emit: Emit,
  a: { readonly base: Expr; readonly index: Expr; readonly offset: number },
  bytes: number,
): Address {
  const m = ctx.module;
  const offset = a.offset * bytes;
  if (a.index.kind === "const") {
    const index = a.index.value as number;
    if (index >= 0 && offset + index * bytes < u32) return { ptr: emit(a.base), offset: offset + index * bytes };
    return { ptr: m.addressPlus(emit(a.base), index * bytes), offset };
  }
  if (offset >= u32) throw new InternalError(`the offset of a load or store is ${offset} bytes`);
  const shift = Math.log2(bytes);
  const fromZero = a.base.kind === "const" && Number(a.base.value) === 0;
  return { ptr: m.addressOf(fromZero ? undefined : emit(a.base), emit(a.index), shift), offset };
}

const sized = { 1: "8", 2: "16" } as const;
const signOf = (elem: Elem) => (elem.startsWith("u") ? "u" : "s");

function scalarLoad(ctx: FunctionContext, emit: Emit, type: LoopType, elem: Elem, { ptr, offset }: Address): Ref {
  const m = ctx.module;
  const int = type === "i64" ? "i64" : "i32";
  switch (elem) {
    case "i8":
    case "u8":
      return m.access(`${int}.load8_${signOf(elem)}`, offset, 1, ptr);
    case "i16":
    case "u16":
      return m.access(`${int}.load16_${signOf(elem)}`, offset, 2, ptr);
    case "i32":
    case "u32":
      return m.access(int === "i64" ? `i64.load32_${signOf(elem)}` : "i32.load", offset, 4, ptr);
    case "i64":
    case "u64":
      return m.access("i64.load", offset, 8, ptr);
    case "f16":
    case "bf16":
      return emitHalf(ctx, emit, elem, "f32", "widen", m.access("i32.load16_u", offset, 2, ptr));
    case "f32": {
      const x = m.access("f32.load", offset, 4, ptr);
      return type === "f64" ? m.op("f64.promote_f32", x) : x;
    }
    case "f64":
      return m.access("f64.load", offset, 8, ptr);
    default:
      return elem satisfies never;
  }
}

const splats = {
  1: "v128.load8_splat",
  2: "v128.load16_splat",
  4: "v128.load32_splat",
  8: "v128.load64_splat",
} as const;

export function emitLoad(ctx: FunctionContext, emit: Emit, e: Load): Ref {
  const m = ctx.module;
  const { type, elem } = e;
  const bytes = elemBytes[elem];
  const at = addressOf(ctx, emit, e, bytes);
  if (!isVector(type)) return scalarLoad(ctx, emit, type, elem, at);
  const { laneBytes, scalar } = laneInfo[type];
  if (e.splat) {
    if (laneBytes === bytes) return m.access(splats[bytes], at.offset, bytes, at.ptr);
    return m.op(`${lanesType[type]}.splat`, scalarLoad(ctx, emit, scalar, elem, at));
  }
  return vectorLoad(ctx, emit, type, elem, at);
}

function vectorLoad(ctx: FunctionContext, emit: Emit, type: VectorKind, elem: Elem, { ptr, offset }: Address): Ref {
  const m = ctx.module;
  const bytes = elemBytes[elem];
  if (laneInfo[type].laneBytes === bytes) return m.access("v128.load", offset, bytes, ptr);
  switch (elem) {
    case "f16":
    case "bf16":
      return emitHalf(ctx, emit, elem, "f32x4", "widen", m.access("v128.load16x4_u", offset, 2, ptr));
    case "f32":
      return m.op("f64x2.promote_low_f32x4", m.access("v128.load64_zero", offset, 4, ptr));
    case "i32":
      return m.access("v128.load32x2_s", offset, 4, ptr);
    case "u32":
      return m.access("v128.load32x2_u", offset, 4, ptr);
    case "i16":
      return m.access("v128.load16x4_s", offset, 2, ptr);
    case "u16":
      return m.access("v128.load16x4_u", offset, 2, ptr);
    case "i8":
    case "u8": {
      const sign = signOf(elem);
      if (type === "i16x8") return m.access(`v128.load8x8_${sign}`, offset, 1, ptr);
      const four = m.access("v128.load32_zero", offset, 1, ptr);
      const eight = m.op(`i16x8.extend_low_i8x16_${sign}`, four);
      return m.op(`i32x4.extend_low_i16x8_${sign}`, eight);
    }
    default:
      throw new InternalError(`no load of ${elem} as ${type}`);
  }
}

interface Store {
  readonly elem: Elem;
  readonly base: Expr;
  readonly index: Expr;
  readonly offset: number;
  readonly value: Expr;
}

export function emitStore(ctx: FunctionContext, emit: Emit, s: Store): Ref {
  const bytes = elemBytes[s.elem];
  const at = addressOf(ctx, emit, s, bytes);
  const value = emit(s.value);
  const { type } = s.value;
  return isVector(type)
    ? vectorStore(ctx, emit, type, s.elem, at, value)
    : scalarStore(ctx, emit, type, s.elem, at, value);
}

function scalarStore(
  ctx: FunctionContext,
  emit: Emit,
  type: LoopType,
  elem: Elem,
  { ptr, offset }: Address,
  value: Ref,
): Ref {
  const m = ctx.module;
  const bytes = elemBytes[elem];
  if (elem === "f16" || elem === "bf16")
    return m.access("i32.store16", offset, 2, ptr, emitHalf(ctx, emit, elem, "f32", "narrow", value));
  switch (elemKind[elem]) {
    case "f32":
      return m.access("f32.store", offset, 4, ptr, type === "f64" ? m.op("f32.demote_f64", value) : value);
    case "f64":
      return m.access("f64.store", offset, 8, ptr, value);
    case "i32":
    case "i64": {
      const int = type === "i64" ? "i64" : "i32";
      if (bytes === 8 || (bytes === 4 && int === "i32")) return m.access(`${int}.store`, offset, bytes, ptr, value);
      return m.access(bytes === 4 ? "i64.store32" : `${int}.store${sized[bytes]}`, offset, bytes, ptr, value);
    }
  }
}

/** Byte indices that gather the low `to` bytes of every lane of `from` bytes; the rest repeats. */
function lowBytes(from: number, to: number): number[] {
  const kept = Array.from({ length: 16 }, (_, k) => k).filter((k) => k % from < to);
  return Array.from({ length: 16 }, (_, k) => kept[k % kept.length] as number);
}

function vectorStore(ctx: FunctionContext, emit: Emit, type: VectorKind, elem: Elem, at: Address, value: Ref): Ref {
  const m = ctx.module;
  const { ptr, offset } = at;
  const bytes = elemBytes[elem];
  const { lanes, laneBytes } = laneInfo[type];
  if (laneBytes === bytes) return m.access("v128.store", offset, bytes, ptr, value);
  const storeLane = lanes * bytes === 8 ? "v128.store64_lane" : "v128.store32_lane";
  if (elem === "f32") return m.accessLane(storeLane, 0, offset, 4, ptr, m.op("f32x4.demote_f64x2_zero", value));
  const narrowed = elem === "f16" || elem === "bf16" ? emitHalf(ctx, emit, elem, "f32x4", "narrow", value) : value;
  // Integers wrap: the low bytes of every lane. shuffle reads its operand twice, so it goes through a local.
  const local = ctx.allocate(type);
  const packed = m.shuffle(ctx.tee(local, narrowed), ctx.get(local), lowBytes(laneBytes, bytes));
  ctx.release(local);
  return m.accessLane(storeLane, 0, offset, bytes, ptr, packed);
}
