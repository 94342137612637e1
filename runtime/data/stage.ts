/**
 * What a pipeline is made of. A stage opens one epoch; its elements hang on the epoch and their place in it alone, so that any place can
 * be gone to.
 */
import type { DType } from "../format.js";

export type Awaitable<T> = T | Promise<T>;

/** Promises of other realms and libraries too. */
export const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof value === "object" && value !== null && typeof (value as Partial<Promise<unknown>>).then === "function";

/** What a consumer knows of fields by name, for what is not settled before: dtypes of plain numbers, the axis of the batch. */
export type Hints = Readonly<Record<string, { readonly dtype: DType; readonly axis: number | null }>>;

/** One epoch of a stage. */
export interface Opened<T> {
  /** How many elements it has; null: known at its end. */
  readonly length: number | null;
  /** The element at a place, where they can be had in any order. */
  readonly at: ((index: number) => Awaitable<T>) | null;
  /** The elements from a place on. */
  iterate(from: number): AsyncIterable<T>;
}

export interface Stage<T> {
  /** How many stages stand before it: tells random numbers of stages with the same seed apart. */
  readonly depth: number;
  /** Whether the elements come in the same order in every epoch; and whether they are the same. */
  readonly ordered: boolean;
  readonly stable: boolean;
  /** Whether the elements are batches. */
  readonly batched: boolean;
  /** What plain numbers of fields came from. */
  readonly dtypes: Readonly<Record<string, DType>>;
  open(epoch: number, hints: Hints): Promise<Opened<T>>;
}

/** An epoch whose elements can be had in any order. */
export function indexed<T>(length: number, at: (index: number) => Awaitable<T>): Opened<T> {
  return {
    length,
    at,
    async *iterate(from) {
      for (let i = from; i < length; i++) yield at(i);
    },
  };
}

/** An epoch that is gone through from its beginning. `first`: where `elements` begin. */
export function streamed<T>(elements: (from: number) => AsyncIterable<T>, length: number | null = null): Opened<T> {
  return { length, at: null, iterate: elements };
}

/** Leaves the first elements out. */
export async function* dropping<T>(elements: AsyncIterable<T> | Iterable<T>, count: number): AsyncGenerator<T> {
  let at = 0;
  for await (const element of elements) if (at++ >= count) yield element;
}

/** An epoch that can only be gone through anew. */
export const replayed = <T>(elements: () => AsyncIterable<T>): Opened<T> =>
  streamed((from) => (from === 0 ? elements() : dropping(elements(), from)));

/** Calls a function once, when its value is first asked for; a failure is not kept. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make().catch((error) => {
      made = null;
      throw error;
    });
    return made;
  };
}
