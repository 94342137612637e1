/**
 * The instructions of WebAssembly that modules are made of: name, opcode, types of the operands and of the result, and what follows the
 * opcode. The one place where they are written down: expressions are checked by it when they are built (module.ts), encoded
 * (encode.ts) and printed (text.ts). Names and opcodes are those of the specification, in its order.
 *
 * Fixed-width and relaxed SIMD, bulk memory, sign extension, saturating conversions, and atomics of whole words are among them.
 */

import { InternalError } from "../../ir/errors.js";

/** WebAssembly value types. */
export type WasmType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Type of an operand: `address` is an i32, or an i64 where the memory has 64-bit addresses. */
export type OperandType = WasmType | "address";

/** What stands between the opcode and the next instruction. */
export type Immediate =
  | "none"
  /** Alignment and offset. */
  | "memory"
  /** Alignment, offset and a lane. */
  | "memoryLane"
  /** One byte for each memory, which is always 0. */
  | "oneMemory"
  | "twoMemories"
  | "lane"
  /** 16 lanes of bytes. */
  | "lanes"
  | "i32"
  | "i64"
  | "f32"
  | "f64"
  | "v128"
  | "local"
  | "global"
  | "function"
  | "label"
  | "blockType";

export interface Instruction {
  readonly name: string;
  /** 0 where the opcode is a single byte. */
  readonly prefix: number;
  readonly code: number;
  readonly immediate: Immediate;
  readonly operands: readonly OperandType[];
  readonly result: OperandType | undefined;
  /** Bytes that a load or store accesses; its natural alignment. */
  readonly bytes: number;
}

interface Row<N extends string> {
  readonly names: readonly N[];
  readonly instructions: readonly Instruction[];
}

interface Shape {
  readonly prefix: number;
  /** The opcode of the first name; the others follow. */
  readonly first: number;
  readonly immediate?: Immediate;
  readonly bytes?: number;
}

function row<const N extends string>(
  { prefix, first, immediate = "none", bytes = 0 }: Shape,
  operands: readonly OperandType[],
  result: OperandType | undefined,
  names: readonly N[],
): Row<N> {
  const instructions = names.map((name, k) => ({
    name,
    prefix,
    code: first + k,
    immediate,
    operands,
    result,
    bytes,
  }));
  return { names, instructions };
}

const plain = (first: number): Shape => ({ prefix: 0, first });
const misc = (first: number, immediate: Immediate = "none"): Shape => ({ prefix: 0xfc, first, immediate });
const simd = (first: number, immediate: Immediate = "none"): Shape => ({ prefix: 0xfd, first, immediate });
const memory = (first: number, bytes: number, prefix = 0): Shape => ({ prefix, first, immediate: "memory", bytes });

function of<const T extends string, const N extends string>(type: T, names: readonly N[]): readonly `${T}.${N}`[] {
  return names.map((n): `${T}.${N}` => `${type}.${n}`);
}

const load = <const N extends string>(first: number, bytes: number, type: WasmType, names: readonly N[], prefix = 0) =>
  row(memory(first, bytes, prefix), ["address"], type, names);
const store = <const N extends string>(first: number, bytes: number, type: WasmType, names: readonly N[], prefix = 0) =>
  row(memory(first, bytes, prefix), ["address", type], undefined, names);

const compareInt = ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"] as const;
const compareFloat = ["eq", "ne", "lt", "gt", "le", "ge"] as const;
const binaryInt = [
  ...(["add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u"] as const),
  ...(["and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr"] as const),
] as const;
const unaryFloat = ["abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"] as const;
const binaryFloat = ["add", "sub", "mul", "div", "min", "max", "copysign"] as const;

