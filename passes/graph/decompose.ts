/** Replaces composites by their decompositions. */

import type { Attrs } from "../../ir/graph.js";
import { isOpName, ops } from "../../ir/ops/index.js";
import type { KernelFacts } from "../kernels.js";
import type { GraphPass } from "../pass.js";
import type { Rule } from "../pattern.js";
import { rewritePass } from "../rewrite.js";

/** Without kernels no composite is left; with them, those that one computes whole. */
export function decompose(kernels?: KernelFacts): GraphPass {
  const rules: Rule[] = [];
  for (const [name, facts] of ops) {
    if (facts.kind !== "composite" || !isOpName(name)) continue;
    rules.push({
      name: `decompose-${name}`,
      ops: [name],
      apply: (n) => (kernels?.serves(n) ? undefined : facts.decompose(n.operands, n.attrs as Attrs, n.regions)),
    });
  }
  return rewritePass("decompose", rules);
}
