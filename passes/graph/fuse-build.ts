/** Puts groups of nodes into `fusion` nodes. */

import {
  definedSymbols,
  type Graph,
  type GraphNode,
  graph,
  graphNodes,
  graphRoots,
  mentions,
  param,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { spreadsLast } from "../../ir/infer.js";
import { fusion } from "../../ir/ops/fusion.js";
import type { KernelFacts } from "../kernels.js";

/** Free to repeat: no element is computed. */
export function isRepeatable(n: GraphNode): boolean {
  switch (n.op) {
    case "broadcast":
      return !spreadsLast(n.operands[0]!.type.shape, n.attrs);
    case "reshape":
    case "iota":
    case "dimSize":
      return true;
    case "constant":
      return n.attrs.value.data.length === 1;
    default:
      return false;
  }
}

/** What runs as a whole. */
interface Unit {
  readonly nodes: readonly GraphNode[];
  readonly isGroup: boolean;
}

/**
 * The graph with each group as one fusion node. Groups must not depend on one another in circles. Groups of one node stay as
 * they are, unless repeatable operands belong to them.
 */
export function buildFusions(g: Graph, groups: readonly ReadonlySet<GraphNode>[], kernels: KernelFacts): Graph {
  const order = graphNodes(g);
  const unitOf = new Map<GraphNode, Unit>();
  const members = new Map<GraphNode, ReadonlySet<GraphNode>>();
  for (const nodes of groups) for (const n of nodes) members.set(n, nodes);
  const made = new Map<ReadonlySet<GraphNode>, GraphNode[]>();
  for (const n of order) {
    const own = members.get(n);
    if (own === undefined) unitOf.set(n, { nodes: [n], isGroup: false });
    else {
      const nodes = made.get(own);
      if (nodes === undefined) made.set(own, [n]);
      else nodes.push(n);
    }
  }
  let changes = false;
  for (const nodes of made.values()) {
    const isGroup = nodes.length > 1 || nodes.some((n) => n.operands.some((v) => isAbsorbed(v)));
    if (isGroup) changes = true;
    const unit = { nodes, isGroup };
    for (const n of nodes) unitOf.set(n, unit);
  }
  if (!changes) return g;
  const now = new Map<Value, Value>();
  const current = (v: Value) => now.get(v) ?? v;
  const used = usedOutside(g, order, unitOf, kernels);
  for (const unit of unitOrder(order, unitOf, kernels)) {
    if (unit.isGroup) fuseUnit(unit, used, now, kernels);
    else {
      const [n] = unit.nodes as [GraphNode];
      if (n.operands.every((v) => current(v) === v)) continue;
      const copy = remake(n, n.operands.map(current));
      n.results.forEach((r, i) => {
        now.set(r, copy.results[i]!);
      });
    }
  }
  return withResults(g, g.results.map(current), sizeFinders(g).map(current));
}

/** An operand that the group computes itself, besides its nodes. Scalars are free to load; what is spread over axes is not. */
const isAbsorbed = (v: Value): boolean => v.def.op === "broadcast" || v.def.op === "iota";

/** Values that something outside their unit reads; what a group repeats counts as part of it. */
function usedOutside(
  g: Graph,
  order: readonly GraphNode[],
  unitOf: ReadonlyMap<GraphNode, Unit>,
  kernels: KernelFacts,
): ReadonlySet<Value> {
  const used = new Set<Value>(graphRoots(g));
  // From users to operands: a repeatable node is needed as such only where a user outside groups reads it.
  for (const n of order.toReversed()) {
    const unit = unitOf.get(n)!;
    if (isRepeatable(n) && !unit.isGroup && !n.results.some((r) => used.has(r))) continue;
    for (const v of n.operands) {
      if (v.def.op === "param") continue;
      if (kernels.takesEpilogue(n.op)) used.add(v);
      else if (!unit.isGroup || unitOf.get(v.def) !== unit) markRead(v, unit, unitOf, used);
    }
  }
  return used;
}

/** Marks what a unit reads from outside, through the nodes that it repeats. */
function markRead(v: Value, reader: Unit, unitOf: ReadonlyMap<GraphNode, Unit>, used: Set<Value>): void {
  if (v.def.op === "param") return;
  if (reader.isGroup && isRepeatable(v.def)) {
    for (const o of v.def.operands) {
      if (o.def.op !== "param" && unitOf.get(o.def) !== reader) markRead(o, reader, unitOf, used);
    }
  } else used.add(v);
}

/** Units after those they depend on, operands through repeated nodes included. */
function unitOrder(
  order: readonly GraphNode[],
  unitOf: ReadonlyMap<GraphNode, Unit>,
  kernels: KernelFacts,
): readonly Unit[] {
  const finders = new Map<string, GraphNode>();
  for (const n of order) for (const s of definedSymbols(n)) finders.set(s.name, n);
  const needsOf = (unit: Unit): Unit[] => {
    const needs = new Set<Unit>();
    const add = (d: GraphNode) => {
      const own = unitOf.get(d)!;
      if (own !== unit) needs.add(own);
    };
    const walk = (n: GraphNode): void => {
      for (const v of n.operands) {
        if (v.def.op === "param") continue;
        if (unit.isGroup && isRepeatable(v.def) && !kernels.takesEpilogue(n.op)) walk(v.def);
        else add(v.def);
      }
      if (finders.size > 0) for (const name of mentions(n)) if (finders.has(name)) add(finders.get(name)!);
    };
    for (const n of unit.nodes) walk(n);
    return [...needs];
  };
  const sorted: Unit[] = [];
  const state = new Map<Unit, "open" | "done">();
  for (const root of order) {
    const stack: { unit: Unit; needs: Unit[]; next: number }[] = [];
    const push = (unit: Unit) => {
      if (state.has(unit)) return;
      state.set(unit, "open");
      stack.push({ unit, needs: needsOf(unit), next: 0 });
    };
    push(unitOf.get(root)!);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const need = top.needs[top.next++];
      if (need !== undefined) push(need);
      else {
        stack.pop();
        state.set(top.unit, "done");
        sorted.push(top.unit);
      }
    }
  }
  return sorted;
}

