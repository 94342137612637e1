/**
 * Random integer expressions: whatever canonical form they take, and whichever code is made of them, they have the value that the
 * expression as written has, negative numerators included.
 */

import fc from "fast-check";
import { expect, it } from "vitest";
import { EntryTable, Slots } from "../../compiler/plan/table.js";
import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMod,
  dimMul,
  dimScaled,
  dimSub,
  dimSymbol,
  dimText,
  evaluateDim,
} from "../../ir/dim.js";
import { parseDim } from "../../ir/dim-parse.js";
import { foldDim, splitDim } from "../../ir/dim-read.js";
import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import { Block } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { emitDimOp } from "../../ir/loop-dim.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";

const runs = fuzzRuns("WASMITH_FUZZ_DIMS", 2000, 20_000);

type Recipe =
  | { readonly op: "number"; readonly value: number }
  | { readonly op: "symbol"; readonly at: number }
  | { readonly op: "add" | "sub" | "mul" | "min" | "max"; readonly a: Recipe; readonly b: Recipe }
  /** Divisors are positive: a number, or a symbol that is at least 1. */
  | { readonly op: "floordiv" | "ceildiv" | "mod"; readonly a: Recipe; readonly by: number }
  | { readonly op: "scaled"; readonly a: Recipe; readonly factor: number };

const symbols = [
  dimSymbol("i", { min: 0, max: 7 }),
  dimSymbol("j", { min: 0 }),
  dimSymbol("s", { min: -9, max: 9 }),
  dimSymbol("n"),
  dimSymbol("m", { min: 1, max: 6 }),
];
const positive = [3, 4];
const names = symbols.map(dimText);
const divisors: readonly Dim[] = [1, 2, 3, 4, 5, 6, 8, 12, ...positive.map((k) => symbols[k]!)];

const { recipe } = fc.letrec<{ recipe: Recipe }>((tie) => ({
  recipe: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    fc.oneof(
      fc.record({ op: fc.constant("number" as const), value: fc.integer({ min: -20, max: 20 }) }),
      fc.record({ op: fc.constant("symbol" as const), at: fc.nat(symbols.length - 1) }),
    ),
    fc.record({
      op: fc.constantFrom(
        "add" as const,
        "sub" as const,
        "sub" as const,
        "mul" as const,
        "min" as const,
        "max" as const,
      ),
      a: tie("recipe"),
      b: tie("recipe"),
    }),
    fc.record({
      op: fc.constantFrom("floordiv" as const, "ceildiv" as const, "mod" as const),
      a: tie("recipe"),
      by: fc.nat(divisors.length - 1),
    }),
    fc.record({
      op: fc.constant("scaled" as const),
      a: tie("recipe"),
      factor: fc.constantFrom(0.5, 0.25, 2, 1.5, Math.fround(0.7), Math.fround(1 / 3)),
    }),
  ),
}));

function build(r: Recipe): Dim {
  switch (r.op) {
    case "number":
      return r.value;
    case "symbol":
      return symbols[r.at]!;
    case "add":
      return dimAdd(build(r.a), build(r.b));
    case "sub":
      return dimSub(build(r.a), build(r.b));
    case "mul":
      return dimMul(build(r.a), build(r.b));
    case "min":
      return dimMin(build(r.a), build(r.b));
    case "max":
      return dimMax(build(r.a), build(r.b));
    case "floordiv":
      return dimFloorDiv(build(r.a), divisors[r.by]!);
    case "ceildiv":
      return dimCeilDiv(build(r.a), divisors[r.by]!);
    case "mod":
      return dimMod(build(r.a), divisors[r.by]!);
    case "scaled":
      return dimScaled(build(r.a), r.factor);
  }
}

