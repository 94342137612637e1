/**
 * Donation: lets the kernel that computes a state's new value write it over the old one, where nothing needs the old value
 * any more; elsewhere the new value is copied at the end.
 */

import { dimEqual } from "../../ir/dim.js";
import { productOf } from "../../ir/ops/movement.js";
import {
  type Buffer,
  type CopyStep,
  forEachStep,
  isView,
  type KernelStep,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";
import { usesOf } from "./liveness.js";

export function placeStateResults(schedule: Schedule): Schedule {
  const replaced = new Map<Buffer, Buffer>();
  const copies: CopyStep[] = [];
  const taken = new Set<Buffer>();
  for (const { state, value } of schedule.stateResults) {
    if (value.buffer === state) continue;
    if (!taken.has(value.buffer) && canWriteOver(schedule, state, value)) {
      replaced.set(value.buffer, state);
      taken.add(value.buffer);
    } else
      copies.push({
        kind: "copy",
        count: productOf(state.shape),
        from: value,
        to: { buffer: state, offset: 0 },
        loc: undefined,
      });
  }
  // All copies come after all reads, but a copy may overwrite a state that a later copy reads.
  const steps = schedule.steps.map((s) => rename(s, replaced));
  const renamedCopies = copies.map((c) => rename(c, replaced) as CopyStep);
  const overwritten = new Set<Buffer>();
  for (const c of renamedCopies) {
    if (overwritten.has(c.from.buffer)) return withBouncedCopies(schedule, replaced, renamedCopies);
    overwritten.add(c.to.buffer);
  }
  return finish(schedule, [...steps, ...renamedCopies], replaced);
}

/** States that exchange their values: everything is saved first, then stored. */
function withBouncedCopies(
  schedule: Schedule,
  replaced: ReadonlyMap<Buffer, Buffer>,
  copies: readonly CopyStep[],
): Schedule {
  let id = Math.max(0, ...allBuffers(schedule).map((b) => b.id));
  const saves: CopyStep[] = [];
  const stores: CopyStep[] = [];
  for (const c of copies) {
    const temp: Buffer = { id: ++id, dtype: c.to.buffer.dtype, shape: c.to.buffer.shape, source: { kind: "temp" } };
    saves.push({ ...c, to: { buffer: temp, offset: 0 } });
    stores.push({ ...c, from: { buffer: temp, offset: 0 } });
  }
  return finish(schedule, [...schedule.steps.map((s) => rename(s, replaced)), ...saves, ...stores], replaced);
}

function finish(schedule: Schedule, steps: readonly Step[], replaced: ReadonlyMap<Buffer, Buffer>): Schedule {
  const view = (v: View) => renameView(v, replaced);
  return {
    ...schedule,
    steps,
    outputs: schedule.outputs.map((o) => ({ ...o, view: view(o.view) })),
    stateResults: schedule.stateResults.map((r) => ({ state: r.state, value: view(r.value) })),
  };
}

export function allBuffers(schedule: Schedule): readonly Buffer[] {
  const found = new Set<Buffer>();
  forEachStep(schedule.steps, (s) => {
    for (const u of usesOf(s)) found.add(u.view.buffer);
  });
  for (const t of [...schedule.inputs, ...schedule.outputs]) found.add(t.view.buffer);
  for (const r of schedule.stateResults) found.add(r.state).add(r.value.buffer);
  return [...found];
}

/** The value is a whole temporary, written by one top-level kernel, after (or in place at) the last use of the old state. */
function canWriteOver(schedule: Schedule, state: Buffer, value: View): boolean {
  const b = value.buffer;
  if (b.source.kind !== "temp" || value.offset !== 0 || b.dtype !== state.dtype) return false;
  if (!dimEqual(productOf(b.shape), productOf(state.shape))) return false;
  if (schedule.outputs.some((o) => o.view.buffer === state)) return false;
  let written = -1;
  for (const [i, step] of schedule.steps.entries()) {
    if (step.kind === "if" || step.kind === "for") {
      if (touchesDeep(step, b)) return false;
      if (written >= 0 && touchesDeep(step, state)) return false;
      continue;
    }
    for (const u of usesOf(step)) {
      if (u.view.buffer !== b || u.access === "read") continue;
      // Written in parts by several steps: the first part would destroy what later ones may read.
      if (written >= 0 && written !== i) return false;
      written = i;
    }
  }
  if (written < 0) return false;
  // What changes state runs to its end, so that no loop that may have none comes after it.
  if (schedule.steps.slice(written).some(isEndless)) return false;
  for (const step of schedule.steps.slice(written + 1))
    if (usesOf(step).some((u) => u.view.buffer === state)) return false;
  const writer = schedule.steps[written]!;
  if (!usesOf(writer).some((u) => u.view.buffer === state)) return true;
  return writer.kind === "kernel" && inPlaceAt(writer, b, state);
}

/** Every use of `read` in the step may share memory with every write of `written`. */
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

/** Whether only the run can tell how many rounds a loop in the step makes. */
function isEndless(step: Step): boolean {
  let endless = false;
  forEachStep([step], (s) => {
    endless ||= s.kind === "for" && (s.condition !== undefined || isView(s.count));
  });
  return endless;
}

function touchesDeep(step: Step, b: Buffer): boolean {
  let touches = false;
  forEachStep([step], (s) => {
    touches ||= usesOf(s).some((u) => u.view.buffer === b);
  });
  return touches;
}

function renameView(v: View, replaced: ReadonlyMap<Buffer, Buffer>): View {
  const to = replaced.get(v.buffer);
  return to === undefined ? v : { buffer: to, offset: v.offset };
}

function rename(step: Step, replaced: ReadonlyMap<Buffer, Buffer>): Step {
  const view = (v: View) => renameView(v, replaced);
  switch (step.kind) {
    case "kernel":
      return { ...step, args: step.args.map((a) => (a.kind === "view" ? { ...a, view: view(a.view) } : a)) };
    case "copy":
      return { ...step, from: view(step.from), to: view(step.to) };
    case "if":
      return {
        ...step,
        condition: view(step.condition),
        then: step.then.map((s) => rename(s, replaced)),
        else: step.else.map((s) => rename(s, replaced)),
      };
    case "for":
      return {
        ...step,
        count: isView(step.count) ? view(step.count) : step.count,
        condition: step.condition && view(step.condition),
        body: step.body.map((s) => rename(s, replaced)),
      };
  }
}
