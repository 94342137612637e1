/**
 * Everything that can run a graph and must give what the reference gives. Each variant of the compiler adds itself here; the
 * op suite, and whoever else compares with the reference, goes through the list.
 */

import { type CompileOptions, compile } from "../../compiler/compile.js";
import { type Graph, paramName } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { type Feeds, load } from "../../runtime/index.js";

export interface Executor {
  readonly name: string;
  /** Results of the graph. Throws where it cannot run it. */
  readonly run: (g: Graph, feeds: readonly Tensor[]) => Promise<readonly Tensor[]>;
}

/** Compiles the graph, loads the artefact and runs it once. */
function compiled(name: string, threads: number, options: CompileOptions): Executor {
  return {
    name,
    run: async (g, feeds) => {
      const session = await load(await compile(g, options), { threads });
      try {
        const named = Object.fromEntries(g.params.map((p, i) => [paramName(p), feeds[i]!]));
        const outputs = await session.run(named as Feeds);
        return g.resultNames.map((n) => outputs[n] as Tensor);
      } finally {
        session.dispose();
      }
    },
  };
}

export const executors: readonly Executor[] = [
  compiled("simd128", 1, { variants: ["simd128"] }),
  compiled("simd128-threads", 2, { variants: ["simd128-threads"] }),
];
