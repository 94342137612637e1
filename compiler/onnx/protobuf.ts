/**
 * ONNX files: bytes ⇄ messages.
 *
 * onnx-proto's static coders (generated code on protobufjs's Reader and Writer: no eval, so it works under a strict
 * content security policy) read and write what ONNX 1.10 knew. This file wraps each of them to
 *  - read and write the newer fields of proto-extension.ts, and keep fields that nobody knows;
 *  - hold every message to its declared length, and depth, message count and value count to budgets;
 *  - give 64-bit integers as number | bigint, exactly.
 * The static coders call one another through the namespace object, so replacing `decode` and `encode` there is enough.
 */
import onnxProto from "onnx-proto";
import protobuf from "protobufjs/minimal.js";
import { ModelError } from "../../ir/errors.js";
import { EXTENSIONS, type ExtensionField } from "./proto-extension.js";
import type { Int, MessageName, Messages, ModelProto, Unknowns } from "./proto-types.js";

export interface DecodeLimits {
  /** Messages within messages; a subgraph costs 3. */
  readonly maxDepth: number;
  /** Messages in all: nodes, attributes, tensors, dims … */
  readonly maxMessages: number;
  /** Integers stored one by one (not those in raw_data). */
  readonly maxIntegers: number;
}

export const DEFAULT_DECODE_LIMITS: DecodeLimits = { maxDepth: 100, maxMessages: 4_000_000, maxIntegers: 64_000_000 };

/** protobufjs's Reader, with the types that this file needs of it. */
interface BaseReader {
  buf: Uint8Array;
  pos: number;
  len: number;
  tag(): number;
  uint32(): number;
  int32(): number;
  string(): string;
  bytes(): Uint8Array;
  skipType(wireType: number, depth?: number, fieldNumber?: number): this;
}

interface BaseWriter {
  uint32(value: number): this;
  int32(value: number): this;
  int64(value: unknown): this;
  string(value: string): this;
  bytes(value: Uint8Array): this;
  raw(value: Uint8Array): this;
  fork(): this;
  ldelim(): this;
  finish(): Uint8Array;
}

const ReaderBase = protobuf.Reader as unknown as new (bytes: Uint8Array) => BaseReader;
const WriterBase = protobuf.Writer as unknown as new () => BaseWriter;

class OnnxReader extends ReaderBase {
  depth = 0;
  messages = 0;
  integers = 0;
  /** Set when a static decoder met a field that it does not know. */
  skipped = false;
  readonly limits: DecodeLimits;

  constructor(bytes: Uint8Array, limits: DecodeLimits) {
    super(bytes);
    this.limits = limits;
  }

  private countInteger(): void {
    if (++this.integers > this.limits.maxIntegers)
      throw new RangeError(`more than ${this.limits.maxIntegers} integers stored one by one`);
  }

  override int32(): number {
    this.countInteger();
    return super.int32();
  }

  /** The low and high 32 bits of a varint of at most 10 bytes. */
  private varint64(): [lo: number, hi: number] {
    this.countInteger();
    let lo = 0;
    let hi = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.pos >= this.len) throw new RangeError(`index out of range: ${this.pos} + 1 > ${this.len}`);
      const byte = this.buf[this.pos++]!;
      if (shift < 28) lo |= (byte & 127) << shift;
      else if (shift === 28) {
        lo |= (byte & 15) << 28;
        hi |= (byte & 127) >> 4;
      } else hi |= (byte & 127) << (shift - 32);
      if (byte < 128) return [lo >>> 0, hi >>> 0];
    }
    throw new RangeError("invalid varint encoding");
  }

  int64(): Int {
    const [lo, hi] = this.varint64();
    const value = (hi | 0) * 2 ** 32 + lo;
    return Number.isSafeInteger(value) ? value : (BigInt(hi | 0) << 32n) | BigInt(lo);
  }

  uint64(): Int {
    const [lo, hi] = this.varint64();
    const value = hi * 2 ** 32 + lo;
    return Number.isSafeInteger(value) ? value : (BigInt(hi) << 32n) | BigInt(lo);
  }

  override skipType(wireType: number, depth?: number, fieldNumber?: number): this {
    this.skipped = true;
    return super.skipType(wireType, depth, fieldNumber);
  }
}

