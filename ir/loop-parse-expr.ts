/** Parser of the expressions of Loop IR's text form. Types are inferred while parsing. */

import type { Elem, Expr, LoopType, ScalarKind, VectorKind } from "./loop.js";
import { IllTyped, inferType } from "./loop-infer.js";
import type { Token } from "./loop-lex.js";
import { TokenReader } from "./loop-tokens.js";
import {
  binaryResult,
  compareResult,
  convertOps,
  elemKind,
  engineFacts,
  hostParams,
  isVector,
  laneInfo,
  loadElems,
  mathArity,
  reduceResult,
  scalarOf,
  unaryResult,
} from "./loop-types.js";

const has = <T extends object>(table: T, key: string): key is Extract<keyof T, string> => Object.hasOwn(table, key);
/** For nodes whose type is inferred when they are complete. */
const toInfer: ScalarKind & VectorKind = "i32" as never;

export class ExprParser extends TokenReader {
  /** Types of the names that are bound. */
  protected readonly scope = new Map<string, LoopType>();

  protected type(): LoopType {
    const token = this.take("word", "a type");
    if (!has(loadElems, token.text)) this.fail(`unknown type ${token.text}`, token);
    return token.text;
  }

  protected elem(text: string, token: Token): Elem {
    if (!has(elemKind, text)) this.fail(`unknown element type ${text}`, token);
    return text;
  }

  protected accessType(): { type: LoopType; elem: Elem } {
    const token = this.take("word", "a type");
    const [type, elem] = token.text.split(".") as [string, string?];
    if (!has(loadElems, type)) this.fail(`unknown type ${type}`, token);
    const own = loadElems[type][0];
    if (own === undefined) this.fail(`${type} does not lie in memory`, token);
    return { type, elem: elem === undefined ? own : this.elem(elem, token) };
  }

  protected address(): { base: Expr; index: Expr; offset: number } {
    const base = this.is("(") ? this.#parenthesised() : this.#var();
    this.expect("[");
    const index = this.expr();
    let offset = 0;
    if (this.accept(",")) {
      this.expect("+");
      offset = this.integer();
    }
    this.expect("]");
    return { base, index, offset };
  }

  protected comma(): Expr {
    this.expect(",");
    return this.expr();
  }

