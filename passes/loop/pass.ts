/** What a loop pass is: a named function from LoopFunction to LoopFunction. */

import type { LoopFunction } from "../../ir/loop.js";

/** Told why a pass left something as it was. */
export type Note = (text: string) => void;

export interface LoopPass {
  /** A verb, the file's name, as it stands in dumps and `// RUN:` lines. */
  readonly name: string;
  /** The same function of memory and parameters; returns `f` itself where nothing changes. */
  readonly run: (f: LoopFunction, note?: Note) => LoopFunction;
}

/** Hands out names that nobody has. */
export class Names {
  readonly #used: Set<string>;

  constructor(used: Iterable<string>) {
    this.#used = new Set(used);
  }

  fresh(hint: string): string {
    let name = hint;
    for (let k = 1; this.#used.has(name); k++) name = `${hint}_${k}`;
    this.#used.add(name);
    return name;
  }
}
