/**
 * The only file that touches binaryen: a thin, typed wrapper over one module under construction.
 *
 * An `Ref` (binaryen's ExpressionRef) has exactly one parent: every method consumes its operands, so build afresh whatever
 * is needed twice.
 */

import binaryen from "binaryen";
import { InternalError } from "../../ir/errors.js";

/** An expression under construction. */
export type Ref = binaryen.ExpressionRef;
/** WebAssembly value types. */
export type WasmType = "i32" | "i64" | "f32" | "f64" | "v128";

export interface Variant {
  readonly simd: "simd128" | "relaxed";
  readonly threads: boolean;
  /** Addresses of 64 bits. */
  readonly memory64?: boolean;
}

export interface MemoryLimits {
  readonly shared: boolean;
  readonly initialPages: number;
  readonly maximumPages: number;
}

/** C entry points that binaryen's typed API lacks, or has only as one method per instruction. */
interface RawApi {
  _BinaryenUnary(module: number, op: number, x: Ref): Ref;
  _BinaryenBinary(module: number, op: number, a: Ref, b: Ref): Ref;
  _BinaryenSIMDTernary(module: number, op: number, a: Ref, b: Ref, c: Ref): Ref;
  _BinaryenSIMDShift(module: number, op: number, x: Ref, shift: Ref): Ref;
  _BinaryenSIMDExtract(module: number, op: number, x: Ref, lane: number): Ref;
  _BinaryenSIMDReplace(module: number, op: number, x: Ref, lane: number, value: Ref): Ref;
}

const raw = binaryen as unknown as RawApi & Readonly<Record<string, unknown>>;

const memoryName = "0";

const wasmTypes: Readonly<Record<WasmType, binaryen.Type>> = {
  i32: binaryen.i32,
  i64: binaryen.i64,
  f32: binaryen.f32,
  f64: binaryen.f64,
  v128: binaryen.v128,
};

/** binaryen's number of an operation, by its name there: `AddVecF32x4`. */
function opcode(name: string): number {
  const code = raw[name];
  if (typeof code !== "number") throw new InternalError(`binaryen has no operation ${name}`);
  return code;
}

/** Loads that widen, splat or zero-fill a vector. */
export type VectorLoad =
  | "load8_splat"
  | "load16_splat"
  | "load32_splat"
  | "load64_splat"
  | "load8x8_s"
  | "load8x8_u"
  | "load16x4_s"
  | "load16x4_u"
  | "load32x2_s"
  | "load32x2_u"
  | "load32_zero"
  | "load64_zero"
  | "load";

export type IntLoad = "load" | "load8_s" | "load8_u" | "load16_s" | "load16_u";
export type LongLoad = IntLoad | "load32_s" | "load32_u";

export class WasmModule {
  readonly #m = new binaryen.Module();
  readonly #wide: boolean;

  constructor(variant: Variant) {
    this.#wide = variant.memory64 ?? false;
    const f = binaryen.Features;
    this.#m.setFeatures(
      f.MVP |
        f.MutableGlobals |
        f.NontrappingFPToInt |
        f.SIMD128 |
        f.BulkMemory |
        f.BulkMemoryOpt |
        f.SignExt |
        (variant.simd === "relaxed" ? f.RelaxedSIMD : 0) |
        (variant.threads ? f.Atomics : 0) |
        (this.#wide ? f.Memory64 : 0),
    );
  }

  // ---- constants and locals

  i32(value: number): Ref {
    return this.#m.i32.const(value);
  }

  i64(value: bigint): Ref {
    return this.#m.i64.const(value);
  }

  f32(value: number): Ref {
    return this.#m.f32.const(value);
  }

  f64(value: number): Ref {
    return this.#m.f64.const(value);
  }

  v128(bytes: Uint8Array): Ref {
    return this.#m.v128.const(bytes);
  }

  get(local: number, type: WasmType): Ref {
    return this.#m.local.get(local, wasmTypes[type]);
  }

  set(local: number, value: Ref): Ref {
    return this.#m.local.set(local, value);
  }

  tee(local: number, value: Ref, type: WasmType): Ref {
    return this.#m.local.tee(local, value, wasmTypes[type]);
  }

  globalGet(name: string, type: WasmType): Ref {
    return this.#m.global.get(name, wasmTypes[type]);
  }

  globalSet(name: string, value: Ref): Ref {
    return this.#m.global.set(name, value);
  }

  // ---- operations, by binaryen's names

