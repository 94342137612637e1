/** Bytes of files for readers: within a budget, unpacked where they are packed, with a name for errors. */
import { modelError } from "../../errors.js";
import { importModule, isNode } from "../../platform.js";
import { type BinarySource, read } from "../../read.js";
import { aCount, aSignal, type Checks, checkOptions } from "../options.js";

export interface ReadOptions {
  /** The most bytes that are read, and that come out of what is packed. Default 1 GiB. */
  readonly maxBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}
export const readChecks: Checks<ReadOptions> = { maxBytes: aCount, signal: aSignal };

/** A file that was read. */
export interface File {
  readonly bytes: Uint8Array;
  /** What errors call it: its path or address, or what it is to be. */
  readonly name: string;
  readonly maxBytes: number;
}

/** Throws the error of a file that is not what it is to be. */
export type Bad = (message: string, hint?: string, cause?: unknown) => never;
export const badFile =
  (name: string): Bad =>
  (message, hint, cause) => {
    throw modelError(name, message, hint, cause);
  };

/**
 * Reads a file, gunzipped where it is a gzip archive.
 * @param what names bytes without an address in errors, as in "npy file"
 */
export async function open<O extends ReadOptions>(
  what: string,
  source: BinarySource,
  options: O,
  checks: Checks<O>,
): Promise<File> {
  checkOptions(what, options, checks);
  const { maxBytes = 2 ** 30, signal } = options;
  const given = await source;
  const address = typeof given === "string" || given instanceof URL ? String(given) : (given as Response)?.url;
  // Of a data: URL the address is the content.
  const name = !address || address.startsWith("data:") ? what : address;
  const raw = await read(given, signal);
  // A Buffer of Node calls other things by the names of methods of a Uint8Array: slice.
  const bytes = new Uint8Array(raw.buffer, raw.byteOffset, raw.length);
  if (bytes.length > maxBytes) tooLarge(name, maxBytes);
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return { bytes: isGzip ? await inflate("gzip", bytes, maxBytes, name) : bytes, name, maxBytes };
}

const tooLarge = (name: string, maxBytes: number): never =>
  badFile(name)(`more than ${maxBytes} bytes`, "raise the option maxBytes if you trust the file");

/**
 * Unpacks, and compares with the checksum. @param maxBytes of what comes out
 * @throws ModelError where the data are damaged, cut short or more than that
 */
export async function inflate(
  format: "gzip" | "deflate",
  bytes: Uint8Array,
  maxBytes: number,
  name: string,
): Promise<Uint8Array> {
  const damaged = (cause: unknown): never => {
    const message = `the ${format} data are damaged or cut short (${(cause as Error).message})`;
    return badFile(name)(message, "copy the file anew", cause);
  };
  return isNode
    ? inflateInNode(format, bytes, maxBytes, name, damaged)
    : inflateAsStream(format, bytes, maxBytes, name, damaged);
}

type Inflate = (
  format: "gzip" | "deflate",
  bytes: Uint8Array,
  maxBytes: number,
  name: string,
  damaged: (cause: unknown) => never,
) => Promise<Uint8Array>;

const inflateInNode: Inflate = async (format, bytes, maxBytes, name, damaged) => {
  const zlib = await importModule<typeof import("node:zlib")>("node:zlib");
  const unpack = format === "gzip" ? zlib.gunzip : zlib.inflate;
  return new Promise((resolve, reject) => {
    unpack(bytes, { maxOutputLength: Math.min(maxBytes, 2 ** 31) }, (error, result) => {
      if (!error) return resolve(new Uint8Array(result.buffer, result.byteOffset, result.length));
      try {
        if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") tooLarge(name, maxBytes);
        damaged(error);
      } catch (told) {
        reject(told);
      }
    });
  });
};

/** As browsers do it. */
export const inflateAsStream: Inflate = async (format, bytes, maxBytes, name, damaged) => {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  // Errors come to the reader too.
  writer.write(bytes as Uint8Array<ArrayBuffer>).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader();
  const chunks: Uint8Array[] = [];
  let total = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(damaged);
    if (done) break;
    total += value.length;
    if (total > maxBytes) {
      reader.cancel().catch(() => {});
      tooLarge(name, maxBytes);
    }
    chunks.push(value);
  }
  const out = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
};

/** @throws ModelError where bytes are not of the encoding */
export function decodeText({ bytes, name }: File, encoding: string): string {
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(encoding, { fatal: true });
  } catch (cause) {
    throw modelError("option encoding", `there is no encoding "${encoding}"`, "such as utf-8, latin1, utf-16le", cause);
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    return badFile(name)(`not text in the encoding ${encoding}`, 'name another: { encoding: "latin1" }', cause);
  }
}
