/**
 * What is known of the numbers that values hold: the one symbolic evaluation of tensors.
 *
 * Exporters compute shapes with tensors: `Shape → Gather → Cast → Div → Floor → Cast → Concat → Reshape`. The elements of small
 * values are followed through the graph, each as a number, an expression over sizes, or bounds; of large values what holds of
 * every element. What is constant is left to the reference evaluator. Import and the passes share what is found, since values
 * never change: each node is visited once.
 */

import type { Dim } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { definedSymbols, type GraphNode, isStaticShape, type Value } from "../../ir/graph.js";
import { evaluateValues } from "../../ir/reference.js";
import { elementCount, type Tensor } from "../../ir/tensor.js";
import { type Contents, contentsOfTensor, elementsOf, fewElements, tensorOf, unknownContents } from "./contents.js";
import { dimOf, type Fact } from "./fact.js";
import { exactOf, fractionOf, multiplyFractions } from "./ratio.js";
import { hasSymbols } from "./structure.js";
import { needsOf, resultContents } from "./table.js";

export type { Contents } from "./contents.js";
export { dimOf, type Exact, type Fact, limitsOf, MOST_EXACT, type Ratio, upperDim } from "./fact.js";

const found = new WeakMap<GraphNode, readonly Contents[]>();

const known = (v: Value): Contents | undefined =>
  v.def.op === "param" ? unknownContents(v.type.dtype) : found.get(v.def)?.[v.index];

/** What is known of a value. */
export function contentsOf(v: Value): Contents {
  const ready = known(v);
  if (ready !== undefined) return ready;
  const stack: GraphNode[] = [v.def as GraphNode];
  while (stack.length > 0) {
    const n = stack.at(-1)!;
    const needs = needsOf(n);
    let complete = found.has(n);
    if (!complete) {
      const before = stack.length;
      for (const need of needs) if (need.def.op !== "param" && !found.has(need.def)) stack.push(need.def);
      complete = stack.length === before;
      if (complete) found.set(n, contentsOfNode(n, needs));
    }
    if (complete) stack.pop();
  }
  return known(v)!;
}

function contentsOfNode(n: GraphNode, needs: readonly Value[]): readonly Contents[] {
  if (n.op === "constant") return [contentsOfTensor(n.attrs.value)];
  const needed = needs.map((v) => known(v)!);
  const [result] = n.results;
  const foldable = n.results.length === 1 && n.regions.length === 0 && needs === n.operands && needs.length > 0;
  if (foldable && fewElements(result!) !== undefined && needed.every((c) => c.tensor !== undefined)) {
    const tensor = evaluated(n, new Map(n.operands.map((v, i) => [v, needed[i]!.tensor!])));
    if (tensor) return [contentsOfTensor(tensor)];
  }
  return resultContents(n, needed);
}

/** The node's result by the reference evaluator; undefined where its op refuses the values, which is for the run to report. */
function evaluated(n: GraphNode, operands: Map<Value, Tensor>): Tensor | undefined {
  try {
    return evaluateValues([n.results[0]!], operands, new Map())[0];
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

/** What is known of each element of a small value; undefined for others. */
export function factsOf(v: Value): readonly Fact[] | undefined {
  return fewElements(v) === undefined ? undefined : elementsOf(v, contentsOf(v));
}

/** Of a value of one element. */
export function factOf(v: Value): Fact | undefined {
  const facts = factsOf(v);
  return facts?.length === 1 ? facts[0] : undefined;
}

/** The elements of a small value as integers or expressions over sizes; undefined where they are not known. */
export const dimsOf = (v: Value): readonly (Dim | undefined)[] | undefined => factsOf(v)?.map(dimOf);

/** A size times a number that comes of sizes, where that is whole but for rounding. */
export function sizeTimes(size: Dim, { exact }: Fact): Dim | undefined {
  const fraction = exact === undefined ? undefined : fractionOf(exact);
  if (fraction === undefined) return undefined;
  const made = exactOf(multiplyFractions({ num: size, den: 1 }, fraction));
  return typeof made === "number"
    ? Number.isInteger(made)
      ? made
      : undefined
    : made?.kind === "dim"
      ? made
      : undefined;
}

/** Larger values are computed for their contents only by passes, within budgets. */
const MOST_FOLDED = 1 << 16;

const folded = new WeakMap<Value, { readonly tensor: Tensor | undefined }>();

/** The value as a tensor, if all of it follows from constants or fixed sizes. */
export function constantOf(v: Value): Tensor | undefined {
  const stack = [v];
  const visit = (w: Value): { readonly tensor: Tensor | undefined } | undefined => {
    const { def } = w;
    if (def.op === "param") return { tensor: undefined };
    if (def.op === "constant") return { tensor: def.attrs.value };
    const ready = folded.get(w);
    if (ready) return ready;
    const small = fewElements(w) === undefined ? undefined : tensorOf(w, contentsOf(w));
    const count = isStaticShape(w.type.shape) ? elementCount(w.type.shape) : Infinity;
    const fixed =
      def.regions.length > 0 || def.results.length !== 1 || definedSymbols(def).length > 0 || count > MOST_FOLDED;
    if (small || fixed || hasSymbols(def)) return { tensor: small };
    const operands = new Map<Value, Tensor>();
    for (const operand of def.operands) {
      const own = operand.def.op === "constant" ? { tensor: operand.def.attrs.value } : folded.get(operand);
      if (own === undefined && operand.def.op !== "param") {
        stack.push(operand);
        return undefined;
      }
      if (!own?.tensor || own.tensor.data.length > MOST_FOLDED) return { tensor: undefined };
      operands.set(operand, own.tensor);
    }
    return { tensor: evaluated(def, operands) };
  };
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const made = visit(top);
    if (made === undefined) continue;
    folded.set(top, made);
    stack.pop();
  }
  return folded.get(v)!.tensor;
}
