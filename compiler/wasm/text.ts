/**
 * Modules → WebAssembly's text format: what `dump` and `inspect` show. Reads the bytes, so it shows what engines get; instructions stand in
 * their order of execution, one a line. Knows the sections and instructions that module.ts writes, and those of binaryen's passes over them.
 */

import { InternalError } from "../../ir/errors.js";
import { typeCode } from "./encode.js";
import { contextuals, type Instruction, operations, type WasmType } from "./instructions.js";

const byCode = new Map([...operations, ...contextuals].map((i) => [i.prefix * 0x1000 + i.code, i]));
const typeNames = new Map(Object.entries(typeCode).map(([name, code]) => [code, name as WasmType]));

const [functionKind, memoryKind, globalKind] = [0, 2, 3];

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
    this.end = end;
  }

  get more(): boolean {
    return this.at < this.end;
  }

  byte(): number {
    const value = this.#bytes[this.at++];
    if (value === undefined) throw new InternalError("the module ends in the middle");
    return value;
  }

  unsigned(): number {
    return Number(this.#leb().value);
  }

  signed(): bigint {
    const { value, bits } = this.#leb();
    return BigInt.asIntN(bits, value);
  }

  #leb(): { readonly value: bigint; readonly bits: number } {
    let value = 0n;
    let bits = 0;
    for (let more = true; more; bits += 7) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << BigInt(bits);
      more = byte >= 0x80;
    }
    return { value, bits };
  }

  f32(): number {
    this.at += 4;
    return this.#view.getFloat32(this.at - 4, true);
  }

  f64(): number {
    this.at += 8;
    return this.#view.getFloat64(this.at - 8, true);
  }

  raw(length: number): Uint8Array {
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  name(): string {
    return new TextDecoder().decode(this.raw(this.unsigned()));
  }

  list<T>(read: (index: number) => T): T[] {
    return Array.from({ length: this.unsigned() }, (_, index) => read(index));
  }

  /** What comes next, of the length that stands before it. */
  part(): Reader {
    const length = this.unsigned();
    this.at += length;
    return new Reader(this.#bytes, this.at - length, this.at);
  }

  valueType(): WasmType {
    const type = typeNames.get(this.byte());
    if (type === undefined) throw new InternalError("the module has a type that is none of numbers and vectors");
    return type;
  }

  instruction(): Instruction {
    const first = this.byte();
    const prefix = first >= 0xfc && first <= 0xfe ? first : 0;
    const code = prefix === 0 ? first : this.unsigned();
    const found = byCode.get(prefix * 0x1000 + code);
    if (found === undefined) throw new InternalError(`the module has an instruction ${prefix} ${code} that is unknown`);
    return found;
  }
}

/** The text form of a module. */
export function toWat(bytes: Uint8Array): string {
  const reader = new Reader(bytes, 8);
  const sections = new Map<number, Reader>();
  const custom = new Map<string, Reader>();
  while (reader.more) {
    const id = reader.byte();
    const section = reader.part();
    if (id === 0) custom.set(section.name(), section);
    else sections.set(id, section);
  }
  const list = <T>(id: number, read: (section: Reader, index: number) => T): readonly T[] => {
    const section = sections.get(id);
    return section === undefined ? [] : section.list((index) => read(section, index));
  };
  const names = functionNames(custom.get("name"));
  const nameOf = (index: number) => `$${names.get(index) ?? `f${index}`}`;

  const types = list(1, (s) => {
    s.byte();
    return { params: s.list(() => s.valueType()), results: s.list(() => s.valueType()) };
  });
  const signature = (index: number): string =>
    (["params", "results"] as const)
      .filter((part) => types[index]![part].length > 0)
      .map((part) => ` (${part.slice(0, -1)} ${types[index]![part].join(" ")})`)
      .join("");
  const lines: string[] = [];
  let functions = 0;
  list(2, (s) => {
    const from = `(import ${JSON.stringify(s.name())} ${JSON.stringify(s.name())}`;
    const kind = s.byte();
    if (kind === functionKind) lines.push(`${from} (func ${nameOf(functions++)}${signature(s.unsigned())}))`);
    else if (kind === memoryKind) lines.push(`${from} (memory ${memoryLimits(s)}))`);
    else throw new InternalError("the module imports what is neither a function nor a memory");
  });
  const imported = functions;
  const declared = list(3, (s) => signature(s.unsigned()));
  list(6, (s, index) => {
    const type = s.valueType();
    const mutable = s.byte() === 1;
    const value = instructionText(s, s.instruction(), nameOf);
    s.instruction();
    lines.push(`(global $g${index} ${mutable ? `(mut ${type})` : type} (${value}))`);
  });
  list(7, (s) => {
    const as = JSON.stringify(s.name());
    const kind = s.byte();
    const index = s.unsigned();
    if (kind === functionKind) lines.push(`(export ${as} (func ${nameOf(index)}))`);
    else if (kind === globalKind) lines.push(`(export ${as} (global $g${index}))`);
    else throw new InternalError("the module exports what is neither a function nor a global");
  });
  list(10, (s, index) => {
    lines.push(`(func ${nameOf(imported + index)}${declared[index]}`, ...codeText(s.part(), nameOf));
  });
  return `(module\n${lines.map((l) => `  ${l}\n`).join("")})\n`;
}

function functionNames(section: Reader | undefined): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  while (section?.more) {
    const kind = section.byte();
    const part = section.part();
    if (kind === 1) part.list(() => names.set(part.unsigned(), part.name()));
  }
  return names;
}

