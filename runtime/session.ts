/// <reference lib="esnext.disposable" preserve="true" />
/** A loaded model, ready to run. */
import { Complaint, explain } from "./complaint.js";
import { modelError } from "./errors.js";
import { bindFeeds, type Feed, type Feeds } from "./feeds.js";
import type { Paused } from "./finite.js";
import { arrayTypes, type DType, type EntryInfo, type TensorInfo, type VariantId } from "./format.js";
import type { Machine, Stop } from "./machine.js";
import type { ProfileRow } from "./profile.js";
import { HoldsState } from "./state.js";
import { byteSize, bytesOf, sizeOf, type Tensor, type TensorData, viewOf } from "./tensor.js";
import { checkOptions } from "./validate.js";

/** What was chosen at load, and why not more. */
export interface Report {
  readonly variant: VariantId;
  readonly threads: number;
  /** Why a faster variant or more threads are not used, or a check was not made. Empty when all was had. */
  readonly notes: readonly string[];
  /** Identity of the artefact (SHA-256 of its manifest); null for one that was never stored. */
  readonly hash: string | null;
  /** The compiler that wrote it. */
  readonly producer: string;
}

/** An input or output; symbolic dims by name (`["batch", 3, "n*2"]`). */
export interface Signature {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly (number | string)[];
}

export interface RunOptions extends Stop {
  /** Which entry to run, of an artefact with several. Default: the model's own, whose signature the session shows. */
  readonly entry?: string | undefined;
  /**
   * Ends the run within milliseconds, also inside loops and long kernels. It yields to the event loop every few milliseconds;
   * with threads it runs in the background, and so do later runs. A run that has begun to change state goes on to its end.
   */
  readonly signal?: AbortSignal | undefined;
  /** Ends the run likewise when it takes longer. */
  readonly maxSeconds?: number | undefined;
  /** Names of the outputs to return; all by default. */
  readonly outputs?: readonly string[] | undefined;
  /** Return views of the session's memory instead of copies. They hold until the next run or dispose. */
  readonly reuse?: boolean | undefined;
  /** Sizes of dims that no input shows. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** f16 outputs come in a `Float16Array` instead of bit patterns in a `Uint16Array`, where the platform has one. */
  readonly float16?: boolean | undefined;
}

export interface ProfileOptions {
  /** Runs of which each step's least time counts. Default 10. */
  readonly repeat?: number | undefined;
  /** Default: the model's own entry. */
  readonly entry?: string | undefined;
  readonly dims?: Readonly<Record<string, number>> | undefined;
}

export interface WarmUpOptions {
  /** Default: the model's own entry. */
  readonly entry?: string | undefined;
  /** Feeds as `run` takes them, for models that zeros make no sense for. */
  readonly feeds?: Feeds | undefined;
  /** Sizes that the model leaves open; by default the least that are not 0. Code is the same for all sizes. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** No more runs begin after so long. Default 1. */
  readonly maxSeconds?: number | undefined;
  /** Ends the warm-up between two runs. */
  readonly signal?: AbortSignal | undefined;
}

export type Results = { readonly [name: string]: Tensor };

/** An entry of an artefact: what it takes and gives. */
export interface EntrySignature {
  readonly inputs: readonly Signature[];
  readonly outputs: readonly Signature[];
  /** Named sizes with their inclusive ranges; max null: no bound. */
  readonly dims: readonly { readonly name: string; readonly min: number; readonly max: number | null }[];
}

/** What an entry's method gives: outputs without axes are numbers. */
export type EntryResults = { readonly [name: string]: Tensor | number };

/**
 * A session of an artefact. Each entry of a program is a method too, unless the session has one of that name: `session.sample({ z })`
 * gives the outputs of the entry `sample`, those without axes as numbers.
 */
