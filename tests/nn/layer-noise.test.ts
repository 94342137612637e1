/** What layers draw while they train, and what they begin with. */

import { describe, expect, it } from "vitest";
import { Context } from "../../compiler/dsl/context.js";
import { type AnyModule, applyModel } from "../../compiler/dsl/graph.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";

/** The model's result in training, with its first values and random numbers from a seed. */
function trained(model: AnyModule, x: Tensor, seed = 1, apply?: (ctx: Context, x: Value) => Value): readonly number[] {
  const state = model.state();
  const values = new Map([...model.variables()].map(([name, v]) => [v, constant([], { value: state.get(name)! })]));
  const words = (a: number, n: number) => constant([], { value: tensorFrom("u32", [n], [a, 0].slice(0, n)) });
  const random = { key: () => words(seed, 2), counter: () => words(seed, 1) };
  const ctx = new Context(model, (v) => values.get(v), { training: true, random });
  const input = param("x", { dtype: x.dtype, shape: x.shape });
  const y = apply ? apply(ctx, input) : (applyModel(model, ctx, [input]) as Value);
  return toNumbers(evaluate(graph("g", [input], [y]), [x])[0]!);
}
const ramp = (shape: readonly number[], f: (i: number) => number) =>
  tensorFrom(
    "f32",
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => f(i)),
  );
const ones = (n: number) => ramp([n], () => 1);
const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;

describe("attention drops its weights while training", () => {
  // Values are unit vectors and projections the identity, so that the output is the matrix of weights.
  const steps = 6;
  const make = (dropout: number) => {
    const m = nn.MultiHeadAttention(steps, 1, { dropout, bias: false, batchFirst: true, weightInit: nn.init.dirac });
    const eye = (shape: readonly number[]) => ramp(shape, (i) => (Math.floor(i / steps) % steps === i % steps ? 1 : 0));
    return m.loadState({ in_proj_weight: eye([3 * steps, steps]), "out_proj.weight": eye([steps, steps]) });
  };
  const x = ramp([1, steps, steps], (i) => (Math.floor(i / steps) === i % steps ? 1 : 0));

  it("some are 0, the others are scaled, and each pass drops others", () => {
    const whole = toNumbers(evaluate(toGraph(make(0.5), { inputs: { x: x.shape as number[] } }), [x])[0]!);
    const seen = new Set<string>();
    let kept = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const got = trained(make(0.5), x, seed);
      seen.add(got.map((v) => (v === 0 ? "0" : "1")).join(""));
      got.forEach((v, i) => {
        if (v === 0) return;
        kept++;
        expect(v).toBeCloseTo(2 * whole[i]!, 5);
      });
    }
    expect(seen.size).toBe(20);
    expect(kept / (20 * steps * steps)).toBeCloseTo(0.5, 1);
    trained(make(0), x).forEach((v, i) => {
      expect(v).toBeCloseTo(whole[i]!, 6);
    });
  });

  it("transformer layers hand their dropout on to it", () => {
    const layer = nn.TransformerEncoderLayer(4, 2, { dropout: 0.3 });
    expect(
      [...layer.modules()].filter(([, m]) => (m as { probability?: number }).probability === 0.3).map(([p]) => p),
    ).toContain("self_attn.dropout");
  });
});

describe("noise", () => {
  it("AlphaDropout keeps mean and variance of what is normal", () => {
    const state = nn.Linear(1, 20000, { bias: false, weightInit: nn.init.normal() }).initialize(3).state();
    const x = tensorFrom("f32", [20000], toNumbers(state.get("weight")!));
    for (const p of [0.1, 0.5]) {
      const y = trained(nn.AlphaDropout(p), x);
      expect(Math.abs(mean(y))).toBeLessThan(0.03);
      expect(Math.abs(mean(y.map((v) => v * v)) - 1)).toBeLessThan(0.05);
    }
    expect(trained(nn.AlphaDropout(1), ones(4))).toEqual([0, 0, 0, 0]);
  });
  it("RReLU draws a slope for each element between its limits", () => {
    const y = trained(
      nn.RReLU(0.1, 0.3),
      ramp([1000], (i) => (i % 2 === 0 ? 1 : -1)),
    );
    const slopes = y.filter((_, i) => i % 2 === 1).map((v) => -v);
    expect(y.filter((_, i) => i % 2 === 0).every((v) => v === 1)).toBe(true);
    expect(Math.min(...slopes)).toBeGreaterThanOrEqual(Math.fround(0.1));
    expect(Math.max(...slopes)).toBeLessThan(0.3);
    expect(mean(slopes)).toBeCloseTo(0.2, 2);
  });
  it("Dropout2d drops whole channels, and refuses other ranks", () => {
    const y = trained(
      nn.Dropout2d(0.5),
      ramp([8, 8, 2, 2], () => 1),
    );
    const channels = Array.from({ length: 64 }, (_, c) => y.slice(4 * c, 4 * c + 4).join());
    expect(new Set(channels)).toEqual(new Set(["0,0,0,0", "2,2,2,2"]));
    expect(() => toGraph(nn.Dropout2d(), { inputs: { x: [2, 3, 4] } })).toThrow(/expected rank 4/);
  });
});

