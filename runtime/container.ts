/** Reads modules and manifests from bytes: custom sections, hashes. `encode.ts` is the inverse. */
import { Complaint, explain } from "./complaint.js";
import { corrupted } from "./errors.js";
import { type Manifest, sections, type VariantId, variantIds } from "./format.js";
import { importModule, isNode } from "./platform.js";
import { type Bytes, concatBytes, type Stream, streamOf, take } from "./stream.js";
import { validateManifest } from "./validate.js";

/** The same bytes, copied only when they lie in shared memory. */
export function plainBytes(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : new Uint8Array(bytes);
}

/** SHA-256, or null where the platform has no WebCrypto (pages that are not a secure context). */
export async function sha256(bytes: Uint8Array): Promise<Bytes | null> {
  if (isNode) {
    const { createHash } = await importModule<typeof import("node:crypto")>("node:crypto");
    // WebCrypto copies what it hashes. New memory for the copy takes as long as the hash.
    return new Uint8Array(createHash("sha256").update(bytes).digest());
  }
  const subtle = globalThis.crypto?.subtle;
  return subtle ? new Uint8Array(await subtle.digest("SHA-256", plainBytes(bytes))) : null;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Names of all sections that wasmith writes. */
const known = new Set<string>([...Object.values(sections), ...variantIds.map((id) => sections.module + id)]);

/** What one file says of the artefact, and how to read on. */
export interface OpenModule {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest, which holds the hashes of everything else: the identity of the artefact. Null where it was never encoded. */
  readonly hash: string | null;
  readonly variant: VariantId;
  /** Nothing lies beside this file: it holds all variants and the weights. */
  readonly whole: boolean;
  /** @throws ModelError if it is damaged or incomplete */
  body(): Promise<ModuleBody>;
}

export interface ModuleBody {
  /** The module without wasmith's sections; null when it came compiled. */
  readonly wasm: Uint8Array | null;
  /** Of a single file: the other variants, and the weights, which are last. */
  readonly modules: { readonly [id in VariantId]?: Uint8Array };
  readonly weights: Stream | null;
}

/** Reads an artefact's module as far as its manifest, which comes first. @throws ModelError if it is damaged, newer, or not wasmith's. */
export async function openModule(stream: Stream): Promise<OpenModule> {
  try {
    const module = new Sections(stream);
    await module.readTo(sections.manifest);
    const head = await decodeHead(module.custom);
    return {
      ...head,
      async body() {
        const weights = await module.readTo(sections.weights);
        return { wasm: concatBytes(module.kept), modules: modulesOf(module.custom), weights };
      },
    };
  } catch (error) {
    return explain(error);
  }
}

/** Reads the sections that a compiled module carries. */
export async function openCompiled(module: WebAssembly.Module): Promise<OpenModule> {
  const custom = new Map<string, Bytes>();
  for (const name of known) {
    const [payload] = WebAssembly.Module.customSections(module, name);
    if (payload) custom.set(name, new Uint8Array(payload));
  }
  const weights = custom.get(sections.weights);
  return {
    ...(await decodeHead(custom)),
    body: async () => ({ wasm: null, modules: modulesOf(custom), weights: weights ? streamOf(weights) : null }),
  };
}

async function decodeHead(custom: ReadonlyMap<string, Bytes>): Promise<Omit<OpenModule, "body">> {
  const payload = custom.get(sections.manifest);
  const id = custom.get(sections.variant);
  if (!payload) throw corrupted(`no section "${sections.manifest}": not compiled by wasmith, or incomplete`);
  const hash = toHex(payload.subarray(0, 32));
  const json = payload.subarray(32);
  await checkHash("the manifest", json, hash);
  const manifest = validateManifest(parseJson(json));
  const variant = manifest.variants.find((v) => id && v.id === utf8(id))?.id;
  if (!variant) throw corrupted(`the module says it is variant "${id && utf8(id)}", which the manifest does not list`);
  return { manifest, hash, variant, whole: custom.has(sections.whole) };
}

function modulesOf(custom: ReadonlyMap<string, Bytes>): ModuleBody["modules"] {
  return Object.fromEntries(
    variantIds.map((id) => [id, custom.get(sections.module + id)] as const).filter(([, m]) => m),
  );
}

/** @throws ModelError naming `what` when the bytes are not those that the manifest promises. */
export async function checkHash(what: string, bytes: Uint8Array, expected: string): Promise<void> {
  const digest = await sha256(bytes);
  if (digest && toHex(digest) !== expected) throw corrupted(`${what} does not match its hash`);
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(utf8(bytes));
  } catch (cause) {
    throw corrupted(`the manifest is not JSON (${(cause as Error).message})`);
  }
}

const magic = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** Separates wasmith's custom sections from the module proper, as they come. */
class Sections {
  readonly #stream: Stream;
  /** The module proper: its beginning and all sections of others, in parts. */
  readonly kept: Bytes[] = [];
  /** Payloads of wasmith's sections. */
  readonly custom = new Map<string, Bytes>();

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  /** Reads on to the end of the section of this name, or of the file. Of weights, whose section is last, @returns what is left to read. */
  async readTo(last: string): Promise<Stream | null> {
    const stream = this.#stream;
    if (!this.kept.length) {
      const start = await take(stream, magic.length);
      if (magic.some((b, i) => start[i] !== b))
        throw new Complaint("file", [concatBytes([start, await take(stream, 56)])]);
      this.kept.push(start);
    }
    for (;;) {
      const [id] = await take(stream, 1);
      if (id === undefined) return null;
      const raw = [id];
      const size = await this.#u32(raw);
      const before = raw.length;
      let name: string | undefined;
      if (id === 0) {
        const label = await this.#payload(await this.#u32(raw));
        name = utf8(label);
        raw.push(...label);
      }
      const left = size - (raw.length - before);
      if (left < 0) throw corrupted("the module is damaged");
      if (name !== sections.manifest && !name?.startsWith(`${sections.manifest}.`)) {
        this.kept.push(Uint8Array.from(raw), await this.#payload(left));
        continue;
      }
      if (!known.has(name)) throw corrupted(`unknown section "${name}"`);
      if (this.custom.has(name)) throw corrupted(`section "${name}" occurs twice`);
      if (name === sections.weights && name === last) return stream;
      this.custom.set(name, await this.#payload(left));
      if (name === last) return null;
    }
  }

  /** A LEB128 number, whose bytes are added to `raw`. */
  async #u32(raw: number[]): Promise<number> {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const [byte] = await take(this.#stream, 1);
      if (byte === undefined) break;
      raw.push(byte);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw corrupted("the module is cut short or damaged");
  }

  async #payload(size: number): Promise<Bytes> {
    const parts = [];
    // What a damaged size asks for is not reserved.
    for (let left = size; left > 0; left -= parts.at(-1)!.length) {
      parts.push(await take(this.#stream, Math.min(left, 2 ** 22)));
      if (!parts.at(-1)!.length) throw corrupted(`cut short: ${left} bytes of a section are missing`);
    }
    return parts.length === 1 ? parts[0]! : concatBytes(parts);
  }
}
