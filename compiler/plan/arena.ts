/**
 * Offsets of temporaries in the arena.
 *
 * Buffers that share memory by an in-place kernel form one block. With static sizes, blocks are placed largest first at the
 * lowest offset that is free during their life. With symbolic sizes, blocks with disjoint lives share a pool; a pool is as
 * large as its largest block, and pools follow one another, so offsets are integer expressions of the dims.
 */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimEqual,
  dimMax,
  dimMul,
  dimSymbols,
  evaluateDim,
} from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { InternalError } from "../../ir/errors.js";
import { alignment } from "../../runtime/format.js";
import { type Arg, type Buffer, forEachStep, type KernelStep, type Schedule } from "../schedule.js";
import { Aliases } from "./alias.js";
import { bufferBytes, type Interval, liveness } from "./liveness.js";

export interface Arena {
  /** Byte offset of each temporary and input from the arena's start. */
  readonly offsets: ReadonlyMap<Buffer, Dim>;
  /** Byte offset and size (of all threads) of each scratch argument. */
  readonly scratch: ReadonlyMap<Arg, { readonly offset: Dim; readonly bytes: Dim }>;
  readonly bytes: Dim;
}

interface Block {
  readonly buffers: readonly Buffer[];
  readonly scratch?: Arg;
  readonly bytes: Dim;
  readonly interval: Interval;
}

/** Rounded up to the alignment of blocks. */
export const alignUp = (bytes: Dim): Dim => dimMul(dimCeilDiv(bytes, alignment), alignment);

export function planArena(schedule: Schedule, maxThreads: number): Arena {
  const blocks = blocksOf(schedule, maxThreads);
  const offsets = blocks.every((b) => typeof b.bytes === "number") ? packStatic(blocks) : packPools(blocks);
  const ofBuffer = new Map<Buffer, Dim>();
  const ofScratch = new Map<Arg, { offset: Dim; bytes: Dim }>();
  blocks.forEach((block, i) => {
    for (const b of block.buffers) ofBuffer.set(b, offsets.offsets[i]!);
    if (block.scratch) ofScratch.set(block.scratch, { offset: offsets.offsets[i]!, bytes: block.bytes });
  });
  return { offsets: ofBuffer, scratch: ofScratch, bytes: offsets.bytes };
}

const inArena = (b: Buffer) => b.source.kind === "temp" || b.source.kind === "input";

function bufferOf(step: KernelStep, arg: number): Buffer {
  const a = step.args[arg];
  if (a?.kind !== "view") throw new InternalError(`argument ${arg} of @${step.fn.name} is no view`);
  return a.view.buffer;
}

function blocksOf(schedule: Schedule, maxThreads: number): Block[] {
  const { intervals, positions } = liveness(schedule);
  const buffers = [...intervals.keys()].filter(inArena);
  const aliases = new Aliases(schedule);
  // In place: the result takes over the memory of an operand that dies here.
  forEachStep(schedule.steps, (step) => {
    if (step.kind !== "kernel") return;
    for (const [w, r] of step.inPlace) {
      const [written, read] = [bufferOf(step, w), bufferOf(step, r)];
      if (inArena(written) && inArena(read) && aliases.mayOverwrite(written, read)) aliases.share(written, read);
    }
  });
  const blocks: Block[] = [...new Set(buffers.map((b) => aliases.memory(b)!))].map((memory) => ({
    buffers: memory.buffers,
    bytes: memory.buffers.map((b) => alignUp(bufferBytes(b))).reduce((a, b) => dimMax(a, b)),
    interval: memory,
  }));
  forEachStep(schedule.steps, (step) => {
    const at = positions.get(step)!;
    for (const a of step.kind === "kernel" ? step.args : []) {
      if (a.kind !== "scratch") continue;
      const bytes = dimMul(alignUp(dimUpperBound(a.bytes)), a.perThread ? maxThreads : 1);
      blocks.push({ buffers: [], scratch: a, bytes, interval: { start: at, end: at } });
    }
  });
  return blocks;
}

const overlap = (a: Interval, b: Interval) => a.start <= b.end && b.start <= a.end;

interface Packing {
  readonly offsets: readonly Dim[];
  readonly bytes: Dim;
}

function packStatic(blocks: readonly Block[]): Packing {
  const order = blocks.map((_, i) => i).sort((a, b) => Number(blocks[b]!.bytes) - Number(blocks[a]!.bytes) || a - b);
  const offsets = new Array<number>(blocks.length).fill(0);
  const placed: number[] = [];
  let bytes = 0;
  for (const i of order) {
    const size = Number(blocks[i]!.bytes);
    const busy = placed
      .filter((p) => overlap(blocks[p]!.interval, blocks[i]!.interval))
      .map((p) => ({ from: offsets[p]!, to: offsets[p]! + Number(blocks[p]!.bytes) }))
      .sort((a, b) => a.from - b.from);
    let at = 0;
    for (const b of busy) {
      if (b.from - at >= size) break;
      at = Math.max(at, b.to);
    }
    offsets[i] = at;
    bytes = Math.max(bytes, at + size);
    placed.push(i);
  }
  return { offsets, bytes };
}

/** A plausible size, to compare expressions: symbols at 64, or as near as their range allows. */
function typicalSize(d: Dim): number {
  const env = new Map([...dimSymbols(d).values()].map((s) => [s.name, Math.min(Math.max(64, s.min), s.max)]));
  return evaluateDim(d, env);
}

function packPools(blocks: readonly Block[]): Packing {
  interface Pool {
    bytes: Dim;
    readonly members: Interval[];
  }
  const pools: Pool[] = [];
  const poolOf = new Array<Pool>(blocks.length);
  const order = blocks
    .map((_, i) => i)
    .sort((a, b) => typicalSize(blocks[b]!.bytes) - typicalSize(blocks[a]!.bytes) || a - b);
  for (const i of order) {
    const { bytes, interval } = blocks[i]!;
    const free = pools.filter((p) => !p.members.some((m) => overlap(m, interval)));
    // A pool that already is this large for every value of the dims costs nothing; else the one nearest in size.
    const covers = (p: Pool) => dimEqual(dimMax(p.bytes, bytes), p.bytes);
    const distance = (p: Pool) => Math.abs(typicalSize(p.bytes) - typicalSize(bytes));
    const best =
      free.filter(covers).sort((a, b) => distance(a) - distance(b))[0] ??
      free.filter((p) => comparable(p.bytes, bytes)).sort((a, b) => distance(a) - distance(b))[0];
    if (best) {
      best.bytes = dimMax(best.bytes, bytes);
      best.members.push(interval);
      poolOf[i] = best;
    } else {
      const pool: Pool = { bytes, members: [interval] };
      pools.push(pool);
      poolOf[i] = pool;
    }
  }
  let total: Dim = 0;
  const starts = new Map<Pool, Dim>();
  for (const p of pools) {
    starts.set(p, total);
    total = dimAdd(total, p.bytes);
  }
  return { offsets: poolOf.map((p) => starts.get(p)!), bytes: total };
}

/** Sharing a pool of another symbol's size is only worth a max() while the sizes are of one order. */
function comparable(a: Dim, b: Dim): boolean {
  const x = typicalSize(a);
  const y = typicalSize(b);
  return Math.max(x, y) <= 4 * Math.min(x, y) || (Number.isFinite(dimBounds(b).max) && y <= x);
}
