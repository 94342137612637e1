/** Reads modules and manifests from bytes: custom sections, hashes. `encode.ts` is the inverse. */
import { Complaint, explain } from "./complaint.js";
import { corrupted } from "./errors.js";
import { type Manifest, sections, type VariantId, variantIds } from "./format.js";
import { validateManifest } from "./validate.js";

/** Bytes in memory that is not shared, as the platform's own functions demand. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** The same bytes, copied only when they lie in shared memory. */
export function plainBytes(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : new Uint8Array(bytes);
}

/** SHA-256, or null where the platform has no WebCrypto (pages that are not a secure context). */
export async function sha256(bytes: Uint8Array): Promise<Bytes | null> {
  const subtle = globalThis.crypto?.subtle;
  return subtle ? new Uint8Array(await subtle.digest("SHA-256", plainBytes(bytes))) : null;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** What one file holds. */
export interface DecodedModule {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest, which holds the hashes of everything else: the identity of the artefact. */
  readonly hash: string;
  readonly variant: VariantId;
  /** The module without wasmith's sections; null when it came compiled. */
  readonly wasm: Bytes | null;
  /** Of a single file: the other variants and the weights. */
  readonly modules: { readonly [id in VariantId]?: Bytes };
  readonly weights: Bytes | null;
}

/** Reads an artefact's module. @throws ModelError if it is damaged, incomplete, newer, or not wasmith's. */
export async function decodeModule(bytes: Uint8Array): Promise<DecodedModule> {
  try {
    const { wasm, custom } = splitSections(plainBytes(bytes));
    return await decodeSections(wasm, custom);
  } catch (error) {
    return explain(error);
  }
}

/** Reads the sections that a compiled module carries. */
export async function decodeCompiled(module: WebAssembly.Module): Promise<DecodedModule> {
  const custom = new Map<string, Bytes>();
  const names = [
    sections.manifest,
    sections.variant,
    sections.weights,
    ...variantIds.map((id) => sections.module + id),
  ];
  for (const name of names) {
    const [payload] = WebAssembly.Module.customSections(module, name);
    if (payload) custom.set(name, new Uint8Array(payload));
  }
  return decodeSections(null, custom);
}

async function decodeSections(wasm: Bytes | null, custom: ReadonlyMap<string, Bytes>): Promise<DecodedModule> {
  const payload = custom.get(sections.manifest);
  const id = custom.get(sections.variant);
  if (!payload || !id) {
    throw corrupted(
      `no section "${payload ? sections.variant : sections.manifest}": not compiled by wasmith, or incomplete`,
    );
  }
  const stored = toHex(payload.subarray(0, 32));
  const json = payload.subarray(32);
  const digest = await sha256(json);
  if (digest && toHex(digest) !== stored) throw corrupted("the manifest does not match its hash");
  const manifest = validateManifest(parseJson(json));
  const variant = manifest.variants.find((v) => v.id === utf8(id))?.id;
  if (!variant) throw corrupted(`the module says it is variant "${utf8(id)}", which the manifest does not list`);
  const modules: { [id in VariantId]?: Bytes } = {};
  for (const name of custom.keys()) {
    const other = name.startsWith(sections.module) && name.slice(sections.module.length);
    const known = manifest.variants.find((v) => v.id === other);
    if (known) modules[known.id] = custom.get(name)!;
    else if (name !== sections.manifest && name !== sections.variant && name !== sections.weights) {
      throw corrupted(`unknown section "${name}"`);
    }
  }
  return { manifest, hash: stored, variant, wasm, modules, weights: custom.get(sections.weights) ?? null };
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

/** Separates wasmith's custom sections from the module proper. */
export function splitSections(bytes: Bytes): { wasm: Bytes; custom: Map<string, Bytes> } {
  if (bytes.length < 8 || [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0].some((b, i) => bytes[i] !== b)) {
    throw new Complaint("file", [bytes.subarray(0, 64)]);
  }
  let at = 8;
  const end = bytes.length;
  const u32 = (limit: number): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= limit) break;
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw corrupted(`the module is cut short or damaged at byte ${at}`);
  };
  const kept: Bytes[] = [bytes.subarray(0, 8)];
  const custom = new Map<string, Bytes>();
  while (at < end) {
    const start = at;
    const id = bytes[at++]!;
    const size = u32(end);
    const next = at + size;
    if (next > end) throw corrupted(`cut short: a section ends at byte ${next} of ${end}`);
    let ours = false;
    if (id === 0) {
      const nameLength = u32(next);
      if (at + nameLength > next) throw corrupted(`the module is damaged at byte ${at}`);
      const name = utf8(bytes.subarray(at, at + nameLength));
      ours = name === sections.manifest || name.startsWith(`${sections.manifest}.`);
      if (ours) {
        if (custom.has(name)) throw corrupted(`section "${name}" occurs twice`);
        custom.set(name, bytes.subarray(at + nameLength, next));
      }
    }
    if (!ours) kept.push(bytes.subarray(start, next));
    at = next;
  }
  return { wasm: custom.size ? concatBytes(kept) : bytes, custom };
}

export function concatBytes(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
