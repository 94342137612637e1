/**
 * Random graphs through every pass and the default pipeline: results are those of the graph as given, bit for bit (where a pass
 * rounds, as near as rounding explains), and the verifier holds after each pass. WASMITH_FUZZ_RUNS and WASMITH_FUZZ_SEED ask for more or other graphs.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPipeline, graphPasses } from "../../compiler/pipeline.js";
import { ModelError } from "../../ir/errors.js";
import type { Graph } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import type { GraphPass } from "../../passes/pass.js";
import { runPipeline } from "../../passes/pipeline.js";
import { disagreement } from "../ops/accuracy.js";
import { growGraph } from "./generate.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";
import { sensitivityOf, unexplained } from "./sensitivity.js";

const runs = fuzzRuns("WASMITH_FUZZ_RUNS", 2000);
const seed = fuzzSeed("passes");

// Without bias: small seeds and short lists are no better here than others.
const number = fc.noBias(fc.nat());
const grown = fc.tuple(number, fc.noBias(fc.array(number, { minLength: 1, maxLength: 20, size: "max" })));

/** Results of the reference, or undefined where the graph refuses these values. */
function results(g: Graph, feeds: readonly Tensor[]): readonly Tensor[] | undefined {
  try {
    return evaluate(g, feeds);
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

function check(
  g: Graph,
  feeds: readonly Tensor[],
  want: readonly Tensor[],
  passes: readonly GraphPass[],
  what: string,
): void {
  const after = runPipeline(passes, g, { verify: true });
  if (after === g) return;
  const got = evaluate(after, feeds);
  const differing = want.map((w, i) => disagreement(got[i]!, w, "exact")).find((d) => d !== undefined);
  if (differing === undefined) return;
  const wrong = passes.some((p) => p.rounds) ? beyondRounding(g, feeds, want, got) : differing;
  if (wrong !== undefined) {
    throw new Error(`${what}: ${wrong}\n${printGraph(g)}\nbecame\n${printGraph(after)}`);
  }
}

/** What results differ in more than rounding explains. */
function beyondRounding(
  g: Graph,
  feeds: readonly Tensor[],
  want: readonly Tensor[],
  got: readonly Tensor[],
): string | undefined {
  const near = sensitivityOf(g, feeds);
  return near && unexplained(got, want, near);
}

const exact = (passes: readonly GraphPass[]) => passes.filter((p) => !p.rounds);

const pipelines: readonly (readonly [string, readonly GraphPass[]])[] = [
  ...[...graphPasses].filter(([name]) => name !== "relaxed-math").map(([name, pass]) => [name, [pass]] as const),
  ["default pipeline but what rounds", exact(defaultPipeline)] as const,
  ["default pipeline", defaultPipeline] as const,
];

describe("random graphs", () => {
  it(`${runs} graphs keep their results through every pass`, { timeout: 600_000 }, () => {
    let refused = 0;
    fc.assert(
      fc.property(grown, ([start, list]) => {
        const { graph: g, feeds } = growGraph(start, list);
        const want = results(g, feeds);
        if (want === undefined) {
          refused++;
          return;
        }
        verifyGraph(g);
        const text = printGraph(g);
        if (printGraph(parseGraph(text)) !== text) throw new Error(`the text form is not stable:\n${text}`);
        for (const [name, passes] of pipelines) check(g, feeds, want, passes, name);
      }),
      { numRuns: runs, seed, endOnFailure: false },
    );
    expect(refused / runs).toBeLessThan(0.05);
  });

  it("grows the same graph from the same seed", () => {
    const list = [1, 2, 3, 4, 5, 6, 7, 8];
    expect(printGraph(growGraph(9, list).graph)).toBe(printGraph(growGraph(9, list).graph));
  });
});
