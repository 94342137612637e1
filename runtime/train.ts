/** A loaded training step: learns, measures, saves and restores. */
import { decodeState, encodeState, stateBytes, writeAtomically } from "./checkpoint.js";
import { Complaint, explain } from "./complaint.js";
import type { Batches, BatchOptions, Dataset } from "./dataset.js";
import { describe, modelError } from "./errors.js";
import { type Feeds, readFeed } from "./feeds.js";
import { arrayTypes, type StateInfo, type StateRole, type TrainingInfo } from "./format.js";
import type { Machine } from "./machine.js";
import { yieldToLoop } from "./platform.js";
import { startProgress } from "./progress.js";
import { type BinarySource, read } from "./read.js";
import { readSafetensors } from "./safetensors.js";
import { type Report, type Results, type RunOptions, Session } from "./session.js";
import { bytesOf, holds, type Tensor, type TensorData, viewOf } from "./tensor.js";
import { checkOptions } from "./validate.js";

/** Means over a batch or over a data set. */
export interface Measures {
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface BatchEvent extends Measures {
  readonly epoch: number;
  /** Batch of this epoch, from 0; and how many it has, if known. */
  readonly batch: number;
  readonly batches: number | null;
}
export interface EpochEvent extends Measures {
  readonly epoch: number;
  readonly seconds: number;
  readonly validation: Measures | null;
}

/** Awaited before training goes on. Returning (or resolving to) false ends it after this batch or epoch. */
export interface Callbacks {
  onBatch?(event: BatchEvent): unknown;
  onEpoch?(event: EpochEvent): unknown;
}

export interface FitOptions {
  readonly epochs?: number | undefined;
  /** Number of the first epoch; set it when resuming, so that samples are shuffled as they would have been. Default 0. */
  readonly firstEpoch?: number | undefined;
  /**
   * For data sets of arrays. Default: the model's own size, or 32. What remains at the end makes a smaller batch, or is left
   * out where the model was compiled for a fixed size.
   */
  readonly batchSize?: number | undefined;
  /** Seed of the order of samples (data sets of arrays), or false: as they lie. Default 0. */
  readonly shuffle?: number | false | undefined;
  readonly validation?: Dataset | undefined;
  readonly callbacks?: Callbacks | readonly Callbacks[] | undefined;
  /** Ends the training between two steps, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** A bar in Node's terminal. Default: where standard error is one. Use callbacks elsewhere. */
  readonly progress?: boolean | undefined;
}

const checkpointFormat = "1";

export class TrainingSession<I = Feeds, O = Results, B = Feeds> extends Session<I, O> {
  readonly #training: TrainingInfo;
  readonly #scalars: readonly string[];

  constructor(machine: Machine, report: Report) {
    super(machine, report);
    const { training } = machine.manifest;
    if (!training) throw modelError("artefact", "it was not compiled from a training step");
    this.#training = training;
    this.#scalars = [training.loss, ...training.metrics];
  }

  /** Trains on one batch: one call into wasm. @returns means over the batch, computed before the update. */
  async step(batch: B): Promise<Measures> {
    return this.#measures((await this.#runBatch(this.#training.step, batch as Feeds)).values);
  }

  /** Trains on a data set. @returns one event an epoch. */
  fit(dataset: Dataset, options: FitOptions = {}): Promise<EpochEvent[]> {
    return this.#fit(dataset, options).catch(explain);
  }

