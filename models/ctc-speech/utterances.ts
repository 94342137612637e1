/** Rows of spoken digits, and how far what is told of them is from what was said. */

import { type Random, randomOf } from "wasmith/data";
import { type Recording, recordings } from "../data/spoken.js";

export interface Utterance {
  readonly digits: readonly number[];
  readonly samples: Float32Array;
}

/** A recording played faster by a factor, which raises its pitch as well. */
const played = (samples: Float32Array, factor: number) =>
  Float32Array.from({ length: Math.floor((samples.length - 1) / factor) }, (_, i) => {
    const at = Math.floor(i * factor);
    const share = i * factor - at;
    return samples[at]! * (1 - share) + samples[at + 1]! * share;
  });

/** Three to five digits by one speaker, one after the other. @param change by what share each is played faster or slower, at most */
export function utterance(all: readonly Recording[], random: Random, change = 0): Utterance {
  const { speaker } = all[random.integer(all.length)]!;
  const own = all.filter((recording) => recording.speaker === speaker);
  const said = Array.from({ length: 3 + random.integer(3) }, () => own[random.integer(own.length)]!);
  const parts = said.map(({ samples }) =>
    change === 0 ? samples : played(samples, 1 + random.between(-change, change)),
  );
  // Some time between them, up to a tenth of a second.
  const gaps = said.map(() => random.integer(800));
  const length = parts.reduce((sum, part, i) => sum + gaps[i]! + part.length, 0);
  // Faint noise, as in every recording.
  const samples = Float32Array.from({ length }, () => random.between(-1e-3, 1e-3));
  let at = 0;
  for (const [i, part] of parts.entries()) {
    at += gaps[i]!;
    for (const sample of part) samples[at++]! += sample;
  }
  return { digits: said.map(({ digit }) => digit), samples };
}

/** Rows made of recordings, always the same ones for a seed. */
export function utterances(all: readonly Recording[], count: number, seed: number): Utterance[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => utterance(all, random));
}

/** Rows of recordings that were not learnt from: all is measured on the first 200. */
export const unseen = async (count: number) => utterances(await recordings("test"), count, 1);

/** Least number of digits to put in, take out or change, until one is the other: Levenshtein's distance. */
export function distance(said: readonly number[], told: readonly number[]): number {
  let row = [0, ...told.map((_, j) => j + 1)];
  for (const [i, digit] of said.entries()) {
    const next = [i + 1];
    for (const [j, other] of told.entries())
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (digit === other ? 0 : 1)));
    row = next;
  }
  return row.at(-1)!;
}

/** Digits to put in, take out or change, for each that was said. */
export function digitError(said: readonly (readonly number[])[], told: readonly (readonly number[])[]): number {
  return said.reduce((sum, row, i) => sum + distance(row, told[i]!), 0) / said.flat().length;
}
