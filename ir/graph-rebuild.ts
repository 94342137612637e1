/** Building graphs out of graphs: nodes with other operands, graphs put in place of a call, mapped copies. */

import { type Dim, type DimSymbol, dimSubstitute } from "./dim.js";
import {
  type Attr,
  type Attrs,
  definedSymbols,
  type Graph,
  type GraphNode,
  graph,
  graphNodes,
  graphRoots,
  graphSymbols,
  type Loc,
  param,
  paramName,
  topologicalOrder,
  type Value,
  withRoots,
} from "./graph.js";
import { makeNode } from "./op.js";
import { opOf } from "./ops/index.js";

/** The node's op applied to other operands (and regions); types are inferred anew, the location is kept. */
export function remake(
  node: GraphNode,
  operands: readonly Value[],
  regions: readonly Graph[] = node.regions,
  loc: Loc | undefined = node.loc,
): GraphNode {
  // A facts object of an op gives nodes of the closed union.
  return makeNode(opOf(node), operands, node.attrs as Attrs, regions, loc) as unknown as GraphNode;
}

/**
 * Copies what the wanted values depend on, with the given replacements; parts that depend on no replaced value are shared.
 * Adds every copied value to `replaced`.
 */
export function copyWith(wanted: readonly Value[], replaced: Map<Value, Value>): readonly Value[] {
  for (const node of topologicalOrder(wanted, (v) => replaced.has(v))) {
    if (!node.operands.some((v) => replaced.has(v))) continue;
    const copy = remake(
      node,
      node.operands.map((v) => replaced.get(v) ?? v),
    );
    node.results.forEach((r, i) => {
      replaced.set(r, copy.results[i]!);
    });
  }
  return wanted.map((v) => replaced.get(v) ?? v);
}

/** The results of the graph applied to arguments: what a call of it would give. */
export function inline(g: Graph, args: readonly Value[]): readonly Value[] {
  const replaced = new Map<Value, Value>();
  g.params.forEach((p, i) => {
    replaced.set(p, args[i]!);
  });
  return copyWith(g.results, replaced);
}

/** The same graph over fresh parameters. No value is shared with the original. */
export function copyGraph(g: Graph, params = g.params.map((p) => param(paramName(p), p.type))): Graph {
  const copies = new Map(g.params.map((p, i) => [p, params[i]!]));
  for (const node of graphNodes(g)) {
    const copy = remake(
      node,
      node.operands.map((v) => copies.get(v)!),
    );
    node.results.forEach((r, i) => {
      copies.set(r, copy.results[i]!);
    });
  }
  return {
    ...withRoots(
      g,
      graphRoots(g).map((v) => copies.get(v)!),
    ),
    params,
  };
}

/**
 * The graph with other sizes in place of symbols: in the types of parameters, in attributes, in regions. Types are inferred anew. No
 * value is shared with the original.
 */
export function withDims(g: Graph, replace: (symbol: DimSymbol) => Dim | undefined): Graph {
  const dim = (d: Dim): Dim => dimSubstitute(d, replace);
  const attr = (a: Attr): Attr => {
    if (Array.isArray(a)) return (a as readonly Attr[]).map(attr);
    return typeof a === "object" && "kind" in a ? (dim(a) as Attr) : a;
  };
  const copies = new Map<Value, Value>();
  const params = g.params.map((p) => param(paramName(p), { dtype: p.type.dtype, shape: p.type.shape.map(dim) }));
  g.params.forEach((p, i) => {
    copies.set(p, params[i]!);
  });
  for (const node of graphNodes(g)) {
    const attrs = Object.fromEntries(Object.entries(node.attrs as Attrs).map(([name, a]) => [name, attr(a)]));
    const operands = node.operands.map((v) => copies.get(v)!);
    const regions = node.regions.map((r) => withDims(r, replace));
    const copy = makeNode(opOf(node), operands, attrs, regions, node.loc);
    node.results.forEach((r, i) => {
      copies.set(r, copy.results[i]!);
    });
  }
  return {
    ...withRoots(
      g,
      graphRoots(g).map((v) => copies.get(v)!),
    ),
    params,
  };
}

/** First results of the nodes that find data-dependent sizes. */
export const sizeFinders = (g: Graph): readonly Value[] =>
  graphNodes(g).flatMap((n) => (definedSymbols(n).length > 0 ? n.results.slice(0, 1) : []));

/**
 * The same signature over other results. `sizes` becomes those of the finders that shapes mention and no result depends on: a
 * rewrite may cut a value off from the node that finds its size, and may make a size unused.
 */
export function withResults(g: Graph, results: readonly Value[], finders: readonly Value[]): Graph {
  const sizes: Value[] = [];
  for (let complete = finders.length === 0; !complete; ) {
    const made = graph(g.name, g.params, results, g.resultNames, g.donations, sizes);
    const reached = graphNodes(made);
    const given = new Set(reached.flatMap((n) => definedSymbols(n).map((s) => s.name)));
    const mentioned = graphSymbols(made);
    const missing = finders.find(
      (v) =>
        v.def.op !== "param" &&
        !reached.includes(v.def) &&
        definedSymbols(v.def).some((s) => mentioned.has(s.name) && !given.has(s.name)),
    );
    if (missing === undefined) complete = true;
    else sizes.push(missing);
  }
  return graph(g.name, g.params, results, g.resultNames, g.donations, sizes);
}

/**
 * A graph with nodes replaced, from operands to results. `visit` is given each node over its new operands and regions, and
 * returns values for its results, or undefined to keep the node. Regions are mapped alike unless `region` says how. Returns the
 * graph itself where nothing changes.
 */
export function mapGraph(
  g: Graph,
  visit: (node: GraphNode) => readonly Value[] | undefined,
  region: (r: Graph) => Graph = (r) => mapGraph(r, visit),
): Graph {
  const replaced = new Map<Value, Value>();
  const now = (v: Value) => replaced.get(v) ?? v;
  for (const node of graphNodes(g)) {
    const operands = node.operands.map(now);
    const regions = node.regions.map(region);
    const changed = operands.some((v, i) => v !== node.operands[i]) || regions.some((r, i) => r !== node.regions[i]);
    const made = changed ? remake(node, operands, regions) : node;
    const values = visit(made) ?? made.results;
    node.results.forEach((r, i) => {
      if (values[i] !== r) replaced.set(r, values[i]!);
    });
  }
  return replaced.size === 0 ? g : withResults(g, g.results.map(now), sizeFinders(g).map(now));
}
