/**
 * Encrypted files: AES-GCM by WebCrypto. A module of its own, which is loaded where a key is given.
 *
 *     magic (8) | nonce (12) | file key (32) and length (8), sealed with the user's key (56) | chunks
 *
 * Each file has a random key of its own, so a user's key serves 2^32 files, and nonces of chunks can be their numbers: never is one used
 * twice with a key. The length of the plain bytes is authenticated and so are the numbers of chunks, so none is lost, added or moved.
 * Magic and label are authenticated with the file key: the label says which file of an artefact this is.
 */
import { describe, type modelError } from "./errors.js";
import type { ByteParts } from "./format.js";
import { importModule, isNode } from "./platform.js";
import { type Bytes, concatBytes, piecewise, type Stream, take } from "./stream.js";

/** A key for AES-GCM: 16 or 32 bytes, or a CryptoKey, which need not be extractable. */
export type ModelKey = CryptoKey | Uint8Array | ArrayBuffer;

/** The label of modules, which tell by their hashes what belongs together. That of weights is the name of their file. */
export const moduleLabel = "";

/** "wasmith" and the version of this format. */
const magic = Uint8Array.of(0x77, 0x61, 0x73, 0x6d, 0x69, 0x74, 0x68, 1);
const nonceBytes = 12;
const tagBytes = 16;
const fileKeyBytes = 32;
const envelopeBytes = fileKeyBytes + 8 + tagBytes;
/** Plain bytes of a chunk. Engines copy what they decrypt, and memory for more is new each time. */
const chunkBytes = 2 ** 19;
/** Chunks that are on their way. */
const mostPending = 4;

type MakeError = typeof modelError;

function subtleOf(error: MakeError): SubtleCrypto {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw error("option key", "WebCrypto is missing", "serve the page from https or localhost");
  return subtle;
}

/** @throws ModelError where it is no key; of what it is, only the kind is told */
async function importKey(key: ModelKey, usage: "encrypt" | "decrypt", error: MakeError): Promise<CryptoKey> {
  const subtle = subtleOf(error);
  if (typeof CryptoKey === "function" && key instanceof CryptoKey) {
    const { name } = key.algorithm;
    if (name === "AES-GCM" && key.usages.includes(usage)) return key;
    throw error("option key", `a CryptoKey for ${name} (${key.usages.join(", ")})`, `make it for AES-GCM (${usage})`);
  }
  const given: unknown = key;
  const bytes = given instanceof ArrayBuffer ? new Uint8Array(given) : given;
  if (bytes instanceof Uint8Array && (bytes.length === 16 || bytes.length === 32))
    return subtle.importKey("raw", new Uint8Array(bytes), "AES-GCM", false, [usage]);
  const got = typeof given === "string" ? "a string" : describe(given);
  throw error("option key", `expected a CryptoKey for AES-GCM, or 16 or 32 bytes, got ${got}`);
}

const parametersOf = (nonce: Bytes, label?: string): AesGcmParams => ({
  name: "AES-GCM",
  iv: nonce,
  ...(label === undefined ? {} : { additionalData: concatBytes([magic, new TextEncoder().encode(label)]) }),
});

function nonceOf(chunk: number): Bytes {
  const nonce = new Uint8Array(nonceBytes);
  new DataView(nonce.buffer).setUint32(nonceBytes - 4, chunk);
  return nonce;
}

/** Files end with a chunk that may be shorter; an empty one has none. */
const chunkCount = (length: number): number => Math.ceil(length / chunkBytes);

/** An encrypted file, whose parts are made while they are written. */
export interface EncryptedFile {
  readonly length: number;
  parts(): AsyncIterable<Uint8Array>;
}

/** Encrypts a file. Equal bytes never give equal files. @throws ModelError where the key is none */
export async function encrypted(
  file: Uint8Array | ByteParts,
  key: ModelKey,
  label: string,
  error: MakeError,
): Promise<EncryptedFile> {
  const subtle = subtleOf(error);
  const userKey = await importKey(key, "encrypt", error);
  const { length } = file;
  async function* parts(): AsyncIterable<Uint8Array> {
    const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
    const envelope = crypto.getRandomValues(new Uint8Array(fileKeyBytes + 8));
    new DataView(envelope.buffer).setBigUint64(fileKeyBytes, BigInt(length));
    yield magic;
    yield nonce;
    yield new Uint8Array(await subtle.encrypt(parametersOf(nonce, label), userKey, envelope));
    const fileKey = await importKey(envelope.subarray(0, fileKeyBytes), "encrypt", error);
    let number = 0;
    for (const chunk of chunksOf("parts" in file ? file.parts() : [file], length))
      yield new Uint8Array(await subtle.encrypt(parametersOf(nonceOf(number++)), fileKey, chunk));
  }
  return {
    length: magic.length + nonceBytes + envelopeBytes + length + chunkCount(length) * tagBytes,
    parts,
  };
}

/** The same bytes in chunks, each of which holds until the next is asked for. */
function* chunksOf(parts: Iterable<Uint8Array>, length: number): Iterable<Bytes> {
  const chunk = new Uint8Array(Math.min(chunkBytes, length));
  let at = 0;
  for (const part of parts) {
    for (let from = 0; from < part.length; ) {
      const used = part.subarray(from, from + chunk.length - at);
      chunk.set(used, at);
      at += used.length;
      from += used.length;
      if (at < chunk.length) continue;
      yield chunk;
      at = 0;
    }
  }
  if (at > 0) yield chunk.subarray(0, at);
}

