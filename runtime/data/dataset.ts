/** Pipelines of data: what `dataset(source)` gives. */
import type { Batches, BatchRequest, EpochSource } from "../dataset.js";
import { modelError } from "../errors.js";
import type { Tensor, TensorData } from "../tensor.js";
import {
  batchStage,
  bucketStage,
  hintsOf,
  type Joining,
  joiner,
  lengthOfValue,
  paddings,
  padElement,
} from "./batching.js";
import { aPadding, type Paddings } from "./collate.js";
import {
  aBoolean,
  aCount,
  aDType,
  aFunction,
  aRecord,
  aSeed,
  aSeedOrFalse,
  aSize,
  aString,
  type Checks,
  checkArgument,
  checkOptions,
  either,
  isRecord,
  listOf,
  recordOf,
} from "./options.js";
import { type Column, rootStage, type Stream } from "./roots.js";
import { type Parts, splitStages } from "./split.js";
import type { Awaitable, Stage } from "./stage.js";
import {
  cacheStage,
  concatStage,
  type ElementContext,
  filterStage,
  mapStage,
  prefetchStage,
  repeatStage,
  shuffleStage,
  sliceStage,
  zipStage,
} from "./transforms.js";

/** What a row of a column is. */
export type Row<C> = C extends Tensor
  ? Tensor | number | bigint | boolean
  : C extends BigInt64Array | BigUint64Array
    ? bigint
    : C extends readonly (infer E)[]
      ? E
      : number;
/** What a field of a batch is: one tensor, or a list of what is no number. */
export type Batched<V> = V extends Tensor | TensorData | number | bigint | boolean | readonly number[]
  ? Tensor
  : V extends readonly (infer E)[]
    ? E extends readonly (number | boolean | bigint | readonly unknown[])[]
      ? Tensor
      : readonly V[]
    : readonly V[];
export type Batch<T> = T extends Tensor | TensorData | string | number | bigint | boolean | readonly unknown[]
  ? Batched<T>
  : Joined<T> & { readonly [made: string]: Joined<T>[keyof T] extends Tensor ? Tensor : unknown };
/** The fields, and what padding makes beside them. Where all are tensors, a batch can be fed to a session as it is. */
type Joined<T> = { readonly [K in keyof T]: Batched<T[K]> };

export interface MapOptions {
  /** Lets the function draw random numbers, which hang on this seed, the epoch and the place of the element. */
  readonly seed: number;
}
export interface ShuffleOptions {
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Elements of a stream that are held to choose among; arrays are shuffled as a whole. Default 1,024. */
  readonly buffer?: number | undefined;
  /** Another order in every epoch. Default true. */
  readonly everyEpoch?: boolean | undefined;
}
export interface BatchOptions extends Joining {
  /** Leave a smaller batch at the end out. Default false. */
  readonly dropLast?: boolean | undefined;
}
export interface BucketOptions<T> extends BatchOptions {
  /** The field whose length decides, or a function that gives the length. */
  readonly by: (keyof T & string) | ((element: T) => number);
  /** Inclusive upper bounds of lengths, rising; one more bucket takes what is longer. */
  readonly bounds: readonly number[];
  /** Elements in a batch, of all buckets or of each. */
  readonly size: number | readonly number[];
}
export interface SplitOptions<T> {
  /** Which elements come into which part; false: as they lie, the first part first. Default 0. */
  readonly seed?: number | false | undefined;
  /** The field that holds the class, or a function that gives it: each part gets its share of every class. */
  readonly stratify?: (keyof T & string) | ((element: T) => Awaitable<unknown>) | undefined;
}
export interface DatasetOptions {
  /** By field: which axis of its tensor runs over elements. Default 0. */
  readonly axis?: Readonly<Record<string, number>> | undefined;
  /** The elements are batches already, which `fit` takes as they are. Default false. */
  readonly batched?: boolean | undefined;
}

