/** Cuts data sets into batches. A module of its own, which is loaded by those who train or evaluate. */
import type { Complaint } from "./complaint.js";
import { dtypeOfArray, elementsOf, isNumeric, numbersOf } from "./convert.js";
import { describe, type modelError } from "./errors.js";
import type { Feed, Feeds, readFeed } from "./feeds.js";
import { arrayTypes, type DType, type EntryInfo, type TensorInfo } from "./format.js";
import { epochSeed, permutation } from "./order.js";
import { holds, signature, sizeOf, type Tensor, type TensorData } from "./tensor.js";

/**
 * All samples in arrays, by input name, where inputs of one number a sample (labels) take any dtype whose numbers theirs holds; batches made by the caller: an iterable, or for more than one epoch a function that
 * returns one; or a data set that makes the batches of any epoch from any place on (`dataset` of wasmith/data).
 *
 * Arrays are cut along the axis whose size the model's signature calls as the batch (axis 0 where the batch has a fixed size). An
 * input without such an axis is the same in every batch.
 */
export type Dataset = Feeds | BatchSource | EpochSource | ((epoch: number) => BatchSource | Promise<BatchSource>);
export type BatchSource = Iterable<Feeds> | AsyncIterable<Feeds>;

/** A data set whose batches hang on the epoch and their place in it alone. */
export interface EpochSource {
  batches(request: BatchRequest): Promise<Batches>;
}

/** What is asked of an EpochSource. */
export interface BatchRequest {
  readonly epoch: number;
  /** Batch to begin with, from 0. */
  readonly from: number;
  /** Samples of a batch, for data sets that are not in batches yet; the caller's own wish, or what suits the model. */
  readonly size: number;
  /** Whether the caller asked for this size. */
  readonly sizeGiven: boolean;
  /** Samples of the smallest batch that the model takes. */
  readonly least: number;
  /** Inputs, and which axis runs over samples; null: none. */
  readonly inputs: readonly { readonly name: string; readonly dtype: DType; readonly axis: number | null }[];
}

/** What the runtime has already: its errors are told apart by class, so there is one of each. */
export interface Tools {
  readonly modelError: typeof modelError;
  readonly readFeed: typeof readFeed;
  readonly Complaint: typeof Complaint;
}

export interface Batches {
  /** Number of batches of the epoch, if known, those before the first one of the iteration too. */
  readonly count: number | null;
  [Symbol.asyncIterator](): AsyncIterator<Feeds>;
}

/** Which batches, and of which size. */
export interface BatchOptions {
  /** Samples in a batch; what remains makes a smaller one, or is left out where the model's batch is fixed. */
  readonly batchSize: number | undefined;
  /** Of the order of samples of all epochs; null: as they lie. */
  readonly seed: number | null;
  readonly epoch: number;
  /** Batch to begin with, from 0. */
  readonly from: number;
  /** The options that the caller gave for this data set: where they can't be followed is an error. */
  readonly asked: readonly ("batchSize" | "shuffle")[];
}

export async function batchesOf(
  tools: Tools,
  dataset: Dataset,
  entry: EntryInfo,
  batchDim: string | null,
  options: BatchOptions,
): Promise<Batches> {
  const { epoch, from, asked } = options;
  const source = typeof dataset === "function" ? await dataset(epoch) : dataset;
  if (typeof source !== "object" || source === null || typeof (source as { then?: unknown }).then === "function") {
    const hint = "pass arrays by input name, an iterable of batches, or a function that returns one";
    throw tools.modelError("dataset", `expected arrays or batches, got ${describe(source)}`, hint);
  }
  if (isEpochSource(source)) {
    if (asked.includes("shuffle"))
      throw tools.modelError(
        "option shuffle",
        "it is for arrays; this data set comes in its own order",
        "dataset.shuffle({ seed })",
      );
    return source.batches({ epoch, from, ...request(tools, entry, batchDim, options) });
  }
  if (isBatchSource(source)) {
    if (asked.length)
      throw tools.modelError(
        `option ${asked[0]}`,
        "it is for arrays; these batches come as they are made",
        "make them so, or pass arrays or a data set of wasmith/data",
      );
    return { count: null, [Symbol.asyncIterator]: () => iterate(source, from) };
  }
  return arrayBatches(tools, source, entry, batchDim, options);
}

