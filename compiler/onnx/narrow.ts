/** Ranges of dims: those that a file states, and those to which a model must be narrowed to be one program. */

import { type Dim, dimSymbols, evaluateDim } from "../../ir/dim.js";
import { DIMS_KEY, type OnnxModel } from "./model.js";
import type { SizeNeed } from "./needs.js";

/** Thrown to start over with a dim narrowed to a range. */
export class NarrowDim extends Error {
  readonly size: SizeNeed;
  readonly range: readonly [number, number];

  constructor(size: SizeNeed, range: readonly [number, number]) {
    super(`narrow ${size.dim} to ${range[0]} … ${range[1]}`);
    this.size = size;
    this.range = range;
  }
}

/** Sizes of inputs that are tried when a range is searched. */
const LARGEST_SIZE = 2 ** 24;

/**
 * The sizes of the expression's one symbol for which it is 0. The expression is taken to rise or fall with the size, as those
 * of strides and windows do. Undefined where there are none, or several symbols.
 */
export function rangeOfZero(expression: Dim): { symbol: string; range: readonly [number, number] } | undefined {
  const [symbol, ...others] = dimSymbols(expression).values();
  if (!symbol || others.length > 0 || symbol.bound !== undefined) return undefined;
  const at = (size: number) => evaluateDim(expression, new Map([[symbol.name, size]]));
  const limit = Math.min(symbol.max, LARGEST_SIZE);
  const rising = at(limit) >= at(symbol.min);
  const firstWith = (holds: (value: number) => boolean): number => {
    let [low, high] = [symbol.min, limit + 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (holds(rising ? at(middle) : -at(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const from = firstWith((v) => v >= 0);
  const to = firstWith((v) => v > 0) - 1;
  if (from > to || at(from) !== 0 || at(to) !== 0) return undefined;
  return { symbol: symbol.name, range: [from, to] };
}

/** Ranges of named sizes that exportOnnx has written into the file's metadata. */
export function statedRanges({ metadata }: OnnxModel): Readonly<Record<string, readonly [number, number]>> {
  const ranges: Record<string, readonly [number, number]> = {};
  let stated: unknown;
  try {
    stated = JSON.parse(metadata.get(DIMS_KEY) ?? "{}");
  } catch {
    return ranges;
  }
  if (typeof stated !== "object" || stated === null) return ranges;
  for (const [name, range] of Object.entries(stated)) {
    const [min, max] = Array.isArray(range) ? (range as unknown[]) : [];
    const valid = (n: unknown): n is number => typeof n === "number" && Number.isInteger(n) && n >= 0;
    if (valid(min) && (max === null || (valid(max) && max >= min)))
      ranges[name] = [min, max ?? Number.POSITIVE_INFINITY];
  }
  return ranges;
}
