/**
 * Pseudo-extrema: float max and min with a constant become what processors have as one instruction. IEEE's max takes
 * eight on x86-64, because it must look after NaN and the signs of zeros; with a known operand little of that is left.
 *
 *   store f32x4 %y[%i] = max(%x, f32x4(0.0))   ⇒   store f32x4 %y[%i] = pmax(%x, f32x4(0.0)) + f32x4(0.0)
 *
 * pmax(x, c) = x < c ? c : x and pmin(x, c) = c < x ? c : x keep a NaN in x. They differ from max and min only where x is a
 * zero of the other sign than c: max(−0, +0) = +0, which adding +0 mends, and min(+0, −0) = −0, which stays as it is.
 */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { scalarOf } from "../../ir/loop-types.js";
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
  if (scalarOf(e.type) !== "f32" && scalarOf(e.type) !== "f64") return undefined;
  const [x, c] = valuesOf(e.a) === undefined ? [e.a, e.b] : [e.b, e.a];
  const values = valuesOf(c);
  if (values === undefined || values.some((v) => Number.isNaN(v))) return undefined;
  const holds = (zero: number) => values.some((v) => Object.is(v, zero));
  if (e.op === "min") return holds(-0) ? undefined : B.pmin(x, c);
  if (!holds(0)) return B.pmax(x, c);
  // Where c is not zero, adding +0 must change nothing either: a result of −0 could only come from an x above a negative c.
  return values.every((v) => Object.is(v, 0)) ? B.add(B.pmax(x, c), B.constant(e.type, 0)) : undefined;
}

/** The numbers of a constant, one a lane. */
function valuesOf(e: Expr): readonly (number | bigint)[] | undefined {
  if (e.kind === "constVector") return e.values;
  return e.kind === "const" ? [e.value] : undefined;
}
