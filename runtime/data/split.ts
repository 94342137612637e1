/** Parts of a data set that have no element in common. */

import { modelError } from "../errors.js";
import { epochSeed, permutation } from "../order.js";
import { type Awaitable, indexed, once, type Stage } from "./stage.js";

/** Shares of the whole (their sum at most 1), or numbers of elements where they are integers above 1. */
export type Parts = Readonly<Record<string, number>>;

export interface Splitting<T> {
  /** Of the order in which elements are dealt out; false: as they lie, the first part first. */
  readonly seed: number | false;
  /** Each part gets its share of the elements of each class. */
  readonly classOf: ((element: T) => Awaitable<unknown>) | undefined;
}

/** Sizes as near to the shares of `total` as they get; what no whole element is left for goes where most is missing. */
function sizesOf(shares: readonly number[], total: number, missing: readonly number[]): number[] {
  const exact = shares.map((s) => s * total);
  const sizes = exact.map((x) => Math.floor(x + 1e-9));
  const sum = Math.min(total, Math.round(exact.reduce((a, b) => a + b, 0)));
  const need = exact.map((x, i) => x - sizes[i]! + missing[i]!);
  for (let left = sum - sizes.reduce((a, b) => a + b, 0); left > 0; left--) {
    let most = -1;
    for (const [i, n] of need.entries())
      if (sizes[i]! < exact[i]! + 1 - 1e-9 && (most < 0 || n > need[most]!)) most = i;
    sizes[most]!++;
    need[most]!--;
  }
  return sizes;
}

async function deal<T>(
  source: Stage<T>,
  parts: Parts,
  { seed, classOf }: Splitting<T>,
): Promise<readonly Uint32Array[]> {
  const { length, at } = await source.open(0, {});
  if (!at || length === null)
    throw modelError("split", "a stream can't be split", "put .cache() before it, which keeps all elements in memory");
  const wanted = Object.values(parts);
  const isCount = wanted.some((w) => w > 1);
  if (isCount && wanted.reduce((a, b) => a + b, 0) > length)
    throw modelError("split", `${wanted.join(" + ")} elements are asked for, there are ${length}`);
  const shares = isCount ? wanted.map((w) => w / length) : wanted;
  const order = seed === false ? Uint32Array.from({ length }, (_, i) => i) : permutation(length, epochSeed(seed, 0));
  const groups = new Map<unknown, number[]>();
  for (const i of order) {
    const key = classOf ? await classOf(await at(i)) : null;
    const group = groups.get(key);
    if (group) group.push(i);
    else groups.set(key, [i]);
  }
  const dealt: number[][] = wanted.map(() => []);
  let missing = wanted.map(() => 0);
  for (const group of groups.values()) {
    const sizes = sizesOf(shares, group.length, missing);
    missing = missing.map((m, i) => m + shares[i]! * group.length - sizes[i]!);
    let from = 0;
    for (const [i, size] of sizes.entries()) {
      dealt[i]!.push(...group.slice(from, from + size));
      from += size;
    }
  }
  // Elements keep the order in which they lie: who wants another one shuffles.
  return dealt.map((indices) => Uint32Array.from(indices).sort());
}

export function splitStages<T>(source: Stage<T>, parts: Parts, how: Splitting<T>): ReadonlyMap<string, Stage<T>> {
  const wanted = Object.entries(parts);
  const isCount = wanted.some(([, w]) => w > 1);
  for (const [name, w] of wanted) {
    const fits = typeof w === "number" && w >= 0 && (isCount ? Number.isInteger(w) : w <= 1);
    if (!fits)
      throw modelError(
        `split, ${name}`,
        `expected shares from 0 to 1, or numbers of elements, got ${wanted.map(([, x]) => x).join(", ")}`,
      );
  }
  if (wanted.length === 0) throw modelError("split", "no part is named", "split({ train: 0.8, test: 0.2 })");
  if (!isCount && wanted.reduce((a, [, w]) => a + w, 0) > 1 + 1e-9)
    throw modelError("split", `the shares ${wanted.map(([, w]) => w).join(" + ")} are more than the whole`);
  if (source.batched) throw modelError("split", "the data set is in batches", "split it before .batch");
  if (!source.ordered)
    throw modelError(
      "split",
      "the elements come in another order in every epoch, so parts would share elements",
      "split before .shuffle; after a function or a filter of random elements, put .cache() before it",
    );
  const dealt = once(() => deal(source, parts, how));
  return new Map(
    wanted.map(([name], k) => [
      name,
      {
        ...source,
        depth: source.depth + 1,
        async open(epoch, hints) {
          const indices = (await dealt())[k]!;
          const { at } = await source.open(epoch, hints);
          return indexed(indices.length, (i) => at!(indices[i]!));
        },
      },
    ]),
  );
}
