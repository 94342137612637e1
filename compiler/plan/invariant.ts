/** Steps whose results are the same in every run of an entry, and which of them belong together. */

import type { Dim } from "../../ir/dim.js";
import {
  type Arg,
  type Buffer,
  type CopyStep,
  forEachStep,
  type KernelStep,
  type Schedule,
  type Step,
} from "../schedule.js";
import type { Contents } from "../weights.js";
import { usesOf } from "./liveness.js";

type Leaf = KernelStep | CopyStep;

/** Steps that share temporaries with one another and with no others, but for the results. */
export interface Part {
  readonly schedule: Schedule;
  readonly steps: readonly Leaf[];
  /** What other steps read. */
  readonly results: readonly Buffer[];
  /** Parts of one key have equal results in the same order. */
  readonly key: string;
  /** State that they are made of. */
  readonly states: readonly string[];
}

/** `weights`: names of the state that stays as it is where an entry does not write it. */
export function invariantParts(
  schedules: readonly Schedule[],
  weights: ReadonlySet<string>,
  contents: Contents,
): readonly Part[] {
  const keys = new Keys(contents);
  return schedules.flatMap((s) => partsOf(s, weights, keys));
}

const isStatic = (d: Dim | undefined): boolean => d === undefined || typeof d === "number";

function isSteadyArg(a: Arg): boolean {
  switch (a.kind) {
    case "view":
      return isStatic(a.view.offset) && a.view.buffer.shape.every(isStatic);
    case "dim":
      return isStatic(a.value);
    case "scratch":
      return isStatic(a.bytes);
    case "f32":
    case "limitSlot":
      return true;
    case "sizeSlot":
      return false;
  }
}

/** Whether a step does the same for equal memory whatever the sizes of the run. */
function isSteady(step: Step): step is Leaf {
  if (step.kind === "copy") return [step.count, step.from.offset, step.to.offset].every(isStatic);
  return step.kind === "kernel" && isStatic(step.chunks) && step.args.every(isSteadyArg);
}

/** The leaves outside control flow that depend on weights and unchanged state alone, in their order. */
function invariantSteps(schedule: Schedule, weights: ReadonlySet<string>): readonly Leaf[] {
  const steady = new Set(schedule.steps.filter(isSteady));
  const touching = new Map<Buffer, Leaf[]>();
  const bad = new Set<Buffer>();
  const spoiled: Buffer[] = [];
  const spoil = (b: Buffer) => {
    if (bad.has(b)) return;
    bad.add(b);
    spoiled.push(b);
  };
  for (const t of [...schedule.inputs, ...schedule.outputs]) spoil(t.view.buffer);
  for (const { state, value } of schedule.stateResults) {
    spoil(state);
    spoil(value.buffer);
  }
  for (const step of schedule.steps) {
    const leaf = steady.has(step as Leaf) ? (step as Leaf) : undefined;
    forEachStep([step], (s) => {
      for (const { view, access } of usesOf(s)) {
        const { source } = view.buffer;
        if (source.kind === "state" && !weights.has(source.name)) spoil(view.buffer);
        if (access !== "read" && (!leaf || source.kind !== "temp")) spoil(view.buffer);
        if (!leaf) continue;
        const list = touching.get(view.buffer);
        if (list === undefined) touching.set(view.buffer, [leaf]);
        else list.push(leaf);
      }
    });
  }
  // A step that reads or writes what changes from run to run is not steady, and neither is what it writes.
  for (let b = spoiled.pop(); b !== undefined; b = spoiled.pop()) {
    for (const step of touching.get(b) ?? []) {
      if (!steady.delete(step)) continue;
      for (const { view, access } of usesOf(step)) if (access !== "read") spoil(view.buffer);
    }
  }
  return [...steady];
}

