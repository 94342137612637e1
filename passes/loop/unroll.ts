/**
 * Unroll: short vector loops take two or four steps per turn, so that independent loads and stores overlap and the loop's own
 * instructions weigh less.
 *
 *   for %i = 0 to %n step 4 {              let %turns = (%n + 3) >> 2 …
 *     store f32x4 %y[%i] = neg(…)    ⇒     for %i = 0 to %i_unrolled step 16 { …%i… …%i + 4… …%i + 8… …%i + 12… }
 *   }                                      for %i = %i_unrolled to %n step 4 { …as before… }
 *
 * Only loops without inner loops, whose step is the power of two that their vector accesses take, and which are short.
 */

import type { Expr, LoopFunction, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { isVector, lanesOf } from "../../ir/loop-types.js";
import { exprsOf, flatMapStmts, isCall, mapStmt, namesOf, someExpr } from "../../ir/loop-walk.js";
import { type LoopPass, Names } from "./pass.js";
import { sizeOf, unrolledBody } from "./unroll-body.js";

type For = Extract<Stmt, { kind: "for" }>;

/** Operations of one turn below which a loop takes four or two steps at once. */
const small = 6;
const medium = 14;

export const unroll: LoopPass = {
  name: "unroll",
  run: (f: LoopFunction) => {
    const names = new Names(namesOf(f));
    const visit = (body: readonly Stmt[]): readonly Stmt[] =>
      flatMapStmts(body, (s, k) => {
        const copies = s.kind === "for" && !isRemainder(s, body[k - 1]) ? copiesOf(s) : 1;
        if (s.kind !== "for" || copies === 1) return mapStmt(s, (e) => e, visit);
        return unrollLoop(s, copies, names);
      });
    const body = visit(f.body);
    return body === f.body ? f : { ...f, body };
  },
};

/** Whether the loop takes the last few turns of the loop before it. */
function isRemainder(loop: For, previous: Stmt | undefined): boolean {
  if (previous?.kind !== "for" || previous.step <= loop.step) return false;
  const [a, b] = [previous.end, loop.begin];
  return (
    (a.kind === "var" && b.kind === "var" && a.name === b.name) ||
    (a.kind === "const" && b.kind === "const" && a.value === b.value)
  );
}

function copiesOf(loop: For): 1 | 2 | 4 {
  const plain = loop.body.every((s) => s.kind === "let" || s.kind === "assign" || s.kind === "store");
  if (!plain || (loop.step !== 4 && loop.step !== 2) || !stepsByLanes(loop)) return 1;
  const size = sizeOf(loop.body);
  const trips = constantSpan(loop);
  const most = trips === undefined ? 4 : Math.ceil(trips / loop.step);
  if (size <= small && most >= 4) return 4;
  return size <= medium && most >= 2 ? 2 : 1;
}

function constantSpan(loop: For): number | undefined {
  if (loop.begin.kind !== "const" || loop.end.kind !== "const") return undefined;
  return Math.max(0, (loop.end.value as number) - (loop.begin.value as number));
}

/** Whether every memory access of the body moves exactly as many elements as the loop steps over. */
function stepsByLanes(loop: For): boolean {
  let accesses = 0;
  const fits = loop.body.every((s) => {
    if (s.kind === "store") {
      accesses++;
      if (lanesOf(s.value.type) !== loop.step) return false;
    }
    return !exprsOf(s).some((e) =>
      someExpr(e, (x) => {
        if (isCall(x) || x.kind === "math") return true;
        if (x.kind !== "load") return false;
        accesses++;
        return !isVector(x.type) || lanesOf(x.type) !== loop.step;
      }),
    );
  });
  return fits && accesses > 0;
}

function unrollLoop(loop: For, copies: 2 | 4, names: Names): readonly Stmt[] {
  const before: Stmt[] = [];
  const bound = (hint: string, value: Expr): Expr => {
    if (value.kind === "const" || value.kind === "var") return value;
    const name = names.fresh(hint);
    before.push({ kind: "let", name, value });
    return B.v(name, "i32");
  };
  const begin = bound(`${loop.name}_begin`, loop.begin);
  const end = bound(`${loop.name}_end`, loop.end);
  // Turns that the loop takes: the span over the step, rounded up; whole groups of them are unrolled.
  const span = B.add(B.maxS(B.sub(end, begin), 0), loop.step - 1);
  const whole = B.and(span, -(loop.step * copies));
  const middle = bound(`${loop.name}_unrolled`, B.add(begin, whole));
  const body = unrolledBody(loop.body, loop.name, loop.step, copies, names);
  const main: Stmt = { ...loop, begin, end: middle, step: loop.step * copies, body };
  const done = middle.kind === "const" && end.kind === "const" && (middle.value as number) >= (end.value as number);
  return [...before, main, ...(done ? [] : [{ ...loop, begin: middle, end }])];
}
