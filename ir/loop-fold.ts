/** Index arithmetic that is known when it is written down. */

import type { BinaryOp, Expr, LoopType } from "./loop.js";

type IndexType = "i32" | "ptr";

export const isIndex = (type: LoopType): type is IndexType => type === "i32" || type === "ptr";

/** The value of a constant i32 or ptr. */
export const constIndex = (e: Expr): number | undefined =>
  e.kind === "const" && isIndex(e.type) ? (e.value as number) : undefined;

const constant = (type: IndexType, value: number): Expr => ({
  kind: "const",
  type,
  value: type === "i32" ? value | 0 : value + 0,
});

/** i32 and ptr arithmetic with constants: const∘const, x+0, x·1, x·0, (x+c)+d. Undefined: as written. */
export function foldIndex(op: BinaryOp, a: Expr, b: Expr): Expr | undefined {
  const { type } = a;
  if (!isIndex(type) || b.type !== type) return undefined;
  const x = constIndex(a);
  const y = constIndex(b);
  if (x !== undefined && y !== undefined) {
    const value = type === "i32" ? evalI32(op, x, y) : evalPtr(op, x, y);
    return value === undefined || !Number.isSafeInteger(value) ? undefined : constant(type, value);
  }
  if (op === "add") {
    if (y === 0) return a;
    if (x === 0) return b;
    if (x !== undefined) return sum(type, b, a);
    if (y !== undefined && a.kind === "binary" && a.op === "add") {
      const inner = constIndex(a.b);
      if (inner !== undefined) return sum(type, a.a, constant(type, inner + y));
    }
  }
  if (op === "sub" && y === 0) return a;
  if ((op === "divS" || op === "divU") && y === 1) return a;
  if ((op === "shl" || op === "shrS" || op === "shrU") && y === 0) return a;
  if (op === "mul") {
    if (y === 1) return a;
    if (x === 1) return b;
    if ((y === 0 && isPure(a)) || (x === 0 && isPure(b))) return constant(type, 0);
  }
  return undefined;
}

const sum = (type: IndexType, a: Expr, b: Expr): Expr =>
  foldIndex("add", a, b) ?? { kind: "binary", type, op: "add", a, b };

function evalPtr(op: BinaryOp, x: number, y: number): number | undefined {
  switch (op) {
    case "add":
      return x + y;
    case "sub":
      return x - y;
    case "mul":
      return x * y;
    default:
      return undefined;
  }
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
    case "convert":
      return e.type === "ptr" && isPure(e.x);
    case "binary":
      return e.op !== "divS" && e.op !== "divU" && e.op !== "remS" && e.op !== "remU" && isPure(e.a) && isPure(e.b);
    default:
      return false;
  }
}
