import { describe, expect, it } from "vitest";
import { metrics, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { mean, np, square } from "../../ir/build.js";
import { paramName, type Value } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { sameTensor, tensorFrom } from "../../ir/tensor.js";
import { randomTensor, seeded } from "../graph/random.js";
import { ReferenceSession } from "./reference-session.js";

describe("models with named sizes", () => {
  const image = nn.sequential(
    nn.Conv2d(3, 4, 3, { padding: 1, stride: 2 }),
    nn.BatchNorm2d(4),
    nn.ReLU(),
    nn.MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true }),
    nn.ConvTranspose2d(4, 4, 3, { stride: 2, padding: 1, outputPadding: 1 }),
    nn.GroupNorm(2, 4),
    nn.AvgPool2d(2, { ceilMode: true, countIncludePad: false }),
    nn.Upsample({ scale: 2 }),
    nn.Pad(
      [
        [1, 1],
        [2, 0],
      ],
      "reflect",
    ),
    nn.GlobalAvgPool(),
    nn.Flatten(),
    nn.Linear(4, 2),
  );
  it.each([
    [2, 9, 11],
    [1, 16, 8],
    [3, 13, 12],
  ])("give what models with fixed sizes give: %i×3×%i×%i", (n, h, w) => {
    const x = randomTensor(seeded(n), "f32", [n, 3, h, w]);
    const open = nn.toGraph(image, { inputs: { x: ["batch", 3, "h", "w"] }, dims: { h: [4, 64], w: [4, 64] } });
    const fixed = nn.toGraph(image, { inputs: { x: [n, 3, h, w] } });
    expect(sameTensor(evaluate(open, [x])[0]!, evaluate(fixed, [x])[0]!)).toBe(true);
  });

  it("run sequences of any length", () => {
    class Reader extends nn.Module {
      readonly embed = nn.Embedding(11, 6);
      readonly gru = nn.GRU(6, 4, { bidirectional: true, batchFirst: true });
      readonly attend = nn.TransformerEncoderLayer(8, 2, { feedForward: 16, batchFirst: true });
      forward(ctx: nn.Context, tokens: Value): Value {
        const { output } = this.gru(ctx, this.embed(ctx, tokens));
        return mean(this.attend(ctx, output, { causal: true }), 1);
      }
    }
    const model = new Reader();
    const open = nn.toGraph(model, { inputs: { tokens: { dtype: "i32", shape: ["batch", "steps"] } } });
    for (const [n, t] of [
      [1, 1],
      [2, 7],
    ] as const) {
      const tokens = randomTensor(seeded(t), "i32", [n, t], [0, 10]);
      const fixed = nn.toGraph(model, { inputs: { tokens: { dtype: "i32", shape: [n, t] } } });
      expect(sameTensor(evaluate(open, [tokens])[0]!, evaluate(fixed, [tokens])[0]!)).toBe(true);
    }
  });
});

describe("models with several inputs and outputs", () => {
  class Pair extends nn.Module<readonly [a: Value, b: Value], { readonly sum: Value; readonly gate: Value }> {
    readonly left = nn.Linear(3, 2);
    readonly right = nn.Linear(4, 2);
    forward(ctx: nn.Context, a: Value, b: Value) {
      const [x, y] = [this.left(ctx, a), this.right(ctx, b)];
      return { sum: np.add(x, y), gate: np.mul(x, y) };
    }
  }
  it("train with an objective of their outputs by name", () => {
    const program = trainStep(new Pair(), {
      inputs: { a: ["batch", 3], b: ["batch", 4] },
      targets: { y: ["batch", 2] },
      loss: ({ sum, gate }, y) => np.add(mean(square(np.sub(sum, y!))), np.mul(mean(square(gate)), 0.1)),
      optimizer: optim.Adam({ lr: 0.05 }),
      metrics: { error: ({ sum }, y) => metrics.meanAbsoluteError()(sum, y!) },
    });
    expect(program.entries.predict!.resultNames).toEqual(["sum", "gate"]);
    expect(program.entries.evaluate!.params.map(paramName).slice(-3)).toEqual(["a", "b", "y"]);
    const session = new ReferenceSession(program);
    const feeds = {
      a: tensorFrom("f32", [2, 3], [1, 2, 3, 0, 1, 0]),
      b: tensorFrom("f32", [2, 4], [1, 0, 0, 1, 2, 1, 0, 1]),
      y: tensorFrom("f32", [2, 2], [1, -1, 0, 2]),
    };
    const first = session.step(feeds);
    for (let i = 0; i < 60; i++) session.step(feeds);
    const last = session.step(feeds);
    expect(last.loss!).toBeLessThan(first.loss! / 2);
    expect(Object.keys(last)).toEqual(["loss", "error"]);
  });
});
