/** Which points may be computed again instead of being kept. */

import { type ElementwiseName, isElementwise } from "../../../ir/ops/classes.js";
import type { Point } from "../core/point.js";

const cheap: ReadonlySet<ElementwiseName> = new Set<ElementwiseName>([
  "add",
  "sub",
  "min",
  "max",
  "neg",
  "abs",
  "select",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
  "and",
  "or",
  "xor",
  "not",
  "cast",
  "bitcast",
]);

/**
 * At most a few operations, none of which is expensive, and no product: a product could be contracted into a fused
 * multiply-add at one place and not at the other.
 */
export function isRecomputable(p: Point, budget = 2): boolean {
  if (p.kind !== "apply") return true;
  const { op } = p.node;
  return budget > 0 && isElementwise(op) && cheap.has(op) && p.args.every((a) => isRecomputable(a, budget - 1));
}
