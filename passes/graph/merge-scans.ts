/**
 * Scans that step through the same rows and carry the same values become one scan with the results of all.
 *
 *   %h = scan(%h0, %x){ … return %h', %h' }      %s, %t = scan(%h0, %x){ … return %h', %u }
 *   ⇒  %h, %s, %t = scan(%h0, %x){ … return %h', %h', %u }
 *
 * The gradient of a scan makes such pairs: its own forward scan gives what the backward one needs besides what the loss reads. So do
 * several losses of one sequence.
 */

import { type Graph, type GraphNode, graph, graphNodes, type Value } from "../../ir/graph.js";
import { copyWith, mapGraph, remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { makeNode } from "../../ir/op.js";
import { scan } from "../../ir/ops/control.js";
import type { GraphPass } from "../pass.js";
import { eliminateCommonSubexpressions, Keys } from "./eliminate-common-subexpressions.js";

export const mergeScans: GraphPass = { name: "merge-scans", run: (g) => merge(g) };

type Scan = Extract<GraphNode, { readonly op: "scan" }>;

/** One scan in place of several, before it has operands. */
interface Merged {
  readonly region: Graph;
  /** Which of its results stand for the results of each scan. */
  readonly places: ReadonlyMap<Scan, readonly number[]>;
  made?: readonly Value[];
}

function merge(outer: Graph): Graph {
  const g = mapGraph(outer, () => undefined, merge);
  const nodes = graphNodes(g);
  const merged = new Map<GraphNode, Merged>();
  for (const group of groupsOf(nodes)) {
    const made = mergeBodies(group);
    if (made.places.size > 1) for (const n of made.places.keys()) merged.set(n, made);
  }
  if (merged.size === 0) return g;
  const replaced = new Map<Value, Value>();
  const now = (v: Value) => replaced.get(v) ?? v;
  for (const n of nodes) {
    const operands = n.operands.map(now);
    const one = merged.get(n);
    let results: readonly Value[];
    if (one !== undefined && n.op === "scan") {
      one.made ??= makeNode(scan, operands, n.attrs, [one.region], n.loc).results;
      results = one.places.get(n)!.map((place) => one.made![place]!);
    } else if (operands.every((v, i) => v === n.operands[i])) continue;
    else results = remake(n, operands).results;
    n.results.forEach((r, i) => {
      replaced.set(r, results[i]!);
    });
  }
  return withResults(g, g.results.map(now), sizeFinders(g).map(now));
}

/** Scans of the same operands that make the same rounds. */
function groupsOf(nodes: readonly GraphNode[]): readonly (readonly Scan[])[] {
  const groups = new Map<string, Scan[]>();
  const keys = new Keys();
  for (const n of nodes) {
    if (n.op !== "scan") continue;
    const key = keys.head(n);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [n]);
    else group.push(n);
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

/** The bodies of those scans in one that carry what the first one does. */
function mergeBodies(group: readonly Scan[]): Merged {
  const first = group[0]!;
  const { carried } = first.attrs;
  const { name, params } = first.regions[0]!;
  const finders: Value[] = [];
  const parts = group.map((n) => {
    const body = n.regions[0]!;
    const roots = [...body.results, ...sizeFinders(body)];
    const copies = copyWith(roots, new Map(body.params.map((p, i) => [p, params[i]!])));
    finders.push(...copies.slice(body.results.length));
    return copies.slice(0, body.results.length);
  });
  const results = parts.flat();
  const all = eliminateCommonSubexpressions.run(withResults(graph(name, params, results), results, finders));
  let end = 0;
  const own = parts.map((part) => {
    end += part.length;
    return all.results.slice(end - part.length, end);
  });
  const states = own[0]!.slice(0, carried);
  const members = [...group.keys()].filter((k) => states.every((v, i) => v === own[k]![i]));
  const scanned = [...new Set(members.flatMap((k) => own[k]!.slice(carried)))];
  const kept = [...states, ...scanned];
  return {
    region: withResults(graph(name, params, kept), kept, sizeFinders(all)),
    places: new Map(
      members.map((k) => [group[k]!, own[k]!.map((v, i) => (i < carried ? i : carried + scanned.indexOf(v)))]),
    ),
  };
}
