/** Compiles many small graphs into one module and runs them, without the graph passes of `compile`. */

import { assemble } from "../../compiler/assemble.js";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import type { Tuner } from "../../compiler/lower/core/tuner.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import type { KernelRegistry } from "../../compiler/lower/registry.js";
import { type Graph, paramName } from "../../ir/graph.js";
import type { LoopFunction } from "../../ir/loop.js";
import type { Tensor } from "../../ir/tensor.js";
import { sealArtifact } from "../../runtime/encode.js";
import { load } from "../../runtime/index.js";

export interface Case {
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
}

export interface RunOptions {
  /** Default: kernels stay as lowering made them. */
  readonly optimize?: (fn: LoopFunction) => LoopFunction;
  readonly threads?: number;
  /** Default: all that there are. */
  readonly kernels?: KernelRegistry;
}

/** A graph, and what to run it on, one after the other in one session. */
export interface Runs {
  readonly graph: Graph;
  readonly runs: readonly (readonly Tensor[])[];
  readonly tuner?: Tuner;
}

/** Results of each case, in order. */
export async function runCases(
  cases: readonly Case[],
  options: RunOptions = {},
): Promise<readonly (readonly Tensor[])[]> {
  const runs = cases.map(({ graph, feeds }) => ({ graph, runs: [feeds] }));
  return (await runAll(runs, options)).map(([only]) => only!);
}

/** Results of each run of each graph, in order. */
export async function runAll(
  list: readonly Runs[],
  options: RunOptions = {},
): Promise<readonly (readonly (readonly Tensor[])[])[]> {
  if (list.length === 0) return [];
  const pool = new KernelPool();
  const among = options.kernels ? { kernels: options.kernels } : {};
  const schedules = list.map(({ graph, tuner }, i) =>
    lowerGraph({ ...graph, name: `entry${i}` }, { pool, ...among, ...(tuner ? { tuner } : {}) }),
  );
  const threaded = (options.threads ?? 1) > 1;
  const made = assemble(
    schedules,
    { entries: {}, state: [] },
    {
      name: "cases",
      variants: threaded ? ["simd128", "simd128-threads"] : ["simd128"],
      maxThreads: options.threads ?? 1,
      maxMemoryBytes: 2 ** 30,
      optimizeKernel: (fn: LoopFunction) => {
        return options.optimize?.(fn) ?? fn;
      },
      producer: "test",
    },
  );
  const artifact = await sealArtifact(made.draft, made.wasm, made.weights);
  const session = await load(artifact, { threads: options.threads ?? 1 });
  const all: (readonly (readonly Tensor[])[])[] = [];
  try {
    for (const [i, { graph, runs }] of list.entries()) {
      const results: (readonly Tensor[])[] = [];
      for (const feeds of runs) {
        const named = Object.fromEntries(graph.params.map((p, k) => [paramName(p), feeds[k]!]));
        const out = await session.run(named as Parameters<typeof session.run>[0], { entry: `entry${i}` });
        results.push(graph.resultNames.map((n) => out[n] as Tensor));
      }
      all.push(results);
    }
  } finally {
    session.dispose();
  }
  return all;
}
