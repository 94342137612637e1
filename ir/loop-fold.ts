/** Index arithmetic that is known when it is written down. */

import type { BinaryOp, Expr } from "./loop.js";

const constI32 = (e: Expr): number | undefined =>
  e.kind === "const" && e.type === "i32" ? (e.value as number) : undefined;

const i32 = (value: number): Expr => ({ kind: "const", type: "i32", value: value | 0 });

const sum = (a: Expr, b: Expr): Expr => foldIndex("add", a, b) ?? { kind: "binary", type: "i32", op: "add", a, b };

/** i32 arithmetic with constants: const∘const, x+0, x·1, x·0, (x+c)+d. Undefined: as written. */
export function foldIndex(op: BinaryOp, a: Expr, b: Expr): Expr | undefined {
  if (a.type !== "i32" || b.type !== "i32") return undefined;
  const x = constI32(a);
  const y = constI32(b);
  if (x !== undefined && y !== undefined) {
    const value = evalI32(op, x, y);
    return value === undefined ? undefined : i32(value);
  }
  if (op === "add") {
    if (y === 0) return a;
    if (x === 0) return b;
    if (x !== undefined) return sum(b, a);
    if (y !== undefined && a.kind === "binary" && a.op === "add") {
      const inner = constI32(a.b);
      if (inner !== undefined) return sum(a.a, i32(inner + y));
    }
  }
  if (op === "sub" && y === 0) return a;
  if ((op === "divS" || op === "divU") && y === 1) return a;
  if ((op === "shl" || op === "shrS" || op === "shrU") && y === 0) return a;
  if (op === "mul") {
    if (y === 1) return a;
    if (x === 1) return b;
    if ((y === 0 && isPure(a)) || (x === 0 && isPure(b))) return i32(0);
  }
  return undefined;
}

/** The value of constant i32 index arithmetic; undefined where it would trap or is not index arithmetic. */
function evalI32(op: BinaryOp, x: number, y: number): number | undefined {
  switch (op) {
    case "add":
      return x + y;
    case "sub":
      return x - y;
    case "mul":
      return Math.imul(x, y);
    case "divS":
      return y === 0 || (y === -1 && x === -(2 ** 31)) ? undefined : Math.trunc(x / y);
    case "divU":
      return y === 0 ? undefined : Math.trunc((x >>> 0) / (y >>> 0));
    case "remS":
      return y === 0 ? undefined : x % y;
    case "remU":
      return y === 0 ? undefined : (x >>> 0) % (y >>> 0);
    case "minS":
      return Math.min(x, y);
    case "maxS":
      return Math.max(x, y);
    case "and":
      return x & y;
    case "or":
      return x | y;
    case "xor":
      return x ^ y;
    case "shl":
      return x << y;
    case "shrS":
      return x >> y;
    case "shrU":
      return x >>> y;
    default:
      return undefined;
  }
}

/** Whether an expression calls no function, so that it may be dropped. */
function isPure(e: Expr): boolean {
  switch (e.kind) {
    case "const":
    case "constVector":
    case "var":
      return true;
    case "unary":
      return isPure(e.x);
    case "binary":
      return e.op !== "divS" && e.op !== "divU" && e.op !== "remS" && e.op !== "remU" && isPure(e.a) && isPure(e.b);
    default:
      return false;
  }
}
