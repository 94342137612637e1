/**
 * Run by wide.test.ts in an engine with 64-bit memory: the samples of all ops on the variants with 64-bit addresses, a line of JSON for each op
 * with what differs in any bit from the 32-bit variant of the same artefact.
 * Argument: URL of the worker's script.
 */

import { compile } from "../../compiler/compile.js";
import { type Graph, paramName } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { bytesOf } from "../../ir/tensor.js";
import { defaults, type Feeds, load } from "../../runtime/index.js";
import { allOps, joinGraphs } from "./draw.js";
import { batchesOf } from "./executors.js";

defaults.workerUrl = process.argv[2]!;

const variants = ["simd128", "simd128-64", "simd128-64-threads"] as const;

/** Names of results that are not those of the first variant to the bit. */
async function differences(g: Graph, feeds: readonly Tensor[]): Promise<readonly string[]> {
  const artifact = await compile(g, { variants });
  const named = Object.fromEntries(g.params.map((p, i) => [paramName(p), feeds[i]!])) as Feeds;
  const results: Readonly<Record<string, Tensor>>[] = [];
  for (const variant of variants) {
    const session = await load(artifact, { variant, threads: variant.endsWith("threads") ? 2 : 1 });
    results.push((await session.run(named, { maxSeconds: 60 })) as Readonly<Record<string, Tensor>>);
    session.dispose();
  }
  const [want, ...others] = results;
  const text = (t: Tensor): string => `${t.dtype}[${t.shape}] ${Buffer.from(bytesOf(t)).toString("base64")}`;
  return others.flatMap((got, i) =>
    g.resultNames
      .filter((name) => text(got[name]!) !== text(want![name]!))
      .map((name) => `${variants[i + 1]}: ${name}`),
  );
}

for (const [name, op] of allOps) {
  const problems: string[] = [];
  for (const batch of batchesOf(op)) {
    const joined = joinGraphs(
      op.name,
      batch.map((c) => c.graph),
    );
    const feeds = batch.flatMap((c) => c.feeds);
    problems.push(...(await differences(joined, feeds).catch((error: unknown) => [String(error)])));
  }
  console.log(JSON.stringify({ op: name, problems }));
}
