/**
 * Random groups of elementwise ops, reductions and movements, with most values as results: kernel by kernel, in the groups that
 * the pipeline makes, and as one fusion node of whatever form, at several sizes in one session. WASMITH_FUZZ_GROUPS and
 * WASMITH_FUZZ_SEED ask for more or others.
 */

import { describe, it } from "vitest";
import { kernels } from "../../compiler/lower/table.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { inlinableMath } from "../../compiler/wasm/math.js";
import type { Graph } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { evaluate } from "../../ir/reference.js";
import { element } from "../../ir/tensor.js";
import { fuse } from "../../passes/graph/fuse.js";
import { loopPassesWith, loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { type RunOptions, runAll } from "../lower/run.js";
import { growAndCheck } from "./batch.js";
import { type Fusible, fusedWhole, growFusible } from "./fusible.js";
import { fuzzRuns } from "./seed.js";

const count = fuzzRuns("WASMITH_FUZZ_GROUPS", 20, 200);
const passes = loopPassesWith(inlinableMath);
const optimize: RunOptions["optimize"] = (fn) => loopPipeline(fn, { passes });

async function check(
  list: readonly Fusible[],
  prepare: (g: Graph) => Graph,
  options: RunOptions,
): Promise<readonly (string | undefined)[]> {
  const got = await runAll(
    list.map(({ graph, runs }) => ({ graph: prepare(graph), runs })),
    options,
  );
  return list.map(({ graph, runs, reach }, k) => {
    for (const [r, feeds] of runs.entries()) {
      const want = evaluate(graph, feeds);
      for (const [i, w] of want.entries()) {
        const g = got[k]![r]![i]!;
        if (g.dtype !== w.dtype || g.shape.join() !== w.shape.join()) return `result ${i} is ${g.dtype}[${g.shape}]`;
        for (let e = 0; e < w.data.length; e++) {
          const [x, y] = [element(g, e), element(w, e)];
          // A sum may be −0 where the reference has 0.
          if (!(Math.abs(x - y) <= 2 * reach[i]!))
            return `run ${r} on [${feeds.map((f) => `[${f.shape}]`)}]: result ${i}, element ${e} is ${x} instead of ${y} ± ${reach[i]}`;
        }
      }
    }
    return undefined;
  });
}

const forms: readonly (readonly [string, (g: Graph) => Graph, RunOptions])[] = [
  ["node by node", (g) => g, { optimize }],
  ["fused", (g) => fuse(kernels).run(g), { optimize }],
  ["through the pipeline", (g) => runPipeline(defaultPipeline, g, { verify: true }), { optimize }],
  ["as one fusion", fusedWhole, { optimize }],
  ["as one fusion, kernels as lowered, on two threads", fusedWhole, { threads: 2 }],
];

describe.each([
  ["static", { symbolic: false }],
  ["symbolic", { symbolic: true }],
  ["symbolic or empty", { symbolic: true, empty: true }],
] as const)("random groups, %s", (sizes, options) => {
  it.each(forms)("%s", { timeout: 900_000 }, async (form, prepare, how) => {
    await growAndCheck({
      name: `groups of ${sizes} sizes, ${form}`,
      count,
      batch: 20,
      steps: 14,
      grow: (seed, steps) =>
        growFusible(seed, steps, { ...options, writers: seed % 4 === 0, products: seed % 3 === 0 }),
      check: (list) => check(list, prepare, how),
      show: ({ graph }) => printGraph(prepare(graph)),
    });
  });
});
