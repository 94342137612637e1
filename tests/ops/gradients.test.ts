/** Gradients of every op against finite differences along a random direction, and gradients of those gradients. */

import { describe, expect, it } from "vitest";
import { type Graph, graph, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { add, mul } from "../../ir/ops/elementwise.js";
import { sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { element, elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { type Random, seeded } from "../graph/random.js";
import { allOps, type DrawnSample, samplesOf } from "./draw.js";

const isWide = (v: Value) => v.type.dtype === "f64";

/** A tensor of uniform weights in [−0.7, 0.7]. */
function weights(shape: readonly number[], random: Random): Tensor {
  return tensorFrom(
    "f64",
    shape,
    Array.from({ length: elementCount(shape) }, () => 1.4 * random() - 0.7),
  );
}

/** Σ wᵢ · xᵢ over all elements of all values. */
function weightedSum(values: readonly Value[], random: Random): Value {
  const parts = values.map((v) => {
    const product = mul([v, constant([], { value: weights(v.type.shape as number[], random) })]);
    return sum([product], { axes: v.type.shape.map((_, a) => a), keepDims: false });
  });
  return parts.reduce((a, b) => add([a, b]));
}

/** Compares the gradient of a scalar with central differences along a random direction. */
function check(
  loss: Value,
  params: readonly Value[],
  wrt: readonly Value[],
  feeds: readonly Tensor[],
  random: Random,
): void {
  const run = (g: Graph, given = feeds) => evaluate(g, given);
  const found = run(graph("gradient", params, gradients(loss, wrt, { unused: "zero" })));
  const directions = wrt.map((p) => weights(p.type.shape as number[], random));
  const forward = graph("loss", params, [loss]);
  const at = (step: number) => {
    const moved = feeds.map((t, i) => {
      const k = wrt.indexOf(params[i]!);
      if (k < 0) return t;
      const values = Array.from({ length: t.data.length }, (_, j) => element(t, j) + step * element(directions[k]!, j));
      return tensorFrom("f64", t.shape, values);
    });
    return element(run(forward, moved)[0]!, 0);
  };
  const h = 1e-5;
  const want = (at(h) - at(-h)) / (2 * h);
  let got = 0;
  found.forEach((t, k) => {
    for (let j = 0; j < t.data.length; j++) got += element(t, j) * element(directions[k]!, j);
  });
  expect(Math.abs(got - want), `gradient ${got}, differences ${want}`).toBeLessThan(2e-6 * (1 + Math.abs(want)));
}

/** The sample's weighted results and what to differentiate by; undefined where the sample has no gradient to check. */
function problem({ sample, graph: g }: DrawnSample, random: Random) {
  if (sample.noGrad) return undefined;
  const results = g.results.filter(isWide);
  const wrt = g.params.filter((p, i) => isWide(p) && !sample.operands[i]!.noGrad);
  if (results.length === 0 || wrt.length === 0) return undefined;
  return { wrt, loss: weightedSum(results, random) };
}

const lossOf = (loss: Value, { graph: g, feeds }: DrawnSample): number =>
  element(evaluate(graph("loss", g.params, [loss]), feeds)[0]!, 0);

describe.each([1, 2])("gradients of order %i agree with finite differences", (order) => {
  it.each(allOps)("%s", (_, op) => {
    if (op.vjp === "none" || op.vjp === "zero") return;
    for (const drawn of samplesOf(op, { wide: true })) {
      const random = seeded(drawn.index + 99);
      const found = problem(drawn, random);
      // Where nothing is reduced or padded the value may be infinite: nothing to differentiate.
      if (found === undefined || !Number.isFinite(lossOf(found.loss, drawn))) continue;
      const { loss, wrt } = found;
      const { graph: g, feeds, index } = drawn;
      // A gradient that is the same everywhere has nothing more to check.
      const target = order === 1 ? loss : weightedSum(gradients(loss, wrt), random);
      try {
        check(target, g.params, wrt, feeds, random);
      } catch (error) {
        throw new Error(`sample ${index}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
});
