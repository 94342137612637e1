/**
 * Numbers as floats compute them. Exporters scale sizes in f32 and round the result: ⌊n · 0.7f⌋. Where that is an expression over
 * sizes but for rounding, whether it is that expression is tried at many sizes.
 */

import { type Dim, type DimEnv, type DimExpr, type DimSymbol, dimScaled, dimSymbols } from "../../ir/dim.js";
import { foldDim } from "../../ir/dim-read.js";
import { InternalError } from "../../ir/errors.js";
import type { Computed, Exact, Fact } from "./fact.js";

/** Longer computations are not tried. */
const MOST_COST = 200;
/** Sizes of one symbol that are tried one by one, from the smallest. */
const EACH = 1024;
/** Sizes beyond are tried at powers of two and next to them, up to here. */
const LARGEST = 2 ** 16;
/** Choices of several sizes. */
const CHOICES = 2048;

type Evaluate = (sizes: DimEnv) => number;
const evaluators = new WeakMap<DimExpr, Evaluate>();

const operations = {
  floordiv: (a: number, b: number) => Math.floor(a / b),
  mod: (a: number, b: number) => a - b * Math.floor(a / b),
  min: Math.min,
  max: Math.max,
};

/** The expression as a function of sizes. */
function evaluator(d: Dim): Evaluate {
  if (typeof d === "number") return () => d;
  let found = evaluators.get(d);
  if (found === undefined) {
    found = foldDim<Evaluate>(d, {
      constant: (value) => () => value,
      symbol: ({ name }) => {
        return (sizes) => {
          const size = sizes.get(name);
          if (size === undefined) throw new InternalError(`size ${name} has no value`);
          return size;
        };
      },
      add: (a, b) => (sizes) => a(sizes) + b(sizes),
      mul: (a, b) => (sizes) => a(sizes) * b(sizes),
      scaled: (a, factor) => (sizes) => dimScaled(a(sizes), factor) as number,
      op:
        ({ kind }, a, b) =>
        (sizes) =>
          operations[kind](a(sizes), b(sizes)),
    });
    evaluators.set(d, found);
  }
  return found;
}

/** An exact number as floats hold it. */
function computedOf(e: Exact): Computed {
  if (typeof e === "number") return { at: () => e, symbols: new Map(), cost: 0 };
  if (e.kind === "dim") return { at: evaluator(e), symbols: dimSymbols(e), cost: 1 };
  const [num, den] = [evaluator(e.num), evaluator(e.den)];
  return {
    at: (sizes) => num(sizes) / den(sizes),
    symbols: dimSymbols(e.den, dimSymbols(e.num)),
    cost: 2,
  };
}

/** What `f` makes of known numbers; undefined where one is not known or it takes too long. */
export function compute(facts: readonly Fact[], f: (...x: number[]) => number): Computed | undefined {
  const parts: Computed[] = [];
  for (const fact of facts) {
    const part = fact.computed ?? (fact.exact === undefined ? undefined : computedOf(fact.exact));
    if (part === undefined) return undefined;
    parts.push(part);
  }
  const cost = parts.reduce((sum, p) => sum + p.cost, 1);
  if (cost > MOST_COST) return undefined;
  const symbols = new Map(parts.flatMap((p) => [...p.symbols]));
  const [a, b] = parts;
  if (parts.length === 1) return { at: (sizes) => f(a!.at(sizes)), symbols, cost };
  return { at: (sizes) => f(a!.at(sizes), b!.at(sizes)), symbols, cost };
}

/** Sizes to try of one symbol. */
function* sizesOf({ min, max }: DimSymbol): Generator<number> {
  const from = Number.isFinite(min) ? min : 0;
  const last = Math.min(max, from + EACH);
  for (let n = from; n <= last; n++) yield n;
  for (let power = 2; power <= LARGEST; power *= 2)
    for (const times of [1, 1.25, 1.5, 1.75])
      for (const n of [power * times - 1, power * times, power * times + 1])
        if (Number.isInteger(n) && n > last && n <= max) yield n;
}

function* choices(symbols: readonly DimSymbol[]): Generator<DimEnv> {
  const [first, ...others] = symbols;
  if (first === undefined) return;
  if (others.length === 0) {
    for (const n of sizesOf(first)) yield new Map([[first.name, n]]);
    return;
  }
  let state = 1;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  for (let i = 0; i < CHOICES; i++) {
    const most = i % 8 === 0 ? 2048 : i % 2 === 0 ? 16 : 256;
    const choice = symbols.map(({ name, min, max }): [string, number] => [
      name,
      min + random(Math.min(max - min, most) + 1),
    ]);
    yield new Map(choice);
  }
}

/** Whether the expression is what is computed, at all sizes tried. */
export function isComputed(d: Dim, computed: Computed): boolean {
  const expression = evaluator(d);
  const symbols = new Map(computed.symbols);
  dimSymbols(d, symbols);
  for (const sizes of choices([...symbols.values()])) if (expression(sizes) !== computed.at(sizes)) return false;
  return true;
}