  /** Fills in the type of a node and reports ill-typed ones at `token`. */
  #typed(e: Expr, token: Token): Expr {
    try {
      return { ...e, type: inferType(e) } as Expr;
    } catch (error) {
      if (error instanceof IllTyped) this.fail(error.message, token);
      throw error;
    }
  }

  protected expr(): Expr {
    let left = this.#product();
    for (;;) {
      const token = this.next;
      const op = this.accept("+") ? "add" : this.accept("-") ? "sub" : undefined;
      if (op === undefined) return left;
      left = this.#typed({ kind: "binary", type: toInfer, op, a: left, b: this.#product() }, token);
    }
  }

  #product(): Expr {
    let left = this.#primary();
    for (;;) {
      const token = this.next;
      const op = this.accept("*") ? "mul" : this.accept("/") ? "div" : undefined;
      if (op === undefined) return left;
      left = this.#typed({ kind: "binary", type: toInfer, op, a: left, b: this.#primary() }, token);
    }
  }

  #parenthesised(): Expr {
    this.expect("(");
    const e = this.expr();
    this.expect(")");
    return e;
  }

  #var(): Expr {
    const token = this.take("var", "%name");
    const type = this.scope.get(token.text);
    if (type === undefined) this.fail(`%${token.text} is not bound`, token);
    return { kind: "var", type, name: token.text };
  }

  #primary(): Expr {
    const token = this.next;
    if (this.is("(")) return this.#parenthesised();
    if (token.kind === "var") return this.#var();
    const negative = token.text === "-" && token.kind === "symbol";
    if (token.kind === "number" || negative || ["inf", "nan", "true", "false"].includes(token.text)) {
      const text = this.#literal();
      const float = /[.e]|inf|nan/.test(text);
      const type = this.accept(":") ? this.type() : /true|false/.test(text) ? "mask" : float ? "f32" : "i32";
      if (isVector(type)) this.fail(`a constant of type ${type} is written ${type}(…)`, token);
      return this.#typed({ kind: "const", type, value: this.#value(type, text, token) }, token);
    }
    if (token.kind !== "word") this.fail(`expected an expression, found "${token.text}"`);
    this.skip();
    return this.#operation(token);
  }

  #literal(): string {
    const sign = this.accept("-") ? "-" : "";
    const token = this.next;
    if (token.kind !== "number" && token.kind !== "word") this.fail(`expected a number, found "${token.text}"`);
    this.skip();
    return sign + token.text;
  }

  #value(scalar: ScalarKind, text: string, token: Token): number | bigint {
    if (scalar === "mask")
      return text === "true" ? 1 : text === "false" ? 0 : this.fail("expected true or false", token);
    if (scalar === "i64") return /^-?\d+$/.test(text) ? BigInt(text) : this.fail("expected an integer", token);
    const value = text.endsWith("inf") ? (text === "inf" ? Infinity : -Infinity) : Number(text);
    if (Number.isNaN(value) && text !== "nan") this.fail(`${text} is not a number`, token);
    return scalar === "f32" ? Math.fround(value) : value;
  }

  /** An operation or a vector constant whose name has been read. */
  #operation(token: Token): Expr {
    const name = token.text;
    if (has(loadElems, name)) {
      if (!isVector(name)) this.fail(`expected an expression, found the type ${name}`, token);
      const values = this.list("(", ")", () => this.#value(scalarOf(name) as ScalarKind, this.#literal(), token));
      const all = values.length === 1 ? Array(laneInfo[name].lanes).fill(values[0] as number) : values;
      return this.#typed({ kind: "constVector", type: name, values: all }, token);
    }
    if (name === "load" || name === "loadSplat") {
      const access = { ...this.accessType(), ...this.address() };
      return this.#typed({ kind: "load", ...access, ...(name === "loadSplat" ? { splat: true } : {}) }, token);
    }
    if (name === "call") {
      const type = this.type();
      const fn = this.take("fn", "@name").text;
      return { kind: "call", type, fn, args: this.list("(", ")", () => this.expr()) };
    }
    if (name === "shuffle") return this.#shuffle(token);
    const args = this.list("(", ")", () => this.expr());
    const count = (n: number): [Expr, Expr, Expr] => {
      if (args.length !== n) this.fail(`${name} takes ${n} operands, got ${args.length}`, token);
      return args as [Expr, Expr, Expr];
    };
    return this.#typed(this.#node(name, args, count, token), token);
  }

  #shuffle(token: Token): Expr {
    this.expect("(");
    const a = this.expr();
    const b = this.comma();
    this.expect(",");
    const lanes = this.list("[", "]", () => this.integer());
    this.expect(")");
    return this.#typed({ kind: "shuffle", type: toInfer, a, b, lanes }, token);
  }

  #node(name: string, args: readonly Expr[], count: (n: number) => [Expr, Expr, Expr], token: Token): Expr {
    const type = toInfer;
    if (has(unaryResult, name)) return { kind: "unary", type, op: name, x: count(1)[0] };
    if (has(binaryResult, name)) {
      const [a, b] = count(2);
      return { kind: "binary", type, op: name, a, b };
    }
    if (has(compareResult, name)) {
      const [a, b] = count(2);
      return { kind: "compare", type, op: name, a, b };
    }
    if (name === "select") {
      const [cond, a, b] = count(3);
      return { kind: "select", type, cond, a, b };
    }
    if (name === "fma") {
      const [a, b, c] = count(3);
      return { kind: "fma", type, a, b, c };
    }
    if (has(mathArity, name)) return { kind: "math", type, fn: name, args };
    const convert = convertOps.find((op) => op === name && op !== "bitcast");
    if (convert !== undefined) return { kind: "convert", type, op: convert, x: count(1)[0] };
    const [head, suffix] = name.split(".") as [string, string?];
    if (suffix !== undefined) {
      if (head === "bitcast" && has(loadElems, suffix))
        return { kind: "convert", type: suffix, op: "bitcast", x: count(1)[0] };
      if (head === "splat" && has(laneInfo, suffix)) return { kind: "splat", type: suffix, x: count(1)[0] };
      if (head === "host" && has(hostParams, suffix)) return { kind: "host", type: "i32", fn: suffix, args };
      const fact = engineFacts.find((f) => f === suffix);
      if (head === "engine" && fact !== undefined) return { kind: "engine", type: "i32", fact };
      if (head === "reduceLanes" && has(reduceResult, suffix))
        return { kind: "reduceLanes", type, op: suffix, x: count(1)[0] };
      if (head === "extractLane" && /^\d+$/.test(suffix))
        return { kind: "extractLane", type, lane: Number(suffix), x: count(1)[0] };
      if (head === "replaceLane" && /^\d+$/.test(suffix)) {
        const [x, value] = count(2);
        return { kind: "replaceLane", type, lane: Number(suffix), x, value };
      }
    }
    return this.fail(`unknown operation ${name}`, token);
  }
}
