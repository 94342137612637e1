/** Loads and stores: addresses, widening, narrowing and splats. */

import { InternalError } from "../../ir/errors.js";
import { type Elem, type Expr, elemBytes, type LoopType, type VectorKind } from "../../ir/loop.js";
import { elemKind, isVector, laneInfo } from "../../ir/loop-types.js";
import type { FunctionContext } from "./emit-context.js";
import { emitHalf } from "./half.js";
import type { Ref, VectorLoad } from "./module.js";
import { suffix } from "./opcodes.js";

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

const intLoads = {
  i8: "load8_s",
  u8: "load8_u",
  i16: "load16_s",
  u16: "load16_u",
  i32: "load32_s",
  u32: "load32_u",
} as const;

function scalarLoad(ctx: FunctionContext, emit: Emit, type: LoopType, elem: Elem, { ptr, offset }: Address): Ref {
  const m = ctx.module;
  const align = elemBytes[elem];
  switch (elem) {
    case "i8":
    case "u8":
    case "i16":
    case "u16":
      return type === "i64"
        ? m.loadI64(intLoads[elem], offset, align, ptr)
        : m.loadI32(intLoads[elem], offset, align, ptr);
    case "i32":
    case "u32":
      return type === "i64" ? m.loadI64(intLoads[elem], offset, 4, ptr) : m.loadI32("load", offset, 4, ptr);
    case "i64":
    case "u64":
      return m.loadI64("load", offset, 8, ptr);
    case "f16":
    case "bf16":
      return emitHalf(ctx, emit, elem, "f32", "widen", m.loadI32("load16_u", offset, 2, ptr));
    case "f32": {
      const x = m.loadF32(offset, 4, ptr);
      return type === "f64" ? m.unary("PromoteFloat32", x) : x;
    }
    case "f64":
      return m.loadF64(offset, 8, ptr);
    default:
      return elem satisfies never;
  }
}

const splats: Readonly<Record<number, VectorLoad>> = {
  1: "load8_splat",
  2: "load16_splat",
  4: "load32_splat",
  8: "load64_splat",
};

export function emitLoad(ctx: FunctionContext, emit: Emit, e: Load): Ref {
  const m = ctx.module;
  const { type, elem } = e;
  const bytes = elemBytes[elem];
  const at = addressOf(ctx, emit, e, bytes);
  if (!isVector(type)) return scalarLoad(ctx, emit, type, elem, at);
  const { laneBytes, scalar } = laneInfo[type];
  if (e.splat) {
    if (laneBytes === bytes) return m.loadV128(splats[bytes] as VectorLoad, at.offset, bytes, at.ptr);
    return m.unary(`Splat${suffix[type]}`, scalarLoad(ctx, emit, scalar, elem, at));
  }
  return vectorLoad(ctx, emit, type, elem, at);
}

function vectorLoad(ctx: FunctionContext, emit: Emit, type: VectorKind, elem: Elem, { ptr, offset }: Address): Ref {
  const m = ctx.module;
  const bytes = elemBytes[elem];
  if (laneInfo[type].laneBytes === bytes) return m.loadV128("load", offset, bytes, ptr);
  switch (elem) {
    case "f16":
    case "bf16":
      return emitHalf(ctx, emit, elem, "f32x4", "widen", m.loadV128("load16x4_u", offset, 2, ptr));
    case "f32":
      return m.unary("PromoteLowVecF32x4ToVecF64x2", m.loadV128("load64_zero", offset, 4, ptr));
    case "i32":
      return m.loadV128("load32x2_s", offset, 4, ptr);
    case "u32":
      return m.loadV128("load32x2_u", offset, 4, ptr);
    case "i16":
      return m.loadV128("load16x4_s", offset, 2, ptr);
    case "u16":
      return m.loadV128("load16x4_u", offset, 2, ptr);
    case "i8":
    case "u8": {
      const sign = elem === "i8" ? "S" : "U";
      if (type === "i16x8") return m.loadV128(elem === "i8" ? "load8x8_s" : "load8x8_u", offset, 1, ptr);
      const four = m.loadV128("load32_zero", offset, 1, ptr);
      const eight = m.unary(`ExtendLow${sign}VecI8x16ToVecI16x8`, four);
      return m.unary(`ExtendLow${sign}VecI16x8ToVecI32x4`, eight);
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
    return m.storeI32("store16", offset, 2, ptr, emitHalf(ctx, emit, elem, "f32", "narrow", value));
  switch (elemKind[elem]) {
    case "f32":
      return m.storeF32(offset, 4, ptr, type === "f64" ? m.unary("DemoteFloat64", value) : value);
    case "f64":
      return m.storeF64(offset, 8, ptr, value);
    case "i32":
    case "i64": {
      const narrow = bytes === 1 ? "store8" : bytes === 2 ? "store16" : "store";
      if (type !== "i64") return m.storeI32(narrow, offset, bytes, ptr, value);
      return m.storeI64(bytes === 4 ? "store32" : narrow, offset, bytes, ptr, value);
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
  if (laneBytes === bytes) return m.storeV128(offset, bytes, ptr, value);
  const bits = lanes * bytes * 8 === 64 ? 64 : 32;
  if (elem === "f32") return m.storeLane(64, offset, 4, ptr, m.unary("DemoteZeroVecF64x2ToVecF32x4", value));
  const narrowed = elem === "f16" || elem === "bf16" ? emitHalf(ctx, emit, elem, "f32x4", "narrow", value) : value;
  // Integers wrap: the low bytes of every lane. shuffle reads its operand twice, so it goes through a local.
  const local = ctx.allocate(type);
  const packed = m.shuffle(ctx.tee(local, narrowed), ctx.get(local), lowBytes(laneBytes, bytes));
  ctx.release(local);
  return m.storeLane(bits, offset, bytes, ptr, packed);
}
