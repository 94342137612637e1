/** Composites are found again in their own decompositions, with sizes known and unknown, and mean the same. */

import { describe, expect, it } from "vitest";
import { np } from "../../ir/build.js";
import { type Graph, graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { erf, geluExact } from "../../ir/ops/elementwise.js";
import { type OpName, ops } from "../../ir/ops/index.js";
import { pad } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { sameTensor, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { decompose } from "../../passes/graph/decompose.js";
import { eliminateCommonSubexpressions } from "../../passes/graph/eliminate-common-subexpressions.js";
import { foldConstants } from "../../passes/graph/fold-constants.js";
import { recognize } from "../../passes/graph/recognize.js";
import { simplify } from "../../passes/graph/simplify.js";
import { runPipeline } from "../../passes/pipeline.js";
import { disagreement } from "../ops/accuracy.js";
import { samplesOf, symbolicGraph } from "../ops/draw.js";
import { randomTensor, seeded } from "./random.js";

const steps = [decompose(), simplify, foldConstants(), eliminateCommonSubexpressions];
const names: readonly OpName[] = ["layerNorm", "rmsNorm", "gelu", "softmax", "logSoftmax", "attention"];

const holds = (g: Graph, name: OpName): boolean => graphNodes(g).some((n) => n.op === name);

describe.each(names)("%s", (name) => {
  const op = ops.get(name)!;
  // gelu by erf is an op of its own, see below.
  const inSteps = samplesOf(op).filter((s) => s.sample.attrs.approximate !== "none");
  it.each(inSteps.map((s) => [s.index, s] as const))("sample %i", (_, sample) => {
    const symbolic = symbolicGraph(sample);
    for (const g of symbolic === undefined ? [sample.graph] : [sample.graph, symbolic]) {
      const plain = runPipeline(steps, g, { verify: true });
      expect(holds(plain, name)).toBe(false);
      const after = runPipeline([recognize], plain, { verify: true });
      expect(holds(after, name), printGraph(after)).toBe(true);
      const got = evaluate(after, sample.feeds);
      evaluate(plain, sample.feeds).forEach((want, i) => {
        expect(disagreement(got[i]!, want, op.accuracy)).toBeUndefined();
      });
    }
  });
});

describe("gelu by erf", () => {
  const wide = samplesOf(geluExact).filter((s) => s.feeds[0]!.dtype === "f32" || s.feeds[0]!.dtype === "f64");
  it.each(wide.map((s) => [s.index, s] as const))("sample %i", (_, { feeds, graph: { params } }) => {
    const [x] = params as readonly [Value];
    const written = np.mul(np.mul(x, 0.5), np.add(erf([np.mul(x, Math.SQRT1_2)]), 1));
    const plain = graph("steps", params, [written]);
    const after = runPipeline([...steps, recognize], plain, { verify: true });
    expect(holds(after, "gelu"), printGraph(after)).toBe(true);
    const finite = feeds.map((t) =>
      tensorFrom(
        t.dtype,
        t.shape,
        toNumbers(t).map((v) => (Number.isFinite(v) ? v : 1)),
      ),
    );
    const [got, want] = [after, plain].map((g) => evaluate(g, finite)[0]!) as [Tensor, Tensor];
    expect(disagreement(got, want, geluExact.accuracy)).toBeUndefined();
  });
});

describe("sums of parts", () => {
  const padTo = (x: Value, axis: number, low: number, high: number) => {
    const along = (n: number) => x.type.shape.map((_, a) => (a === axis ? n : 0));
    return pad([x], { low: along(low), high: along(high), interior: along(0), value: 0 });
  };

  it.each(Array.from({ length: 20 }, (_, i) => [i] as const))("in any order and any grouping, seed %i", (seed) => {
    const random = seeded(seed);
    const upTo = (n: number) => 1 + Math.floor(random() * n);
    const rank = upTo(3);
    const axis = upTo(rank) - 1;
    const shape = Array.from({ length: rank }, () => upTo(4));
    const sizes = Array.from({ length: 1 + upTo(5) }, () => upTo(5));
    const total = sizes.reduce((a, b) => a + b);
    const params = sizes.map((n, i) => param(`x${i}`, { dtype: "f32", shape: shape.with(axis, n) }));
    let low = 0;
    const terms: Value[] = params.map((x, i) => {
      low += sizes[i]!;
      return padTo(x, axis, low - sizes[i]!, total - low);
    });
    while (terms.length > 1) {
      const take = () => terms.splice(Math.floor(random() * terms.length), 1)[0]!;
      terms.push(np.add(take(), take()));
    }
    const g = graph("parts", params, terms);
    const after = runPipeline([simplify, recognize], g, { verify: true });
    expect([holds(after, "concat"), holds(after, "pad")], printGraph(after)).toEqual([true, false]);
    const feeds = params.map((x) => randomTensor(random, "f32", x.type.shape as readonly number[]));
    expect(sameTensor(evaluate(after, feeds)[0]!, evaluate(g, feeds)[0]!)).toBe(true);
  });

  it.each([
    ["overlap", [0, 2], [3, 3]],
    ["leave gaps", [0, 4], [3, 1]],
    ["end early", [0, 3], [3, 1]],
  ] as const)("are left where they %s", (_, starts, lengths) => {
    const params = lengths.map((n, i) => param(`x${i}`, { dtype: "f32", shape: [2, n] }));
    const [a, b] = params.map((x, i) => padTo(x, 1, starts[i]!, 5 - starts[i]! - lengths[i]!)) as [Value, Value];
    const after = runPipeline([simplify, recognize], graph("parts", params, [np.add(a, b)]), { verify: true });
    expect(holds(after, "concat")).toBe(false);
  });
});