  async #fit(dataset: Dataset, options: FitOptions): Promise<EpochEvent[]> {
    checkOptions("fit", options, {
      epochs: "size",
      firstEpoch: "size",
      batchSize: "count",
      shuffle: "seed",
      validation: "any",
      callbacks: "object",
      signal: "signal",
      progress: "boolean",
    });
    const { epochs = 1, firstEpoch = 0, shuffle = 0, signal } = options;
    const callbacks = [options.callbacks ?? []].flat();
    const history: EpochEvent[] = [];
    const last = firstEpoch + epochs;
    if (epochs > 1 && isOneShot(dataset))
      throw modelError("dataset", "a generator can be used for one epoch only", "pass a function that returns it");
    let going = true;
    let resumed = performance.now();
    for (let epoch = firstEpoch; epoch < last && going; epoch++) {
      const begin = performance.now();
      const seed = shuffle === false ? null : shuffle;
      const { batchSize } = options;
      const batches = await this.#batches(dataset, this.#training.step, { batchSize, seed, epoch, from: 0 });
      const bar = await startProgress(options.progress, batches.count);
      const mean = new Mean(this.#scalars.length);
      let batch = 0;
      try {
        for await (const feeds of batches) {
          signal?.throwIfAborted();
          const { values, size } = await this.#runBatch(this.#training.step, feeds);
          mean.add(values, size);
          const measures = this.#measures(values);
          for (const c of callbacks)
            going = (await c.onBatch?.({ epoch, batch, batches: batches.count, ...measures })) !== false && going;
          batch++;
          bar?.update(batch, `epoch ${epoch + 1}/${last} loss ${mean.values[0]!.toFixed(4)}`);
          if (!going) break;
          // Timers, input events and the caller's abort get their turn.
          if (performance.now() - resumed > 8) {
            await yieldToLoop();
            resumed = performance.now();
          }
        }
      } finally {
        bar?.stop();
      }
      const validation = options.validation
        ? await this.#evaluate(options.validation, { batchSize: options.batchSize, signal })
        : null;
      const event = { epoch, ...this.#measures(mean.values), validation, seconds: (performance.now() - begin) / 1000 };
      history.push(event);
      for (const c of callbacks) going = (await c.onEpoch?.(event)) !== false && going;
    }
    return history;
  }

  /** Measures loss and metrics on a data set without learning. @returns means weighted by the sizes of the batches. */
  evaluate(dataset: Dataset, options: Pick<FitOptions, "batchSize" | "signal"> = {}): Promise<Measures> {
    return this.#evaluate(dataset, options).catch(explain);
  }

  async #evaluate(dataset: Dataset, options: Pick<FitOptions, "batchSize" | "signal">): Promise<Measures> {
    checkOptions("evaluate", options, { batchSize: "count", signal: "signal" });
    const { batchSize, signal } = options;
    const all = { batchSize, seed: null, epoch: 0, from: 0 };
    const name = this.#training.evaluate;
    if (name === null)
      throw modelError("evaluate", "the artefact has no entry for it", "compile the training step with evaluation");
    const mean = new Mean(this.#scalars.length);
    for await (const feeds of await this.#batches(dataset, name, all)) {
      signal?.throwIfAborted();
      const { values, size } = await this.#runBatch(name, feeds);
      mean.add(values, size);
    }
    return this.#measures(mean.values);
  }

  /** The model's outputs with the parameters as they are now. */
  predict(feeds: I, options?: RunOptions): Promise<O> {
    return this.run(feeds, options);
  }

  override async run(feeds: I, options?: RunOptions): Promise<O> {
    if (this.#training.predict !== null) return super.run(feeds, options);
    throw modelError("predict", "the artefact has no entry for it", "compile the training step with prediction");
  }

  /**
   * All state (parameters, buffers, optimiser, step counter, random generator) as a safetensors file, from which training
   * continues bit for bit. With a path (Node) it is written there atomically.
   */
  async save(path?: string | URL): Promise<Uint8Array<ArrayBuffer>> {
    return this.#store(() => true, { wasmith_checkpoint: checkpointFormat }, path);
  }

  /** The parameters and buffers by their names, as PyTorch's `state_dict` has them. */
  async exportSafetensors(path?: string | URL): Promise<Uint8Array<ArrayBuffer>> {
    return this.#store(isWeight, { format: "pt" }, path);
  }

  /**
   * The model that predicts as an ONNX file, with the weights as they are now under their names.
   * @throws ModelError with what ONNX can't express
   */
  async exportOnnx(path?: string | URL): Promise<Uint8Array<ArrayBuffer>> {
    const { onnxFile } = await import("./onnx.js");
    return this.#write(() => onnxFile(this.machine, modelError), path);
  }

  /** Continues from what `save` wrote. @throws ModelError listing all that does not fit; then nothing was changed. */
  async restore(source: BinarySource): Promise<void> {
    const { bytes } = await read(await source);
    const file = readSafetensors(bytes, "checkpoint");
    const version = file.metadata.wasmith_checkpoint;
    if (version !== checkpointFormat) {
      const what =
        version === undefined
          ? "not a checkpoint (a file of weights alone?)"
          : `of format ${describe(version)}, this runtime reads ${checkpointFormat}`;
      throw modelError(
        "checkpoint",
        what,
        version === undefined ? "use loadSafetensors" : "use the runtime that wrote it",
      );
    }
    await this.enqueue(() => decodeState(this.machine.bytes, this.machine.manifest.state, file, "checkpoint", false));
  }

  /** Takes parameters and buffers from a safetensors file (of PyTorch, or of exportSafetensors); the optimiser stays as it is. */
  async loadSafetensors(source: BinarySource): Promise<void> {
    const { bytes } = await read(await source);
    const file = readSafetensors(bytes);
    await this.enqueue(() =>
      decodeState(this.machine.bytes, this.machine.manifest.state.filter(isWeight), file, "safetensors file", true),
    );
  }

  /** Names, types and roles of all state. */
  get state(): readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly role: StateRole;
  }[] {
    return this.machine.manifest.state.map(({ name, dtype, shape, role }) => ({ name, dtype, shape, role }));
  }

  /** A copy of one tensor of state. */
  getState(name: string): Tensor {
    const s = this.#find(name);
    const buffer = this.machine.bytes.slice(s.offset, s.offset + stateBytes(s)).buffer as ArrayBuffer;
    return { dtype: s.dtype, shape: s.shape, data: new arrayTypes[s.dtype](buffer) } as Tensor;
  }

  /** Overwrites one tensor of state. Takes effect with the next step. */
  setState(name: string, value: Tensor | TensorData): void {
    const s = this.#find(name);
    const { dtype, shape, data } = ArrayBuffer.isView(value) ? { dtype: s.dtype, shape: s.shape, data: value } : value;
    const fits =
      dtype === s.dtype &&
      holds(s.dtype, data) &&
      data.byteLength === stateBytes(s) &&
      String(shape) === String(s.shape);
    if (!fits)
      throw modelError(
        `state "${name}"`,
        `expected ${s.dtype}[${s.shape.join(", ")}], got ${dtype}[${shape}] in ${describe(data)}`,
      );
    this.machine.bytes.set(bytesOf(data), s.offset);
  }

  get learningRate(): number {
    return this.#learningRate()[0]!;
  }
  set learningRate(value: number) {
    this.#learningRate()[0] = value;
  }

  #learningRate(): Float32Array {
    const { learningRate } = this.#training;
    if (learningRate === null) throw modelError("learningRate", "the graph's own schedule sets it");
    return viewOf("f32", this.machine.bytes.buffer, this.#find(learningRate).offset, 1) as Float32Array;
  }

  #find(name: string): StateInfo {
    const found = this.machine.manifest.state.find((s) => s.name === name);
    if (found) return found;
    throw modelError(
      `state "${name}"`,
      "the model has no such state",
      `there are: ${this.state.map((s) => s.name).join(", ")}`,
    );
  }

