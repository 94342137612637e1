/** Leaves out nodes that nothing takes: what a row has made in vain when another one writes more at once. */

import type { GraphDraft, NodeDraft, Ref } from "./draft.js";

/** The graph without dead nodes. Adds what it takes from outside, initializers included, to `used`. */
export function prune(g: GraphDraft, used: Set<Ref> = new Set()): GraphDraft {
  for (const { ref } of g.outputs) used.add(ref);
  const nodes: NodeDraft[] = [];
  for (const node of [...g.nodes].reverse()) {
    if (!node.outputs.some((r) => used.has(r))) continue;
    for (const r of node.inputs) if (r) used.add(r);
    const attrs = Object.entries(node.attrs).map(
      ([name, a]) => [name, a.kind === "graph" ? { ...a, value: prune(a.value, used) } : a] as const,
    );
    nodes.push({ ...node, attrs: Object.fromEntries(attrs) });
  }
  return { ...g, nodes: nodes.reverse() };
}
