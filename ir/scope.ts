/**
 * What holds while graphs are built, beside the arguments that say what is built: where new nodes come from, who is told of them,
 * who is told what inference takes for granted, and until when the work must end. All of it is here, so that nothing else under
 * the IR has a state of its own.
 */

import type { Dim } from "./dim.js";
import type { GraphNode, Loc, Value } from "./graph.js";
import type { Assumption } from "./infer.js";

export interface Deadline {
  /** When the time began, on the clock and in processor time. */
  readonly start: { readonly clock: number; readonly processor: number };
  readonly what: string;
  readonly seconds: number;
}

/**
 * The body of a loop or branch while it is built. What must differ from round to round, or outlive rounds, is asked for here by
 * code inside that knows nothing of the loop.
 */
export interface RegionFrame {
  readonly outer?: RegionFrame;
  /** Runs `build` as if outside of the region. */
  outside<T>(build: () => T): T;
  /** A further carried value. Branches carry nothing: undefined. */
  carry?(first: Value): Carried;
  /**
   * Puts another value in the place of one that `key` stands for, where the branch is taken. Loops replace nothing: undefined.
   */
  replace?(key: object, replaced: Replaced): void;
  /** One row for each round of a value made outside; undefined where the number of rounds is not known before. */
  row?(make: (rounds: Dim) => Value): Value;
}

/** A value that a branch replaces. */
export interface Replaced {
  readonly before: Value;
  readonly next: Value;
  /** Told what the `if` gives, of whichever branch is taken, in the scope around it. */
  readonly after: (last: Value) => void;
}

/** A value that a loop hands from round to round. */
export interface Carried {
  /** In this round. */
  readonly now: Value;
  /** Sets what the next round gets; without it, the same. */
  next: Value;
  /** Told the value after the last round, in the scope around the loop. */
  after?: (last: Value) => void;
}

export interface Scope {
  /** The region being built, the innermost. */
  readonly region?: RegionFrame;
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
  return inExactly({ ...current, ...change }, body);
}

/** Runs `body` in this scope; afterwards the scope is as before. */
export function inExactly<T>(wanted: Scope, body: () => T): T {
  const outer = current;
  current = wanted;
  try {
    return body();
  } finally {
    current = outer;
  }
}
