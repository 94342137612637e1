/** Finds where a compiled graph departs from the reference evaluator. */

import { type Graph, graph, graphNodes, paramName, type Value } from "../../ir/graph.js";
import { bindShape, type DimBindings, evaluateValues } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import type { Session } from "../../runtime/index.js";
import { defaultPipeline } from "../pipeline.js";
import { compareTensors, type Difference, describeDifference, largestOf } from "./compare.js";

type Tensors = Readonly<Record<string, Tensor>>;

/** Compiles a graph, leaving out graph passes by name, and loads it. */
export type OpenGraph = (g: Graph, skipPasses?: readonly string[]) => Promise<Session>;

export type Divergence =
  /** The first node whose result differs. */
  | { readonly kind: "node"; readonly node: string; readonly op: string; readonly difference: Difference | string }
  /** Outputs differ, but no node does while all results are kept. Passes without which the output is right. */
  | {
      readonly kind: "pass";
      readonly output: string;
      readonly difference: Difference | string;
      readonly passes: readonly string[];
    }
  /** The compiled graph agrees with the reference evaluator. */
  | { readonly kind: "none" };

/** The last value of each named place (layer, ONNX node), in the order of computation. */
function namedValues(g: Graph): readonly { readonly loc: string; readonly value: Value }[] {
  const last = new Map<string, Value>();
  for (const node of graphNodes(g)) {
    if (node.loc === undefined || node.operands.length === 0) continue;
    last.delete(node.loc);
    last.set(node.loc, node.results[0]!);
  }
  return [...last].map(([loc, value]) => ({ loc, value }));
}

/** Kernels compute in f32 what the evaluator computes in f64; quantised values may fall to either side of a tie. */
const differs = (got: Tensor, want: Tensor): Difference | string | undefined =>
  want.dtype === "i8" || want.dtype === "u8"
    ? compareTensors(got, want, 0, 1)
    : compareTensors(got, want, 1e-3, 1e-4 * Math.max(largestOf(want), 1e-3));

/**
 * Compiles the graph with every named value as a result and compares each, in order, with what the evaluator makes of the
 * compiled values before it, up to the first that differs.
 *
 * @param onPlace told which of how many values is next: the evaluator may take long
 */
export async function findDivergence(
  g: Graph,
  feeds: Tensors,
  open: OpenGraph,
  onPlace: (index: number, count: number) => void = () => {},
): Promise<Divergence> {
  const places = namedValues(g);
  const values = places.map((p) => p.value);
  const names = places.map((_, i) => `place${i}`);
  const probe = graph(`${g.name}_probe`, g.params, values, names, undefined, g.sizes ?? []);
  const run = async (of: Graph, skip?: readonly string[]): Promise<Tensors> => {
    const session = await open(of, skip);
    try {
      return (await session.run(feeds as never)) as Tensors;
    } finally {
      session.dispose();
    }
  };
  const got = await run(probe);
  const dims: DimBindings = new Map();
  const known = new Map<Value, Tensor>();
  for (const p of g.params) {
    const feed = feeds[paramName(p)]!;
    bindShape(p.type.shape, feed.shape, dims);
    known.set(p, feed);
  }
  evaluateValues(g.sizes ?? [], known, dims);
  for (const [i, { loc, value }] of places.entries()) {
    onPlace(i, places.length);
    const [want] = evaluateValues([value], known, dims) as [Tensor];
    const difference = differs(got[names[i]!]!, want);
    if (difference) return { kind: "node", node: loc, op: value.def.op, difference };
    // What follows is computed from what was compiled, so that small differences do not add up.
    known.set(value, got[names[i]!]!);
  }
  const wanted = evaluateValues(g.results, known, dims);
  const firstWrong = (outputs: Tensors) =>
    g.resultNames
      .map((output, i) => ({ output, difference: differs(outputs[output]!, wanted[i]!) }))
      .find((o) => o.difference !== undefined);
  const wrong = firstWrong(await run(g));
  if (!wrong) return { kind: "none" };
  // Kept results keep nodes from being fused or rewritten: one of the passes that do so is at fault.
  const optional = new Set(defaultPipeline.map((p) => p.name).filter((name) => name !== "decompose"));
  const passes: string[] = [];
  for (const name of optional) if (!firstWrong(await run(g, [name]))) passes.push(name);
  return { kind: "pass", output: wrong.output, difference: wrong.difference!, passes };
}

export function describeDivergence(d: Divergence): string {
  switch (d.kind) {
    case "node":
      return `first node that differs from the reference evaluator: ${d.node} (${d.op}): ${describeDifference(d.difference)}`;
    case "pass": {
      const found =
        d.passes.length > 0
          ? `it agrees without the ${d.passes.length > 1 ? "passes" : "pass"} ${d.passes.join(" or ")}`
          : "no single pass explains it";
      return (
        `every node agrees with the reference evaluator while its result is kept, but output ${d.output} does not: ` +
        `${describeDifference(d.difference)}; ${found}: this is a bug in wasmith`
      );
    }
    case "none":
      return "every node agrees with the reference evaluator: the import, the recording or the tolerance is at fault, not the compilation";
  }
}