  #store(
    which: (s: StateInfo) => boolean,
    metadata: Record<string, string>,
    path: string | URL | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return this.#write(
      () => encodeState(this.machine.bytes, this.machine.manifest.state.filter(which), metadata),
      path,
    );
  }

  async #write(make: () => Uint8Array<ArrayBuffer>, path: string | URL | undefined): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.enqueue(make);
    if (path !== undefined) await writeAtomically(path, bytes);
    return bytes;
  }

  #measures([loss, ...rest]: readonly number[]): Measures {
    return { loss: loss!, metrics: Object.fromEntries(this.#training.metrics.map((name, i) => [name, rest[i]!])) };
  }

  async #batches(dataset: Dataset, entry: string, options: BatchOptions): Promise<Batches> {
    const { batchesOf } = await import("./dataset.js");
    const { machine } = this;
    const tools = { modelError, readFeed, Complaint };
    return batchesOf(tools, dataset, machine.manifest.entries[entry]!, this.#training.batch, options);
  }

  #runBatch(entry: string, feeds: Feeds): Promise<{ readonly values: readonly number[]; readonly size: number }> {
    return this.runScalars(entry, feeds, this.#scalars, this.#training.batch);
  }
}

const isWeight = (s: StateInfo): boolean => s.role === "param" || s.role === "buffer";
const isOneShot = (dataset: Dataset): boolean =>
  typeof dataset === "object" &&
  dataset &&
  "next" in dataset &&
  (Symbol.iterator in dataset || Symbol.asyncIterator in dataset);

/** A running mean of several values. */
class Mean {
  readonly values: number[];
  #weight = 0;

  constructor(count: number) {
    this.values = new Array<number>(count).fill(0);
  }

  add(values: readonly number[], weight: number): void {
    this.#weight += weight;
    values.forEach((v, i) => {
      this.values[i]! += ((v - this.values[i]!) * weight) / this.#weight;
    });
  }
}