const scalarRows = [
  load(0x28, 4, "i32", ["i32.load"]),
  load(0x29, 8, "i64", ["i64.load"]),
  load(0x2a, 4, "f32", ["f32.load"]),
  load(0x2b, 8, "f64", ["f64.load"]),
  load(0x2c, 1, "i32", ["i32.load8_s", "i32.load8_u"]),
  load(0x2e, 2, "i32", ["i32.load16_s", "i32.load16_u"]),
  load(0x30, 1, "i64", ["i64.load8_s", "i64.load8_u"]),
  load(0x32, 2, "i64", ["i64.load16_s", "i64.load16_u"]),
  load(0x34, 4, "i64", ["i64.load32_s", "i64.load32_u"]),
  store(0x36, 4, "i32", ["i32.store"]),
  store(0x37, 8, "i64", ["i64.store"]),
  store(0x38, 4, "f32", ["f32.store"]),
  store(0x39, 8, "f64", ["f64.store"]),
  store(0x3a, 1, "i32", ["i32.store8"]),
  store(0x3b, 2, "i32", ["i32.store16"]),
  store(0x3c, 1, "i64", ["i64.store8"]),
  store(0x3d, 2, "i64", ["i64.store16"]),
  store(0x3e, 4, "i64", ["i64.store32"]),
  row({ prefix: 0, first: 0x3f, immediate: "oneMemory" }, [], "address", ["memory.size"]),
  row({ prefix: 0, first: 0x40, immediate: "oneMemory" }, ["address"], "address", ["memory.grow"]),
  row(misc(10, "twoMemories"), ["address", "address", "address"], undefined, ["memory.copy"]),
  row(misc(11, "oneMemory"), ["address", "i32", "address"], undefined, ["memory.fill"]),

  row(plain(0x45), ["i32"], "i32", ["i32.eqz"]),
  row(plain(0x46), ["i32", "i32"], "i32", of("i32", compareInt)),
  row(plain(0x50), ["i64"], "i32", ["i64.eqz"]),
  row(plain(0x51), ["i64", "i64"], "i32", of("i64", compareInt)),
  row(plain(0x5b), ["f32", "f32"], "i32", of("f32", compareFloat)),
  row(plain(0x61), ["f64", "f64"], "i32", of("f64", compareFloat)),
  row(plain(0x67), ["i32"], "i32", of("i32", ["clz", "ctz", "popcnt"])),
  row(plain(0x6a), ["i32", "i32"], "i32", of("i32", binaryInt)),
  row(plain(0x79), ["i64"], "i64", of("i64", ["clz", "ctz", "popcnt"])),
  row(plain(0x7c), ["i64", "i64"], "i64", of("i64", binaryInt)),
  row(plain(0x8b), ["f32"], "f32", of("f32", unaryFloat)),
  row(plain(0x92), ["f32", "f32"], "f32", of("f32", binaryFloat)),
  row(plain(0x99), ["f64"], "f64", of("f64", unaryFloat)),
  row(plain(0xa0), ["f64", "f64"], "f64", of("f64", binaryFloat)),

  row(plain(0xa7), ["i64"], "i32", ["i32.wrap_i64"]),
  row(plain(0xa8), ["f32"], "i32", ["i32.trunc_f32_s", "i32.trunc_f32_u"]),
  row(plain(0xaa), ["f64"], "i32", ["i32.trunc_f64_s", "i32.trunc_f64_u"]),
  row(plain(0xac), ["i32"], "i64", ["i64.extend_i32_s", "i64.extend_i32_u"]),
  row(plain(0xae), ["f32"], "i64", ["i64.trunc_f32_s", "i64.trunc_f32_u"]),
  row(plain(0xb0), ["f64"], "i64", ["i64.trunc_f64_s", "i64.trunc_f64_u"]),
  row(plain(0xb2), ["i32"], "f32", ["f32.convert_i32_s", "f32.convert_i32_u"]),
  row(plain(0xb4), ["i64"], "f32", ["f32.convert_i64_s", "f32.convert_i64_u"]),
  row(plain(0xb6), ["f64"], "f32", ["f32.demote_f64"]),
  row(plain(0xb7), ["i32"], "f64", ["f64.convert_i32_s", "f64.convert_i32_u"]),
  row(plain(0xb9), ["i64"], "f64", ["f64.convert_i64_s", "f64.convert_i64_u"]),
  row(plain(0xbb), ["f32"], "f64", ["f64.promote_f32"]),
  row(plain(0xbc), ["f32"], "i32", ["i32.reinterpret_f32"]),
  row(plain(0xbd), ["f64"], "i64", ["i64.reinterpret_f64"]),
  row(plain(0xbe), ["i32"], "f32", ["f32.reinterpret_i32"]),
  row(plain(0xbf), ["i64"], "f64", ["f64.reinterpret_i64"]),
  row(plain(0xc0), ["i32"], "i32", ["i32.extend8_s", "i32.extend16_s"]),
  row(plain(0xc2), ["i64"], "i64", ["i64.extend8_s", "i64.extend16_s", "i64.extend32_s"]),
  row(misc(0), ["f32"], "i32", ["i32.trunc_sat_f32_s", "i32.trunc_sat_f32_u"]),
  row(misc(2), ["f64"], "i32", ["i32.trunc_sat_f64_s", "i32.trunc_sat_f64_u"]),
  row(misc(4), ["f32"], "i64", ["i64.trunc_sat_f32_s", "i64.trunc_sat_f32_u"]),
  row(misc(6), ["f64"], "i64", ["i64.trunc_sat_f64_s", "i64.trunc_sat_f64_u"]),
] as const;

