/** Gathers that are functions of one number: of a list, at places that are known to lie in it. */

import { dtypeInfo } from "../../ir/dtype.js";
import type { GraphNode } from "../../ir/graph.js";
import { contentsOf } from "./index.js";

/** Whether the node reads, for each element of its second operand, one element of a list, without a check that it lies inside. */
export function isLookup(n: GraphNode): boolean {
  if (n.op !== "gather" || n.attrs.axis !== 0) return false;
  const [list, at] = n.operands;
  const [size] = list!.type.shape;
  if (list!.type.shape.length !== 1 || typeof size !== "number") return false;
  // Four of each in a vector.
  if ([list!, at!].some((v) => dtypeInfo[v.type.dtype].bits > 32)) return false;
  const { low, high, whole } = contentsOf(at!).each;
  return whole && low >= 0 && high < size;
}
