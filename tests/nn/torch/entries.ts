/** Outputs and gradients that PyTorch computed (reference/grad), and graphs of the package that are to give the same. */

import { join } from "node:path";
import { F, type Graph, graph, param, type Value, vjp } from "../../../index.js";
import { evaluate } from "../../../ir/reference.js";
import type { Tensor } from "../../../ir/tensor.js";
import { joinGraphs } from "../../ops/draw.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "../reference-data.js";
import { cases } from "./cases.js";

export interface Entry {
  readonly id: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: readonly { readonly name: string; readonly key: string; readonly grad?: string }[];
  readonly outputs: readonly { readonly key: string; readonly upstream?: string }[];
  readonly rtol: number;
  readonly atolOutput: number;
  readonly atolGrad: number;
}

const folder = join(dataFolder, "reference/grad");
const listed = (name: string) => (hasData ? readJson<{ entries: readonly Entry[] }>(join(folder, name)).entries : []);
const stored = (name: string) => (hasData ? readTensors(join(folder, name)) : new Map<string, Tensor>());

// Weights of recurrent layers, and their gradients, are not those that ops.json's outputs were computed with; recurrent.json's are.
const recurrent = new Map(listed("recurrent.json").map((e) => [e.id, e]));
export const entries: readonly Entry[] = listed("ops.json").map((e) => recurrent.get(e.id) ?? e);
const tensors = new Map([...stored("ops.safetensors"), ...stored("recurrent.safetensors")]);

interface Wanted {
  readonly key: string;
  readonly atol: number;
}

export interface Problem {
  readonly entry: Entry;
  /** Outputs, then gradients. */
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
  readonly wanted: readonly Wanted[];
}

export function problemOf(entry: Entry): Problem {
  const { id, inputs, outputs, attributes, atolOutput, atolGrad } = entry;
  const feeds = inputs.map(({ key }) => tensors.get(key)!);
  const params = inputs.map(({ name }, i) => param(name, { dtype: feeds[i]!.dtype, shape: feeds[i]!.shape }));
  const made = cases[id]!(Object.fromEntries(inputs.map(({ name }, i) => [name, params[i]!])), attributes);
  const results: readonly Value[] = (Array.isArray(made) ? (made as readonly Value[]) : [made as Value]).slice(
    0,
    outputs.length,
  );
  const given = outputs.flatMap(({ upstream }, i) =>
    upstream === undefined ? [] : [{ result: results[i]!, upstream: constantOf(tensors.get(upstream)!) }],
  );
  const wrt = inputs.flatMap(({ grad }, i) => (grad === undefined ? [] : [{ key: grad, value: params[i]! }]));
  const found = vjp(
    given.map((g) => g.result),
    given.map((g) => g.upstream),
    wrt.map((w) => w.value),
  );
  return {
    entry,
    graph: graph(id, params, [...results, ...found]),
    feeds,
    wanted: [
      ...outputs.map(({ key }) => ({ key, atol: atolOutput })),
      ...wrt.map(({ key }) => ({ key, atol: atolGrad })),
    ],
  };
}

const constantOf = (t: Tensor): Value => F.reshape(F.constant(Array.from(t.data as Float32Array), t.dtype), t.shape);

/** What differs from PyTorch, of the results of a problem. */
export const differences = ({ entry, wanted }: Problem, got: readonly Tensor[]): readonly string[] =>
  wanted.flatMap(({ key, atol }, i) => {
    const problem = disagreement(got[i]!, tensors.get(key)!, entry.rtol, atol);
    return problem === undefined ? [] : [`${key}: ${problem}`];
  });

type Run = (g: Graph, feeds: readonly Tensor[]) => Promise<readonly Tensor[]>;

/** Problems that are compiled together, so that all of them take seconds. */
export const batches = (size = 26): readonly (readonly Problem[])[] => {
  const all = entries.map(problemOf);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
};

export async function differencesOf(batch: readonly Problem[], run: Run): Promise<readonly string[]> {
  const joined = joinGraphs(
    "gradients",
    batch.map((p) => p.graph),
  );
  const got = await run(
    joined,
    batch.flatMap((p) => p.feeds),
  );
  let at = 0;
  return batch.flatMap((p) => {
    at += p.wanted.length;
    return differences(p, got.slice(at - p.wanted.length, at));
  });
}

export const reference: Run = async (g, feeds) => evaluate(g, feeds);