/** The value as written, and the largest number on the way. */
function asWritten(r: Recipe, env: readonly number[]): { readonly value: number; readonly largest: number } {
  const made = (value: number, ...from: readonly { readonly largest: number }[]) => ({
    value,
    largest: Math.max(Math.abs(value), ...from.map((f) => f.largest)),
  });
  if (r.op === "number") return made(r.value);
  if (r.op === "symbol") return made(env[r.at]!);
  const a = asWritten(r.a, env);
  if (r.op === "scaled") return made(Math.floor(Math.fround(Math.fround(a.value) * r.factor)), a);
  if ("by" in r) {
    const by = divisors[r.by]!;
    const d = typeof by === "number" ? by : env[symbols.indexOf(by)]!;
    if (r.op === "mod") return made(a.value - d * Math.floor(a.value / d), a);
    return made(r.op === "floordiv" ? Math.floor(a.value / d) : Math.ceil(a.value / d), a);
  }
  const b = asWritten(r.b, env);
  switch (r.op) {
    case "add":
      return made(a.value + b.value, a, b);
    case "sub":
      return made(a.value - b.value, a, b);
    case "mul":
      return made(a.value * b.value, a, b);
    case "min":
      return made(Math.min(a.value, b.value), a, b);
    case "max":
      return made(Math.max(a.value, b.value), a, b);
  }
}

/** The code of kernels: i32, with names for what is used twice. */
function asIndex(d: Dim): LoopFunction {
  const block = new Block(names);
  const value = foldDim<Expr>(d, {
    constant: B.i32,
    symbol: (s) => B.v(s.name, "i32"),
    add: B.add,
    mul: B.mul,
    op: (operation, a, b) => emitDimOp(operation, a, b, (e) => block.let("part", e)),
    scaled: B.scaledIndex,
  });
  const body: readonly Stmt[] = [...block.stmts, { kind: "return", value }];
  return { name: "f", params: names.map((name) => ({ name, type: "i32" })), result: "i32", body };
}

/** The code of plans: f64, from slots. */
function asPlanned(d: Dim, env: readonly number[]): number {
  const slots = new Slots();
  for (const s of symbols) slots.add(s);
  const table = new EntryTable(slots, {
    offset: 0,
    firstSlot: 0,
    wide: false,
    bases: { weights: 0, state: 0, prepared: 0, arena: 0 },
  });
  const value = table.inDoubles(d);
  const memory = new Int32Array(64);
  symbols.forEach((s, k) => {
    memory[table.slot(s)] = env[k]!;
  });
  const body: readonly Stmt[] = [{ kind: "return", value }];
  const f: LoopFunction = { name: "f", params: [], result: "f64", body };
  return Number(interpretLoop({ functions: [f] }, "f", [], { memory: memory.buffer }));
}

const environment = fc.tuple(
  fc.integer({ min: 0, max: 7 }),
  fc.integer({ min: 0, max: 30 }),
  fc.integer({ min: -9, max: 9 }),
  fc.integer({ min: 1, max: 30 }),
  fc.integer({ min: 1, max: 6 }),
);

it(`${runs} expressions keep their value`, () => {
  fc.assert(
    fc.property(recipe, fc.array(environment, { minLength: 6, maxLength: 6 }), (r, environments) => {
      const d = build(r);
      const { min, max } = dimBounds(d);
      const index = asIndex(d);
      const text = dimText(d);
      expect(dimText(parseDim(text, (name) => symbols[names.indexOf(name)]!))).toBe(text);
      const { rest, parts } = splitDim(d, (s) => s.name === "i" || s.name === "s");
      expect(dimText(parts.reduce<Dim>((sum, p) => dimAdd(sum, p.value), rest))).toBe(text);
      for (const env of environments) {
        const { value, largest } = asWritten(r, env);
        // Kernels compute in 32 bits.
        if (largest > 2 ** 24) continue;
        const got = [
          evaluateDim(d, new Map(names.map((name, k) => [name, env[k]!]))),
          Number(interpretLoop({ functions: [index] }, "f", env, { memory: new ArrayBuffer(0) })),
          asPlanned(d, env),
        ].map((v) => v + 0);
        expect({ text, env, got }).toEqual({ text, env, got: [value + 0, value + 0, value + 0] });
        expect({ text, within: min <= value && value <= max }).toEqual({ text, within: true });
      }
    }),
    { numRuns: runs, seed: fuzzSeed("dims") },
  );
});
