/**
 * Offsets of temporaries in the arena.
 *
 * Buffers that share memory by an in-place kernel form one block. With static sizes, blocks are placed largest first at the
 * lowest offset that is free during their life. With symbolic sizes, blocks with disjoint lives share a pool; a pool is as
 * large as its largest block, and pools follow one another, so offsets are integer expressions of the dims. Blocks whose sizes
 * only the run finds are placed then: stages.ts.
 */

import { type Dim, dimMax, dimMul, dimSubstitute, dimSymbol } from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { InternalError } from "../../ir/errors.js";
import { productOf } from "../../ir/ops/movement.js";
import { type Arg, type Buffer, forEachStep, type KernelStep, type Schedule, type Step } from "../schedule.js";
import { Aliases, type Memory } from "./alias.js";
import { FoundSizes, type Living } from "./found.js";
import { type Liveness, liveness } from "./liveness.js";
import { alignUp, type Life, packPools, packStatic } from "./pack.js";
import { inStages, type Stage } from "./stages.js";

export interface Arena {
  /** Byte offset of each temporary and input from the arena's start. */
  readonly offsets: ReadonlyMap<Buffer, Dim>;
  /** Byte offset and size (of all threads) of each scratch argument, and the distance from one thread's to the next. */
  readonly scratch: ReadonlyMap<Arg, { readonly offset: Dim; readonly bytes: Dim; readonly stride: Dim }>;
  /** Bytes of what can be placed before a run. */
  readonly bytes: Dim;
  /** What is placed when the run has found its sizes, in the order in which that happens. */
  readonly stages: readonly Stage[];
  readonly positions: ReadonlyMap<Step, number>;
  readonly found: FoundSizes;
}

interface Block extends Life {
  readonly buffers: readonly Buffer[];
  readonly scratch?: Arg;
  /** Of scratch. */
  readonly stride: Dim;
}

export function planArena(schedule: Schedule, maxThreads: number): Arena {
  const live = liveness(schedule);
  const memories = memoriesOf(schedule, live);
  const found = new FoundSizes(schedule, live);
  const { offsets, bytes, stages, blocks } = inStages(
    found,
    (isSettled) => blocksOf(schedule, live, memories, maxThreads, isSettled),
    (list) => packStatic(list) ?? packPools(list),
  );
  const ofBuffer = new Map<Buffer, Dim>();
  const ofScratch = new Map<Arg, { offset: Dim; bytes: Dim; stride: Dim }>();
  blocks.forEach((block, i) => {
    for (const b of block.buffers) ofBuffer.set(b, offsets[i]!);
    if (block.scratch) ofScratch.set(block.scratch, { offset: offsets[i]!, bytes: block.bytes, stride: block.stride });
  });
  return { offsets: ofBuffer, scratch: ofScratch, bytes, stages, positions: live.positions, found };
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
      dimMul(
        largest(productOf(b.shape), (s) => isSettled(s, living)),
        dtypeInfo[b.dtype].bytes,
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