class OnnxWriter extends WriterBase {
  override int64(value: Int): this {
    const bits = BigInt.asUintN(64, BigInt(value));
    return super.int64({ low: Number(bits & 0xffffffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: false });
  }

  uint64(value: Int): this {
    return this.int64(value);
  }
}

interface Coder {
  decode(reader: OnnxReader, length?: number): object;
  encode(message: object, writer: OnnxWriter): OnnxWriter;
}

const coders = new Map<MessageName, Coder>();

function coder(name: MessageName): Coder {
  return coders.get(name)!;
}

function readFields(name: MessageName, reader: OnnxReader, message: Record<string, unknown> & Unknowns, end: number) {
  const { known, fields } = EXTENSIONS[name];
  while (reader.pos < end) {
    const start = reader.pos;
    const tag = reader.uint32();
    const field = fields[tag >>> 3];
    if (!field || !wireTypeFits(field, tag & 7)) {
      reader.skipType(tag & 7, 0, tag >>> 3);
      if (!known.includes(tag >>> 3)) {
        message.unknownFields ??= [];
        message.unknownFields.push(reader.buf.subarray(start, reader.pos));
      }
      continue;
    }
    const list = field.repeated && ownList(message, field.name);
    if (list && field.kind === "int64" && (tag & 7) === 2) {
      const stop = reader.uint32() + reader.pos;
      if (stop > reader.len) throw new RangeError(`index out of range: ${stop} > ${reader.len}`);
      while (reader.pos < stop) list.push(reader.int64());
    } else {
      const value = readValue(field, reader);
      if (list) list.push(value);
      else message[field.name] = value;
    }
  }
}

function ownList(message: Record<string, unknown>, name: string): unknown[] {
  if (!Object.hasOwn(message, name)) message[name] = [];
  return message[name] as unknown[];
}

function wireTypeFits(field: ExtensionField, wireType: number): boolean {
  if (field.kind === "int32" || field.kind === "int64")
    return wireType === 0 || (wireType === 2 && field.repeated === true && field.kind === "int64");
  return wireType === 2;
}

function readValue(field: ExtensionField, reader: OnnxReader): unknown {
  switch (field.kind) {
    case "string":
      return reader.string();
    case "bytes":
      return reader.bytes();
    case "int32":
      return reader.int32();
    case "int64":
      return reader.int64();
    default:
      return coder(field.kind).decode(reader, reader.uint32());
  }
}

function writeValue(id: number, kind: ExtensionField["kind"], value: unknown, writer: OnnxWriter): void {
  const varint = kind === "int32" || kind === "int64";
  writer.uint32(((id << 3) | (varint ? 0 : 2)) >>> 0);
  if (kind === "string") writer.string(value as string);
  else if (kind === "bytes") writer.bytes(value as Uint8Array);
  else if (kind === "int32") writer.int32(value as number);
  else if (kind === "int64") writer.int64(value as Int);
  else
    coder(kind)
      .encode(value as object, writer.fork())
      .ldelim();
}

function writeFields(name: MessageName, message: Record<string, unknown> & Unknowns, writer: OnnxWriter): void {
  for (const [id, field] of Object.entries(EXTENSIONS[name].fields)) {
    if (!Object.hasOwn(message, field.name)) continue;
    const value = message[field.name];
    if (value === null || value === undefined) continue;
    for (const item of field.repeated ? (value as unknown[]) : [value])
      writeValue(Number(id), field.kind, item, writer);
  }
  if (Object.hasOwn(message, "unknownFields")) for (const bytes of message.unknownFields!) writer.raw(bytes);
}

/** Wraps `base`, onnx-proto's coder of this message, or makes one where it has none. */
function extend(name: MessageName, base: Coder | undefined): Coder {
  return {
    decode(reader, length) {
      const { pos: start, len: outer } = reader;
      const end = length === undefined ? outer : start + length;
      if (end > outer) throw new RangeError(`a ${name} declares ${length} bytes, but ${outer - start} are left`);
      if (++reader.depth > reader.limits.maxDepth)
        throw new RangeError(`messages are nested deeper than ${reader.limits.maxDepth}`);
      if (++reader.messages > reader.limits.maxMessages)
        throw new RangeError(`more than ${reader.limits.maxMessages} messages`);
      reader.len = end;
      reader.skipped = base === undefined;
      const message = base ? base.decode(reader, end - start) : {};
      if (reader.skipped) {
        reader.pos = start;
        readFields(name, reader, message as Record<string, unknown>, end);
      }
      reader.skipped = false;
      reader.len = outer;
      reader.depth--;
      return message;
    },
    encode(message, writer) {
      base?.encode(message, writer);
      writeFields(name, message as Record<string, unknown>, writer);
      return writer;
    },
  };
}

/** Whether this is an object of the package `long`, which protobufjs uses where it is installed. */
function isLong(value: unknown): boolean {
  return typeof value === "object" && value !== null && "__isLong__" in value;
}

function install(): void {
  for (const name of Object.keys(EXTENSIONS) as MessageName[]) {
    let holder: unknown = onnxProto.onnx;
    for (const part of name.split(".")) holder = (holder as Record<string, unknown> | undefined)?.[part];
    const type = holder as (Coder & { prototype: Record<string, unknown> }) | undefined;
    const extended = extend(name, type && { decode: type.decode, encode: type.encode });
    coders.set(name, extended);
    if (!type) continue;
    type.decode = extended.decode;
    type.encode = extended.encode;
    // Absent 64-bit integers read as 0, not as an object of the package `long`.
    for (const key of Object.keys(type.prototype)) if (isLong(type.prototype[key])) type.prototype[key] = 0;
  }
}
install();

/**
 * Decodes one message. Byte fields are views of `bytes`.
 * @throws ModelError if the bytes are truncated, malformed or beyond `limits`.
 */
export function decodeMessage<M extends MessageName>(
  name: M,
  bytes: Uint8Array,
  limits: DecodeLimits = DEFAULT_DECODE_LIMITS,
): Messages[M] {
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new OnnxReader(plain, limits);
  try {
    return coder(name).decode(reader) as Messages[M];
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    throw new ModelError(
      {
        message: `cannot decode ${bytes.length} bytes as an ONNX ${name}: ${cause.message} (at byte ${reader.pos})`,
        hint: "the file is truncated, damaged or not ONNX; download or export it again",
      },
      { cause },
    );
  }
}

export function encodeMessage<M extends MessageName>(name: M, message: Messages[M]): Uint8Array {
  const bytes = coder(name).encode(message, new OnnxWriter()).finish();
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Files that people pass by mistake: their first bytes (from `at`), what they are, and what to do. */
const OTHER_FORMATS: readonly { at: number; magic: string; what: string; hint: string }[] = [
  {
    at: 0,
    magic: "PK\x03\x04",
    what: "a zip archive (perhaps a PyTorch checkpoint)",
    hint: "export it with torch.onnx.export",
  },
  {
    at: 0,
    magic: "\x80\x02",
    what: "a Python pickle (perhaps a PyTorch checkpoint)",
    hint: "export it with torch.onnx.export",
  },
  { at: 0, magic: "\x89HDF", what: "an HDF5 file (perhaps Keras)", hint: "convert it with tf2onnx" },
  { at: 4, magic: "TFL3", what: "a TensorFlow Lite model", hint: "convert it with tf2onnx --tflite" },
  { at: 4, magic: "ORTM", what: "ONNX Runtime's own ORT format", hint: "use the .onnx file that it was made from" },
  { at: 0, magic: "GGUF", what: "a GGUF file", hint: "export the model to ONNX instead" },
  { at: 0, magic: "version https://git-lfs", what: "a Git LFS pointer, not the file", hint: "run `git lfs pull`" },
  {
    at: 0,
    magic: "<",
    what: "an HTML or XML page, not a model",
    hint: "check the address that it was downloaded from",
  },
  { at: 0, magic: "{", what: "a JSON file", hint: "pass the .onnx file" },
  { at: 0, magic: "\x1f\x8b", what: "a gzip archive", hint: "unpack it first" },
  { at: 0, magic: "\0asm", what: "a WebAssembly module", hint: "pass the .onnx file that it was compiled from" },
];

function recognise(bytes: Uint8Array): { what: string; hint: string } | undefined {
  return OTHER_FORMATS.find(({ at, magic }) => [...magic].every((c, i) => bytes[at + i] === c.charCodeAt(0)));
}

/**
 * Decodes a `.onnx` file.
 * @throws ModelError if it is not one.
 */
export function decodeModel(bytes: Uint8Array, limits: DecodeLimits = DEFAULT_DECODE_LIMITS): ModelProto {
  if (bytes.length === 0)
    throw new ModelError({ message: "the ONNX file is empty", hint: "download or export it again" });
  const other = recognise(bytes);
  if (other) throw new ModelError({ message: `this is ${other.what}, not an ONNX file`, hint: other.hint });
  const model = decodeMessage("ModelProto", bytes, limits);
  if (!model.graph)
    throw new ModelError({
      message: `${bytes.length} bytes decode as an ONNX ModelProto without a graph`,
      hint: "the file is truncated, damaged or not ONNX; download or export it again",
    });
  return model;
}

export function encodeModel(model: ModelProto): Uint8Array {
  return encodeMessage("ModelProto", model);
}
