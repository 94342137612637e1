import { describe, expect, it } from "vitest";
import { addAll, np, sum } from "../../ir/build.js";
import { type Attrs, graph, param, sameType, type Value } from "../../ir/graph.js";
import { makeNode, type Sample, type SampleOperand } from "../../ir/op.js";
import { constant } from "../../ir/ops/constant.js";
import { opsOfFamily } from "../../ir/ops/index.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor, tensorFrom, toNumbers, zeros } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { type Random, sampleTensor, seeded } from "../graph/random.js";

const families = ["activation", "attention", "ctc", "dropout", "loss", "normalize", "pooling", "recurrent"];

/** The sample's tensor; f32 as f64 when differences are to be taken. */
const draw = (o: SampleOperand, random: Random, wide: boolean): Tensor =>
  sampleTensor(random, wide && o.dtype === "f32" ? { ...o, dtype: "f64" } : o);

const typeOf = (t: Tensor) => ({ dtype: t.dtype, shape: t.shape });

/** The sample's results from operand tensors, and their weighted sum for gradient checks. */
function build(op: ReturnType<typeof opsOfFamily>[number], s: Sample<Attrs>, feeds: readonly Tensor[]) {
  const params = feeds.map((t, i) => param(`x${i}`, typeOf(t)));
  const { results } = makeNode(op, params, s.attrs, s.regions?.() ?? []);
  return { params, results };
}

function weighted(results: readonly Value[], random: Random): Value {
  const parts = results
    .filter((r) => r.type.dtype === "f64")
    .map((r) => {
      const shape = r.type.shape as number[];
      const n = shape.reduce((p, d) => p * d, 1);
      const weights = tensorFrom(
        "f64",
        shape,
        Array.from({ length: n }, () => random() - 0.3),
      );
      return sum(np.mul(r, constant([], { value: weights })));
    });
  return addAll(parts);
}

describe.each(families)("%s", (family) => {
  describe.each(opsOfFamily(family).map((op) => [op.name, op] as const))("%s", (_, op) => {
    it.each(op.samples.map((s, i) => [i, s] as const))("sample %i", (i, s) => {
      const random = seeded(i + 1);
      const feeds = s.operands.map((o) => draw(o, random, false));
      const { params, results } = build(op, s, feeds);
      const out = evaluate(graph("g", params, results), feeds);
      out.forEach((t, k) => {
        if (results[k]!.type.shape.every((d) => typeof d === "number")) {
          expect(sameType(typeOf(t), results[k]!.type)).toBe(true);
        }
      });
      if (!s.noGrad && op.vjp !== "none" && op.vjp !== "zero") checkGradient(op, s, i);
    });
  });
});

/** Directional derivative by central differences in f64 against the gradient. */
function checkGradient(op: ReturnType<typeof opsOfFamily>[number], s: Sample<Attrs>, seed: number): void {
  const random = seeded(seed + 77);
  const feeds = s.operands.map((o) => draw(o, random, true));
  const { params, results } = build(op, s, feeds);
  if (!results.some((r) => r.type.dtype === "f64")) return;
  const loss = weighted(results, random);
  const smooth = params.map((p, i) => p.type.dtype === "f64" && !s.operands[i]!.noGrad);
  const wrt = params.filter((_, i) => smooth[i]);
  if (wrt.length === 0) return;
  const found = evaluate(graph("d", params, gradients(loss, wrt)), feeds);
  const directions = wrt.map((p) => toNumbers(zeros("f64", p.type.shape as number[])).map(() => random() - 0.5));
  const h = 1e-5;
  const at = (sign: number) => {
    let k = 0;
    const moved = feeds.map((t, i) => {
      if (!smooth[i]) return t;
      const d = directions[k++]!;
      return tensorFrom(
        "f64",
        t.shape,
        d.map((v, j) => element(t, j) + sign * h * v),
      );
    });
    return element(evaluate(graph("f", params, [loss]), moved)[0]!, 0);
  };
  const want = (at(1) - at(-1)) / (2 * h);
  const got = found.reduce((n, t, k) => n + directions[k]!.reduce((m, d, j) => m + d * element(t, j), 0), 0);
  expect(Math.abs(got - want), `gradient ${got}, differences ${want}`).toBeLessThan(1e-6 * (1 + Math.abs(want)));
}
