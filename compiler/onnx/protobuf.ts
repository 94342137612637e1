/**
 * ONNX files: bytes ⇄ messages, by the table of their fields (proto-schema.ts). Fields that it does not know, or whose wire type it does not
 * expect, are kept as they came. Every message is held to its declared length, and depth, message count and value count to budgets.
 */
import { ModelError } from "../../ir/errors.js";
import { type FieldKind, type ScalarKind, schemas } from "./proto-schema.js";
import type { Int, MessageName, Messages, ModelProto, Unknowns } from "./proto-types.js";
import { stringBytes, varintBytes, WireReader, WireWriter, wire } from "./wire.js";

export interface DecodeLimits {
  /** Messages within messages; a subgraph costs 3. */
  readonly maxDepth: number;
  /** Messages in all: nodes, attributes, tensors, dims … */
  readonly maxMessages: number;
  /** Integers stored one by one (not those in raw_data). */
  readonly maxIntegers: number;
}

export const DEFAULT_DECODE_LIMITS: DecodeLimits = { maxDepth: 100, maxMessages: 4_000_000, maxIntegers: 64_000_000 };

interface Field {
  readonly id: number;
  readonly name: string;
  readonly kind: FieldKind;
  readonly repeated: boolean;
  readonly alternative: boolean;
  /** Wire type of one value. */
  readonly type: number;
  /** Numbers, whose lists have one tag and length. */
  readonly packed: boolean;
}

type Message = Record<string, unknown> & Unknowns;

interface Schema {
  readonly name: MessageName;
  readonly fields: readonly Field[];
  /** By number. */
  readonly byId: readonly (Field | undefined)[];
  /** Makes an empty message, whose prototype has the values of absent fields. */
  readonly create: new () => Message;
}

const wireTypes: Readonly<Record<ScalarKind, number>> = {
  int32: wire.varint,
  int64: wire.varint,
  uint64: wire.varint,
  float: wire.fixed32,
  double: wire.fixed64,
  string: wire.delimited,
  bytes: wire.delimited,
};

const isScalar = (kind: FieldKind): kind is ScalarKind => kind in wireTypes;

function schemaOf(name: MessageName): Schema {
  const fields = Object.entries(schemas[name]).map(([id, [field, kind, alternative]]): Field => {
    const of = typeof kind === "string" ? kind : kind[0];
    const type = isScalar(of) ? wireTypes[of] : wire.delimited;
    const repeated = typeof kind !== "string";
    return {
      id: Number(id),
      name: field,
      kind: of,
      repeated,
      alternative: alternative !== undefined,
      type,
      packed: repeated && type !== wire.delimited,
    };
  });
  const byId: Field[] = [];
  for (const field of fields) byId[field.id] = field;
  class Message {}
  for (const field of fields) Object.assign(Message.prototype, { [field.name]: absent(field) });
  return { name, fields, byId, create: Message as new () => Message & Record<string, unknown> };
}

/** What reading an absent field gives. */
function absent({ kind, repeated, alternative }: Field): unknown {
  if (alternative) return null;
  if (repeated) return Object.freeze([]);
  if (kind === "string") return "";
  if (kind === "bytes") return new Uint8Array(0);
  return isScalar(kind) ? 0 : null;
}

const made = new Map<MessageName, Schema>();

function schema(name: MessageName): Schema {
  const known = made.get(name) ?? schemaOf(name);
  made.set(name, known);
  return known;
}

class Decoder {
  readonly reader: WireReader;
  readonly #limits: DecodeLimits;
  #depth = 0;
  #messages = 0;
  #integers = 0;

  constructor(bytes: Uint8Array, limits: DecodeLimits) {
    this.reader = new WireReader(bytes);
    this.#limits = limits;
  }

