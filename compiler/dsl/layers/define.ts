/** How layers are defined: one schema gives checks, defaults, types and docs/LAYERS.md. */

import { rankOf, sizeOf } from "../../../ir/build.js";
import { dimDiffers, dimText } from "../../../ir/dim.js";
import { ModelError, type Problem } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { choices } from "../../../ir/names.js";
import { isValue } from "../../../ir/op.js";
import { anObject, type Check, type Checks, describe } from "../../options.js";
import {
  factory,
  type Kind,
  type Option,
  type OptionsOf,
  optional,
  type Parameter,
  type Schema,
  type Settings,
  settle,
} from "../../schema.js";
import type { Context } from "../context.js";
import type { Size } from "../functional.js";
import type { Initializer } from "../init.js";
import { Module } from "../module.js";

const kind = <T>(expected: string, fits: (v: unknown) => boolean): Kind<T> => ({ expected, fits });
const whole = (v: unknown, min: number): boolean => Number.isSafeInteger(v) && (v as number) >= min;
const sizeFrom = (min: number): Kind<Size> =>
  kind(
    `an integer of at least ${min}, or a list of one for each spatial axis`,
    (v) => whole(v, min) || (Array.isArray(v) && v.every((n) => whole(n, min))),
  );

/** One number for all spatial axes, or one for each. */
export const sizes: Kind<Size> = sizeFrom(1);
/** As `sizes`, with zeros. */
export const amounts: Kind<Size> = sizeFrom(0);
/** One size, or those of several axes. */
export const shape: Kind<number | readonly number[]> = kind(
  "a size or a list of sizes",
  (v) => whole(v, 1) || (Array.isArray(v) && v.length > 0 && v.every((n) => whole(n, 1))),
);
export const initializer: Kind<Initializer> = kind("an initialiser such as nn.init.normal()", (v) => {
  return typeof v === "function";
});

type InitOption = Option<Initializer, undefined>;
/** The option `weightInit`. @param standard what stands for it where it is not given */
export const weightInit = (standard: string): { readonly weightInit: InitOption } => ({
  weightInit: optional(initializer, `First values of the weight. Default: ${standard}`),
});
/** The option `biasInit`. @param standard what stands for it where it is not given */
export const biasInit = (standard: string): { readonly biasInit: InitOption } => ({
  biasInit: optional(initializer, `First values of the bias. Default: ${standard}`),
});
export const byFanIn = "uniform in ±1/√(inputs of a unit), as PyTorch's";

type ParametersOf<A extends readonly unknown[]> = { readonly [I in keyof A]: Parameter<A[I]> };

interface LayerDefinition<A extends readonly unknown[], S extends Schema, M> {
  /** As in `nn.Linear`. */
  readonly name: string;
  readonly summary: string;
  readonly parameters: ParametersOf<A>;
  readonly options: S;
  readonly make: (settings: Settings<S>, ...args: A) => M;
}

/** A layer's function: arguments by place, then options. @throws ModelError where they do not fit, naming the first */
export function defineLayer<A extends readonly unknown[], S extends Schema, M>(
  d: LayerDefinition<A, S, M>,
): (...args: [...A, options?: OptionsOf<S>]) => M {
  const name = `nn.${d.name}`;
  const table = d.parameters as readonly Parameter<unknown>[];
  const make = (...args: [...A, options?: OptionsOf<S>]): M => {
    if (args.length > table.length + 1)
      throw new ModelError({
        where: name,
        message: `takes ${table.length} arguments and options, got ${args.length}`,
        hint: `${name}(${[...table.map((p) => p.name), `{ ${Object.keys(d.options).join(", ")} }`].join(", ")})`,
      });
    table.forEach((p, i) => {
      const value: unknown = args[i];
      if (p.fits(value)) return;
      throw new ModelError({ where: `${name}: ${p.name}`, message: `expected ${p.expected}, got ${describe(value)}` });
    });
    const settings = settle(name, args[table.length] as OptionsOf<S> | undefined, d.options);
    return d.make(settings, ...(args.slice(0, table.length) as unknown as A));
  };
  return factory({ name, summary: d.summary, parameters: table, options: d.options }, make);
}

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

/** Throws ModelError unless the axis may have this size. */
export function expectSize(x: Value, axis: number, want: number, what: string): void {
  const exists = axis < 0 ? rankOf(x) >= -axis : rankOf(x) > axis;
  const got = exists ? sizeOf(x, axis) : undefined;
  if (got === undefined || dimDiffers(got, want)) {
    const came = got === undefined ? "none" : dimText(got);
    throw new ModelError(`expected ${want} ${what}, but got ${came} in ${typeText(x.type)}`);
  }
}

/** A function without variables as a layer. */
export class FunctionLayer extends Module {
  readonly #body: (x: Value, ctx: Context) => Value;

  constructor(body: (x: Value, ctx: Context) => Value) {
    super();
    this.#body = body;
  }

  forward(ctx: Context, x: Value): Value {
    const y = this.#body(x, ctx);
    if (!isValue(y)) throw new ModelError("the function of a Lambda gives a value, and did not");
    return y;
  }
}
export const functionLayer = (body: (x: Value, ctx: Context) => Value): FunctionLayer => new FunctionLayer(body);
