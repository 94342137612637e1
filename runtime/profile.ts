/** Times of the steps of a run. A module of its own, which is loaded by those who profile. */
import type { EntryInfo } from "./format.js";
import type { Machine } from "./machine.js";

/** Time spent in one step of the schedule. */
export interface ProfileRow {
  /** The user's own name of the layer or node. */
  readonly name: string;
  readonly kernel: string;
  /** Least of the repetitions, in milliseconds. */
  readonly ms: number;
}

/** Runs an entry step by step, so many times. @param begin binds the feeds for another run */
export async function profileSteps(
  name: string,
  repeat: number,
  begin: () => { readonly machine: Machine; readonly entry: EntryInfo },
): Promise<ProfileRow[]> {
  const rows: ProfileRow[] = [];
  for (let i = 0; i < repeat; i++) {
    const { machine, entry } = begin();
    machine.clearLimits(entry);
    // Sizes that state counts (tokens in a cache) are the same in each repetition.
    const counters = machine.manifest.state.filter((s) => entry.counts && s.role === "counter");
    const before = counters.map(({ offset }) => machine.bytes.slice(offset, offset + 8));
    for (const [step, { name: place, kernel }] of entry.steps.entries()) {
      await machine.run(name, step, step + 1);
      rows[step] = { name: place, kernel, ms: Math.min(machine.took, rows[step]?.ms ?? Infinity) };
    }
    counters.forEach(({ offset }, c) => {
      machine.bytes.set(before[c]!, offset);
    });
  }
  return rows;
}
