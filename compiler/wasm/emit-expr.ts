/** Loop IR expressions → wasm expressions. Operands are evaluated once, left to right. */

import { InternalError } from "../../ir/errors.js";
import type { CompareOp, EngineFact, Expr, LoopType, ReduceOp, VectorKind } from "../../ir/loop.js";
import { isShift, isVector, laneInfo, scalarOf } from "../../ir/loop-types.js";
import type { FunctionContext, Local } from "./emit-context.js";
import { emitLoad } from "./emit-memory.js";
import { engineFact } from "./engine.js";
import { emitHalf } from "./half.js";
import type { OperationName } from "./instructions.js";
import type { Ref } from "./module.js";
import { binaryCode, compareCode, convertCode, lanesType, unaryCode, wasmType } from "./opcodes.js";

export function emitExpr(ctx: FunctionContext, e: Expr): Ref {
  const m = ctx.module;
  const emit = (x: Expr): Ref => emitExpr(ctx, x);
  switch (e.kind) {
    case "const":
      return scalarConst(ctx, e.type, e.value);
    case "constVector":
      return m.v128(vectorBytes(e.type, e.values));
    case "var":
      return ctx.get(ctx.lookUp(e.name));
    case "unary": {
      const code = unaryCode(e.op, e.type);
      return code === undefined ? unaryByHand(ctx, e) : m.op(code, emit(e.x));
    }
    case "binary": {
      // The instruction adds by itself.
      if (e.op === "add" && e.a.kind === "binary" && e.a.op === "dotI8") return dotBytes(ctx, e.a, emit(e.b));
      if (e.op === "dotI8") return dotBytes(ctx, e, m.v128(new Uint8Array(16)));
      const code = binaryCode(e.op, e.a.type);
      if (code === undefined) return binaryByHand(ctx, e);
      const [a, b] = [emit(e.a), emit(e.b)];
      return m.op(code, a, isShift(e.op) && e.type === "i64" ? m.op("i64.extend_i32_u", b) : b);
    }
    case "compare":
      return m.op(compareCode(e.op, e.a.type), emit(e.a), emit(e.b));
    case "select":
      return isVector(e.cond.type)
        ? m.op("v128.bitselect", emit(e.a), emit(e.b), emit(e.cond))
        : m.select(emit(e.cond), emit(e.a), emit(e.b));
    case "fma":
      return fma(ctx, e.type, emit(e.a), emit(e.b), emit(e.c));
    case "math": {
      const name = ctx.need({ kind: "math", fn: e.fn, type: e.type });
      return m.call(name, e.args.map(emit), wasmType[e.type]);
    }
    case "convert":
      return convert(ctx, e);
    case "splat":
      return splat(ctx, e.type, e.x);
    case "extractLane":
      return extractLane(ctx, e.x.type as VectorKind, emit(e.x), e.lane);
    case "replaceLane":
      return m.lanes(`${lanesType[e.type]}.replace_lane`, [e.lane], emit(e.x), laneValue(ctx, e.type, e.value));
    case "shuffle": {
      const { laneBytes } = laneInfo[e.type];
      const bytes = e.lanes.flatMap((l) => Array.from({ length: laneBytes }, (_, k) => l * laneBytes + k));
      return m.shuffle(emit(e.a), emit(e.b), bytes);
    }
    case "reduceLanes":
      return reduceLanes(ctx, e);
    case "load":
      return emitLoad(ctx, emit, e);
    case "host":
      return m.call(ctx.need({ kind: "host", fn: e.fn }), e.args.map(emit), "i32");
    case "engine":
      return emitEngineFact(ctx, e.fact);
    case "call":
      return m.call(e.fn, e.args.map(emit), wasmType[e.type]);
    default:
      return e satisfies never;
  }
}

function emitEngineFact(ctx: FunctionContext, fact: EngineFact): Ref {
  const known = engineFact(ctx.variant, fact);
  return known === undefined ? ctx.module.call(ctx.need({ kind: "engine", fact }), [], "i32") : ctx.module.i32(known);
}

