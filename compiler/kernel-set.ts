/** The functions of a module: kernels with equal code are emitted once, under one name. */

import { InternalError } from "../ir/errors.js";
import type { LoopFunction } from "../ir/loop.js";
import { printLoopFunction } from "../ir/loop-print.js";

export class KernelSet {
  readonly #byCode = new Map<string, string>();
  readonly #byFunction = new Map<LoopFunction, string>();
  readonly #functions = new Map<string, LoopFunction>();
  /** Code of helpers by name. */
  readonly #helpers = new Map<string, string>();
  readonly #optimize: (fn: LoopFunction) => LoopFunction;

  constructor(optimize: (fn: LoopFunction) => LoopFunction) {
    this.#optimize = optimize;
  }

  /** All functions, optimised, in order of first use. */
  get functions(): readonly LoopFunction[] {
    return [...this.#functions.values()];
  }

  /** Adds a kernel and the functions it calls. Returns the name it goes by. */
  add(fn: LoopFunction, helpers: readonly LoopFunction[]): string {
    const known = this.#byFunction.get(fn);
    if (known !== undefined) return known;
    for (const h of helpers) this.#insertHelper(h);
    return this.#insert(fn);
  }

  #insert(fn: LoopFunction): string {
    const known = this.#byFunction.get(fn);
    if (known !== undefined) return known;
    const code = printLoopFunction({ ...fn, name: "_" });
    let name = this.#byCode.get(code);
    if (name === undefined) {
      name = this.#freeName(fn.name);
      this.#byCode.set(code, name);
      this.#functions.set(name, { ...this.#optimize(fn), name });
    }
    this.#byFunction.set(fn, name);
    return name;
  }

  /** Helpers are called by name, so equal code under another name is no substitute. */
  #insertHelper(fn: LoopFunction): void {
    if (this.#byFunction.has(fn)) return;
    const code = printLoopFunction(fn);
    const taken = this.#helpers.get(fn.name);
    if (taken === undefined) {
      if (this.#functions.has(fn.name)) throw new InternalError(`@${fn.name} is both a kernel and a helper`);
      this.#helpers.set(fn.name, code);
      this.#functions.set(fn.name, this.#optimize(fn));
    } else if (taken !== code) throw new InternalError(`two different helpers are called @${fn.name}`);
    this.#byFunction.set(fn, fn.name);
  }

  #freeName(wanted: string): string {
    if (!this.#functions.has(wanted)) return wanted;
    for (let i = 2; ; i++) if (!this.#functions.has(`${wanted}_${i}`)) return `${wanted}_${i}`;
  }
}
