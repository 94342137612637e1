/** Random graphs of what lowering computes in groups. Most values are results. */

import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { fusion } from "../../ir/ops/fusion.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Random, randomTensor, seeded } from "../graph/random.js";
import { Growth, type GrowthOptions } from "./fusible-steps.js";

/** A graph, tensors for several runs of it, and how far each result may lie from the reference. */
export interface Fusible {
  readonly graph: Graph;
  readonly runs: readonly (readonly Tensor[])[];
  readonly reach: readonly number[];
}

/** Tensors of whole numbers for the parameters. */
export function feedsFor(
  params: readonly Value[],
  random: Random,
  sizes: ReadonlyMap<string, number>,
): readonly Tensor[] {
  return params.map(({ type }) => {
    const shape = type.shape.map((d) => (typeof d === "number" ? d : sizes.get(d.key)!));
    const whole = randomTensor(random, "i32", shape, [-4, 4]);
    return tensorFrom(type.dtype, shape, Array.from(whole.data as Int32Array));
  });
}

/** The graph that the steps grow. */
export function growFusible(seed: number, steps: readonly number[], options: GrowthOptions): Fusible {
  const growth = new Growth(seed, options);
  for (const s of steps) growth.step(s);
  const random = seeded(seed ^ 0x5eed);
  const made = growth.known.filter((k) => k.value.def.op !== "param");
  const chosen = made.filter((_, i) => i >= made.length - 2 || random() < 0.6).slice(-7);
  const results = chosen.length > 0 ? chosen : growth.known.slice(-1);
  const g = graph(
    "fusible",
    growth.params,
    results.map((k) => k.value),
  );
  const sizes: readonly (readonly [number, number])[] = options.symbolic
    ? [
        [1 + Math.floor(random() * 5), 1 + Math.floor(random() * 40)],
        [1 + Math.floor(random() * 70), 1 + Math.floor(random() * 9)],
        options.empty ? [Math.floor(random() * 2), Math.floor(random() * 2)] : [1, 1],
      ]
    : [[1, 1]];
  const runs = sizes.map(([a, b]) =>
    feedsFor(
      growth.params,
      random,
      new Map([
        ["n", a],
        ["m", b],
      ]),
    ),
  );
  return { graph: g, runs, reach: results.map((k) => k.reach) };
}

/** The whole graph as one fusion node, whatever its form. */
export function fusedWhole(g: Graph): Graph {
  const params = g.params.map((p, i) => param(`x${i}`, p.type));
  return graph("fusible", params, fusion(params, {}, [g]));
}
