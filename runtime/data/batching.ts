/** Stages that make batches. */

import { dtypeOfArray } from "../convert.js";
import type { BatchRequest } from "../dataset.js";
import { describe, modelError } from "../errors.js";
import type { DType } from "../format.js";
import type { Tensor } from "../tensor.js";
import { type Collation, collate, type Padding, type Paddings, paddingChecks } from "./collate.js";
import { checkOptions, isRecord } from "./options.js";
import { isTensor } from "./roots.js";
import { type Awaitable, type Hints, indexed, isPromise, replayed, type Stage, streamed } from "./stage.js";

/** What batches are made of. */
export interface Joining {
  /** By field: where the batch stands in the shape. Default: where the model has it; else 0. */
  readonly axis?: Readonly<Record<string, number>> | undefined;
  /**
   * By field, those that padding makes (`lengths`, `mask`) too: dtypes that values are converted to. Default: of plain numbers the model's;
   * else that of the typed array they came from; else f32. Of typed arrays and tensors: their own.
   */
  readonly dtypes?: Readonly<Record<string, DType>> | undefined;
  /** By field: how values whose first axis differs in length are padded, or the value that is put in. */
  readonly pad?: Paddings | undefined;
}

/** Written out, and checked. */
export function paddings(pad: Paddings): Readonly<Record<string, Padding>> {
  return Object.fromEntries(
    Object.entries(pad).flatMap(([field, how]) => {
      if (how === undefined) return [];
      if (typeof how === "number") return [[field, { value: how }]];
      checkOptions(`padding of "${field}"`, how, paddingChecks);
      return [[field, how]];
    }),
  );
}

type Collate<T> = (elements: readonly T[], hints: Hints) => unknown;
export function joiner(
  { axis = {}, dtypes = {}, pad = {} }: Joining,
  sourceDtypes: Readonly<Record<string, DType>>,
): Collate<unknown> {
  const how: Omit<Collation, "hints"> = { axis, dtypes, pad: paddings(pad), sourceDtypes };
  const made = new Set(Object.values(how.pad).flatMap(({ lengths, mask }) => [lengths ?? [], mask ?? []].flat()));
  const named = [...Object.keys(axis), ...Object.keys(dtypes).filter((n) => !made.has(n)), ...Object.keys(how.pad)];
  return (elements, hints) => {
    for (const name of named)
      if (name !== "" && !(isRecord(elements[0]) && Object.hasOwn(elements[0], name)))
        throw modelError(
          "batch",
          `the elements have no field "${name}"`,
          isRecord(elements[0])
            ? `their fields are: ${Object.keys(elements[0]).join(", ")}`
            : 'of bare elements it is called ""',
        );
    return collate(elements, { ...how, hints });
  };
}

/** @param least smallest batch that is made of what remains at the end */
export function batchStage<T>(source: Stage<T>, size: number, least: number, join: Collate<T>): Stage<unknown> {
  return {
    ...source,
    depth: source.depth + 1,
    batched: true,
    async open(epoch, hints) {
      const { length, at, iterate } = await source.open(epoch, hints);
      const rest = length === null ? 0 : length % size;
      const count = length === null ? null : Math.floor(length / size) + (rest > 0 && rest >= least ? 1 : 0);
      if (at && length !== null) {
        return indexed(count!, (b) => {
          const n = Math.min(size, length - b * size);
          const elements = Array.from({ length: n }, (_, i): Awaitable<T> => at(b * size + i));
          return elements.some(isPromise)
            ? Promise.all(elements).then((all) => join(all, hints))
            : join(elements as T[], hints);
        });
      }
      const go = async function* (from: number): AsyncGenerator<unknown> {
        let held: T[] = [];
        for await (const element of iterate(from * size)) {
          held.push(element);
          if (held.length < size) continue;
          yield join(held, hints);
          held = [];
        }
        if (held.length > 0 && held.length >= least) yield join(held, hints);
      };
      return streamed(go, count);
    },
  };
}

export interface Bucketing<T> {
  readonly lengthOf: (element: T) => number;
  /** Inclusive upper bounds of lengths, rising; one more bucket takes what is longer. */
  readonly bounds: readonly number[];
  /** Of the batches of each bucket. */
  readonly sizes: readonly number[];
  readonly least: number;
}

/** A batch holds elements of one bucket, and comes when it is full; what remains comes at the end, short ones first. */
export function bucketStage<T>(
  source: Stage<T>,
  { lengthOf, bounds, sizes, least }: Bucketing<T>,
  join: Collate<T>,
): Stage<unknown> {
  return {
    ...source,
    depth: source.depth + 1,
    batched: true,
    ordered: false,
    stable: false,
    async open(epoch, hints) {
      const { iterate } = await source.open(epoch, hints);
      return replayed(async function* () {
        const buckets: T[][] = sizes.map(() => []);
        for await (const element of iterate(0)) {
          const length = lengthOf(element);
          const found = bounds.findIndex((b) => length <= b);
          const k = found < 0 ? bounds.length : found;
          const bucket = buckets[k]!;
          bucket.push(element);
          if (bucket.length < sizes[k]!) continue;
          buckets[k] = [];
          yield join(bucket, hints);
        }
        for (const bucket of buckets) if (bucket.length > 0 && bucket.length >= least) yield join(bucket, hints);
      });
    },
  };
}

/** How long a value is: its items, or the first size of a tensor. @throws ModelError where it has no length */
export function lengthOfValue(where: string, value: unknown): number {
  if (isTensor(value) && value.shape.length > 0) return value.shape[0]!;
  if (dtypeOfArray(value) !== undefined || Array.isArray(value) || typeof value === "string")
    return (value as ArrayLike<unknown>).length;
  throw modelError(where, `expected something with a length, got ${describe(value)}`);
}

/** Elements by themselves, padded. */
export function padElement(element: unknown, pad: Readonly<Record<string, Padding>>): unknown {
  const how = { axis: {}, dtypes: {}, sourceDtypes: {}, hints: {} };
  const names = Object.keys(pad);
  const missing = names.find((n) => !isRecord(element) || !Object.hasOwn(element, n));
  if (missing !== undefined) throw modelError("pad", `the elements have no field "${missing}"`);
  const fields = element as Readonly<Record<string, unknown>>;
  const padded = collate([Object.fromEntries(names.map((n) => [n, fields[n]]))], { ...how, pad }) as Record<
    string,
    Tensor
  >;
  const single = Object.entries(padded).map(([name, { dtype, shape, data }]) => [
    name,
    shape.length === 1 ? Number(data[0]) : { dtype, shape: shape.slice(1), data },
  ]);
  const made = Object.fromEntries(single);
  const clash = Object.keys(made).find((n) => !names.includes(n) && Object.hasOwn(fields, n));
  if (clash !== undefined) throw modelError("option pad", `there is a field "${clash}" already`);
  return { ...fields, ...made };
}

/** What is asked of a data set for a model, in the words of stages. */
export const hintsOf = ({ inputs }: BatchRequest): Hints =>
  Object.fromEntries(inputs.map(({ name, dtype, axis }) => [name, { dtype, axis }]));
