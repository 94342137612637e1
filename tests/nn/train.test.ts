import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { losses, metrics, nn, optim, schedules, trainStep } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import { paramName, typeText, type Value } from "../../ir/graph.js";
import { relu } from "../../ir/ops/activation.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { convNet } from "../../models/convnet/model.js";
import { mlp } from "../../models/mlp.js";
import { TransformerLm } from "../../models/transformer-lm.js";
import { NextToken, SmallCrnn, SmallSeq2Seq, SmallUNet, SmallVae } from "./models.js";
import { dataFolder, hasData } from "./reference-data.js";
import { ReferenceSession } from "./reference-session.js";
import { follow } from "./trajectory.js";

const labels = { y: { dtype: "i64", shape: ["batch"] } } as const;
const reference = (name: string) => join(dataFolder, "reference/train", name);

describe("training follows PyTorch", () => {
  it("mlp_sgd, all steps", () => {
    const folder = join(import.meta.dirname, "../fixtures/train/mlp_sgd");
    const optimizer = optim.SGD({ lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
    follow(
      folder,
      mlp(12, [32, 16], 4),
      { inputs: { x: ["batch", 12] }, targets: labels },
      { loss: losses.crossEntropy(), optimizer },
    );
  });
  it.skipIf(!hasData)("convnet_sgd, first steps", () => {
    const optimizer = optim.SGD({ lr: 0.001, momentum: 0.9 });
    const data = { inputs: { x: ["batch", 1, 32, 32] }, targets: labels, steps: 5 };
    follow(reference("convnet_sgd"), convNet(), data, { loss: losses.crossEntropy(), optimizer });
  });
});

describe.skipIf(!hasData)("training of other kinds of models follows PyTorch, first steps", () => {
  const steps = 4;
  it("transformer_lm_adamw", () => {
    const model = new NextToken(new TransformerLm({ vocabulary: 32, context: 16 }));
    const data = { inputs: { tokens: { dtype: "i64" as const, shape: ["batch", 17] } }, targets: {}, steps };
    follow(reference("transformer_lm_adamw"), model, data, {
      loss: (output: Value) => output,
      optimizer: optim.AdamW({ lr: 0.003, weightDecay: 0.1 }),
      clip: optim.clipNorm(1),
      schedule: schedules.warmup(0.003, 10),
    });
  });
  it("vae_adam", () => {
    const data = { inputs: { x: ["batch", 64], eps: ["batch", 4] }, targets: {}, steps };
    follow(reference("vae_adam"), new SmallVae(), data, { loss: (output: Value) => output, optimizer: optim.Adam() });
  });
  it("seq2seq_attention_teacher_forcing", () => {
    const words = { dtype: "i64" as const, shape: ["batch", "steps"] };
    const data = { inputs: { src: words, tgtIn: words }, targets: { tgtOut: words }, steps };
    follow(reference("seq2seq_attention_teacher_forcing"), new SmallSeq2Seq(), data, {
      loss: losses.crossEntropy({ ignoreIndex: 0 }),
      optimizer: optim.Adam({ lr: 0.01 }),
      clip: optim.clipNorm(1),
    });
  });
  it("ctc_crnn", () => {
    const lengths = { dtype: "i64" as const, shape: ["batch"] };
    const data = {
      inputs: { x: ["batch", 1, 6, 14] },
      targets: {
        targets: { dtype: "i64" as const, shape: ["batch", 4] },
        inputLengths: lengths,
        targetLengths: lengths,
      },
      steps,
    };
    const loss = (output: Value, ...targets: readonly Value[]) =>
      losses.ctc()(output, targets[0]!, targets[1]!, targets[2]!);
    follow(reference("ctc_crnn"), new SmallCrnn(), data, { loss, optimizer: optim.Adam({ lr: 0.01 }) });
  });
  it("segmentation_unet", () => {
    const data = {
      inputs: { x: ["batch", 1, 12, 12] },
      targets: { y: { dtype: "i64" as const, shape: ["batch", 12, 12] } },
      steps,
    };
    const optimizer = optim.AdamW({ lr: 0.01, weightDecay: 0.01 });
    const loss = losses.weightedSum([1, losses.crossEntropy()], [1, losses.dice()]);
    follow(reference("segmentation_unet"), new SmallUNet(), data, { loss, optimizer });
  });
});

describe("the training program", () => {
  const program = trainStep(nn.sequential({ fc1: nn.Linear(4, 8), drop: nn.Dropout(0.5), fc2: nn.Linear(8, 3) }), {
    inputs: { x: ["batch", 4] },
    targets: labels,
    loss: losses.crossEntropy(),
    optimizer: optim.SGD({ lr: 0.1, momentum: 0.9 }),
    metrics: { accuracy: metrics.accuracy() },
    seed: 7,
  });
  const feeds = {
    x: tensorFrom("f32", [2, 4], [1, 2, 3, 4, -1, 0, 1, 2]),
    y: tensorFrom("i64", [2], [0, 2]),
  };

  it("has state with roles, entries with donations, and says what is what", () => {
    expect(program.state.map((s) => [s.name, s.role])).toEqual([
      ["fc1.weight", "param"],
      ["fc1.bias", "param"],
      ["fc2.weight", "param"],
      ["fc2.bias", "param"],
      ["rng.key", "rng"],
      ["rng.counter", "rng"],
      ["metric.accuracy.right", "metric"],
      ["metric.accuracy.count", "metric"],
      ["optimizer.momentum.fc1.weight", "optimizer"],
      ["optimizer.momentum.fc1.bias", "optimizer"],
      ["optimizer.momentum.fc2.weight", "optimizer"],
      ["optimizer.momentum.fc2.bias", "optimizer"],
      ["optimizer.lr", "hyper"],
      ["optimizer.step", "counter"],
    ]);
    const { step, evaluate, predict } = program.entries;
    expect(step!.donations?.size).toBe(12);
    for (const [i, p] of step!.donations!) {
      expect(typeText(step!.results[i]!.type)).toBe(typeText(step!.params[p]!.type));
      expect(step!.resultNames[i]).toBe(paramName(step!.params[p]!));
    }
    expect(evaluate!.resultNames.filter((_, i) => !evaluate!.donations?.has(i))).toEqual(["loss", "accuracy"]);
    expect(predict!.params.map(paramName)).toEqual(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "x"]);
    expect(program.training).toMatchObject({
      objectives: [{ entry: "step", name: "optimizer", learningRate: "optimizer.lr", stepCounter: "optimizer.step" }],
      fit: { step: "step", evaluate: "evaluate", predict: "predict", metrics: ["accuracy"], batch: "batch" },
      rng: "rng.key",
    });
  });

  it("draws other numbers in each step, and the same ones again", () => {
    const run = () => {
      const session = new ReferenceSession(program);
      return [session.step(feeds).loss, session.step(feeds).loss, session.run("evaluate", feeds).loss!.data[0]];
    };
    expect(run()).toEqual(run());
    const session = new ReferenceSession(program);
    const before = session.step(feeds).loss;
    session.state.set("optimizer.lr", tensorFrom("f32", [], [0]));
    const frozen = new Map(session.state);
    const a = session.step(feeds).loss;
    const b = session.step(feeds).loss;
    expect(a).not.toBe(b);
    expect(before).toBeTypeOf("number");
    expect(toNumbers(session.state.get("fc1.weight")!)).toEqual(toNumbers(frozen.get("fc1.weight")!));
  });

  it("updates running statistics in steps, not in evaluation", () => {
    const normed = trainStep(nn.sequential({ bn: nn.BatchNorm1d(4), fc: nn.Linear(4, 3) }), {
      inputs: { x: ["batch", 4] },
      targets: labels,
      loss: losses.crossEntropy(),
      optimizer: optim.AdamW(),
    });
    const session = new ReferenceSession(normed);
    session.run("evaluate", feeds);
    expect(toNumbers(session.state.get("bn.running_mean")!)).toEqual([0, 0, 0, 0]);
    session.step(feeds);
    expect(toNumbers(session.state.get("bn.running_mean")!).map((v) => Number(v.toFixed(6)))).toEqual([
      0, 0.1, 0.2, 0.3,
    ]);
    expect(toNumbers(session.state.get("bn.running_var")!)[0]).toBeCloseTo(0.9 + 0.1 * 2, 6);
  });

  it("leaves frozen parameters alone", () => {
    const net = nn.sequential({ fc1: nn.Linear(4, 8), fc2: nn.Linear(8, 3) }).freeze("fc1.");
    const { state, entries } = trainStep(net, {
      inputs: { x: ["batch", 4] },
      targets: labels,
      loss: losses.crossEntropy(),
      optimizer: optim.SGD({ lr: 0.1 }),
    });
    expect(state.map((s) => s.name)).toContain("fc1.weight");
    expect(entries.step!.resultNames).toEqual(["fc2.weight", "fc2.bias", "optimizer.step", "loss", "finite.gradients"]);
  });
});

describe("models", () => {
  it("name the layer that does not fit", () => {
    const net = nn.sequential({
      conv: nn.Conv2d(1, 6, 5),
      block: nn.sequential({ flat: nn.Flatten(), fc: nn.Linear(100, 10) }),
    });
    expect(() => nn.toGraph(net, { inputs: { x: ["batch", 1, 8, 8] } })).toThrow(
      "block.fc: expected 100 input features, but got 96 in f32[batch,96]",
    );
    expect(() => nn.toGraph(net, { inputs: { x: ["batch", 3, 8, 8] } })).toThrow(
      "conv: expected 1 input channels, but got 3",
    );
    expect(() => nn.toGraph(net, { inputs: { x: ["batch", 1, 4, 4] } })).toThrow("conv: conv(");
  });

  it("take and give PyTorch's names", () => {
    class Block extends nn.Module {
      readonly norm = nn.BatchNorm1d(3);
      readonly layers = [nn.Linear(3, 3), nn.Linear(3, 3, { bias: false })];
      forward(ctx: nn.Context, x: Value): Value {
        return this.layers.reduce((v, layer) => relu([layer(ctx, v)]), this.norm(ctx, x));
      }
    }
    const net = nn.sequential(new Block(), nn.Residual(nn.Linear(3, 3)));
    expect([...net.state().keys()]).toEqual([
      "0.norm.weight",
      "0.norm.bias",
      "0.norm.running_mean",
      "0.norm.running_var",
      "0.layers.0.weight",
      "0.layers.0.bias",
      "0.layers.1.weight",
      "1.body.weight",
      "1.body.bias",
    ]);
    const graph = nn.toGraph(net, { inputs: { x: ["batch", 3] }, outputs: ["y"] });
    expect(graph.params.map(paramName)).toEqual(["x"]);
    expect(graph.resultNames).toEqual(["y"]);
  });

  it("list everything that is wrong with a file of weights, and then change nothing", () => {
    const net = nn.Linear(3, 2).initialize(1);
    const before = net.state().get("weight");
    const bad = new Map([
      ["weight", tensorFrom("f32", [3, 2], [1, 2, 3, 4, 5, 6])],
      ["extra", tensorFrom("f32", [1], [1])],
    ]);
    let error: unknown;
    try {
      net.loadState(bad);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(ModelError);
    expect((error as ModelError).problems.map((p) => p.where)).toEqual(["weight", "bias", "extra"]);
    expect(net.state().get("weight")).toBe(before);
  });

  it("initialise by seed and name alone", () => {
    const one = nn
      .sequential({ a: nn.Linear(3, 2), b: nn.Linear(3, 2) })
      .initialize(5)
      .state();
    const two = nn
      .sequential({ b: nn.Linear(3, 2) })
      .initialize(5)
      .state();
    expect(one.get("b.weight")).toEqual(two.get("b.weight"));
    expect(one.get("a.weight")).not.toEqual(one.get("b.weight"));
    const bound = 1 / Math.sqrt(3);
    for (const v of toNumbers(one.get("a.weight")!)) expect(Math.abs(v)).toBeLessThanOrEqual(bound);
  });

  it("say when a layer is made inside forward", () => {
    const net = nn.Lambda((x, ctx) => nn.Linear(3, 3)(ctx, x));
    expect(() => nn.toGraph(net, { inputs: { x: [1, 3] } })).toThrow("does not belong to the model");
  });
});
