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
  innerSteps,
  isView,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";
import { Aliases } from "./alias.js";
import { usesOf } from "./liveness.js";

export function placeStateResults(schedule: Schedule): Schedule {
  const aliases = new Aliases(schedule);
  const writes = writesOf(schedule.steps);
  const replaced = new Map<Buffer, Buffer>();
  const copies: CopyStep[] = [];
  for (const { state, value } of schedule.stateResults) {
    if (value.buffer === state) continue;
    if (isWhole(writes, state, value) && aliases.mayOverwrite(value.buffer, state)) {
      aliases.share(value.buffer, state);
      replaced.set(value.buffer, state);
    } else {
      const to = { buffer: state, offset: 0 };
      copies.push({ kind: "copy", count: productOf(state.shape), from: value, to, loc: undefined });
    }
  }
  const renamed = [...schedule.steps, ...atOnce(schedule, copies)].map((s) => rename(s, replaced));
  const steps = renamed.filter((s) => !isIdle(s));
  return {
    ...schedule,
    steps,
    outputs: schedule.outputs.map((o) => ({ ...o, view: renameView(o.view, replaced) })),
    stateResults: schedule.stateResults.map(({ state }) => ({ state, value: { buffer: state, offset: 0 } })),
  };
}

/**
 * The copies in an order in which they do what they would do at once: what a copy overwrites has been read. Where states exchange
 * their values, one of them is saved first.
 */
function atOnce(schedule: Schedule, copies: readonly CopyStep[]): readonly CopyStep[] {
  let id = Math.max(0, ...allBuffers(schedule).map((b) => b.id));
  const ordered: CopyStep[] = [];
  const reads = new Map<Buffer, number>();
  const pending = new Map(copies.map((c) => [c.to.buffer, c]));
  const read = (b: Buffer, more: number) => reads.set(b, (reads.get(b) ?? 0) + more);
  for (const c of copies) read(c.from.buffer, 1);
  const isFree = (b: Buffer) => !reads.get(b);
  const free = copies.filter((c) => isFree(c.to.buffer));
  /** Where states are read that have been saved. */
  const saved = new Map<Buffer, Buffer>();
  const take = (c: CopyStep) => {
    const { buffer } = c.from;
    ordered.push({ ...c, from: renameView(c.from, saved) });
    pending.delete(c.to.buffer);
    read(buffer, -1);
    const next = pending.get(buffer);
    if (next !== undefined && isFree(buffer) && !saved.has(buffer)) free.push(next);
  };
  while (pending.size > 0) {
    for (let c = free.pop(); c !== undefined; c = free.pop()) take(c);
    const [stuck] = pending.values();
    if (stuck === undefined) break;
    const { buffer } = stuck.to;
    const copy: Buffer = { id: ++id, dtype: buffer.dtype, shape: buffer.shape, source: { kind: "temp" } };
    const [from, to] = [buffer, copy].map((b): View => ({ buffer: b, offset: 0 })) as [View, View];
    ordered.push({ kind: "copy", count: productOf(buffer.shape), from, to, loc: undefined });
    saved.set(buffer, copy);
    take(stuck);
  }
  return ordered;
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

/** Copies what lies there already. */
const isIdle = (s: Step): boolean =>
  s.kind === "copy" && s.from.buffer === s.to.buffer && dimEqual(s.from.offset, s.to.offset);

interface Writes {
  /** Index of the first step that writes each buffer. */
  readonly first: ReadonlyMap<Buffer, number>;
  /** Written in control flow. */
  readonly inside: ReadonlySet<Buffer>;
  /** Index of the last step that may end the run: a loop that may have no end, or a check of data. */
  readonly lastUnsure: number;
}

function writesOf(steps: readonly Step[]): Writes {
  const first = new Map<Buffer, number>();
  const inside = new Set<Buffer>();
  for (const [i, step] of steps.entries()) {
    const isControl = innerSteps(step).length > 0;
    forEachStep([step], (s) => {
      for (const { view, access } of usesOf(s)) {
        if (access === "read") continue;
        if (!first.has(view.buffer)) first.set(view.buffer, i);
        if (isControl) inside.add(view.buffer);
      }
    });
  }
  return { first, inside, lastUnsure: steps.findLastIndex(mayEndRun) };
}

/** The value is all of a temporary, as large as the state, that is made outside control flow. */
function isWhole({ first, inside, lastUnsure }: Writes, state: Buffer, value: View): boolean {
  const b = value.buffer;
  if (b.source.kind !== "temp" || value.offset !== 0 || b.dtype !== state.dtype) return false;
  if (!dimEqual(productOf(b.shape), productOf(state.shape)) || inside.has(b)) return false;
  // State is changed as a whole or not at all: nothing that may end the run comes after it.
  return (first.get(b) ?? 0) > lastUnsure;
}

/** Whether a run may end in the step: in a check, or in a loop of which only the run can tell how many rounds it makes. */
function mayEndRun(step: Step): boolean {
  let ends = false;
  forEachStep([step], (s) => {
    ends ||= s.kind === "check" || (s.kind === "for" && (s.condition !== undefined || isView(s.count)));
    ends ||= s.kind === "kernel" && s.args.some((a) => a.kind === "limitSlot");
  });
  return ends;
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
    case "check":
      return step;
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
