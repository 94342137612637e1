/**
 * From a module that imports its memory and what it asks of its host to one that has its own memory, with contents, and imports WASI's
 * functions: its sections rewritten, but for code, which stays as it is.
 */
import { InternalError } from "../../ir/errors.js";
import { concatBytes } from "../../runtime/stream.js";
import { ByteWriter } from "../wasm/bytes.js";

export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

interface Section {
  readonly id: number;
  readonly body: Uint8Array;
}

const id = { import: 2, memory: 5, export: 7, code: 10, data: 11 } as const;
/** Kinds of imports and exports. */
const kinds = { function: 0, memory: 2 } as const;
const wasi = "wasi_snapshot_preview1";
/** Bytes of weights that go into one segment at most. */
const segmentBytes = 2 ** 28;

/** Bytes that a function writes. */
function written(write: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter();
  write(out);
  return out.finish();
}

class Reader {
  at: number;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  unsigned(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * unit;
      if (byte < 128) return value;
    }
  }

  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.unsigned()));
  }
}

function sectionsOf(module: Uint8Array): Section[] {
  const reader = new Reader(module, 8);
  const sections: Section[] = [];
  while (reader.at < module.length) {
    const kind = reader.unsigned();
    sections.push({ id: kind, body: reader.take(reader.unsigned()) });
  }
  return sections;
}

/** Imports without the memory, and the memory's limits. */
function withoutMemory(body: Uint8Array): { readonly imports: Uint8Array; readonly limits: Uint8Array } {
  const reader = new Reader(body);
  const functions = new ByteWriter();
  let count = 0;
  let limits: Uint8Array | undefined;
  for (let left = reader.unsigned(); left > 0; left--) {
    reader.name();
    const name = reader.name();
    const kind = reader.unsigned();
    if (kind === kinds.function) {
      count++;
      functions.name(wasi);
      functions.name(name);
      functions.byte(kind);
      functions.unsigned(reader.unsigned());
    } else if (kind === kinds.memory) {
      const start = reader.at;
      const flags = reader.unsigned();
      reader.unsigned();
      if (flags & 1) reader.unsigned();
      limits = body.subarray(start, reader.at);
    } else throw new InternalError(`an import of kind ${kind}`);
  }
  if (!limits) throw new InternalError("no memory is imported");
  const imports = written((out) => {
    out.unsigned(count);
    out.raw(functions.finish());
  });
  return { imports, limits };
}

/** @param module of one memory that it imports, without data */
export function linkCommand(module: Uint8Array, segments: readonly Segment[]): Uint8Array {
  const sections = sectionsOf(module);
  const find = (kind: number): Uint8Array => sections.find((s) => s.id === kind)?.body ?? Uint8Array.of(0);
  const { imports, limits } = withoutMemory(find(id.import));
  const exported = new Reader(find(id.export));
  const exports = exported.unsigned();
  const parts = segments.flatMap(({ address, bytes }) =>
    Array.from({ length: Math.ceil(bytes.length / segmentBytes) }, (_, k): Segment => {
      const at = k * segmentBytes;
      return { address: address + at, bytes: bytes.subarray(at, at + segmentBytes) };
    }),
  );
  const data = parts.flatMap(({ address, bytes }) => {
    const head = written((out) => {
      // Active, of the one memory, at i32.const.
      out.raw([0, 0x41]);
      out.i32(address);
      out.byte(0x0b);
      out.unsigned(bytes.length);
    });
    return [head, bytes];
  });
  const memoryExport = written((out) => {
    out.unsigned(exports + 1);
    out.name("memory");
    out.raw([kinds.memory, 0]);
  });
  const replaced: Readonly<Record<number, readonly Uint8Array[]>> = {
    [id.import]: [imports],
    [id.memory]: [Uint8Array.of(1), limits],
    [id.export]: [memoryExport, exported.bytes.subarray(exported.at)],
    [id.data]: parts.length > 0 ? [written((out) => out.unsigned(parts.length)), ...data] : [],
  };
  const kept = sections.filter((s) => s.id !== 0 && !(s.id in replaced));
  const all: (readonly [kind: number, body: readonly Uint8Array[]])[] = [
    ...kept.map((s) => [s.id, [s.body]] as const),
    ...Object.entries(replaced).map(([kind, body]) => [Number(kind), body] as const),
  ];
  // In the order of their numbers, then those that engines do not read.
  all.sort(([a], [b]) => a - b);
  const custom = sections.filter((s) => s.id === 0).map((s) => [0, [s.body]] as const);
  const kindsAndBodies = [...all, ...custom].filter(([, body]) => body.length > 0);
  const size = (body: readonly Uint8Array[]): number => body.reduce((n, part) => n + part.length, 0);
  return concatBytes([
    module.subarray(0, 8),
    ...kindsAndBodies.flatMap(([kind, body]) => [
      written((out) => {
        out.byte(kind);
        out.unsigned(size(body));
      }),
      ...body,
    ]),
  ]);
}
