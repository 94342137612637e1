/**
 * Chains and DAGs of any ops, most inner values of which are results, with or without gradients: compiled once, run at several sizes
 * in one session, by every variant that this engine has, on one thread and on two.
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
import { type Feeds, load } from "../../runtime/index.js";
import { obstacle } from "../../runtime/platform.js";
import { seeded } from "../graph/random.js";
import { growGraph, type RandomGraph, type Sizes } from "./generate.js";
import { perturbed, unexplained } from "./sensitivity.js";

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
    return differentiate(graph(g.name, g.params, [...g.results, loss], names, undefined, g.sizes), { of: "loss", wrt });
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

/** What is wrong with what the graph gives, if anything; "refused" where it refuses all feeds. */
export async function checkDag({ graph: g, runs }: Dag): Promise<string | undefined> {
  const cases = runs.flatMap((feeds) => {
    const wanted = reference(g, feeds);
    return wanted === undefined ? [] : [{ feeds, wanted }];
  });
  if (cases.length === 0) return "refused";
  const used = teams.filter((t) => t.length > 0);
  const variants = [...new Set(used.flatMap((t) => t.map((e) => e.variant)))];
  const artifact = await compile(g, { variants });
  for (const team of used) {
    const first: (readonly Tensor[])[] = [];
    for (const { variant, threads } of team) {
      const session = await load(artifact, { variant, threads });
      try {
        for (const [i, { feeds, wanted }] of cases.entries()) {
          const outputs = await session.run(
            Object.fromEntries(g.params.map((p, k) => [paramName(p), feeds[k]!])) as Feeds,
          );
          const got = g.resultNames.map((n) => outputs[n] as Tensor);
          const where = `${variant} on ${threads} at [${feeds.map((f) => `[${f.shape}]`)}]`;
          const before = first[i];
          first[i] ??= got;
          const wrong =
            before === undefined ? differing(got, wanted) : got.findIndex((t, k) => !sameBits(t, before[k]!));
          if (typeof wrong === "string") return `${where}: ${wrong}`;
          if (typeof wrong === "number" && wrong >= 0)
            return `${where}: result ${g.resultNames[wrong]} has other bits than ${team[0]!.variant} on ${team[0]!.threads}`;
        }
      } finally {
        session.dispose();
      }
    }
  }
  return undefined;
}

interface Wanted {
  readonly exact: readonly Tensor[];
  readonly others: readonly (readonly Tensor[])[];
}

/** Undefined where the graph refuses the feeds, or where sums overflow on the way. */
function reference(g: Graph, feeds: readonly Tensor[]): Wanted | undefined {
  try {
    const others = [1, 2, 3].map((k) => perturbed(g, feeds, k));
    const known = others.filter((o) => o !== undefined);
    return known.length === others.length ? { exact: evaluate(g, feeds), others: known } : undefined;
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

function differing(got: readonly Tensor[], { exact, others }: Wanted): string | undefined {
  for (const [i, w] of exact.entries()) {
    const g = got[i]!;
    if (g.shape.join() !== w.shape.join()) return `result ${i} has shape [${g.shape}] instead of [${w.shape}]`;
    const wrong = unexplained(
      g,
      w,
      others.map((o) => o[i]!),
    );
    if (wrong !== undefined)
      return `result ${i}, element ${wrong.index} is ${wrong.got} instead of ${wrong.want} ± ${wrong.reach}`;
  }
  return undefined;
}

export const showDag = ({ graph: g }: Dag): string => `${graphNodes(g).length} nodes\n${printGraph(g)}`;
