/**
 * Where the new values of states come to lie. First each branch of an `if` that makes a state's new value is told to leave it in the
 * state itself (`sink`), so that a branch which changes nothing does nothing; elsewhere a copy at the end does that. Then the
 * kernels that compute what is copied write it over the old value at once, where nothing needs that any more.
 */

import { dimEqual } from "../../ir/dim.js";
import { productOf } from "../../ir/ops/movement.js";
import {
  type Buffer,
  type CopyStep,
  forEachStep,
  type IfStep,
  innerSteps,
  isView,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";
import { usesOf } from "./liveness.js";
import { rename, renameView } from "./rename.js";
import { isWholeCopy, SharedMemory } from "./shared-memory.js";

export function placeStateResults(schedule: Schedule): Schedule {
  const settling = new Settling(schedule);
  const steps = settling.settle(
    schedule.steps,
    schedule.stateResults,
    new Set(schedule.outputs.map((o) => o.view.buffer)),
  );
  const { replaced } = settling;
  const settled: Schedule = { ...schedule, steps: steps.map((s) => rename(s, replaced)) };
  const memory = new SharedMemory(settled, endsRun);
  forEachStep(settled.steps, (s) => {
    if (s.kind !== "copy" || s.to.buffer.source.kind !== "state" || s.from.buffer.source.kind !== "temp") return;
    if (isWholeCopy(s) && memory.share(s.to.buffer, s.from.buffer)) replaced.set(s.from.buffer, s.to.buffer);
  });
  return {
    ...schedule,
    steps: settled.steps.flatMap((s) => withoutIdle(rename(s, replaced))),
    outputs: schedule.outputs.map((o) => ({ ...o, view: renameView(o.view, replaced) })),
    stateResults: schedule.stateResults.map(({ state }) => ({ state, value: { buffer: state, offset: 0 } })),
  };
}

/** A value that a state must hold after some steps. */
interface Wanted {
  readonly state: Buffer;
  readonly value: View;
}

class Settling {
  /** Results of `if`s that lie in states. */
  readonly replaced = new Map<Buffer, Buffer>();
  #ids: number;

  constructor(schedule: Schedule) {
    this.#ids = Math.max(0, ...allBuffers(schedule).map((b) => b.id));
  }

  /** The steps, after which the states hold what is wanted. `read`: buffers that are read after them, but for wanted values. */
  settle(steps: readonly Step[], wanted: readonly Wanted[], read: ReadonlySet<Buffer>): readonly Step[] {
    const changed = wanted.filter(({ state, value }) => value.buffer !== state);
    const sunk = sinkable(steps, changed, read);
    const done = new Set([...sunk.values()].flat());
    const made = steps.map((step, i) => {
      const inside = sunk.get(i);
      return step.kind === "if" && inside !== undefined ? this.#sink(step, inside) : step;
    });
    return [...made, ...this.#atOnce(changed.filter((w) => !done.has(w)))];
  }

  /** The `if`, whose branches leave results in states. Nobody reads these after it as they were. */
  #sink(step: IfStep, wanted: readonly Wanted[]): IfStep {
    const states = new Map(wanted.map((w) => [w.value.buffer, w.state]));
    for (const [result, state] of states) this.replaced.set(result, state);
    const branch = (steps: readonly Step[]): readonly Step[] => {
      const inner: Wanted[] = [];
      const others = steps.filter((s) => {
        const state = s.kind === "copy" ? states.get(s.to.buffer) : undefined;
        if (state !== undefined) inner.push({ state, value: (s as CopyStep).from });
        return state === undefined;
      });
      return this.settle(others, inner, new Set());
    };
    return { ...step, then: branch(step.then), else: branch(step.else) };
  }

  /**
   * The copies in an order in which they do what they would do at once: what a copy overwrites has been read. Where states exchange
   * their values, one of them is saved first.
   */
  #atOnce(wanted: readonly Wanted[]): readonly CopyStep[] {
    const copies = wanted.map(
      ({ state, value }): CopyStep => ({
        kind: "copy",
        count: productOf(state.shape),
        from: value,
        to: { buffer: state, offset: 0 },
        loc: undefined,
      }),
    );
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
      const copy: Buffer = { id: ++this.#ids, dtype: buffer.dtype, shape: buffer.shape, source: { kind: "temp" } };
      const [from, to] = [buffer, copy].map((b): View => ({ buffer: b, offset: 0 })) as [View, View];
      ordered.push({ kind: "copy", count: productOf(buffer.shape), from, to, loc: undefined });
      saved.set(buffer, copy);
      take(stuck);
    }
    return ordered;
  }
}

