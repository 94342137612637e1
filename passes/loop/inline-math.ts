/**
 * Inline math: vector math in loops is expanded in place where the library's function is straight-line code. A call per
 * vector costs about as much as a third of `exp`, and its constants are built anew each time.
 *
 *   for %i = 0 to %n step 4 {                          for %i = 0 to %n step 4 {
 *     store f32x4 %y[%i] = exp(load f32x4 %x[%i])   ⇒    let %x_1 = load f32x4 %x[%i]
 *   }                                                    let %t = pmax(pmin(%x_1, f32x4(89.0)), f32x4(-176.0))
 *                                                        …
 *                                                        store f32x4 %y[%i] = %y_1 * bitcast.f32x4(…) * …
 *                                                      }
 *
 * Scalar math, as in the loops' tails, stays a call: it gives the same bits and is rarely hot.
 */

import type { Expr, LoopFunction, LoopType, MathFn, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { isVector } from "../../ir/loop-types.js";
import {
  exprsOf,
  flatMapStmts,
  isCall,
  mapOperands,
  mapStmt,
  namesOf,
  rewriteExpr,
  someExpr,
} from "../../ir/loop-walk.js";
import { type LoopPass, Names } from "./pass.js";
import { sizeOf } from "./unroll-body.js";

/** The library's function for a math operation; undefined where it is not to be inlined. */
export type MathSource = (fn: MathFn, type: LoopType) => LoopFunction | undefined;

/** Operations beyond which a function does not grow further: engines compile large functions slowly. */
const largest = 500;

export function inlineMath(source: MathSource): LoopPass {
  return {
    name: "inlineMath",
    run: (f) => {
      const names = new Names(namesOf(f));
      let size = sizeOf(f.body);

      /** Expands the vector math of an expression; what it needs goes before the statement. */
      const expand = (e: Expr, before: Stmt[]): Expr => {
        const inner = mapOperands(e, (x) => expand(x, before));
        if (inner.kind !== "math" || !isVector(inner.type)) return inner;
        const library = source(inner.fn, inner.type);
        const straight = library === undefined ? undefined : straightLine(library);
        if (library === undefined || straight === undefined || size + straight.size > largest) return inner;
        size += straight.size;
        const known = new Map<string, Expr>();
        const bind = (name: string, value: Expr): void => {
          if (value.kind === "var" || value.kind === "const" || value.kind === "constVector") {
            known.set(name, value);
            return;
          }
          const fresh = names.fresh(name);
          before.push({ kind: "let", name: fresh, value });
          known.set(name, B.v(fresh, value.type));
        };
        const here = (x: Expr): Expr => rewriteExpr(x, (y) => (y.kind === "var" ? (known.get(y.name) as Expr) : y));
        for (const [k, p] of library.params.entries()) bind(p.name, inner.args[k] as Expr);
        for (const s of straight.lets) bind(s.name, here(s.value));
        return here(straight.result);
      };

      const visit = (body: readonly Stmt[], inLoop: boolean): readonly Stmt[] =>
        flatMapStmts(body, (s) => {
          const loop = s.kind === "for" || s.kind === "while";
          const nested = (inner: readonly Stmt[]) => visit(inner, inLoop || loop);
          // A loop's own expressions stay, and so do statements with calls, which may change what is read first.
          const hasCall = exprsOf(s).some((e) => someExpr(e, isCall));
          if (!inLoop || loop || hasCall) return mapStmt(s, (e) => e, nested);
          const before: Stmt[] = [];
          const next = mapStmt(s, (e) => expand(e, before), nested);
          return before.length === 0 ? next : [...before, next];
        });
      const body = visit(f.body, false);
      return body === f.body ? f : { ...f, body };
    },
  };
}

interface StraightLine {
  readonly lets: readonly Extract<Stmt, { kind: "let" }>[];
  readonly result: Expr;
  readonly size: number;
}

/** A body of lets and one return that calls nothing. */
function straightLine(f: LoopFunction): StraightLine | undefined {
  const last = f.body.at(-1);
  if (last?.kind !== "return" || last.value === undefined) return undefined;
  const lets: Extract<Stmt, { kind: "let" }>[] = [];
  for (const s of f.body.slice(0, -1)) {
    if (s.kind !== "let") return undefined;
    lets.push(s);
  }
  const calls = f.body.some((s) => exprsOf(s).some((e) => someExpr(e, (x) => x.kind === "math" || isCall(x))));
  return calls ? undefined : { lets, result: last.value, size: sizeOf(f.body) };
}
