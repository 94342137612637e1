/**
 * Gives NaNs whose bits can be seen one bit pattern.
 *
 *   %1 = add %x, %y             %1 = add %x, %y
 *   return %1            ⇒      %2 = select (eq %1, %1), %1, nan
 *                               return %2
 *
 * WebAssembly leaves the sign and payload of a NaN that arithmetic makes to the engine, and engines do not even agree with
 * themselves: the code of a later tier may take the operands in another order. Seen are results (states among them) and what
 * `bitcast` reads, in regions too. Ops that only move bits are looked through, so that a long result which is mostly moved (a key/value
 * cache) costs nothing, and the choice lies next to the arithmetic, in whose kernel it is fused; into the branches of an `if` as well, so
 * that one which passes a state through has nothing to do. What goes into a loop's body or comes out of it counts as arithmetic, as do
 * `neg` and `abs`: the reference, in numbers of JavaScript, can't see a NaN's sign.
 */

import { dtypeInfo, isFloat } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, type Value, withLoc } from "../../ir/graph.js";
import { remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { constantLike } from "../../ir/ops/constant.js";
import { eq, select } from "../../ir/ops/logic.js";
import type { GraphPass } from "../pass.js";

export const canonicalizeNans: GraphPass = {
  name: "canonicalize-nans",
  run: (g) => canonicalize(g, g.results, [], new Set()),
};

/** Operands whose elements come through bit for bit; none for arithmetic. */
function moved(node: GraphNode): readonly Value[] | undefined {
  switch (node.op) {
    case "constant":
      return [];
    case "reshape":
    case "transpose":
    case "broadcast":
    case "slice":
    case "updateSlice":
    case "pad":
    case "concat":
    case "gather":
    case "gatherElements":
    case "gatherND":
    case "select":
    case "bitcast":
    case "sort":
    case "topK":
    case "maxPool":
      return node.operands;
    case "scatterElements":
    case "scatterND":
      // Sums are stored with NaNs of one pattern.
      return node.attrs.reduction === "none" ? node.operands : node.operands.slice(0, 1);
    case "cast":
      // Integers give no NaN, and formats that are stored only are made from the bits of the operand.
      return isFloat(node.operands[0]!.type.dtype) && isFloat(node.results[0]!.type.dtype) ? undefined : node.operands;
    default:
      return undefined;
  }
}

/** Results of arithmetic (in branches too), and parameters of the region, whose NaNs reach one of the values. */
function arithmeticBehind(seen: readonly Value[], regionParams: readonly Value[]): ReadonlySet<Value> {
  const found = new Set<Value>();
  const visited = new Set<Value>();
  const stack = [...seen];
  /** What the parameters of branches stand for. */
  const bound = new Map<Value, readonly Value[]>();
  const enter = ({ regions, operands }: GraphNode) => {
    for (const { params } of regions)
      params.forEach((p, i) => {
        const known = bound.get(p) ?? [];
        const operand = operands[1 + i]!;
        if (known.includes(operand)) return;
        bound.set(p, [...known, operand]);
        if (visited.has(p)) stack.push(operand);
      });
  };
  for (let v = stack.pop(); v !== undefined; v = stack.pop()) {
    if (visited.has(v) || dtypeInfo[v.type.dtype].kind !== "float") continue;
    visited.add(v);
    if (v.def.op === "param") {
      stack.push(...(bound.get(v) ?? []));
      if (regionParams.includes(v) && isFloat(v.type.dtype)) found.add(v);
      continue;
    }
    if (v.def.op === "if") {
      const at = v.def.results.indexOf(v);
      enter(v.def);
      stack.push(...v.def.regions.map((r) => r.results[at]!));
      continue;
    }
    const operands = moved(v.def);
    if (operands) stack.push(...operands);
    else if (isFloat(v.type.dtype)) found.add(v);
  }
  return found;
}

function canonical(x: Value): Value {
  const choose = () => select([eq([x, x]), x, constantLike(x, Number.NaN)]);
  return x.def.op === "param" ? choose() : withLoc(x.def.loc, choose);
}

/** `outer`: values of this region among others, whose NaNs are seen outside. */
function canonicalize(
  g: Graph,
  results: readonly Value[],
  regionParams: readonly Value[],
  outer: ReadonlySet<Value>,
): Graph {
  const nodes = graphNodes(g);
  const read = nodes.flatMap((n) => (n.op === "bitcast" ? n.operands : []));
  const noisy = new Set([...outer, ...arithmeticBehind([...results, ...read], regionParams)]);
  const replaced = new Map<Value, Value>(
    regionParams.flatMap((p) => (noisy.has(p) ? [[p, canonical(p)] as const] : [])),
  );
  const now = (v: Value) => replaced.get(v) ?? v;
  for (const node of nodes) {
    const operands = node.operands.map(now);
    const regions = node.regions.map((r) => canonicalize(r, [], r.params, noisy));
    const changed = operands.some((v, i) => v !== node.operands[i]) || regions.some((r, i) => r !== node.regions[i]);
    const made = changed ? remake(node, operands, regions) : node;
    node.results.forEach((r, i) => {
      const result = made.results[i]!;
      if (noisy.has(r)) replaced.set(r, canonical(result));
      else if (result !== r) replaced.set(r, result);
    });
  }
  return replaced.size === 0 ? g : withResults(g, g.results.map(now), sizeFinders(g).map(now));
}
