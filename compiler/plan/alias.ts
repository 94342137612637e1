/**
 * Which temporaries may take turns in one place of memory, by the intervals in which they live (for the memory of states, shared-memory.ts
 * follows the ways through branches). It looks at every use of both buffers in the steps, inside control flow too, at the outputs, and at the new values of states, which are read after all steps.
 */

import { dimEqual } from "../../ir/dim.js";
import { productOf } from "../../ir/ops/movement.js";
import { type Buffer, type CopyStep, innerSteps, type KernelStep, type Schedule, type Step } from "../schedule.js";
import { type Interval, liveness, sameBytes } from "./liveness.js";

/** Buffers that share memory, from the first use of the first one to the last use of the last one. */
export interface Memory extends Interval {
  readonly buffers: readonly Buffer[];
}

interface Shared {
  readonly buffers: Buffer[];
  start: number;
  end: number;
}

export class Aliases {
  readonly #memory = new Map<Buffer, Shared>();
  /** Kernels and copies by their positions. Rounds of a loop overlap in time, so those in loops are not among them. */
  readonly #steps = new Map<number, KernelStep | CopyStep>();

  constructor(schedule: Schedule) {
    const { intervals, positions } = liveness(schedule);
    for (const [b, interval] of intervals) this.#memory.set(b, { ...interval, buffers: [b] });
    const visit = (steps: readonly Step[]): void => {
      for (const step of steps) {
        if (step.kind === "kernel" || step.kind === "copy") this.#steps.set(positions.get(step)!, step);
        if (step.kind !== "for") for (const inner of innerSteps(step)) visit(inner);
      }
    };
    visit(schedule.steps);
  }

  /** Where the buffer lies, and who lies there at other times; undefined where nobody uses it. */
  memory(b: Buffer): Memory | undefined {
    return this.#memory.get(b);
  }

  /**
   * Whether `written` may be written into the memory of `old`: all that lay there is used for the last time before the first store,
   * or by the very kernel that makes it, which reads each element before it stores there, or by the copy that makes it out of it.
   */
  mayOverwrite(written: Buffer, old: Buffer): boolean {
    const [next, before] = [this.#memory.get(written), this.#memory.get(old)];
    if (next === undefined || before === undefined || next === before) return false;
    if (!sameBytes(written, old)) return false;
    if (before.end !== next.start) return before.end < next.start;
    const kernel = this.#steps.get(next.start);
    if (kernel === undefined) return false;
    if (kernel.kind === "copy") {
      // All of it stays where it is.
      const { from, to, count } = kernel;
      const isStart = from.offset === 0 && to.offset === 0 && to.buffer === written;
      return isStart && this.#memory.get(from.buffer) === before && dimEqual(count, productOf(written.shape));
    }
    return kernel.args.every((a) => {
      if (a.kind !== "view") return true;
      const { buffer } = a.view;
      const there = this.#memory.get(buffer);
      if (there === next) return buffer === written;
      return there !== before || inPlaceAt(kernel, written, buffer);
    });
  }

  /** Lets `written` lie where `old` lay. */
  share(written: Buffer, old: Buffer): void {
    const [next, before] = [this.#memory.get(written)!, this.#memory.get(old)!];
    const [kept, moved] = before.buffers.length < next.buffers.length ? [next, before] : [before, next];
    kept.buffers.push(...moved.buffers);
    for (const b of moved.buffers) this.#memory.set(b, kept);
    kept.start = before.start;
    kept.end = next.end;
  }
}

/** Whether every use of `read` in the step may share memory with every write of `written`. */
export function inPlaceAt(step: KernelStep, written: Buffer, read: Buffer): boolean {
  const indices = (b: Buffer) => step.args.flatMap((a, i) => (a.kind === "view" && a.view.buffer === b ? [i] : []));
  const isStart = (i: number) => {
    const a = step.args[i]!;
    return a.kind === "view" && a.view.offset === 0;
  };
  const writes = indices(written);
  const reads = indices(read);
  return (
    writes.length === 1 &&
    [...writes, ...reads].every(isStart) &&
    reads.every((r) => step.inPlace.some(([w, i]) => w === writes[0] && i === r))
  );
}