function dotBytes(ctx: FunctionContext, { a, b }: Extract<Expr, { kind: "binary" }>, sum: Ref): Ref {
  const m = ctx.module;
  if (ctx.variant.simd === "relaxed")
    return m.op("i32x4.relaxed_dot_i8x16_i7x16_add_s", emitExpr(ctx, a), emitExpr(ctx, b), sum);
  // As the interpreter of Loop IR has it: no sign of the second operand, sums of two saturated.
  const products = withOperands(ctx, [a, b], (first, again) => {
    const half = (part: "low" | "high", of: (k: number) => Ref): Ref => {
      const x = m.op(`i16x8.extend_${part}_i8x16_s`, of(0));
      return m.op("i16x8.mul", x, m.op(`i16x8.extend_${part}_i8x16_u`, of(1)));
    };
    const halves = ctx.allocate("i16x8");
    const low = ctx.tee(halves, half("low", first));
    const high = ctx.allocate("i16x8");
    const evens = m.shuffle(low, ctx.tee(high, half("high", again)), pairLanes(0));
    const odds = m.shuffle(ctx.get(halves), ctx.get(high), pairLanes(1));
    ctx.release(high);
    ctx.release(halves);
    return m.op("i16x8.add_sat_s", evens, odds);
  });
  return m.op("i32x4.add", m.op("i32x4.extadd_pairwise_i16x8_s", products), sum);
}

/** Bytes of the even or odd lanes of 16 bits of two vectors. */
const pairLanes = (odd: 0 | 1): readonly number[] =>
  Array.from({ length: 8 }, (_, l) => [4 * l + 2 * odd, 4 * l + 2 * odd + 1]).flat();

function scalarConst(ctx: FunctionContext, type: LoopType, value: number | bigint): Ref {
  const m = ctx.module;
  switch (wasmType[type]) {
    case "i32":
      return m.i32(value as number);
    case "i64":
      return m.i64(value as bigint);
    case "f32":
      return m.f32(value as number);
    case "f64":
      return m.f64(value as number);
    case "v128":
      throw new InternalError(`a scalar constant of type ${type}`);
  }
}

function vectorBytes(type: VectorKind, values: readonly (number | bigint)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  const { laneBytes, scalar } = laneInfo[type];
  for (const [k, value] of values.entries()) {
    const at = k * laneBytes;
    const x = scalar === "mask" ? -Number(value) : value;
    if (scalar === "f32") view.setFloat32(at, x as number, true);
    else if (scalar === "f64") view.setFloat64(at, x as number, true);
    else if (laneBytes === 8) view.setBigInt64(at, BigInt(x), true);
    else if (laneBytes === 4) view.setInt32(at, x as number, true);
    else if (laneBytes === 2) view.setInt16(at, x as number, true);
    else view.setInt8(at, x as number);
  }
  return new Uint8Array(view.buffer);
}

/** Zero of a scalar integer type or mask. */
function zero(ctx: FunctionContext, type: LoopType): Ref {
  return type === "i64" ? ctx.module.i64(0n) : ctx.module.i32(0);
}

const intType = (type: LoopType): "i32" | "i64" => (type === "i64" ? "i64" : "i32");

type Unary = Extract<Expr, { kind: "unary" }>;

function unaryByHand(ctx: FunctionContext, e: Unary): Ref {
  const m = ctx.module;
  const int = intType(e.type);
  if (e.op === "neg") return m.op(`${int}.sub`, zero(ctx, e.type), emitExpr(ctx, e.x));
  if (e.op === "not") {
    if (e.type === "mask") return m.op("i32.eqz", emitExpr(ctx, e.x));
    return m.op(`${int}.xor`, emitExpr(ctx, e.x), e.type === "i64" ? m.i64(-1n) : m.i32(-1));
  }
  if (e.op === "abs")
    return withOperands(ctx, [e.x], (first, again) =>
      m.select(
        m.op(`${int}.ge_s`, again(0), zero(ctx, e.type)),
        first(0),
        m.op(`${int}.sub`, zero(ctx, e.type), again(0)),
      ),
    );
  throw new InternalError(`no way to emit ${e.op} of ${e.type}`);
}

type Binary = Extract<Expr, { kind: "binary" }>;

