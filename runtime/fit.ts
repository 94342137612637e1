/** Training on data sets, and measuring. A module of its own, which is loaded by those who call `fit` or `evaluate`. */
import {
  type Batches,
  type BatchOptions,
  batchesOf,
  type Dataset,
  type Tools as DatasetTools,
  isBatchSource,
} from "./dataset.js";
import type { Callbacks, FitOptions, FitSession, Measures } from "./events.js";
import type { Feeds } from "./feeds.js";
import { type Origin, originOf, type Paused } from "./finite.js";
import type { EntryInfo, FitInfo } from "./format.js";
import { History } from "./history.js";
import type { yieldToLoop } from "./platform.js";
import { type Position, placeOf, positionOf, statesOf, type Told } from "./position.js";
import { startProgress } from "./progress.js";
import type { Place } from "./store.js";
import type { checkOptions } from "./validate.js";

/** The session. */
export interface FitHost {
  readonly info: FitInfo;
  readonly entries: Readonly<Record<string, EntryInfo>>;
  /** Runs an entry and reads scalars of it; `size` is the batch's, or 1. */
  run(
    entry: string,
    feeds: Feeds,
    scalars: readonly string[],
    pause?: (run: Paused) => Promise<void>,
  ): Promise<{ readonly values: readonly number[]; readonly size: number }>;
  /** Sets the states of streamed metrics to zero. */
  clearMetrics(): void;
  readonly session: FitSession;
  /** null: the graph's own schedule sets it. */
  learningRate(): number | null;
  /** Where training stands: sets it where given, else tells it. */
  position(value?: (() => Place) | null): (() => Place) | null;
}

export interface Tools extends DatasetTools {
  readonly checkOptions: typeof checkOptions;
  readonly yieldToLoop: typeof yieldToLoop;
}

/** How long steps may keep the event loop waiting, in ms. */
const slice = 8;

export class Fit {
  readonly #host: FitHost;
  readonly #tools: Tools;
  readonly #scalars: readonly string[];
  /** Entries whose loss (or guard of gradients) is computed after they begin to change state. */
  readonly #late = new Set<string>();

  constructor(host: FitHost, tools: Tools) {
    this.#host = host;
    this.#tools = tools;
    this.#scalars = [host.info.loss, ...host.info.metrics];
  }