  /** The message that takes the next `length` bytes. */
  message({ name, byId, create }: Schema, length: number): Message {
    const { reader } = this;
    const { end: outer, bytes } = reader;
    if (length > outer - reader.pos)
      throw new RangeError(`a ${name} declares ${length} bytes, but ${outer - reader.pos} are left`);
    if (++this.#depth > this.#limits.maxDepth)
      throw new RangeError(`messages are nested deeper than ${this.#limits.maxDepth}`);
    if (++this.#messages > this.#limits.maxMessages)
      throw new RangeError(`more than ${this.#limits.maxMessages} messages`);
    const message = new create();
    reader.end = reader.pos + length;
    while (reader.pos < reader.end) {
      const start = reader.pos;
      const tag = reader.uint32();
      const type = tag & 7;
      const field = byId[tag >>> 3];
      if (field?.packed && type === wire.delimited) this.#packed(field, listIn(message, field));
      else if (field?.type === type) {
        const value = this.#value(field.kind);
        if (field.repeated) listIn(message, field).push(value);
        else message[field.name] = value;
      } else {
        reader.skip(type);
        message.unknownFields ??= [];
        message.unknownFields.push(bytes.subarray(start, reader.pos));
      }
    }
    reader.end = outer;
    this.#depth--;
    return message;
  }

  #packed({ kind }: Field, list: unknown[]): void {
    const { reader } = this;
    const length = reader.uint32();
    const stop = reader.pos + length;
    if (stop > reader.end) throw new RangeError(`index out of range: ${stop} > ${reader.end}`);
    while (reader.pos < stop) list.push(this.#value(kind));
  }

  #value(kind: FieldKind): unknown {
    const { reader } = this;
    switch (kind) {
      case "string":
        return reader.string();
      case "bytes":
        return reader.delimited();
      case "float":
        return reader.float();
      case "double":
        return reader.double();
      case "int32":
        this.#countInteger();
        return reader.int32();
      case "int64":
        this.#countInteger();
        return reader.int64();
      case "uint64":
        this.#countInteger();
        return reader.uint64();
      default:
        return this.message(schema(kind), reader.uint32());
    }
  }

  #countInteger(): void {
    if (++this.#integers > this.#limits.maxIntegers)
      throw new RangeError(`more than ${this.#limits.maxIntegers} integers stored one by one`);
  }
}

function listIn(message: Message, { name }: Field): unknown[] {
  if (!Object.hasOwn(message, name)) message[name] = [];
  return message[name] as unknown[];
}

class Encoder {
  /** Bytes of the messages that have been measured. */
  readonly #sizes = new Map<object, number>();

  size(name: MessageName, message: Message): number {
    let size = 0;
    for (const field of schema(name).fields) {
      const values = valuesIn(message, field);
      if (values.length === 0) continue;
      const tag = varintBytes(field.id * 8);
      if (field.packed) size += tag + delimited(this.#packedSize(field, values));
      else for (const value of values) size += tag + this.#valueSize(field.kind, value);
    }
    for (const bytes of unknownIn(message)) size += bytes.length;
    this.#sizes.set(message, size);
    return size;
  }

  #packedSize({ kind }: Field, values: readonly unknown[]): number {
    let size = 0;
    for (const value of values) size += this.#valueSize(kind, value);
    return size;
  }

  #valueSize(kind: FieldKind, value: unknown): number {
    switch (kind) {
      case "string":
        return delimited(stringBytes(value as string));
      case "bytes":
        return delimited((value as Uint8Array).length);
      case "float":
        return 4;
      case "double":
        return 8;
      case "int32":
        return varintBytes((value as number) | 0);
      case "int64":
      case "uint64":
        return varintBytes(value as Int);
      default:
        return delimited(this.size(kind, value as Message));
    }
  }

  /** Writes what was measured. */
  write(name: MessageName, message: Message, out: WireWriter): void {
    for (const field of schema(name).fields) {
      const values = valuesIn(message, field);
      if (values.length === 0) continue;
      if (field.packed) {
        out.varint(field.id * 8 + wire.delimited);
        out.varint(this.#packedSize(field, values));
      }
      for (const value of values) {
        if (!field.packed) out.varint(field.id * 8 + field.type);
        this.#writeValue(field.kind, value, out);
      }
    }
    for (const bytes of unknownIn(message)) out.raw(bytes);
  }

  #writeValue(kind: FieldKind, value: unknown, out: WireWriter): void {
    switch (kind) {
      case "string":
        out.varint(stringBytes(value as string));
        out.string(value as string);
        break;
      case "bytes":
        out.varint((value as Uint8Array).length);
        out.raw(value as Uint8Array);
        break;
      case "float":
        out.float(value as number);
        break;
      case "double":
        out.double(value as number);
        break;
      case "int32":
        out.varint((value as number) | 0);
        break;
      case "int64":
      case "uint64":
        out.varint(value as Int);
        break;
      default:
        out.varint(this.#sizes.get(value as Message)!);
        this.write(kind, value as Message, out);
    }
  }
}

const delimited = (bytes: number): number => varintBytes(bytes) + bytes;

/** The values of a field that are to be written: none where it is absent. */
function valuesIn(message: Message, { name, repeated }: Field): readonly unknown[] {
  const value = Object.hasOwn(message, name) ? message[name] : undefined;
  if (value === undefined || value === null) return [];
  return repeated ? (value as readonly unknown[]) : [value];
}

const unknownIn = (message: Message): readonly Uint8Array[] =>
  (Object.hasOwn(message, "unknownFields") && message.unknownFields) || [];

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
  const decoder = new Decoder(plain, limits);
  try {
    return decoder.message(schema(name), plain.length) as Messages[M];
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    throw new ModelError(
      {
        message: `cannot decode ${bytes.length} bytes as an ONNX ${name}: ${cause.message} (at byte ${decoder.reader.pos})`,
        hint: "the file is truncated, damaged or not ONNX; download or export it again",
      },
      { cause },
    );
  }
}

export function encodeMessage<M extends MessageName>(name: M, message: Messages[M]): Uint8Array {
  const encoder = new Encoder();
  const out = new WireWriter(encoder.size(name, message as Message));
  encoder.write(name, message as Message, out);
  return out.bytes;
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
