/** Where an artefact comes from: paths, URLs, bytes, responses, compiled modules, the compiler's own object. */

import { Complaint } from "./complaint.js";
import { checkHash, type ModuleBody, type OpenModule, openCompiled, openModule, plainBytes } from "./container.js";
import type { ModelKey } from "./encryption.js";
import { corrupted, modelError } from "./errors.js";
import { type ArtifactParts, type Manifest, type VariantId, variantIds } from "./format.js";
import type { Fetch, LoadProgress } from "./loading.js";
import { type BinarySource, open, openUrl, resolve } from "./read.js";
import { type Stream, streamOf } from "./stream.js";
import { validateManifest } from "./validate.js";

export type Source = BinarySource | WebAssembly.Module | ArtifactParts | ArtifactFiles;

/**
 * Where each file of an artefact is, whatever its name has become (bundlers rename files). Only the variant that is run is fetched, at the
 * same time as the weights.
 */
export interface ArtifactFiles {
  readonly files: { readonly [file in VariantId | "weights"]?: BinarySource };
}

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
  /** The weights file from its beginning, and whether it is to be compared with its hashes. */
  weights(): Promise<{ readonly stream: Stream; readonly isTrusted: boolean }>;
  /** Nothing more is wanted of it. */
  close(): void;
}

/** What is asked of a source. */
export interface OpenOptions {
  /** Overrides where the weights are. */
  readonly weights?: BinarySource | undefined;
  /** Of files that are encrypted, each of them. */
  readonly key?: ModelKey | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly fetch?: Fetch | undefined;
}

const tools = { open, openUrl, resolve };

/** Reads the manifest. @param choose the variant that is probably wanted, where files are given */
export async function openArtifact(
  source: Source,
  { weights: apart, key, signal, onProgress, fetch }: OpenOptions,
  choose: (ids: readonly VariantId[]) => Promise<VariantId>,
): Promise<OpenArtifact> {
  const input = await source;
  const streams: Stream[] = [];
  let isClosed = false;
  const opened = async (from: BinarySource, label = ""): Promise<Stream> => {
    const stream = await (onProgress || fetch
      ? (await import("./loading.js")).openWatched(await from, { signal, onProgress, fetch }, tools)
      : open(await from, signal));
    streams.push(stream);
    if (isClosed) close();
    return key === undefined ? stream : (await import("./encryption.js")).decrypted(stream, key, label, modelError);
  };
  const close = () => {
    isClosed = true;
    for (const stream of streams) stream.close();
  };
  try {
    // What the compiler returned a moment ago needs no hashing.
    const parts = isParts(input) ? input : null;
    const compiled = input instanceof WebAssembly.Module ? input : null;
    if (key !== undefined && (parts || compiled)) throw new Complaint("notEncrypted", []);
    const files = isFiles(input) ? input.files : null;
    const module = files ? files[await choose(variantIds.filter((id) => files[id]))]! : (input as BinarySource);
    const fetched = parts || compiled ? null : opened(module);
    const weightsFrom = apart ?? files?.weights;
    // Those of an encrypted artefact are opened by the name that its manifest gives them.
    const early = files && weightsFrom && key === undefined ? opened(weightsFrom) : null;
    // It is awaited, unless something else is wrong.
    early?.catch(() => {});
    const opening = fetched && (await fetched);
    const file = parts ? openParts(parts) : compiled ? await openCompiled(compiled) : await openModule(opening!);
    const { manifest, hash, variant: first, whole } = file;
    const base = opening?.base;
    let read: Promise<ModuleBody> | undefined;
    const body = () => {
      read ??= file.body();
      return read;
    };
    const sibling = (name: string, label?: string): Promise<Stream> => {
      if (base) return opened(new URL(encodeURIComponent(name), base), label);
      throw new Complaint("apart", [name]);
    };
    const unchecked = globalThis.crypto?.subtle ? "{compiled}" : "{insecure}";
    return {
      manifest,
      hash,
      unchecked: !parts && (compiled || !globalThis.crypto?.subtle) ? unchecked : null,
      variants: manifest.variants
        .map((v) => v.id)
        .filter((id) => (parts ? parts.wasm[id] : whole || id === first || (files ? files[id] : base))),
      async module(id) {
        if (compiled && id === first) return compiled;
        const { file: name, hash: expected } = manifest.variants.find((v) => v.id === id)!;
        let wasm: Uint8Array | null | undefined;
        if (whole || id === first) {
          const own = await body();
          wasm = own.modules[id] ?? own.wasm;
        } else {
          // The rest of what was opened is another variant.
          opening?.close();
          const other = await openModule(await (files ? opened(files[id]!) : sibling(name)));
          if (other.hash !== hash) throw corrupted(`"${name}" belongs to another artefact`);
          ({ wasm } = await other.body());
        }
        if (!parts) await checkHash(`module "${name}"`, wasm!, expected);
        return compileModule(wasm!, name);
      },
      async weights() {
        const { file: name } = manifest.weights;
        const own =
          early ?? (weightsFrom ? opened(weightsFrom, name) : whole ? (await body()).weights : sibling(name, name));
        if (!own) throw corrupted(`"${name}" is missing`);
        // What was decrypted is authentic.
        return { stream: await own, isTrusted: key !== undefined || (!!parts && weightsFrom === undefined) };
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function openParts({ manifest, wasm, weights }: ArtifactParts): OpenModule {
  return {
    manifest: validateManifest(manifest),
    hash: null,
    variant: manifest.variants[0]!.id,
    whole: true,
    body: async () => ({ wasm: null, modules: wasm, weights: streamOf(weights) }),
  };
}

async function compileModule(wasm: Uint8Array, file: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(plainBytes(wasm));
  } catch (error) {
    throw new Complaint("engine", [file, error as Error], error);
  }
}

const isFiles = (source: unknown): source is ArtifactFiles =>
  typeof source === "object" && source !== null && "files" in source;

const isParts = (source: unknown): source is ArtifactParts =>
  typeof source === "object" && source !== null && "manifest" in source && "wasm" in source;