const one = ["v128"] as const;
const two = ["v128", "v128"] as const;
const three = ["v128", "v128", "v128"] as const;
const shifts = ["shl", "shr_s", "shr_u"] as const;
const saturating = ["add", "add_sat_s", "add_sat_u", "sub", "sub_sat_s", "sub_sat_u"] as const;
const extrema = ["min_s", "min_u", "max_s", "max_u"] as const;
const binaryLanes = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"] as const;

/** `NAME_low_FROM_s`, `high_s`, `low_u`, `high_u`. */
const halves = <const N extends string, const F extends string>(name: N, from: F) =>
  [`${name}_low_${from}_s`, `${name}_high_${from}_s`, `${name}_low_${from}_u`, `${name}_high_${from}_u`] as const;

const loadLane = <const N extends string>(first: number, bytes: number, names: readonly N[]) =>
  row({ ...memory(first, bytes, 0xfd), immediate: "memoryLane" }, ["address", "v128"], "v128", names);
const storeLane = <const N extends string>(first: number, bytes: number, names: readonly N[]) =>
  row({ ...memory(first, bytes, 0xfd), immediate: "memoryLane" }, ["address", "v128"], undefined, names);
const loadVector = <const N extends string>(first: number, bytes: number, names: readonly N[]) =>
  load(first, bytes, "v128", names, 0xfd);

