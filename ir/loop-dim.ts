/** The operators of dims as i32 arithmetic of Loop IR. Division is that of dims, towards −∞; the divisor must be positive. */

import { type Dim, type DimOperation, dimBounds } from "./dim.js";
import type { Expr } from "./loop.js";
import * as B from "./loop-build.js";

/** Gives an expression that is used more than once a name, where there is a place for one. */
export type NameExpr = (e: Expr) => Expr;

/**
 * An operator's value from those of its operands. Machine division truncates: it stands only where bounds prove that the
 * numerator is not negative; elsewhere the numerator is raised by a multiple of the divisor, or the quotient corrected.
 */
export function emitDimOp({ kind, a, b }: DimOperation, x: Expr, y: Expr, name: NameExpr): Expr {
  switch (kind) {
    case "min":
      return B.minS(x, y);
    case "max":
      return B.maxS(x, y);
    case "floordiv":
      return floorDiv(a, b, x, y, name);
    case "mod":
      return floorMod(a, b, x, y, name);
  }
}

/** log₂ of a power of two. */
function exponentOf(d: Dim): number | undefined {
  if (typeof d !== "number" || d < 1 || d > 2 ** 30) return undefined;
  const e = Math.log2(d);
  return Number.isInteger(e) ? e : undefined;
}

/** How many divisors make every value of the numerator non-negative, if that is known and stays within 32 bits. */
function raise(a: Dim, b: Dim): number | undefined {
  if (typeof b !== "number") return undefined;
  const { min, max } = dimBounds(a);
  const times = Math.ceil(-min / b);
  return max + times * b < 2 ** 31 ? times : undefined;
}

function floorDiv(a: Dim, b: Dim, x: Expr, y: Expr, name: NameExpr): Expr {
  if (dimBounds(a).min >= 0) return B.divS(x, y);
  const exponent = exponentOf(b);
  if (exponent !== undefined) return B.shrS(x, exponent);
  const times = raise(a, b);
  if (times !== undefined) return B.sub(B.divS(B.add(x, times * Number(b)), y), times);
  // ⌊x/y⌋ = (x − (y − 1))/y where x is negative.
  const [n, d] = [name(x), name(y)];
  return B.divS(B.sub(n, B.and(B.shrS(n, 31), B.sub(d, 1))), d);
}

function floorMod(a: Dim, b: Dim, x: Expr, y: Expr, name: NameExpr): Expr {
  if (dimBounds(a).min >= 0) return B.remS(x, y);
  if (exponentOf(b) !== undefined) return B.and(x, Number(b) - 1);
  const times = raise(a, b);
  if (times !== undefined) return B.remS(B.add(x, times * Number(b)), y);
  const d = name(y);
  const rest = name(B.remS(x, d));
  return B.add(rest, B.and(B.shrS(rest, 31), d));
}
