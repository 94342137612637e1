/**
 * What is computed from one integer of at most 256 values, and from numbers, is read from a list of its results:
 *
 *   quantise(gelu(dequantise(q))) → gather(list, cast i32 q)        list = quantise(gelu(dequantise([−128 … 127])))
 *
 * The list comes from the reference evaluator, so results differ from those of kernels where these round otherwise: after a transcendental
 * function, by its accuracy. A few operations are left as they are: reading an element takes about as long.
 */

import { type DType, isInt } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, graphRoots, param, type Value, withLoc } from "../../ir/graph.js";
import { remake, sizeFinders, withResults } from "../../ir/graph-rebuild.js";
import { cast } from "../../ir/ops/cast.js";
import { isElementwise } from "../../ir/ops/classes.js";
import { constant } from "../../ir/ops/constant.js";
import { sub } from "../../ir/ops/elementwise.js";
import { opOf } from "../../ir/ops/index.js";
import { gather } from "../../ir/ops/indexing.js";
import { evaluateValues } from "../../ir/reference.js";
import { scalar, type Tensor, tensorFrom } from "../../ir/tensor.js";
import type { GraphPass, Trace } from "../pass.js";
import { splatOf } from "../pattern.js";
import { filled } from "../rules/build.js";
import { contentsOf, limitsOf } from "../values/index.js";

/** Values of the integer, at most. */
const mostValues = 256;
/** Cost of a chain that is worth a list, in operations; expensive ones count several. */
const leastCost = 10;
const expensiveCost = 8;
/** Nodes of a chain, at most: longer ones are cut. */
const mostNodes = 128;

/** What a value is a function of: the integer, and the operations on the way from it, in order. */
interface Chain {
  readonly source: Value;
  readonly nodes: ReadonlySet<GraphNode>;
}

/** Dtypes whose elements kernels read as they are. */
const read = new Set(["f32", "i8", "u8", "i16", "u16", "i32"]);

/** The range of an integer of few values. */
function rangeOf(v: Value): { readonly low: number; readonly high: number } | undefined {
  if (!isInt(v.type.dtype) || v.type.dtype === "i64" || v.type.dtype === "u64") return undefined;
  const { low, high, exact } = contentsOf(v).each;
  return exact === undefined && high - low < mostValues ? { low, high } : undefined;
}

function chainsOf(nodes: readonly GraphNode[]): ReadonlyMap<Value, Chain> {
  const chains = new Map<Value, Chain>();
  const start = (v: Value): Chain | undefined => {
    const known = chains.get(v);
    if (known !== undefined || rangeOf(v) === undefined) return known;
    const chain = { source: v, nodes: new Set<GraphNode>() };
    chains.set(v, chain);
    return chain;
  };
  for (const n of nodes) {
    if (!isElementwise(n.op) || n.op === "bitcast") continue;
    const varying = n.operands.filter((v) => splatOf(v) === undefined);
    const found = varying.map(start);
    const [first] = found;
    if (first === undefined || !found.every((c) => c?.source === first.source)) continue;
    const length = found.reduce((sum, c) => sum + c!.nodes.size, 1);
    if (length > mostNodes) continue;
    chains.set(n.results[0]!, { source: first.source, nodes: new Set([...found.flatMap((c) => [...c!.nodes]), n]) });
  }
  return chains;
}

const costOf = ({ nodes }: Chain): number =>
  [...nodes].reduce((sum, n) => sum + (opOf(n).cost === "expensive" ? expensiveCost : 1), 0);

/** The results of a chain for all values of its source. */
function listOf(result: Value, { source, nodes }: Chain): Tensor {
  const { low, high } = rangeOf(source)!;
  const count = high - low + 1;
  const all = param("q", { dtype: source.type.dtype, shape: [count] });
  const made = new Map<Value, Value>([[source, all]]);
  for (const n of nodes) {
    const operands = n.operands.map((v) => made.get(v) ?? filled(splatOf(v)!.tensor, [count]));
    made.set(n.results[0]!, remake(n, operands).results[0]!);
  }
  const values = Array.from({ length: count }, (_, i) => low + i);
  const known = new Map([[all, tensorFrom(source.type.dtype, [count], values)]]);
  return evaluateValues([made.get(result)!], known, new Map())[0]!;
}

/** The element of a list that belongs to each value of the source, as it is `source` now. */
function lookedUp(list: Tensor, given: Value, source: Value): Value {
  const { low } = rangeOf(given)!;
  const wide = source.type.dtype === "i32" ? source : cast([source], { to: "i32" });
  const place = low === 0 ? wide : sub([wide, filled(scalar("i32", low), source.type.shape)]);
  // Whoever reads the place alone knows by its dtype that it lies inside.
  const byte = low === 0 && source.type.dtype === "u8" ? source : cast([place], { to: "u8" });
  const values = Array.from({ length: mostValues }, (_, k) => Number(list.data[k] ?? 0));
  const fits = (d: DType) => values.every((x) => x >= limitsOf(d).low && x <= limitsOf(d).high);
  const stored = isInt(list.dtype) ? ((["u8", "i8", "i16"] as const).find(fits) ?? list.dtype) : list.dtype;
  const places = cast([byte], { to: "i32" });
  const value = constant([], { value: tensorFrom(stored, [mostValues], values) });
  const y = gather([value, places], { axis: 0, checked: true });
  return stored === list.dtype ? y : cast([y], { to: list.dtype });
}

function tabulateGraph(g: Graph, trace: Trace): Graph {
  const nodes = graphNodes(g);
  const chains = chainsOf(nodes);
  // Values that something reads which is no part of the same chain.
  const ends = new Set<Value>(graphRoots(g));
  for (const n of nodes) {
    const own = chains.get(n.results[0]!);
    for (const v of n.operands) if (own === undefined || chains.get(v)?.source !== own.source) ends.add(v);
  }
  const replaced = new Map<Value, Value>();
  const now = (v: Value) => replaced.get(v) ?? v;
  /** What stands for the node's results, made anew where its operands or regions have been. */
  const remade = (n: GraphNode): readonly Value[] => {
    const operands = n.operands.map(now);
    const regions = n.regions.map((r) => tabulateGraph(r, trace));
    const isSame = operands.every((v, i) => v === n.operands[i]) && regions.every((r, i) => r === n.regions[i]);
    return isSame ? n.results : remake(n, operands, regions).results;
  };
  for (const n of nodes) {
    const [y] = n.results;
    const chain = chains.get(y!);
    const isWorth = chain !== undefined && ends.has(y!) && read.has(y!.type.dtype) && costOf(chain) >= leastCost;
    if (isWorth && trace.mayFire?.("tabulate", n) !== false) {
      trace.fired?.("tabulate", n);
      replaced.set(
        y!,
        withLoc(n.loc, () => lookedUp(listOf(y!, chain), chain.source, now(chain.source))),
      );
      continue;
    }
    remade(n).forEach((v, i) => {
      if (v !== n.results[i]) replaced.set(n.results[i]!, v);
    });
  }
  return replaced.size === 0 ? g : withResults(g, g.results.map(now), sizeFinders(g).map(now));
}

export const tabulate: GraphPass = {
  name: "tabulate",
  rounds: true,
  run: (g, trace = {}) => tabulateGraph(g, trace),
};
