/** One instance of a module with its memory and threads: lays out a run and executes ranges of its schedule. */
import { InternalError, ModelError, modelError } from "./errors.js";
import {
  controlBytes,
  type EntryInfo,
  type Manifest,
  type ManifestDim,
  pageBytes,
  planOverflow,
  planRefused,
  type TensorInfo,
} from "./format.js";
import { canBlock } from "./platform.js";
import { Pool } from "./pool.js";
import { announce, join, joinLater, poison, type RunFunction, takePoison } from "./thread.js";

export interface MachineOptions {
  readonly threads: number;
  readonly shared: boolean;
  /** All threads are workers; the one that runs the session only waits. */
  readonly background: boolean;
  readonly maxMemoryBytes: number;
  readonly workerUrl?: URL | string | undefined;
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

// A session that is dropped without dispose must not leave its workers waiting for ever.
const abandoned = new FinalizationRegistry<Pool>((pool) => pool.terminate());

export class Machine {
  readonly manifest: Manifest;
  readonly threads: number;
  readonly #memory: WebAssembly.Memory;
  readonly #limit: number;
  readonly #plans: Readonly<Record<string, () => number>>;
  readonly #runs: Readonly<Record<string, RunFunction>>;
  readonly #entryNames: readonly string[];
  readonly #mayBlock: boolean;
  readonly #background: boolean;
  #pool: Pool | null = null;
  #planned = "";
  #plannedDims: readonly number[] = [];
  /** All of memory; read again after `plan`, which may grow it. */
  bytes: Uint8Array = new Uint8Array();
  #table: Int32Array = new Int32Array();
  #words: Int32Array = new Int32Array();

  private constructor(
    manifest: Manifest,
    memory: WebAssembly.Memory,
    instance: WebAssembly.Instance,
    options: MachineOptions,
  ) {
    this.manifest = manifest;
    this.threads = options.threads;
    this.#memory = memory;
    this.#limit = options.maxMemoryBytes;
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

  static async create(module: WebAssembly.Module, manifest: Manifest, options: MachineOptions): Promise<Machine> {
    const memory = createMemory(manifest, options);
    const instance = await WebAssembly.instantiate(module, { env: { memory } }).catch((cause) => {
      throw modelError(
        "artefact",
        `the module does not fit its manifest: ${cause.message}`,
        "compile the model again",
        cause,
      );
    });
    const machine = new Machine(manifest, memory, instance, options);
    if (options.threads > 1 || options.background) {
      const pool = new Pool();
      await pool.start(module, memory, manifest, options.background ? 0 : 1, options.threads, options.workerUrl);
      machine.#pool = pool;
      abandoned.register(machine, pool, machine);
    }
    return machine;
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
   * the same dims is not planned again.
   * @throws ModelError if the run needs more memory than allowed or to be had.
   */
  plan(name: string, entry: EntryInfo, dims: readonly number[]): void {
    if (this.#planned === name && dims.every((d, i) => d === this.#plannedDims[i])) return;
    this.#planned = "";
    entry.dims.forEach((d, i) => {
      this.#table[d.slot] = dims[i]!;
    });
    const needed = this.#plans[name]!() >>> 0;
    const sizes = entry.dims.map((d, i) => `${d.name}=${dims[i]}`).join(", ");
    const tooLarge = (what: string, cause?: unknown): Error =>
      modelError(
        "memory",
        `a run${sizes && ` with ${sizes}`} needs ${what}`,
        "use smaller sizes, or raise maxMemoryBytes",
        cause,
      );
    if (needed === planRefused) this.clearLimits(entry, true);
    if (needed === planOverflow) throw tooLarge("more than the 4 GiB of WebAssembly");
    if (needed > this.#limit) throw tooLarge(`${mebibytes(needed)}, maxMemoryBytes allows ${mebibytes(this.#limit)}`);
    const missing = needed - this.#memory.buffer.byteLength;
    if (missing > 0) {
      try {
        this.#memory.grow(Math.ceil(missing / pageBytes));
      } catch (cause) {
        throw tooLarge(`${mebibytes(needed)}, which the platform does not give`, cause);
      }
      this.#refresh();
    }
    this.#planned = name;
    this.#plannedDims = dims;
  }

  /** The byte address of a tensor of the planned entry. */
  address(t: TensorInfo): number {
    return typeof t.offset === "number" ? t.offset : this.#table[t.offset.slot]! >>> 0;
  }

  /** The shape after plan; of outputs whose size lies in data, after the run. */
  shape(dims: readonly ManifestDim[]): number[] {
    return dims.map((d) => (typeof d === "number" ? d : this.#table[d.slot]!));
  }

  /** Sets the slots of the entry's limits to 0. @throws ModelError listing those that were set, if asked to */
  clearLimits({ limits }: EntryInfo, strict?: boolean): void {
    const broken = limits.filter(({ slot }) => this.#table[slot]);
    for (const { slot } of broken) this.#table[slot] = 0;
    if (strict && broken[0]) throw new ModelError(broken);
  }

  /** Executes the steps [begin, end) of the planned entry on all threads, at once unless in the background. */
  run(name: string, begin: number, end: number): Promise<void> | undefined {
    const pool = this.#pool;
    const words = this.#words;
    const finish = (cause?: unknown): void => {
      const message = pool ? takePoison(words) : cause && String(cause);
      if (message) throw this.#trapped(name, begin, end, message as string, cause);
    };
    if (pool) announce(words, this.#entryNames.indexOf(name), begin, end);
    if (this.#background) return joinLater(words, this.threads, () => pool === this.#pool).then(finish);
    let cause: unknown;
    try {
      this.#runs[name]!(0, this.threads, begin, end);
    } catch (error) {
      cause = error;
      if (pool) poison(words, error);
    }
    if (pool) join(words, this.threads - 1, this.#mayBlock);
    finish(cause);
    return undefined;
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
    abandoned.unregister(this);
    this.#pool?.terminate();
    this.#pool = null;
    this.bytes = new Uint8Array();
    this.#table = new Int32Array();
    this.#words = new Int32Array();
  }
}

/** Shared memory may reserve its maximum at once, so that is kept as small as the sizes allow. */
function createMemory(manifest: Manifest, { shared, maxMemoryBytes }: MachineOptions): WebAssembly.Memory {
  const { minPages, maxPages } = manifest.memory;
  const allowed = Math.min(maxPages, Math.floor(maxMemoryBytes / pageBytes));
  if (allowed < minPages) {
    const needed = mebibytes(minPages * pageBytes);
    throw modelError(
      "option maxMemoryBytes",
      `the model alone takes ${needed}, ${mebibytes(maxMemoryBytes)} are allowed`,
    );
  }
  const most = Object.values(manifest.entries).map((e) =>
    e.maxBytes === null ? allowed : Math.ceil(e.maxBytes / pageBytes),
  );
  let maximum = Math.min(allowed, Math.max(minPages, ...most));
  for (;;) {
    try {
      return new WebAssembly.Memory({ initial: minPages, maximum, shared });
    } catch (cause) {
      // A 32-bit platform can't reserve gigabytes; a run that needs them will say so.
      if (maximum === minPages)
        throw modelError("memory", `the platform does not give ${mebibytes(minPages * pageBytes)}`, undefined, cause);
      maximum = Math.max(minPages, maximum >> 1);
    }
  }
}
