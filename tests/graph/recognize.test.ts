/** Composites are found again in their own decompositions, with sizes known and unknown, and mean the same. */

import { describe, expect, it } from "vitest";
import { np } from "../../ir/build.js";
import { type Graph, graph, graphNodes, type Value } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { erf, geluExact } from "../../ir/ops/elementwise.js";
import { type OpName, ops } from "../../ir/ops/index.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { decompose } from "../../passes/graph/decompose.js";
import { eliminateCommonSubexpressions } from "../../passes/graph/eliminate-common-subexpressions.js";
import { foldConstants } from "../../passes/graph/fold-constants.js";
import { recognize } from "../../passes/graph/recognize.js";
import { simplify } from "../../passes/graph/simplify.js";
import { runPipeline } from "../../passes/pipeline.js";
import { disagreement } from "../ops/accuracy.js";
import { samplesOf, symbolicGraph } from "../ops/draw.js";

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
