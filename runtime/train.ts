/** A loaded training step: learns, measures, predicts. */
import { Complaint, explain } from "./complaint.js";
import type { Dataset } from "./dataset.js";
import { describe, modelError } from "./errors.js";
import type { FitOptions, Measures } from "./events.js";
import { type Feeds, readFeed } from "./feeds.js";
import type { Fit, FitHost } from "./fit.js";
import type { FitInfo } from "./format.js";
import type { History } from "./history.js";
import type { Machine } from "./machine.js";
import { yieldToLoop } from "./platform.js";
import { type Report, type Results, type RunOptions, Session } from "./session.js";
import { viewOf } from "./tensor.js";
import { checkOptions } from "./validate.js";

const tools = { modelError, readFeed, Complaint, checkOptions, yieldToLoop };

export class TrainingSession<I = Feeds, O = Results, B = Feeds> extends Session<I, O> {
  readonly #fit: FitInfo;
  readonly #scalars: readonly string[];
  readonly #learningRateName: string | null;
  #trainer: Promise<Fit> | undefined;

  constructor(machine: Machine, report: Report) {
    super(machine, report);
    const fit = machine.manifest.training?.fit;
    if (!fit) throw modelError("artefact", "it was not compiled from a training step");
    this.#fit = fit;
    this.#scalars = [fit.loss, ...fit.metrics];
    this.#learningRateName =
      machine.manifest.training!.objectives.find((o) => o.entry === fit.step)?.learningRate ?? null;
  }

  /** Trains on one batch: one call into wasm. @returns means over the batch, computed before the update; further outputs by name */
  async step(batch: B): Promise<Measures & { readonly [output: string]: unknown }> {
    const { step, metrics, batch: dim } = this.#fit;
    const names = this.machine.manifest.entries[step]!.outputs.map((o) => o.name);
    // One way for scalars alone, which makes no tensors.
    const more = names.some((name) => !this.#scalars.includes(name))
      ? Object.entries((await super.run(batch as never, { entry: step })) as Results)
      : null;
    const values = more
      ? this.#scalars.map((name) => more.find(([n]) => n === name)![1].data[0] as number)
      : (await this.runScalars(step, batch as Feeds, this.#scalars, dim)).values;
    return {
      ...Object.fromEntries(more?.filter(([name]) => !this.#scalars.includes(name)) ?? []),
      loss: values[0]!,
      metrics: Object.fromEntries(metrics.map((name, i) => [name, values[i + 1]!])),
    };
  }

  /**
   * Trains on a data set. After `restore` of a checkpoint that was saved from a callback of `fit` it goes on where that one stood,
   * in the same order of samples. @returns one event an epoch, which draw themselves (`toSVG`, `toHTML`).
   */
  fit(dataset: Dataset, options: FitOptions = {}): Promise<History> {
    return this.#training()
      .then((t) => t.fit(dataset, options))
      .catch(explain);
  }

  /** Measures loss and metrics on a data set without learning. @returns means weighted by the sizes of the batches. */
  evaluate(dataset: Dataset, options: Pick<FitOptions, "batchSize" | "signal"> = {}): Promise<Measures> {
    return this.#training()
      .then((t) => t.evaluate(dataset, options))
      .catch(explain);
  }

  /** The model's outputs with the parameters as they are now. */
  predict(feeds: I, options?: RunOptions): Promise<O> {
    return this.run(feeds, options);
  }

  override async run(feeds: I, options?: RunOptions): Promise<O> {
    if (this.#fit.predict !== null || options?.entry !== undefined) return super.run(feeds, options);
    return explain(new Complaint("noPrediction", []));
  }

  get learningRate(): number {
    return this.#learningRate()[0]!;
  }
  set learningRate(value: number) {
    if (typeof value !== "number" || Number.isNaN(value))
      throw modelError("learningRate", `expected a number, got ${describe(value)}`);
    this.#learningRate()[0] = value;
  }

  #learningRate(): Float32Array {
    if (this.#learningRateName === null) throw modelError("learningRate", "the graph's own schedule sets it");
    const bytes = this.bytesOf(this.#learningRateName);
    return viewOf("f32", bytes.buffer, bytes.byteOffset, 1) as Float32Array;
  }

  /** What trains and measures: of a module of its own, which those who only predict do not load. */
  #training(): Promise<Fit> {
    this.#trainer ??= import("./fit.js").then(({ Fit }) => new Fit(this.#host(), tools));
    return this.#trainer;
  }

  #host(): FitHost {
    const { entries, state } = this.machine.manifest;
    return {
      info: this.#fit,
      entries,
      session: this,
      learningRate: () => (this.#learningRateName === null ? null : this.learningRate),
      run: (entry, feeds, scalars, pause) => this.runScalars(entry, feeds, scalars, this.#fit.batch, pause),
      clearMetrics: () => {
        for (const { name, role } of state) if (role === "metric") this.bytesOf(name).fill(0);
      },
      position: (value) => {
        if (value !== undefined) this.position = value;
        return this.position;
      },
    };
  }
}
