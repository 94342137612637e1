/** The functions of a module. Lowering's KernelPool has made equal kernels one and names unique. */

import { InternalError } from "../ir/errors.js";
import type { LoopFunction } from "../ir/loop.js";
import { printLoopFunction } from "../ir/loop-print.js";

export class KernelSet {
  readonly #given = new Map<string, LoopFunction>();
  readonly #functions: LoopFunction[] = [];
  readonly #optimize: (fn: LoopFunction) => LoopFunction;

  constructor(optimize: (fn: LoopFunction) => LoopFunction) {
    this.#optimize = optimize;
  }

  /** All functions, optimised, in order of first use. */
  get functions(): readonly LoopFunction[] {
    return this.#functions;
  }

  /** Adds a kernel and the functions it calls. */
  add(fn: LoopFunction, helpers: readonly LoopFunction[]): void {
    for (const f of [...helpers, fn]) {
      const given = this.#given.get(f.name);
      if (given === undefined) {
        this.#given.set(f.name, f);
        this.#functions.push(this.#optimize(f));
      } else if (given !== f && printLoopFunction(given) !== printLoopFunction(f)) {
        throw new InternalError(`two different functions are called @${f.name}`);
      }
    }
  }
}
