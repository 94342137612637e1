/** Every primitive over its samples: lowered on its own, with the kernels as they are made, against the reference. */

import { describe, expect, it } from "vitest";
import { evaluate } from "../../ir/reference.js";
import { disagreement } from "../ops/accuracy.js";
import { allOps, type DrawnSample, samplesOf } from "../ops/draw.js";
import { runCases } from "./run.js";

const primitives = allOps.filter(([, op]) => op.kind === "primitive");
/** Not to be had from a session: neither are these sizes' finders of use alone, nor does the artefact know these dtypes. */
const isOutside = ({ graph }: DrawnSample) =>
  graph.results.some((r) => r.type.dtype === "f4e2m1") || graph.results[0]!.def.op === "bindDim";
const control = new Set(["if", "loop", "scan"]);

describe("kernels agree with the reference", () => {
  it.each(primitives.filter(([name]) => !control.has(name)))("%s", async (_, op) => {
    const samples = samplesOf(op).filter((s) => !isOutside(s));
    const results = await runCases(samples);
    samples.forEach(({ graph, feeds, index }, i) => {
      evaluate(graph, feeds).forEach((want, k) => {
        expect(disagreement(results[i]![k]!, want, op.accuracy), `sample ${index}, result ${k}`).toBeUndefined();
      });
    });
  });
});
