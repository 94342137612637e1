/** Fusion nodes: one kernel where the region has a form that one kernel computes, else the region's nodes one by one. */

import { type GraphNode, graphNodes, type Value } from "../../ir/graph.js";
import type { LowerContext } from "./core/context.js";
import type { Leaf } from "./core/point.js";
import type { Node } from "./elementwise/structured.js";
import { lowerGroup } from "./group.js";
import { lowerDotWithEpilogue } from "./product/contraction.js";
import { lowerWeightProductWithEpilogue } from "./product/weights.js";
import { lowerConvWithEpilogue } from "./window/conv.js";
import { lowerWindowSumWithEpilogue } from "./window/window.js";

type Heavy = Extract<GraphNode, { readonly op: "dotGeneral" | "weightProduct" | "conv" | "windowSum" }>;

const isHeavy = (n: GraphNode): n is Heavy =>
  n.op === "dotGeneral" || n.op === "weightProduct" || n.op === "conv" || n.op === "windowSum";

export function lowerFusion(ctx: LowerContext, node: Node<"fusion">): void {
  const region = node.regions[0]!;
  const outer = new Map<Value, Value>(region.params.map((p, i) => [p, node.operands[i]!]));
  // Operands of the contraction are parameters: it reads what they stand for.
  for (const [p, v] of outer) if (!ctx.has(p)) ctx.define(p, ctx.view(v));
  const leaf = (v: Value): Leaf | undefined => {
    const given = outer.get(v);
    if (given !== undefined) return ctx.leaf(given);
    return v.def.op === "constant" ? ctx.leaf(v) : undefined;
  };
  const nodes = graphNodes(region);
  const [heavy, ...others] = nodes.filter(isHeavy);
  if (heavy === undefined || others.length > 0 || !heavy.operands.every((v) => leaf(v) !== undefined)) {
    lowerPointwise(ctx, node, nodes, leaf);
    return;
  }
  const [output] = region.results as readonly [Value, ...Value[]];
  const to = ctx.temp(output.type.dtype, output.type.shape);
  if (region.results.length === 1 && withEpilogue(ctx, atOuter(heavy, outer), heavy, output, to, leaf)) {
    ctx.define(node.results[0]!, to);
    return;
  }
  // The contraction by itself, then all that follows it in one kernel.
  ctx.use(heavy.results);
  ctx.lower([atOuter(heavy, outer)]);
  const after = nodes.filter((n) => n !== heavy);
  lowerPointwise(ctx, node, after, (v) => (v.def === heavy ? ctx.leaf(v) : leaf(v)));
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

/** The contraction over the values outside, so that constant weights are seen as such. Its results stay those of the region. */
function atOuter(n: Heavy, outer: ReadonlyMap<Value, Value>): Heavy {
  return { ...n, operands: n.operands.map((v) => outer.get(v) ?? v) };
}

function withEpilogue(
  ctx: LowerContext,
  node: Heavy,
  inner: Heavy,
  output: Value,
  to: ReturnType<LowerContext["temp"]>,
  leaf: (v: Value) => Leaf | undefined,
): boolean {
  const located = { ...node, loc: inner.loc };
  switch (located.op) {
    case "dotGeneral":
      return lowerDotWithEpilogue(ctx, located, output, to, leaf);
    case "weightProduct":
      return lowerWeightProductWithEpilogue(ctx, located, output, to, leaf);
    case "conv":
      return lowerConvWithEpilogue(ctx, located, output, to, leaf);
    case "windowSum":
      return lowerWindowSumWithEpilogue(ctx, located, output, to, leaf);
  }
}
