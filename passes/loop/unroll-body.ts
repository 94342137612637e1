/** Copies of a loop body for consecutive iterations, with their bindings renamed apart. */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { boundNames, mapStmt, operandsOf, rewriteExpr, visitExprs } from "../../ir/loop-walk.js";
import type { Names } from "./pass.js";

/** Expressions in a statement list, nested ones included: a measure of code size. */
export function sizeOf(body: readonly Stmt[]): number {
  let size = 0;
  visitExprs(body, (e) => {
    if (operandsOf(e).length > 0) size++;
  });
  return size;
}

/**
 * `copies` of the body, in order, for index, index + step, …; `rename` may give the k-th copy another register for a name of
 * outside.
 */
export function unrolledBody(
  body: readonly Stmt[],
  index: string,
  step: number,
  copies: number,
  names: Names,
  rename: (name: string, copy: number) => string = (name) => name,
): readonly Stmt[] {
  const bound = boundNames(body);
  return Array.from({ length: copies }, (_, k) => {
    const apart = new Map<string, string>();
    const nameOf = (name: string): string => {
      if (k === 0 || !bound.has(name)) return rename(name, k);
      const known = apart.get(name) ?? names.fresh(name);
      apart.set(name, known);
      return known;
    };
    const onExpr = (e: Expr): Expr =>
      rewriteExpr(e, (x) => {
        if (x.kind === "binary") return B.binary(x.op, x.a, x.b);
        if (x.kind !== "var") return x;
        return x.name === index ? B.add(x, k * step) : B.v(nameOf(x.name), x.type);
      });
    const onBody = (inner: readonly Stmt[]): readonly Stmt[] =>
      inner.map((s) => {
        const renamed = s.kind === "let" || s.kind === "mut" || s.kind === "assign" || s.kind === "for";
        return mapStmt(renamed ? { ...s, name: nameOf(s.name) } : s, onExpr, onBody);
      });
    return onBody(body);
  }).flat();
}
