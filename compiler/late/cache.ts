/**
 * Artefacts of one model, by what feeds decided of it: later feeds are served by one that fits, or have one compiled. A store may
 * keep them beyond the process.
 */

import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { checkHash, openModule, sha256, toHex } from "../../runtime/container.js";
import { areWeightsOf, encodeSingleFile } from "../../runtime/encode.js";
import type { ArtifactParts, VariantId } from "../../runtime/format.js";
import { concatBytes, streamOf } from "../../runtime/stream.js";
import { checkCompileChoices } from "../compile.js";
import { type ExternalData, externalReader } from "../onnx/external-data.js";
import { type FileBytes, fileBytes } from "../onnx/file-bytes.js";
import { nameProblems } from "../onnx/import-options.js";
import { type OnnxModel, readOnnx } from "../onnx/model.js";
import { aFunction, anObject, atLeast, type Checks, checkOptions } from "../options.js";
import { version } from "../version.js";
import { serves, type Terms, termsOf } from "./binding.js";
import { bindingOf, flattenFor, type LateBinding, type LateOptions, lateChecks, specialize } from "./compile-for.js";
import type { FlatFeeds, ModelFeeds } from "./feeds.js";

/** Keeps bytes by key, such as files of a folder or records of IndexedDB. */
export interface ArtifactStore {
  get(key: string): Promise<Uint8Array | undefined>;
  set(key: string, bytes: Uint8Array): Promise<void>;
  delete?(key: string): Promise<void>;
}

/** What `load` takes, and its binding to the model. */
export interface CachedArtifact extends ArtifactParts, LateBinding {
  /** What it was compiled from; undefined where it came from the store. */
  readonly graph: Graph | undefined;
}

export interface ModelCacheOptions extends LateOptions {
  /** Artefacts that are kept, the last used ones (default 8); of the store's too. */
  readonly maxArtifacts?: number;
  readonly store?: ArtifactStore;
  /** Told when an artefact leaves the cache, so that its session can be disposed. */
  readonly onEvict?: (artifact: CachedArtifact) => void;
  /** Told when the store fails, which then costs no more than compiling again. Without it, calls fail as the store does. */
  readonly onStoreError?: (error: unknown) => void;
}

const cacheChecks: Checks<ModelCacheOptions> = {
  ...lateChecks,
  maxArtifacts: atLeast(1),
  store: anObject,
  onEvict: aFunction,
  onStoreError: aFunction,
};

const DEFAULT_MAX_ARTIFACTS = 8;
/** Of a SHA-256 in hex, which the list of artefacts in a store begins with. */
const DIGITS = 64;

/** An artefact in the store. */
interface Stored extends Terms {
  readonly key: string;
}

interface Kept {
  readonly terms: Terms;
  readonly artifact: CachedArtifact;
}

/** @example
 * const cache = new ModelCache(bytes);
 * const artifact = await cache.artifactFor(feeds); // the same object for all feeds that it serves
 */
export class ModelCache {
  readonly model: OnnxModel;
  private readonly options: ModelCacheOptions;
  private readonly most: number;
  /** What the model consists of, for the store's keys. */
  private readonly parts: readonly Uint8Array[];
  /** The last used one is last. */
  private kept: readonly Kept[] = [];
  private queue: Promise<unknown> = Promise.resolve();
  private disposed = false;

  /** @throws ModelError if the bytes are no model that can be read */
  constructor(file: FileBytes, options: ModelCacheOptions = {}) {
    checkOptions("ModelCache", options, cacheChecks);
    checkCompileChoices(options);
    this.options = options;
    this.most = options.maxArtifacts ?? DEFAULT_MAX_ARTIFACTS;
    const bytes = fileBytes(file);
    const parts = [bytes];
    const external = externalReader(options);
    const recording: ExternalData = (reference) => {
      const data = external!(reference);
      parts.push(data);
      return data;
    };
    this.model = readOnnx(bytes, external && options.store ? { ...options, externalData: recording } : options);
    const problems = nameProblems(this.model, options);
    if (problems.length > 0) throw new ModelError(problems);
    this.parts = options.store ? parts : [];
  }

  /** How many artefacts it holds. */
  get size(): number {
    return this.kept.length;
  }

  /**
   * An artefact that serves the feeds.
   * @throws ModelError if the feeds do not fit the model, or it can't be compiled for them
   */
  async artifactFor(feeds: ModelFeeds): Promise<CachedArtifact> {
    this.requireAlive();
    const flat = flattenFor(this.model, feeds, this.options);
    const known = this.find(flat);
    if (known) return known;
    // One at a time: what is being compiled may serve these feeds as well.
    const made = this.queue.then(async () => {
      this.requireAlive();
      return this.find(flat) ?? (await this.restore(flat)) ?? (await this.compile(flat));
    });
    this.queue = made.catch(() => {});
    return made;
  }

  /** Forgets all artefacts; the store keeps its own. Calls after it are refused. */
  dispose(): void {
    this.disposed = true;
    for (const { artifact } of this.kept) this.options.onEvict?.(artifact);
    this.kept = [];
  }