const datasetChecks: Checks<DatasetOptions> = { axis: recordOf(aSize), batched: aBoolean };
const mapChecks: Checks<MapOptions> = { seed: aSeed };
const shuffleChecks: Checks<ShuffleOptions> = { seed: aSeed, buffer: aCount, everyEpoch: aBoolean };
const joiningChecks: Checks<Joining> = { axis: recordOf(aSize), dtypes: recordOf(aDType), pad: recordOf(aPadding) };
const batchChecks: Checks<BatchOptions> = { ...joiningChecks, dropLast: aBoolean };
const bucketChecks: Checks<BucketOptions<unknown>> = {
  ...batchChecks,
  by: either(aString, aFunction),
  bounds: listOf(aSize),
  size: either(aCount, listOf(aCount)),
};
const splitChecks: Checks<SplitOptions<unknown>> = { seed: aSeedOrFalse, stratify: either(aString, aFunction) };

/**
 * A data set and what is done to its elements on their way to the model. Each method gives a new data set; nothing is computed before
 * the elements are asked for. The elements of an epoch hang on the seeds, the epoch and their place alone: `epoch(2, 100)` goes to any
 * place, which `fit` uses to go on where a checkpoint was made. Arrays can be gone to at once, streams are gone through again up to there.
 */
export class Dataset<T> implements EpochSource, AsyncIterable<T> {
  readonly #stage: Stage<T>;

  private constructor(stage: Stage<T>) {
    this.#stage = stage;
  }

  /** See `dataset`, which has the types. */
  static of(source: unknown, options: DatasetOptions = {}): Dataset<never> {
    checkOptions("dataset", options, datasetChecks);
    if (source instanceof Dataset) return source as Dataset<never>;
    const stageOf = (made: unknown): unknown => (made instanceof Dataset ? made.#stage : made);
    const root = typeof source === "function" ? async (epoch: number) => stageOf(await source(epoch)) : source;
    return new Dataset(rootStage(root, options.axis ?? {}, options.batched ?? false)) as Dataset<never>;
  }

  #with<U>(stage: Stage<U>): Dataset<U> {
    return new Dataset(stage);
  }

  /** Each element becomes what the function makes of it (a promise is awaited). With a seed it may draw random numbers. */
  map<U>(fn: (element: T, context: ElementContext) => U | Promise<U>, options?: MapOptions): Dataset<U> {
    checkArgument("map", "the function", fn, aFunction);
    if (options !== undefined) checkOptions("map", options, mapChecks);
    return this.#with(mapStage(this.#stage, fn, options?.seed));
  }

  filter(keep: (element: T) => unknown): Dataset<T> {
    checkArgument("filter", "the function", keep, aFunction);
    return this.#with(filterStage(this.#stage, keep));
  }

  /** Another order: of arrays as a whole, of streams among the elements of a buffer. */
  shuffle(options: ShuffleOptions = {}): Dataset<T> {
    checkOptions("shuffle", options, shuffleChecks);
    const { seed = 0, buffer = 1024, everyEpoch = true } = options;
    return this.#with(shuffleStage(this.#stage, { seed, buffer, everyEpoch }));
  }

