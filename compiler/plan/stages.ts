/**
 * The arena in stages. Blocks whose sizes are all known before a run lie in the first part. Those that depend on a size which the run
 * finds are placed at the step that finds it: they form a stage, which lies above all that lives at that step, and memory grows
 * as needed. A stage where nothing lives any more is overwritten by the next one.
 *
 * In a loop the same holds for each round: a stage of the body is placed anew in each, above what lives through the loop. A block
 * that lives while one of its sizes is found anew (a carried value that grows) can't move; it keeps room for the size's bound.
 */

import { type Dim, dimAdd, dimMax, dimSymbol, dimSymbols, symbolDim } from "../../ir/dim.js";
import type { FoundSizes, Living } from "./found.js";
import type { Interval } from "./liveness.js";

const prefix = "_stage.";

/** Whether the symbol stands for where a stage begins: its values have 32 bits without a sign. */
export const isStageSymbol = (name: string): boolean => name.startsWith(prefix);

export interface Stage {
  /** Stands in offsets for where the stage begins. */
  readonly symbol: string;
  /** Offset of the stage in the arena, and of its end. */
  readonly begin: Dim;
  readonly end: Dim;
  readonly bytes: Dim;
  /** The sizes that the beginning depends on. */
  readonly sizes: ReadonlySet<string>;
}

/** Offsets of blocks from where the first of them may lie, in the order of the blocks. */
export interface Packing {
  readonly offsets: readonly Dim[];
  readonly bytes: Dim;
}

type Sized = Living & { readonly bytes: Dim };

interface Part<B> {
  /** From which position on the blocks are placed, whatever way the run takes; and on the one that finds their sizes first. */
  readonly at: number;
  readonly since: number;
  readonly blocks: readonly B[];
  readonly life: Interval;
}

export function inStages<B extends Sized>(
  found: FoundSizes,
  blocksFor: (isSettled: (symbol: string, block: Living) => boolean) => readonly B[],
  pack: (blocks: readonly B[]) => Packing,
): Packing & { readonly stages: readonly Stage[]; readonly blocks: readonly B[] } {
  const symbols = new Set(found.symbols);
  for (;;) {
    const blocks = blocksFor((s, block) => symbols.has(s) && found.isSettled(s, block));
    const made = place(found, blocks, pack);
    if ("moves" in made) symbols.delete(made.moves);
    else return { ...made, blocks };
  }
}

/** Places all blocks; or names a size whose finding would move a block that lives. */
function place<B extends Sized>(
  found: FoundSizes,
  blocks: readonly B[],
  pack: (blocks: readonly B[]) => Packing,
): (Packing & { readonly stages: readonly Stage[] }) | { readonly moves: string } {
  const known = new Set(found.symbols);
  const sizesOf = (d: Dim) => [...dimSymbols(d).keys()].filter((s) => known.has(s));
  const parts = partition(blocks, (b) => {
    const settled = sizesOf(b.bytes).map((s) => ({ at: found.settledAt(s, b), since: found.settledSince(s, b) }));
    const at = Math.max(-1, ...settled.map((s) => s.at));
    return { at, since: Math.min(at, ...settled.filter((s) => s.at === at).map((s) => s.since)) };
  });
  const offsets = new Map<B, Dim>();
  const stages: Stage[] = [];
  /** Of each part: its end, and the sizes that this depends on. */
  const ends: { readonly end: Dim; readonly sizes: ReadonlySet<string>; readonly over: ReadonlySet<number> }[] = [];
  let bytes: Dim = 0;
  for (const [k, part] of parts.entries()) {
    const packing = pack(part.blocks);
    if (part.at < 0) {
      for (const [i, b] of part.blocks.entries()) offsets.set(b, packing.offsets[i]!);
      bytes = packing.bytes;
      ends.push({ end: bytes, sizes: new Set(), over: new Set() });
      continue;
    }
    // The first part holds what was fed and may be asked for again.
    const below = parts
      .slice(0, k)
      .flatMap((p, j) => (p.at < 0 || (p.life.end > part.since && p.life.start <= part.life.end) ? [j] : []));
    const over = new Set(below.flatMap((j) => [j, ...ends[j]!.over]));
    const highest = below.filter((j) => !below.some((i) => ends[i]!.over.has(j)));
    const begin = highest.map((j) => ends[j]!.end).reduce<Dim>((a, b) => dimMax(a, b), 0);
    const beginSizes = new Set(below.flatMap((j) => [...ends[j]!.sizes]));
    const sizes = new Set(beginSizes);
    for (const b of part.blocks) for (const s of sizesOf(b.bytes)) sizes.add(s);
    for (const block of part.blocks) {
      const moving = [...sizes].find((s) => !found.isSettled(s, block));
      if (moving !== undefined) return { moves: moving };
    }
    const symbol = `${prefix}${stages.length}`;
    const start = symbolDim(stageSymbol(symbol));
    for (const [i, b] of part.blocks.entries()) offsets.set(b, dimAdd(start, packing.offsets[i]!));
    const end = dimAdd(start, packing.bytes);
    stages.push({ symbol, begin, end, bytes: packing.bytes, sizes: beginSizes });
    ends.push({ end, sizes, over });
  }
  return { offsets: blocks.map((b) => offsets.get(b)!), bytes, stages };
}

const stageSymbol = (name: string) => [...dimSymbols(dimSymbol(name, { min: 0 })).values()][0]!;

/** Blocks by the position from which on they can be placed, in order of it; the first part is there even if it is empty. */
function partition<B extends Sized>(
  blocks: readonly B[],
  settled: (block: B) => { readonly at: number; readonly since: number },
): readonly Part<B>[] {
  const parts = new Map<number, { blocks: B[]; since: number }>([[-1, { blocks: [], since: -1 }]]);
  for (const b of blocks) {
    const { at, since } = settled(b);
    const part = parts.get(at);
    if (part === undefined) parts.set(at, { blocks: [b], since });
    else {
      part.blocks.push(b);
      part.since = Math.min(part.since, since);
    }
  }
  return [...parts]
    .sort(([a], [b]) => a - b)
    .map(([at, part]) => ({
      at,
      ...part,
      life: {
        start: Math.min(...part.blocks.map((b) => b.interval.start)),
        end: Math.max(...part.blocks.map((b) => b.interval.end)),
      },
    }));
}
