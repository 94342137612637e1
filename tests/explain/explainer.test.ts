import { describe, expect, it } from "vitest";
import { F, nn, toGraph } from "../../compiler/dsl/index.js";
import { explainable, names } from "../../compiler/explain/explainable.js";
import { Explainer, type Run } from "../../compiler/explain/explainer.js";
import { type Graph, paramName } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensor } from "../../ir/tensor.js";

/** The reference evaluator as a session. */
const runOf =
  (g: Graph): Run =>
  async (feeds) => {
    const results = evaluate(
      g,
      g.params.map((p) => feeds[paramName(p)]!),
    );
    return Object.fromEntries(results.map((r, i) => [g.resultNames[i]!, r]));
  };

const explainerOf = (g: Graph, options = {}) => {
  const model = explainable(g, options);
  return new Explainer(model, runOf(model.graph));
};

const f32 = (shape: readonly number[], value: (i: number) => number): Tensor =>
  tensor(
    "f32",
    shape,
    Float32Array.from({ length: shape.reduce((n, s) => n * s, 1) }, (_, i) => value(i)),
  );
const numbersOf = ({ data }: Tensor): number[] => Array.from(data as Float32Array);
const sum = (t: Tensor): number => numbersOf(t).reduce((a, b) => a + b, 0);

class Net extends nn.Module {
  readonly conv = nn.Conv2d(1, 3, 3, { padding: 1 });
  readonly fc = nn.Linear(3 * 25, 4);
  forward(ctx: nn.Context, x: Parameters<typeof F.tanh>[0]) {
    return F.softmax(this.fc(ctx, F.flatten(F.tanh(this.conv(ctx, x)), 1)), -1);
  }
}
const net = toGraph(new Net(), { inputs: { x: [1, 1, 5, 5] }, outputs: ["y"] });
const x = f32([1, 1, 5, 5], (i) => Math.sin(i * 1.7));

