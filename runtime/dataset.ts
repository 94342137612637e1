/** Cuts data sets into batches. A module of its own, which is loaded by those who train or evaluate. */
import type { Complaint } from "./complaint.js";
import { describe, type modelError } from "./errors.js";
import { type Feed, type Feeds, type readFeed, signature } from "./feeds.js";
import { arrayTypes, type EntryInfo, type TensorInfo } from "./format.js";
import { sizeOf, type Tensor, type TensorData } from "./tensor.js";

/**
 * All samples in arrays, by input name (axis 0 runs over samples), or batches made by the caller: an iterable, or for more
 * than one epoch a function that returns one.
 */
export type Dataset = Feeds | BatchSource | (() => BatchSource);
export type BatchSource = Iterable<Feeds> | AsyncIterable<Feeds>;

/** What the runtime has already: its errors are told apart by class, so there is one of each. */
export interface Tools {
  readonly modelError: typeof modelError;
  readonly readFeed: typeof readFeed;
  readonly Complaint: typeof Complaint;
}

export interface Batches {
  /** Number of batches, if known. */
  readonly count: number | null;
  [Symbol.asyncIterator](): AsyncIterator<Feeds>;
}

/** Fisher-Yates with the generator mulberry32: the same order for the same seed everywhere. */
export function permutation(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/**
 * @param batchSize samples in a batch; what remains makes a smaller one, or is left out where the model's batch is fixed.
 * @param seed order of the samples; null: as they lie.
 */
export function batchesOf(
  tools: Tools,
  dataset: Dataset,
  entry: EntryInfo,
  batchDim: string | null,
  batchSize: number | undefined,
  seed: number | null,
): Batches {
  const source = typeof dataset === "function" ? dataset() : dataset;
  if (typeof source !== "object" || source === null || typeof (source as { then?: unknown }).then === "function") {
    const hint = "pass arrays by input name, an iterable of batches, or a function that returns one";
    throw tools.modelError("dataset", `expected arrays or batches, got ${describe(source)}`, hint);
  }
  if (isBatchSource(source)) return { count: null, [Symbol.asyncIterator]: () => iterate(source) };
  return arrayBatches(tools, source, entry, batchDim, batchSize, seed);
}

const isBatchSource = (source: object): source is BatchSource =>
  Symbol.iterator in source || Symbol.asyncIterator in source;

async function* iterate(source: BatchSource): AsyncGenerator<Feeds> {
  yield* source;
}

interface Column {
  readonly input: TensorInfo;
  readonly data: TensorData;
  /** Elements of one sample, and its shape. */
  readonly row: number;
  readonly shape: readonly number[];
  readonly samples: number;
}

function arrayBatches(
  tools: Tools,
  feeds: Feeds,
  entry: EntryInfo,
  batchDim: string | null,
  batchSize: number | undefined,
  seed: number | null,
): Batches {
  const { modelError } = tools;
  const columns = entry.inputs.map((input) =>
    columnOf(tools, input, Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined),
  );
  const samples = columns[0]?.samples ?? 0;
  for (const c of columns) {
    if (c.samples === samples) continue;
    throw modelError(`input "${c.input.name}"`, `${c.samples} samples, but "${columns[0]!.input.name}" has ${samples}`);
  }
  const unknown = Object.keys(feeds).find((name) => !columns.some((c) => c.input.name === name));
  if (unknown !== undefined) {
    throw modelError(
      `input "${unknown}"`,
      "the model has no such input",
      `its inputs are: ${columns.map((c) => c.input.name).join(", ")}`,
    );
  }
  const fixed = entry.inputs.map((i) => i.shape[0]).find((d) => typeof d === "number");
  const range = entry.dims.find((d) => d.name === batchDim);
  const size = batchSize ?? (batchDim === null && typeof fixed === "number" ? fixed : Math.min(32, range?.max ?? 32));
  if (!Number.isInteger(size) || size < 1)
    throw modelError("option batchSize", `expected a positive integer, got ${size}`);
  // The rest of an epoch makes a smaller batch where the model takes one.
  const rest = samples % size;
  const takesRest = rest > 0 && batchDim !== null && rest >= (range?.min ?? 1);
  const count = Math.floor(samples / size) + (takesRest ? 1 : 0);
  if (count === 0) throw modelError("dataset", `${samples} samples make no batch of ${size}`);
  const order = seed === null ? null : permutation(samples, seed);
  return {
    count,
    async *[Symbol.asyncIterator]() {
      // One buffer an input; a batch is used up before the next is made.
      const buffers = columns.map((c) => new arrayTypes[c.input.dtype](size * c.row));
      for (let at = 0, b = 0; b < count; b++, at += size) {
        const n = Math.min(size, samples - at);
        const batch: [string, Tensor][] = columns.map((c, i) => {
          const data = gather(c, buffers[i]!, order, at, n);
          return [c.input.name, { dtype: c.input.dtype, shape: [n, ...c.shape], data } as Tensor];
        });
        yield Object.fromEntries(batch);
      }
    },
  };
}

function gather(
  { data, row }: Column,
  buffer: TensorData,
  order: Uint32Array | null,
  at: number,
  n: number,
): TensorData {
  if (!order) return data.subarray(at * row, (at + n) * row);
  for (let i = 0; i < n; i++) {
    const from = order[at + i]! * row;
    // Both are of the input's own array type.
    (buffer as Float32Array).set(data.subarray(from, from + row) as Float32Array, i * row);
  }
  return buffer.subarray(0, n * row);
}

function columnOf({ modelError, readFeed, Complaint }: Tools, input: TensorInfo, feed: Feed | undefined): Column {
  const where = `input "${input.name}"`;
  const sample = input.shape.slice(1);
  const all = { ...input, shape: [{ dim: "samples", slot: 0 }, ...sample] };
  const { array: data, shape: given, problem } = readFeed(all, feed);
  if (problem) throw new Complaint("feeds", [[{ where, ...problem }], { inputs: [input] }, { [input.name]: feed }]);
  if (input.shape.length === 0)
    throw modelError(where, "a scalar can't be cut into batches", "pass an iterable of batches");
  const shape = sample.map((d, i) => {
    if (given) return given[i + 1]!;
    if (typeof d === "number") return d;
    throw modelError(
      where,
      "the shape of a sample is not known",
      "pass { dtype, shape, data } instead of the data alone",
    );
  });
  const row = sizeOf(shape);
  const samples = given ? given[0]! : data.length / row;
  if (!Number.isInteger(samples)) throw modelError(where, `expected ${signature(all)}, got ${data.length} elements`);
  return { input, data, row, shape, samples };
}
