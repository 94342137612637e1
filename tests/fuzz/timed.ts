/** Random programs for as long as there is time; the first that is wrong is made smaller by dropping steps. */

import { seeded } from "../graph/random.js";
import { type Recipe, shrink } from "./batch.js";

export interface Timed<P> {
  readonly seed: number;
  readonly seconds: number;
  /** Fewest and most steps of a program. */
  readonly steps: readonly [number, number];
  readonly grow: (seed: number, steps: readonly number[]) => P;
  /** Programs that are checked together. */
  readonly batch: number;
  /**
   * What is wrong with each program, if anything. "refused" counts as a case that was not tried. Throwing says that one of them is
   * wrong.
   */
  readonly check: (programs: readonly P[]) => Promise<readonly (string | undefined)[]>;
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
  const grown = ({ seed, steps }: Recipe): P => how.grow(seed, steps);
  const found = async (recipes: readonly Recipe[]): Promise<readonly (string | undefined)[]> => {
    try {
      return await how.check(recipes.map(grown));
    } catch (error) {
      return recipes.map(() => (error instanceof Error ? (error.stack ?? error.message) : String(error)));
    }
  };
  const wrongAlone = async (r: Recipe): Promise<string | undefined> => {
    const [alone] = await found([r]);
    return alone === "refused" ? undefined : alone;
  };
  const shown = (r: Recipe): string => `growing ${r.seed} by [${r.steps}]\n${how.show(grown(r))}`;
  let [cases, refused, wrong] = [0, 0, 0];
  const report = (text: string): void => {
    wrong++;
    if (how.onWrong === undefined) throw new Error(text);
    how.onWrong(text);
  };
  let minute = performance.now() + 60_000;
  for (const end = performance.now() + 1000 * how.seconds; performance.now() < end; cases += how.batch) {
    if (performance.now() >= minute) {
      how.onMinute?.({ cases, refused, wrong });
      minute += 60_000;
    }
    const recipes = Array.from(
      { length: how.batch },
      (): Recipe => ({
        seed: number(),
        steps: Array.from({ length: fewest + (number() % (most - fewest + 1)) }, number),
      }),
    );
    const together = await found(recipes);
    refused += together.filter((f) => f === "refused").length;
    const suspects = recipes.filter((_, i) => together[i] !== undefined && together[i] !== "refused");
    let confirmed = 0;
    for (const r of suspects) {
      if ((await wrongAlone(r)) === undefined) continue;
      confirmed++;
      const small = await shrink(r, wrongAlone);
      report(`${await wrongAlone(small)}\nof case ${cases} and following from seed ${how.seed}: ${shown(small)}`);
    }
    if (suspects.length > 0 && confirmed === 0)
      report(
        `${together.find((f) => f !== undefined && f !== "refused")}\nonly beside others, from seed ${how.seed}: ${recipes.map(shown).join("\n")}`,
      );
  }
  return { cases, refused, wrong };
}
