/**
 * Computes what is the same in every round of a loop once, before the loop.
 *
 *   scan(h, xs, w){ %t = transpose w; … dot(h, %t) }      ⇒      %t = transpose w; scan(h, xs, %t){ … dot(h, t) }
 *
 * Moved are nodes that depend on captures only. What costs nothing to repeat (broadcasts, reshapes, views) moves only with a node
 * that reads it, so that nothing is stored which kernels read in place. All ops are pure and none traps, so that computing for a
 * loop of no rounds is harmless. Branches of an `if` keep what is theirs: only one of them runs.
 */

import {
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  graphRoots,
  mentions,
  param,
  type Value,
  withRoots,
} from "../../ir/graph.js";
import { copyWith, mapGraph, remake } from "../../ir/graph-rebuild.js";
import type { GraphPass } from "../pass.js";
import { firstCapture } from "../rules/control.js";

export const hoistInvariants: GraphPass = {
  name: "hoist-invariants",
  run: (g) => mapGraph(g, hoist, (r) => hoistInvariants.run(r)),
};

/** Ops whose results kernels read without storing them. */
const free: ReadonlySet<string> = new Set(["broadcast", "reshape", "slice"]);

function hoist(n: GraphNode): readonly Value[] | undefined {
  if (n.op !== "scan" && n.op !== "loop") return undefined;
  const body = n.regions[0]!;
  const first = firstCapture(n);
  const captures = body.params.slice(first);
  const found = invariantsOf(body, new Set(captures));
  if (found.length === 0) return undefined;
  const outside = copyWith(found, new Map(captures.map((p, i) => [p, n.operands[first + i]!])));
  const fresh = found.map((v, i) => param(`h${captures.length + i}`, v.type));
  const roots = copyWith(graphRoots(body), new Map(found.map((v, i) => [v, fresh[i]!])));
  const region: Graph = { ...withRoots(body, roots), params: [...body.params, ...fresh] };
  return remake(n, [...n.operands, ...outside], [region]).results;
}

/** Values that depend on captures only, are worth computing once, and are read by what changes from round to round. */
function invariantsOf(body: Graph, captures: ReadonlySet<Value>): readonly Value[] {
  const nodes = graphNodes(body);
  const sizes = new Set(nodes.flatMap((n) => definedSymbols(n).map((s) => s.name)));
  const invariant = new Set<GraphNode>();
  // Constants move along with what reads them; alone they stay.
  const moves = new Set<GraphNode>();
  for (const n of nodes) {
    if (definedSymbols(n).length > 0 || mentions(n).some((name) => sizes.has(name))) continue;
    if (!n.operands.every((v) => (v.def.op === "param" ? captures.has(v) : invariant.has(v.def)))) continue;
    invariant.add(n);
    if (n.operands.some((v) => v.def.op === "param" || moves.has(v.def))) moves.add(n);
  }
  const found = new Set<Value>();
  const take = (v: Value) => {
    if (v.def.op === "param" || !moves.has(v.def)) return;
    if (free.has(v.def.op)) v.def.operands.forEach(take);
    else found.add(v);
  };
  for (const n of nodes) if (!moves.has(n)) n.operands.forEach(take);
  graphRoots(body).forEach(take);
  return [...found];
}
