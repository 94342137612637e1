/**
 * Pseudo-extrema: float max and min over lanes with a constant become what processors have as one instruction. IEEE's max takes
 * eight on x86-64, because it must look after NaN and the signs of zeros; with a known operand little of that is left.
 *
 *   store f32x4 %y[%i] = max(%x, f32x4(0.0))   ⇒   store f32x4 %y[%i] = pmax(%x, f32x4(0.0)) + f32x4(0.0)
 *
 * pmax(x, c) = x < c ? c : x and pmin(x, c) = c < x ? c : x keep a NaN in x. They differ from max and min only where x is a
 * zero of the other sign than c: max(−0, +0) = +0, which adding +0 mends, and min(+0, −0) = −0, which stays as it is.
 */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { flatMapStmts, mapStmt, rewriteExpr } from "../../ir/loop-walk.js";
import type { LoopPass } from "./pass.js";

export const pseudoExtrema: LoopPass = {
  name: "pseudoExtrema",
  run: (f) => {
    const onExpr = (e: Expr): Expr => rewriteExpr(e, (x) => pseudo(x) ?? x);
    const visit = (body: readonly Stmt[]): readonly Stmt[] => flatMapStmts(body, (s) => mapStmt(s, onExpr, visit));
    const body = visit(f.body);
    return body === f.body ? f : { ...f, body };
  },
};

function pseudo(e: Expr): Expr | undefined {
  if (e.kind !== "binary" || (e.op !== "max" && e.op !== "min")) return undefined;
  if (e.type !== "f32x4" && e.type !== "f64x2") return undefined;
  const [x, c] = e.a.kind === "constVector" ? [e.b, e.a] : [e.a, e.b];
  if (c.kind !== "constVector" || c.values.some((v) => Number.isNaN(v))) return undefined;
  const holds = (zero: number) => c.values.some((v) => Object.is(v, zero));
  if (e.op === "min") return holds(-0) ? undefined : B.pmin(x, c);
  if (!holds(0)) return B.pmax(x, c);
  // Where c is not zero, adding +0 must change nothing either: a result of −0 could only come from an x above a negative c.
  return c.values.every((v) => Object.is(v, 0)) ? B.add(B.pmax(x, c), B.constant(e.type, 0)) : undefined;
}