/**
 * The plain bytes of an encrypted file, as they come: each is authenticated before anything sees it.
 * @throws ModelError where the file is not encrypted, the key is another one, or a byte differs
 */
export async function decrypted(stream: Stream, key: ModelKey, label: string, error: MakeError): Promise<Stream> {
  const subtle = subtleOf(error);
  const userKey = await importKey(key, "decrypt", error);
  const start = await take(stream, magic.length);
  if (start.length < magic.length || magic.some((b, i) => i < 7 && start[i] !== b))
    throw error("artefact", "it is not encrypted, and a key was given", "leave out the key where you trust the file");
  if (start[7] !== magic[7])
    throw error("artefact", `encrypted in format ${start[7]}, this runtime reads ${magic[7]}`, "update the runtime");
  const nonce = await take(stream, nonceBytes);
  const envelope = await subtle
    .decrypt(parametersOf(nonce, label), userKey, await take(stream, envelopeBytes))
    .catch((cause) => {
      const hint = "give the key that it was encrypted with, and all files of one artefact as they were written";
      throw error("artefact", "the key is not that of this file, or the file is damaged", hint, cause);
    });
  const length = Number(new DataView(envelope).getBigUint64(fileKeyBytes));
  const fileKey = new Uint8Array(envelope, 0, fileKeyBytes);
  const damaged = (why: string, cause?: unknown) =>
    error("artefact", `encrypted, and ${why}`, "the file is damaged or incomplete: copy it anew", cause);
  const chunks: Chunks = {
    count: chunkCount(length),
    longest: Math.min(length, chunkBytes) + tagBytes,
    lengthOf: (number) => Math.min(chunkBytes, length - number * chunkBytes) + tagBytes,
    async read(place, number) {
      const chunk = place.subarray(0, this.lengthOf(number));
      if ((await stream.fill(chunk)) < chunk.length) throw damaged("cut short");
      return chunk;
    },
    changed(number, cause) {
      throw damaged(`changed since, in chunk ${number} of ${this.count}`, cause);
    },
  };
  const pull = isNode ? inNode(chunks, fileKey) : inBrowsers(chunks, await importKey(fileKey, "decrypt", error));
  return piecewise(
    stream.base,
    async (target) => {
      const piece = await pull(target);
      if (!piece && (await take(stream, 1)).length) throw damaged("has bytes behind its end");
      return piece;
    },
    () => stream.close(),
  );
}

/** The chunks of a file that is being read. */
interface Chunks {
  readonly count: number;
  /** Bytes of the longest one, with its tag. */
  readonly longest: number;
  lengthOf(number: number): number;
  /** Reads the next one into a place that is long enough for it. */
  read(place: Uint8Array, number: number): Promise<Uint8Array>;
  /** @throws ModelError: it is not what was encrypted */
  changed(number: number, cause: unknown): never;
}

/** Gives the next plain bytes, in `target` or elsewhere; none at the end. */
type Pull = (target: Uint8Array) => Promise<Uint8Array | undefined>;

/**
 * Decrypts chunks where they lie, in what they are wanted for if there is room: WebCrypto copies what it is given, and writing to new memory takes
 * longer than decrypting. The next chunk is read meanwhile, on another thread.
 */
function inNode(chunks: Chunks, fileKey: Bytes): Pull {
  const crypto = importModule<typeof import("node:crypto")>("node:crypto");
  let number = 0;
  let own: Uint8Array | undefined;
  const begun = (place: Uint8Array) => {
    const reading =
      number < chunks.count && chunks.lengthOf(number) <= place.length ? chunks.read(place, number) : undefined;
    // It is awaited, unless the one before is wrong.
    reading?.catch(() => {});
    return reading;
  };
  return async (target) => {
    if (number === chunks.count) return undefined;
    const { createDecipheriv } = await crypto;
    own ??= new Uint8Array(chunks.longest);
    const place = chunks.lengthOf(number) <= target.length ? target : own;
    let at = 0;
    for (let next = begun(place); next; ) {
      const chunk = await next;
      const plain = chunk.subarray(0, -tagBytes);
      const decipher = createDecipheriv("aes-256-gcm", fileKey, nonceOf(number), { authTagLength: tagBytes });
      // A copy, since the next chunk is read over it.
      decipher.setAuthTag(chunk.slice(-tagBytes));
      number++;
      at += plain.length;
      next = place === own ? undefined : begun(place.subarray(at));
      // So small results lie in memory that was used before.
      for (let i = 0; i < plain.length; i += 2 ** 16) plain.set(decipher.update(plain.subarray(i, i + 2 ** 16)), i);
      try {
        decipher.final();
      } catch (cause) {
        chunks.changed(number - 1, cause);
      }
    }
    return place.subarray(0, at);
  };
}

/** Decrypts chunks while the next ones are read. */
function inBrowsers(chunks: Chunks, fileKey: CryptoKey): Pull {
  const places = Array.from({ length: Math.min(chunks.count, mostPending) }, () => new Uint8Array(chunks.longest));
  const pending: Promise<ArrayBuffer>[] = [];
  let next = 0;
  return async () => {
    while (next < chunks.count && pending.length < mostPending) {
      const number = next++;
      const chunk = await chunks.read(places[number % places.length]!, number);
      const plain = crypto.subtle
        .decrypt(parametersOf(nonceOf(number)), fileKey, chunk as Bytes)
        .catch((cause) => chunks.changed(number, cause));
      // It is awaited in its turn, unless another one is wrong.
      plain.catch(() => {});
      pending.push(plain);
    }
    const plain = await pending.shift();
    return plain && new Uint8Array(plain);
  };
}
