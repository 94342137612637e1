/** Ops as functions. */

import type { NoAttrs, Value } from "../../../ir/graph.js";
import type { Op } from "../../../ir/op.js";

/** A function of each element. */
export type Unary = (x: Value) => Value;

export const unary =
  (op: Op<string, NoAttrs>): Unary =>
  (x) =>
    op([x]);
