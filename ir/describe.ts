/** Words for what callers gave, for messages. */

import { type TensorType, typeText } from "./graph.js";

const isObject = (v: unknown): v is object => typeof v === "object" && v !== null;

/** A value in a few words. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function" && value instanceof Function)
    return value.name === "" ? "a function" : `the function ${value.name}`;
  if (Array.isArray(value) && value.length <= 4 && value.every((v) => !isObject(v)))
    return `[${value.map(describe).join(", ")}]`;
  if (!isObject(value) && typeof value !== "function") return String(value);
  if ("def" in value && "type" in value) return `a value ${typeText(value.type as TensorType)}`;
  const name: unknown = value.constructor?.name;
  const { length } = value as { length?: unknown };
  return `${typeof name === "string" ? name : "an object"}${typeof length === "number" ? ` of length ${length}` : ""}`;
}
