/** Copies of a loop body for consecutive iterations, with their bindings renamed apart. */

import type { Expr, Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { assignedNames, boundNames, mapOperands, mapStmt, operandsOf, visitExprs } from "../../ir/loop-walk.js";
import type { Names } from "./pass.js";

/** Expressions in a statement list, nested ones included: a measure of code size. */
export function sizeOf(body: readonly Stmt[]): number {
  let size = 0;
  visitExprs(body, (e) => {
    if (operandsOf(e).length > 0 && !(e.kind === "convert" && e.op === "ptr.from_i32S")) size++;
  });
  return size;
}

/** By how much an index grows with the loop's; undefined if not by a constant, or if it holds what the body changes. */
function strideOf(e: Expr, index: string, changing: ReadonlySet<string>): number | undefined {
  if (e.kind === "const") return 0;
  if (e.kind === "var") return e.name === index ? 1 : changing.has(e.name) ? undefined : 0;
  if (e.kind !== "binary") return undefined;
  const [a, b] = [strideOf(e.a, index, changing), strideOf(e.b, index, changing)];
  if (a === undefined || b === undefined) return undefined;
  if (a === 0 && b === 0) return 0;
  if (e.op === "add") return a + b;
  if (e.op === "sub") return a - b;
  if (e.op === "mul" && e.b.kind === "const") return a * (e.b.value as number);
  return undefined;
}

/**
 * `copies` of the body, in order, for index, index + step, …; `rename` may give the k-th copy another register for a name of
 * outside. Accesses at a constant stride keep the first copy's index and get a larger offset: the first copy's access vouches
 * for the index being an address.
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
  const changing = new Set([...bound, ...assignedNames(body)]);
  return Array.from({ length: copies }, (_, k) => {
    const apart = new Map<string, string>();
    const nameOf = (name: string): string => {
      if (k === 0 || !bound.has(name)) return rename(name, k);
      const known = apart.get(name) ?? names.fresh(name);
      apart.set(name, known);
      return known;
    };
    const onExpr = (e: Expr): Expr => {
      if (e.kind === "var") return e.name === index ? B.add(e, k * step) : B.v(nameOf(e.name), e.type);
      if (e.kind === "load") {
        const stride = strideOf(e.index, index, changing);
        if (stride !== undefined && stride >= 0)
          return { ...e, base: onExpr(e.base), offset: e.offset + stride * k * step };
      }
      return B.refolded(mapOperands(e, onExpr));
    };
    const onStmt = (s: Stmt): Stmt => {
      if (s.kind === "store") {
        const stride = strideOf(s.index, index, changing);
        if (stride !== undefined && stride >= 0)
          return { ...s, base: onExpr(s.base), offset: s.offset + stride * k * step, value: onExpr(s.value) };
      }
      const renamed = s.kind === "let" || s.kind === "mut" || s.kind === "assign" || s.kind === "for";
      return mapStmt(renamed ? { ...s, name: nameOf(s.name) } : s, onExpr, onBody);
    };
    const onBody = (inner: readonly Stmt[]): readonly Stmt[] => inner.map(onStmt);
    return onBody(body);
  }).flat();
}