export class Session<I = Feeds, O = Results> extends HoldsState {
  readonly report: Report;
  readonly inputs: readonly Signature[];
  readonly outputs: readonly Signature[];
  readonly dims: EntrySignature["dims"];
  /** All entries by name. `inputs`, `outputs` and `dims` are those of the model's own. */
  readonly entries: Readonly<Record<string, EntrySignature>>;
  readonly #main: string;
  #machine: Machine | null;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(machine: Machine, report: Report) {
    super();
    const { entries, training } = machine.manifest;
    this.#machine = machine;
    this.report = report;
    this.#main = training?.fit?.predict ?? Object.keys(entries)[0]!;
    this.entries = Object.fromEntries(
      Object.entries(entries).map(([name, { inputs, outputs, dims }]) => [
        name,
        { inputs: inputs.map(publicSignature), outputs: outputs.map(publicSignature), dims },
      ]),
    );
    ({ inputs: this.inputs, outputs: this.outputs, dims: this.dims } = this.entries[this.#main]!);
    for (const name of Object.keys(entries)) {
      if (name in this) continue;
      const value = async (feeds: Feeds = {}, options?: RunOptions): Promise<EntryResults> => {
        const results = await Session.prototype.run.call(this, feeds as never, { ...options, entry: name });
        return Object.fromEntries(Object.entries(results as Results).map(([output, t]) => [output, asNumber(t)]));
      };
      Object.defineProperty(this, name, { value });
    }
  }

  /**
   * Runs the model once. Calls made while another run is under way wait for it; do not change the arrays of feeds before the
   * promise settles.
   * @throws ModelError naming each input that does not fit; the signal's reason when aborted.
   */
  async run(feeds: I, options: RunOptions = {}): Promise<O> {
    return this.enqueue(async () => {
      checkOptions("run", options, {
        entry: "string",
        signal: "signal",
        maxSeconds: "seconds",
        outputs: "list",
        reuse: "boolean",
        dims: "object",
        float16: "boolean",
      });
      const name = options.entry ?? this.#main;
      const { machine, entry } = this.#begin(name, feeds as Feeds, options);
      const wanted = options.outputs ?? entry.outputs.map((o) => o.name);
      const outputs = wanted.map((output) => outputOf(entry, output));
      await this.#execute(machine, name, entry, options);
      const read = outputs.map((t) => [t.name, readTensor(machine, t, options.reuse ?? false)] as const);
      const results = Object.fromEntries(read) as O;
      return options.float16 ? (await import("./float16.js")).withFloat16(results, modelError) : results;
    });
  }

  /**
   * Runs an entry as a whole and reads scalar f32 outputs, and its guard behind them; `size` is the value of the dim named, or 1.
   * @param pause is called before state changes, and may throw
   */
  protected runScalars(
    name: string,
    feeds: Feeds,
    scalars: readonly string[],
    dim: string | null,
    pause?: (run: Paused) => Promise<void>,
  ): Promise<{ readonly values: readonly number[]; readonly size: number }> {
    return this.enqueue(async () => {
      const again = () => this.#begin(name, feeds, {});
      const { machine, entry, dims } = again();
      const places = [...scalars.map((s) => outputOf(entry, s)), entry.guard ?? []].flat();
      const values = () =>
        places.map((t) => viewOf("f32", machine.bytes.buffer, machine.address(t, 4), 1)[0] as number);
      await this.#execute(machine, name, entry, {}, () => pause?.({ machine, name, entry, values, again }));
      return { values: values(), size: dims[entry.dims.findIndex((d) => d.name === dim)] ?? 1 };
    });
  }

  /** Runs one thing after the other. */
  protected override enqueue<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(job).catch(explain);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** @throws ModelError after dispose. */
  protected override get machine(): Machine {
    if (!this.#machine) throw modelError("session", "it was disposed", "load the artefact again");
    return this.#machine;
  }

  /** Checks and binds the feeds, plans, copies the inputs in. */
  #begin(
    name: string,
    feeds: Feeds,
    { signal, dims }: RunOptions,
  ): { readonly machine: Machine; readonly entry: EntryInfo; readonly dims: readonly number[] } {
    signal?.throwIfAborted();
    const { machine } = this;
    const entry = entryOf(machine, name);
    const bound = bindFeeds(entry, feeds, dims);
    machine.plan(name, entry, bound.dims);
    entry.inputs.forEach((input, i) => {
      const data = bound.data[i]!;
      const shape = machine.shape(input.shape);
      const given = bound.shapes[i];
      if (sizeOf(shape) !== data.length || given?.some((d, axis) => d !== shape[axis]))
        throw new Complaint("inputShape", [input, shape, given ?? data.length]);
      const at = machine.address(input, data.byteLength);
      // What was written to its place (`input`) is there.
      if (data.byteOffset !== at || data.buffer !== machine.bytes.buffer) machine.bytes.set(bytesOf(data), at);
    });
    return { machine, entry, dims: bound.dims };
  }

  async #execute(
    machine: Machine,
    name: string,
    entry: EntryInfo,
    stop?: Stop,
    pause?: () => Promise<void> | undefined,
  ): Promise<void> {
    const count = entry.steps.length;
    machine.clearLimits(entry);
    await machine.run(name, 0, entry.mutatesFrom, stop);
    await pause?.();
    // State is changed as a whole or not at all.
    await machine.run(name, entry.mutatesFrom, count);
  }

