/**
 * Options of functions, checked at run time: callers write JavaScript too, and an option that is misspelt or of the wrong kind would
 * silently do nothing. A function states a table of its options; the type asks for a row for each.
 */

import { describe } from "../ir/describe.js";
import { dtypeInfo, dtypes, isDType } from "../ir/dtype.js";
import { ModelError, type Problem } from "../ir/errors.js";
import { choices, dtypeCalled, foreignTensorHint } from "../ir/names.js";
import { elementCount } from "../ir/tensor.js";

export { describe };

/** What an option may be. `undefined` is always as if it were not given. */
export interface Check {
  readonly expected: string;
  readonly fits: (value: unknown) => boolean;
}

export type Checks<O> = { readonly [K in keyof O]-?: Check };

const check = (expected: string, fits: (value: unknown) => boolean): Check => ({ expected, fits });
const isObject = (v: unknown): v is object => typeof v === "object" && v !== null;

export const anything = check("anything", () => true);
export const aBoolean = check("true or false", (v) => typeof v === "boolean");
export const aString = check("a string", (v) => typeof v === "string");
export const aFunction = check("a function", (v) => typeof v === "function");
export const anObject = check("an object", (v) => isObject(v) && !Array.isArray(v));
export const aNumber = check("a finite number", Number.isFinite);
export const aProbability = check(
  "a probability: a number from 0 to 1",
  (v) => typeof v === "number" && v >= 0 && v <= 1,
);
export const aValue = check("a value of the graph", (v) => isObject(v) && "def" in v && "type" in v);
export const seconds = check("seconds", (v) => typeof v === "number" && v >= 0);
export const aDType = check("a dtype such as f32", (v) => typeof v === "string" && isDType(v));

/** A whole number from `min` on. */
export const atLeast = (min: number, max = Number.MAX_SAFE_INTEGER): Check =>
  check(
    max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`,
    (v) => Number.isSafeInteger(v) && (v as number) >= min && (v as number) <= max,
  );

export const oneOf = (...values: readonly unknown[]): Check =>
  check(values.map((v) => JSON.stringify(v)).join(" or "), (v) => values.includes(v));

export const listOf = (item: Check): Check =>
  check(`a list of ${item.expected}`, (v) => Array.isArray(v) && v.every((x) => item.fits(x)));

/** A list of some of the values, at least one, none twice. */
export const someOf = (values: readonly string[]): Check =>
  check(
    `a list of at least one of ${values.join(", ")}`,
    (v) =>
      Array.isArray(v) && v.length > 0 && v.every((x) => values.includes(x as string)) && new Set(v).size === v.length,
  );

export const either = (...checks: readonly Check[]): Check =>
  check(checks.map((c) => c.expected).join(", or "), (v) => checks.some((c) => c.fits(v)));

export const recordOf = (item: Check): Check =>
  check(
    `an object whose values are ${item.expected}`,
    (v) => anObject.fits(v) && Object.values(v as object).every(item.fits),
  );

/** A size or an inclusive range of sizes. */
export const sizeOrRange = check("a size, or a range [low, high] of sizes with low ≤ high", (v) => {
  const size = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(v)) return size(v);
  const [low, high] = v as readonly unknown[];
  return v.length === 2 && size(low) && (size(high) || high === Infinity) && low <= high;
});

/** What is wrong with a tensor that a caller gave, if anything is. */
export function tensorProblem(value: unknown): Problem | undefined {
  const tensor = "expected a tensor { dtype, shape, data }";
  if (!isObject(value) || !("dtype" in value && "shape" in value && "data" in value))
    return { message: `${tensor}, got ${describe(value)}`, hint: foreignTensorHint(value) };
  const { dtype, shape, data } = value as Readonly<Record<string, unknown>>;
  if (typeof dtype !== "string" || !isDType(dtype)) {
    const called = dtypeCalled(dtype);
    const hint = called === undefined ? `the dtypes are: ${dtypes.join(" ")}` : `wasmith calls it "${called}"`;
    return { message: `there is no dtype ${describe(dtype)}`, hint };
  }
  const { array } = dtypeInfo[dtype];
  if (!Array.isArray(shape) || !shape.every((d) => Number.isSafeInteger(d) && d >= 0))
    return { message: `${tensor}, got shape ${describe(shape)}` };
  if (!(data instanceof (array as unknown as new (length: number) => ArrayLike<unknown>)))
    return { message: `${dtype} elements come in a ${array.name}, got ${describe(data)}` };
  const count = elementCount(shape as readonly number[]);
  return data.length === count
    ? undefined
    : { message: `shape [${shape}] has ${count} elements, the data ${data.length}` };
}

/**
 * Problems of options, or of none.
 * @param of whose they are, as in `compile`
 * @param needed those that must be given
 */
export function optionProblems<O extends object>(
  of: string,
  options: O,
  checks: Checks<O>,
  needed: readonly (keyof O & string)[] = [],
): readonly Problem[] {
  if (!isObject(options) || Array.isArray(options) || ArrayBuffer.isView(options) || aValue.fits(options))
    return [
      {
        where: of,
        message: `expected an object of options, got ${describe(options)}`,
        hint: aValue.fits(options) ? `what ${of}() gives takes values: call it first` : undefined,
      },
    ];
  const table = checks as Readonly<Record<string, Check>>;
  const missing = needed
    .filter((name) => options[name] === undefined)
    .map((name) => ({ where: `option ${name}`, message: `it is missing; expected ${table[name]!.expected}` }));
  const wrong = Object.entries(options).flatMap(([name, value]): readonly Problem[] => {
    if (!Object.hasOwn(table, name))
      return [
        {
          where: `option ${describe(name)}`,
          message: `${of} has no such option`,
          hint: choices(name, Object.keys(table), "its options are"),
        },
      ];
    const expects = table[name]!;
    if (value === undefined || expects.fits(value)) return [];
    const called = dtypeCalled(value);
    const hint = expects === aDType && called ? `wasmith calls this dtype "${called}"` : undefined;
    return [{ where: `option ${name}`, message: `expected ${expects.expected}, got ${describe(value)}`, hint }];
  });
  return [...missing, ...wrong];
}

/** @throws ModelError listing options that are unknown, missing, or not what they are to be */
export function checkOptions<O extends object>(
  of: string,
  options: O,
  checks: Checks<O>,
  needed: readonly (keyof O & string)[] = [],
): void {
  const problems = optionProblems(of, options, checks, needed);
  if (problems.length > 0) throw new ModelError(problems);
}

/** The options, checked; none are none. @throws ModelError as `checkOptions` */
export function checked<O extends object>(of: string, options: O | undefined, checks: Checks<O>): O {
  const given = options ?? ({} as O);
  checkOptions(of, given, checks);
  return given;
}

/** The options of the table among others. */
export function pick<O extends object>(
  options: O,
  checks: { readonly [K in keyof O]?: Check } | Checks<never>,
): Partial<O> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(checks, name))) as Partial<O>;
}
