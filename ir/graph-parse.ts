/** Reads the text of `printGraph`. Types are written and inferred anew, so reading checks them. The grammar is in docs/IR.md. */

import { type Dim, dimSymbol } from "./dim.js";
import { parseDim } from "./dim-parse.js";
import { type DType, isDType } from "./dtype.js";
import { ModelError } from "./errors.js";
import {
  type Attr,
  type Graph,
  type GraphNode,
  graph,
  param,
  sameType,
  type TensorType,
  typeText,
  type Value,
} from "./graph.js";
import { parseNumber, setElementText, unhex } from "./literal.js";
import { makeNode } from "./op.js";
import { ops } from "./ops/index.js";
import { bytesOf, elementCount, type Tensor, zeros } from "./tensor.js";

/** One graph. Throws ModelError naming file, line and column. */
export function parseGraph(text: string, file = "graph"): Graph {
  return new Parser(text, file).file();
}

class Parser {
  readonly #text: string;
  readonly #file: string;
  readonly #symbols = new Map<string, Dim>();
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  file(): Graph {
    while (this.#takeWord("dim")) this.#symbol();
    const g = this.#graph();
    this.#skip();
    if (this.#at < this.#text.length) this.#fail("expected the end of the text");
    return g;
  }

  // dim NAME [in MIN..[MAX]] [bound EXPR]
  #symbol(): void {
    const at = this.#at;
    const name = this.#word("the name of a size");
    if (this.#symbols.has(name)) this.#fail(`size ${name} is declared twice`, at);
    const range: { min?: number; max?: number; bound?: Dim } = {};
    if (this.#takeWord("in")) {
      const [, min, max] = this.#match(/(\d+)\.\.(\d*)/y, "a range like 1..64 or 1..");
      range.min = Number(min);
      range.max = max ? Number(max) : Infinity;
    }
    if (this.#takeWord("bound")) range.bound = this.#dim();
    this.#symbols.set(
      name,
      this.#checked(at, () => dimSymbol(name, range)),
    );
  }

  #graph(): Graph {
    if (!this.#takeWord("graph")) this.#fail('expected "graph"');
    this.#expect("@");
    const name = this.#name("the graph's name");
    const values = new Map<string, Value>();
    const params: Value[] = [];
    this.#list("(", ")", () => {
      const at = this.#at;
      const text = this.#reference();
      this.#expect(":");
      const made = param(unquoted(text), this.#type());
      this.#define(values, text, made, at);
      params.push(made);
    });
    this.#expect("->");
    const resultTypes: TensorType[] = [];
    const resultNames: string[] = [];
    this.#results(resultTypes, resultNames);
    const donations = this.#donations(params, resultNames);
    this.#expect("{");
    while (!this.#takeWord("return")) this.#node(values);
    const at = this.#at;
    const list = (): Value[] => {
      const found: Value[] = [];
      if (!this.#peek("%")) return found;
      do found.push(this.#value(values));
      while (this.#take(","));
      return found;
    };
    const results = list();
    const sizes = this.#takeWord("sizes") ? list() : [];
    this.#expect("}");
    if (results.length !== resultTypes.length) {
      this.#fail(`${results.length} values are returned, ${resultTypes.length} are declared`, at);
    }
    results.forEach((r, i) => {
      if (!sameType(r.type, resultTypes[i]!)) {
        this.#fail(`result ${i} is ${typeText(r.type)}, but ${typeText(resultTypes[i]!)} is declared`, at);
      }
    });
    return graph(name, params, results, resultNames, donations, sizes);
  }

  #results(types: TensorType[], names: string[]): void {
    if (!this.#peek("(")) {
      names.push("out0");
      types.push(this.#type());
      return;
    }
    this.#list("(", ")", () => {
      const start = this.#at;
      const name = this.#name("a result's name or type");
      // A type begins with a dtype and a bracket, a name is followed by a colon.
      if (this.#take(":")) names.push(name);
      else {
        this.#at = start;
        names.push(`out${names.length}`);
      }
      types.push(this.#type());
    });
  }

  #donations(params: readonly Value[], names: readonly string[]): ReadonlyMap<number, number> | undefined {
    if (!this.#takeWord("donates")) return undefined;
    const pairs = new Map<number, number>();
    this.#list("(", ")", () => {
      const at = this.#at;
      const result = names.indexOf(this.#name("a result's name"));
      this.#expect("<-");
      const name = unquoted(this.#reference());
      const from = params.findIndex((p) => p.def.op === "param" && p.def.name === name);
      if (result < 0 || from < 0) this.#fail("a donation names a result and a parameter", at);
      pairs.set(result, from);
    });
    return pairs;
  }

  // %0: TYPE, %1: TYPE = op %a, %b {key=value} loc "…" regions
  #node(values: Map<string, Value>): void {
    const at = this.#skip();
    const targets: { text: string; type: TensorType; at: number }[] = [];
    do {
      const start = this.#skip();
      const text = this.#reference();
      this.#expect(":");
      targets.push({ text, type: this.#type(), at: start });
    } while (this.#take(","));
    this.#expect("=");
    const opAt = this.#skip();
    const op = this.#word("an op");
    const facts = ops.get(op) ?? this.#fail(`no op is called "${op}"`, opAt);
    const operands: Value[] = [];
    if (this.#peek("%")) {
      do operands.push(this.#value(values));
      while (this.#take(","));
    }
    const attrs: Record<string, Attr> = {};
    if (this.#peek("{")) {
      this.#list("{", "}", () => {
        const keyAt = this.#skip();
        const key = this.#word("an attribute");
        if (!Object.hasOwn(facts.attrs ?? {}, key)) this.#fail(`${facts.name} has no attribute "${key}"`, keyAt);
        this.#expect("=");
        attrs[key] = this.#attr();
      });
    }
    const loc = this.#takeWord("loc") ? this.#string() : undefined;
    const regions: Graph[] = [];
    while (this.#peekWord("graph")) regions.push(this.#graph());
    const node = this.#checked(at, () => makeNode(facts, operands, attrs, regions, loc)) as unknown as GraphNode;
    if (node.results.length !== targets.length) {
      this.#fail(`${facts.name} has ${node.results.length} results, not ${targets.length}`, at);
    }
    targets.forEach((target, i) => {
      const result = node.results[i]!;
      if (!sameType(result.type, target.type)) {
        this.#fail(`${facts.name} gives ${typeText(result.type)}, but ${typeText(target.type)} is written`, target.at);
      }
      this.#define(values, target.text, result, target.at);
    });
  }

  #define(values: Map<string, Value>, text: string, value: Value, at: number): void {
    if (values.has(text)) this.#fail(`%${text} is defined twice`, at);
    values.set(text, value);
  }

  #value(values: ReadonlyMap<string, Value>): Value {
    const at = this.#skip();
    const text = this.#reference();
    return values.get(text) ?? this.#fail(`%${text} is not defined here`, at);
  }

  /** What follows `%`: a number, an identifier or a quoted name (with its quotes, unless an identifier would do). */
  #reference(): string {
    this.#expect("%");
    const number = this.#matchIf(/\d+/y);
    if (number) return number[0];
    const name = this.#name("a value");
    return /^[A-Za-z_][\w.]*$/.test(name) ? name : JSON.stringify(name);
  }

  #type(): TensorType {
    const at = this.#skip();
    const dtype = this.#dtype();
    const shape: Dim[] = [];
    this.#list("[", "]", () => shape.push(this.#dim()));
    if (dtype === undefined) this.#fail("expected a type like f32[2,n]", at);
    return { dtype: dtype as DType, shape };
  }

  #dtype(): DType | undefined {
    const word = this.#matchIf(/[A-Za-z]\w*/y)?.[0];
    return word !== undefined && isDType(word) ? word : undefined;
  }

  /** A size expression, to the comma, bracket or line end that ends it. */
  #dim(): Dim {
    const at = this.#skip();
    let depth = 0;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at]!;
      if (c === "\n" || (depth === 0 && ",)]}".includes(c))) break;
      depth += c === "(" ? 1 : c === ")" ? -1 : 0;
    }
    return this.#checked(at, () =>
      parseDim(this.#text.slice(at, this.#at).trim(), (name) => {
        const d = this.#symbols.get(name);
        if (d === undefined) throw new ModelError(`size ${name} is not declared (dim ${name})`);
        return d;
      }),
    );
  }

  #attr(): Attr {
    this.#skip();
    if (this.#peek('"')) return this.#string();
    if (this.#peek("[")) {
      const items: Attr[] = [];
      this.#list("[", "]", () => items.push(this.#attr()));
      return items;
    }
    const start = this.#at;
    const dtype = this.#dtype();
    if (dtype !== undefined && this.#peek("[")) {
      this.#at = start;
      return this.#tensor();
    }
    this.#at = start;
    const simple = this.#matchIf(/(true|false|-?inf|nan|-?\d[\d.]*(e[+-]?\d+)?)(?=\s*[,\]}])/y)?.[0];
    if (simple === "true" || simple === "false") return simple === "true";
    if (simple !== undefined) return parseNumber(simple) ?? this.#fail(`"${simple}" is not a number`, start);
    return this.#dim();
  }

  // f32[2,3](1,2,3,4,5,6)   f32[64](all 0)   f32[999](hex "…")
  #tensor(): Tensor {
    const at = this.#skip();
    const { dtype, shape } = this.#type();
    const sizes = shape.map((d) =>
      typeof d === "number" ? d : this.#fail("a constant's shape is made of numbers", at),
    );
    const n = elementCount(sizes);
    const out = zeros(dtype, sizes);
    const set = (i: number) => {
      const start = this.#skip();
      const [text] = this.#match(/[-+\w.]+/y, "an element");
      if (i < n) this.#checked(start, () => setElementText(out, i, text));
    };
    this.#expect("(");
    if (this.#takeWord("all")) {
      set(0);
      out.data.fill(out.data[0] as never);
      this.#expect(")");
    } else if (this.#takeWord("hex")) {
      const bytes = this.#checked(at, () => unhex(this.#string()));
      if (bytes.length !== bytesOf(out).length) this.#fail(`${bytes.length} bytes for ${bytesOf(out).length}`, at);
      bytesOf(out).set(bytes);
      this.#expect(")");
    } else {
      let count = 0;
      if (!this.#take(")")) {
        do set(count++);
        while (this.#take(","));
        this.#expect(")");
      }
      if (count !== n) this.#fail(`${count} elements are written for ${n}`, at);
    }
    return out;
  }

  // ------------------------------------------------------------------------------------------------------ characters

  #skip(): number {
    space.lastIndex = this.#at;
    space.exec(this.#text);
    this.#at = space.lastIndex;
    return this.#at;
  }

  #matchIf(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#skip();
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }

  #match(pattern: RegExp, what: string): RegExpExecArray {
    return this.#matchIf(pattern) ?? this.#fail(`expected ${what}`);
  }

  #peek(text: string): boolean {
    return this.#text.startsWith(text, this.#skip());
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) this.#fail(`expected "${text}"`);
  }

  #peekWord(word: string): boolean {
    return this.#peek(word) && !/[\w.]/.test(this.#text[this.#at + word.length] ?? " ");
  }

  #takeWord(word: string): boolean {
    if (!this.#peekWord(word)) return false;
    this.#at += word.length;
    return true;
  }

  #word(what: string): string {
    return this.#match(/[A-Za-z_][\w.]*/y, what)[0];
  }

  #name(what: string): string {
    return this.#peek('"') ? this.#string() : this.#word(what);
  }

  #string(): string {
    const at = this.#skip();
    const [text] = this.#match(/"(?:[^"\\\n]|\\.)*"/y, 'a "string"');
    try {
      return JSON.parse(text) as string;
    } catch {
      return this.#fail("a string is written as in JSON", at);
    }
  }

  #list(open: string, close: string, item: () => void): void {
    this.#expect(open);
    if (this.#take(close)) return;
    do item();
    while (this.#take(","));
    this.#expect(close);
  }

  #checked<T>(at: number, body: () => T): T {
    try {
      return body();
    } catch (error) {
      // Attributes of the wrong kind make an op's inference stumble.
      if (error instanceof TypeError || error instanceof RangeError) {
        return this.#fail(`the attributes do not fit: ${error.message}`, at);
      }
      if (!(error instanceof ModelError) || error.problems.some((p) => p.where?.startsWith(`${this.#file}:`)))
        throw error;
      return this.#fail(error.problems.map((p) => p.message).join("; "), at);
    }
  }

  #fail(message: string, at = this.#skip()): never {
    const before = this.#text.slice(0, at).split("\n");
    throw new ModelError({ where: `${this.#file}:${before.length}:${before.at(-1)!.length + 1}`, message });
  }
}

/** The name of a parameter that `%text` refers to. */
const unquoted = (text: string): string => (text.startsWith('"') ? (JSON.parse(text) as string) : text);

const space = /(?:\s+|\/\/[^\n]*)*/y;