const vectorRows = [
  loadVector(0x00, 16, ["v128.load"]),
  loadVector(0x01, 8, of("v128", ["load8x8_s", "load8x8_u", "load16x4_s", "load16x4_u", "load32x2_s", "load32x2_u"])),
  loadVector(0x07, 1, ["v128.load8_splat"]),
  loadVector(0x08, 2, ["v128.load16_splat"]),
  loadVector(0x09, 4, ["v128.load32_splat"]),
  loadVector(0x0a, 8, ["v128.load64_splat"]),
  store(0x0b, 16, "v128", ["v128.store"], 0xfd),
  row(simd(0x0d, "lanes"), two, "v128", ["i8x16.shuffle"]),
  row(simd(0x0e), two, "v128", ["i8x16.swizzle"]),
  row(simd(0x0f), ["i32"], "v128", ["i8x16.splat", "i16x8.splat", "i32x4.splat"]),
  row(simd(0x12), ["i64"], "v128", ["i64x2.splat"]),
  row(simd(0x13), ["f32"], "v128", ["f32x4.splat"]),
  row(simd(0x14), ["f64"], "v128", ["f64x2.splat"]),
  row(simd(0x15, "lane"), one, "i32", ["i8x16.extract_lane_s", "i8x16.extract_lane_u"]),
  row(simd(0x17, "lane"), ["v128", "i32"], "v128", ["i8x16.replace_lane"]),
  row(simd(0x18, "lane"), one, "i32", ["i16x8.extract_lane_s", "i16x8.extract_lane_u"]),
  row(simd(0x1a, "lane"), ["v128", "i32"], "v128", ["i16x8.replace_lane"]),
  row(simd(0x1b, "lane"), one, "i32", ["i32x4.extract_lane"]),
  row(simd(0x1c, "lane"), ["v128", "i32"], "v128", ["i32x4.replace_lane"]),
  row(simd(0x1d, "lane"), one, "i64", ["i64x2.extract_lane"]),
  row(simd(0x1e, "lane"), ["v128", "i64"], "v128", ["i64x2.replace_lane"]),
  row(simd(0x1f, "lane"), one, "f32", ["f32x4.extract_lane"]),
  row(simd(0x20, "lane"), ["v128", "f32"], "v128", ["f32x4.replace_lane"]),
  row(simd(0x21, "lane"), one, "f64", ["f64x2.extract_lane"]),
  row(simd(0x22, "lane"), ["v128", "f64"], "v128", ["f64x2.replace_lane"]),
  row(simd(0x23), two, "v128", of("i8x16", compareInt)),
  row(simd(0x2d), two, "v128", of("i16x8", compareInt)),
  row(simd(0x37), two, "v128", of("i32x4", compareInt)),
  row(simd(0x41), two, "v128", of("f32x4", compareFloat)),
  row(simd(0x47), two, "v128", of("f64x2", compareFloat)),
  row(simd(0x4d), one, "v128", ["v128.not"]),
  row(simd(0x4e), two, "v128", of("v128", ["and", "andnot", "or", "xor"])),
  row(simd(0x52), three, "v128", ["v128.bitselect"]),
  row(simd(0x53), one, "i32", ["v128.any_true"]),
  loadLane(0x54, 1, ["v128.load8_lane"]),
  loadLane(0x55, 2, ["v128.load16_lane"]),
  loadLane(0x56, 4, ["v128.load32_lane"]),
  loadLane(0x57, 8, ["v128.load64_lane"]),
  storeLane(0x58, 1, ["v128.store8_lane"]),
  storeLane(0x59, 2, ["v128.store16_lane"]),
  storeLane(0x5a, 4, ["v128.store32_lane"]),
  storeLane(0x5b, 8, ["v128.store64_lane"]),
  loadVector(0x5c, 4, ["v128.load32_zero"]),
  loadVector(0x5d, 8, ["v128.load64_zero"]),
  row(simd(0x5e), one, "v128", ["f32x4.demote_f64x2_zero", "f64x2.promote_low_f32x4"]),

  row(simd(0x60), one, "v128", of("i8x16", ["abs", "neg", "popcnt"])),
  row(simd(0x63), one, "i32", of("i8x16", ["all_true", "bitmask"])),
  row(simd(0x65), two, "v128", of("i8x16", ["narrow_i16x8_s", "narrow_i16x8_u"])),
  row(simd(0x67), one, "v128", of("f32x4", ["ceil", "floor", "trunc", "nearest"])),
  row(simd(0x6b), ["v128", "i32"], "v128", of("i8x16", shifts)),
  row(simd(0x6e), two, "v128", of("i8x16", saturating)),
  row(simd(0x74), one, "v128", of("f64x2", ["ceil", "floor"])),
  row(simd(0x76), two, "v128", of("i8x16", extrema)),
  row(simd(0x7a), one, "v128", ["f64x2.trunc"]),
  row(simd(0x7b), two, "v128", ["i8x16.avgr_u"]),
  row(simd(0x7c), one, "v128", of("i16x8", ["extadd_pairwise_i8x16_s", "extadd_pairwise_i8x16_u"])),
  row(simd(0x7e), one, "v128", of("i32x4", ["extadd_pairwise_i16x8_s", "extadd_pairwise_i16x8_u"])),

  row(simd(0x80), one, "v128", of("i16x8", ["abs", "neg"])),
  row(simd(0x82), two, "v128", ["i16x8.q15mulr_sat_s"]),
  row(simd(0x83), one, "i32", of("i16x8", ["all_true", "bitmask"])),
  row(simd(0x85), two, "v128", of("i16x8", ["narrow_i32x4_s", "narrow_i32x4_u"])),
  row(simd(0x87), one, "v128", of("i16x8", halves("extend", "i8x16"))),
  row(simd(0x8b), ["v128", "i32"], "v128", of("i16x8", shifts)),
  row(simd(0x8e), two, "v128", of("i16x8", saturating)),
  row(simd(0x94), one, "v128", ["f64x2.nearest"]),
  row(simd(0x95), two, "v128", of("i16x8", ["mul", ...extrema])),
  row(simd(0x9b), two, "v128", of("i16x8", ["avgr_u", ...halves("extmul", "i8x16")])),

  row(simd(0xa0), one, "v128", of("i32x4", ["abs", "neg"])),
  row(simd(0xa3), one, "i32", of("i32x4", ["all_true", "bitmask"])),
  row(simd(0xa7), one, "v128", of("i32x4", halves("extend", "i16x8"))),
  row(simd(0xab), ["v128", "i32"], "v128", of("i32x4", shifts)),
  row(simd(0xae), two, "v128", ["i32x4.add"]),
  row(simd(0xb1), two, "v128", ["i32x4.sub"]),
  row(simd(0xb5), two, "v128", of("i32x4", ["mul", ...extrema, "dot_i16x8_s"])),
  row(simd(0xbc), two, "v128", of("i32x4", halves("extmul", "i16x8"))),

  row(simd(0xc0), one, "v128", of("i64x2", ["abs", "neg"])),
  row(simd(0xc3), one, "i32", of("i64x2", ["all_true", "bitmask"])),
  row(simd(0xc7), one, "v128", of("i64x2", halves("extend", "i32x4"))),
  row(simd(0xcb), ["v128", "i32"], "v128", of("i64x2", shifts)),
  row(simd(0xce), two, "v128", ["i64x2.add"]),
  row(simd(0xd1), two, "v128", ["i64x2.sub"]),
  row(simd(0xd5), two, "v128", of("i64x2", ["mul", "eq", "ne", "lt_s", "gt_s", "le_s", "ge_s"])),
  row(simd(0xdc), two, "v128", of("i64x2", halves("extmul", "i32x4"))),

  row(simd(0xe0), one, "v128", of("f32x4", ["abs", "neg"])),
  row(simd(0xe3), one, "v128", ["f32x4.sqrt"]),
  row(simd(0xe4), two, "v128", of("f32x4", binaryLanes)),
  row(simd(0xec), one, "v128", of("f64x2", ["abs", "neg"])),
  row(simd(0xef), one, "v128", ["f64x2.sqrt"]),
  row(simd(0xf0), two, "v128", of("f64x2", binaryLanes)),
  row(simd(0xf8), one, "v128", of("i32x4", ["trunc_sat_f32x4_s", "trunc_sat_f32x4_u"])),
  row(simd(0xfa), one, "v128", of("f32x4", ["convert_i32x4_s", "convert_i32x4_u"])),
  row(simd(0xfc), one, "v128", of("i32x4", ["trunc_sat_f64x2_s_zero", "trunc_sat_f64x2_u_zero"])),
  row(simd(0xfe), one, "v128", of("f64x2", ["convert_low_i32x4_s", "convert_low_i32x4_u"])),

  row(simd(0x100), two, "v128", ["i8x16.relaxed_swizzle"]),
  row(simd(0x101), one, "v128", of("i32x4", ["relaxed_trunc_f32x4_s", "relaxed_trunc_f32x4_u"])),
  row(simd(0x103), one, "v128", of("i32x4", ["relaxed_trunc_f64x2_s_zero", "relaxed_trunc_f64x2_u_zero"])),
  row(simd(0x105), three, "v128", of("f32x4", ["relaxed_madd", "relaxed_nmadd"])),
  row(simd(0x107), three, "v128", of("f64x2", ["relaxed_madd", "relaxed_nmadd"])),
  row(simd(0x109), three, "v128", [
    "i8x16.relaxed_laneselect",
    "i16x8.relaxed_laneselect",
    "i32x4.relaxed_laneselect",
    "i64x2.relaxed_laneselect",
  ]),
  row(simd(0x10d), two, "v128", of("f32x4", ["relaxed_min", "relaxed_max"])),
  row(simd(0x10f), two, "v128", of("f64x2", ["relaxed_min", "relaxed_max"])),
  row(simd(0x111), two, "v128", of("i16x8", ["relaxed_q15mulr_s", "relaxed_dot_i8x16_i7x16_s"])),
  row(simd(0x113), three, "v128", ["i32x4.relaxed_dot_i8x16_i7x16_add_s"]),
] as const;

