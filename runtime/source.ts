/** Where an artefact comes from: paths, URLs, bytes, responses, compiled modules, the compiler's own object. */

import { Complaint } from "./complaint.js";
import { type Bytes, checkHash, type DecodedModule, decodeCompiled, decodeModule, plainBytes } from "./container.js";
import { corrupted, describe, modelError } from "./errors.js";
import type { ArtifactParts, Manifest, VariantId } from "./format.js";
import { importModule, isNode } from "./platform.js";
import { validateManifest } from "./validate.js";

/** Bytes, or where they are: a string is a path in Node and a URL in browsers. */
export type BinarySource = string | URL | Response | Promise<Response> | ArrayBuffer | Uint8Array;
export type Source = BinarySource | WebAssembly.Module | ArtifactParts;

/** An artefact whose parts are fetched when asked for. */
export interface OpenArtifact {
  readonly manifest: Manifest;
  /** Identity: SHA-256 of the manifest; null for an artefact that was never encoded. */
  readonly hash: string | null;
  /** Why bytes are not compared with their hashes, or null when they are. */
  readonly unchecked: string | null;
  /** Variants that can be had from here. */
  readonly variants: readonly VariantId[];
  module(id: VariantId): Promise<WebAssembly.Module>;
  weights(): Promise<Uint8Array>;
}

/** Reads the manifest. @param weights overrides where the weights are. */
export async function openArtifact(
  source: Source,
  weights: BinarySource | undefined,
  signal: AbortSignal | undefined,
): Promise<OpenArtifact> {
  const input = await source;
  if (isParts(input)) return openParts(input, weights, signal);
  const { bytes, base, module } =
    input instanceof WebAssembly.Module
      ? { bytes: null, base: null, module: input }
      : { ...(await read(input, signal)), module: null };
  const file: DecodedModule = module ? await decodeCompiled(module) : await decodeModule(bytes!);
  const { manifest } = file;
  const unchecked = !globalThis.crypto?.subtle
    ? "hashes are not checked: WebCrypto is missing, because the page is not a secure context (https or localhost)"
    : module
      ? "the hash of the module is not checked: it came compiled"
      : null;
  const sibling = async (name: string): Promise<Uint8Array> => {
    if (base === null)
      throw modelError(
        "artefact",
        `"${name}" is not part of it`,
        "compile with --single-file, pass the option weights, or load from a path or URL",
      );
    return (await read(new URL(encodeURIComponent(name), base), signal)).bytes;
  };
  return {
    manifest,
    hash: file.hash,
    unchecked,
    variants: manifest.variants
      .map((v) => v.id)
      .filter((id) => base !== null || id === file.variant || file.modules[id]),
    async module(id) {
      if (module && id === file.variant) return module;
      const variant = manifest.variants.find((v) => v.id === id)!;
      let wasm: Bytes | null | undefined = id === file.variant ? file.wasm : file.modules[id];
      if (!wasm) {
        const other = await decodeModule(await sibling(variant.file));
        if (other.hash !== file.hash) throw corrupted(`"${variant.file}" belongs to another artefact`);
        wasm = other.wasm!;
      }
      await checkHash(`module "${variant.file}"`, wasm, variant.hash);
      return compileModule(wasm, variant.file);
    },
    async weights() {
      const data =
        weights !== undefined
          ? (await read(await weights, signal)).bytes
          : (file.weights ?? (await sibling(manifest.weights.file)));
      await checkWeights(manifest, data);
      return data;
    },
  };
}

async function checkWeights({ weights }: Manifest, data: Uint8Array): Promise<void> {
  if (data.length !== weights.bytes)
    throw corrupted(`"${weights.file}" has ${data.length} bytes, ${weights.bytes} were written`);
  await checkHash(`"${weights.file}"`, data, weights.hash);
}

async function compileModule(wasm: Uint8Array, file: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(plainBytes(wasm));
  } catch (error) {
    throw new Complaint("engine", [file, error as Error], error);
  }
}

const isParts = (source: unknown): source is ArtifactParts =>
  typeof source === "object" && source !== null && "manifest" in source && "wasm" in source;

/** What the compiler returned a moment ago needs no hashing. */
function openParts(
  parts: ArtifactParts,
  weights: BinarySource | undefined,
  signal: AbortSignal | undefined,
): OpenArtifact {
  const manifest = validateManifest(parts.manifest);
  return {
    manifest,
    hash: null,
    unchecked: null,
    variants: manifest.variants.map((v) => v.id).filter((id) => parts.wasm[id]),
    module: (id) => compileModule(parts.wasm[id]!, id),
    async weights() {
      if (weights === undefined) return parts.weights;
      const { bytes } = await read(await weights, signal);
      await checkWeights(manifest, bytes);
      return bytes;
    },
  };
}

/** Reads bytes; `base` is the URL against which names of siblings resolve, if there is one. */
export async function read(
  source: Exclude<BinarySource, Promise<Response>>,
  signal?: AbortSignal,
): Promise<{ readonly bytes: Uint8Array; readonly base: URL | null }> {
  signal?.throwIfAborted();
  if (source instanceof Response) return readResponse(source);
  if (source instanceof Uint8Array) return { bytes: source, base: null };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), base: null };
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw modelError("source", `expected a path, URL, Response, bytes, module or artefact, got ${describe(source)}`);
  }
  let url: URL;
  try {
    url = await resolve(source);
  } catch (cause) {
    throw modelError(String(source), "not a valid address", undefined, cause);
  }
  if (isNode && url.protocol === "file:") {
    const { readFile } = await importModule<typeof import("node:fs/promises")>("node:fs/promises");
    try {
      return { bytes: await readFile(url, { signal }), base: url };
    } catch (error) {
      signal?.throwIfAborted();
      throw modelError(String(source), `can't be read: ${(error as Error).message}`, undefined, error);
    }
  }
  try {
    return { ...(await readResponse(await fetch(url, signal ? { signal } : {}))), base: url };
  } catch (error) {
    signal?.throwIfAborted();
    if ((error as Error).name === "ModelError") throw error;
    throw modelError(url.href, `can't be fetched: ${(error as Error).message}`, undefined, error);
  }
}

async function readResponse(response: Response): Promise<{ bytes: Uint8Array; base: URL | null }> {
  if (!response.ok)
    throw modelError(response.url || "response", `the server answered ${response.status} ${response.statusText}`);
  const bytes = await response.arrayBuffer().catch((cause) => {
    throw modelError(response.url || "response", `can't be read: ${cause.message}`, undefined, cause);
  });
  return { bytes: new Uint8Array(bytes), base: response.url ? new URL(response.url) : null };
}

/** A string is a path in Node, relative to the working directory, and relative to the page in browsers. */
export async function resolve(source: string | URL): Promise<URL> {
  if (source instanceof URL) return source;
  if (/^(https?|file|data|blob):/.test(source)) return new URL(source);
  if (!isNode) return new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href);
  const { pathToFileURL } = await importModule<typeof import("node:url")>("node:url");
  return pathToFileURL(source);
}
