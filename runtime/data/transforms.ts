/** Stages over stages: each keeps that any place of any epoch can be gone to. */

import { modelError } from "../errors.js";
import { epochSeed, permutation } from "../order.js";
import { yieldToLoop } from "../platform.js";
import { type Random, randomOf } from "./random.js";
import {
  type Awaitable,
  type Hints,
  indexed,
  isPromise,
  type Opened,
  once,
  replayed,
  type Stage,
  streamed,
} from "./stage.js";

/** What a function of `map` may ask of an element beside the element itself. */
export interface ElementContext {
  readonly epoch: number;
  /** Its place in the epoch. */
  readonly index: number;
  /** Random numbers of this element in this epoch. */
  readonly random: Random;
}

/** The context of elements that are the same in every epoch. */
function fixedContext(index: number): ElementContext {
  const refuse = (what: string): never => {
    const hint = "pass a seed: .map(f, { seed: 1 })";
    throw modelError("map", `${what} is for functions whose results differ from epoch to epoch`, hint);
  };
  return {
    index,
    get epoch() {
      return refuse("epoch");
    },
    get random() {
      return refuse("random");
    },
  };
}

export function mapStage<T, U>(
  source: Stage<T>,
  fn: (element: T, context: ElementContext) => Awaitable<U>,
  seed: number | undefined,
): Stage<U> {
  const depth = source.depth + 1;
  const context = (epoch: number, index: number): ElementContext =>
    seed === undefined ? fixedContext(index) : { epoch, index, random: randomOf(seed, depth, epoch, index) };
  return {
    ...source,
    depth,
    stable: source.stable && seed === undefined,
    async open(epoch, hints) {
      const { length, at, iterate } = await source.open(epoch, hints);
      const apply = (element: Awaitable<T>, i: number): Awaitable<U> =>
        isPromise(element) ? element.then((e) => fn(e as T, context(epoch, i))) : fn(element as T, context(epoch, i));
      if (at && length !== null) return indexed(length, (i) => apply(at(i), i));
      const go = async function* (from: number): AsyncGenerator<U> {
        let i = from;
        for await (const element of iterate(from)) yield await fn(element, context(epoch, i++));
      };
      return streamed(go, length);
    },
  };
}

export function filterStage<T>(source: Stage<T>, keep: (element: T) => Awaitable<unknown>): Stage<T> {
  const indices = async (opened: Opened<T>): Promise<readonly number[]> => {
    const found: number[] = [];
    let i = 0;
    for await (const element of opened.iterate(0)) {
      if (await keep(element)) found.push(i);
      i++;
    }
    return found;
  };
  // Elements that are always the same are looked at once.
  const always = once(async () => indices(await source.open(0, {})));
  return {
    ...source,
    depth: source.depth + 1,
    async open(epoch, hints) {
      const opened = await source.open(epoch, hints);
      const { at } = opened;
      if (at && source.stable && source.ordered) {
        const found = await always();
        return indexed(found.length, (i) => at(found[i]!));
      }
      return replayed(async function* () {
        for await (const element of opened.iterate(0)) if (await keep(element)) yield element;
      });
    },
  };
}

export interface Shuffling {
  readonly seed: number;
  /** Elements of a stream that are held to choose among. */
  readonly buffer: number;
  readonly everyEpoch: boolean;
}

export function shuffleStage<T>(source: Stage<T>, { seed, buffer, everyEpoch }: Shuffling): Stage<T> {
  const depth = source.depth + 1;
  return {
    ...source,
    depth,
    ordered: source.ordered && !everyEpoch,
    stable: source.stable && !everyEpoch,
    async open(epoch, hints) {
      const { length, at, iterate } = await source.open(epoch, hints);
      const round = everyEpoch ? epoch : 0;
      if (at && length !== null) {
        const order = permutation(length, epochSeed(seed, round));
        return indexed(length, (i) => at(order[i]!));
      }
      const mixed = async function* (): AsyncGenerator<T> {
        const random = randomOf(seed, depth, round);
        const held: T[] = [];
        for await (const element of iterate(0)) {
          if (held.length < buffer) held.push(element);
          else {
            const j = random.integer(buffer);
            yield held[j]!;
            held[j] = element;
          }
        }
        while (held.length > 0) {
          const j = random.integer(held.length);
          const last = held.pop()!;
          if (j === held.length) yield last;
          else {
            yield held[j]!;
            held[j] = last;
          }
        }
      };
      return { ...replayed(mixed), length };
    },
  };
}

/** The elements from `begin` to `end`, which may lie beyond the last one. */
export function sliceStage<T>(source: Stage<T>, begin: number, end: number): Stage<T> {
  return {
    ...source,
    depth: source.depth + 1,
    async open(epoch, hints) {
      const { length, at, iterate } = await source.open(epoch, hints);
      const size = length === null ? null : Math.max(0, Math.min(end, length) - begin);
      if (at && size !== null) return indexed(size, (i) => at(begin + i));
      const go = async function* (from: number): AsyncGenerator<T> {
        let left = end - begin - from;
        if (left <= 0) return;
        for await (const element of iterate(begin + from)) {
          yield element;
          if (--left === 0) return;
        }
      };
      return streamed(go, size);
    },
  };
}

/** What holds of several stages together. */
function together(what: string, stages: readonly Stage<unknown>[]): Omit<Stage<unknown>, "open"> {
  const [{ batched }] = stages as readonly [Stage<unknown>];
  if (stages.some((s) => s.batched !== batched))
    throw modelError(what, "some of the data sets are in batches, some are not");
  return {
    depth: Math.max(...stages.map((s) => s.depth)) + 1,
    ordered: stages.every((s) => s.ordered),
    stable: stages.every((s) => s.stable),
    batched,
    dtypes: Object.assign({}, ...stages.map((s) => s.dtypes)),
  };
}

