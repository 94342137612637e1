/**
 * Parser of the text form of Loop IR, the exact inverse of `loop-print.ts`. Types are re-inferred while parsing, so the
 * parser checks what it reads; scoping beyond "is bound" and signatures of calls are the verifier's.
 */

import { ModelError } from "./errors.js";
import type { LoopFunction, LoopModule, LoopParam, Stmt } from "./loop.js";
import { ExprParser } from "./loop-parse-expr.js";

/** @throws ModelError with `file:line:column` */
export function parseLoopModule(text: string, file = "loop"): LoopModule {
  return new Parser(text, file).module();
}

/** A text that holds exactly one function. */
export function parseLoopFunction(text: string, file = "loop"): LoopFunction {
  const { functions } = parseLoopModule(text, file);
  const [only] = functions;
  if (only === undefined || functions.length > 1)
    throw new ModelError({ where: file, message: `expected one function, found ${functions.length}` });
  return only;
}

class Parser extends ExprParser {
  module(): LoopModule {
    const functions: LoopFunction[] = [];
    for (;;) {
      while (this.next.kind === "comment") this.skip();
      if (this.next.kind === "end") return { functions };
      functions.push(this.#function());
    }
  }

  #function(): LoopFunction {
    this.expect("func");
    const name = this.take("fn", "@name").text;
    this.scope.clear();
    const params = this.list("(", ")", () => this.#param());
    const result = this.accept("->") ? this.type() : undefined;
    const body = this.#block();
    return result === undefined ? { name, params, body } : { name, params, result, body };
  }

  #param(): LoopParam {
    const name = this.take("var", "%name").text;
    this.expect(":");
    const type = this.type();
    this.scope.set(name, type);
    if (!this.accept("*")) return { name, type };
    const token = this.take("word", "an element type");
    return { name, type, points: this.elem(token.text, token) };
  }

  #block(): Stmt[] {
    this.expect("{");
    const outer = new Map(this.scope);
    const body: Stmt[] = [];
    while (!this.accept("}")) body.push(this.#stmt());
    this.scope.clear();
    for (const [name, type] of outer) this.scope.set(name, type);
    return body;
  }

  #stmt(): Stmt {
    const token = this.skip();
    if (token.kind === "comment") return { kind: "comment", text: token.text };
    if (token.kind === "var") {
      this.expect("=");
      return { kind: "assign", name: token.text, value: this.expr() };
    }
    if (token.kind !== "word") this.fail(`expected a statement, found "${token.text}"`, token);
    switch (token.text) {
      case "let":
      case "mut": {
        const name = this.take("var", "%name").text;
        this.expect("=");
        const value = this.expr();
        this.scope.set(name, value.type);
        return { kind: token.text, name, value };
      }
      case "store": {
        const { type, elem } = this.accessType();
        const at = this.address();
        this.expect("=");
        const here = this.next;
        const value = this.expr();
        if (value.type !== type) this.fail(`a store of ${type} got a value of type ${value.type}`, here);
        return { kind: "store", elem, ...at, value };
      }
      case "for":
        return this.#for();
      case "while": {
        const cond = this.expr();
        return { kind: "while", cond, body: this.#block() };
      }
      case "if": {
        const cond = this.expr();
        const then = this.#block();
        return { kind: "if", cond, then, else: this.accept("else") ? this.#block() : [] };
      }
      case "call": {
        const fn = this.take("fn", "@name").text;
        return { kind: "call", fn, args: this.list("(", ")", () => this.expr()) };
      }
      case "copy": {
        const [dst, src, bytes] = [this.expr(), this.comma(), this.comma()];
        return { kind: "copy", dst, src, bytes };
      }
      case "fill": {
        const [dst, byte, bytes] = [this.expr(), this.comma(), this.comma()];
        return { kind: "fill", dst, byte, bytes };
      }
      case "barrier":
        return { kind: "barrier", threads: this.expr() };
      case "return":
        // The value stands on the same line: "%x = …" may follow on the next.
        if (this.is("}") || this.next.line !== token.line) return { kind: "return" };
        return { kind: "return", value: this.expr() };
      default:
        return this.fail(`expected a statement, found "${token.text}"`, token);
    }
  }

  #for(): Stmt {
    const name = this.take("var", "%name").text;
    this.expect("=");
    const begin = this.expr();
    this.expect("to");
    const end = this.expr();
    const step = this.accept("step") ? this.integer() : 1;
    const vectorize = this.accept("vectorize");
    const hidden = this.scope.get(name);
    this.scope.set(name, "i32");
    const body = this.#block();
    if (hidden === undefined) this.scope.delete(name);
    else this.scope.set(name, hidden);
    const loop = { kind: "for", name, begin, end, step, body } as const;
    return vectorize ? { ...loop, vectorize } : loop;
  }
}
