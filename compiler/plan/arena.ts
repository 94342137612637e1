/**
 * Offsets of temporaries in the arena.
 *
 * Buffers that share memory by an in-place kernel form one block. With static sizes, blocks are placed largest first at the
 * lowest offset that is free during their life. With symbolic sizes, blocks with disjoint lives share a pool; a pool is as
 * large as its largest block, and pools follow one another, so offsets are integer expressions of the dims. Blocks whose sizes
 * only the run finds are placed then: stages.ts.
 */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimEqual,
  dimMax,
  dimMul,
  dimSubstitute,
  dimSymbol,
  dimSymbols,
  evaluateDim,
} from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import { productOf } from "../../ir/ops/movement.js";
import { alignment } from "../../runtime/format.js";
import { type Arg, type Buffer, forEachStep, type KernelStep, type Schedule, type Step } from "../schedule.js";
import { Aliases, type Memory } from "./alias.js";
import { FoundSizes, type Living } from "./found.js";
import { type Interval, type Liveness, liveness } from "./liveness.js";
import { inStages, type Packing, type Stage } from "./stages.js";

export interface Arena {
  /** Byte offset of each temporary and input from the arena's start. */
  readonly offsets: ReadonlyMap<Buffer, Dim>;
  /** Byte offset and size (of all threads) of each scratch argument, and the distance from one thread's to the next. */
  readonly scratch: ReadonlyMap<Arg, { readonly offset: Dim; readonly bytes: Dim; readonly stride: Dim }>;
  /** Bytes of what can be placed before a run. */
  readonly bytes: Dim;
  /** What is placed when the run has found its sizes, in the order in which that happens. */
  readonly stages: readonly Stage[];
  /** Of the steps, as `Stage.reservedAt` counts them. */
  readonly positions: ReadonlyMap<Step, number>;
}

interface Block {
  readonly buffers: readonly Buffer[];
  readonly scratch?: Arg;
  readonly bytes: Dim;
  /** Of scratch. */
  readonly stride: Dim;
  readonly interval: Interval;
}

/** Rounded up to the alignment of blocks. */
export const alignUp = (bytes: Dim): Dim => dimMul(dimCeilDiv(bytes, alignment), alignment);

export function planArena(schedule: Schedule, maxThreads: number): Arena {
  const live = liveness(schedule);
  const memories = memoriesOf(schedule, live);
  const { offsets, bytes, stages, blocks } = inStages(
    new FoundSizes(schedule, live),
    (isSettled) => blocksOf(schedule, live, memories, maxThreads, isSettled),
    (list) => (list.every((b) => typeof b.bytes === "number") ? packStatic(list) : packPools(list)),
  );
  const ofBuffer = new Map<Buffer, Dim>();
  const ofScratch = new Map<Arg, { offset: Dim; bytes: Dim; stride: Dim }>();
  blocks.forEach((block, i) => {
    for (const b of block.buffers) ofBuffer.set(b, offsets[i]!);
    if (block.scratch) ofScratch.set(block.scratch, { offset: offsets[i]!, bytes: block.bytes, stride: block.stride });
  });
  return { offsets: ofBuffer, scratch: ofScratch, bytes, stages, positions: live.positions };
}

const inArena = (b: Buffer) => b.source.kind === "temp" || b.source.kind === "input";

function bufferOf(step: KernelStep, arg: number): Buffer {
  const a = step.args[arg];
  if (a?.kind !== "view") throw new InternalError(`argument ${arg} of @${step.fn.name} is no view`);
  return a.view.buffer;
}

/** Buffers that share memory. */
function memoriesOf(schedule: Schedule, { intervals }: Liveness): readonly Memory[] {
  const aliases = new Aliases(schedule);
  // In place: the result takes over the memory of an operand that dies here.
  forEachStep(schedule.steps, (step) => {
    if (step.kind !== "kernel") return;
    for (const [w, r] of step.inPlace) {
      const [written, read] = [bufferOf(step, w), bufferOf(step, r)];
      if (inArena(written) && inArena(read) && aliases.mayOverwrite(written, read)) aliases.share(written, read);
    }
  });
  const buffers = [...intervals.keys()].filter(inArena);
  return [...new Set(buffers.map((b) => aliases.memory(b)!))];
}

/** What needs a place. Sizes that are settled for a block count as they are, others that data decide with their bounds. */
function blocksOf(
  schedule: Schedule,
  { positions }: Liveness,
  memories: readonly Memory[],
  maxThreads: number,
  isSettled: (symbol: string, block: Living) => boolean,
): readonly Block[] {
  const blocks = memories.map(({ buffers, start, end }): Block => {
    const living = { buffers, interval: { start, end } };
    const bytes = (b: Buffer) =>
      alignUp(
        dimMul(
          largest(productOf(b.shape), (s) => isSettled(s, living)),
          dtypeInfo[b.dtype].bytes,
        ),
      );
    return { ...living, bytes: buffers.map(bytes).reduce((a, b) => dimMax(a, b)), stride: 0 };
  });
  forEachStep(schedule.steps, (step) => {
    const at = positions.get(step)!;
    for (const a of step.kind === "kernel" ? step.args : []) {
      if (a.kind !== "scratch") continue;
      const living = { buffers: [], interval: { start: at, end: at } };
      const stride = alignUp(largest(a.bytes, (s) => isSettled(s, living)));
      blocks.push({ ...living, scratch: a, stride, bytes: dimMul(stride, a.perThread ? maxThreads : 1) });
    }
  });
  return blocks;
}

/** The most that an expression can be, with those data-dependent sizes as they are that are settled. */
function largest(d: Dim, isSettled: (symbol: string) => boolean): Dim {
  const settle = (x: Dim): Dim =>
    dimSubstitute(x, ({ name, min, max, bound }) => {
      if (bound === undefined) return undefined;
      return dimSymbol(name, isSettled(name) ? { min, max } : { min, max, bound: settle(bound) });
    });
  return dimUpperBound(settle(d));
}

const overlap = (a: Interval, b: Interval) => a.start <= b.end && b.start <= a.end;

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
