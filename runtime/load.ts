/** From a stored or just compiled artefact to a session. */
import { Complaint, explain } from "./complaint.js";
import type { ModelKey } from "./encryption.js";
import type { Measures } from "./events.js";
import {
  type ArtifactParts,
  type DType,
  isWide,
  type Manifest,
  mostPages,
  pageBytes,
  type VariantId,
  variantIds,
} from "./format.js";
import type { Fetch, LoadProgress } from "./loading.js";
import { createMemory, Machine, type MachineOptions } from "./machine.js";
import { importModule, isNode, keepFreedMemory, obstacle, threadObstacle } from "./platform.js";
import type { BinarySource } from "./read.js";
import { type Report, type RunOptions, Session } from "./session.js";
import { type OpenArtifact, openArtifact, type Source } from "./source.js";
import { nothing } from "./state.js";
import type { DataOf, Tensor } from "./tensor.js";
import { TrainingSession } from "./train.js";
import { checkOptions } from "./validate.js";
import { fillMemory } from "./weights.js";

export interface LoadOptions {
  /** How many threads run a model together, or "auto": as many as the machine has cores, at most 8. Default 1. */
  readonly threads?: number | "auto" | undefined;
  /**
   * Runs all threads in workers, so that the event loop (a page) goes on during a run. Needs what threads need: a threaded
   * variant and SharedArrayBuffer. Default false.
   */
  readonly background?: boolean | undefined;
  /** Stops the loading. */
  readonly signal?: AbortSignal | undefined;
  /** Takes exactly this variant. By default the fastest that the engine runs. */
  readonly variant?: VariantId | undefined;
  /** Never takes relaxed SIMD, whose results may differ in the last bits between machines. Default false. */
  readonly deterministic?: boolean | undefined;
  /**
   * Upper limit of the session's WebAssembly memory. Default 4 GiB, or what the model is compiled for where it needs more. With more, a
   * variant with 64-bit addresses is taken where there is one.
   */
  readonly maxMemoryBytes?: number | undefined;
  /** Where `worker.js` is, if not beside the runtime's own file. */
  readonly workerUrl?: URL | string | undefined;
  /** Where the weights are, if not beside or inside the module. */
  readonly weights?: BinarySource | undefined;
  /** The key of an encrypted artefact. With a key, files that are not encrypted with it are refused. */
  readonly key?: ModelKey | undefined;
  /** Told of each file's bytes as they come. */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Fetches what lies at an http address, instead of the platform's own `fetch`: with headers, from a cache (`wasmith/fetch`). */
  readonly fetch?: Fetch | undefined;
  /** A session whose parameters and buffers are taken, by name: of the program that trained them. */
  readonly weightsFrom?: Session<never, unknown> | undefined;
}

/** An artefact of a training graph, in memory. */
export type TrainingArtifact = ArtifactParts & {
  readonly manifest: { readonly training: { readonly fit: NonNullable<NonNullable<Manifest["training"]>["fit"]> } };
};

/** What entries take and give: dtypes of inputs by name, and names of outputs. */
export type EntryTypes = {
  readonly [entry: string]: { readonly inputs: Readonly<Record<string, DType>>; readonly outputs: PropertyKey };
};

/** An artefact of a program, in memory, whose entries TypeScript knows. */
export type TypedArtifact<T> = ArtifactParts & { readonly "~entries": T };

/** A session with a method for each entry; where one is `step`, it trains. */
export type SessionWith<T> = T extends { readonly step: EntryTypes[string] }
  ? StepMethod<T["step"]> & TrainingSession & EntryMethods<Omit<T, "step" | "evaluate" | "predict">>
  : Session & EntryMethods<T>;

/** `step` with what it gives beside loss and metrics (single f32s, which stand in `metrics`). */
export interface StepMethod<E extends EntryTypes[string]> {
  step(feeds: FeedsOf<E>): Promise<Measures & { readonly [N in Exclude<E["outputs"], "loss" | "metrics">]?: Tensor }>;
}

type FeedsOf<E extends EntryTypes[string]> = {
  readonly [N in keyof E["inputs"]]: DataOf<E["inputs"][N]> | Tensor<E["inputs"][N]>;
};

export type EntryMethods<T> = {
  readonly [K in keyof T]: T[K] extends EntryTypes[string]
    ? (
        feeds: FeedsOf<T[K]>,
        options?: Omit<RunOptions, "entry">,
      ) => Promise<{ readonly [N in T[K]["outputs"]]: Tensor | number }>
    : never;
};

/**
 * Loads an artefact and starts its threads. One that was compiled from a training step gives a `TrainingSession`.
 * @throws ModelError when it can't be read, is damaged or newer, or the engine can't run it.
 */
export function load(source: TrainingArtifact, options?: LoadOptions): Promise<TrainingSession>;
export function load<T>(source: TypedArtifact<T>, options?: LoadOptions): Promise<SessionWith<T>>;
export function load<S extends Session<never, unknown> = Session>(
  source: Source | Promise<Response>,
  options?: LoadOptions,
): Promise<S>;
export function load(source: Source | Promise<Response>, options: LoadOptions = {}): Promise<Session> {
  // About once in a hundred loads on a busy machine, in a worker of Node 20, nothing went on in here until a timer of someone else's
  // fired. The cause is not known; a timer of our own keeps the event loop awake.
  const awake = setInterval(() => {}, 100);
  return open(source, options)
    .catch(explain)
    .finally(() => clearInterval(awake));
}

