/**
 * What a run makes of weights alone, and of state that its entry leaves as it is, comes out the same in every run: panels of packed
 * weights, Winograd's transformed weights, values wider than their file. Such steps go into once steps, whose results lie in the
 * prepared region. Entries that need the same share them, and entries that change state clear the flags of what was made of it.
 *
 * The first run that needs something makes it, and not a function that the runtime would have to call: so nothing is made in vain (a
 * training program that is never asked to predict packs nothing for it), whatever runs the module need not know of it, and threads,
 * profiles and runs that are cut short treat these steps as all others.
 */

import { tensorFrom } from "../../ir/tensor.js";
import {
  type Buffer,
  type CopyStep,
  forEachStep,
  type OnceStep,
  type Schedule,
  type Step,
  type View,
} from "../schedule.js";
import type { Contents } from "../weights.js";
import { invariantParts, type Part } from "./invariant.js";
import { bufferBytes, usesOf } from "./liveness.js";
import { rename } from "./rename.js";

/** What may be kept: nothing that would take memory, all, or what stays within a measure. */
export const weightsPolicies = ["small", "auto", "fast"] as const;
export type WeightsPolicy = (typeof weightsPolicies)[number];

export interface Prepared {
  readonly schedules: readonly Schedule[];
  /** Bytes of each prepared buffer by its index. The first holds the flags, one in a byte. */
  readonly bytes: readonly number[];
  /** The number of flags, the first ones, of what is made of state: they are to be cleared when it changes. */
  readonly changing: number;
}

export interface PrepareOptions {
  readonly policy: WeightsPolicy;
  /** Bytes of the weights. */
  readonly weightBytes: number;
}

/** Bytes that may be prepared without being asked for, where the weights themselves do not take more. */
const automaticBytes = 2 ** 28;

/** Steps of one once step: they are code of one function, and engines are slow to compile large ones. */
const mostSteps = 32;

/** Equal parts, of any entries. */
type Shared = readonly Part[];

/** `weights`: names of the state that counts as such. Other state (rates, counters, sums of metrics) changes too often. */
export function prepare(
  schedules: readonly Schedule[],
  weights: ReadonlySet<string>,
  contents: Contents,
  { policy, weightBytes }: PrepareOptions,
): Prepared {
  const nothing = { schedules, bytes: [], changing: 0 };
  if (policy === "small") return nothing;
  const most = policy === "fast" ? Infinity : Math.max(automaticBytes, weightBytes);
  const writers = writersOf(schedules);
  const all = grouped(within(shared(invariantParts(schedules, weights, contents)), most), schedules, writers);
  const groups = [...all.filter(isOfState), ...all.filter((g) => !isOfState(g))];
  if (groups.length === 0) return nothing;

  const flags: Buffer = { id: -1, dtype: "bool", shape: [groups.length], source: { kind: "prepared", index: 0 } };
  const { moved, bytes } = preparedResults(groups);
  const gone = new Set<Step>(groups.flat(2).flatMap((p) => p.steps));
  const once = onceSteps(groups, flags);
  const stale = new Map<Schedule, number[]>(schedules.map((s) => [s, []]));
  groups.forEach((group, flag) => {
    for (const s of new Set(madeOf(group).flatMap((name) => writers.get(name) ?? []))) stale.get(s)!.push(flag);
  });
  const place = (schedule: Schedule): Schedule => {
    const rest = schedule.steps.filter((s) => !gone.has(s));
    const steps = [...(once.get(schedule) ?? []), ...cleared(flags, stale.get(schedule)!), ...rest];
    return { ...schedule, steps: steps.map((s) => rename(s, moved)) };
  };
  return { schedules: schedules.map(place), bytes, changing: all.filter(isOfState).length };
}

/** The results as buffers of the prepared region, and the bytes of each by its index, those of the flags before them. */
function preparedResults(groups: readonly (readonly Shared[])[]): {
  readonly moved: ReadonlyMap<Buffer, Buffer>;
  readonly bytes: readonly number[];
} {
  const bytes: number[] = [groups.length];
  const moved = new Map<Buffer, Buffer>();
  for (const same of groups.flat()) {
    same[0]!.results.forEach((b, i) => {
      const source = { kind: "prepared", index: bytes.push(bufferBytes(b) as number) - 1 } as const;
      // An entry that makes it twice has it once.
      const inEntry = new Map<Schedule, Buffer>();
      for (const { schedule, results } of same) {
        const one: Buffer = inEntry.get(schedule) ?? { ...results[i]!, source };
        inEntry.set(schedule, one);
        moved.set(results[i]!, one);
      }
    });
  }
  return { moved, bytes };
}

