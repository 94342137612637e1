/** Where elements come from: arrays, records of arrays and tensors, iterables, streams, functions that return them. */
import { dtypeOfArray, isPlain } from "../convert.js";
import { describe, modelError } from "../errors.js";
import { arrayTypes, type DType } from "../format.js";
import { sizeOf, type Tensor, type TensorData } from "../tensor.js";
import { isObject, isRecord } from "./options.js";
import { type Awaitable, dropping, type Hints, indexed, type Opened, type Stage, streamed } from "./stage.js";

/** What holds the values of one field for all elements. */
export type Column = readonly unknown[] | TensorData | Tensor;
/** Anything to go through, in every epoch anew. */
export type Stream<T> = Iterable<T> | AsyncIterable<T> | ReadableStream<T>;

export function isTensor(value: unknown): value is Tensor {
  if (!isRecord(value)) return false;
  const { dtype, shape, data } = value;
  return (
    typeof dtype === "string" && Object.hasOwn(arrayTypes, dtype) && Array.isArray(shape) && ArrayBuffer.isView(data)
  );
}

interface Rows {
  readonly length: number;
  readonly dtype: DType | undefined;
  row(index: number): unknown;
}

/** The rows of a column; an array's items, a tensor's slices along an axis (views, where they lie together). */
function rowsOf(where: string, column: unknown, axis: number): Rows {
  if (Array.isArray(column)) return { length: column.length, dtype: undefined, row: (i) => column[i] };
  if (isTensor(column)) return tensorRows(where, column, axis);
  const dtype = dtypeOfArray(column);
  if (dtype !== undefined) {
    const data = column as TensorData;
    return { length: data.length, dtype, row: (i) => data[i] };
  }
  throw modelError(where, `expected an array, a typed array or a tensor, got ${describe(column)}`);
}

function tensorRows(where: string, { dtype, shape, data }: Tensor, axis: number): Rows {
  if (sizeOf(shape) !== data.length) throw modelError(where, `shape [${shape}] with ${data.length} elements of data`);
  const length = shape[axis];
  if (length === undefined) throw modelError(where, `${dtype}[${shape}] has no axis ${axis} to take elements from`);
  const rest = shape.filter((_, i) => i !== axis);
  if (rest.length === 0 && isPlain(dtype))
    return { length, dtype, row: dtype === "bool" ? (i) => data[i] === 1 : (i) => data[i] };
  const inner = sizeOf(shape.slice(axis + 1));
  const outer = sizeOf(shape.slice(0, axis));
  const cut = (i: number): TensorData => {
    if (outer === 1) return data.subarray(i * inner, (i + 1) * inner);
    const out = new arrayTypes[dtype](outer * inner);
    for (let o = 0; o < outer; o++) {
      const from = (o * length + i) * inner;
      (out as Float32Array).set(data.subarray(from, from + inner) as Float32Array, o * inner);
    }
    return out;
  };
  return { length, dtype, row: (i) => ({ dtype, shape: rest, data: cut(i) }) as Tensor };
}

const root = {
  depth: 0,
  ordered: true,
  stable: true,
  dtypes: {},
} as const;

/** @param axes by field, which axis of its tensor runs over elements; default 0 */
export function rootStage(source: unknown, axes: Readonly<Record<string, number>>, batched: boolean): Stage<unknown> {
  if (typeof source === "function") return functionStage(source as (epoch: number) => unknown, batched);
  if (Array.isArray(source) || isTensor(source) || dtypeOfArray(source) !== undefined) {
    const { length, row } = rowsOf("dataset", source, 0);
    return { ...root, batched, open: async () => indexed(length, row) };
  }
  if (isStream(source)) return streamStage(source, batched);
  if (isRecord(source) && Object.keys(source).length > 0 && !("then" in source))
    return recordStage(source, axes, batched);
  throw modelError(
    "dataset",
    `expected arrays, a record of arrays, an iterable, a stream or a function, got ${describe(source)}`,
    isObject(source) && "then" in source ? "this is a promise: await it" : "dataset([…]), dataset({ x: …, y: … })",
  );
}

function recordStage(
  source: Readonly<Record<string, unknown>>,
  axes: Readonly<Record<string, number>>,
  batched: boolean,
): Stage<unknown> {
  const unknown = Object.keys(axes).find((name) => !Object.hasOwn(source, name));
  if (unknown !== undefined)
    throw modelError(
      "option axis",
      `there is no field "${unknown}"`,
      `the fields are: ${Object.keys(source).join(", ")}`,
    );
  const columns = Object.entries(source).map(
    ([name, column]) => [name, rowsOf(`field "${name}"`, column, axes[name] ?? 0)] as const,
  );
  const [first, { length }] = columns[0]!;
  for (const [name, rows] of columns) {
    if (rows.length !== length)
      throw modelError(`field "${name}"`, `${rows.length} elements, but "${first}" has ${length}`);
  }
  const dtypes = Object.fromEntries(
    columns.flatMap(([name, { dtype }]) => (dtype === undefined ? [] : [[name, dtype]])),
  );
  const at = (i: number) => Object.fromEntries(columns.map(([name, { row }]) => [name, row(i)]));
  return { ...root, batched, dtypes, open: async () => indexed(length, at) };
}

const isStream = (source: unknown): source is Stream<unknown> =>
  isObject(source) &&
  (Symbol.iterator in source ||
    Symbol.asyncIterator in source ||
    typeof (source as ReadableStream).getReader === "function");

/** Browsers where streams can't be iterated have readers. */
async function* readAll<T>(stream: ReadableStream<T>): AsyncGenerator<T> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

const through = (stream: Stream<unknown>): Iterable<unknown> | AsyncIterable<unknown> =>
  Symbol.iterator in stream || Symbol.asyncIterator in stream ? stream : readAll(stream);

/** Generators and streams can be gone through once: nothing brings their first elements back. */
const isOneShot = (source: Stream<unknown>): boolean =>
  "next" in source || typeof (source as ReadableStream).getReader === "function";

function streamStage(source: Stream<unknown>, batched: boolean): Stage<unknown> {
  let used = false;
  const begin = (): Iterable<unknown> | AsyncIterable<unknown> => {
    if (used) {
      const hint = "pass a function that returns it, or put .cache() behind it";
      throw modelError("dataset", "a generator or stream can be gone through once only", hint);
    }
    used = isOneShot(source);
    return through(source);
  };
  return { ...root, batched, open: async () => streamed((from) => dropping(begin(), from)) };
}

/** The function is asked in every epoch; what it returns may be anything that `dataset` takes. */
function functionStage(source: (epoch: number) => unknown, batched: boolean): Stage<unknown> {
  const open = async (epoch: number, hints: Hints): Promise<Opened<unknown>> => {
    const made = (await (source(epoch) as Awaitable<unknown>)) as Partial<{ open: unknown }>;
    if (typeof made === "function") throw modelError("dataset", "the function returned a function");
    const stage = isStage(made) ? made : rootStage(made, {}, batched);
    if (stage.batched !== batched) {
      const message = batched ? "the function's data set is not in batches" : "the function's data set is in batches";
      throw modelError("dataset", message, `say so: dataset(f, { batched: ${stage.batched} })`);
    }
    return stage.open(epoch, hints);
  };
  return { ...root, stable: false, ordered: false, batched, open };
}

const isStage = (value: unknown): value is Stage<unknown> =>
  isObject(value) && typeof (value as Partial<Stage<unknown>>).open === "function";