async function open(source: Source | Promise<Response>, options: LoadOptions): Promise<Session> {
  checkOptions("load", options, {
    threads: "any",
    background: "boolean",
    signal: "signal",
    variant: "any",
    deterministic: "boolean",
    maxMemoryBytes: "size",
    workerUrl: "any",
    weights: "any",
    key: "any",
    weightsFrom: "object",
    onProgress: "function",
    fetch: "function",
  });
  const asked = await countThreads(options.threads ?? 1);
  const artifact = await openArtifact(source, options, async (ids) =>
    chooseVariant(ids, ids, asked, options, [], await obstacles(ids)),
  );
  try {
    return await start(artifact, asked, options);
  } finally {
    artifact.close();
  }
}

async function start(artifact: OpenArtifact, asked: number, options: LoadOptions): Promise<Session> {
  const { signal, workerUrl } = options;
  const { manifest } = artifact;
  const notes: string[] = artifact.unchecked === null ? [] : [artifact.unchecked];
  const listed = manifest.variants.map((v) => v.id);
  const wanted = Math.min(asked, manifest.memory.maxThreads);
  if (wanted < asked) notes.push(`${wanted} threads instead of ${asked}: the artefact was compiled for no more`);
  const variant = chooseVariant(listed, artifact.variants, wanted, options, notes, await obstacles(listed));
  const shared = variant.endsWith("threads");
  const background = shared && (options.background ?? false);
  const threads = shared ? wanted : 1;
  const create = isWide(variant) && (await import("./wide.js")).wideMemory;
  const most = (create ? manifest.memory.maxPages : mostPages) * pageBytes;
  const maxMemoryBytes = Math.min(options.maxMemoryBytes ?? most, most);
  const how: MachineOptions = { threads, shared, background, maxMemoryBytes, workerUrl };
  const memory = createMemory(manifest, how, create || ((limits) => new WebAssembly.Memory(limits)));
  // Weights go where they stay while the module is on its way and compiled, and words for notes and what starts threads come.
  const [module, inWords] = await Promise.all([
    artifact.module(variant),
    notes.length ? import("./explain.js").then((words) => words.inWords(notes)) : notes,
    artifact.weights().then((weights) => fillMemory(memory, manifest, weights)),
    (threads > 1 || background) && import("./pool.js"),
  ]);
  signal?.throwIfAborted();
  const machine = await Machine.create(module, manifest, memory, how);
  keepFreedMemory();
  try {
    signal?.throwIfAborted();
    const report: Report = { variant, threads, notes: inWords, hash: artifact.hash, producer: manifest.producer };
    const session = new (manifest.training?.fit ? TrainingSession : Session)(machine, report);
    const { weightsFrom } = options;
    if (weightsFrom) {
      const weights = session.state.filter(({ role }) => role === "param" || role === "buffer");
      if (!weights.length) throw nothing("option weightsFrom");
      for (const { name } of weights) session.setState(name, weightsFrom.getState(name));
    }
    return session;
  } catch (error) {
    machine.dispose();
    throw error;
  }
}

async function countThreads(threads: number | "auto"): Promise<number> {
  if (threads === "auto") {
    const cores = isNode
      ? (await importModule<typeof import("node:os")>("node:os")).availableParallelism()
      : navigator.hardwareConcurrency;
    return Math.min(8, cores);
  }
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads;
  throw new Complaint("threads", [threads]);
}

/** Why the engine can't run a variant, or null. */
type WhyNot = (id: VariantId) => string | null;

async function obstacles(ids: readonly VariantId[]): Promise<WhyNot> {
  const wide = ids.some(isWide) ? await import("./wide.js") : null;
  return (id) => obstacle(id) ?? wide?.wideObstacle(id) ?? null;
}

/** The fastest variant that the engine runs of those that can be had; notes say why a faster one was passed over. */
function chooseVariant(
  listed: readonly VariantId[],
  variants: readonly VariantId[],
  threads: number,
  options: LoadOptions,
  notes: string[],
  whyNot: WhyNot,
): VariantId {
  const { variant, deterministic = false, background = false } = options;
  const team = threads > 1 || background;
  const lost = [threads > 1 && `1 thread instead of ${threads}`, background && "not in the background"]
    .filter(Boolean)
    .join(", ");
  if (variant !== undefined) {
    if (!variants.includes(variant)) throw new Complaint("noSuchVariant", [variant, variants]);
    const why = whyNot(variant);
    if (why) throw new Complaint("variant", [variant, why]);
    if (deterministic && variant.startsWith("relaxed")) throw new Complaint("relaxedVariant", [variant]);
    if (team && !variant.endsWith("threads")) notes.push(`${lost}: variant "${variant}" was asked for`);
    return variant;
  }
  const wide = (options.maxMemoryBytes ?? 0) > mostPages * pageBytes;
  const rank = (id: VariantId): number =>
    (isWide(id) === wide ? 4 : 0) + (id.endsWith("threads") === team ? 2 : 0) + (id.startsWith("relaxed") ? 1 : 0);
  const order = [...variantIds].sort((a, b) => rank(b) - rank(a));
  for (const id of order) {
    const why = deterministic && id.startsWith("relaxed") ? "deterministic: true" : whyNot(id);
    if (variants.includes(id) && why === null) {
      if (team && !id.endsWith("threads")) {
        const reason = threadObstacle() ?? (listed.some((v) => v.endsWith("threads")) ? "{apart}" : "{single}");
        notes.push(`${lost}: ${reason}`);
      }
      return id;
    }
    // A variant with threads is no loss where one thread was asked for.
    const matters = listed.includes(id) && (team || !id.endsWith("threads"));
    if (matters) notes.push(`variant "${id}" is not used: ${why ?? "{missing}"}`);
  }
  throw new Complaint("noVariant", [notes, listed]);
}
