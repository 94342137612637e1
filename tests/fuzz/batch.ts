/** Random programs by the dozen: they are compiled together, and the first that is wrong is made smaller by dropping steps. */

import { seeded } from "../graph/random.js";
import { fuzzSeed } from "./seed.js";

export interface Growing<P> {
  /** Names the test in what is printed. */
  readonly name: string;
  readonly count: number;
  /** Programs that are compiled together. */
  readonly batch: number;
  /** Most steps of a program. */
  readonly steps: number;
  readonly grow: (seed: number, steps: readonly number[]) => P;
  /** What is wrong with each program, if anything. May throw where one of them is at fault. */
  readonly check: (programs: readonly P[]) => Promise<readonly (string | undefined)[]>;
  readonly show: (program: P) => string;
}

export interface Recipe {
  readonly seed: number;
  readonly steps: readonly number[];
}

/** Throws an Error that shows the smallest program found to be wrong. */
export async function growAndCheck<P>(how: Growing<P>): Promise<void> {
  const start = fuzzSeed(how.name);
  const random = seeded(start);
  const number = () => Math.floor(random() * 2 ** 31);
  const grown = ({ seed, steps }: Recipe) => how.grow(seed, steps);
  const alone = async (r: Recipe) => {
    try {
      return (await how.check([grown(r)]))[0];
    } catch (error) {
      return String(error);
    }
  };
  for (let done = 0; done < how.count; done += how.batch) {
    const recipes = Array.from(
      { length: Math.min(how.batch, how.count - done) },
      (): Recipe => ({
        seed: number(),
        steps: Array.from({ length: 1 + Math.floor(random() * how.steps) }, number),
      }),
    );
    let suspects: readonly Recipe[] = recipes;
    try {
      const wrong = await how.check(recipes.map(grown));
      suspects = recipes.filter((_, i) => wrong[i] !== undefined);
    } catch {
      // Which of them it is comes out below.
    }
    for (const r of suspects) {
      if ((await alone(r)) === undefined) continue;
      const small = await shrink(r, alone);
      throw new Error(`${await alone(small)}\nfrom seed ${start}, program ${small.seed}\n${how.show(grown(small))}`);
    }
    if (suspects.length > 0 && suspects.length < recipes.length)
      throw new Error(`wrong only beside others, from seed ${start}:\n${how.show(grown(suspects[0]!))}`);
  }
}

/** The recipe without the steps that are not needed for it to be wrong. */
export async function shrink(r: Recipe, wrong: (r: Recipe) => Promise<string | undefined>): Promise<Recipe> {
  let best = r;
  for (let size = Math.ceil(r.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.steps.length; ) {
      const next = { ...best, steps: best.steps.toSpliced(at, size) };
      if ((await wrong(next)) !== undefined) best = next;
      else at += size;
    }
  }
  return best;
}
