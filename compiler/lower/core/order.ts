/** The order in which nodes run. */

import { InternalError } from "../../../ir/errors.js";
import { definedSymbols, type Graph, type GraphNode, graphNodes, type Value } from "../../../ir/graph.js";

/**
 * Nodes after their operands. Where a result is donated to a parameter (a new weight over the old), the node that computes it
 * comes after all others that read the parameter, if that is possible, so that the update can happen in place. Donated results
 * are visited last to first: gradients are then used up in the order in which backpropagation makes them. Single elements come last:
 * all random numbers of a step read its counter, and need not lie there from the start for it to be counted up. What is given to the
 * caller (a loss) comes before all of them, so that a run may still be ended by it, or by an index out of range on the way to it, while
 * state is as it was.
 */
export function orderNodes(graph: Graph): readonly GraphNode[] {
  const plain = graphNodes(graph);
  // Data-dependent sizes order nodes besides operands: what finds a size runs before what mentions it.
  if (graph.donations === undefined || plain.some((n) => definedSymbols(n).length > 0)) return plain;
  const readers = readersOf(graph);
  const position = new Map(plain.map((n, i) => [n, i]));
  const before = new Map<GraphNode, GraphNode[]>();
  const donated: Value[] = [];
  const isDonated = new Set(graph.donations.keys());
  for (const [result, parameter] of graph.donations ?? []) {
    const value = graph.results[result];
    const old = graph.params[parameter];
    if (value === undefined || old === undefined) throw new InternalError("a donation names no value");
    if (value.def.op === "param") continue;
    donated.push(value);
    const writer = value.def;
    const earlier = (readers.get(old) ?? []).filter((n) => n !== writer && !reaches(n, writer, position));
    before.set(writer, [...(before.get(writer) ?? []), ...earlier]);
  }
  const isSingle = (v: Value) => v.type.shape.every((d) => d === 1);
  donated.reverse();
  const roots = [
    ...graph.results.filter((_, i) => !isDonated.has(i)),
    ...donated.filter((v) => !isSingle(v)),
    ...donated.filter(isSingle),
  ];
  const order = sorted(roots, before);
  // Wishes of several updates may contradict one another and the operands; operands are no wishes.
  const place = new Map(order.map((n, i) => [n, i]));
  const isSound = order.every((n, i) => n.operands.every((v) => v.def.op === "param" || place.get(v.def)! < i));
  return isSound ? order : sorted(roots, new Map());
}

function sorted(roots: readonly Value[], before: ReadonlyMap<GraphNode, readonly GraphNode[]>): readonly GraphNode[] {
  const order: GraphNode[] = [];
  const done = new Set<GraphNode>();
  const open = new Set<GraphNode>();
  for (const root of roots) {
    if (root.def.op !== "param") visit(root.def);
  }
  return order;

  function visit(start: GraphNode): void {
    const stack: { node: GraphNode; next: number; needs: readonly GraphNode[] }[] = [];
    const push = (node: GraphNode) => {
      if (done.has(node) || open.has(node)) return;
      open.add(node);
      const operands = node.operands.flatMap((v) => (v.def.op === "param" ? [] : [v.def]));
      // Operands first: the readers of the old value mostly are among what leads to the new one.
      stack.push({ node, next: 0, needs: [...operands, ...(before.get(node) ?? [])] });
    };
    push(start);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const need = top.needs[top.next++];
      if (need !== undefined) push(need);
      else {
        stack.pop();
        open.delete(top.node);
        done.add(top.node);
        order.push(top.node);
      }
    }
  }
}

/** Nodes that read each parameter, also through views of it. */
function readersOf(graph: Graph): Map<Value, GraphNode[]> {
  const readers = new Map<Value, GraphNode[]>();
  const params = new Set(graph.params);
  const seen = new Set<GraphNode>();
  const stack = graph.results.map((r) => r.def);
  for (let def = stack.pop(); def !== undefined; def = stack.pop()) {
    if (def.op === "param" || seen.has(def)) continue;
    seen.add(def);
    for (const v of def.operands) {
      if (params.has(v)) {
        const list = readers.get(v);
        if (list === undefined) readers.set(v, [def]);
        else list.push(def);
      }
      stack.push(v.def);
    }
  }
  return readers;
}

/** Whether `from` depends on `target`, by the nodes that come after it in an order of all. */
function reaches(from: GraphNode, target: GraphNode, position: ReadonlyMap<GraphNode, number>): boolean {
  const seen = new Set<GraphNode>();
  const stack: GraphNode[] = [from];
  const least = position.get(target)!;
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node === target) return true;
    if (seen.has(node) || position.get(node)! < least) continue;
    seen.add(node);
    for (const v of node.operands) if (v.def.op !== "param") stack.push(v.def);
  }
  return false;
}
