/** One instance of a module with its memory and threads: lays out a run and executes ranges of its schedule. */
import { Complaint } from "./complaint.js";
import { corrupted, InternalError, ModelError, modelError } from "./errors.js";
import {
  controlBytes,
  type EntryInfo,
  type LimitInfo,
  type Manifest,
  type ManifestDim,
  pageBytes,
  planOverflow,
  planRefused,
  type TensorInfo,
  wordLimit,
  wordNeeded,
  wordPoll,
  wordResume,
  wordStop,
} from "./format.js";
import { canBlock, yieldToLoop } from "./platform.js";
import type { Pool } from "./pool.js";
import { byteSize } from "./tensor.js";
import { announce, join, joinLater, poison, type RunFunction, takePoison } from "./thread.js";

/** Settings that hold for all sessions loaded later. */
export const defaults: {
  /** Where `worker.js` lies, if not beside the runtime (some bundlers move files). */
  workerUrl?: URL | string;
} = {};

export interface MachineOptions {
  readonly threads: number;
  readonly shared: boolean;
  /** All threads are workers; the one that runs the session only waits. */
  readonly background: boolean;
  readonly maxMemoryBytes: number;
  readonly workerUrl?: URL | string | undefined;
}

/** What may end a run before its time. */
export interface Stop {
  readonly signal?: AbortSignal | undefined;
  readonly maxSeconds?: number | undefined;
}

/** Runs that take more ms than this are worth a team. Of shorter ones of each kind so many are timed, or two where the difference is clear. */
const shortRun = 100;
const mostTrials = 8;
const clear = 1.25;

/** Least ms of runs that one thread makes, and of those of the team, and how many are to be tried. */
interface Trials {
  alone: number;
  team: number;
  left: number;
  runs: number;
}

/** How long a lone thread keeps the event loop waiting in a run that can be stopped, in ms. */
const slice = 8;

// A session that is dropped without dispose must not leave its workers waiting for ever.
const abandoned = new FinalizationRegistry<Pool>((pool) => pool.terminate());

export class Machine {
  readonly manifest: Manifest;
  readonly threads: number;
  readonly #memory: WebAssembly.Memory;
  readonly #module: WebAssembly.Module;
  readonly #options: MachineOptions;
  readonly #plans: Readonly<Record<string, () => number | bigint>>;
  readonly #runs: Readonly<Record<string, RunFunction>>;
  readonly #entryNames: readonly string[];
  readonly #mayBlock: boolean;
  #background: boolean;
  #pool: Pool | null = null;
  /** When a lone thread is to leave off, and when the run ends. */
  #until = Infinity;
  #deadline = Infinity;
  #late: Error | undefined;
  #disposed = false;
  #planned = "";
  #plannedDims: readonly number[] = [];
  /** Of the plan, by entry and first step. */
  readonly #trials = new Map<string, Trials>();
  /** Milliseconds of the last range of steps, in wasm alone where one thread ran it. */
  took = 0;
  /** The dims of the plan, for messages. */
  #sizes = "";
  /** All of memory; read again after `plan`, which may grow it. */
  bytes: Uint8Array = new Uint8Array();
  #table: Int32Array = new Int32Array();
  #words: Int32Array = new Int32Array();