  unary(op: string, x: Ref): Ref {
    return raw._BinaryenUnary(this.#m.ptr, opcode(op), x);
  }

  binary(op: string, a: Ref, b: Ref): Ref {
    return raw._BinaryenBinary(this.#m.ptr, opcode(op), a, b);
  }

  ternary(op: string, a: Ref, b: Ref, c: Ref): Ref {
    return raw._BinaryenSIMDTernary(this.#m.ptr, opcode(op), a, b, c);
  }

  vectorShift(op: string, x: Ref, shift: Ref): Ref {
    return raw._BinaryenSIMDShift(this.#m.ptr, opcode(op), x, shift);
  }

  extractLane(op: string, x: Ref, lane: number): Ref {
    return raw._BinaryenSIMDExtract(this.#m.ptr, opcode(op), x, lane);
  }

  replaceLane(op: string, x: Ref, lane: number, value: Ref): Ref {
    return raw._BinaryenSIMDReplace(this.#m.ptr, opcode(op), x, lane, value);
  }

  /** `bytes`: 16 byte indices into a (0…15) and b (16…31). */
  shuffle(a: Ref, b: Ref, bytes: readonly number[]): Ref {
    return this.#m.i8x16.shuffle(a, b, bytes);
  }

  select(cond: Ref, a: Ref, b: Ref): Ref {
    return this.#m.select(cond, a, b);
  }

  /** A constant address, or distance between two. */
  address(value: number): Ref {
    return this.#wide ? this.i64(BigInt(value)) : this.i32(value | 0);
  }

  addressPlus(base: Ref, bytes: number): Ref {
    return this.binary(this.#wide ? "AddInt64" : "AddInt32", base, this.address(bytes));
  }

  /** base + (index << shift): `base` an address, `index` an i32. */
  addressOf(base: Ref | undefined, index: Ref, shift: number): Ref {
    const [add, shl] = this.#wide ? ["AddInt64", "ShlInt64"] : ["AddInt32", "ShlInt32"];
    const whole = this.#wide ? this.unary("ExtendSInt32", index) : index;
    const scaled = shift === 0 ? whole : this.binary(shl!, whole, this.address(shift));
    return base === undefined ? scaled : this.binary(add!, base, scaled);
  }

  // ---- memory; `offset` is the immediate in bytes, `align` in bytes

  loadI32(op: IntLoad, offset: number, align: number, address: Ref): Ref {
    return this.#m.i32[op](offset, align, address);
  }

  loadI64(op: LongLoad, offset: number, align: number, address: Ref): Ref {
    return this.#m.i64[op](offset, align, address);
  }

  loadF32(offset: number, align: number, address: Ref): Ref {
    return this.#m.f32.load(offset, align, address);
  }

  loadF64(offset: number, align: number, address: Ref): Ref {
    return this.#m.f64.load(offset, align, address);
  }

  loadV128(op: VectorLoad, offset: number, align: number, address: Ref): Ref {
    return this.#m.v128[op](offset, align, address);
  }

  storeI32(op: "store" | "store8" | "store16", offset: number, align: number, address: Ref, value: Ref): Ref {
    return this.#m.i32[op](offset, align, address, value);
  }

  storeI64(
    op: "store" | "store8" | "store16" | "store32",
    offset: number,
    align: number,
    address: Ref,
    value: Ref,
  ): Ref {
    return this.#m.i64[op](offset, align, address, value);
  }

  storeF32(offset: number, align: number, address: Ref, value: Ref): Ref {
    return this.#m.f32.store(offset, align, address, value);
  }

  storeF64(offset: number, align: number, address: Ref, value: Ref): Ref {
    return this.#m.f64.store(offset, align, address, value);
  }

  storeV128(offset: number, align: number, address: Ref, value: Ref): Ref {
    return this.#m.v128.store(offset, align, address, value);
  }

  /** Stores lane 0 of 32 or 64 bits. */
  storeLane(bits: 32 | 64, offset: number, align: number, address: Ref, value: Ref): Ref {
    return bits === 32
      ? this.#m.v128.store32_lane(offset, align, 0, address, value)
      : this.#m.v128.store64_lane(offset, align, 0, address, value);
  }

  memoryCopy(dst: Ref, src: Ref, bytes: Ref): Ref {
    return this.#m.memory.copy(dst, src, bytes);
  }

  memoryFill(dst: Ref, byte: Ref, bytes: Ref): Ref {
    return this.#m.memory.fill(dst, byte, bytes);
  }

  /** Pages of 64 KiB, an i32. */
  memorySize(): Ref {
    return this.#wide ? this.unary("WrapInt64", this.#m.memory.size(memoryName, true)) : this.#m.memory.size();
  }

  /** Grows by as many pages (i32); -1 where it can't. */
  memoryGrow(pages: Ref): Ref {
    if (!this.#wide) return this.#m.memory.grow(pages);
    return this.unary("WrapInt64", this.#m.memory.grow(this.unary("ExtendUInt32", pages), memoryName, true));
  }

  // ---- atomics on i32 words at constant addresses

  atomicLoad(address: number): Ref {
    return this.#m.i32.atomic.load(address, this.address(0));
  }

  atomicStore(address: number, value: Ref): Ref {
    return this.#m.i32.atomic.store(address, this.address(0), value);
  }

  /** Returns the value before. */
  atomicAdd(address: number, value: Ref): Ref {
    return this.#m.i32.atomic.rmw.add(address, this.address(0), value);
  }

  /** Sleeps while the word equals `expected`, without a timeout. */
  atomicWait(address: number, expected: Ref): Ref {
    return this.#m.memory.atomic.wait32(this.address(address), expected, this.i64(-1n));
  }

  /** Wakes all sleepers. */
  atomicNotifyAll(address: number): Ref {
    return this.#m.memory.atomic.notify(this.address(address), this.i32(-1));
  }

  // ---- control

  block(label: string | null, body: readonly Ref[], result?: WasmType): Ref {
    return this.#m.block(label, body, result === undefined ? binaryen.none : wasmTypes[result]);
  }

  loop(label: string, body: Ref): Ref {
    return this.#m.loop(label, body);
  }

  if(cond: Ref, then: Ref, otherwise?: Ref): Ref {
    return otherwise === undefined ? this.#m.if(cond, then) : this.#m.if(cond, then, otherwise);
  }

  br(label: string): Ref {
    return this.#m.br(label);
  }

  brIf(label: string, cond: Ref): Ref {
    return this.#m.br_if(label, cond);
  }

  return(value?: Ref): Ref {
    return value === undefined ? this.#m.return() : this.#m.return(value);
  }

  call(name: string, args: readonly Ref[], result: WasmType | undefined): Ref {
    return this.#m.call(name, args, result === undefined ? binaryen.none : wasmTypes[result]);
  }

  drop(x: Ref): Ref {
    return this.#m.drop(x);
  }

  unreachable(): Ref {
    return this.#m.unreachable();
  }

  // ---- the module

  addFunction(
    name: string,
    params: readonly WasmType[],
    result: WasmType | undefined,
    locals: readonly WasmType[],
    body: Ref,
  ): void {
    this.#m.addFunction(
      name,
      binaryen.createType(params.map((t) => wasmTypes[t])),
      result === undefined ? binaryen.none : wasmTypes[result],
      locals.map((t) => wasmTypes[t]),
      body,
    );
  }

  /** Imports `env.NAME`. */
  importFunction(name: string, params: readonly WasmType[], result: WasmType): void {
    this.#m.addFunctionImport(
      name,
      "env",
      name,
      binaryen.createType(params.map((t) => wasmTypes[t])),
      wasmTypes[result],
    );
  }

  addGlobalI32(name: string, initial: number, exportName?: string): void {
    this.#m.addGlobal(name, binaryen.i32, true, this.i32(initial));
    if (exportName !== undefined) this.#m.addGlobalExport(name, exportName);
  }

  exportFunction(name: string, as: string): void {
    this.#m.addFunctionExport(name, as);
  }

  /** Imports the memory as `env.memory`. */
  importMemory(limits: MemoryLimits): void {
    this.#m.setMemory(limits.initialPages, limits.maximumPages, null, [], limits.shared, this.#wide, memoryName);
    this.#m.addMemoryImport(memoryName, "env", "memory", limits.shared);
  }

  addCustomSection(name: string, contents: Uint8Array): void {
    this.#m.addCustomSection(name, contents);
  }

  /** Runs binaryen's passes by name, in order. */
  optimize(passes: readonly string[]): void {
    if (passes.length === 0) return;
    binaryen.setOptimizeLevel(2);
    binaryen.setShrinkLevel(0);
    this.#m.runPasses(passes);
  }

  /** Frees the module; nothing may be built in it afterwards. @throws InternalError if it is invalid */
  finish(options: { readonly names: boolean }): Uint8Array {
    try {
      binaryen.setDebugInfo(options.names);
      if (!this.#m.validate()) throw new InternalError("binaryen refuses the emitted module (its report is on stderr)");
      return this.#m.emitBinary();
    } finally {
      this.#m.dispose();
    }
  }
}

/** The text form of an emitted module. */
export function toWat(bytes: Uint8Array): string {
  // binaryen's declarations lag behind: readBinary takes the features as a second argument.
  const read = binaryen.readBinary as (data: Uint8Array, features: binaryen.Features) => binaryen.Module;
  const m = read(bytes, binaryen.Features.All);
  try {
    return m.emitText();
  } finally {
    m.dispose();
  }
}
