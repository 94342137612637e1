/**
 * Imperative building of Loop IR: a `Block` collects statements and hands out variables, with names made unique within the
 * function ("acc", "acc_1", …) so that generators compose without knowing one another's names.
 *
 *   buildFunction("f32_scale", [pointer("x", "f32"), { name: "n", type: "i32" }], undefined, (b, [x, n]) => {
 *     b.for("i", 0, n, 4, (i) => {
 *       const t = b.let("t", load("f32x4", "f32", x, i));
 *       b.store("f32", x, i, mul(t, 2));
 *     });
 *   });
 *
 * A Block is passed by closure: inside `for`, `while` and `if` callbacks the same `b` appends to the inner statement list.
 */

import { InternalError } from "./errors.js";
import type { Elem, Expr, LoopFunction, LoopParam, LoopType, Stmt } from "./loop.js";
import * as B from "./loop-build.js";

export class Block {
  #stmts: Stmt[] = [];
  readonly #used = new Set<string>();

  /** `reserved`: names that are taken already, e.g. the parameters. */
  constructor(reserved: readonly string[] = []) {
    for (const name of reserved) this.#used.add(name);
  }

  /** What has been appended at the outermost level. */
  get stmts(): readonly Stmt[] {
    return this.#stmts;
  }

  /** A name nobody has in this function: `hint`, or `hint_1`, … */
  fresh(hint: string): string {
    let name = hint;
    for (let k = 1; this.#used.has(name); k++) name = `${hint}_${k}`;
    this.#used.add(name);
    return name;
  }

  push(...stmts: readonly Stmt[]): void {
    for (const s of stmts) this.#stmts.push(s);
  }

  /** Binds a value; constants and variables that are bound to nothing new are still bound, for readability. */
  let(hint: string, value: Expr): Expr {
    const name = this.fresh(hint);
    this.push({ kind: "let", name, value });
    return B.v(name, value.type);
  }

  /** A mutable register; assign it with `assign`. */
  mut(hint: string, value: Expr): Expr {
    const name = this.fresh(hint);
    this.push(B.mut(name, value));
    return B.v(name, value.type);
  }

  assign(target: Expr, value: B.Operand): void {
    this.push(B.assign(target, value));
  }

  store(elem: Elem, base: Expr, index: B.Operand, value: Expr, offset = 0): void {
    this.push(B.store(elem, base, index, value, offset));
  }

  for(
    hint: string,
    begin: B.Operand,
    end: B.Operand,
    step: number,
    body: (i: Expr) => void,
    options: { readonly vectorize?: boolean } = {},
  ): void {
    const name = this.fresh(hint);
    this.push(B.forLoop(name, begin, end, step, (i) => this.collect(() => body(i)), options));
  }

  while(cond: Expr, body: () => void): void {
    this.push(B.whileLoop(cond, this.collect(body)));
  }

  if(cond: Expr, then: () => void, otherwise?: () => void): void {
    this.push(B.ifThen(cond, this.collect(then), otherwise === undefined ? [] : this.collect(otherwise)));
  }

  call(fn: string, args: readonly B.Operand[]): void {
    this.push(B.callStmt(fn, args));
  }

  /** Calls a function with arguments by the names of its parameters; names that it does not have are left over. */
  callNamed(fn: LoopFunction, args: Readonly<Record<string, B.Operand>>): void {
    const ordered = fn.params.map(({ name }) => {
      const value = args[name];
      if (value === undefined) throw new InternalError(`@${fn.name} needs an argument for ${name}`);
      return value;
    });
    this.call(fn.name, ordered);
  }

  return(value?: Expr): void {
    this.push(B.ret(value));
  }

  comment(text: string): void {
    this.push(B.comment(text));
  }

  barrier(threads: B.Operand): void {
    this.push(B.barrier(threads));
  }

  /** Runs `body` and returns what it appended, instead of keeping it. */
  collect(body: () => void): Stmt[] {
    const outer = this.#stmts;
    this.#stmts = [];
    try {
      body();
      return this.#stmts;
    } finally {
      this.#stmts = outer;
    }
  }
}

/** A whole function; `body` gets the block and the parameters as variables, in order. */
export function buildFunction<const P extends readonly LoopParam[]>(
  name: string,
  params: P,
  result: LoopType | undefined,
  body: (b: Block, params: { readonly [K in keyof P]: Expr }) => void,
): LoopFunction {
  const names = params.map((p) => p.name);
  if (new Set(names).size !== names.length) throw new InternalError(`@${name} has two parameters of one name`);
  const b = new Block(names);
  body(b, params.map(B.param) as { readonly [K in keyof P]: Expr });
  return B.func(name, params, b.stmts, result);
}