  async fit(dataset: Dataset, options: FitOptions): Promise<History> {
    this.#tools.checkOptions("fit", options, {
      epochs: "size",
      firstEpoch: "size",
      batchSize: "count",
      shuffle: "seed",
      validation: "any",
      checkFinite: "boolean",
      callbacks: "object",
      signal: "signal",
      progress: "boolean",
    });
    const host = this.#host;
    const saved = this.#saved(options);
    const { epochs = 1, signal, checkFinite = true } = options;
    const { shuffle = saved?.shuffle ?? 0, batchSize = saved?.batchSize ?? undefined } = options;
    const first = saved?.first ?? options.firstEpoch ?? 0;
    const last = first + epochs;
    const callbacks = this.#callbacks(options);
    const history = new History();
    if (last - (saved?.epoch ?? first) > 1 && isOneShot(dataset))
      throw this.#tools.modelError(
        "dataset",
        "a generator can be used for one epoch only",
        "pass a function that returns it",
      );
    const asked = (["shuffle", "batchSize"] as const).filter((o) => (options[o] ?? false) !== false);
    let going = true;
    let resumed = performance.now();
    let told: Told | null = null;
    const fixed = { first, shuffle, batchSize: batchSize ?? null };
    const stand = (epoch: number, batch: number, { values, weight }: Mean, measured: Measures | null = null) => {
      const mean = { values: [...values], weight };
      host.position(() => placeOf({ ...fixed, epoch, batch, mean, measured, told }, callbacks));
    };
    const tell = async (of: Told["of"], event: Told["event"], from = 0, whom = (_: number) => true) => {
      for (let i = from; i < callbacks.length; i++) {
        if (!whom(i)) continue;
        told = { event, of, from: i + 1, going };
        going = (await callbacks[i]![of]?.(event as never)) !== false && going;
      }
      told = null;
    };
    const begun: Callbacks[] = [];
    let error: unknown;
    try {
      const states = statesOf(saved, callbacks);
      for (const [i, c] of callbacks.entries()) {
        begun.push(c);
        await c.onBegin?.({
          session: host.session,
          state: states[i],
          epoch: saved?.epoch ?? first,
          end: last,
          resumed: saved !== null,
          measures: this.#names(options.validation !== undefined),
        });
      }
      // Callbacks whose state was saved before they had the event. Others, which write logs, may have had it since.
      if (saved?.told) {
        ({ going } = saved.told);
        await tell(saved.told.of, saved.told.event, saved.told.from, (i) => states[i] !== undefined);
      }
      const begin = saved?.epoch ?? first;
      const isOver = !going && saved?.told?.of === "onEpoch";
      // What ends the training at a batch ends it with the epoch.
      for (let epoch = begin; epoch < last && !isOver && (going || epoch === begin); epoch++) {
        const since = performance.now();
        const at = epoch === saved?.epoch ? saved : null;
        const mean = new Mean(this.#scalars.length, at && at.batch > 0 ? at.mean : undefined);
        let batch = at?.batch ?? 0;
        if (going && !at?.measured) {
          const which = { batchSize, seed: shuffle === false ? null : shuffle, epoch, from: batch, asked };
          const batches = await this.#batches(dataset, host.info.step, which);
          if (batch === 0) host.clearMetrics();
          const bar = await startProgress(options.progress, batches.count);
          try {
            for await (const feeds of batches) {
              signal?.throwIfAborted();
              const place = checkFinite ? `epoch ${epoch}, batch ${batch}` : null;
              const { values, size } = await this.#run(host.info.step, feeds, this.#scalars, place);
              mean.add(values, size);
              history.note(values[0]!);
              const event = { epoch, batch, batches: batches.count, ...this.#measures(values) };
              stand(epoch, ++batch, mean);
              await tell("onBatch", event);
              bar?.update(batch, `epoch ${epoch + 1}/${last} loss ${mean.values[0]!.toFixed(4)}`);
              if (!going) break;
              // Timers, input events and the caller's abort get their turn.
              if (performance.now() - resumed > slice) {
                await this.#tools.yieldToLoop();
                resumed = performance.now();
              }
            }
          } finally {
            bar?.stop();
          }
        }
        const measures = at?.measured ?? this.#measures(mean.values, await this.#streamed());
        // Validation begins streamed metrics anew.
        stand(epoch, batch, mean, measures);
        const place = checkFinite ? `epoch ${epoch}, validation` : null;
        const validation = options.validation
          ? await this.#measure(options.validation, { batchSize, signal }, place, [])
          : null;
        const seconds = (performance.now() - since) / 1000;
        const event = { epoch, ...measures, validation, seconds, learningRate: host.learningRate() };
        history.push(event);
        stand(epoch + 1, 0, new Mean(0));
        await tell("onEpoch", event);
      }
    } catch (cause) {
      error = cause;
      throw cause;
    } finally {
      try {
        for (const c of begun) await c.onEnd?.({ history, error });
      } finally {
        host.position(null);
      }
    }
    return history;
  }

  /** @throws ModelError where an object has a callback of another name, which would never be called */
  #callbacks({ callbacks }: FitOptions): readonly Callbacks[] {
    const list = [callbacks ?? []].flat();
    for (const [i, c] of list.entries()) {
      const isObject = typeof c === "object" && c !== null;
      const other = isObject && Object.keys(c).find((name) => /^on[A-Z]/.test(name) && !callbackNames.includes(name));
      if (!isObject || other || !callbackNames.some((name) => name in c))
        throw this.#tools.modelError(
          `callback ${i}`,
          other ? `there is no callback ${other}` : "it is no object with callbacks",
          `they are: ${callbackNames.join(", ")}`,
        );
    }
    return list;
  }

  /** What events hold. */
  #names(validated: boolean): string[] {
    const { metrics, evaluate, streamed } = this.#host.info;
    const more = streamed?.metrics ?? [];
    const all = [...new Set(["loss", ...metrics, ...more])];
    if (!validated || evaluate === null) return all;
    const held = new Set(["loss", ...this.#measured(evaluate).slice(1), ...more]);
    return [...all, ...[...held].map((name) => `validation.${name}`)];
  }

  /** Scalars of an entry that measures, the loss first. What is of gradients, `step` alone can tell; others, such an entry alone. */
  #measured(entry: string): readonly string[] {
    const { loss } = this.#host.info;
    const scalars = this.#host.entries[entry]!.outputs.filter((o) => o.dtype === "f32" && o.shape.length === 0);
    return [loss, ...scalars.flatMap(({ name }) => (name === loss ? [] : [name]))];
  }

  /** Where a restored checkpoint stood, unless the caller says where to begin. */
  #saved({ firstEpoch, shuffle, batchSize }: FitOptions): Position | null {
    const place = this.#host.position();
    if (place === null || firstEpoch !== undefined) return null;
    const saved = positionOf(place());
    for (const [name, now, then] of [
      ["shuffle", shuffle, saved.shuffle],
      ["batchSize", batchSize, saved.batchSize],
    ] as const)
      if (now !== undefined && now !== then)
        throw this.#tools.modelError(
          `option ${name}`,
          `${now}, but the run that was restored had ${then}`,
          "leave it out to go on as before, or set firstEpoch to begin anew",
        );
    return saved;
  }

  async evaluate(dataset: Dataset, options: Pick<FitOptions, "batchSize" | "signal">): Promise<Measures> {
    this.#tools.checkOptions("evaluate", options, { batchSize: "count", signal: "signal" });
    return this.#measure(dataset, options, null, options.batchSize === undefined ? [] : ["batchSize"]);
  }

  /** @param place of the error where the loss is not finite; null: it is given as it is */
  async #measure(
    dataset: Dataset,
    { batchSize, signal }: Pick<FitOptions, "batchSize" | "signal">,
    place: string | null,
    asked: BatchOptions["asked"],
  ): Promise<Measures> {
    const host = this.#host;
    const name = host.info.evaluate;
    if (name === null)
      throw this.#tools.modelError(
        "evaluate",
        "the artefact has no entry for it",
        "compile the training step with evaluation",
      );
    const scalars = this.#measured(name);
    const mean = new Mean(scalars.length);
    host.clearMetrics();
    const which = { batchSize, seed: null, epoch: 0, from: 0, asked };
    for await (const feeds of await this.#batches(dataset, name, which)) {
      signal?.throwIfAborted();
      const { values, size } = await this.#run(name, feeds, scalars, place);
      mean.add(values, size);
    }
    return this.#measures(mean.values, await this.#streamed(), scalars);
  }

  /** One batch. @throws ModelError where the loss is not finite, if there is a place to name */
  async #run(name: string, feeds: Feeds, scalars: readonly string[], place: string | null): ReturnType<FitHost["run"]> {
    if (place === null) {
      const { values, size } = await this.#host.run(name, feeds, scalars);
      return { values: values.slice(0, scalars.length), size };
    }
    const refuse = (loss: number, { message, hint }: Origin) => {
      const what = Number.isFinite(loss) ? ", but its gradients are not finite" : "";
      return this.#tools.modelError(place, `the loss is ${loss}${what}: ${message}`, hint);
    };
    const check = (values: readonly number[]) => {
      const [loss, guard = 0] = [values[0]!, values[scalars.length]];
      return { loss, wrong: Number.isFinite(loss) ? guard : loss };
    };
    const { values, size } = await this.#host.run(name, feeds, scalars, async (run) => {
      const { loss, wrong } = check(run.values());
      if (Number.isFinite(wrong) || this.#late.has(name)) return;
      const origin = await originOf(run, wrong);
      if (origin) throw refuse(loss, origin);
      this.#late.add(name);
    });
    const { loss, wrong } = check(values);
    if (Number.isFinite(wrong)) return { values: values.slice(0, scalars.length), size };
    throw refuse(loss, {
      message: "which was known when state had changed already",
      hint: "restore a checkpoint, and lower the learning rate or look at the data",
    });
  }

  /** Metrics of all that was seen since they were cleared. */
  async #streamed(): Promise<Readonly<Record<string, number>>> {
    const { streamed } = this.#host.info;
    if (!streamed) return {};
    const { values } = await this.#host.run(streamed.entry, {}, streamed.metrics);
    return Object.fromEntries(streamed.metrics.map((name, i) => [name, values[i]!]));
  }

  #measures(
    values: readonly number[],
    streamed: Readonly<Record<string, number>> = {},
    scalars: readonly string[] = this.#scalars,
  ): Measures {
    const means = Object.fromEntries(scalars.slice(1).map((name, i) => [name, values[i + 1]!]));
    return { loss: values[0]!, metrics: { ...means, ...streamed } };
  }

  #batches(dataset: Dataset, entry: string, options: BatchOptions): Promise<Batches> {
    const { info, entries } = this.#host;
    return batchesOf(this.#tools, dataset, entries[entry]!, info.batch, options);
  }
}

const callbackNames = ["onBegin", "onBatch", "onEpoch", "onEnd"];

const isOneShot = (dataset: Dataset): boolean =>
  typeof dataset === "object" && dataset && "next" in dataset && isBatchSource(dataset);

/** A running mean of several values. */
class Mean {
  readonly values: number[];
  weight: number;

  constructor(count: number, from?: Position["mean"]) {
    this.values = from ? [...from.values] : new Array<number>(count).fill(0);
    this.weight = from?.weight ?? 0;
  }

  add(values: readonly number[], weight: number): void {
    this.weight += weight;
    values.forEach((v, i) => {
      this.values[i]! += ((v - this.values[i]!) * weight) / this.weight;
    });
  }
}
