import { describe, expect, it } from "vitest";
import { type Attrs, type Graph, graphSymbols } from "../../ir/graph.js";
import type { OpFacts } from "../../ir/op.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { disagreement } from "./accuracy.js";
import { allOps, joinGraphs, samplesOf, symbolicGraph } from "./draw.js";
import { executors } from "./executors.js";

/** A sample's graph, with sizes as they are or symbolic. */
interface Case {
  readonly label: string;
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
}

/**
 * What is compiled together: all samples of an op with fixed sizes, all with symbolic ones. Samples that find a size of their
 * own, or wait for one, stand alone.
 */
function batches(op: OpFacts<string, Attrs>): readonly (readonly Case[])[] {
  const fixed: Case[] = [];
  const open: Case[] = [];
  const alone: Case[][] = [];
  for (const drawn of samplesOf(op)) {
    const { graph, feeds, index } = drawn;
    const made = { label: `sample ${index}`, graph, feeds };
    if (graphSymbols(graph).size > 0) alone.push([made]);
    else fixed.push(made);
    const symbolic = symbolicGraph(drawn);
    if (symbolic === undefined || graphSymbols(symbolic).size === 0 || drawn.sample.attrs.defines !== undefined)
      continue;
    open.push({ label: `sample ${index} with symbolic sizes`, graph: symbolic, feeds });
  }
  return [fixed, open, ...alone].filter((b) => b.length > 0);
}

describe.each(executors)("$name", ({ run }) => {
  it.each(allOps)("%s", async (_, op) => {
    for (const batch of batches(op)) {
      const joined = joinGraphs(
        op.name,
        batch.map((c) => c.graph),
      );
      const got = await run(
        joined,
        batch.flatMap((c) => c.feeds),
      );
      let at = 0;
      for (const { graph, feeds, label } of batch) {
        for (const want of evaluate(graph, feeds)) {
          expect(disagreement(got[at++]!, want, op.accuracy), label).toBeUndefined();
        }
      }
    }
  });
});

describe("accuracy", () => {
  const { f32 } = {
    f32: (...v: number[]) => ({ dtype: "f32" as const, shape: [v.length], data: Float32Array.from(v) }),
  };
  it("tells what agrees from what does not", () => {
    expect(disagreement(f32(1), f32(1), "exact")).toBeUndefined();
    expect(disagreement(f32(-0), f32(0), "exact")).toBeDefined();
    expect(disagreement(f32(Number.NaN), f32(Number.NaN), "exact")).toBeUndefined();
    expect(disagreement(f32(1 + 2 ** -23), f32(1), { ulp: 1 })).toBeUndefined();
    expect(disagreement(f32(1 + 2 ** -22), f32(1), { ulp: 1 })).toBeDefined();
    expect(disagreement(f32(Infinity), f32(3e38), { rtol: 1, atol: 1 })).toBeDefined();
    expect(disagreement(f32(1, 2), f32(1), "exact")).toBeDefined();
  });
});
