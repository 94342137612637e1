/**
 * Hoist: moves what a loop computes anew at every turn, and needs not, in front of it: invariant `let`s, splats, constant
 * vectors (engines build them from two 64-bit moves each time), and invariant arithmetic.
 *
 *   for %i = 0 to %n step 4 {                              let %splat = splat.f32x4(%s)
 *     store f32x4 %y[%i] = load f32x4 %x[%i] *             for %i = 0 to %n step 4 {
 *       splat.f32x4(%s)                              ⇒       store f32x4 %y[%i] = load f32x4 %x[%i] * %splat
 *   }                                                      }
 *
 * Nothing moves that could trap or that a store could change: loads, calls and integer divisions stay.
 */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { printExpr } from "../../ir/loop-print.js";
import {
  assignedNames,
  boundNames,
  flatMapStmts,
  isCall,
  mapOperands,
  mapStmt,
  namesOf,
  operandsOf,
  rewriteExpr,
} from "../../ir/loop-walk.js";
import { type LoopPass, Names } from "./pass.js";

export const hoist: LoopPass = {
  name: "hoist",
  run: (f) => {
    const names = new Names(namesOf(f));
    const visit = (body: readonly Stmt[]): readonly Stmt[] =>
      flatMapStmts(body, (s) => {
        if (s.kind !== "for" && s.kind !== "while") return mapStmt(s, (e) => e, visit);
        const { before, loop } = hoistFrom(s, names);
        const inner = mapStmt(loop, (e) => e, visit);
        return before.length === 0 ? inner : [...before, inner];
      });
    const body = visit(f.body);
    return body === f.body ? f : { ...f, body };
  },
};

type Loop = Extract<Stmt, { kind: "for" | "while" }>;

function hoistFrom(loop: Loop, names: Names): { before: readonly Stmt[]; loop: Loop } {
  const varying = new Set([...boundNames(loop.body), ...assignedNames(loop.body)]);
  if (loop.kind === "for") varying.add(loop.name);
  const before: Stmt[] = [];
  const known = new Map<string, Expr>();
  // Hoisted lets get new names, because a loop further down may bind the old ones again.
  const renamed = new Map<string, Expr>();
  const rename = (e: Expr): Expr => rewriteExpr(e, (x) => (x.kind === "var" ? (renamed.get(x.name) ?? x) : x));

  const invariant = (e: Expr): boolean => {
    if (e.kind === "var") return !varying.has(e.name);
    return isMovable(e) && operandsOf(e).every(invariant);
  };

  const lift = (e: Expr): Expr => {
    if (e.kind === "var") return renamed.get(e.name) ?? e;
    if (!isWorthIt(e) || !invariant(e)) return mapOperands(e, lift);
    const value = rename(e);
    const key = printExpr(value);
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    const name = names.fresh(hintFor(e));
    before.push({ kind: "let", name, value });
    const variable = B.v(name, e.type);
    known.set(key, variable);
    return variable;
  };

  const onBody = (body: readonly Stmt[]): readonly Stmt[] =>
    body.flatMap((s): readonly Stmt[] => {
      if (s.kind === "let" && boundOnce(loop, s.name) && invariant(s.value)) {
        const name = names.fresh(s.name);
        before.push({ kind: "let", name, value: rename(s.value) });
        renamed.set(s.name, B.v(name, s.value.type));
        varying.delete(s.name);
        return [];
      }
      return [mapStmt(s, lift, onBody)];
    });

  const body = onBody(loop.body);
  return { before, loop: before.length === 0 ? loop : { ...loop, body } };
}

/** Whether only one statement of the loop binds the name: sibling scopes may bind the same one. */
function boundOnce(loop: Loop, name: string): boolean {
  let count = 0;
  const walk = (body: readonly Stmt[]): void => {
    for (const s of body) {
      if ((s.kind === "let" || s.kind === "mut" || s.kind === "for") && s.name === name) count++;
      if (s.kind === "for" || s.kind === "while") walk(s.body);
      if (s.kind === "if") {
        walk(s.then);
        walk(s.else);
      }
    }
  };
  walk(loop.body);
  return count === 1;
}

/** Neither reads memory nor has an effect nor can trap. Emission decides branches on the engine where these ask for it themselves. */
function isMovable(e: Expr): boolean {
  if (e.kind === "load" || e.kind === "engine" || isCall(e)) return false;
  if (e.kind !== "binary") return true;
  const divides = e.op === "divS" || e.op === "divU" || e.op === "remS" || e.op === "remU";
  return !divides || (e.b.kind === "const" && Number(e.b.value) !== 0 && Number(e.b.value) !== -1);
}

/** Scalar constants and variables cost nothing, also as distances; an all-zeros or all-ones vector is one instruction. */
function isWorthIt(e: Expr): boolean {
  if (e.kind === "const" || e.kind === "var") return false;
  if (e.kind === "convert" && e.op === "ptr.from_i32S") return false;
  if (e.kind !== "constVector") return true;
  const first = e.values[0];
  return !(
    e.values.every((x) => Object.is(x, first)) &&
    (Object.is(first, 0) || first === 0n || first === -1 || first === -1n)
  );
}

function hintFor(e: Expr): string {
  if (e.kind === "constVector") return "constant";
  if (e.kind === "splat") return e.x.kind === "var" ? `${e.x.name}_splat` : "splat";
  return "invariant";
}