  private constructor(
    manifest: Manifest,
    memory: WebAssembly.Memory,
    instance: WebAssembly.Instance,
    options: MachineOptions,
    module: WebAssembly.Module,
  ) {
    this.manifest = manifest;
    this.threads = options.threads;
    this.#memory = memory;
    this.#module = module;
    this.#options = options;
    this.#entryNames = Object.keys(manifest.entries);
    this.#background = options.background;
    this.#mayBlock = options.shared && canBlock();
    const exported = <T>(name: string): T => {
      const value = instance.exports[name];
      if (value === undefined)
        throw modelError("artefact", `the module has no export "${name}"`, "compile the model again");
      return value as T;
    };
    const each = <T>(prefix: string): Record<string, T> =>
      Object.fromEntries(this.#entryNames.map((name) => [name, exported<T>(prefix + name)]));
    this.#plans = each("plan_");
    this.#runs = each("run_");
    if (options.shared) exported<WebAssembly.Global>("can_block").value = this.#mayBlock ? 1 : 0;
    this.#refresh();
  }

  static async create(
    module: WebAssembly.Module,
    manifest: Manifest,
    memory: WebAssembly.Memory,
    options: MachineOptions,
  ): Promise<Machine> {
    let machine: Machine;
    const poll = () => machine.#poll();
    const instance = await WebAssembly.instantiate(module, { env: { memory, poll } }).catch((cause) => {
      throw modelError(
        "artefact",
        `the module does not fit its manifest: ${cause.message}`,
        "compile the model again",
        cause,
      );
    });
    machine = new Machine(manifest, memory, instance, options, module);
    if (options.threads > 1 || options.background) await machine.#enlist(options.background ? 0 : 1, options.threads);
    return machine;
  }

  /** Starts workers for the threads [first, end). */
  async #enlist(first: number, end: number): Promise<void> {
    const pool = this.#pool ?? new (await import("./pool.js")).Pool();
    const url = this.#options.workerUrl ?? defaults.workerUrl;
    try {
      await pool.start(this.#module, this.#memory, this.manifest, first, end, this.threads, url);
    } catch (why) {
      throw new Complaint("worker", [why]);
    } finally {
      if (this.#disposed) pool.terminate();
      this.#checkAlive();
    }
    if (this.#pool) return;
    this.#pool = pool;
    abandoned.register(this, pool, this);
  }

  /** The module's import: whether a lone thread is to leave off. */
  #poll(): number {
    const now = performance.now();
    if (now >= this.#deadline) throw this.#late;
    return +(now >= this.#until);
  }

  #refresh(): void {
    const { buffer } = this.#memory;
    if (this.bytes.buffer === buffer) return;
    this.bytes = new Uint8Array(buffer);
    this.#table = new Int32Array(buffer, this.manifest.memory.tableOffset, this.manifest.memory.tableSlots);
    this.#words = new Int32Array(buffer, 0, controlBytes / 4);
  }

  /**
   * Writes the dims, lets the module evaluate sizes and offsets, and grows the memory once if needed. The same entry with
   * the same dims is not planned again, unless it has sizes that lie in state.
   * @throws ModelError if the run needs more memory than allowed or to be had.
   */
  plan(name: string, entry: EntryInfo, dims: readonly number[]): void {
    if (!entry.counts && this.#planned === name && dims.every((d, i) => d === this.#plannedDims[i])) return;
    this.#planned = "";
    if (dims.some((d, i) => d !== this.#plannedDims[i])) this.#trials.clear();
    entry.dims.forEach((d, i) => {
      this.#table[d.slot] = dims[i]!;
    });
    let needed = Number(this.#plans[name]!());
    this.#sizes = entry.dims.map((d, i) => `${d.name}=${dims[i]}`).join(", ");
    if (needed === planRefused) this.clearLimits(entry, true);
    if (needed === planOverflow) throw this.#tooLarge(Infinity);
    // From 2 GiB on, 32 bits look negative.
    if (needed < 0) needed += 2 ** 32;
    if (needed > this.#options.maxMemoryBytes) throw this.#tooLarge(needed);
    const missing = needed - this.#memory.buffer.byteLength;
    if (missing > 0) {
      try {
        this.#memory.grow(Math.ceil(missing / pageBytes));
      } catch (cause) {
        throw this.#tooLarge(needed, cause);
      }
      this.#refresh();
    }
    this.#planned = name;
    this.#plannedDims = dims;
  }

  #tooLarge(needed: number, cause?: unknown): Complaint {
    return new Complaint("memory", [needed, this.#options.maxMemoryBytes, this.#sizes], cause);
  }

  /** The byte address of a tensor of the planned entry, which has so many bytes. @throws ModelError where it can't lie there */
  address({ name, dtype, offset }: TensorInfo, bytes: number): number {
    const word = (slot: number): number => this.#table[slot]! >>> 0;
    const at = typeof offset === "number" ? offset : word(offset.slot) + word(offset.high!) * 2 ** 32;
    if (at + bytes > this.bytes.length || at % byteSize(dtype, [])) throw corrupted(`"${name}" can't lie at ${at}`);
    return at;
  }

  /** The shape after plan; of outputs whose size lies in data, after the run. */
  shape(dims: readonly ManifestDim[]): number[] {
    return dims.map((d) => (typeof d === "number" ? d : this.#table[d.slot]!));
  }

  /** The state is another than it was: what runs have made of it is to be made again. */
  changed(): void {
    const { preparedOffset, preparedFlags } = this.manifest.memory;
    this.bytes.fill(0, preparedOffset, preparedOffset + preparedFlags);
  }

  /** Sets the slots of the entry's limits to 0. @throws ModelError listing those that were set, if asked to */
  clearLimits({ limits }: EntryInfo, strict?: boolean): void {
    // Above its lowest bit, a slot tells the value that breaks the limit.
    const told = (l: LimitInfo) => ({ ...l, message: l.message.replace("{}", `${this.#table[l.slot]! >> 1}`) });
    const broken = limits.filter(({ slot }) => this.#table[slot]).map(told);
    for (const { slot } of broken) this.#table[slot] = 0;
    if (strict && broken[0]) throw new ModelError(broken);
  }

  /**
   * Executes the steps [begin, end) of the planned entry on all threads.
   * @throws the signal's reason, or ModelError when time is up; the memory that outlives runs is as those steps left it.
   */
  async run(name: string, begin: number, end: number, { signal, maxSeconds }: Stop = {}): Promise<void> {
    if (begin === end) return;
    const stoppable = signal || maxSeconds !== undefined;
    // Nobody could stop the thread that they run on.
    if (stoppable && this.#options.shared && !this.#background) {
      await this.#enlist(0, 1);
      this.#background = true;
    }
    signal?.throwIfAborted();
    const words = this.#words;
    words[wordPoll] = stoppable || this.#background ? 1 : 0;
    words[wordResume] = 0;
    words[wordStop] = 0;
    words[wordLimit] = Math.floor(this.#options.maxMemoryBytes / pageBytes);
    this.#late = modelError("option maxSeconds", `the run took longer than ${maxSeconds} s`);
    this.#deadline = performance.now() + (maxSeconds ?? Infinity) * 1000;
    try {
      if (!this.#pool) await this.#runAlone(name, begin, end, signal);
      else if (this.#background) await this.#runTeam(name, begin, end, { signal, maxSeconds });
      else await this.#runFaster(name, begin, end);
    } finally {
      this.#checkAlive();
    }
    this.clearLimits(this.manifest.entries[name]!, true);
    // The run found sizes that it has no memory for.
    if (this.#words[wordStop]) throw this.#tooLarge((this.#words[wordNeeded]! >>> 0) * pageBytes);
  }

  /** On all threads, or on one where that has been faster: waking a team takes longer than a small model. */
  async #runFaster(name: string, begin: number, end: number): Promise<void> {
    const key = name + begin;
    const trials = this.#trials.get(key) ?? { alone: 0, team: 0, left: 0, runs: 0 };
    this.#trials.set(key, trials);
    const { runs } = trials;
    trials.runs++;
    // What was faster before the engine had optimised the code, or while others had the machine, need not be so any longer.
    if (!(runs & (runs - 1)) && (!runs || runs > 2 * mostTrials)) {
      trials.alone = trials.team = Infinity;
      trials.left = 2 * mostTrials;
    }
    const isTrial = trials.left > 0 && trials.team < shortRun;
    const how = (isTrial ? trials.left-- % 2 : trials.alone < trials.team) ? "alone" : "team";
    if (how === "alone") await this.#runAlone(name, begin, end, undefined);
    else await this.#runTeam(name, begin, end, {});
    trials[how] = Math.min(trials[how], this.took);
    const { alone, team, left } = trials;
    if (left <= 2 * mostTrials - 4 && Math.max(alone, team) > clear * Math.min(alone, team)) trials.left = 0;
  }

  async #runAlone(name: string, begin: number, end: number, signal: AbortSignal | undefined): Promise<void> {
    for (let at = begin; ; ) {
      const start = performance.now();
      this.#until = signal ? start + slice : Infinity;
      try {
        at = this.#runs[name]!(0, 1, at, end);
      } catch (error) {
        throw error === this.#late ? error : this.#trapped(name, at, end, String(error), error);
      }
      this.took = performance.now() - start;
      if (at === end) return;
      await yieldToLoop();
      this.#checkAlive();
      signal?.throwIfAborted();
    }
  }

  async #runTeam(name: string, begin: number, end: number, { signal, maxSeconds }: Stop): Promise<void> {
    const words = this.#words;
    const pool = this.#pool!;
    let why: unknown;
    let cause: unknown;
    const stop = (reason: unknown): void => {
      why ??= reason;
      poison(words, why);
    };
    const abort = () => stop(signal!.reason);
    const start = performance.now();
    announce(words, this.#entryNames.indexOf(name), begin, end);
    if (this.#background) {
      signal?.addEventListener("abort", abort);
      const timer = maxSeconds === undefined ? undefined : setTimeout(stop, maxSeconds * 1000, this.#late);
      await joinLater(words, this.threads, () => pool === this.#pool && !pool.dead);
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    } else {
      try {
        this.#runs[name]!(0, this.threads, begin, end);
      } catch (error) {
        cause = error;
        poison(words, error);
      }
      join(words, this.threads - 1, this.#mayBlock);
    }
    this.took = performance.now() - start;
    if (pool.dead) throw modelError("threads", `a worker ended: ${pool.dead}`, "load the artefact again");
    const message = takePoison(words);
    if (why) throw why;
    if (message) throw this.#trapped(name, begin, end, message, cause);
  }

  /** Also sees to it that the views are of the memory as it is now. */
  #checkAlive(): void {
    if (this.#disposed) throw modelError("session", "it was disposed while running");
    this.#refresh();
  }

  #trapped(name: string, begin: number, end: number, message: string, cause: unknown): Error {
    const { steps } = this.manifest.entries[name]!;
    const place = steps
      .slice(begin, end)
      .map((s) => s.name || s.kernel)
      .filter((s, i, all) => s !== all[i - 1]);
    const where = place.length > 3 ? `${place[0]} … ${place.at(-1)}` : place.join(", ");
    return new InternalError(`"${name}" trapped in ${where || `steps ${begin} to ${end}`}: ${message}`, { cause });
  }

  /** Bytes of memory held now. */
  get memoryBytes(): number {
    return this.bytes.byteLength;
  }

  dispose(): void {
    this.#disposed = true;
    abandoned.unregister(this);
    this.#pool?.terminate();
    this.#pool = null;
    this.bytes = new Uint8Array();
    this.#table = new Int32Array();
    this.#words = new Int32Array();
  }
}

/**
 * Memory for a machine, with room for what outlives runs. Shared memory may reserve its maximum at once, so that is kept as small as the
 * sizes allow. `create` makes memory of the variant's kind.
 */
export function createMemory(
  manifest: Manifest,
  { shared, maxMemoryBytes }: MachineOptions,
  create: (limits: WebAssembly.MemoryDescriptor) => WebAssembly.Memory,
): WebAssembly.Memory {
  const { minPages, maxPages } = manifest.memory;
  const allowed = Math.min(maxPages, Math.floor(maxMemoryBytes / pageBytes));
  if (allowed < minPages) throw new Complaint("modelMemory", [minPages * pageBytes, maxMemoryBytes]);
  const most = Object.values(manifest.entries).map((e) =>
    e.maxBytes === null ? allowed : Math.ceil(e.maxBytes / pageBytes),
  );
  let maximum = Math.min(allowed, Math.max(minPages, ...most));
  for (;;) {
    try {
      return create({ initial: minPages, maximum, shared });
    } catch (cause) {
      // A 32-bit platform can't reserve gigabytes; a run that needs them will say so.
      if (maximum === minPages) throw new Complaint("modelMemory", [minPages * pageBytes], cause);
      maximum = Math.max(minPages, maximum >> 1);
    }
  }
}
