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
  const replaced = new Map<Buffer, Buffer>();
  const copies: CopyStep[] = [];
  for (const { state, value } of schedule.stateResults) {
    if (value.buffer === state) continue;
    if (isWhole(schedule, state, value) && aliases.mayOverwrite(value.buffer, state)) {
      aliases.share(value.buffer, state);
      replaced.set(value.buffer, state);
    } else {
      const to = { buffer: state, offset: 0 };
      copies.push({ kind: "copy", count: productOf(state.shape), from: value, to, loc: undefined });
    }
  }
  const steps = [...schedule.steps, ...atOnce(schedule, copies)].map((s) => rename(s, replaced));
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
  let pending = copies;
  while (pending.length > 0) {
    const isRead = (b: Buffer) => pending.some((c) => c.from.buffer === b);
    const free = pending.find((c) => !isRead(c.to.buffer));
    if (free !== undefined) {
      ordered.push(free);
      pending = pending.filter((c) => c !== free);
      continue;
    }
    const { buffer } = pending[0]!.to;
    const saved: Buffer = { id: ++id, dtype: buffer.dtype, shape: buffer.shape, source: { kind: "temp" } };
    const [from, to] = [buffer, saved].map((b): View => ({ buffer: b, offset: 0 })) as [View, View];
    ordered.push({ kind: "copy", count: productOf(buffer.shape), from, to, loc: undefined });
    pending = pending.map((c) => ({ ...c, from: renameView(c.from, new Map([[buffer, saved]])) }));
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

/** The value is all of a temporary, as large as the state, that is made outside control flow. */
function isWhole(schedule: Schedule, state: Buffer, value: View): boolean {
  const b = value.buffer;
  if (b.source.kind !== "temp" || value.offset !== 0 || b.dtype !== state.dtype) return false;
  if (!dimEqual(productOf(b.shape), productOf(state.shape))) return false;
  if (schedule.steps.some((step) => innerSteps(step).length > 0 && writesInside(step, b))) return false;
  // What changes state runs to its end, so that no loop that may have none comes after it.
  return !schedule.steps.slice(schedule.steps.findIndex((step) => writesInside(step, b))).some(isEndless);
}

/** Whether only the run can tell how many rounds a loop in the step makes. */
function isEndless(step: Step): boolean {
  let endless = false;
  forEachStep([step], (s) => {
    endless ||= s.kind === "for" && (s.condition !== undefined || isView(s.count));
  });
  return endless;
}

function writesInside(step: Step, b: Buffer): boolean {
  let writes = false;
  forEachStep([step], (s) => {
    writes ||= usesOf(s).some((u) => u.view.buffer === b && u.access !== "read");
  });
  return writes;
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