const i32Atomic = (first: number): Shape => memory(first, 4, 0xfe);
const i64Atomic = (first: number): Shape => memory(first, 8, 0xfe);

const atomicRows = [
  row(i32Atomic(0x00), ["address", "i32"], "i32", ["memory.atomic.notify"]),
  row(i32Atomic(0x01), ["address", "i32", "i64"], "i32", ["memory.atomic.wait32"]),
  row(i64Atomic(0x02), ["address", "i64", "i64"], "i32", ["memory.atomic.wait64"]),
  load(0x10, 4, "i32", ["i32.atomic.load"], 0xfe),
  load(0x11, 8, "i64", ["i64.atomic.load"], 0xfe),
  store(0x17, 4, "i32", ["i32.atomic.store"], 0xfe),
  store(0x18, 8, "i64", ["i64.atomic.store"], 0xfe),
  row(i32Atomic(0x1e), ["address", "i32"], "i32", ["i32.atomic.rmw.add"]),
  row(i64Atomic(0x1f), ["address", "i64"], "i64", ["i64.atomic.rmw.add"]),
  row(i32Atomic(0x25), ["address", "i32"], "i32", ["i32.atomic.rmw.sub"]),
  row(i64Atomic(0x26), ["address", "i64"], "i64", ["i64.atomic.rmw.sub"]),
  row(i32Atomic(0x41), ["address", "i32"], "i32", ["i32.atomic.rmw.xchg"]),
  row(i64Atomic(0x42), ["address", "i64"], "i64", ["i64.atomic.rmw.xchg"]),
  row(i32Atomic(0x48), ["address", "i32", "i32"], "i32", ["i32.atomic.rmw.cmpxchg"]),
  row(i64Atomic(0x49), ["address", "i64", "i64"], "i64", ["i64.atomic.rmw.cmpxchg"]),
] as const;

