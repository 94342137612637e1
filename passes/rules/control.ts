/** Control flow that is decided at compile time, and what regions may know of it. */

import { type Graph, type GraphNode, graphRoots, type Value, withRoots } from "../../ir/graph.js";
import { copyWith, inline, remake } from "../../ir/graph-rebuild.js";
import { reshape } from "../../ir/ops/movement.js";
import { node, type Rule, rule, splatOf } from "../pattern.js";

/** The node's region put in its place. Not where the region finds sizes that its results don't lead to. */
function inlined(n: GraphNode, which: number, args: readonly Value[]): readonly Value[] | undefined {
  const region = n.regions[which]!;
  return region.sizes === undefined ? inline(region, args) : undefined;
}

/** Operands before the captures, which are the trailing operands and the trailing parameters of every region. */
export function firstCapture(n: Extract<GraphNode, { readonly op: "if" | "loop" | "scan" }>): number {
  switch (n.op) {
    case "if":
      return 1;
    case "loop":
      return 2 + n.attrs.carried;
    case "scan":
      return n.attrs.carried + n.attrs.inputs;
  }
}

/** Constants, and constants spread over a shape: what a region can make for itself. */
const isPortable = (v: Value): boolean =>
  v.def.op === "constant" || (v.def.op === "broadcast" && isPortable(v.def.operands[0]!));

/** The region with values in the place of parameters, which it no longer takes. */
function withValues(region: Graph, values: ReadonlyMap<Value, Value>): Graph {
  const roots = copyWith(graphRoots(region), new Map(values));
  return { ...withRoots(region, roots), params: region.params.filter((p) => !values.has(p)) };
}

export const controlRules: readonly Rule[] = [
  // if(true, then, else) → then
  rule("if-constant", node("if", "n"), ({ n }) => {
    const condition = splatOf(n.operands[0]!);
    return condition && inlined(n, condition.value === 0 ? 1 : 0, n.operands.slice(1));
  }),
  // scan(f, carried, inputs) of one step → f(carried, inputs[0])
  rule("scan-once", node("scan", "n"), ({ n }) => {
    const { carried, inputs, length } = n.attrs;
    if (length !== 1) return undefined;
    const args = n.operands.map((v, i) =>
      i >= carried && i < carried + inputs ? reshape([v], { shape: v.type.shape.slice(1) }) : v,
    );
    return inlined(n, 0, args)?.map((v, i) => (i < carried ? v : reshape([v], { shape: [1, ...v.type.shape] })));
  }),
  // scan(…, c){ body(…, k) } → scan(…){ body(…, c) }: the region's own rules and kernels then know the constant
  rule("capture-constant", node(["if", "loop", "scan"], "n"), ({ n }) => {
    const first = firstCapture(n);
    const isKnown = (v: Value, i: number) => i >= first && isPortable(v);
    if (!n.operands.some(isKnown)) return undefined;
    const regions = n.regions.map((r) => {
      const shift = n.operands.length - r.params.length;
      const known = n.operands.flatMap((v, i): [Value, Value][] => (isKnown(v, i) ? [[r.params[i - shift]!, v]] : []));
      return withValues(r, new Map(known));
    });
    return remake(
      n,
      n.operands.filter((v, i) => !isKnown(v, i)),
      regions,
    ).results;
  }),
];
