/** Replaces composites by their decompositions, until only primitives (and composites to keep) are left. */

import type { Attrs } from "../../ir/graph.js";
import { isOpName, type OpName, ops } from "../../ir/ops/index.js";
import type { GraphPass } from "../pass.js";
import type { Rule } from "../pattern.js";
import { rewritePass } from "../rewrite.js";

/** `keep`: composites that lowering has its own kernels for. */
export function decompose(keep: ReadonlySet<OpName> = new Set()): GraphPass {
  const rules: Rule[] = [];
  for (const [name, facts] of ops) {
    if (facts.kind !== "composite" || !isOpName(name) || keep.has(name)) continue;
    rules.push({
      name: `decompose-${name}`,
      ops: [name],
      apply: (n) => facts.decompose(n.operands, n.attrs as Attrs, n.regions),
    });
  }
  return rewritePass("decompose", rules);
}
