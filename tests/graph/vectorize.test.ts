/** Every op over a batch of samples gives what it gives of each: over the samples of all ops, with each operand shared or not. */

import { describe, expect, it } from "vitest";
import { graph, param } from "../../ir/graph.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, zeros } from "../../ir/tensor.js";
import { vectorize } from "../../passes/graph/vectorize.js";
import { disagreement } from "../ops/accuracy.js";
import { allOps, type DrawnSample, samplesOf } from "../ops/draw.js";
import { sampleTensor, seeded } from "./random.js";

const size = 3;

function stacked(parts: readonly Tensor[]): Tensor {
  const [{ dtype, shape }] = parts as readonly [Tensor];
  const out = zeros(dtype, [parts.length, ...shape]);
  parts.forEach((p, i) => {
    // All typed arrays of one tensor are of one kind.
    (out.data as Float32Array).set(p.data as Float32Array, i * p.data.length);
  });
  return out;
}

/** Ops that have no form for a batch, for some samples at least. */
const apart = new Set(
  "bindDim range nonZero unique nonMaxSuppression if loop scan fusion gather convWeightGrad conv convInputGrad".split(
    " ",
  ),
);

/** How often the sample was taken as a batch; throws where that gives something else than one by one. */
function check({ op, sample, graph: g, feeds, index }: DrawnSample): number {
  if (g.sizes?.length) return 0;
  const count = feeds.length;
  const masks = [...feeds.map((_, i) => feeds.map((_, k) => k === i)), feeds.map(() => true)];
  if (count > 1) masks.push(feeds.map((_, k) => k < 2));
  let made = 0;
  for (const mask of masks) {
    const random = seeded(99 + index);
    const own = feeds.map((t, i) => {
      if (!mask[i]) return Array.from({ length: size }, () => t);
      return Array.from({ length: size }, () => sampleTensor(random, sample.operands[i]!));
    });
    const all = own.map((parts, i) => (mask[i] ? stacked(parts) : parts[0]!));
    const params = all.map((t, i) => param(`x${i}`, { dtype: t.dtype, shape: t.shape }));
    const results = vectorize(
      g,
      params.map((value, i) => ({ value, batched: mask[i]! })),
      size,
    );
    if (results === undefined) continue;
    made++;
    const batch = graph("batch", params, results);
    verifyGraph(batch);
    const got = evaluate(batch, all);
    const each = Array.from({ length: size }, (_, k) =>
      evaluate(
        g,
        own.map((parts) => parts[k]!),
      ),
    );
    got.forEach((t, r) => {
      const want = stacked(each.map((list) => list[r]!));
      const wrong = disagreement(t, want, op.accuracy === "exact" ? { rtol: 1e-6, atol: 1e-6 } : op.accuracy);
      expect(wrong, `sample ${index}, ${mask}: result ${r}`).toBeUndefined();
    });
  }
  return made;
}

describe("ops over a batch of samples", () => {
  it.each(allOps)("%s", (name, op) => {
    const samples = samplesOf(op).filter((s) => s.feeds.length > 0);
    const made = samples.map((s) => check(s));
    const isPrimitive = op.kind === "primitive";
    if (isPrimitive && !apart.has(name))
      for (const [i, n] of made.entries()) expect(n, `sample ${i}`).toBeGreaterThan(0);
  });
});