  /** Tensors of `size` elements each: numbers, arrays and tensors of a field become one tensor, all else a list. */
  batch(size: number, options: BatchOptions = {}): Dataset<Batch<T>> {
    checkArgument("batch", "the size", size, aCount);
    checkOptions("batch", options, batchChecks);
    const join = joiner(options, this.#stage.dtypes);
    return this.#with(batchStage(this.#unbatched("batch"), size, options.dropLast ? size : 1, join)) as Dataset<
      Batch<T>
    >;
  }

  /** Batches of elements of like lengths, so that little is padded. */
  bucket(options: BucketOptions<T>): Dataset<Batch<T>> {
    checkOptions("bucket", options, bucketChecks);
    const { by, bounds, size, dropLast = false } = options;
    for (const name of ["by", "bounds", "size"] as const)
      if (options[name] === undefined) throw modelError("bucket", `the option ${name} is missing`);
    if (bounds.some((b, i) => i > 0 && b <= bounds[i - 1]!)) throw modelError("option bounds", "they must rise");
    const sizes = typeof size === "number" ? Array<number>(bounds.length + 1).fill(size) : size;
    if (sizes.length !== bounds.length + 1)
      throw modelError("option size", `${sizes.length} sizes for ${bounds.length + 1} buckets`, "one more than bounds");
    const lengthOf =
      typeof by === "function" ? by : (e: T) => lengthOfValue(`field "${by}"`, (e as Record<string, unknown>)[by]);
    const join = joiner(options, this.#stage.dtypes);
    const least = dropLast ? Number.POSITIVE_INFINITY : 1;
    const stage = bucketStage(this.#unbatched("bucket"), { lengthOf, bounds, sizes, least }, join);
    return this.#with(stage) as Dataset<Batch<T>>;
  }

  #unbatched(what: string): Stage<T> {
    if (!this.#stage.batched) return this.#stage;
    throw modelError(what, "the data set is in batches already");
  }

  /** Fields padded to fixed lengths, before batches are made. */
  pad(pad: Paddings): Dataset<T & { readonly [made: string]: unknown }> {
    checkArgument("pad", "the fields", pad, recordOf(aPadding));
    const how = paddings(pad);
    const open = Object.entries(how).find(([, p]) => p.length === undefined);
    if (open)
      throw modelError(
        `padding of "${open[0]}"`,
        "the option length is missing",
        "or pad in batches: batch(n, { pad })",
      );
    return this.map((e) => padElement(e, how) as T & { readonly [made: string]: unknown });
  }

  /** Parts that have no element in common: `split({ train: 0.8, test: 0.2 }, { seed: 1, stratify: "label" })`. */
  split<P extends Parts>(parts: P, options: SplitOptions<T> = {}): { readonly [K in keyof P]: Dataset<T> } {
    checkArgument("split", "the parts", parts, aRecord);
    checkOptions("split", options, splitChecks);
    const { seed = 0, stratify } = options;
    const classOf = typeof stratify === "string" ? (e: T) => fieldOf(e, stratify) : stratify;
    const stages = splitStages(this.#stage, parts, { seed, classOf });
    return Object.fromEntries([...stages].map(([name, s]) => [name, this.#with(s)])) as { [K in keyof P]: Dataset<T> };
  }

  /** The first `count` elements. */
  take(count: number): Dataset<T> {
    checkArgument("take", "the count", count, aSize);
    return this.#with(sliceStage(this.#stage, 0, count));
  }

  /** All but the first `count` elements. */
  skip(count: number): Dataset<T> {
    checkArgument("skip", "the count", count, aSize);
    return this.#with(sliceStage(this.#stage, count, Number.POSITIVE_INFINITY));
  }

  /** These elements, then those of the others. */
  concat(...others: readonly Dataset<T>[]): Dataset<T> {
    others.forEach((o) => {
      checkArgument("concat", "the other", o, aDataset);
    });
    return this.#with(concatStage([this.#stage, ...others.map((o) => o.#stage)]));
  }

  /** Elements side by side, to the end of the shorter one: the fields of both, or what the function makes of them. */
  zip<U>(other: Dataset<U>): Dataset<T & U>;
  zip<U, V>(other: Dataset<U>, combine: (a: T, b: U) => V): Dataset<V>;
  zip<U, V>(other: Dataset<U>, combine: (a: T, b: U) => V = mergeFields): Dataset<V> {
    checkArgument("zip", "the other", other, aDataset);
    checkArgument("zip", "the function", combine, aFunction);
    return this.#with(zipStage([this.#stage, other.#stage], ([a, b]) => combine(a as T, b as U)));
  }

  /** An epoch goes through this many epochs of what comes before. */
  repeat(times: number): Dataset<T> {
    checkArgument("repeat", "the number of times", times, aCount);
    return this.#with(repeatStage(this.#stage, times));
  }

  /** Has up to `count` elements made while the model is at work; put it last. Default 2. */
  prefetch(count = 2): Dataset<T> {
    checkArgument("prefetch", "the count", count, aCount);
    return this.#with(prefetchStage(this.#stage, count));
  }

  /** Keeps the elements in memory, for all epochs as they are in epoch 0. A stream is read as a whole then. */
  cache(): Dataset<T> {
    return this.#with(cacheStage(this.#stage));
  }

  /** The elements of an epoch, from a place on. */
  async *epoch(epoch: number, from = 0): AsyncGenerator<T> {
    checkArgument("epoch", "the epoch", epoch, aSize);
    checkArgument("epoch", "the place", from, aSize);
    yield* (await this.#stage.open(epoch, {})).iterate(from);
  }

  [Symbol.asyncIterator](): AsyncGenerator<T> {
    return this.epoch(0);
  }

  /** How many elements an epoch has; null where that is known at its end only. */
  async length(epoch = 0): Promise<number | null> {
    return (await this.#stage.open(epoch, {})).length;
  }

  /** The element at a place. */
  async at(index: number, epoch = 0): Promise<T> {
    checkArgument("at", "the place", index, aSize);
    const { at, length } = await this.#stage.open(epoch, {});
    if (at && length !== null && index < length) return at(index);
    for await (const element of this.epoch(epoch, index)) return element;
    throw modelError("at", `there is no element ${index}${length === null ? "" : `, but ${length} of them`}`);
  }

  /** All elements of an epoch. */
  async toArray(epoch = 0): Promise<T[]> {
    const all: T[] = [];
    for await (const element of this.epoch(epoch)) all.push(element);
    return all;
  }

  /** For `fit`: batches of an epoch, made to suit the model where this data set is not in batches yet. */
  async batches(request: BatchRequest): Promise<Batches> {
    const { epoch, from, size, sizeGiven, least } = request;
    const stage: Stage<unknown> = this.#stage;
    if (stage.batched && sizeGiven)
      throw modelError("option batchSize", "the data set is in batches already", "leave the option or .batch out");
    const whole = stage.batched ? stage : batchStage(this.#stage, size, least, joiner({}, stage.dtypes));
    const { length, iterate } = await whole.open(epoch, hintsOf(request));
    if (length === 0)
      throw modelError("dataset", stage.batched ? "it has no batch" : `its elements make no batch of ${size}`);
    return {
      count: length,
      [Symbol.asyncIterator]: () => iterate(from)[Symbol.asyncIterator]() as AsyncIterator<never>,
    };
  }
}

const aDataset = { expected: "a data set: dataset(…)", fits: (v: unknown) => v instanceof Dataset };

function fieldOf(element: unknown, name: string): unknown {
  if (isRecord(element) && Object.hasOwn(element, name)) return element[name];
  throw modelError("option stratify", `the elements have no field "${name}"`);
}

function mergeFields<V>(a: unknown, b: unknown): V {
  if (!isRecord(a) || !isRecord(b)) throw modelError("zip", "the elements are no records", "zip(other, (a, b) => …)");
  const twice = Object.keys(b).find((name) => Object.hasOwn(a, name));
  if (twice !== undefined) throw modelError("zip", `both have the field "${twice}"`, "zip(other, (a, b) => …)");
  return { ...a, ...b } as V;
}

/**
 * A data set. Of an array, its items; of a record of arrays, typed arrays or tensors, records of their rows; of an iterable or an
 * async stream, what it gives (one that can be gone through once is good for one epoch); of a function, what the value that it returns for
 * an epoch gives.
 *
 * ```ts
 * const { train, test } = dataset({ x: images, y: labels }).split({ train: 0.8, test: 0.2 }, { stratify: "y" });
 * await session.fit(train.shuffle({ seed: 1 }).batch(32), { epochs: 10, validation: test });
 * ```
 */
export function dataset<T>(source: Dataset<T>): Dataset<T>;
export function dataset<D extends Tensor>(source: D, options?: DatasetOptions): Dataset<Row<D>>;
export function dataset(source: TensorData, options?: DatasetOptions): Dataset<number>;
export function dataset<T>(
  source: Stream<T> | ((epoch: number) => Awaitable<Stream<T> | Dataset<T>>),
  options?: DatasetOptions,
): Dataset<T>;
export function dataset<R extends Readonly<Record<string, Column>>>(
  source: R,
  options?: DatasetOptions,
): Dataset<{ readonly [K in keyof R]: Row<R[K]> }>;
export function dataset(source: unknown, options?: DatasetOptions): unknown {
  return Dataset.of(source, options);
}