const isEpochSource = (source: object): source is EpochSource =>
  typeof (source as Partial<EpochSource>).batches === "function";
export const isBatchSource = (source: object): source is BatchSource =>
  Symbol.iterator in source || Symbol.asyncIterator in source;

async function* iterate(source: BatchSource, from: number): AsyncGenerator<Feeds> {
  let skipped = 0;
  for await (const batch of source) if (skipped++ >= from) yield batch;
}

/** Where the batch stands in an input's shape; null: nowhere. */
function batchAxis({ modelError }: Tools, { name, shape }: TensorInfo, batchDim: string | null): number | null {
  const where = `input "${name}"`;
  const hint = "pass an iterable of batches";
  if (batchDim === null) {
    if (shape.length === 0) throw modelError(where, "a scalar can't be cut into batches", hint);
    return 0;
  }
  const axis = shape.findIndex((d) => typeof d !== "number" && d.dim === batchDim);
  if (axis >= 0) return axis;
  const derived = shape.find((d) => typeof d !== "number" && d.dim.split(/[^\w.]+/).includes(batchDim));
  if (derived === undefined) return null;
  throw modelError(where, `its size ${(derived as { dim: string }).dim} can't be cut into batches`, hint);
}

function request(
  tools: Tools,
  entry: EntryInfo,
  batchDim: string | null,
  { batchSize, asked }: BatchOptions,
): Omit<BatchRequest, "epoch" | "from"> {
  const inputs = entry.inputs.map((i) => ({ name: i.name, dtype: i.dtype, axis: batchAxis(tools, i, batchDim) }));
  const fixed = entry.inputs.map((i) => i.shape[0]).find((d) => typeof d === "number");
  const range = entry.dims.find((d) => d.name === batchDim);
  const size = batchSize ?? (batchDim === null && typeof fixed === "number" ? fixed : Math.min(32, range?.max ?? 32));
  if (!Number.isInteger(size) || size < 1)
    throw tools.modelError("option batchSize", `expected a positive integer, got ${size}`);
  const least = batchDim === null ? size : Math.max(1, range?.min ?? 1);
  return { size, sizeGiven: asked.includes("batchSize"), least, inputs };
}

interface Column {
  readonly input: TensorInfo;
  readonly data: TensorData;
  /** Which axis runs over samples, the elements of one sample behind it, and the shape of all. */
  readonly axis: number;
  readonly row: number;
  readonly shape: readonly number[];
}

const withSize = (shape: readonly number[], axis: number, size: number): readonly number[] =>
  shape.map((d, i) => (i === axis ? size : d));
const samplesOf = (c: Column): number => c.shape[c.axis]!;

function arrayBatches(
  tools: Tools,
  feeds: Feeds,
  entry: EntryInfo,
  batchDim: string | null,
  options: BatchOptions,
): Batches {
  const { modelError } = tools;
  const { size, least, inputs } = request(tools, entry, batchDim, options);
  const same: [string, Feed][] = [];
  const columns: Column[] = [];
  entry.inputs.forEach((input, i) => {
    const feed = Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined;
    const { axis } = inputs[i]!;
    if (axis !== null) columns.push(columnOf(tools, input, axis, feed));
    else if (readChecked(tools, input, feed)) same.push([input.name, feed!]);
  });
  const [first] = columns;
  const samples = first ? samplesOf(first) : 0;
  for (const c of columns) {
    if (samplesOf(c) === samples) continue;
    throw modelError(`input "${c.input.name}"`, `${samplesOf(c)} samples, but "${first!.input.name}" has ${samples}`);
  }
  const names = entry.inputs.map((i) => i.name);
  const unknown = Object.keys(feeds).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw modelError(`input "${unknown}"`, "the model has no such input", `its inputs are: ${names.join(", ")}`);
  // The rest of an epoch makes a smaller batch where the model takes one.
  const rest = samples % size;
  const count = Math.floor(samples / size) + (rest >= least && rest > 0 ? 1 : 0);
  if (count === 0) throw modelError("dataset", `${samples} samples make no batch of ${size}`);
  const order = options.seed === null ? null : permutation(samples, epochSeed(options.seed, options.epoch));
  return {
    count,
    async *[Symbol.asyncIterator]() {
      // One buffer an input; a batch is used up before the next is made.
      const buffers = columns.map((c) => new arrayTypes[c.input.dtype]((c.data.length / (samples || 1)) * size));
      for (let b = options.from, at = b * size; b < count; b++, at += size) {
        const n = Math.min(size, samples - at);
        const batch: [string, Tensor][] = columns.map((c, i) => {
          const data = gather(c, buffers[i]!, order, at, n);
          return [c.input.name, { dtype: c.input.dtype, shape: withSize(c.shape, c.axis, n), data } as Tensor];
        });
        yield Object.fromEntries([...batch, ...same]);
      }
    },
  };
}

