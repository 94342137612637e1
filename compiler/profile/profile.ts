/** Where the time of a run goes: its steps with what they do, against what the machine can do. */

import type { DimEnv } from "../../ir/dim.js";
import type { Schedule } from "../schedule.js";
import type { Hardware } from "./peak.js";
import { type StepWork, workOf } from "./work.js";

/** The time of a step, as `session.profile` gives it. */
export interface StepTime {
  /** The user's own name of the layer or node. */
  readonly name: string;
  readonly kernel: string;
  readonly ms: number;
}

export interface ProfiledStep extends StepTime {
  /** Null where a size is decided by data, and for artefacts, which don't tell. */
  readonly operations: number | null;
  /** Bytes of the buffers that it reads and writes. */
  readonly bytes: number | null;
  /** What operations and bytes would take at the machine's limits, by ms: the larger of the two decides. Null where they are not known. */
  readonly limitMs: number | null;
  /** How many times as fast as one thread the session's threads can make it, as its chunks are cut; null where that is not known. */
  readonly speedup: number | null;
}

export interface Profile {
  readonly model: string;
  readonly entry: string;
  readonly variant: string;
  readonly threads: number;
  /** Of one thread, measured in the same run. */
  readonly hardware: Hardware;
  /** Least and median of whole runs, copies of inputs and outputs included. */
  readonly run: { readonly min: number; readonly median: number };
  readonly steps: readonly ProfiledStep[];
  /** How many times as fast as one thread so many could be, as chunks are cut and barriers cost; of the profile of one thread. */
  readonly bounds: readonly { readonly threads: number; readonly speedup: number }[];
}

/** What a barrier that a team passes costs, in ms: measured on two cores, and more than half of it is the wake-up of the last. */
const barrierMs = 0.001;
const teams = [2, 4, 8, 16];

export interface Measured {
  readonly model: string;
  readonly entry: string;
  readonly variant: string;
  readonly threads: number;
  readonly hardware: Hardware;
  readonly run: Profile["run"];
  readonly rows: readonly StepTime[];
}

/** @param schedule that the rows are steps of, if it is known. @param dims values of the entry's dims */
export function profileOf(measured: Measured, schedule: Schedule | undefined, dims: DimEnv): Profile {
  const { rows, ...rest } = measured;
  const { hardware, threads } = measured;
  const works = rows.map((_, i) => schedule && workOf(schedule.steps[i]!, dims));
  const steps = rows.map((row, i): ProfiledStep => {
    const w = works[i];
    return {
      ...row,
      operations: w?.operations ?? null,
      bytes: w?.bytes ?? null,
      limitMs: w ? limitOf(w, hardware, threads) : null,
      speedup: w ? w.speedup(threads) : null,
    };
  });
  return { ...rest, steps, bounds: threads === 1 ? teams.flatMap((n) => boundOf(rows, works, n)) : [] };
}

/** What a step touches lies in the core's cache up to so many bytes, from the step before or the run before. */
const inCache = 2 ** 20;

function limitOf({ operations, bytes }: StepWork, hardware: Hardware, threads: number): number {
  const speed = bytes > inCache ? hardware.gigabytes : hardware.cachedGigabytes;
  return Math.max(operations / hardware.gflops / threads, bytes / speed) / 1e6;
}

function boundOf(
  rows: readonly StepTime[],
  works: readonly (StepWork | undefined)[],
  threads: number,
): Profile["bounds"] {
  if (works.some((w) => w === undefined)) return [];
  const alone = rows.reduce((sum, r) => sum + r.ms, 0);
  const together = rows.reduce((sum, r, i) => sum + r.ms / works[i]!.speedup(threads) + barrierMs, 0);
  // Runs that are shorter alone stay on one thread.
  return [{ threads, speedup: Math.max(1, alone / together) }];
}

/** Steps of one kernel, or of one layer, as one. */
export interface Group {
  readonly name: string;
  readonly steps: number;
  readonly ms: number;
  readonly operations: number | null;
  readonly bytes: number | null;
  readonly limitMs: number | null;
}

/** Groups by a key, the longest first. */
export function groupsOf(steps: readonly ProfiledStep[], keyOf: (s: ProfiledStep) => string): Group[] {
  const groups = new Map<string, ProfiledStep[]>();
  for (const s of steps) {
    const key = keyOf(s);
    const list = groups.get(key);
    if (list) list.push(s);
    else groups.set(key, [s]);
  }
  const total = (list: readonly ProfiledStep[], of: (s: ProfiledStep) => number | null): number | null =>
    list.reduce<number | null>((sum, s) => (sum === null || of(s) === null ? null : sum + of(s)!), 0);
  return [...groups]
    .map(([name, list]) => ({
      name,
      steps: list.length,
      ms: total(list, (s) => s.ms)!,
      operations: total(list, (s) => s.operations),
      bytes: total(list, (s) => s.bytes),
      limitMs: total(list, (s) => s.limitMs),
    }))
    .sort((a, b) => b.ms - a.ms);
}