describe("first values", () => {
  const x = ramp([3, 5], (i) => Math.sin(i));
  it("weight norm begins as the layer is", () => {
    const plain = nn.Linear(5, 4);
    const normed = nn.weightNorm(nn.Linear(5, 4)).initialize(7);
    const [g, v, b] = ["original0", "original1"]
      .map((n) => normed.state().get(`parametrizations.weight.${n}`)!)
      .concat(normed.state().get("bias")!);
    expect(g!.shape).toEqual([4, 1]);
    plain.loadState({ weight: v!, bias: b! });
    trained(normed, x).forEach((y, i) => {
      expect(y).toBeCloseTo(trained(plain, x)[i]!, 5);
    });
  });
  it("spectral norm begins near the largest singular value", () => {
    const normed = nn.spectralNorm(nn.Linear(5, 4, { bias: false })).initialize(7);
    const weight = toNumbers(normed.state().get("parametrizations.weight.original")!);
    const unit = ramp([5, 5], (i) => (Math.floor(i / 5) === i % 5 ? 1 : 0));
    const scaled = trained(normed, unit);
    // All entries are divided by one number, and no vector grows.
    const sigma = weight[0]! / scaled[0]!;
    for (let seed = 0; seed < 50; seed++) {
      const u = Array.from({ length: 5 }, (_, i) => Math.sin(seed * 7 + i * (seed + 1)));
      const image = [0, 1, 2, 3].map((r) => u.reduce((s, a, c) => s + a * weight[r * 5 + c]!, 0));
      expect(Math.hypot(...image)).toBeLessThanOrEqual(sigma * Math.hypot(...u) * 1.01);
    }
  });
  it("are those of the initialisers that are given", () => {
    const [w, b] = [nn.init.constant(2), nn.init.constant(3)];
    const given = { weightInit: w, biasInit: b };
    const layers: readonly AnyModule[] = [
      nn.Linear(2, 3, given),
      nn.Bilinear(2, 3, 4, given),
      nn.Conv2d(2, 4, 3, given),
      nn.ConvTranspose2d(2, 4, 3, given),
      nn.Embedding(3, 2, { weightInit: w }),
      nn.EmbeddingBag(3, 2, { weightInit: w }),
      nn.BatchNorm2d(3, given),
      nn.InstanceNorm2d(3, { ...given, affine: true }),
      nn.GroupNorm(1, 3, given),
      nn.LayerNorm(3, given),
      nn.RMSNorm(3, { weightInit: w }),
      nn.LSTM(2, 3, { ...given, recurrentInit: w }),
      nn.GRUCell(2, 3, { ...given, recurrentInit: w }),
      nn.MultiHeadAttention(4, 2, given),
    ];
    for (const layer of layers)
      for (const [name, v] of layer.parameters()) {
        layer.state();
        const value = name.includes("bias") ? 3 : 2;
        expect(new Set(toNumbers(v.value!)), `${layer.constructor.name} ${name}`).toEqual(new Set([value]));
      }
  });
  it("forgetGate leaves an LSTM's forget gates open", () => {
    const lstm = nn.LSTM(2, 3, { bias: "single", biasInit: nn.init.forgetGate() });
    expect(toNumbers(lstm.state().get("bias_ih_l0")!)).toEqual([0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
  });
});