function gather(
  { data, row, axis, shape }: Column,
  buffer: TensorData,
  order: Uint32Array | null,
  at: number,
  n: number,
): TensorData {
  const samples = shape[axis]!;
  const outer = sizeOf(shape.slice(0, axis));
  if (!order && outer === 1) return data.subarray(at * row, (at + n) * row);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < n; i++) {
      const from = (o * samples + (order ? order[at + i]! : at + i)) * row;
      // Both are of the input's own array type.
      (buffer as Float32Array).set(data.subarray(from, from + row) as Float32Array, (o * n + i) * row);
    }
  }
  return buffer.subarray(0, outer * n * row);
}

/** @throws Complaint where the feed is not what the input takes */
function readChecked(
  { readFeed, Complaint }: Tools,
  input: TensorInfo,
  feed: Feed | undefined,
): ReturnType<typeof readFeed> {
  const given = readFeed(input, feed);
  const where = `input "${input.name}"`;
  if (given.problem)
    throw new Complaint("feeds", [[{ where, ...given.problem }], { inputs: [input] }, { [input.name]: feed }]);
  return given;
}

function columnOf(tools: Tools, input: TensorInfo, axis: number, feed: Feed | undefined): Column {
  const where = `input "${input.name}"`;
  const all = { ...input, shape: input.shape.map((d, i) => (i === axis ? { dim: "samples", slot: 0 } : d)) };
  const { array: data, shape: given } = readChecked(tools, all, asNumbers(tools, input, feed));
  const sample = input.shape.map((d, i) => {
    if (i === axis) return 1;
    if (given) return given[i]!;
    if (typeof d === "number") return d;
    throw tools.modelError(
      where,
      "the shape of a sample is not known",
      "pass { dtype, shape, data } instead of the data alone",
    );
  });
  const samples = given ? given[axis]! : data.length / sizeOf(sample);
  if (!Number.isInteger(samples))
    throw tools.modelError(where, `expected ${signature(all)}, got ${data.length} elements`);
  return { input, data, axis, row: sizeOf(sample.slice(axis)), shape: withSize(sample, axis, samples) };
}

/** Numbers, one a sample, in the dtype of the input; all else as it is. @throws ModelError where the dtype does not hold one of them */
function asNumbers(
  { modelError }: Tools,
  { name, dtype, shape: of }: TensorInfo,
  feed: Feed | undefined,
): Feed | undefined {
  if (of.length !== 1 || typeof feed !== "object" || feed === null) return feed;
  const [from, data, shape] = ArrayBuffer.isView(feed)
    ? [dtypeOfArray(feed), feed]
    : [feed.dtype, feed.data, feed.shape];
  if (from === undefined || from === dtype || (shape === undefined && holds(dtype, data))) return feed;
  if (!isNumeric(from) || !isNumeric(dtype) || !holds(from, data)) return feed;
  const numbers = numbersOf(from, data);
  const elements = elementsOf(dtype, numbers);
  if (typeof elements !== "number") return shape ? ({ dtype, shape, data: elements } as Tensor) : elements;
  throw modelError(`input "${name}"`, `${numbers[elements]} at index ${elements} is no ${dtype}`);
}
