/**
 * Verifier of Loop IR. Invariants:
 *
 *  1. Every expression has the type that loop-infer.ts infers from its operands; constants are canonical.
 *  2. Every variable is bound before its use in the same or an enclosing statement list, with the type it is used at.
 *  3. Names are identifiers ([A-Za-z_][A-Za-z0-9_.]*), and no binding shadows a visible one.
 *  4. Only `mut` registers are assigned, by values of their type.
 *  5. `for`: begin and end are i32, the step is an integer > 0; `vectorize` only with step 1.
 *  6. Conditions of `while` and `if` are scalar masks.
 *  7. Calls name a function of the module with the same parameter types; a call used as a value has its result type.
 *  8. `return` has the function's result type; a function with a result ends in a `return` on every path.
 *  9. Loads and stores pair register and element types that exist; offsets are constants ≥ 0; bases are ptr, indices i32.
 * 10. Operands of copy are ptr, those of fill ptr, i32 and ptr, that of barrier is i32; comments are one line.
 * 11. Functions of a module and parameters of a function have distinct names.
 */

import { VerifyError } from "./errors.js";
import type { Expr, LoopFunction, LoopModule, LoopType, Stmt } from "./loop.js";
import { checkAccess, inferType } from "./loop-infer.js";
import { printExpr, printStmts } from "./loop-print.js";

import { exprsOf, operandsOf } from "./loop-walk.js";

const identifier = /^[A-Za-z_][A-Za-z0-9_.]*$/;
const maxProblems = 20;

/** @throws VerifyError listing what is wrong; `after` names the pass that ran. */
export function verifyLoop(m: LoopModule, after?: string): void {
  const functions = new Map(m.functions.map((f) => [f.name, f]));
  const problems = m.functions.flatMap((f) => problemsOf(f, functions));
  if (functions.size !== m.functions.length) problems.push("two functions have one name");
  if (problems.length === 0) return;
  const more = problems.length > maxProblems ? [`… and ${problems.length - maxProblems} more`] : [];
  const head = after === undefined ? "ill-formed Loop IR" : `ill-formed Loop IR after ${after}`;
  throw new VerifyError([`${head}:`, ...problems.slice(0, maxProblems), ...more].join("\n  "));
}

interface Binding {
  readonly type: LoopType;
  readonly mutable: boolean;
}

function problemsOf(f: LoopFunction, functions: ReadonlyMap<string, LoopFunction>): string[] {
  const problems: string[] = [];
  const scope = new Map<string, Binding>();
  let current: Stmt | undefined;
  const report = (text: string) => {
    const where = current === undefined ? "" : ` in: ${printStmts([current]).split("\n")[0]}`;
    problems.push(`@${f.name}: ${text}${where}`);
  };

  const bind = (name: string, type: LoopType, mutable: boolean): void => {
    if (!identifier.test(name)) report(`%${name} is not an identifier`);
    if (scope.has(name)) report(`%${name} shadows another binding`);
    scope.set(name, { type, mutable });
  };

  const checkCall = (fn: string, args: readonly Expr[], result: LoopType | undefined): void => {
    const callee = functions.get(fn);
    if (callee === undefined) return void report(`no function @${fn}`);
    const wanted = callee.params.map((p) => p.type).join(", ");
    const got = args.map((x) => x.type).join(", ");
    if (wanted !== got) report(`@${fn} takes (${wanted}), called with (${got})`);
    if (result !== undefined && callee.result !== result)
      report(`@${fn} returns ${callee.result ?? "nothing"}, used as ${result}`);
  };

  const checkExpr = (e: Expr): void => {
    for (const x of operandsOf(e)) checkExpr(x);
    try {
      const found = inferType(e);
      if (found !== e.type) report(`${printExpr(e)} is ${found}, marked ${e.type}`);
    } catch (error) {
      report((error as Error).message);
    }
    if (e.kind === "var") {
      const b = scope.get(e.name);
      if (b === undefined) report(`%${e.name} is not bound`);
      else if (b.type !== e.type) report(`%${e.name} is ${b.type}, used as ${e.type}`);
    }
    if (e.kind === "call") checkCall(e.fn, e.args, e.type);
  };

  const needs = (what: string, type: LoopType, ...operands: readonly Expr[]): void => {
    for (const e of operands) if (e.type !== type) report(`${what} takes ${type}, not ${e.type}`);
  };

  const checkBody = (body: readonly Stmt[]): void => {
    const before = new Set(scope.keys());
    for (const s of body) checkStmt(s);
    for (const name of [...scope.keys()]) if (!before.has(name)) scope.delete(name);
  };

  const checkStmt = (s: Stmt): void => {
    current = s;
    for (const e of exprsOf(s)) checkExpr(e);
    switch (s.kind) {
      case "let":
      case "mut":
        bind(s.name, s.value.type, s.kind === "mut");
        break;
      case "assign": {
        const b = scope.get(s.name);
        if (b === undefined) report(`%${s.name} is not bound`);
        else if (!b.mutable) report(`%${s.name} is not a mut register`);
        else if (b.type !== s.value.type) report(`%${s.name} is ${b.type}, assigned ${s.value.type}`);
        break;
      }
      case "store":
        try {
          checkAccess("store", s.value.type, s.elem, s.base.type, s.index.type, s.offset);
        } catch (error) {
          report((error as Error).message);
        }
        break;
      case "for":
        needs("for", "i32", s.begin, s.end);
        if (!Number.isInteger(s.step) || s.step <= 0) report(`for %${s.name}: step ${s.step}`);
        if (s.vectorize && s.step !== 1) report(`for %${s.name}: vectorize needs step 1`);
        bind(s.name, "i32", false);
        checkBody(s.body);
        scope.delete(s.name);
        break;
      case "while":
        needs("while", "mask", s.cond);
        checkBody(s.body);
        break;
      case "if":
        needs("if", "mask", s.cond);
        checkBody(s.then);
        checkBody(s.else);
        break;
      case "call":
        checkCall(s.fn, s.args, undefined);
        break;
      case "copy":
        needs("copy", "ptr", s.dst, s.src, s.bytes);
        break;
      case "fill":
        needs("fill", "ptr", s.dst, s.bytes);
        needs("fill", "i32", s.byte);
        break;
      case "barrier":
        needs("barrier", "i32", s.threads);
        break;
      case "return":
        if (s.value?.type !== f.result)
          report(`returns ${s.value?.type ?? "nothing"}, declared ${f.result ?? "nothing"}`);
        break;
      case "comment":
        if (/[\r\n]/.test(s.text)) report("a comment of several lines");
        break;
      default:
        s satisfies never;
    }
  };

  if (!identifier.test(f.name)) report("the function's name is not an identifier");
  for (const p of f.params) bind(p.name, p.type, false);
  checkBody(f.body);
  current = undefined;
  if (f.result !== undefined && !endsInReturn(f.body)) report(`declared to return ${f.result}, but a path does not`);
  return problems;
}

/** Whether every path through the statements ends in a `return`. */
export function endsInReturn(body: readonly Stmt[]): boolean {
  const last = body.findLast((s) => s.kind !== "comment");
  if (last?.kind === "return") return true;
  return last?.kind === "if" && endsInReturn(last.then) && endsInReturn(last.else);
}