function binaryByHand(ctx: FunctionContext, e: Binary): Ref {
  const m = ctx.module;
  return withOperands(ctx, [e.a, e.b], (first, again) => {
    const pick = (op: "lt_s" | "lt_u" | "gt_s" | "gt_u"): Ref => {
      const [a, b] = [first(0), first(1)];
      if (!isVector(e.type)) return m.select(m.op(`${intType(e.type)}.${op}`, again(0), again(1)), a, b);
      if (op !== "lt_s" && op !== "gt_s") throw new InternalError(`no way to emit ${e.op} of ${e.type}`);
      return m.op("v128.bitselect", a, b, m.op(`i64x2.${op}`, again(0), again(1)));
    };
    switch (e.op) {
      case "minS":
        return pick("lt_s");
      case "minU":
        return pick("lt_u");
      case "maxS":
        return pick("gt_s");
      case "maxU":
        return pick("gt_u");
      case "min":
      case "max":
      case "pmin":
      case "pmax":
        return inLanes(ctx, e.type, [first(0), first(1)], (vector, [a, b]) => m.op(binaryCode(e.op, vector)!, a!, b!));
      case "copysign": {
        const values = e.type === "f32x4" ? Array(4).fill(0x7fffffff) : Array(2).fill(2n ** 63n - 1n);
        const magnitude = m.v128(vectorBytes(e.type === "f32x4" ? "i32x4" : "i64x2", values));
        return m.op("v128.bitselect", first(0), first(1), magnitude);
      }
      default:
        throw new InternalError(`no way to emit ${e.op} of ${e.type}`);
    }
  });
}

/**
 * Evaluates operands once where they are needed several times. `first(k)` must be used exactly once, and stand before every
 * `again(k)` in evaluation order.
 */
function withOperands(
  ctx: FunctionContext,
  operands: readonly Expr[],
  build: (first: (k: number) => Ref, again: (k: number) => Ref) => Ref,
): Ref {
  const temporaries: Local[] = [];
  const ready = operands.map((e) => {
    if (e.kind === "const" || e.kind === "constVector" || e.kind === "var")
      return { first: () => emitExpr(ctx, e), again: () => emitExpr(ctx, e) };
    const value = emitExpr(ctx, e);
    const local = ctx.allocate(e.type);
    temporaries.push(local);
    return { first: () => ctx.tee(local, value), again: () => ctx.get(local) };
  });
  const at = (k: number) => ready[k] as (typeof ready)[number];
  const result = build(
    (k) => at(k).first(),
    (k) => at(k).again(),
  );
  for (const local of temporaries) ctx.release(local);
  return result;
}

/**
 * A scalar float operation by the vector instruction. Engines compile scalar minima, maxima and selects of floats to branches, which data
 * decide and processors guess wrong.
 */
function inLanes(
  ctx: FunctionContext,
  type: LoopType,
  operands: readonly Ref[],
  build: (vector: "f32x4" | "f64x2", lanes: readonly Ref[]) => Ref,
): Ref {
  const m = ctx.module;
  const vector = type === "f32" ? "f32x4" : "f64x2";
  const lanes = operands.map((x) => m.op(`${vector}.splat`, x));
  return m.lanes(`${vector}.extract_lane`, [0], build(vector, lanes));
}

/** Scalars go through the vector instruction, so that a loop's tail rounds as its vector part does. */
function fma(ctx: FunctionContext, type: LoopType, a: Ref, b: Ref, c: Ref): Ref {
  const m = ctx.module;
  const [mul, add] = [binaryCode("mul", type)!, binaryCode("add", type)!];
  if (ctx.variant.simd !== "relaxed") return m.op(add, m.op(mul, a, b), c);
  if (type === "f32x4" || type === "f64x2") return m.op(`${type}.relaxed_madd`, a, b, c);
  return inLanes(ctx, type, [a, b, c], (vector, [x, y, z]) => m.op(`${vector}.relaxed_madd`, x!, y!, z!));
}

function convert(ctx: FunctionContext, e: Extract<Expr, { kind: "convert" }>): Ref {
  const m = ctx.module;
  const from = e.x.type;
  const x = emitExpr(ctx, e.x);
  const code = convertCode(e.op, from, e.type);
  if (code !== undefined) return m.op(code, x);
  switch (e.op) {
    case "bitcast":
      return x;
    case "i32.from_mask": {
      if (!isVector(e.type)) return x;
      const one = laneInfo[e.type].scalar === "i64" ? 1n : 1;
      return m.op("v128.and", x, m.v128(vectorBytes(e.type, Array(laneInfo[e.type].lanes).fill(one))));
    }
    case "mask.from_i32":
    case "mask.from_i64": {
      const none = isVector(from) ? m.v128(new Uint8Array(16)) : zero(ctx, from);
      return m.op(compareCode("ne", from), x, none);
    }
    case "f16.round":
    case "bf16.round": {
      const format = e.op === "f16.round" ? "f16" : "bf16";
      const lanes = e.type === "f32x4" ? "f32x4" : "f32";
      const emit = (y: Expr): Ref => emitExpr(ctx, y);
      return emitHalf(ctx, emit, format, lanes, "round", x);
    }
    default:
      throw new InternalError(`no way to emit ${e.op} of ${from}`);
  }
}

