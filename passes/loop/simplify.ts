/**
 * Simplify: index algebra, constant folding and dead code.
 *
 *   let %unused = %a + 1                        for %i = 0 to %n {
 *   for %i = 0 to %n {                            store f32 %y[%i * 12, +24] = …
 *     store f32 %y[(%i * 4 + 8) * 3] = …   ⇒    }
 *   }
 *
 * Rules (i32, ptr): constants fold; c + x → x + c; (x + c) + d → x + (c+d); (x·c)·d → x·(c·d); (x + c)·d → x·d + c·d;
 * x − c → x + (−c); x·1, x + 0, x << 0 → x. Stores narrow, so what they store need not be narrowed before: extended from the
 * low bits, masked to them or rounded to the same format. A constant added to an index moves into the access's offset where the rest is
 * certainly ≥ 0. A let of a constant or of an immutable value gives way to it. select and if with a constant condition, loops that never turn, and unused pure lets go away.
 * Float arithmetic is left alone.
 */

import { type Elem, type Expr, elemBytes, type Stmt } from "../../ir/loop.js";
import * as B from "../../ir/loop-build.js";
import { constIndex, foldIndex, isIndex } from "../../ir/loop-fold.js";
import { elemKind } from "../../ir/loop-types.js";
import { flatMapStmts, isCall, mapStmt, rewriteExpr, visitExprs, visitStmts } from "../../ir/loop-walk.js";
import type { LoopPass } from "./pass.js";

export const simplify: LoopPass = {
  name: "simplify",
  run: (f) => {
    // What folds to a constant lets what uses it fold, and what nothing uses any more goes.
    const body = untilStable(f.body, (b) => untilStable(simplifyBody(propagate(b), new Set()), dropDead));
    return body === f.body ? f : { ...f, body };
  },
};

function untilStable<T>(start: T, step: (x: T) => T): T {
  for (let at = start; ; ) {
    const next = step(at);
    if (next === at) return at;
    at = next;
  }
}

/** Algebra of one node whose operands are simplified. */
function simplifyNode(e: Expr): Expr {
  if (e.kind === "select" && e.cond.kind === "const") return e.cond.value === 1 ? e.a : e.b;
  if (e.kind === "unary" && e.op === "not" && e.type === "mask" && e.x.kind === "const") return B.bool(e.x.value === 0);
  if (e.kind === "compare") return foldCompare(e);
  if (e.kind === "convert" && e.op === "ptr.from_i32S" && e.x.kind === "const") return B.ptr(e.x.value as number);
  if (e.kind !== "binary" || !isIndex(e.type)) return e;
  const times = (x: number, y: number): Expr => B.mul(B.constant(e.type, x), y);
  const c = constIndex(e.b);
  if (e.op === "sub" && c !== undefined && c !== -(2 ** 31)) return simplifyNode(B.add(e.a, -c));
  if (e.op === "mul" && constIndex(e.a) !== undefined && c === undefined) return simplifyNode(B.mul(e.b, e.a));
  if (e.op === "mul" && c !== undefined && e.a.kind === "binary") {
    const inner = constIndex(e.a.b);
    if (e.a.op === "mul" && inner !== undefined) return simplifyNode(B.mul(e.a.a, times(inner, c)));
    if (e.a.op === "add" && inner !== undefined)
      return simplifyNode(B.add(simplifyNode(B.mul(e.a.a, c)), times(inner, c)));
  }
  if (e.op === "add" && e.a.kind === "binary" && e.a.op === "add" && c === undefined) {
    // (x + c) + y → (x + y) + c
    const inner = constIndex(e.a.b);
    if (inner !== undefined) return B.add(simplifyNode(B.add(e.a.a, e.b)), inner);
  }
  if (e.op === "add" && e.b.kind === "binary" && e.b.op === "add") {
    // x + (y + c) → (x + y) + c
    const inner = constIndex(e.b.b);
    if (inner !== undefined) return B.add(simplifyNode(B.add(e.a, e.b.a)), inner);
  }
  return foldIndex(e.op, e.a, e.b) ?? e;
}

/** The value without what the store does by itself. */
function unnarrowed(elem: Elem, value: Expr): Expr {
  if ((elem === "f16" || elem === "bf16") && value.kind === "convert" && value.op === `${elem}.round`) return value.x;
  const bits = elemBytes[elem] * 8;
  if (value.kind !== "binary" || elemKind[elem] !== "i32" || bits === 32) return value;
  const { op, a, b } = value;
  if (op === "and" && isMask(b, bits)) return unnarrowed(elem, a);
  const isExtension = (op === "shrS" || op === "shrU") && a.kind === "binary" && a.op === "shl";
  const amounts = [b, a.kind === "binary" ? a.b : a].map(constIndex);
  return isExtension && amounts.every((n) => n === 32 - bits) ? unnarrowed(elem, a.a) : value;
}

/** Whether the constant keeps at least the low bits. */
function isMask(e: Expr, bits: number): boolean {
  const low = 2 ** bits - 1;
  const keeps = (c: number | bigint) => (Number(c) & low) >>> 0 === low;
  return e.kind === "const" ? keeps(e.value) : e.kind === "constVector" && e.values.every(keeps);
}

function foldCompare(e: Extract<Expr, { kind: "compare" }>): Expr {
  const [a, b] = [constIndex(e.a), constIndex(e.b)];
  if (a === undefined || b === undefined) return e;
  switch (e.op) {
    case "eq":
      return B.bool(a === b);
    case "ne":
      return B.bool(a !== b);
    case "ltS":
      return B.bool(a < b);
    case "leS":
      return B.bool(a <= b);
    case "gtS":
      return B.bool(a > b);
    case "geS":
      return B.bool(a >= b);
    default:
      return e;
  }
}

