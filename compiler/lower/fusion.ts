/** Fusion nodes: one kernel where the region has a form that one kernel computes, else the region's nodes one by one. */

import { InternalError } from "../../ir/errors.js";
import { type GraphNode, graphNodes, type Value } from "../../ir/graph.js";
import type { LowerContext } from "./core/context.js";
import type { Leaf } from "./core/point.js";
import type { Node } from "./elementwise/structured.js";
import { lowerGroup } from "./group.js";
import { lowerNodes } from "./lower.js";
import { lowerDotWithEpilogue } from "./product/contraction.js";
import { lowerConvWithEpilogue } from "./window/conv.js";
import { lowerWindowSumWithEpilogue } from "./window/window.js";

type Heavy = Extract<GraphNode, { readonly op: "dotGeneral" | "conv" | "windowSum" }>;

const isHeavy = (n: GraphNode): n is Heavy => n.op === "dotGeneral" || n.op === "conv" || n.op === "windowSum";

export function lowerFusion(ctx: LowerContext, node: Node<"fusion">): void {
  const region = node.regions[0]!;
  const outer = new Map<Value, Value>(region.params.map((p, i) => [p, node.operands[i]!]));
  // Operands of the contraction are parameters: it reads what they stand for.
  for (const [p, v] of outer) if (!ctx.has(p)) ctx.define(p, ctx.view(v));
  const leaf = (v: Value): Leaf | undefined => {
    const given = outer.get(v);
    return given === undefined ? undefined : ctx.leaf(given);
  };
  const nodes = graphNodes(region);
  const heavy = nodes.find(isHeavy);
  if (heavy === undefined) {
    const outputs = region.results.map((value, i) => ({ value, to: ctx.temp(value.type.dtype, value.type.shape), i }));
    if (lowerGroup(ctx, outputs, leaf, node.loc)) {
      for (const { to, i } of outputs) ctx.define(node.results[i]!, to);
      return;
    }
  } else {
    const output = region.results[0]!;
    const to = ctx.temp(output.type.dtype, output.type.shape);
    if (region.results.length === 1 && withEpilogue(ctx, atOuter(heavy, outer), heavy, output, to, leaf)) {
      ctx.define(node.results[0]!, to);
      return;
    }
    // The contraction by itself, then all that follows it in one kernel.
    ctx.use(heavy.results);
    lowerNodes(ctx, [atOuter(heavy, outer)]);
    const outputs = region.results.map((value, i) => ({ value, to: ctx.temp(value.type.dtype, value.type.shape), i }));
    const afterwards = (v: Value): Leaf | undefined => (v.def === heavy ? ctx.leaf(v) : leaf(v));
    if (!lowerGroup(ctx, outputs, afterwards, node.loc)) throw new InternalError("no kernel follows a contraction");
    for (const { to: view, i } of outputs) ctx.define(node.results[i]!, view);
    return;
  }
  ctx.use(region.results);
  lowerNodes(ctx, nodes);
  node.results.forEach((r, i) => {
    ctx.define(r, ctx.view(region.results[i]!));
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
    case "conv":
      return lowerConvWithEpilogue(ctx, located, output, to, leaf);
    case "windowSum":
      return lowerWindowSumWithEpilogue(ctx, located, output, to, leaf);
  }
}
