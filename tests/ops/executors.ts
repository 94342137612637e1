/**
 * Everything that can run a graph and must give what the reference gives. Each variant of the compiler adds itself here; the
 * op suite, and whoever else compares with the reference, goes through the list.
 */

import { compile } from "../../compiler/compile.js";
import { type Attrs, type Graph, graphSymbols, paramName } from "../../ir/graph.js";
import type { OpFacts } from "../../ir/op.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { type Feeds, load, type VariantId } from "../../runtime/index.js";
import { disagreement } from "./accuracy.js";
import { joinGraphs, samplesOf, symbolicGraph } from "./draw.js";
import { strangeNans, withNans } from "./nan-feeds.js";

export interface Executor {
  readonly name: string;
  /** Results of the graph. Throws where it cannot run it. */
  readonly run: (g: Graph, feeds: readonly Tensor[]) => Promise<readonly Tensor[]>;
}

interface Compiled extends Executor {
  /** What runs the graph any number of times. */
  readonly open: (g: Graph) => Promise<Opened>;
}

interface Opened {
  readonly run: (feeds: readonly Tensor[]) => Promise<readonly Tensor[]>;
  readonly dispose: () => void;
}

/** Compiles the graph, loads the artefact and runs it. */
function compiled(variant: VariantId, threads: number): Compiled {
  const open = async (g: Graph): Promise<Opened> => {
    const session = await load(await compile(g, { variants: [variant] }), { threads, variant });
    return {
      run: async (feeds) => {
        const named = Object.fromEntries(g.params.map((p, i) => [paramName(p), feeds[i]!]));
        const outputs = await session.run(named as Feeds, { maxSeconds: 60 });
        return g.resultNames.map((n) => outputs[n] as Tensor);
      },
      dispose: () => session.dispose(),
    };
  };
  return {
    name: variant,
    open,
    run: async (g, feeds) => {
      const opened = await open(g);
      try {
        return await opened.run(feeds);
      } finally {
        opened.dispose();
      }
    },
  };
}

export const executors: readonly Compiled[] = [compiled("simd128", 1), compiled("simd128-threads", 2)];

/** Those of an engine with relaxed SIMD. */
export const relaxedExecutors: readonly Compiled[] = [compiled("relaxed", 1), compiled("relaxed-threads", 2)];

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
export function batchesOf(op: OpFacts<string, Attrs>): readonly (readonly Case[])[] {
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

/** Where the results of an op's samples are further from the reference than the op allows, or have NaNs of other bits. */
export async function disagreements({ open }: Compiled, op: OpFacts<string, Attrs>): Promise<readonly string[]> {
  const found: string[] = [];
  for (const batch of batchesOf(op)) {
    const joined = joinGraphs(
      op.name,
      batch.map((c) => c.graph),
    );
    const opened = await open(joined);
    try {
      const got = await opened.run(batch.flatMap((c) => c.feeds));
      let at = 0;
      for (const { graph, feeds, label } of batch) {
        for (const want of evaluate(graph, feeds)) {
          const problem = disagreement(got[at++]!, want, op.accuracy);
          if (problem !== undefined) found.push(`${label}: ${problem}`);
        }
      }
      const noisy = await opened.run(batch.flatMap((c) => c.feeds.map(withNans)));
      found.push(...noisy.flatMap((t, i) => strangeNans(t).map((problem) => `result ${i} of NaNs: ${problem}`)));
    } finally {
      opened.dispose();
    }
  }
  return found;
}
