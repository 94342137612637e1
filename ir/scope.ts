/**
 * What holds while graphs are built, beside the arguments that say what is built: where new nodes come from, who is told of them,
 * who is told what inference takes for granted, and until when the work must end. All of it is here, so that nothing else under
 * the IR has a state of its own.
 */

import type { GraphNode, Loc } from "./graph.js";
import type { Assumption } from "./infer.js";

export interface Deadline {
  /** Of performance.now(). */
  readonly end: number;
  readonly what: string;
  readonly seconds: number;
}

export interface Scope {
  /** Location that new nodes get. */
  readonly loc?: Loc;
  /** Told every new node; `inner`: made while recording within this recording. */
  readonly made?: (node: GraphNode, inner?: boolean) => void;
  /** Told every assumption of inference. */
  readonly assumed?: (assumption: Assumption) => void;
  readonly deadline?: Deadline;
}

let current: Scope = {};

export const scope = (): Scope => current;

/** Runs `body` in the current scope but for `change`; afterwards the scope is as before. */
export function inScope<T>(change: Scope, body: () => T): T {
  const outer = current;
  current = { ...outer, ...change };
  try {
    return body();
  } finally {
    current = outer;
  }
}