/** Values that are results of an `if` among the steps and may be left in their states by its branches, by the index of the `if`. */
function sinkable(
  steps: readonly Step[],
  wanted: readonly Wanted[],
  read: ReadonlySet<Buffer>,
): ReadonlyMap<number, readonly Wanted[]> {
  const found = new Map<number, Wanted[]>();
  if (!steps.some((s) => s.kind === "if")) return found;
  const span = spans(steps);
  const results = new Map<Step, ReadonlySet<Buffer>>();
  const copied = new Set(wanted.map((w) => w.value.buffer));
  // State is changed as a whole or not at all: nothing that may end the run comes after it.
  const lastUnsure = steps.findLastIndex(mayEndRun);
  const taken = new Set<Buffer>();
  for (const w of wanted) {
    const { buffer } = w.value;
    const at = span.get(buffer)?.first ?? -1;
    const step = steps[at];
    if (step?.kind !== "if" || at < lastUnsure || taken.has(buffer) || !isAlike(w)) continue;
    const isReadLater = read.has(w.state) || copied.has(w.state) || (span.get(w.state)?.last ?? -1) > at;
    if (isReadLater) continue;
    if (!results.has(step)) results.set(step, resultsOf(step));
    if (!results.get(step)!.has(buffer)) continue;
    taken.add(buffer);
    found.set(at, [...(found.get(at) ?? []), w]);
  }
  return found;
}

/** Where buffers are touched first and last in a list of steps. */
function spans(steps: readonly Step[]): ReadonlyMap<Buffer, { readonly first: number; readonly last: number }> {
  const found = new Map<Buffer, { first: number; last: number }>();
  for (const [i, step] of steps.entries())
    forEachStep([step], (s) => {
      for (const { view } of usesOf(s)) {
        const known = found.get(view.buffer);
        if (known === undefined) found.set(view.buffer, { first: i, last: i });
        else known.last = i;
      }
    });
  return found;
}

/** Whether the value is a temporary as large as the state. */
function isAlike({ state, value: { buffer, offset } }: Wanted): boolean {
  const isOfKind = buffer.source.kind === "temp" && offset === 0 && buffer.dtype === state.dtype;
  return isOfKind && dimEqual(productOf(buffer.shape), productOf(state.shape));
}

/** Buffers that both branches fill by a copy, and do not touch otherwise. */
function resultsOf(step: IfStep): ReadonlySet<Buffer> {
  const [yes, no] = [step.then, step.else].map((branch) => {
    const uses = new Map<Buffer, number>();
    forEachStep(branch, (s) => {
      for (const { view } of usesOf(s)) uses.set(view.buffer, (uses.get(view.buffer) ?? 0) + 1);
    });
    const copies = branch.flatMap((s) => (s.kind === "copy" && fills(s) ? [s.to.buffer] : []));
    return new Set(copies.filter((b) => uses.get(b) === 1));
  }) as [Set<Buffer>, Set<Buffer>];
  return new Set([...yes].filter((b) => no.has(b)));
}

const fills = ({ to, count }: CopyStep): boolean => to.offset === 0 && dimEqual(count, productOf(to.buffer.shape));

export function allBuffers(schedule: Schedule): readonly Buffer[] {
  const found = new Set<Buffer>();
  forEachStep(schedule.steps, (s) => {
    for (const u of usesOf(s)) found.add(u.view.buffer);
  });
  for (const t of [...schedule.inputs, ...schedule.outputs]) found.add(t.view.buffer);
  for (const r of schedule.stateResults) found.add(r.state).add(r.value.buffer);
  return [...found];
}

/** The step without copies of what lies there already. */
function withoutIdle(s: Step): readonly Step[] {
  const inside = (steps: readonly Step[]) => steps.flatMap(withoutIdle);
  switch (s.kind) {
    case "copy":
      return s.from.buffer === s.to.buffer && dimEqual(s.from.offset, s.to.offset) ? [] : [s];
    case "if":
      return [{ ...s, then: inside(s.then), else: inside(s.else) }];
    case "for":
      return [{ ...s, body: inside(s.body) }];
    default:
      return [s];
  }
}

/** Whether a run may end in the step itself: in a check, or in a loop of which only the run can tell how many rounds it makes. */
function endsRun(s: Step): boolean {
  if (s.kind === "check") return true;
  if (s.kind === "for") return s.condition !== undefined || isView(s.count);
  return s.kind === "kernel" && s.args.some((a) => a.kind === "limitSlot");
}

/** Whether a run may end in the step or in one inside it. */
const mayEndRun = (step: Step): boolean => endsRun(step) || innerSteps(step).some((inner) => inner.some(mayEndRun));
