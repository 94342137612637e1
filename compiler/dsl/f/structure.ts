/** What functions of control flow carry: a value, a list of values, or values by name. */

import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { isValue } from "../../../ir/op.js";
import { describe } from "../../options.js";

/** A value, lists and records of them, as deep as wanted. */
export type Structure = Value | readonly Structure[] | { readonly [name: string]: Structure };

/** The values of a structure in order. Throws ModelError where something else is in it. */
export function leaves(s: unknown, what: string): readonly Value[] {
  if (isValue(s)) return [s];
  if (Array.isArray(s)) return s.flatMap((item) => leaves(item, what));
  if (typeof s === "object" && s !== null && Object.getPrototypeOf(s) === Object.prototype)
    return Object.values(s).flatMap((item) => leaves(item, what));
  throw new ModelError(`${what} gives values, lists or records of values, but got ${describe(s)}`);
}

/** A structure like another, of other values. */
export function rebuilt<S>(like: S, values: readonly Value[]): S {
  let next = 0;
  const build = (s: unknown): unknown => {
    if (isValue(s)) return values[next++];
    if (Array.isArray(s)) return s.map(build);
    return Object.fromEntries(Object.entries(s as object).map(([name, item]) => [name, build(item)]));
  };
  return build(like) as S;
}

/** How a structure is made, for comparisons and messages: `[f32[2], { h: f32[3] }]` without the types. */
export function formOf(s: unknown): string {
  if (isValue(s)) return "value";
  if (Array.isArray(s)) return `[${s.map(formOf).join(", ")}]`;
  return `{ ${Object.entries(s as object)
    .map(([name, item]) => `${name}: ${formOf(item)}`)
    .join(", ")} }`;
}

/** Throws ModelError where two structures are not made alike. */
export function requireSameForm(a: unknown, b: unknown, what: string): void {
  if (formOf(a) !== formOf(b)) throw new ModelError(`${what}: ${formOf(a)} and ${formOf(b)} are not made alike`);
}
