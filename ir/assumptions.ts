/** What a node takes for granted about sizes: what its inference could not decide when compiling. */

import type { Attrs, Graph, GraphNode } from "./graph.js";
import { graphNodes } from "./graph.js";
import { type Assumption, recordAssumptions } from "./infer.js";
import { inferTypes } from "./op.js";
import { opOf } from "./ops/index.js";

const known = new WeakMap<GraphNode, readonly Assumption[]>();

/** Of a primitive; a composite assumes what the nodes of its decomposition do, and a fusion what its nodes do. */
export function assumptionsOf(node: GraphNode): readonly Assumption[] {
  const cached = known.get(node);
  if (cached !== undefined) return cached;
  const facts = opOf(node);
  const found =
    facts.kind === "composite"
      ? []
      : recordAssumptions(() => {
          inferTypes(facts, node.operands, node.attrs as Attrs, node.regions);
        });
  const all = node.op === "fusion" ? [...found, ...ofGraph(node.regions[0]!)] : found;
  known.set(node, all);
  return all;
}

const ofGraph = (g: Graph): readonly Assumption[] => graphNodes(g).flatMap(assumptionsOf);