describe("Explainer", () => {
  it("takes scores before the softmax, whose gradients are finite differences of them", async () => {
    const explainer = explainerOf(net);
    const saliency = await explainer.saliency({ x }, { target: 2 });
    const at = async (i: number, by: number) => {
      const moved = f32(x.shape, (j) => (x.data[j] as number) + (i === j ? by : 0));
      return (await explainer.scores({ x: moved })).data[2] as number;
    };
    for (const i of [0, 7, 12, 24]) {
      const slope = ((await at(i, 0.01)) - (await at(i, -0.01))) / 0.02;
      expect(saliency.data[i]).toBeCloseTo(Math.abs(slope), 3);
    }
    expect(sum(await explainer.scores({ x }))).not.toBeCloseTo(1);
  });

  it("integrates gradients, which sum to what the score gained over the baseline", async () => {
    const explainer = explainerOf(net);
    const gain = async (baseline: number, target: number) => {
      const [now, before] = await Promise.all([x, f32(x.shape, () => baseline)].map((x) => explainer.scores({ x })));
      return (now!.data[target] as number) - (before!.data[target] as number);
    };
    for (const [target, baseline] of [
      [0, 0],
      [3, 0],
      [1, 0.5],
    ] as const) {
      const map = await explainer.integratedGradients({ x }, { target, baseline, steps: 40 });
      expect(map.shape).toEqual(x.shape);
      expect(sum(map)).toBeCloseTo(await gain(baseline, target), 3);
    }
  });

  it("smooths gradients over noise: of none they are the gradient, of a linear model with any", async () => {
    const explainer = explainerOf(net);
    const smooth = await explainer.smoothGrad({ x }, { target: 1, noise: 0, samples: 2 });
    const saliency = await explainer.saliency({ x }, { target: 1 });
    for (const [i, d] of smooth.data.entries())
      expect(Math.abs(d as number)).toBeCloseTo(saliency.data[i] as number, 6);
    const linear = explainerOf(
      parseGraph("graph @g(%x: f32[1,3]) -> f32[1,3] {\n  %0: f32[1,3] = add %x, %x\n  return %0\n}\n"),
    );
    const slope = await linear.smoothGrad({ x: f32([1, 3], (i) => i) }, { target: 1, seed: 5 });
    expect(numbersOf(slope)).toEqual([0, 2, 0].map((v) => expect.closeTo(v, 6)));
  });

  it("weighs a layer's channels by their mean gradients: Grad-CAM by hand", async () => {
    // Two channels, x and −x; score 0 is 3·sum of the first + 1·sum of the second.
    class Hand extends nn.Module {
      readonly conv = nn.Conv2d(1, 2, 1, { bias: false });
      readonly fc = nn.Linear(8, 2, { bias: false });
      forward(ctx: nn.Context, x: Parameters<typeof F.tanh>[0]) {
        return this.fc(ctx, F.flatten(this.conv(ctx, x), 1));
      }
    }
    const hand = new Hand();
    hand.loadState({
      "conv.weight": f32([2, 1, 1, 1], (i) => (i ? -1 : 1)),
      "fc.weight": f32([2, 8], (i) => (i < 4 ? 3 : i < 8 ? 1 : -1)),
    });
    const explainer = explainerOf(toGraph(hand, { inputs: { x: [1, 1, 2, 2] } }));
    const feeds = { x: f32([1, 1, 2, 2], (i) => [1, -2, 0.5, 4][i]!) };
    // 3·x + 1·(−x) = 2x where that is positive.
    expect(numbersOf(await explainer.gradCam(feeds, { target: 0 }))).toEqual([2, 0, 1, 8]);
    // −1·x − 1·(−x) = 0.
    expect(numbersOf(await explainer.gradCam(feeds, { target: 1 }))).toEqual([0, 0, 0, 0]);
  });

  it("gives weights of attention, whose rows sum to 1", async () => {
    class Attends extends nn.Module {
      forward(_: nn.Context, x: Parameters<typeof F.tanh>[0]) {
        return F.mean(F.attention(x, x, x), 1);
      }
    }
    const explainer = explainerOf(toGraph(new Attends(), { inputs: { x: [1, 3, 4] } }));
    const [map, ...more] = await explainer.attention({ x: f32([1, 3, 4], (i) => Math.cos(i)) });
    expect(more).toEqual([]);
    expect(map!.shape).toEqual([1, 3, 3]);
    expect(sum(map!)).toBeCloseTo(3, 5);
  });

  it("gives attention of models that read tokens, which have no gradient", async () => {
    class Reads extends nn.Module {
      readonly embedding = nn.Embedding(5, 4);
      forward(ctx: nn.Context, tokens: Parameters<typeof F.tanh>[0]) {
        const x = this.embedding(ctx, tokens);
        return F.attention(x, x, x);
      }
    }
    const explainer = explainerOf(
      toGraph(new Reads(), { inputs: { tokens: { dtype: "i32", shape: ["n", "words"] } } }),
    );
    const feeds = { tokens: tensor("i32", [1, 3], Int32Array.of(4, 0, 2)) };
    // Sizes that are open are those of the feeds.
    const [map, ...more] = await explainer.attention(feeds);
    expect(more).toEqual([]);
    expect(sum(map!)).toBeCloseTo(3, 5);
    expect((await explainer.scores(feeds)).shape).toEqual([1, 3, 4]);
    for (const method of ["saliency", "smoothGrad", "integratedGradients"] as const)
      await expect(explainer[method](feeds, { target: 1 })).rejects.toThrow(
        /the model has no input of floats, so that there is no gradient\n {2}→ what there is of it are scores and attention/,
      );
  });

  it("says what it can't explain", async () => {
    const linear = parseGraph(
      "graph @g(%x: f32[1,3], %i: i64[2]) -> f32[1,3] {\n  %0: f32[1,3] = add %x, %x\n  return %0\n}\n",
    );
    expect(() => explainable(linear, { input: "y" })).toThrow(
      /option input: no input "y"\n {2}→ there are: x: f32\[1,3\], i: i64/,
    );
    expect(() => explainable(linear, { input: "i" })).toThrow(/"i" is i64\[2\], not of floats/);
    expect(() => explainable(linear, { layer: "z" })).toThrow(/option output: no output "z"/);
    const explainer = explainerOf(linear);
    const feeds = { x: f32([1, 3], () => 1), i: tensor("i64", [2], BigInt64Array.of(0n, 0n)) };
    await expect(explainer.gradCam(feeds, { target: 0 })).rejects.toThrow("no convolution over two axes");
    await expect(explainer.saliency(feeds, { target: 3 })).rejects.toThrow("there are 3 classes, and 3 is none");
    await expect(explainer.saliency(feeds, { target: -1 })).rejects.toThrow(/option target/);
  });

  it("explains in f32 what computes in halves", () => {
    const half = parseGraph("graph @g(%x: f16[1,3]) -> f16[1,3] {\n  %0: f16[1,3] = tanh %x\n  return %0\n}\n");
    const { graph } = explainable(half);
    expect(graph.params.map((p) => p.type.dtype)).toEqual(["f32", "f32"]);
    expect(graph.resultNames).toEqual([names.scores, names.gradient]);
    expect(graph.results.map((r) => r.type.dtype)).toEqual(["f32", "f32"]);
  });
});
