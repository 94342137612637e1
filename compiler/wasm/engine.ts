/**
 * What modules know of their engine or find out, and what follows for their code: branches that the variant decides, and functions that are
 * called only where it never comes, are left out of it.
 */

import type { EngineFact, Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { and, binary, constant, eq, extractLane, i32, select } from "../../ir/loop-build.js";
import { exprsOf, operandsOf } from "../../ir/loop-walk.js";
import type { Variant } from "./module.js";

export const engineDotsName = "engine_dots";

/**
 * The engine says by dots of the most extreme bytes how it takes them, as the relaxed-SIMD proposal lets it choose once for all. x64 reads the
 * second operand without its sign, and saturates sums of two products unless it has VNNI; ARM reads it with its sign.
 */
export const engineDots: LoopFunction = buildFunction(engineDotsName, [], "i32", (f) => {
  const dot = (a: number, b: number, is: number): Expr =>
    eq(extractLane(binary("dotI8", constant("i8x16", a), constant("i8x16", b)), 0), is);
  const unsigned = and(dot(127, -1, 4 * 127 * 255), dot(-128, -1, -4 * 128 * 255));
  const signed = and(dot(127, -1, -4 * 127), and(dot(-128, -1, 4 * 128), dot(-128, -128, 4 * 128 * 128)));
  f.return(select(unsigned, i32(1), select(signed, i32(2), i32(0))));
});

/** A condition that the variant decides; undefined where the run does. */
export function knownCondition(variant: Variant, cond: Expr): boolean | undefined {
  if (cond.kind !== "compare") return undefined;
  const [a, b] = [knownValue(variant, cond.a), knownValue(variant, cond.b)];
  if (a === undefined || b === undefined) return undefined;
  return cond.op === "eq" ? a === b : cond.op === "ne" ? a !== b : undefined;
}

/** What a variant knows of the engine; undefined where its code finds it out. */
export function engineFact({ simd }: Variant, fact: EngineFact): number | undefined {
  if (simd !== "relaxed") return 0;
  return fact === "fma" ? 1 : undefined;
}

function knownValue(variant: Variant, e: Expr): number | undefined {
  if (e.kind === "engine") return engineFact(variant, e.fact);
  return e.kind === "const" && e.type === "i32" ? (e.value as number) : undefined;
}

/** The functions without those that are called only where this variant never comes, in the given order. */
export function reachable(functions: readonly LoopFunction[], variant: Variant): readonly LoopFunction[] {
  const byName = new Map(functions.map((f) => [f.name, f]));
  const called = new Set(functions.flatMap((f) => callsOf(f.body, () => undefined)));
  const found = new Set<LoopFunction>();
  const open: LoopFunction[] = [];
  const reach = (name: string): void => {
    const f = byName.get(name);
    if (f === undefined || found.has(f)) return;
    found.add(f);
    open.push(f);
  };
  const known = (cond: Expr) => knownCondition(variant, cond);
  for (const { name } of functions) if (!called.has(name)) reach(name);
  for (let f = open.pop(); f !== undefined; f = open.pop()) for (const name of callsOf(f.body, known)) reach(name);
  return functions.filter((f) => found.has(f));
}

/** Names of the functions that statements call, without the branches that a known condition leaves out. */
function callsOf(body: readonly Stmt[], known: (cond: Expr) => boolean | undefined): readonly string[] {
  const calls: string[] = [];
  const expr = (e: Expr): void => {
    if (e.kind === "call") calls.push(e.fn);
    for (const x of operandsOf(e)) expr(x);
  };
  const walk = (list: readonly Stmt[]): void => {
    for (const s of list) {
      for (const e of exprsOf(s)) expr(e);
      if (s.kind === "call") calls.push(s.fn);
      if (s.kind === "for" || s.kind === "while") walk(s.body);
      if (s.kind !== "if") continue;
      const is = known(s.cond);
      if (is !== false) walk(s.then);
      if (is !== true) walk(s.else);
    }
  };
  walk(body);
  return calls;
}