  /** Times each step of `run`, or of another entry, as the least of `repeat` runs. A training step learns from each of them. */
  profile(feeds: I | Feeds, options: ProfileOptions = {}): Promise<ProfileRow[]> {
    return this.enqueue(async () => {
      checkOptions("profile", options, { repeat: "count", dims: "object", entry: "string" });
      const { repeat = 10, dims, entry: name = this.#main } = options;
      const { profileSteps } = await import("./profile.js");
      return profileSteps(name, repeat, () => this.#begin(name, feeds as Feeds, { dims }));
    });
  }

  /**
   * A view of an input's place in the session's memory: what is written there before a run is fed to it without a copy, by
   * `run({ x: view })`. Runs overwrite it, so it is to be filled anew before each; and it holds until a run of other sizes, which may move it or
   * grow the memory: a view of memory that has grown is empty, and refused.
   *
   * @param shape of a run's input, where the model leaves it open
   * @param options the entry whose input it is, and sizes that the shape does not show
   * @throws ModelError naming what there is no input, or what sizes do not fit
   */
  input(name: string, shape?: readonly number[], options: Pick<RunOptions, "entry" | "dims"> = {}): Promise<Tensor> {
    return this.enqueue(async () => {
      const { inputView } = await import("./input.js");
      return inputView(this.machine, this.#main, { name, shape, options }, { modelError, checkOptions, entryOf });
    });
  }

  /**
   * Runs an entry, on zeros unless feeds are given, until the engine has optimised the code and runs get no faster: for an application that
   * has time before its first request. What is made of weights once is made too. State is as it was.
   *
   * @returns milliseconds of the fastest run
   * @throws ModelError as `run` does; the signal's reason when aborted
   */
  warmUp(options: WarmUpOptions = {}): Promise<number> {
    return this.enqueue(async () => {
      const { warmUp } = await import("./warm-up.js");
      const begin = (name: string, feeds: Feeds, dims: RunOptions["dims"]) => this.#begin(name, feeds, { dims });
      return warmUp(this.machine, this.#main, options, { modelError, checkOptions, entryOf, begin });
    });
  }

  /** Bytes of WebAssembly memory that the session holds. */
  get memoryBytes(): number {
    return this.#machine?.memoryBytes ?? 0;
  }

  /** Ends the threads and gives the memory back. A run that is under way rejects; views handed out are not to be used. */
  dispose(): void {
    this.#machine?.dispose();
    this.#machine = null;
  }

  /** `using session = await load(…)`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `await using session = await load(…)`: runs that are under way come to their ends before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail;
    this.dispose();
  }
}

const asNumber = (t: Tensor): Tensor | number => (t.shape.length ? t : Number(t.data[0]));

function publicSignature({ name, dtype, shape }: TensorInfo): Signature {
  return { name, dtype, shape: shape.map((d) => (typeof d === "number" ? d : d.dim)) };
}

/** @throws Complaint */
function entryOf({ manifest: { entries } }: Machine, name: string): EntryInfo {
  if (Object.hasOwn(entries, name)) return entries[name]!;
  throw new Complaint("name", ["entry", name, Object.keys(entries)]);
}

/** @throws Complaint */
function outputOf({ outputs }: EntryInfo, name: string): TensorInfo {
  const found = outputs.find((o) => o.name === name);
  if (found) return found;
  throw new Complaint("name", ["output", name, outputs.map((o) => o.name)]);
}

function readTensor(machine: Machine, t: TensorInfo, reuse: boolean): Tensor {
  const shape = machine.shape(t.shape);
  const count = sizeOf(shape);
  const bytes = byteSize(t.dtype, shape);
  const at = machine.address(t, shape.some((d) => d < 0) ? Infinity : bytes);
  const view = viewOf(t.dtype, machine.bytes.buffer, at, count);
  // A copy is not shared. Made from an array its memory is not zeroed before.
  const data = reuse ? view : new (arrayTypes[t.dtype] as new (from: TensorData) => TensorData)(view);
  return { dtype: t.dtype, shape, data } as Tensor;
}

export type { Feed };