/** Instructions whose types hang on where they stand: expressions have a kind for each of them. */
const contextual = <const N extends string>(code: number, name: N, immediate: Immediate = "none", prefix = 0) =>
  row({ prefix, first: code, immediate }, [], undefined, [name]);

const contextualRows = [
  contextual(0x00, "unreachable"),
  contextual(0x02, "block", "blockType"),
  contextual(0x03, "loop", "blockType"),
  contextual(0x04, "if", "blockType"),
  contextual(0x05, "else"),
  contextual(0x0b, "end"),
  contextual(0x0c, "br", "label"),
  contextual(0x0d, "br_if", "label"),
  contextual(0x0f, "return"),
  contextual(0x10, "call", "function"),
  contextual(0x1a, "drop"),
  contextual(0x1b, "select"),
  contextual(0x20, "local.get", "local"),
  contextual(0x21, "local.set", "local"),
  contextual(0x22, "local.tee", "local"),
  contextual(0x23, "global.get", "global"),
  contextual(0x24, "global.set", "global"),
  contextual(0x41, "i32.const", "i32"),
  contextual(0x42, "i64.const", "i64"),
  contextual(0x43, "f32.const", "f32"),
  contextual(0x44, "f64.const", "f64"),
  contextual(0x0c, "v128.const", "v128", 0xfd),
] as const;

type NamesOf<R extends readonly Row<string>[]> = R[number]["names"][number];

/** An instruction that is its operands' types and result's type, wherever it stands. */
export type OperationName = NamesOf<typeof scalarRows> | NamesOf<typeof vectorRows> | NamesOf<typeof atomicRows>;
export type ContextualName = NamesOf<typeof contextualRows>;

const instructionsOf = (rows: readonly Row<string>[]) => rows.flatMap((r) => r.instructions);

export const operations: readonly Instruction[] = instructionsOf([...scalarRows, ...vectorRows, ...atomicRows]);
export const contextuals: readonly Instruction[] = instructionsOf(contextualRows);

const byName: ReadonlyMap<string, Instruction> = new Map(operations.map((i) => [i.name, i]));

/** @throws InternalError if there is none of this name: names are put together from parts */
export function operation(name: string): Instruction {
  const found = byName.get(name);
  if (found === undefined) throw new InternalError(`WebAssembly has no instruction ${name}`);
  return found;
}

/** Opcodes of the instructions that expressions have a kind for. */
export const opcode = Object.fromEntries(contextuals.map((i) => [i.name, i.code])) as Readonly<
  Record<ContextualName, number>
>;
