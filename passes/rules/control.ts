/** Control flow that is decided at compile time. */

import type { GraphNode, Value } from "../../ir/graph.js";
import { inline } from "../../ir/graph-rebuild.js";
import { node, type Rule, rule, splatOf } from "../pattern.js";

/** The node's region put in its place. Not where the region finds sizes that its results don't lead to. */
function inlined(n: GraphNode, which: number, args: readonly Value[]): readonly Value[] | undefined {
  const region = n.regions[which]!;
  return region.sizes === undefined ? inline(region, args) : undefined;
}

export const controlRules: readonly Rule[] = [
  // if(true, then, else) → then
  rule("if-constant", node("if", "n"), ({ n }) => {
    const condition = splatOf(n.operands[0]!);
    return condition && inlined(n, condition.value === 0 ? 1 : 0, n.operands.slice(1));
  }),
];
