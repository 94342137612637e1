/** Generic traversal of Loop IR: the one place that knows which fields of a node hold expressions and statements. */

import type { Expr, LoopFunction, Stmt } from "./loop.js";

/** Rebuilds `e` with its direct operands replaced; returns `e` itself if none changed. */
export function mapOperands(e: Expr, f: (x: Expr) => Expr): Expr {
  switch (e.kind) {
    case "const":
    case "constVector":
    case "var":
    case "engine":
      return e;
    case "unary":
    case "convert":
    case "splat":
    case "extractLane":
    case "reduceLanes": {
      const x = f(e.x);
      return x === e.x ? e : { ...e, x };
    }
    case "binary":
    case "compare":
    case "shuffle": {
      const a = f(e.a);
      const b = f(e.b);
      return a === e.a && b === e.b ? e : { ...e, a, b };
    }
    case "select": {
      const cond = f(e.cond);
      const a = f(e.a);
      const b = f(e.b);
      return cond === e.cond && a === e.a && b === e.b ? e : { ...e, cond, a, b };
    }
    case "fma": {
      const a = f(e.a);
      const b = f(e.b);
      const c = f(e.c);
      return a === e.a && b === e.b && c === e.c ? e : { ...e, a, b, c };
    }
    case "replaceLane": {
      const x = f(e.x);
      const value = f(e.value);
      return x === e.x && value === e.value ? e : { ...e, x, value };
    }
    case "load": {
      const base = f(e.base);
      const index = f(e.index);
      return base === e.base && index === e.index ? e : { ...e, base, index };
    }
    case "math":
    case "host":
    case "call": {
      const args = mapList(e.args, f);
      return args === e.args ? e : { ...e, args };
    }
    default:
      return e satisfies never;
  }
}

/** Direct operands in evaluation order. */
export function operandsOf(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "const":
    case "constVector":
    case "var":
    case "engine":
      return [];
    case "unary":
    case "convert":
    case "splat":
    case "extractLane":
    case "reduceLanes":
      return [e.x];
    case "binary":
    case "compare":
    case "shuffle":
      return [e.a, e.b];
    case "select":
      return [e.cond, e.a, e.b];
    case "fma":
      return [e.a, e.b, e.c];
    case "replaceLane":
      return [e.x, e.value];
    case "load":
      return [e.base, e.index];
    case "math":
    case "host":
    case "call":
      return e.args;
    default:
      return e satisfies never;
  }
}

/** Runs code that may do anything, as far as one function can tell. */
export const isCall = (e: Expr): boolean => e.kind === "call" || e.kind === "host";

/** Rebuilds an expression bottom-up. */
export function rewriteExpr(e: Expr, f: (x: Expr) => Expr): Expr {
  return f(mapOperands(e, (x) => rewriteExpr(x, f)));
}

/** Whether `test` holds for `e` or any expression within it. */
export function someExpr(e: Expr, test: (x: Expr) => boolean): boolean {
  return test(e) || operandsOf(e).some((x) => someExpr(x, test));
}

/** Expressions that a statement itself evaluates (not those of nested statements). */
export function exprsOf(s: Stmt): readonly Expr[] {
  switch (s.kind) {
    case "let":
    case "mut":
    case "assign":
      return [s.value];
    case "store":
      return [s.base, s.index, s.value];
    case "for":
      return [s.begin, s.end];
    case "while":
    case "if":
      return [s.cond];
    case "call":
      return s.args;
    case "copy":
      return [s.dst, s.src, s.bytes];
    case "fill":
      return [s.dst, s.byte, s.bytes];
    case "barrier":
      return [s.threads];
    case "return":
      return s.value === undefined ? [] : [s.value];
    case "comment":
      return [];
    default:
      return s satisfies never;
  }
}

/** Nested statement lists. */
export function bodiesOf(s: Stmt): readonly (readonly Stmt[])[] {
  switch (s.kind) {
    case "for":
    case "while":
      return [s.body];
    case "if":
      return [s.then, s.else];
    default:
      return [];
  }
}