function partsOf(schedule: Schedule, weights: ReadonlySet<string>, keys: Keys): readonly Part[] {
  const steps = invariantSteps(schedule, weights);
  if (steps.length === 0) return [];
  const inside = new Set<Step>(steps);
  const readOutside = new Set<Buffer>();
  for (const step of schedule.steps) {
    if (inside.has(step)) continue;
    forEachStep([step], (s) => {
      for (const { view } of usesOf(s)) readOutside.add(view.buffer);
    });
  }
  return connected(steps).map((list) => {
    const states = new Set<string>();
    const made = new Set<Buffer>();
    const own = list.map((step) => keys.ofStep(step));
    for (const { view, access } of list.flatMap(usesOf)) {
      const { source } = view.buffer;
      if (source.kind === "state") states.add(source.name);
      if (access !== "read") made.add(view.buffer);
    }
    const results = [...made].filter((b) => readOutside.has(b));
    const key = keys.intern(`${own}>${results.map((b) => keys.ofBuffer(b))}`);
    return { schedule, steps: list, results, key, states: [...states] };
  });
}

/** The steps by the temporaries that they share, each list and its steps in the given order. */
function connected(steps: readonly Leaf[]): readonly (readonly Leaf[])[] {
  const parent = steps.map((_, i) => i);
  const root = (i: number): number => {
    while (parent[i] !== i) {
      parent[i] = parent[parent[i]!]!;
      i = parent[i]!;
    }
    return i;
  };
  const user = new Map<Buffer, number>();
  steps.forEach((step, i) => {
    for (const { view } of usesOf(step)) {
      if (view.buffer.source.kind !== "temp") continue;
      const other = user.get(view.buffer);
      if (other === undefined) user.set(view.buffer, i);
      else parent[root(i)] = root(other);
    }
  });
  const lists = new Map<number, Leaf[]>();
  steps.forEach((step, i) => {
    const list = lists.get(root(i));
    if (list === undefined) lists.set(root(i), [step]);
    else list.push(step);
  });
  return [...lists.values()];
}

/** Names for what steps compute, the same for the same computation in any entry. */
class Keys {
  readonly #ids = new Map<string, string>();
  readonly #buffers = new Map<Buffer, string>();
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  intern(text: string): string {
    const known = this.#ids.get(text) ?? String(this.#ids.size);
    this.#ids.set(text, known);
    return known;
  }

  ofBuffer(b: Buffer): string {
    if (b.source.kind === "weight") return `w${this.#contents.id(b.source.value)}`;
    if (b.source.kind === "state") return `s ${JSON.stringify(b.source.name)}`;
    // Not yet written: what it holds means nothing, but how large it is does.
    return this.#buffers.get(b) ?? `${b.dtype}[${b.shape}]`;
  }

  /** Steps are asked for in their order. */
  ofStep(step: Leaf): string {
    const key = this.intern(step.kind === "kernel" ? this.#kernel(step) : this.#copy(step));
    usesOf(step).forEach(({ view, access }, i) => {
      if (access !== "read") this.#buffers.set(view.buffer, `t${this.intern(`${key}/${i}`)}`);
    });
    return key;
  }

  #kernel({ fn, args, chunks }: KernelStep): string {
    return `${fn.name}(${args.map((a) => this.#arg(a))}) ${chunks}`;
  }

  #copy({ from, to, count }: CopyStep): string {
    return `copy ${this.ofBuffer(from.buffer)}+${from.offset} ${this.ofBuffer(to.buffer)}+${to.offset} ${count}`;
  }

  #arg(a: Arg): string {
    switch (a.kind) {
      case "view":
        return `${a.access} ${this.ofBuffer(a.view.buffer)}+${a.view.offset}`;
      case "dim":
        return String(a.value);
      case "f32":
        return Object.is(a.value, -0) ? "-0f" : `${a.value}f`;
      case "scratch":
        return `scratch ${a.bytes} ${a.perThread}`;
      case "sizeSlot":
      case "limitSlot":
        return a.kind;
    }
  }
}
