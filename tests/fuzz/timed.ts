/** Random programs for as long as there is time; the first that is wrong is made smaller by dropping steps. */

import { seeded } from "../graph/random.js";
import { type Recipe, shrink } from "./batch.js";

export interface Timed<P> {
  readonly seed: number;
  readonly seconds: number;
  /** Fewest and most steps of a program. */
  readonly steps: readonly [number, number];
  readonly grow: (seed: number, steps: readonly number[]) => P;
  /** What is wrong with the program, if anything. "refused" counts as a case that was not tried. Throwing is wrong too. */
  readonly check: (program: P) => Promise<string | undefined>;
  readonly show: (program: P) => string;
  /** Told of a program that is wrong; without it, that ends the run in an Error. */
  readonly onWrong?: (report: string) => void;
  /** Told every minute how far it has got. */
  readonly onMinute?: (tried: Tried) => void;
}

export interface Tried {
  readonly cases: number;
  readonly refused: number;
  readonly wrong: number;
}

export async function tryFor<P>(how: Timed<P>): Promise<Tried> {
  const random = seeded(how.seed);
  const number = (): number => Math.floor(random() * 2 ** 31);
  const [fewest, most] = how.steps;
  const fault = async ({ seed, steps }: Recipe): Promise<string | undefined> => {
    try {
      return await how.check(how.grow(seed, steps));
    } catch (error) {
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
  };
  const wrongOnly = async (r: Recipe): Promise<string | undefined> => {
    const found = await fault(r);
    return found === "refused" ? undefined : found;
  };
  let [cases, refused, wrong] = [0, 0, 0];
  let minute = performance.now() + 60_000;
  for (const end = performance.now() + 1000 * how.seconds; performance.now() < end; cases++) {
    if (performance.now() >= minute) {
      how.onMinute?.({ cases, refused, wrong });
      minute += 60_000;
    }
    const recipe: Recipe = {
      seed: number(),
      steps: Array.from({ length: fewest + (number() % (most - fewest + 1)) }, number),
    };
    const found = await fault(recipe);
    if (found === "refused") refused++;
    if (found === undefined || found === "refused") continue;
    wrong++;
    const small = await shrink(recipe, wrongOnly);
    const report = `${await wrongOnly(small)}\ncase ${cases} from seed ${how.seed}: growing ${small.seed} by [${small.steps}]\n${how.show(how.grow(small.seed, small.steps))}`;
    if (how.onWrong === undefined) throw new Error(report);
    how.onWrong(report);
  }
  return { cases, refused, wrong };
}
