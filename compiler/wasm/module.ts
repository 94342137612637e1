/**
 * One module under construction: makes expressions, whose types it checks by the table of instructions, and collects functions, imports and
 * exports, which it writes as bytes.
 *
 * A `Ref` has exactly one parent: every method consumes its operands, so build afresh whatever is needed twice.
 */

import { InternalError } from "../../ir/errors.js";
import { ByteWriter } from "./bytes.js";
import { encodeFunction, type FunctionCode, typeCode, writeConstant } from "./encode.js";
import { type OperandType, type OperationName, opcode, operation, type WasmType } from "./instructions.js";
import type { NodeType, Ref } from "./nodes.js";

export type { WasmType } from "./instructions.js";
export type { Ref } from "./nodes.js";

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

interface Signature {
  readonly params: readonly NodeType[];
  readonly result: WasmType | undefined;
}

interface FunctionType extends Signature {
  readonly params: readonly WasmType[];
}

interface Global {
  readonly name: string;
  readonly initial: number;
  readonly exportName: string | undefined;
}

export class WasmModule {
  readonly #address: "i32" | "i64";
  readonly #imports: { readonly name: string; readonly type: FunctionType }[] = [];
  readonly #functions: { readonly name: string; readonly type: FunctionType; readonly code: FunctionCode }[] = [];
  readonly #types = new Map<string, FunctionType>();
  /** Types of the functions that are called, as callers have them. */
  readonly #called = new Map<string, Signature>();
  readonly #globals: Global[] = [];
  readonly #exports: { readonly name: string; readonly as: string }[] = [];
  readonly #custom: { readonly name: string; readonly contents: Uint8Array }[] = [];
  #memory: MemoryLimits | undefined;

  constructor(variant: Variant) {
    this.#address = variant.memory64 ? "i64" : "i32";
  }

  // ---- constants and locals

  i32(value: number): Ref {
    return { kind: "const", type: "i32", value };
  }

  i64(value: bigint): Ref {
    return { kind: "const", type: "i64", value };
  }

  f32(value: number): Ref {
    return { kind: "const", type: "f32", value };
  }

  f64(value: number): Ref {
    return { kind: "const", type: "f64", value };
  }

  v128(bytes: Uint8Array): Ref {
    return { kind: "const", type: "v128", value: bytes };
  }

  get(local: number, type: WasmType): Ref {
    return { kind: "local.get", type, local };
  }

  set(local: number, value: Ref): Ref {
    return { kind: "local.set", type: "none", local, value };
  }

  tee(local: number, value: Ref, type: WasmType): Ref {
    expectType("local.tee", value, type);
    return { kind: "local.tee", type, local, value };
  }