function memoryLimits(s: Reader): string {
  const flags = s.byte();
  const initial = s.unsigned();
  const maximum = flags & 1 ? ` ${s.unsigned()}` : "";
  return `${flags & 4 ? "i64 " : ""}${initial}${maximum}${flags & 2 ? " shared" : ""}`;
}

function codeText(s: Reader, nameOf: (index: number) => string): readonly string[] {
  const lines: string[] = [];
  const locals = s.list(() => Array<string>(s.unsigned()).fill(s.valueType()).join(" "));
  if (locals.length > 0) lines.push(`  (local ${locals.join(" ")})`);
  for (let depth = 1; depth > 0; ) {
    const instruction = s.instruction();
    const { name } = instruction;
    if (name === "end") depth--;
    if (depth === 0) break;
    const indent = "  ".repeat(name === "else" ? depth - 1 : depth);
    lines.push(indent + instructionText(s, instruction, nameOf));
    if (instruction.immediate === "blockType") depth++;
  }
  lines[lines.length - 1] += ")";
  return lines;
}

/** An instruction with what follows it, which is read. */
function instructionText(
  s: Reader,
  { name, immediate, bytes }: Instruction,
  nameOf: (index: number) => string,
): string {
  switch (immediate) {
    case "none":
      return name;
    case "memory":
    case "memoryLane": {
      const align = 2 ** s.unsigned();
      const offset = s.unsigned();
      const lane = immediate === "memoryLane" ? ` ${s.byte()}` : "";
      return `${name}${offset === 0 ? "" : ` offset=${offset}`}${align === bytes ? "" : ` align=${align}`}${lane}`;
    }
    case "oneMemory":
      s.byte();
      return name;
    case "twoMemories":
      s.raw(2);
      return name;
    case "lane":
      return `${name} ${s.byte()}`;
    case "lanes":
      return `${name} ${s.raw(16).join(" ")}`;
    case "i32":
    case "i64":
      return `${name} ${s.signed()}`;
    case "f32":
      return `${name} ${floatText(s.f32(), Math.fround)}`;
    case "f64":
      return `${name} ${floatText(s.f64(), (x) => x)}`;
    case "v128": {
      const words = new Uint32Array(s.raw(16).slice().buffer);
      return `${name} i32x4 ${Array.from(words, (w) => `0x${w.toString(16).padStart(8, "0")}`).join(" ")}`;
    }
    case "local":
    case "label":
      return `${name} ${s.unsigned()}`;
    case "global":
      return `${name} $g${s.unsigned()}`;
    case "function":
      return `${name} ${nameOf(s.unsigned())}`;
    case "blockType": {
      const code = s.byte();
      return typeNames.has(code) ? `${name} (result ${typeNames.get(code)})` : name;
    }
    default:
      return immediate satisfies never;
  }
}

/** The shortest decimal number that is read as x. */
function floatText(x: number, round: (x: number) => number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (Object.is(x, -0)) return "-0";
  for (let digits = 6; digits < 17; digits++) {
    const text = String(Number(x.toPrecision(digits)));
    if (round(Number(text)) === x) return text;
  }
  return String(x);
}
