/**
 * Options by schema: one table of a function's options gives their checks, their defaults, their TypeScript types (`OptionsOf`) and
 * their documentation (`definitionOf`, read by scripts/generate-model-reference.ts).
 */

import { ModelError } from "../ir/errors.js";
import { aBoolean, anything, type Check, type Checks, checkOptions, describe, oneOf } from "./options.js";

/** A check that says which type passes it. */
export interface Kind<T> extends Check {
  /** Never there: it carries the type. */
  readonly type?: T;
}

/** An option: what it may be, what it means, and what stands for it where it is not given. */
export interface Option<T, D = unknown> extends Kind<T> {
  readonly summary: string;
  readonly default: D;
  readonly required?: true;
}

export type Schema = Readonly<Record<string, Option<unknown>>>;

/** What callers give: all options may be left out. */
export type OptionsOf<S extends Schema> = {
  readonly [K in keyof S]?: (S[K] extends Option<infer T> ? T : never) | undefined;
};

/** What a function works with: options without a default may be undefined. */
export type Settings<S extends Schema> = {
  readonly [K in keyof S]: S[K] extends Option<infer T, infer D>
    ? T | (D extends undefined ? undefined : never)
    : never;
};

export const option = <T>(kind: Kind<T>, value: T, summary: string): Option<T, T> => ({
  ...(kind as Check),
  summary,
  default: value,
});

/** An option that has no default. */
export const optional = <T>(kind: Kind<T>, summary: string): Option<T, undefined> => ({
  ...(kind as Check),
  summary,
  default: undefined,
});

/** An option that must be given. */
export const required = <T>(kind: Kind<T>, summary: string): Option<T, T> => ({
  ...optional(kind, summary),
  default: undefined as T,
  required: true,
});

// ------------------------------------------------------------------------------------------------------------- kinds

/** A kind of one's own. */
export const kindOf = <T>(expected: string, fits: (value: unknown) => boolean): Kind<T> => ({ expected, fits });
const kind = kindOf;
const finite = (v: unknown): v is number => Number.isFinite(v);

export const number: Kind<number> = kind("a finite number", finite);
/** A number ≥ 0. */
export const size: Kind<number> = kind("a number ≥ 0", (v) => finite(v) && v >= 0);
/** A number > 0. */
export const positive: Kind<number> = kind("a number > 0", (v) => finite(v) && v > 0);
/** A number in [0, 1]. */
export const share: Kind<number> = kind("a number from 0 to 1", (v) => finite(v) && v >= 0 && v <= 1);
/** A number in [0, 1). */
export const decay: Kind<number> = kind("a number from 0 to below 1", (v) => finite(v) && v >= 0 && v < 1);
export const integer: Kind<number> = kind("an integer", Number.isSafeInteger);
/** An integer ≥ 1. */
export const count: Kind<number> = kind(
  "an integer of at least 1",
  (v) => Number.isSafeInteger(v) && (v as number) >= 1,
);
/** An integer ≥ 0. */
export const index: Kind<number> = kind(
  "an integer of at least 0",
  (v) => Number.isSafeInteger(v) && (v as number) >= 0,
);
export const flag: Kind<boolean> = aBoolean;
export const callable: Kind<(...args: never[]) => unknown> = kind("a function", (v) => typeof v === "function");
export const unchecked: Kind<unknown> = anything;

export const choice = <const T extends string | number | boolean>(...values: readonly T[]): Kind<T> => oneOf(...values);

export const list = <T>(item: Kind<T>): Kind<readonly T[]> =>
  kind(`a list, each of it ${item.expected}`, (v) => Array.isArray(v) && v.every((x) => item.fits(x)));

/** Two of a kind. */
export const pair = <T>(item: Kind<T>): Kind<readonly [T, T]> =>
  kind(
    `a list of two, each ${item.expected}`,
    (v) => Array.isArray(v) && v.length === 2 && v.every((x) => item.fits(x)),
  );

