/**
 * Drops what no result needs. A graph holds only what its results reach, so what is left to drop is inside control flow: results of
 * a node that nothing reads, carried values that only feed themselves, captures that regions don't read; and data-dependent sizes
 * that no shape mentions any more.
 */

import {
  type Attrs,
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  graphRoots,
  type Value,
} from "../../ir/graph.js";
import { remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { makeNode } from "../../ir/op.js";
import { opOf } from "../../ir/ops/index.js";
import type { GraphPass } from "../pass.js";

export const eliminateDeadCode: GraphPass = { name: "eliminate-dead-code", run: (g) => eliminate(g) };

function eliminate(g: Graph): Graph {
  const nodes = graphNodes(g);
  const live = new Set<Value>(graphRoots(g));
  const slim = new Map<GraphNode, Slim>();
  // Readers come before what they read.
  for (const node of nodes.toReversed()) {
    const made = slimDown(node, live);
    if (made !== undefined) slim.set(node, made);
    for (const i of made?.operands ?? node.operands.keys()) live.add(node.operands[i]!);
  }
  const replaced = new Map<Value, Value>();
  const now = (v: Value) => replaced.get(v) ?? v;
  for (const node of nodes) {
    const kept = slim.get(node);
    const operands = [...(kept?.operands ?? node.operands.keys())].map((i) => now(node.operands[i]!));
    if (kept === undefined && operands.every((v, i) => v === node.operands[i])) continue;
    const made =
      kept === undefined ? remake(node, operands) : makeNode(opOf(node), operands, kept.attrs, kept.regions, node.loc);
    for (const [to, from] of (kept?.results ?? [...node.results.keys()]).entries()) {
      replaced.set(node.results[from]!, made.results[to]!);
    }
  }
  const finders = sizeFinders(g);
  const { sizes = [] } = withResults(g, g.results, finders);
  const sameSizes = sizes.length === (g.sizes?.length ?? 0);
  return replaced.size === 0 && sameSizes ? g : withResults(g, g.results.map(now), finders.map(now));
}

/** How operands, region parameters, region results and results of a control flow op correspond. */
interface Layout {
  /** Operands, parameters and region results that stand before those that correspond. */
  readonly operands: number;
  readonly params: number;
  readonly results: number;
  readonly carried: number;
  readonly inputs: number;
}

function layoutOf(node: GraphNode): Layout | undefined {
  switch (node.op) {
    case "if":
      return { operands: 1, params: 0, results: 0, carried: 0, inputs: 0 };
    case "loop":
      return { operands: 2, params: 2, results: 1, carried: node.attrs.carried, inputs: 0 };
    case "scan":
      return { operands: 0, params: 0, results: 0, carried: node.attrs.carried, inputs: node.attrs.inputs };
    default:
      return undefined;
  }
}

/** What is left of a node: indices into its operands and results. */
interface Slim {
  readonly operands: readonly number[];
  readonly results: readonly number[];
  readonly attrs: Attrs;
  readonly regions: readonly Graph[];
}

function slimDown(node: GraphNode, live: ReadonlySet<Value>): Slim | undefined {
  const layout = layoutOf(node);
  if (layout === undefined) return undefined;
  const regions = node.regions.map(eliminate);
  const changed = regions.some((r, i) => r !== node.regions[i]);
  const all = [...node.results.keys()];
  const { carried } = layout;
  // `shapes` and `defines` speak of all results; such nodes keep them.
  const fixed = "shapes" in node.attrs || definedSymbols(node).length > 0;
  let results = fixed ? all : all.filter((i) => live.has(node.results[i]!));
  let used = readOf(regions, layout, results);
  for (;;) {
    // A carried value that a kept result reads is kept too.
    const more = all.filter((i) => results.includes(i) || (i < carried && used.has(i)));
    if (more.length === results.length) break;
    results = more;
    used = readOf(regions, layout, results);
  }
  const given = node.operands.length - layout.operands;
  const slots = [...Array(given).keys()].filter((i) => (i < carried ? results.includes(i) : used.has(i)));
  if (!changed && results.length === all.length && slots.length === given) return undefined;
  return {
    operands: [...Array(layout.operands).keys(), ...slots.map((i) => i + layout.operands)],
    results,
    attrs: withCounts(node, layout, slots),
    regions: regions.map((r) => keep(r, layout, slots, results)),
  };
}

/** Which corresponding parameters the kept results of any region read. */
function readOf(regions: readonly Graph[], layout: Layout, results: readonly number[]): ReadonlySet<number> {
  const used = new Set<number>();
  for (const r of regions) {
    const roots = [...(r.sizes ?? []), ...keptResults(r, layout, results)];
    const read = new Set<Value>(roots);
    const stack = roots.map((v) => v.def);
    const seen = new Set(stack);
    for (let def = stack.pop(); def !== undefined; def = stack.pop()) {
      if (def.op === "param") continue;
      for (const v of def.operands) {
        read.add(v);
        if (!seen.has(v.def)) {
          seen.add(v.def);
          stack.push(v.def);
        }
      }
    }
    r.params.slice(layout.params).forEach((p, i) => {
      if (read.has(p)) used.add(i);
    });
  }
  return used;
}

const keptResults = (r: Graph, layout: Layout, results: readonly number[]): Value[] => [
  ...r.results.slice(0, layout.results),
  ...results.map((i) => r.results[i + layout.results]!),
];

function keep(r: Graph, layout: Layout, slots: readonly number[], results: readonly number[]): Graph {
  const params = [...r.params.slice(0, layout.params), ...slots.map((i) => r.params[i + layout.params]!)];
  const names = [...r.resultNames.slice(0, layout.results), ...results.map((i) => r.resultNames[i + layout.results]!)];
  const slim = { ...r, params, resultNames: names };
  return withResults(slim, keptResults(r, layout, results), sizeFinders(r));
}

function withCounts(node: GraphNode, { carried, inputs }: Layout, slots: readonly number[]): Attrs {
  const attrs: Attrs = node.attrs;
  if (node.op === "if") return attrs;
  const counted: Attrs = { ...attrs, carried: slots.filter((i) => i < carried).length };
  return node.op === "loop"
    ? counted
    : { ...counted, inputs: slots.filter((i) => i >= carried && i < carried + inputs).length };
}