/** Rebuilds a statement with `onExpr` applied to its own expressions and `onBody` to its nested lists; `s` if none changed. */
export function mapStmt(
  s: Stmt,
  onExpr: (e: Expr) => Expr,
  onBody: (body: readonly Stmt[]) => readonly Stmt[] = (b) => b,
): Stmt {
  switch (s.kind) {
    case "let":
    case "mut":
    case "assign": {
      const value = onExpr(s.value);
      return value === s.value ? s : { ...s, value };
    }
    case "store": {
      const [base, index, value] = [onExpr(s.base), onExpr(s.index), onExpr(s.value)];
      return base === s.base && index === s.index && value === s.value ? s : { ...s, base, index, value };
    }
    case "for": {
      const [begin, end, body] = [onExpr(s.begin), onExpr(s.end), onBody(s.body)];
      return begin === s.begin && end === s.end && body === s.body ? s : { ...s, begin, end, body };
    }
    case "while": {
      const [cond, body] = [onExpr(s.cond), onBody(s.body)];
      return cond === s.cond && body === s.body ? s : { ...s, cond, body };
    }
    case "if": {
      const [cond, then, otherwise] = [onExpr(s.cond), onBody(s.then), onBody(s.else)];
      return cond === s.cond && then === s.then && otherwise === s.else ? s : { ...s, cond, then, else: otherwise };
    }
    case "call": {
      const args = mapList(s.args, onExpr);
      return args === s.args ? s : { ...s, args };
    }
    case "copy": {
      const [dst, src, bytes] = [onExpr(s.dst), onExpr(s.src), onExpr(s.bytes)];
      return dst === s.dst && src === s.src && bytes === s.bytes ? s : { ...s, dst, src, bytes };
    }
    case "fill": {
      const [dst, byte, bytes] = [onExpr(s.dst), onExpr(s.byte), onExpr(s.bytes)];
      return dst === s.dst && byte === s.byte && bytes === s.bytes ? s : { ...s, dst, byte, bytes };
    }
    case "barrier": {
      const threads = onExpr(s.threads);
      return threads === s.threads ? s : { ...s, threads };
    }
    case "return": {
      if (s.value === undefined) return s;
      const value = onExpr(s.value);
      return value === s.value ? s : { ...s, value };
    }
    case "comment":
      return s;
    default:
      return s satisfies never;
  }
}

/** Replaces each statement by others; the list itself if every statement is replaced by itself. */
export function flatMapStmts(
  body: readonly Stmt[],
  f: (s: Stmt, k: number) => Stmt | readonly Stmt[],
): readonly Stmt[] {
  let changed = false;
  const out: Stmt[] = [];
  for (const [k, s] of body.entries()) {
    const next = f(s, k);
    if (next !== s) changed = true;
    if (Array.isArray(next)) out.push(...next);
    else out.push(next as Stmt);
  }
  return changed ? out : body;
}

/** Rewrites every expression of a statement list, nested lists included, bottom-up. */
export function rewriteStmts(body: readonly Stmt[], f: (e: Expr) => Expr): readonly Stmt[] {
  return flatMapStmts(body, (s) =>
    mapStmt(
      s,
      (e) => rewriteExpr(e, f),
      (inner) => rewriteStmts(inner, f),
    ),
  );
}

/** Visits every statement, outer before inner, in order. */
export function visitStmts(body: readonly Stmt[], visit: (s: Stmt) => void): void {
  for (const s of body) {
    visit(s);
    for (const inner of bodiesOf(s)) visitStmts(inner, visit);
  }
}

/** Visits every expression of a statement list, nested ones included, operands after their parent. */
export function visitExprs(body: readonly Stmt[], visit: (e: Expr) => void): void {
  const walk = (e: Expr): void => {
    visit(e);
    for (const x of operandsOf(e)) walk(x);
  };
  visitStmts(body, (s) => {
    for (const e of exprsOf(s)) walk(e);
  });
}

/** Names bound in a statement list (let, mut, for), nested lists included. */
export function boundNames(body: readonly Stmt[]): Set<string> {
  const names = new Set<string>();
  visitStmts(body, (s) => {
    if (s.kind === "let" || s.kind === "mut" || s.kind === "for") names.add(s.name);
  });
  return names;
}

/** Names of `mut` registers that a statement list assigns, nested lists included. */
export function assignedNames(body: readonly Stmt[]): Set<string> {
  const names = new Set<string>();
  visitStmts(body, (s) => {
    if (s.kind === "assign") names.add(s.name);
  });
  return names;
}

/** Every name a function binds: parameters and all bindings of its body. */
export function namesOf(f: LoopFunction): Set<string> {
  const names = boundNames(f.body);
  for (const p of f.params) names.add(p.name);
  return names;
}

/** Replaces variables by expressions. */
export function substitute(body: readonly Stmt[], map: ReadonlyMap<string, Expr>): readonly Stmt[] {
  return rewriteStmts(body, (e) => (e.kind === "var" ? (map.get(e.name) ?? e) : e));
}

function mapList(list: readonly Expr[], f: (e: Expr) => Expr): readonly Expr[] {
  const mapped = list.map((e) => f(e));
  return mapped.every((x, i) => x === list[i]) ? list : mapped;
}
