/** Where an artefact comes from: paths, URLs, bytes, responses, compiled modules, the compiler's own object. */

import { Complaint } from "./complaint.js";
import { type Bytes, checkHash, type DecodedModule, decodeCompiled, decodeModule, plainBytes } from "./container.js";
import { corrupted, modelError } from "./errors.js";
import type { ArtifactParts, Manifest, VariantId } from "./format.js";
import { type BinarySource, read } from "./read.js";
import { validateManifest } from "./validate.js";

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