function fuseUnit(unit: Unit, used: ReadonlySet<Value>, now: Map<Value, Value>, kernels: KernelFacts): void {
  const inside = new Map<Value, Value>();
  const own = new Set(unit.nodes);
  const operands: Value[] = [];
  const params: Value[] = [];
  const given = new Map<Value, Value>();
  const outside = (v: Value): Value => {
    const known = given.get(v);
    if (known !== undefined) return known;
    const outer = now.get(v) ?? v;
    const made = param(`p${params.length}`, outer.type);
    operands.push(outer);
    params.push(made);
    given.set(v, made);
    return made;
  };
  const value = (v: Value): Value => {
    const known = inside.get(v);
    if (known !== undefined) return known;
    if (v.def.op === "param" || own.has(v.def) || !isRepeatable(v.def)) return outside(v);
    const made = remake(v.def, v.def.operands.map(value)).results[v.index]!;
    inside.set(v, made);
    return made;
  };
  const results: Value[] = [];
  for (const n of unit.nodes) {
    // What is summed is read from memory.
    const copy = remake(n, n.operands.map(kernels.takesEpilogue(n.op) ? outside : value));
    n.results.forEach((r, i) => {
      inside.set(r, copy.results[i]!);
      if (used.has(r)) results.push(r);
    });
  }
  const region = graph(
    "fused",
    params,
    results.map((r) => inside.get(r)!),
  );
  // The node that comes last names the kernel's layer.
  const loc = unit.nodes.findLast((n) => n.loc !== undefined)?.loc;
  const fused = withLoc(loc, () => fusion(operands, {}, [region]));
  results.forEach((r, i) => {
    now.set(r, fused[i]!);
  });
}
