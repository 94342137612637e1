/**
 * What is to be measured: the whole model, with other kernels in each round. A round changes many choices at once, since the time of each step
 * is known by itself; choices whose steps lie in one loop, which is timed as a whole, take turns. So a model needs about as many
 * rounds as a choice has candidates, and kernels are measured as they run: among the others, with weights that come from memory.
 */

import type { Candidate } from "../lower/core/tuner.js";
import { forEachStep, type Schedule } from "../schedule.js";

/** A choice that a model leaves. */
export interface Choice {
  readonly kind: string;
  /** The first is what is taken without tuning. */
  readonly candidates: readonly Candidate[];
}

/** Which choices the steps of each entry belong to, as indices into the list of choices. */
export type StepChoices = Readonly<Record<string, readonly (readonly number[])[]>>;

/** Candidates that differ from the first, by the index of their choice. */
export type Round = ReadonlyMap<number, number>;

export function stepChoices(schedules: readonly Schedule[], choices: readonly Choice[]): StepChoices {
  const indices = new Map(choices.map((c, i) => [c.kind, i]));
  return Object.fromEntries(
    schedules.map(({ name, steps }) => {
      const ofSteps = steps.map((step) => {
        const found = new Set<number>();
        // What is made once counts in no later run.
        if (step.kind === "once") return [];
        forEachStep([step], (s) => {
          const index = s.kind === "kernel" && s.chosenFor !== undefined ? indices.get(s.chosenFor) : undefined;
          if (index !== undefined) found.add(index);
        });
        return [...found];
      });
      return [name, ofSteps] as const;
    }),
  );
}

/** Rounds in which each candidate of the `open` choices but the first comes once. */
export function planRounds(
  choices: readonly Choice[],
  steps: StepChoices,
  open: ReadonlySet<number>,
): readonly Round[] {
  const together = new Map<number, Set<number>>();
  for (const list of Object.values(steps).flat())
    for (const a of list) together.set(a, new Set([...(together.get(a) ?? []), ...list]));
  const rounds: Map<number, number>[] = [];
  choices.forEach(({ candidates }, choice) => {
    if (!open.has(choice)) return;
    const isFree = (round: Map<number, number>) => ![...(together.get(choice) ?? [choice])].some((c) => round.has(c));
    for (let candidate = 1; candidate < candidates.length; candidate++) {
      let round = rounds.find((r) => isFree(r) && !r.has(choice));
      if (round === undefined) {
        round = new Map();
        rounds.push(round);
      }
      round.set(choice, candidate);
    }
  });
  return rounds;
}
