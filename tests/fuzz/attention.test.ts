/**
 * Attention and its gradient, by blocks of queries where the kernels do that, against the definition: heads of any size, keys and values that
 * several heads share, masks of all kinds, those that hide most keys too, sizes around the blocks. Threads change no bit.
 */

import { describe, expect, it } from "vitest";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { type Graph, graph, graphNodes, type Param, param, type Value } from "../../ir/graph.js";
import { attention } from "../../ir/ops/attention.js";
import { evaluate } from "../../ir/reference.js";
import { sameTensor, type Tensor } from "../../ir/tensor.js";
import { pullback } from "../../passes/graph/differentiate.js";
import { runPipeline } from "../../passes/pipeline.js";
import { randomTensor, seeded } from "../graph/random.js";
import { runCases } from "../lower/run.js";
import { disagreement } from "../ops/accuracy.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";

const runs = fuzzRuns("WASMITH_FUZZ_ATTENTION", 32, 200);
const accuracy = { rtol: 2e-5, atol: 2e-5 } as const;

interface Case {
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
}

/** Hides from each row what is not near its own key, by −∞, by the least float as exporters do, or by false; by the least float also whole rows. */
function hide(random: () => number, mask: Tensor): void {
  const [rows, keys] = mask.shape.slice(-2) as [number, number];
  const hidden = mask.dtype === "bool" ? 0 : random() < 0.5 ? -Infinity : -3.4028234663852886e38;
  const [before, after] = [Math.floor(random() * 12), Math.floor(random() * 12)];
  for (let at = 0; at < mask.data.length; at++) {
    const [row, key] = [Math.floor(at / keys) % rows, at % keys];
    const own = Math.min(row, keys - 1);
    const isWithin = own - before <= key && key <= own + after;
    const isNone = Number.isFinite(hidden) && hidden !== 0 && before > after && row % 7 === 3;
    if (!isWithin || isNone) mask.data[at] = hidden;
    else if (key === own && mask.dtype === "bool") mask.data[at] = 1;
  }
}

function draw(seed: number): Case {
  const random = seeded(seed);
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const chance = (p: number) => random() < p;
  const batch = Array.from({ length: upTo(3) - 1 }, () => upTo(3));
  const isFew = chance(0.3);
  const l = isFew ? upTo(15) : 15 + upTo(70);
  const s = isFew && chance(0.5) ? 90 + upTo(150) : upTo(80);
  const [d, e] = [chance(0.3) ? 16 : upTo(37), chance(0.3) ? 32 : upTo(37)];
  const shared = () => {
    const own = batch.map((n) => (chance(0.3) ? 1 : n));
    // Leading axes of 1 may be missing.
    return chance(0.2) ? own.slice(own.lastIndexOf(1) + 1) : own;
  };
  const shapes = [
    [...batch, l, d],
    [...shared(), s, d],
    [...shared(), s, e],
  ];
  const kind = chance(0.6) ? undefined : chance(0.5) ? ("f32" as const) : ("bool" as const);
  if (kind !== undefined) shapes.push(chance(0.5) ? [l, s] : [...batch.map(() => 1), chance(0.5) ? 1 : l, s]);
  const hides = kind !== undefined && chance(0.6);
  const causal = (kind === undefined || hides) && chance(0.6);
  const params = shapes.map((shape, i) => param("qkvm"[i]!, { dtype: i === 3 ? kind! : "f32", shape }));
  const scale = (chance(0.1) ? -1 : 1) / Math.sqrt(d);
  const y = attention(params, { scale, causal });
  const dy = param("dy", y.type);
  const wrt = params.filter((p) => p.type.dtype === "f32");
  const gradients = pullback([y], [dy], wrt) as readonly Value[];
  const all: readonly Value[] = [...params, dy];
  const g = graph("attention", all as readonly Param[] & readonly Value[], [y, ...gradients]);
  const feeds = all.map(({ type: { dtype, shape } }, i) => {
    const t = randomTensor(random, dtype, shape as readonly number[]);
    // Each query sees a key: without one there are NaNs.
    if (i === 3 && hides) hide(random, t);
    else if (i === 3 && dtype === "bool") for (let at = 0; at < t.data.length; at += s) t.data[at] = 1;
    return t;
  });
  return { graph: g, feeds };
}

describe("attention", () => {
  it(`${runs} give what the definition gives, on one thread and on two`, { timeout: 600_000 }, async () => {
    const seed = fuzzSeed("attention");
    const cases = Array.from({ length: runs }, (_, i) => draw(seed * 1000 + i));
    const compiled = cases.map(({ graph: g, feeds }) => ({
      graph: runPipeline(defaultPipeline, g, { verify: true }),
      feeds,
    }));
    const tiled = compiled.filter(({ graph: g }) => graphNodes(g).some((n) => n.op === "tiledAttention")).length;
    expect(tiled / runs).toBeGreaterThan(0.2);
    const [alone, team] = [await runCases(compiled), await runCases(compiled, { threads: 2 })];
    cases.forEach(({ graph: g, feeds }, i) => {
      evaluate(g, feeds).forEach((want, k) => {
        const where = `seed ${seed * 1000 + i}, ${g.params.map((p) => p.type.shape.join("×")).join(" ")}, result ${k}`;
        expect(disagreement(alone[i]![k]!, want, accuracy), where).toBeUndefined();
        expect(sameTensor(alone[i]![k]!, team[i]![k]!), where).toBe(true);
      });
    });
  });
});