export const anyOf = <A, B>(a: Kind<A>, b: Kind<B>): Kind<A | B> =>
  kind(`${a.expected}, or ${b.expected}`, (v) => a.fits(v) || b.fits(v));

// ---------------------------------------------------------------------------------------------------------- functions

/** Options with defaults where they are not given. @throws ModelError listing those that are unknown or do not fit */
export function settle<S extends Schema>(of: string, options: OptionsOf<S> | undefined, schema: S): Settings<S> {
  const given = (options ?? {}) as Readonly<Record<string, unknown>>;
  checkOptions<Record<string, unknown>>(of, given, schema as Checks<Record<string, unknown>>);
  for (const [name, o] of Object.entries(schema))
    if (o.required && given[name] === undefined)
      throw new ModelError({ where: `option ${name}`, message: `${of} needs it: ${o.expected}`, hint: o.summary });
  return Object.fromEntries(
    Object.entries(schema).map(([name, o]) => [name, given[name] === undefined ? o.default : given[name]]),
  ) as Settings<S>;
}

/** `settle` for options whose type an interface states: all that have a default have a value. */
export const settleAs = <O extends object>(
  of: string,
  options: O,
  schema: { readonly [K in keyof O]-?: Option<unknown> },
): O => settle(of, options as Readonly<Record<string, unknown>>, schema as Schema) as O;

/** What there is to say about a function of the package. */
export interface Definition {
  /** As callers write it: `optim.SGD`. */
  readonly name: string;
  readonly summary: string;
  /** Arguments in order, where they are not one object of options. */
  readonly parameters?: readonly Parameter<unknown>[];
  readonly options?: Schema;
}

const definitions = new WeakMap<object, Definition>();

/** The function, with its definition known to `definitionOf`. */
export function defined<F extends object>(definition: Definition, of: F): F {
  definitions.set(of, definition);
  return of;
}

/** A function that makes something, with its definition, under the name that callers know. `new` may stand before its calls. */
export function factory<A extends readonly unknown[], R>(
  definition: Definition,
  of: (...args: A) => R,
): (...args: A) => R {
  // Arrow functions can't be called with new.
  function made(...args: A): R {
    return of(...args);
  }
  Object.defineProperty(made, "name", { value: definition.name });
  return defined(definition, made);
}

export const definitionOf = (of: object): Definition | undefined => definitions.get(of);

/** An argument by place. */
export interface Parameter<T> extends Kind<T> {
  readonly name: string;
  readonly summary: string;
  readonly optional: boolean;
}

export const parameter = <T>(name: string, k: Kind<T>, summary: string): Parameter<T> => ({
  ...(k as Check),
  name,
  summary,
  optional: false,
});

/** An argument that may be left out; the summary states its default. */
export const further = <T>(name: string, k: Kind<T>, summary: string): Parameter<T> => ({
  ...parameter(name, k, summary),
  optional: true,
});

type Parameters<A extends readonly unknown[]> = { readonly [I in keyof A]-?: Parameter<Exclude<A[I], undefined>> };

/** A function of arguments by place, which are checked. @throws ModelError naming the first that does not fit */
export function positional<A extends readonly unknown[], R>(
  name: string,
  summary: string,
  parameters: Parameters<A>,
  body: (...args: A) => R,
): (...args: A) => R {
  const table = parameters as readonly Parameter<unknown>[];
  const checkedBody = (...args: A): R => {
    if (args.length > table.length)
      throw new ModelError({ where: name, message: `takes at most ${table.length} arguments, got ${args.length}` });
    table.forEach((p, i) => {
      const value: unknown = args[i];
      if (value === undefined ? p.optional : p.fits(value)) return;
      throw new ModelError({ where: `${name}: ${p.name}`, message: `expected ${p.expected}, got ${describe(value)}` });
    });
    return body(...args);
  };
  return factory({ name, summary, parameters: table }, checkedBody);
}
