/** Puts blocks of memory side by side where they live at the same time, and over one another where they do not. */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimMax,
  dimMul,
  dimSub,
  dimSymbols,
  dimText,
  evaluateDim,
} from "../../ir/dim.js";
import { alignment } from "../../runtime/format.js";
import type { Interval } from "./liveness.js";
import type { Packing } from "./stages.js";

/** A block: how large it is, and when it is needed. */
export interface Life {
  readonly bytes: Dim;
  readonly interval: Interval;
}

/** Rounded up to the alignment of blocks. */
export const alignUp = (bytes: Dim): Dim => dimMul(dimCeilDiv(bytes, alignment), alignment);

/** Index of the first of sorted numbers that is larger. */
function firstAbove(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Largest first, each at the lowest offset that is free during its life. Undefined where a size is not known. */
export function packStatic(blocks: readonly Life[]): Packing | undefined {
  const sizes = blocks.map((b) => alignUp(b.bytes));
  const isKnown = (list: readonly Dim[]): list is readonly number[] => list.every((d) => typeof d === "number");
  if (!isKnown(sizes)) return undefined;
  const order = blocks.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const offsets = new Array<number>(blocks.length).fill(0);
  // What is placed, by offset; parallel lists, since this is read for each block.
  const [froms, tos, starts, ends]: [number[], number[], number[], number[]] = [[], [], [], []];
  let bytes = 0;
  for (const i of order) {
    const size = sizes[i]!;
    const { start, end } = blocks[i]!.interval;
    let at = 0;
    for (let k = 0; k < froms.length && froms[k]! - at < size; k++) {
      if (starts[k]! <= end && start <= ends[k]! && tos[k]! > at) at = tos[k]!;
    }
    offsets[i] = at;
    bytes = Math.max(bytes, at + size);
    const place = firstAbove(froms, at);
    froms.splice(place, 0, at);
    tos.splice(place, 0, at + size);
    starts.splice(place, 0, start);
    ends.splice(place, 0, end);
  }
  return { offsets, bytes };
}

/** A plausible size, to compare expressions: symbols at 64, or as near as their range allows. */
function typicalSize(d: Dim): number {
  const env = new Map([...dimSymbols(d).values()].map((s) => [s.name, Math.min(Math.max(64, s.min), s.max)]));
  return evaluateDim(d, env);
}

/** Blocks of one size, by its text. */
interface Size {
  readonly bytes: Dim;
  readonly typical: number;
  readonly isBounded: boolean;
  /** What of other sizes is never larger. */
  readonly covered: Map<Size, boolean>;
}

function covers(a: Size, b: Size): boolean {
  let found = a === b || a.covered.get(b);
  if (found === undefined) {
    found = dimBounds(dimSub(a.bytes, b.bytes)).min >= 0;
    a.covered.set(b, found);
  }
  return found;
}

class OpenPool {
  /** Sizes of which none covers another: the pool has the largest. */
  #largest: Size[];
  typical: number;
  readonly #starts: number[];
  readonly #ends: number[];

  constructor(size: Size, { start, end }: Interval) {
    this.#largest = [size];
    this.typical = size.typical;
    this.#starts = [start];
    this.#ends = [end];
  }

  isFree({ start, end }: Interval): boolean {
    const next = firstAbove(this.#starts, end);
    return next === 0 || this.#ends[next - 1]! < start;
  }

  covers(size: Size): boolean {
    return this.#largest.some((own) => covers(own, size));
  }

  /** Sharing a pool of another symbol's size is only worth a max() while the sizes are of one order. */
  isComparable(size: Size): boolean {
    const [x, y] = [this.typical, size.typical];
    return Math.max(x, y) <= 4 * Math.min(x, y) || (size.isBounded && y <= x);
  }

  add(size: Size, { start, end }: Interval): void {
    if (!this.covers(size)) this.#largest = [...this.#largest.filter((own) => !covers(size, own)), size];
    this.typical = Math.max(this.typical, size.typical);
    const at = firstAbove(this.#starts, start);
    this.#starts.splice(at, 0, start);
    this.#ends.splice(at, 0, end);
  }

  get bytes(): Dim {
    return alignUp(largestOf(this.#largest.map((s) => s.bytes)));
  }
}

/** The largest of some, as a balanced tree. */
function largestOf(sizes: readonly Dim[]): Dim {
  if (sizes.length === 1) return sizes[0]!;
  const half = sizes.length >> 1;
  return dimMax(largestOf(sizes.slice(0, half)), largestOf(sizes.slice(half)));
}

/** Largest first, each in a pool that is free during its life: one that is large enough anyway, else the nearest in size. */
export function packPools(blocks: readonly Life[]): Packing {
  const bySize = new Map<string, Size>();
  const sizeOf = ({ bytes }: Life): Size => {
    const key = dimText(bytes);
    let size = bySize.get(key);
    if (size === undefined) {
      const isBounded = Number.isFinite(dimBounds(bytes).max);
      size = { bytes, typical: typicalSize(bytes), isBounded, covered: new Map() };
      bySize.set(key, size);
    }
    return size;
  };
  const sizes = blocks.map(sizeOf);
  const pools: OpenPool[] = [];
  const poolOf = new Array<OpenPool>(blocks.length);
  const order = blocks.map((_, i) => i).sort((a, b) => sizes[b]!.typical - sizes[a]!.typical || a - b);
  for (const i of order) {
    const { interval } = blocks[i]!;
    const size = sizes[i]!;
    const distance = (p: OpenPool): number => Math.abs(p.typical - size.typical);
    let [covering, near]: (OpenPool | undefined)[] = [];
    for (const p of pools) {
      if (covering !== undefined && distance(p) >= distance(covering)) continue;
      if (!p.isFree(interval)) continue;
      if (p.covers(size)) covering = p;
      else if ((near === undefined || distance(p) < distance(near)) && p.isComparable(size)) near = p;
    }
    let best = covering ?? near;
    if (best === undefined) {
      best = new OpenPool(size, interval);
      pools.push(best);
    } else best.add(size, interval);
    poolOf[i] = best;
  }
  const starts = new Map<OpenPool, Dim>();
  let total: Dim = 0;
  for (const p of pools) {
    starts.set(p, total);
    total = dimAdd(total, p.bytes);
  }
  return { offsets: poolOf.map((p) => starts.get(p)!), bytes: total };
}