/** `positive`: immutable i32 names whose value is certainly ≥ 0. */
function simplifyBody(body: readonly Stmt[], positive: ReadonlySet<string>): readonly Stmt[] {
  const known = new Set(positive);
  const onExpr = (e: Expr): Expr => rewriteExpr(e, (x) => moveOffset(simplifyNode(x), known));
  return flatMapStmts(body, (s) => {
    if (s.kind === "for") {
      const [begin, end] = [onExpr(s.begin), onExpr(s.end)];
      const [first, last] = [constIndex(begin), constIndex(end)];
      if (first !== undefined && last !== undefined && first >= last) return [];
      const inside = isPositive(begin, known) ? new Set([...known, s.name]) : known;
      return mapStmt(
        s,
        (e) => (e === s.begin ? begin : end),
        (inner) => simplifyBody(inner, inside),
      );
    }
    const next = mapStmt(s, onExpr, (inner) => simplifyBody(inner, known));
    if (next.kind === "let" && next.value.type === "i32" && isPositive(next.value, known)) known.add(next.name);
    if (next.kind === "if" && next.cond.kind === "const") {
      // Its bindings would meet those of the enclosing list, so only a list without any is spliced in.
      const taken = next.cond.value === 1 ? next.then : next.else;
      if (taken.every((t) => t.kind !== "let" && t.kind !== "mut")) return taken;
    }
    if (next.kind === "while" && next.cond.kind === "const" && next.cond.value === 0) return [];
    if (next.kind !== "store") return next;
    const value = unnarrowed(next.elem, next.value);
    return withOffset(value === next.value ? next : { ...next, value }, known);
  });
}

function moveOffset(e: Expr, positive: ReadonlySet<string>): Expr {
  return e.kind === "load" ? withOffset(e, positive) : e;
}

/** x[i + c] → x[i, +c]. The offset is added without wrapping, so what remains must not be negative. */
function withOffset<T extends { readonly index: Expr; readonly offset: number }>(
  access: T,
  positive: ReadonlySet<string>,
): T {
  const { index, offset } = access;
  if (index.kind !== "binary" || index.op !== "add") return access;
  const c = constIndex(index.b);
  if (c === undefined || c < 0 || !isPositive(index.a, positive) || offset + c >= 2 ** 28) return access;
  return { ...access, index: index.a, offset: offset + c };
}

/** Whether an i32 is certainly ≥ 0, taking for granted that products and sums of indices do not overflow. */
function isPositive(e: Expr, positive: ReadonlySet<string>): boolean {
  switch (e.kind) {
    case "const":
      return (e.value as number) >= 0;
    case "var":
      return positive.has(e.name);
    case "load":
      return e.elem === "u8" || e.elem === "u16";
    case "binary":
      switch (e.op) {
        case "add":
        case "mul":
        case "minS":
        case "divS":
        case "remS":
          return isPositive(e.a, positive) && isPositive(e.b, positive);
        case "and":
        case "maxS":
          return isPositive(e.a, positive) || isPositive(e.b, positive);
        case "shl":
        case "shrS":
        case "divU":
        case "remU":
          return isPositive(e.a, positive);
        default:
          return false;
      }
    default:
      return false;
  }
}

/** Replaces the uses of lets that only name a constant or another let, parameter or loop variable. */
function propagate(body: readonly Stmt[]): readonly Stmt[] {
  const mutable = new Set<string>();
  const names = new Map<string, number>();
  visitStmts(body, (s) => {
    if (s.kind === "mut") mutable.add(s.name);
    if (s.kind === "let" || s.kind === "mut" || s.kind === "for") names.set(s.name, (names.get(s.name) ?? 0) + 1);
  });
  const visit = (list: readonly Stmt[], outer: ReadonlyMap<string, Expr>): readonly Stmt[] => {
    const known = new Map(outer);
    const onExpr = (e: Expr): Expr => rewriteExpr(e, (x) => (x.kind === "var" ? (known.get(x.name) ?? x) : x));
    return flatMapStmts(list, (s) => {
      const next = mapStmt(s, onExpr, (inner) => visit(inner, known));
      // A name bound in several sibling scopes could mean another value where this one is put.
      const once = next.kind === "let" && names.get(next.name) === 1;
      if (next.kind === "let" && next.value.kind === "const" && once) known.set(next.name, next.value);
      if (next.kind === "let" && next.value.kind === "var" && once && !mutable.has(next.value.name))
        known.set(next.name, next.value);
      return next;
    });
  };
  return visit(body, new Map());
}

/** Without the lets and muts that nothing reads and the statements that do nothing; the list itself if there are none. */
function dropDead(body: readonly Stmt[]): readonly Stmt[] {
  const used = new Set<string>();
  visitExprs(body, (e) => {
    if (e.kind === "var") used.add(e.name);
  });
  const visit = (list: readonly Stmt[]): readonly Stmt[] =>
    flatMapStmts(list, (s) => {
      const dead =
        ((s.kind === "let" || s.kind === "mut" || s.kind === "assign") && !used.has(s.name) && isPure(s.value)) ||
        (s.kind === "for" && s.body.length === 0 && isPure(s.begin) && isPure(s.end)) ||
        (s.kind === "if" && s.then.length === 0 && s.else.length === 0 && isPure(s.cond));
      return dead ? [] : mapStmt(s, (e) => e, visit);
    });
  return visit(body);
}

/** Has no effect and cannot trap; a load that nobody reads may go, whether or not it would trap. */
function isPure(e: Expr): boolean {
  let pure = true;
  visitExprs([{ kind: "return", value: e }], (x) => {
    if (isCall(x)) pure = false;
  });
  return pure;
}