/** The once step of each group in each entry that needs it: one of the parts that are the same there. */
function onceSteps(groups: readonly (readonly Shared[])[], flags: Buffer): ReadonlyMap<Schedule, readonly OnceStep[]> {
  const once = new Map<Schedule, OnceStep[]>();
  groups.forEach((group, flag) => {
    const bodies = new Map<Schedule, Step[]>();
    for (const same of group) {
      for (const [schedule, { steps }] of new Map(same.map((p) => [p.schedule, p])))
        bodies.set(schedule, [...(bodies.get(schedule) ?? []), ...steps]);
    }
    for (const [schedule, body] of bodies) {
      const done: View = { buffer: flags, offset: flag };
      const step: OnceStep = { kind: "once", done, body, loc: body[0]!.loc };
      once.set(schedule, [...(once.get(schedule) ?? []), step]);
    }
  });
  return once;
}

const madeOf = (group: readonly Shared[]): readonly string[] => group.flatMap((same) => same[0]!.states);

const isOfState = (group: readonly Shared[]): boolean => madeOf(group).length > 0;

/** Entries by the state that they write. */
function writersOf(schedules: readonly Schedule[]): ReadonlyMap<string, readonly Schedule[]> {
  const writers = new Map<string, Schedule[]>();
  for (const schedule of schedules) {
    const written = new Set(schedule.stateResults.map((r) => r.state.source));
    forEachStep(schedule.steps, (s) => {
      for (const { view, access } of usesOf(s)) if (access !== "read") written.add(view.buffer.source);
    });
    for (const name of new Set([...written].flatMap((s) => (s.kind === "state" ? [s.name] : []))))
      writers.set(name, [...(writers.get(name) ?? []), schedule]);
  }
  return writers;
}

function shared(parts: readonly Part[]): readonly Shared[] {
  const byKey = new Map<string, Part[]>();
  for (const p of parts) {
    const same = byKey.get(p.key);
    if (same === undefined) byKey.set(p.key, [p]);
    else same.push(p);
  }
  return [...byKey.values()];
}

const sizeOf = ([part]: Shared): number => part!.results.reduce((n, b) => n + (bufferBytes(b) as number), 0);

/** Those that fit into so many bytes in all, small ones first: a byte saves about as much time wherever it is. */
function within(all: readonly Shared[], most: number): readonly Shared[] {
  const bySize = [...all].sort((a, b) => sizeOf(a) - sizeOf(b));
  const kept = new Set<Shared>();
  let total = 0;
  for (const same of bySize) {
    total += sizeOf(same);
    if (total > most) break;
    kept.add(same);
  }
  return all.filter((same) => kept.has(same));
}

/** Groups of parts that are made together: the same entries need them, and the same entries make them stale. */
function grouped(
  all: readonly Shared[],
  schedules: readonly Schedule[],
  writers: ReadonlyMap<string, readonly Schedule[]>,
): readonly (readonly Shared[])[] {
  const index = new Map(schedules.map((s, i) => [s, i]));
  const indices = (list: readonly Schedule[]) => [...new Set(list.map((s) => index.get(s)!))].sort((a, b) => a - b);
  const groups: Shared[][] = [];
  const open = new Map<string, { group: Shared[]; steps: number }>();
  for (const same of all) {
    const users = indices(same.map((p) => p.schedule));
    const key = `${users}|${indices(same[0]!.states.flatMap((s) => writers.get(s) ?? []))}`;
    const size = same[0]!.steps.length;
    let current = open.get(key);
    if (current === undefined || current.steps + size > mostSteps) {
      current = { group: [], steps: 0 };
      groups.push(current.group);
      open.set(key, current);
    }
    current.group.push(same);
    current.steps += size;
  }
  return groups;
}

/** Steps that clear flags, neighbours at once. */
function cleared(flags: Buffer, stale: readonly number[]): readonly CopyStep[] {
  const steps: CopyStep[] = [];
  for (let i = 0; i < stale.length; ) {
    let end = i + 1;
    while (end < stale.length && stale[end] === stale[end - 1]! + 1) end++;
    const count = end - i;
    const value = tensorFrom("bool", [count], new Uint8Array(count));
    const zeros: Buffer = { id: -2 - i, dtype: "bool", shape: [count], source: { kind: "weight", value } };
    steps.push({
      kind: "copy",
      count,
      from: { buffer: zeros, offset: 0 },
      to: { buffer: flags, offset: stale[i]! },
      loc: undefined,
    });
    i = end;
  }
  return steps;
}
