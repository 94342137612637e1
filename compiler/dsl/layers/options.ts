/** Tables of layers' options: one row says what an option may be, what it is when not given, and what it means. */

import { ModelError, type Problem } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { choices } from "../../../ir/names.js";
import { aFunction, anObject, type Check, type Checks, checked, describe } from "../../options.js";
import type { Initializer } from "../init.js";

export interface LayerOption extends Check {
  /** What the option is when it is not given. Functions and what depends on sizes are told in words. */
  readonly standard: unknown;
  readonly doc: string;
}

/** A row for each option. */
export type LayerOptions<O> = { readonly [K in keyof O]-?: LayerOption };

export const option = (check: Check, standard: unknown, doc: string): LayerOption => ({ ...check, standard, doc });

/** The options of a layer, checked. @throws ModelError listing those that are unknown or not what they are to be */
export const optionsOf = <O extends object>(layer: string, options: O | undefined, table: LayerOptions<O>): O =>
  checked(layer, options, table);

/** A default that is told in words. */
export class InWords {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
export const inWords = (text: string): InWords => new InWords(text);

export interface WeightInit {
  /** First values of the weight. */
  readonly weightInit?: Initializer;
}
export interface BiasInit {
  /** First values of the bias. */
  readonly biasInit?: Initializer;
}

/** Rows of the options for first values. @param weight and @param bias their defaults in words */
export const weightInit = (weight: string): LayerOptions<WeightInit> => ({
  weightInit: option(aFunction, inWords(weight), "first values of the weight"),
});
export const biasInit = (bias: string): LayerOptions<BiasInit> => ({
  biasInit: option(aFunction, inWords(bias), "first values of the bias"),
});

/** Whether something is a value of the graph. */
export const isValue = (x: unknown): x is Value =>
  typeof x === "object" && x !== null && "def" in x && "type" in x && "index" in x;

/**
 * Checks what a layer is applied to by name, beside x. @param given the inputs, or undefined
 * @throws ModelError naming inputs that the layer does not take, and those that are not what they are to be
 */
export function inputsOf<O extends object>(given: O | undefined, table: Checks<O>): O {
  if (given === undefined) return {} as O;
  const rows = table as Readonly<Record<string, Check>>;
  if (!anObject.fits(given) || isValue(given))
    throw new ModelError(`expected an object of ${Object.keys(rows).join(", ")}, but got ${describe(given)}`);
  const problems = Object.entries(given).flatMap(([name, value]): readonly Problem[] => {
    const row = rows[name];
    if (row === undefined)
      return [
        {
          message: `the layer takes no ${describe(name)}`,
          hint: choices(name, Object.keys(rows), "beside x it takes"),
        },
      ];
    if (value === undefined || row.fits(value)) return [];
    return [{ message: `expected ${row.expected} for ${describe(name)}, but got ${describe(value)}` }];
  });
  if (problems.length > 0) throw new ModelError(problems);
  return given;
}
