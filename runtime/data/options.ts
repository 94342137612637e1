/** Options of functions, checked at run time: callers write JavaScript too. A function states a table of its options. */
import { ModelError, modelError } from "../errors.js";
import { words } from "../explain.js";
import { arrayTypes } from "../format.js";

/** What an option may be. `undefined` is as if it were not given. */
export interface Check {
  readonly expected: string;
  readonly fits: (value: unknown) => boolean;
}
export type Checks<O> = { readonly [K in keyof O]-?: Check };

const check = (expected: string, fits: (value: unknown) => boolean): Check => ({ expected, fits });
export const isObject = (v: unknown): v is object => typeof v === "object" && v !== null;
export const isRecord = (v: unknown): v is Readonly<Record<string, unknown>> =>
  isObject(v) && !Array.isArray(v) && !ArrayBuffer.isView(v);

export const anything = check("anything", () => true);
export const aBoolean = check("true or false", (v) => typeof v === "boolean");
export const aString = check("a string", (v) => typeof v === "string");
export const aFunction = check("a function", (v) => typeof v === "function");
export const aNumber = check("a finite number", Number.isFinite);
export const aCount = check("a positive integer", (v) => Number.isSafeInteger(v) && (v as number) > 0);
export const aSize = check("an integer of at least 0", (v) => Number.isSafeInteger(v) && (v as number) >= 0);
export const aSeed = check("an integer (the seed)", Number.isSafeInteger);
export const aSeedOrFalse = check("an integer (the seed), or false", (v) => v === false || Number.isSafeInteger(v));
export const aRecord = check("an object", isRecord);
export const aSignal = check("an AbortSignal", (v) => typeof (v as AbortSignal | null)?.aborted === "boolean");
export const aDType = check("a dtype such as f32", (v) => typeof v === "string" && Object.hasOwn(arrayTypes, v));
export const aShare = check("a number from 0 to 1", (v) => typeof v === "number" && v >= 0 && v <= 1);
export const notNegative = check("a number of at least 0", (v) => typeof v === "number" && v >= 0 && v < Infinity);
export const positive = check("a number above 0", (v) => typeof v === "number" && v > 0 && v < Infinity);

export const oneOf = (...values: readonly unknown[]): Check =>
  check(values.map((v) => JSON.stringify(v)).join(" or "), (v) => values.includes(v));
export const either = (...checks: readonly Check[]): Check =>
  check(checks.map((c) => c.expected).join(", or "), (v) => checks.some((c) => c.fits(v)));
export const listOf = (item: Check, length?: number): Check =>
  check(
    `a list of ${length === undefined ? "" : `${length} items, each `}${item.expected}`,
    (v) => Array.isArray(v) && (length === undefined || v.length === length) && v.every((x) => item.fits(x)),
  );
export const recordOf = (item: Check): Check =>
  check(
    `an object whose values are ${item.expected}`,
    (v) => isRecord(v) && Object.values(v).every((x) => x === undefined || item.fits(x)),
  );

/** @throws ModelError naming each option that is unknown or not what it is to be */
export function checkOptions<O extends object>(of: string, options: O, checks: Checks<O>): void {
  const table = checks as Readonly<Record<string, Check>>;
  const expected = Object.fromEntries(Object.entries(table).map(([name, c]) => [name, c.expected]));
  if (!isRecord(options)) throw new ModelError(words.options(of, null, expected, []));
  const wrong = Object.entries(options).flatMap(([name, value]) =>
    Object.hasOwn(table, name) && (value === undefined || table[name]!.fits(value)) ? [] : name,
  );
  if (wrong.length > 0) throw new ModelError(words.options(of, options, expected, wrong));
}

/** @throws ModelError where an argument is not what it is to be */
export function checkArgument(of: string, name: string, value: unknown, { expected, fits }: Check): void {
  if (fits(value)) return;
  const [problem] = words.options(of, { [name]: value }, { [name]: expected }, [name]);
  throw modelError(`${of}, ${name}`, problem!.message);
}