  globalGet(name: string): Ref {
    return { kind: "global.get", type: "i32", global: this.#globalIndex(name) };
  }

  globalSet(name: string, value: Ref): Ref {
    expectType(name, value, "i32");
    return { kind: "global.set", type: "none", global: this.#globalIndex(name), value };
  }

  // ---- operations, by the names of their instructions

  op(name: OperationName, ...operands: readonly Ref[]): Ref {
    return this.#operation(name, operands, 0, 1, []);
  }

  /** One that names lanes, or 16 bytes of two vectors (`i8x16.shuffle`: of a from 0, of b from 16). */
  lanes(name: OperationName, lanes: readonly number[], ...operands: readonly Ref[]): Ref {
    return this.#operation(name, operands, 0, 1, lanes);
  }

  /** A load, store or atomic access; `offset` is the immediate in bytes, `align` in bytes. */
  access(name: OperationName, offset: number, align: number, ...operands: readonly Ref[]): Ref {
    return this.#operation(name, operands, offset, align, []);
  }

  /** A load or store of one lane. */
  accessLane(name: OperationName, lane: number, offset: number, align: number, ...operands: readonly Ref[]): Ref {
    return this.#operation(name, operands, offset, align, [lane]);
  }

  #operation(
    name: OperationName,
    operands: readonly Ref[],
    offset: number,
    align: number,
    lanes: readonly number[],
  ): Ref {
    const instruction = operation(name);
    const expected = instruction.operands;
    if (operands.length !== expected.length)
      throw new InternalError(`${name} has ${expected.length} operands, not ${operands.length}`);
    for (let k = 0; k < expected.length; k++) expectType(name, operands[k]!, this.#typeOf(expected[k]!));
    const type = instruction.result === undefined ? "none" : this.#typeOf(instruction.result);
    return { kind: "operation", type, instruction, operands, offset, align, lanes };
  }

  #typeOf(type: OperandType): WasmType {
    return type === "address" ? this.#address : type;
  }

  /** `bytes`: 16 byte indices into a (0…15) and b (16…31). */
  shuffle(a: Ref, b: Ref, bytes: readonly number[]): Ref {
    return this.lanes("i8x16.shuffle", bytes, a, b);
  }

  select(cond: Ref, a: Ref, b: Ref): Ref {
    expectType("select", cond, "i32");
    if (a.type === "none" || a.type !== b.type) throw new InternalError(`select of ${a.type} and ${b.type}`);
    return { kind: "select", type: a.type, a, b, cond };
  }

  // ---- addresses

  /** A constant address, or distance between two. */
  address(value: number): Ref {
    return this.#address === "i64" ? this.i64(BigInt(value)) : this.i32(value | 0);
  }

  addressPlus(base: Ref, bytes: number): Ref {
    return this.op(`${this.#address}.add`, base, this.address(bytes));
  }

  /** base + (index << shift): `base` an address, `index` an i32. */
  addressOf(base: Ref | undefined, index: Ref, shift: number): Ref {
    const whole = this.#address === "i64" ? this.op("i64.extend_i32_s", index) : index;
    const scaled = shift === 0 ? whole : this.op(`${this.#address}.shl`, whole, this.address(shift));
    return base === undefined ? scaled : this.op(`${this.#address}.add`, base, scaled);
  }

  /** Pages of 64 KiB, an i32. */
  memorySize(): Ref {
    const pages = this.op("memory.size");
    return this.#address === "i64" ? this.op("i32.wrap_i64", pages) : pages;
  }

  /** Grows by as many pages (i32); -1 where it can't. */
  memoryGrow(pages: Ref): Ref {
    if (this.#address === "i32") return this.op("memory.grow", pages);
    return this.op("i32.wrap_i64", this.op("memory.grow", this.op("i64.extend_i32_u", pages)));
  }

  // ---- atomics on i32 words at constant addresses

  atomicLoad(address: number): Ref {
    return this.access("i32.atomic.load", address, 4, this.address(0));
  }

  atomicStore(address: number, value: Ref): Ref {
    return this.access("i32.atomic.store", address, 4, this.address(0), value);
  }

  /** Returns the value before. */
  atomicAdd(address: number, value: Ref): Ref {
    return this.access("i32.atomic.rmw.add", address, 4, this.address(0), value);
  }

  /** Sleeps while the word equals `expected`, without a timeout. */
  atomicWait(address: number, expected: Ref): Ref {
    return this.access("memory.atomic.wait32", address, 4, this.address(0), expected, this.i64(-1n));
  }

  /** Wakes all sleepers. */
  atomicNotifyAll(address: number): Ref {
    return this.access("memory.atomic.notify", address, 4, this.address(0), this.i32(-1));
  }

  // ---- control

  /** One after the other; the value, if there is one, is the last one's. What stands behind a jump is left out. */
  sequence(parts: readonly Ref[]): Ref {
    const jump = parts.findIndex((part) => part.type === "never");
    const body = jump < 0 ? parts : parts.slice(0, jump + 1);
    const last = body.at(-1);
    for (const part of body) if (part !== last) expectNothing("a statement", part);
    return { kind: "sequence", type: last?.type ?? "none", body };
  }

  loop(label: string, body: Ref): Ref {
    expectNothing("the body of a loop", body);
    return { kind: "loop", type: "none", label, body };
  }

  if(cond: Ref, then: Ref, otherwise?: Ref): Ref {
    expectType("if", cond, "i32");
    expectNothing("a branch", then);
    if (otherwise !== undefined) expectNothing("a branch", otherwise);
    return { kind: "if", type: "none", cond, then, otherwise };
  }

  br(label: string): Ref {
    return { kind: "br", type: "never", label, cond: undefined };
  }

  brIf(label: string, cond: Ref): Ref {
    expectType("br_if", cond, "i32");
    return { kind: "br", type: "none", label, cond };
  }

  return(value?: Ref): Ref {
    return { kind: "return", type: "never", value };
  }

  call(name: string, args: readonly Ref[], result: WasmType | undefined): Ref {
    const signature = { params: args.map((x) => x.type), result };
    const known = this.#called.get(name);
    if (known === undefined) this.#called.set(name, signature);
    else expectSignature(name, signature, known);
    return { kind: "call", type: result ?? "none", name, args };
  }

  drop(value: Ref): Ref {
    if (value.type === "none") throw new InternalError("drop of a statement without a value");
    return { kind: "drop", type: "none", value };
  }

  unreachable(): Ref {
    return { kind: "unreachable", type: "never" };
  }

  // ---- the module

  addFunction(
    name: string,
    params: readonly WasmType[],
    result: WasmType | undefined,
    locals: readonly WasmType[],
    body: Ref,
  ): void {
    if (result === undefined) expectNothing(`the body of @${name}`, body);
    else expectType(`@${name}`, body, result);
    const code = encodeFunction({ name, params, locals, result, body });
    this.#functions.push({ name, type: this.#type(params, result), code });
  }

  /** Imports `env.NAME`. */
  importFunction(name: string, params: readonly WasmType[], result: WasmType | undefined): void {
    this.#imports.push({ name, type: this.#type(params, result) });
  }

  /** A mutable i32. */
  addGlobal(name: string, initial: number, exportName?: string): void {
    this.#globals.push({ name, initial, exportName });
  }

  exportFunction(name: string, as: string): void {
    this.#exports.push({ name, as });
  }

  /** Imports the memory as `env.memory`. */
  importMemory(limits: MemoryLimits): void {
    this.#memory = limits;
  }

  addCustomSection(name: string, contents: Uint8Array): void {
    this.#custom.push({ name, contents });
  }

  /** The one object for all functions of the type. */
  #type(params: readonly WasmType[], result: WasmType | undefined): FunctionType {
    const key = `${params.join()}:${result ?? ""}`;
    const known = this.#types.get(key) ?? { params, result };
    this.#types.set(key, known);
    return known;
  }

  #globalIndex(name: string): number {
    const index = this.#globals.findIndex((g) => g.name === name);
    if (index < 0) throw new InternalError(`there is no global ${name}`);
    return index;
  }

