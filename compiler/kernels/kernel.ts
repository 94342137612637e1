/** What every generator gives. */

import type { LoopFunction } from "../../ir/loop.js";

/** A kernel and the functions it calls. Functions of equal name are equal. */
export interface Kernel {
  readonly fn: LoopFunction;
  readonly helpers: readonly LoopFunction[];
}
