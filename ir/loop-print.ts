/**
 * Text form of Loop IR; `loop-parse.ts` is the exact inverse. docs/IR.md has the grammar.
 *
 * Infix + − · / stand for add, sub, mul and div; everything else is written as `op(…)`. Types are written where operands
 * do not give them: loads, splats, bitcasts, calls and constants (`4` is i32, `4.0` f32, `4:i64`, `4:ptr`, `4.0:f64`, `true` a mask).
 */

import type { Elem, Expr, LoopFunction, LoopModule, LoopType, Stmt } from "./loop.js";
import { loadElems, scalarOf } from "./loop-types.js";

export const infixOps = { add: "+", sub: "-", mul: "*", div: "/" } as const;
const precedence = { add: 1, sub: 1, mul: 2, div: 2 } as const;

export function printLoopModule(m: LoopModule): string {
  return m.functions.map(printLoopFunction).join("\n");
}

export function printLoopFunction(f: LoopFunction): string {
  const params = f.params.map((p) => `%${p.name}: ${p.type}${p.points === undefined ? "" : ` *${p.points}`}`);
  const result = f.result === undefined ? "" : ` -> ${f.result}`;
  return `func @${f.name}(${params.join(", ")})${result} {\n${printStmts(f.body, "  ")}}\n`;
}

export function printStmts(body: readonly Stmt[], indent = ""): string {
  return body.map((s) => printStmt(s, indent)).join("");
}

function printStmt(s: Stmt, indent: string): string {
  const block = (body: readonly Stmt[]) => `{\n${printStmts(body, `${indent}  `)}${indent}}`;
  const text = ((): string => {
    switch (s.kind) {
      case "let":
        return `let %${s.name} = ${printExpr(s.value)}`;
      case "mut":
        return `mut %${s.name} = ${printExpr(s.value)}`;
      case "assign":
        return `%${s.name} = ${printExpr(s.value)}`;
      case "store":
        return `store ${accessType(s.value.type, s.elem)} ${address(s.base, s.index, s.offset)} = ${printExpr(s.value)}`;
      case "for": {
        const step = s.step === 1 ? "" : ` step ${s.step}`;
        const mark = s.vectorize ? " vectorize" : "";
        return `for %${s.name} = ${printExpr(s.begin)} to ${printExpr(s.end)}${step}${mark} ${block(s.body)}`;
      }
      case "while":
        return `while ${printExpr(s.cond)} ${block(s.body)}`;
      case "if":
        return `if ${printExpr(s.cond)} ${block(s.then)}${s.else.length > 0 ? ` else ${block(s.else)}` : ""}`;
      case "call":
        return `call @${s.fn}(${s.args.map((x) => printExpr(x)).join(", ")})`;
      case "copy":
        return `copy ${printExpr(s.dst)}, ${printExpr(s.src)}, ${printExpr(s.bytes)}`;
      case "fill":
        return `fill ${printExpr(s.dst)}, ${printExpr(s.byte)}, ${printExpr(s.bytes)}`;
      case "barrier":
        return `barrier ${printExpr(s.threads)}`;
      case "return":
        return s.value === undefined ? "return" : `return ${printExpr(s.value)}`;
      case "comment":
        return `// ${s.text}`;
      default:
        return s satisfies never;
    }
  })();
  return `${indent}${text}\n`;
}

/** `f32x4`, or `f32x4.f16` where the element is not the register's own. */
function accessType(type: LoopType, elem: Elem): string {
  return loadElems[type][0] === elem ? type : `${type}.${elem}`;
}

function address(base: Expr, index: Expr, offset: number): string {
  const b = base.kind === "var" ? printExpr(base) : `(${printExpr(base)})`;
  return `${b}[${printExpr(index)}${offset === 0 ? "" : `, +${offset}`}]`;
}

/** `level`: the precedence below which an infix operation needs parentheses. */
export function printExpr(e: Expr, level = 0): string {
  const list = (...xs: readonly Expr[]) => xs.map((x) => printExpr(x)).join(", ");
  switch (e.kind) {
    case "const":
      return printConst(e.type, e.value);
    case "constVector": {
      const first = e.values[0];
      const values = e.values.every((x) => Object.is(x, first)) ? e.values.slice(0, 1) : e.values;
      return `${e.type}(${values.map((x) => printLane(scalarOf(e.type), x)).join(", ")})`;
    }
    case "var":
      return `%${e.name}`;
    case "binary": {
      if (!(e.op in infixOps)) return `${e.op}(${list(e.a, e.b)})`;
      const op = e.op as keyof typeof infixOps;
      const own = precedence[op];
      const text = `${printExpr(e.a, own)} ${infixOps[op]} ${printExpr(e.b, own + 1)}`;
      return own < level ? `(${text})` : text;
    }
    case "unary":
    case "convert":
      return `${e.op === "bitcast" ? `bitcast.${e.type}` : e.op}(${list(e.x)})`;
    case "compare":
      return `${e.op}(${list(e.a, e.b)})`;
    case "select":
      return `select(${list(e.cond, e.a, e.b)})`;
    case "fma":
      return `fma(${list(e.a, e.b, e.c)})`;
    case "math":
      return `${e.fn}(${list(...e.args)})`;
    case "splat":
      return `splat.${e.type}(${list(e.x)})`;
    case "extractLane":
      return `extractLane.${e.lane}(${list(e.x)})`;
    case "replaceLane":
      return `replaceLane.${e.lane}(${list(e.x, e.value)})`;
    case "shuffle":
      return `shuffle(${list(e.a, e.b)}, [${e.lanes.join(", ")}])`;
    case "reduceLanes":
      return `reduceLanes.${e.op}(${list(e.x)})`;
    case "load":
      return `${e.splat ? "loadSplat" : "load"} ${accessType(e.type, e.elem)} ${address(e.base, e.index, e.offset)}`;
    case "host":
      return `host.${e.fn}(${list(...e.args)})`;
    case "engine":
      return `engine.${e.fact}()`;
    case "call":
      return `call ${e.type} @${e.fn}(${list(...e.args)})`;
    default:
      return e satisfies never;
  }
}

function printConst(type: LoopType, value: number | bigint): string {
  const text = printLane(type, value);
  return type === "i64" || type === "f64" || type === "ptr" ? `${text}:${type}` : text;
}

function printLane(scalar: LoopType, value: number | bigint): string {
  if (scalar === "mask") return value === 1 ? "true" : "false";
  if (scalar === "f32" || scalar === "f64") return printFloat(scalar, Number(value));
  return String(value);
}

/** The shortest decimal that reads back as the same value. */
function printFloat(type: "f32" | "f64", value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  let text = String(value);
  if (type === "f32") {
    for (let digits = 1; digits <= 9; digits++) {
      const candidate = Number(value.toPrecision(digits));
      if (Math.fround(candidate) === value) {
        text = String(candidate);
        break;
      }
    }
  }
  return /[.e]/.test(text) ? text : `${text}.0`;
}