  /** @throws InternalError if functions are missing or called with other types than theirs */
  finish(options: { readonly names: boolean }): Uint8Array {
    const all = [...this.#imports, ...this.#functions];
    const indices = new Map(all.map((f, index) => [f.name, index]));
    const indexOf = (name: string): number => {
      const index = indices.get(name);
      if (index === undefined) throw new InternalError(`no function is called @${name}`);
      return index;
    };
    for (const [name, signature] of this.#called) expectSignature(name, signature, all[indexOf(name)]!.type);
    const types = [...this.#types.values()];
    const out = new ByteWriter();
    out.raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, write: (s: ByteWriter) => void): void => {
      const contents = new ByteWriter();
      write(contents);
      out.byte(id);
      out.unsigned(contents.length);
      out.raw(contents.finish());
    };
    const list = <T>(id: number, items: readonly T[], write: (s: ByteWriter, item: T) => void): void => {
      if (items.length === 0) return;
      section(id, (s) => {
        s.unsigned(items.length);
        for (const item of items) write(s, item);
      });
    };
    list(1, types, writeType);
    const imports = [...(this.#memory ? [this.#memory] : []), ...this.#imports];
    list(2, imports, (s, item) => {
      s.name("env");
      s.name("name" in item ? item.name : "memory");
      if ("name" in item) {
        s.byte(0);
        s.unsigned(types.indexOf(item.type));
      } else this.#writeMemory(s, item);
    });
    list(3, this.#functions, (s, f) => s.unsigned(types.indexOf(f.type)));
    list(6, this.#globals, (s, g) => {
      s.byte(typeCode.i32);
      s.byte(1);
      writeConstant(s, { kind: "const", type: "i32", value: g.initial });
      s.byte(opcode.end);
    });
    const exports = [
      ...this.#globals.flatMap((g, index) =>
        g.exportName === undefined ? [] : [{ as: g.exportName, kind: 3, index }],
      ),
      ...this.#exports.map(({ name, as }) => ({ as, kind: 0, index: indexOf(name) })),
    ];
    list(7, exports, (s, e) => {
      s.name(e.as);
      s.byte(e.kind);
      s.unsigned(e.index);
    });
    list(10, this.#functions, (s, f) => writeCode(s, f.code, indexOf));
    if (options.names) section(0, (s) => writeNames(s, all));
    for (const { name, contents } of this.#custom)
      section(0, (s) => {
        s.name(name);
        s.raw(contents);
      });
    return out.finish();
  }

  #writeMemory(s: ByteWriter, { shared, initialPages, maximumPages }: MemoryLimits): void {
    s.byte(2);
    s.byte(1 | (shared ? 2 : 0) | (this.#address === "i64" ? 4 : 0));
    s.unsigned(initialPages);
    s.unsigned(maximumPages);
  }
}

function writeType(s: ByteWriter, { params, result }: FunctionType): void {
  const types = (list: readonly WasmType[]) => {
    s.unsigned(list.length);
    for (const t of list) s.byte(typeCode[t]);
  };
  s.byte(0x60);
  types(params);
  types(result === undefined ? [] : [result]);
}

function writeCode(s: ByteWriter, { bytes, calls }: FunctionCode, indexOf: (name: string) => number): void {
  const body = new ByteWriter();
  let from = 0;
  for (const { at, name } of calls) {
    body.raw(bytes.subarray(from, at));
    body.unsigned(indexOf(name));
    from = at;
  }
  body.raw(bytes.subarray(from));
  s.unsigned(body.length);
  s.raw(body.finish());
}

/** The section that says what functions are called, for stack traces and profilers. */
function writeNames(s: ByteWriter, functions: readonly { readonly name: string }[]): void {
  s.name("name");
  const names = new ByteWriter();
  names.unsigned(functions.length);
  for (const [index, f] of functions.entries()) {
    names.unsigned(index);
    names.name(f.name);
  }
  s.byte(1);
  s.unsigned(names.length);
  s.raw(names.finish());
}

function expectType(what: string, { type }: Ref, expected: WasmType): void {
  if (type !== expected && type !== "never") throw new InternalError(`${what} takes ${expected}, not ${type}`);
}

function expectNothing(what: string, { type }: Ref): void {
  if (type !== "none" && type !== "never") throw new InternalError(`${what} leaves a value of type ${type}`);
}

function expectSignature(name: string, call: Signature, { params, result }: Signature): void {
  const fits = call.params.length === params.length && call.params.every((type, k) => type === params[k]);
  if (!fits || call.result !== result)
    throw new InternalError(
      `@${name}: (${params.join()}) -> ${result} is called as (${call.params.join()}) -> ${call.result}`,
    );
}
