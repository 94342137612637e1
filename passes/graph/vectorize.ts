/**
 * A function of one sample over a batch of them: every op takes all samples at once, along a new first axis (JAX's vmap).
 *
 *   %y = scan(%x){ (row) → tanh(row · W) }   ⇒   %y = tanh(%x · W)
 *
 * The rule of each op stands in `vectorize-rules.ts`. What the samples have in common is computed once.
 */

import { type Dim, dimBounds } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { type Graph, type GraphNode, graphNodes, type Value } from "../../ir/graph.js";
import { copyGraph, remake, sizeFinders } from "../../ir/graph-rebuild.js";
import { broadcast } from "../../ir/ops/movement.js";
import { decompose } from "./decompose.js";
import { type Batch, ruleOf } from "./vectorize-rules.js";

/** One value of the function: of all samples along the first axis, or the same for each. */
export interface Given {
  readonly value: Value;
  readonly batched: boolean;
}

/**
 * Results of the function for all samples, each with the samples along a new first axis. Undefined where an op has no rule for that.
 * @param size number of samples
 */
export function vectorize(f: Graph, args: readonly Given[], size: Dim): readonly Value[] | undefined {
  if (sizeFinders(f).length > 0) return undefined;
  const g = copyGraph(decompose().run(f));
  const now = new Map<Value, Given>(g.params.map((p, i) => [p, args[i]!]));
  for (const node of graphNodes(g)) {
    const operands = node.operands.map((v) => now.get(v)!);
    const results = resultsOf(node, operands, size);
    if (results === undefined) return undefined;
    node.results.forEach((r, i) => {
      now.set(r, results[i]!);
    });
  }
  return g.results.map((v) => spread(now.get(v)!, size));
}

function resultsOf(node: GraphNode, operands: readonly Given[], size: Dim): readonly Given[] | undefined {
  const values = operands.map((o) => o.value);
  if (!operands.some((o) => o.batched)) return remake(node, values).results.map((value) => ({ value, batched: false }));
  const batch: Batch = {
    size,
    values,
    batched: operands.map((o) => o.batched),
    all: () => operands.map((o) => spread(o, size)),
  };
  return ruleOf(node)?.(node, batch)?.map((value) => ({ value, batched: true }));
}

/** What a call of a kernel costs beside its work, in bytes of memory that could be read meanwhile. */
const bytesOfCall = 2000;

/**
 * Whether the function takes less time over all samples at once than over one after the other. One by one, a sample's values stay in the
 * caches, but each product reads what the samples share again, for the rows of one sample; at once, those are read once, but
 * all samples' values go through memory from op to op. Both write the results.
 */
export function isFasterAtOnce(f: Graph, batched: readonly boolean[]): boolean {
  const g = decompose().run(f);
  const own = new Set(g.params.filter((_, i) => batched[i]));
  let [apart, atOnce] = [0, 0];
  for (const { op, operands, results } of graphNodes(g)) {
    if (!operands.some((v) => own.has(v))) continue;
    for (const r of results) own.add(r);
    if (!callsKernels.has(op)) continue;
    apart += bytesOfCall;
    for (const v of operands) {
      if (own.has(v)) atOnce += bytesOf(v);
      else if (op === "dotGeneral") apart += bytesOf(v);
    }
    for (const r of results) if (!g.results.includes(r)) atOnce += bytesOf(r);
  }
  return apart >= atOnce;
}

/** Ops that read and write memory, where others are fused with them. */
const callsKernels: ReadonlySet<string> = new Set([
  "dotGeneral",
  "conv",
  "convInputGrad",
  "convWeightGrad",
  "maxPool",
  "maxPoolGrad",
  "windowSum",
  "windowSumGrad",
  "gather",
  "scatterND",
  "sum",
  "reduceMax",
]);

const bytesOf = ({ type: { dtype, shape } }: Value): number =>
  shape.reduce<number>((n, d) => n * dimBounds(d).min, dtypeInfo[dtype].bytes);

/** Along the axis of samples. */
function spread({ value, batched }: Given, size: Dim): Value {
  const { shape } = value.type;
  return batched ? value : broadcast([value], { shape: [size, ...shape], axes: shape.map((_, a) => a + 1) });
}
