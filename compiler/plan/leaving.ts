/**
 * Leaving a run in the midst of a step and going on there later, so that whoever started a run that takes long, or has no end, gets
 * a chance to stop it. A lone thread does this; a team of threads is stopped from outside and never leaves off.
 *
 * Places where a run can be left have ids, counted from 1 in order of text. A run that leaves off stores the id in `wordResume`,
 * and what the loops around it must know in their slots. The next call goes down to that place: `skip` is the id until it is
 * reached, then 0.
 */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as b from "../../ir/loop-build.js";
import { wordResume } from "../../runtime/format.js";
import { innerSteps, type Step } from "../schedule.js";

/** Word `index` of the control block. */
export const word = (index: number): Expr => b.load("i32", "i32", b.ptr(4 * index), b.i32(0));
export const setWord = (index: number, value: Expr): Stmt => b.store("i32", b.ptr(4 * index), b.i32(0), value);

/** Whether a run can be left inside the step: in kernels between two chunks, in loops after a round. */
export function canLeave(step: Step): boolean {
  if (step.kind === "kernel") return step.chunks !== undefined;
  return step.kind === "for" || innerSteps(step).some((inner) => inner.some(canLeave));
}

/** Ends the call after a step, if that is wanted; the next one begins with step `next`. */
export const leaveIfAsked = (next: Expr): readonly Stmt[] => [
  b.ifThen(b.ne(b.poll(), b.i32(0)), [{ kind: "return", value: next }]),
];

export class Leaving {
  /** The id that the next place gets. */
  next = 1;
  /** For each loop around the step being emitted, the outermost first: what saves its state. */
  readonly loops: (readonly Stmt[])[] = [];
  skipName = "";
  #step: Expr = b.i32(0);

  /** Begins a step of the schedule. `skipName`: the register that holds `skip`. */
  enter(step: Expr, skipName: string): void {
    this.#step = step;
    this.skipName = skipName;
  }

  get skip(): Expr {
    return b.v(this.skipName, "i32");
  }

  /** Whether nothing is to be skipped. */
  isFresh(): Expr {
    return b.eq(this.skip, b.i32(0));
  }

  id(): number {
    return this.next++;
  }

  /** Where the run goes on. */
  arrive(): readonly Stmt[] {
    return [b.assign(this.skip, b.i32(0)), setWord(wordResume, b.i32(0))];
  }

  /** Leaves the run at place `id` of the step. */
  leave(id: number): readonly Stmt[] {
    return [...this.loops.flat(), setWord(wordResume, b.i32(id)), { kind: "return", value: this.#step }];
  }
}