  private requireAlive(): void {
    if (this.disposed) throw new ModelError("the cache is disposed");
  }

  private find(feeds: FlatFeeds): CachedArtifact | undefined {
    const found = this.kept.find(({ terms }) => serves(terms, feeds));
    if (found) this.kept = [...this.kept.filter((k) => k !== found), found];
    return found?.artifact;
  }

  private keep(artifact: CachedArtifact): CachedArtifact {
    if (this.disposed) return artifact;
    const all = [...this.kept, { terms: termsOf(artifact.manifest), artifact }];
    this.kept = all.slice(-this.most);
    for (const gone of all.slice(0, -this.most)) this.options.onEvict?.(gone.artifact);
    return artifact;
  }

  private async compile(feeds: FlatFeeds): Promise<CachedArtifact> {
    const artifact = await specialize(this.model, feeds, this.options);
    await this.stored(() => this.store(artifact));
    return this.keep(artifact);
  }

  // ------------------------------------------------------------------------------------------------ the store

  /** Runs what uses the store; undefined where it fails and the caller wants to know of that otherwise. */
  private async stored<T>(use: () => Promise<T>): Promise<T | undefined> {
    if (!this.options.store) return undefined;
    try {
      return await use();
    } catch (error) {
      if (!this.options.onStoreError) throw error;
      this.options.onStoreError(error);
      return undefined;
    }
  }

  private modelKey: Promise<string> | undefined;

  /** Equal for the same model, options and version of wasmith. */
  private keyOfModel(): Promise<string> {
    this.modelKey ??= (async () => {
      const digests = await Promise.all(this.parts.map(hashOf));
      return hashOf(new TextEncoder().encode(JSON.stringify([version, this.options, digests], plain)));
    })();
    return this.modelKey;
  }

  private async index(): Promise<readonly Stored[]> {
    const bytes = await this.options.store!.get(`${await this.keyOfModel()}.index`);
    if (!bytes) return [];
    const json = bytes.subarray(DIGITS);
    // Cut short by a crash, or otherwise damaged: artefacts are compiled again, and the list is written anew.
    if (new TextDecoder().decode(bytes.subarray(0, DIGITS)) !== (await hashOf(json))) return [];
    return JSON.parse(new TextDecoder().decode(json)) as readonly Stored[];
  }

  private async store(artifact: ArtifactParts): Promise<void> {
    const store = this.options.store!;
    const bytes = await encodeSingleFile(artifact);
    const key = `${await this.keyOfModel()}.${await hashOf(bytes)}`;
    const terms = termsOf(artifact.manifest);
    await store.set(key, bytes);
    const all = [...(await this.index()).filter((s) => s.key !== key), { key, ...terms }];
    const list = all.slice(-this.most);
    const json = new TextEncoder().encode(JSON.stringify(list));
    const digest = new TextEncoder().encode(await hashOf(json));
    await store.set(`${await this.keyOfModel()}.index`, concatBytes([digest, json]));
    for (const gone of all.slice(0, -this.most)) await store.delete?.(gone.key);
  }

  private restore(feeds: FlatFeeds): Promise<CachedArtifact | undefined> {
    return this.stored(async () => {
      const found = (await this.index()).find((stored) => serves(stored, feeds));
      const bytes = found && (await this.options.store!.get(found.key));
      const parts = bytes && (await partsOf(bytes));
      if (!parts) return undefined;
      const binding = bindingOf(this.model, parts.manifest, this.options);
      return this.keep({ ...parts, ...binding, graph: undefined });
    });
  }
}

/** Names of options that decide nothing of the artefact. */
const HOOKS = [
  "path",
  "externalData",
  "maxExternalBytes",
  "store",
  "maxArtifacts",
  "onEvict",
  "onStoreError",
  "onEntry",
  "onPass",
  "onStage",
  "maxSeconds",
];

function plain(key: string, value: unknown): unknown {
  if (HOOKS.includes(key)) return undefined;
  if (typeof value === "bigint") return String(value);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number | bigint>, String);
  return value === Number.POSITIVE_INFINITY ? "∞" : value;
}

async function hashOf(bytes: Uint8Array): Promise<string> {
  const digest = await sha256(bytes);
  if (!digest) throw new ModelError("a store needs WebCrypto, which pages have on https and localhost only");
  return toHex(digest);
}

/** The parts of a single file; undefined if it is damaged. */
async function partsOf(bytes: Uint8Array): Promise<ArtifactParts | undefined> {
  try {
    const { manifest, variant, body } = await openModule(streamOf(bytes));
    const { wasm, modules, weights: rest } = await body();
    const all: { [id in VariantId]?: Uint8Array } = { ...modules, ...(wasm ? { [variant]: wasm } : {}) };
    if (!rest) return undefined;
    const weights = await rest.rest();
    if (!(await areWeightsOf(manifest, weights))) return undefined;
    for (const { id, file, hash } of manifest.variants) await checkHash(file, all[id] ?? new Uint8Array(), hash);
    return { manifest, wasm: all, weights };
  } catch (error) {
    if ((error as { name?: unknown }).name !== "ModelError") throw error;
    return undefined;
  }
}
