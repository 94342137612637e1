/** When each buffer is needed: positions of its first and last use in the flattened schedule. */

import { type Dim, dimEqual, dimMul, dimSymbols } from "../../ir/dim.js";
import { dimUpperBound } from "../../ir/dim-upper.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { productOf } from "../../ir/ops/movement.js";
import {
  type Access,
  type Arg,
  type Buffer,
  forEachStep,
  innerSteps,
  isView,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";

/** Bytes of a buffer at its largest: data-dependent sizes count with their bounds. */
export const bufferBytes = (b: Buffer): Dim => dimMul(dimUpperBound(productOf(b.shape)), dtypeInfo[b.dtype].bytes);

/** As large for all sizes, also for those that only the run finds: one of them may be placed when the other's are not known yet. */
export function sameBytes(a: Buffer, b: Buffer): boolean {
  if (!dimEqual(bufferBytes(a), bufferBytes(b))) return false;
  const [x, y] = [productOf(a.shape), productOf(b.shape)];
  const isFound = (d: Dim) => [...dimSymbols(d).values()].some((s) => s.bound !== undefined);
  return dimEqual(x, y) || !(isFound(x) || isFound(y));
}

export interface Use {
  readonly view: View;
  readonly access: Access;
}

/** What a step itself touches; the steps inside control flow are not included. */
export function usesOf(step: Step): readonly Use[] {
  switch (step.kind) {
    case "kernel":
      return step.args.flatMap((a: Arg) => (a.kind === "view" ? [{ view: a.view, access: a.access }] : []));
    case "copy":
      return [
        { view: step.from, access: "read" },
        { view: step.to, access: "write" },
      ];
    case "check":
      return [];
    case "if":
      return [{ view: step.condition, access: "read" }];
    case "once":
      return [{ view: step.done, access: "readWrite" }];
    case "for":
      return [...(isView(step.count) ? [step.count] : []), ...(step.condition ? [step.condition] : [])].map((view) => ({
        view,
        access: "read",
      }));
  }
}

export interface Interval {
  /** First and last position at which the buffer holds something that is needed, inclusive. */
  readonly start: number;
  readonly end: number;
}

export interface Liveness {
  readonly intervals: ReadonlyMap<Buffer, Interval>;
  /** Position of each kernel, copy and control-flow step. */
  readonly positions: ReadonlyMap<Step, number>;
}

/**
 * Numbers all steps in order of text. Inputs and states live from before the first step, outputs and new values of states to after
 * the last. A buffer used in a loop body lives through the whole loop, unless each round writes it first.
 */
export function liveness(schedule: Schedule): Liveness {
  const intervals = new Map<Buffer, { start: number; end: number }>();
  const positions = new Map<Step, number>();
  const extend = (b: Buffer, from: number, to = from) => {
    const i = intervals.get(b);
    if (i === undefined) intervals.set(b, { start: from, end: to });
    else {
      i.start = Math.min(i.start, from);
      i.end = Math.max(i.end, to);
    }
  };
  const results = new Set(schedule.outputs.map((o) => o.view.buffer));
  const uses = usedPositions(schedule.steps);
  let next = 0;

  const number = (steps: readonly Step[]): void => {
    for (const step of steps) {
      const at = next++;
      positions.set(step, at);
      for (const u of usesOf(step)) extend(u.view.buffer, at);
      for (const inner of innerSteps(step)) number(inner);
      if (step.kind === "for") {
        // The condition is read again after each round.
        if (step.condition) extend(step.condition.buffer, at, next - 1);
        const local = localBuffers(step.body);
        for (const b of touched(step.body)) {
          const { start, end } = uses.get(b)!;
          const isUsedOutside = start <= at || end >= next;
          if (!local.has(b) || results.has(b) || isUsedOutside) extend(b, at, next - 1);
        }
      }
    }
  };
  number(schedule.steps);
  for (const i of schedule.inputs) extend(i.view.buffer, -1);
  for (const o of schedule.outputs) extend(o.view.buffer, next);
  for (const { state, value } of schedule.stateResults) {
    extend(state, -1);
    extend(value.buffer, next);
  }
  return { intervals, positions };
}

function touched(steps: readonly Step[]): Set<Buffer> {
  const found = new Set<Buffer>();
  forEachStep(steps, (step) => {
    for (const u of usesOf(step)) found.add(u.view.buffer);
  });
  return found;
}

/** Buffers that each round writes before it reads them: dead between rounds. */
function localBuffers(steps: readonly Step[]): Set<Buffer> {
  return new Set([...firstAccesses(steps)].filter(([, access]) => access === "write").map(([b]) => b));
}

/** How the steps first access each buffer. "write": all of it, whatever way they go, unless they never read it. */
function firstAccesses(steps: readonly Step[]): ReadonlyMap<Buffer, Access> {
  const first = new Map<Buffer, Access>();
  const users = new Map<Buffer, number>();
  for (const step of steps) for (const b of touched([step])) users.set(b, (users.get(b) ?? 0) + 1);
  const add = (b: Buffer, access: Access) => {
    if (!first.has(b)) first.set(b, access);
  };
  for (const step of steps) {
    const uses = [...usesOf(step)].sort((a, b) => Number(a.access === "write") - Number(b.access === "write"));
    for (const { view, access } of uses) {
      // Writing a part, as a row of stacked results, leaves the rest as earlier rounds made it.
      const whole = view.offset === 0 && (step.kind !== "copy" || dimEqual(step.count, productOf(view.buffer.shape)));
      add(view.buffer, access === "write" && !whole ? "readWrite" : access);
    }
    if (step.kind === "if") {
      const [yes, no] = [firstAccesses(step.then), firstAccesses(step.else)];
      // A branch that leaves a buffer alone leaves it as it was, which matters to those who come after.
      const other = (b: Buffer): Access => (users.get(b) === 1 ? "write" : "readWrite");
      for (const b of [...yes.keys(), ...no.keys()]) {
        const writes = [yes, no].every((branch) => (branch.get(b) ?? other(b)) === "write");
        add(b, writes ? "write" : "readWrite");
      }
    } else if (step.kind === "once") {
      // Where it does not run, an earlier run has written.
      for (const [b, access] of firstAccesses(step.body)) add(b, access);
    } else if (step.kind === "for") {
      // There may be no round that writes.
      for (const [b, access] of firstAccesses(step.body))
        add(b, step.fills.includes(b) || (access === "write" && users.get(b) === 1) ? "write" : "readWrite");
    }
  }
  return first;
}

/** First and last position at which a step itself uses each buffer. */
function usedPositions(steps: readonly Step[]): ReadonlyMap<Buffer, Interval> {
  const found = new Map<Buffer, Interval>();
  let at = 0;
  forEachStep(steps, (step) => {
    for (const { view } of usesOf(step))
      found.set(view.buffer, { start: found.get(view.buffer)?.start ?? at, end: at });
    at++;
  });
  return found;
}
