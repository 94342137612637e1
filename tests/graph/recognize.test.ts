/** Composites are found again in their own decompositions, with sizes known and unknown, and mean the same. */

import { describe, expect, it } from "vitest";
import { type Graph, graphNodes } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { type OpName, ops } from "../../ir/ops/index.js";
import { evaluate } from "../../ir/reference.js";
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
  it.each(samplesOf(op).map((s) => [s.index, s] as const))("sample %i", (_, sample) => {
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