/** One after the other. */
function joined<T>(parts: readonly Opened<T>[]): Opened<T> {
  const lengths = parts.map((p) => p.length);
  const total = lengths.every((n) => n !== null) ? lengths.reduce((a, b) => a + b, 0) : null;
  if (total !== null && parts.every((p) => p.at)) {
    return indexed(total, (i) => {
      let k = 0;
      let at = i;
      while (at >= lengths[k]!) at -= lengths[k++]!;
      return parts[k]!.at!(at);
    });
  }
  const all = async function* (from: number): AsyncGenerator<T> {
    let skip = from;
    for (const { length, iterate } of parts) {
      if (length === null) {
        for await (const element of iterate(0)) {
          if (skip > 0) skip--;
          else yield element;
        }
      } else {
        if (skip < length) yield* iterate(skip);
        skip = Math.max(0, skip - length);
      }
    }
  };
  return streamed(all, total);
}

export function concatStage<T>(stages: readonly Stage<T>[]): Stage<T> {
  const open = (epoch: number, hints: Hints) => Promise.all(stages.map((s) => s.open(epoch, hints))).then(joined);
  return { ...together("concat", stages), open };
}

/** Each epoch goes through `times` epochs of the source. */
export function repeatStage<T>(source: Stage<T>, times: number): Stage<T> {
  const rounds = (epoch: number) => Array.from({ length: times }, (_, r) => epoch * times + r);
  return {
    ...source,
    depth: source.depth + 1,
    open: (epoch, hints) => Promise.all(rounds(epoch).map((r) => source.open(r, hints))).then(joined),
  };
}

/** Elements side by side, to the end of the shortest. */
export function zipStage<T>(stages: readonly Stage<unknown>[], combine: (elements: readonly unknown[]) => T): Stage<T> {
  return {
    ...together("zip", stages),
    async open(epoch, hints) {
      const parts = await Promise.all(stages.map((s) => s.open(epoch, hints)));
      const lengths = parts.map((p) => p.length);
      const length = lengths.every((n) => n !== null) ? Math.min(...lengths) : null;
      if (length !== null && parts.every((p) => p.at)) {
        return indexed(length, (i) => {
          const elements = parts.map((p) => p.at!(i));
          return elements.some(isPromise) ? Promise.all(elements).then(combine) : combine(elements);
        });
      }
      const go = async function* (from: number): AsyncGenerator<T> {
        const iterators = parts.map((p) => p.iterate(from)[Symbol.asyncIterator]());
        try {
          for (;;) {
            const next = await Promise.all(iterators.map((i) => i.next()));
            if (next.some((n) => n.done)) return;
            yield combine(next.map((n) => n.value));
          }
        } finally {
          await Promise.all(iterators.map((i) => i.return?.()));
        }
      };
      return streamed(go, length);
    },
  };
}

/** Keeps the elements of epoch 0 for all epochs. What can only be gone through is read as a whole when it is first opened. */
export function cacheStage<T>(source: Stage<T>): Stage<T> {
  const kept = new Map<number, Awaitable<T>>();
  const open = once(async (): Promise<Opened<T>> => {
    const { length, at, iterate } = await source.open(0, {});
    if (at && length !== null) {
      return indexed(length, (i) => {
        if (kept.has(i)) return kept.get(i)!;
        const element = at(i);
        kept.set(i, element);
        if (isPromise(element))
          element.then(
            (value) => kept.set(i, value as T),
            () => kept.delete(i),
          );
        return element;
      });
    }
    const all: T[] = [];
    for await (const element of iterate(0)) all.push(element);
    return indexed(all.length, (i) => all[i]!);
  });
  return { ...source, depth: source.depth + 1, ordered: true, stable: true, open };
}

/** Has up to `count` elements made while the consumer is busy with earlier ones. */
export function prefetchStage<T>(source: Stage<T>, count: number): Stage<T> {
  return {
    ...source,
    depth: source.depth + 1,
    async open(epoch, hints) {
      const opened = await source.open(epoch, hints);
      return { ...opened, iterate: (from) => ahead(opened, from, count) };
    },
  };
}

/** Several elements that can be had by their place are under way at once; those of a stream come one by one. */
function starter<T>({ length, at, iterate }: Opened<T>, from: number): AsyncIterator<T> {
  if (!at || length === null) return iterate(from)[Symbol.asyncIterator]();
  let i = from;
  return {
    next: async () => (i < length ? { done: false, value: await at(i++) } : { done: true, value: undefined }),
  };
}

async function* ahead<T>(opened: Opened<T>, from: number, count: number): AsyncGenerator<T> {
  const source = starter(opened, from);
  const queue: Promise<IteratorResult<T>>[] = [];
  let ended = false;
  let filling = false;
  const begin = (): void => {
    const next = source.next();
    // Whoever takes it from the queue sees the error; if nobody does, nobody missed it.
    next.catch(() => {});
    queue.push(next);
  };
  const fill = async (): Promise<void> => {
    filling = true;
    // A turn of the event loop: the consumer goes to work with what it has before the next element is made.
    for (await yieldToLoop(); !ended && queue.length < count; await yieldToLoop()) begin();
    filling = false;
  };
  try {
    for (;;) {
      if (queue.length === 0) begin();
      const result = await queue.shift()!;
      if (result.done) return;
      if (!filling) void fill();
      yield result.value;
    }
  } finally {
    ended = true;
    source.return?.().catch(() => {});
  }
}
