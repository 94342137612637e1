/** Makes the handler of a model: of what was compiled ahead of time beside it, of what was kept, or by compiling it. */

import { ModelError } from "../ir/errors.js";
import type { VariantId } from "../runtime/format.js";
import { load } from "../runtime/index.js";
import { importModule, isNode, obstacle, threadObstacle } from "../runtime/platform.js";
import { Artifacts } from "./artifacts.js";
import { build } from "./build.js";
import { cacheStorage } from "./cache-storage.js";
import type { CompileWhere } from "./compile.js";
import { env, warn } from "./env.js";
import { faceOfSession } from "./face.js";
import { folderStore } from "./folder-store.js";
import { aheadEngine, Handler, lateEngine } from "./handler.js";
import { hashOf } from "./hash.js";
import { Library } from "./library.js";
import { artifactBeside, externalFiles, modelSource } from "./model-file.js";
import { type ModelFile, type SessionOptions, sessionOptions, type WasmithOptions } from "./options.js";
import { forgiving, noStore, type Store } from "./store.js";

/** @throws ModelError where the options are wrong, or the model can't be read or compiled */
export async function createHandler(file: ModelFile, given?: SessionOptions): Promise<Handler> {
  const options = sessionOptions(given);
  const { wasmith } = options;
  const threads = await threadsFor(options);
  const isProfiling = options.enableProfiling ?? false;
  const source = await modelSource(file);
  // Asking a server takes as long as opening what a page has kept.
  const [ahead, store] = await Promise.all([
    wasmith.artifact === false ? undefined : (wasmith.artifact ?? artifactBeside(source)),
    storeFor(wasmith.cache ?? env.wasmith.cache),
  ]);
  if (ahead !== undefined) return new Handler(await engineAhead(ahead, threads, wasmith), isProfiling);

  const began = performance.now();
  const where: CompileWhere = { ...env.wasmith, ...defined(wasmith) };
  const external = await externalFiles(options.externalData);
  const dims = options.freeDimensionOverrides ?? {};
  const variants = [variantFor(threads, wasmith)];
  const digest = store && (await source.digest(store));
  const parts =
    digest === undefined ? undefined : [digest, ...(await Promise.all(Object.values(external).map(hashOf)))];
  const key = parts && (await keyOf([build, variants, sorted(dims), Object.keys(external), parts]));
  const library = key === undefined ? new Library(noStore, "") : new Library(store!, key);
  const digestOf = async (name: string) => (key === undefined ? undefined : source.siblingDigest(name, store!));
  where.onProgress?.({ stage: "read", milliseconds: performance.now() - began });
  const most = wasmith.maxArtifacts ?? 4;
  const artifacts = new Artifacts({
    source,
    digest,
    digestOf,
    external,
    dims,
    variants,
    threads,
    library,
    where,
    most,
  });
  return new Handler(lateEngine(await artifacts.prepare(), artifacts), isProfiling);
}

const defined = ({ worker, onProgress }: WasmithOptions): Partial<CompileWhere> => ({
  ...(worker === undefined ? {} : { worker }),
  ...(onProgress === undefined ? {} : { onProgress }),
});

const sorted = (record: Readonly<Record<string, number>>): unknown =>
  Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));

async function engineAhead(from: string | URL | Response, threads: number, { deterministic = false }: WasmithOptions) {
  const session = await load(from, { threads, deterministic });
  if (session.entries.main && session.state.length === 0) return aheadEngine(session, faceOfSession(session));
  session.dispose();
  throw new ModelError({
    where: from instanceof URL || typeof from === "string" ? String(from) : from.url,
    message: "it has state or several entries, which onnxruntime's sessions have not",
    hint: "load it with wasmith/runtime, or pass the option wasmith: { artifact: false }",
  });
}

/** As onnxruntime-web: as many as are asked for, or half of the cores, at most 4, where the host has threads. */
async function threadsFor({ intraOpNumThreads, wasmith }: SessionOptions): Promise<number> {
  const asked = wasmith?.threads || intraOpNumThreads || env.wasm.numThreads;
  if (threadObstacle() !== null) return 1;
  if (asked) return asked;
  const cores = isNode
    ? (await importModule<typeof import("node:os")>("node:os")).availableParallelism()
    : (navigator.hardwareConcurrency ?? 1);
  return Math.min(4, Math.ceil(cores / 2));
}

/** What this engine runs fastest. */
function variantFor(threads: number, { deterministic = false }: WasmithOptions): VariantId {
  const base = !deterministic && obstacle("relaxed") === null ? "relaxed" : "simd128";
  return threads > 1 ? `${base}-threads` : base;
}

const keyOf = (parts: readonly unknown[]): Promise<string | undefined> =>
  hashOf(new TextEncoder().encode(JSON.stringify(parts)));

/** Undefined where nothing is to be kept, or the host has no place for it. */
async function storeFor(cache: boolean | string): Promise<Store | undefined> {
  if (cache === false) return undefined;
  const tell = (error: unknown): void => warn("compiled models can't be kept, and are compiled each time", error);
  const limit = env.wasmith.maxCacheBytes;
  try {
    const store = isNode ? await folderStore(cache === true ? undefined : cache, limit) : await cacheStorage(limit);
    return store && forgiving(store, tell);
  } catch (error) {
    tell(error);
    return undefined;
  }
}
