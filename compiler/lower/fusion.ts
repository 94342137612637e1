/** Fusion nodes: one kernel where the region has a form that one kernel computes, else the region's nodes one by one. */

import { type GraphNode, graphNodes, type Value } from "../../ir/graph.js";
import type { LowerContext } from "./core/context.js";
import type { Leaf } from "./core/point.js";
import type { Node } from "./elementwise/structured.js";
import { lowerGroup } from "./group.js";
import { epilogueOf } from "./product/epilogue.js";
import type { KernelRegistry } from "./registry.js";

export function lowerFusion(ctx: LowerContext, node: Node<"fusion">, kernels: KernelRegistry): void {
  const region = node.regions[0]!;
  const outer = new Map<Value, Value>(region.params.map((p, i) => [p, node.operands[i]!]));
  // What is summed reads its operands from memory: it reads what parameters stand for.
  for (const [p, v] of outer) if (!ctx.has(p)) ctx.define(p, ctx.view(v));
  const leaf = (v: Value): Leaf | undefined => {
    const given = outer.get(v);
    if (given !== undefined) return ctx.leaf(given);
    return v.def.op === "constant" ? ctx.leaf(v) : undefined;
  };
  const nodes = graphNodes(region);
  const [sum, ...others] = nodes.filter((n) => kernels.takesEpilogue(n.op));
  if (sum === undefined || others.length > 0 || !sum.operands.every((v) => leaf(v) !== undefined)) {
    lowerPointwise(ctx, node, nodes, leaf);
    return;
  }
  const outside = atOuter(sum, outer);
  const [output] = region.results as readonly [Value, ...Value[]];
  const kernel = kernels.choose(ctx, outside);
  if (region.results.length === 1) {
    const matrix = kernel.matrix(output);
    const finish = matrix && epilogueOf(ctx.pool, sum.results[0]!, output, matrix, leaf);
    if (finish !== undefined) {
      const to = ctx.temp(output.type.dtype, output.type.shape);
      kernel.store(ctx, to, finish);
      ctx.define(node.results[0]!, to);
      return;
    }
  }
  // The sums by themselves, then all that follows them in one kernel.
  ctx.use(sum.results);
  const after = nodes.filter((n) => n !== sum);
  // A kernel that takes no epilogue leaves it to be computed: that is part of what it costs.
  ctx.choosingFor(kernel.kind, () => {
    ctx.lower([outside]);
    lowerPointwise(ctx, node, after, (v) => (v.def === sum ? ctx.leaf(v) : leaf(v)));
  });
}

/** The nodes of the region that are still to be lowered: in one kernel, or one by one where no kernel has their form. */
function lowerPointwise(
  ctx: LowerContext,
  node: Node<"fusion">,
  nodes: readonly GraphNode[],
  leaf: (v: Value) => Leaf | undefined,
): void {
  const { results } = node.regions[0]!;
  const outputs = results.map((value) => ({ value, to: ctx.temp(value.type.dtype, value.type.shape) }));
  if (lowerGroup(ctx, outputs, leaf, node.loc)) {
    outputs.forEach(({ to }, i) => {
      ctx.define(node.results[i]!, to);
    });
    return;
  }
  ctx.use(results);
  ctx.lower(nodes);
  results.forEach((r, i) => {
    ctx.define(node.results[i]!, ctx.view(r));
  });
}

/** The node over the values outside, so that constant weights are seen as such. Its results stay those of the region. */
function atOuter(n: GraphNode, outer: ReadonlyMap<Value, Value>): GraphNode {
  return { ...n, operands: n.operands.map((v) => outer.get(v) ?? v) };
}