/** The scalar that an integer lane instruction takes for a value: masks become 0 or −1. */
function laneValue(ctx: FunctionContext, type: VectorKind, value: Expr): Ref {
  const m = ctx.module;
  const x = emitExpr(ctx, value);
  if (scalarOf(type) !== "mask") return x;
  const all = m.op("i32.sub", m.i32(0), x);
  return type === "mask64x2" ? m.op("i64.extend_i32_s", all) : all;
}

function splat(ctx: FunctionContext, type: VectorKind, x: Expr): Ref {
  return ctx.module.op(`${lanesType[type]}.splat`, laneValue(ctx, type, x));
}

function extractLane(ctx: FunctionContext, type: VectorKind, x: Ref, lane: number): Ref {
  const m = ctx.module;
  const lanes = lanesType[type];
  const op =
    lanes === "i8x16" || lanes === "i16x8" ? (`${lanes}.extract_lane_s` as const) : (`${lanes}.extract_lane` as const);
  const value = m.lanes(op, [lane], x);
  if (scalarOf(type) !== "mask") return value;
  const word = type === "mask64x2" ? m.op("i32.wrap_i64", value) : value;
  return m.op("i32.and", word, m.i32(1));
}

function reduceLanes(ctx: FunctionContext, e: Extract<Expr, { kind: "reduceLanes" }>): Ref {
  const m = ctx.module;
  const type = e.x.type as VectorKind;
  const x = emitExpr(ctx, e.x);
  if (scalarOf(type) === "mask") return m.op(allOrAny(e.op, type), x);
  const whole = ctx.allocate(type);
  const statements: Ref[] = [ctx.set(whole, x)];
  if (laneInfo[type].lanes === 4) {
    const swapped = m.shuffle(ctx.get(whole), ctx.get(whole), [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]);
    statements.push(ctx.set(whole, m.op(binaryCode(e.op, type)!, ctx.get(whole), swapped)));
  }
  if (e.type === "f32" || e.type === "f64") {
    const width = laneInfo[type].laneBytes;
    const next = m.shuffle(
      ctx.get(whole),
      ctx.get(whole),
      Array.from({ length: 16 }, (_, i) => (i % width) + width),
    );
    const combined = extractLane(ctx, type, m.op(binaryCode(e.op, type)!, ctx.get(whole), next), 0);
    ctx.release(whole);
    return m.sequence([...statements, combined]);
  }
  const first = ctx.allocate(e.type);
  const second = ctx.allocate(e.type);
  statements.push(
    ctx.set(first, extractLane(ctx, type, ctx.get(whole), 0)),
    ctx.set(second, extractLane(ctx, type, ctx.get(whole), 1)),
  );
  const code = binaryCode(e.op, e.type);
  const [a, b] = [ctx.get(first), ctx.get(second)];
  const combined =
    code === undefined
      ? m.select(m.op(compareCode(firstIs(e.op), e.type), ctx.get(first), ctx.get(second)), a, b)
      : m.op(code, a, b);
  for (const local of [whole, first, second]) ctx.release(local);
  return m.sequence([...statements, combined]);
}

function allOrAny(op: ReduceOp, type: VectorKind): OperationName {
  const lanes = lanesType[type];
  if (op !== "and") return "v128.any_true";
  if (lanes === "f32x4" || lanes === "f64x2") throw new InternalError(`no way to reduce ${type} by ${op}`);
  return `${lanes}.all_true`;
}

/** How the first of two integers is to the second where it is their minimum or maximum. */
function firstIs(op: ReduceOp): CompareOp {
  switch (op) {
    case "minS":
      return "ltS";
    case "minU":
      return "ltU";
    case "maxS":
      return "gtS";
    case "maxU":
      return "gtU";
    default:
      throw new InternalError(`no way to reduce integers by ${op}`);
  }
}
