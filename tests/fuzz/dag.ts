/**
 * Chains and DAGs of any ops, most inner values of which are results, with or without gradients: compiled once, several as entries of
 * one program, run at several sizes in one session, by every variant that this engine has, on one thread and on two.
 */

import { compile } from "../../compiler/compile.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, graphNodes, paramName, type Value } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { cast } from "../../ir/ops/cast.js";
import { add, mul } from "../../ir/ops/elementwise.js";
import { sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { bytesOf, type Tensor } from "../../ir/tensor.js";
import { differentiate } from "../../passes/graph/differentiate.js";
import type { VariantId } from "../../runtime/format.js";
import { type Feeds, load, type Session } from "../../runtime/index.js";
import { obstacle } from "../../runtime/platform.js";
import { seeded } from "../graph/random.js";
import { growGraph, type RandomGraph, type Sizes } from "./generate.js";
import { type Sensitivity, sensitivityOf, unexplained } from "./sensitivity.js";

export interface Dag {
  readonly graph: Graph;
  readonly runs: readonly (readonly Tensor[])[];
}

/** A graph of the steps and feeds of several sizes. Every third has gradients of its parameters as further results, where they exist. */
export function growDag(seed: number, steps: readonly number[]): Dag {
  const withGradients = seed % 3 === 0;
  const grown = growGraph(seed, steps, { results: 0.6, mild: withGradients });
  const random = seeded(seed ^ 0xda6);
  const below = (k: number): number => Math.floor(random() * k);
  const sizes: readonly Sizes[] = [
    { n: 1 + below(4), m: below(5) },
    { n: 1 + below(30), m: below(41) },
    { n: 1, m: 1 },
  ];
  const runs = [grown.feeds, ...sizes.map((s) => grown.feedsAt(s, seed))];
  return { graph: withGradients ? withGradientsOf(grown) : grown.graph, runs };
}

/** The gradients of the sum of squares of all results that are floats; the graph itself where an op has none. */
function withGradientsOf({ graph: g }: RandomGraph): Graph {
  const squares = g.results.flatMap((r): Value[] => {
    if (!isFloat(r.type.dtype)) return [];
    const wide = r.type.dtype === "f32" ? r : cast([r], { to: "f32" });
    return [sum([mul([wide, wide])], { axes: [...r.type.shape.keys()], keepDims: false })];
  });
  const wrt = g.params.filter((p) => isFloat(p.type.dtype)).map(paramName);
  if (squares.length === 0 || wrt.length === 0) return g;
  try {
    const loss = squares.reduce((a, b) => add([a, b]));
    const names = [...g.resultNames, "loss"];
    return differentiate(graph(g.name, g.params, [...g.results, loss], names, undefined, g.sizes), {
      of: "loss",
      wrt,
      unused: "zero",
    });
  } catch (error) {
    if (error instanceof ModelError) return g;
    throw error;
  }
}

interface Executor {
  readonly variant: VariantId;
  readonly threads: number;
}

const baseline: readonly Executor[] = [
  { variant: "simd128", threads: 1 },
  { variant: "simd128-threads", threads: 1 },
  { variant: "simd128-threads", threads: 2 },
];
const relaxed: readonly Executor[] = [
  { variant: "relaxed", threads: 1 },
  { variant: "relaxed-threads", threads: 1 },
  { variant: "relaxed-threads", threads: 2 },
];

/** Teams of executors whose results are the same bits. */
export const teams: readonly (readonly Executor[])[] = [baseline, relaxed].map((team) =>
  team.filter((e) => obstacle(e.variant) === null),
);

const sameBits = (a: Tensor, b: Tensor): boolean =>
  a.dtype === b.dtype && a.shape.join() === b.shape.join() && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

interface Case {
  readonly dag: Dag;
  /** The entry's name. */
  readonly entry: string;
  readonly runs: readonly { readonly feeds: readonly Tensor[]; readonly wanted: Wanted }[];
}

/**
 * What is wrong with what each graph gives, if anything; "refused" where it refuses all feeds. The graphs are entries of one program,
 * whose sessions run them in turn. Throws where one cannot be compiled or run.
 */
export async function checkDags(dags: readonly Dag[]): Promise<readonly (string | undefined)[]> {
  const cases = dags.map((dag, i): Case => {
    const runs = dag.runs.flatMap((feeds) => {
      const wanted = reference(dag.graph, feeds);
      return wanted === undefined ? [] : [{ feeds, wanted }];
    });
    return { dag, entry: `dag${i}`, runs };
  });
  const found = cases.map((c): string | undefined => (c.runs.length === 0 ? "refused" : undefined));
  const accepted = cases.filter((c) => c.runs.length > 0);
  if (accepted.length === 0) return found;
  const used = teams.filter((t) => t.length > 0);
  const variants = [...new Set(used.flatMap((t) => t.map((e) => e.variant)))];
  const entries = Object.fromEntries(accepted.map((c) => [c.entry, c.dag.graph]));
  const artifact = await compile({ entries, state: [] }, { variants });
  for (const team of used) {
    const first = new Map<Case, (readonly Tensor[])[]>(accepted.map((c) => [c, []]));
    for (const executor of team) {
      const session = await load(artifact, executor);
      try {
        // Entry by entry at one size after the other: each finds the arena as others left it.
        for (let i = 0; accepted.some((c) => i < c.runs.length); i++) {
          for (const c of accepted) {
            if (i >= c.runs.length) continue;
            const wrong = await runCase(session, executor, team[0]!, c, i, first.get(c)!);
            found[cases.indexOf(c)] ??= wrong;
          }
        }
      } finally {
        session.dispose();
      }
    }
  }
  return found;
}

/** What is wrong with run i of a graph, beside what the reference and the first executor of its team gave. */
async function runCase(
  session: Session,
  { variant, threads }: Executor,
  leader: Executor,
  { dag: { graph: g }, entry, runs }: Case,
  i: number,
  first: (readonly Tensor[])[],
): Promise<string | undefined> {
  const { feeds, wanted } = runs[i]!;
  const named = Object.fromEntries(g.params.map((p, k) => [paramName(p), feeds[k]!]));
  const outputs = await session.run(named as Feeds, { entry });
  const got = g.resultNames.map((n) => outputs[n] as Tensor);
  const where = `${variant} on ${threads} at [${feeds.map((f) => `[${f.shape}]`)}]`;
  const before = first[i];
  first[i] ??= got;
  if (before === undefined) {
    const wrong = unexplained(got, wanted.exact, wanted.near);
    return wrong && `${where}: ${wrong}`;
  }
  const other = got.findIndex((t, k) => !sameBits(t, before[k]!));
  if (other < 0) return undefined;
  return `${where}: result ${g.resultNames[other]} has other bits than ${leader.variant} on ${leader.threads}`;
}

interface Wanted {
  readonly exact: readonly Tensor[];
  readonly near: Sensitivity;
}

/** Undefined where the graph refuses the feeds, or where sums overflow on the way. */
function reference(g: Graph, feeds: readonly Tensor[]): Wanted | undefined {
  try {
    const near = sensitivityOf(g, feeds);
    return near && { exact: evaluate(g, feeds), near };
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

export const showDag = ({ graph: g }: Dag): string => `${graphNodes(g).length} nodes\n${printGraph(g)}`;
