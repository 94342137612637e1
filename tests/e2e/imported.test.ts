/** Training models that came as ONNX files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, type TrainOptions, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { asType, mean, np } from "../../ir/build.js";
import { type Graph, graphNodes, graph as makeGraph, param, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { idleDropout } from "../../ir/ops/dropout.js";
import { element, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { convNet } from "../../models/convnet/model.js";
import { load } from "../../runtime/index.js";
import { sampleTensor, seeded } from "../graph/random.js";
import { SmallResNet } from "../nn/models.js";
import { hasData, readTensors } from "../nn/reference-data.js";
import { ReferenceSession } from "../nn/reference-session.js";
import { DATA, hasExports } from "../onnx/data.js";
import { cases, folderOf, followProgram } from "./trajectory.js";

const initial = () => readTensors(join(folderOf("convnet_sgd"), "init.safetensors"));
const { targets, optimizer } = cases.convnet_sgd!.options;
const training = { targets, optimizer, loss: losses.crossEntropy() };

describe.runIf(hasData)("the ConvNet imported from ONNX follows PyTorch's trajectory", () => {
  it("written by exportOnnx", { timeout: 120_000 }, async () => {
    const net = convNet();
    net.loadState(initial());
    const bytes = exportOnnx(toGraph(net, { inputs: { x: ["batch", 1, 32, 32] } }));
    const { departures } = await followProgram("convnet_sgd", trainStep(importOnnx(bytes), training), "simd128", 1);
    expect(departures).toEqual([]);
  });

  it.runIf(hasExports)("exported by PyTorch, with the initial weights put in", { timeout: 120_000 }, async () => {
    const file = readFileSync(join(DATA, "reference/onnx/lenet_view_op11/model.onnx"));
    const bytes = exportOnnx(importOnnx(file), { weights: initial() });
    const program = trainStep(importOnnx(bytes), training);
    const { departures } = await followProgram("convnet_sgd", program, "simd128", 1, { x: "input" });
    expect(departures).toEqual([]);
  });
});

const draw = (name: string, shape: readonly number[]): Tensor =>
  sampleTensor(seeded(name.length * 7 + shape.length), { dtype: "f32", shape });

/** Steps of a program in the reference evaluator. */
function train(session: ReferenceSession, feeds: Record<string, Tensor>, steps: number): number[] {
  return Array.from({ length: steps }, () => session.step(feeds).loss!);
}

describe("batch norms of an imported model", () => {
  const options = {
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.SGD({ lr: 0.05 }),
  } as const satisfies Partial<TrainOptions>;

  it("train as those of layers do, bit for bit", () => {
    const net = new SmallResNet();
    net.initialize(3);
    const inputs = { x: ["batch", 3, 8, 8] } as const;
    const own = new ReferenceSession(trainStep(net, { inputs, ...options }));
    const graph = importOnnx(exportOnnx(toGraph(net, { inputs })));
    const imported = new ReferenceSession(trainStep(graph, options));
    const feeds = { x: draw("x", [4, 3, 8, 8]), y: tensorFrom("i64", [4], [0, 1, 2, 3]) };
    const [a, b] = [train(own, feeds, 3), train(imported, feeds, 3)];
    expect(b).toEqual(a);
    expect(a[2]).toBeLessThan(a[0]!);
    for (const [name, tensor] of own.state) expect(imported.state.get(name), name).toEqual(tensor);
    expect(toNumbers(imported.state.get("bn1.running_mean")!)).not.toEqual(new Array(8).fill(0));
    // Evaluation takes the running statistics.
    expect(imported.run("evaluate", feeds)).toEqual(own.run("evaluate", feeds));
  });

  it.runIf(hasExports)("of PyTorch move as its formula says", { timeout: 120_000 }, async () => {
    const file = readFileSync(join(DATA, "reference/onnx/resnet18_bn_nodes_op11/model.onnx"));
    const graph = importOnnx(file);
    const program = trainStep(graph, { ...options, optimizer: optim.SGD({ lr: 0.02, momentum: 0.9 }) });
    expect(program.state.find((s) => s.name === "bn1.running_mean")?.role).toBe("buffer");
    const session = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
    const n = 6;
    const input = draw("input", [n, 3, 64, 64]);
    const batch = { input, y: tensorFrom("i64", [n], [0, 1, 2, 3, 0, 1]) };
    const before = { mean: session.getState("bn1.running_mean"), variance: session.getState("bn1.running_var") };

    // What the first norm sees: the first convolution, with the weights before the step.
    const norm = graphNodes(graph).find((node) => node.op === "batchNorm")!;
    const seen = makeGraph("seen", graph.params, [norm.operands[0]!], ["seen"]);
    const inference = await load(await compile(seen, { variants: ["simd128"] }), { threads: 1 });
    const { seen: x } = (await inference.run({ input } as never)) as Record<string, Tensor>;
    const [, channels = 0, h = 0, w = 0] = x!.shape;

    const measured: number[] = [];
    for (let s = 0; s < 8; s++) measured.push((await session.step(batch as never)).loss);
    expect(measured[7]).toBeLessThan(measured[0]! * 0.8);

    // One step of the formula of torch.nn.BatchNorm2d, momentum 0.1, on the statistics before.
    const fresh = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
    await fresh.step(batch as never);
    const after = { mean: fresh.getState("bn1.running_mean"), variance: fresh.getState("bn1.running_var") };
    for (let c = 0; c < channels; c++) {
      const count = n * h * w;
      let sum = 0;
      let squares = 0;
      const at = (i: number, p: number) => element(x!, (i * channels + c) * h * w + p);
      for (let i = 0; i < n; i++) for (let p = 0; p < h * w; p++) sum += at(i, p);
      const mean = sum / count;
      for (let i = 0; i < n; i++) for (let p = 0; p < h * w; p++) squares += (at(i, p) - mean) ** 2;
      const wantMean = 0.9 * Number(before.mean.data[c]) + 0.1 * mean;
      const wantVariance = 0.9 * Number(before.variance.data[c]) + (0.1 * squares) / (count - 1);
      expect(Number(after.mean.data[c])).toBeCloseTo(wantMean, 4);
      expect(Number(after.variance.data[c]) / wantVariance).toBeCloseTo(1, 4);
    }
    for (const s of [session, inference, fresh]) s.dispose();
  });
});

/** x · w with dropout, as an importer gives it. */
function withDropout(probability: number): Graph {
  const x = param("x", { dtype: "f32", shape: [4, 64] });
  const w = constant([], { value: draw("w", [64]), name: "layer.w" });
  const dropped = idleDropout([np.mul(x, w)], { probability });
  return makeGraph("g", [x], [dropped], ["y"]);
}

describe("dropout of an imported model", () => {
  it("drops by its ratio while training, by the key, and not elsewhere", () => {
    const program = trainStep(importOnnx(exportOnnx(withDropout(0.25))), {
      targets: {},
      loss: (y: Value) => mean(y),
      metrics: { kept: (y: Value) => mean(asType(np.ne(y, 0), "f32")) },
      optimizer: optim.SGD({ lr: 0 }),
      seed: 5,
    });
    const session = new ReferenceSession(program);
    const x = draw("xx", [4, 64]);
    const first = session.step({ x });
    const second = session.step({ x });
    expect(first.kept).toBeGreaterThan(0.6);
    expect(first.kept).toBeLessThan(0.9);
    expect(second.loss).not.toBe(first.loss);
    expect(new ReferenceSession(program).step({ x })).toEqual(first);
    expect(element(session.run("evaluate", { x }).kept!, 0)).toBe(1);
  });
});

describe("which weights are learnt", () => {
  const graph = () =>
    importOnnx(
      exportOnnx(
        toGraph(nn.sequential({ body: nn.Linear(4, 6), act: nn.ReLU(), head: nn.Linear(6, 3) }), {
          inputs: { x: ["batch", 4] },
        }),
      ),
    );
  const options = {
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.SGD({ lr: 0.5 }),
  } as const;
  const feeds = { x: draw("x", [2, 4]), y: tensorFrom("i64", [2], [0, 2]) };

  it.each([
    ["a name", "head.weight", ["head.weight"]],
    ["a beginning", "head.", ["head.bias", "head.weight"]],
    ["any text", "*.bias", ["body.bias", "head.bias"]],
    ["an expression", /^body/, ["body.bias", "body.weight"]],
    ["a function", (name: string) => name.endsWith("ght"), ["body.weight", "head.weight"]],
    ["a list", ["head.bias", /^body.w/], ["body.weight", "head.bias"]],
    ["all", true, ["body.bias", "body.weight", "head.bias", "head.weight"]],
  ] as const)("%s", (_, trainable, learnt) => {
    const session = new ReferenceSession(trainStep(graph(), { ...options, trainable }));
    const before = new Map(session.state);
    session.step(feeds);
    const changed = [...session.state].filter(
      ([name, t]) => /weight|bias/.test(name) && !name.startsWith("optimizer") && t !== before.get(name),
    );
    expect(changed.map(([name]) => name).sort()).toEqual([...learnt]);
    expect([...session.state.keys()].filter((n) => /^(body|head)/.test(n)).sort()).toHaveLength(4);
  });

  it("a name that no weight has is an error that lists them", () => {
    expect(() => trainStep(graph(), { ...options, trainable: ["head.*", "haed.*"] })).toThrow(
      /no weight of the graph matches "haed.\*"[\s\S]*body.weight/,
    );
  });

  it("weights inside loops are learnt too", () => {
    const net = nn.LSTM(3, 5);
    net.initialize(1);
    class Last extends nn.Module {
      readonly lstm = net;
      forward(ctx: nn.Context, x: Value): Value {
        return this.lstm(ctx, x).output;
      }
    }
    const inputs = { x: [4, 2, 3] } as const;
    const model = new Last();
    const square = (y: Value) => mean(np.mul(y, y));
    const common = { targets: {}, loss: square, optimizer: optim.SGD({ lr: 0.3 }) };
    const own = new ReferenceSession(trainStep(model, { inputs, ...common }));
    const imported = new ReferenceSession(trainStep(importOnnx(exportOnnx(toGraph(model, { inputs }))), common));
    const x = draw("x", [4, 2, 3]);
    expect(train(imported, { x }, 3).map((v) => v.toFixed(6))).toEqual(train(own, { x }, 3).map((v) => v.toFixed(6)));
    const weights = [...own.state.keys()].filter((n) => n.startsWith("lstm."));
    expect(weights.length).toBe(4);
    for (const name of weights)
      toNumbers(imported.state.get(name)!).forEach((v, i) => {
        expect(v).toBeCloseTo(element(own.state.get(name)!, i), 5);
      });
  });
});

describe("a session of an imported model", () => {
  const bytes = () => {
    const layers = {
      conv: nn.Conv2d(1, 4, 3),
      norm: nn.BatchNorm2d(4),
      act: nn.ReLU(),
      flat: nn.Flatten(),
      fc: nn.Linear(64, 3),
    };
    const net = nn.sequential(layers);
    net.initialize(8);
    return exportOnnx(toGraph(net, { inputs: { x: ["batch", 1, 6, 6] }, outputs: ["logits"] }));
  };
  const open = async () => {
    const program = trainStep(importOnnx(bytes()), {
      targets: { y: { dtype: "i64", shape: ["batch"] } },
      loss: losses.crossEntropy(),
      optimizer: optim.Adam({ lr: 0.02 }),
    });
    return load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
  };
  const x = draw("images", [12, 1, 6, 6]);
  const y = tensorFrom(
    "i64",
    [12],
    Array.from({ length: 12 }, (_, i) => i % 3),
  );
  const data = { x: x.data as Float32Array, y: y.data as BigInt64Array };

  it("fits, evaluates, predicts, saves and goes on from what it saved bit for bit", { timeout: 60_000 }, async () => {
    const session = await open();
    const options = { batchSize: 4, progress: false } as const;
    const before = await session.evaluate(data, { batchSize: 4 });
    const history = await session.fit(data, { ...options, epochs: 10 });
    const after = await session.evaluate(data, { batchSize: 4 });
    expect(after.loss).toBeLessThan(before.loss * 0.8);
    const { logits } = (await session.predict({ x } as never)) as Record<string, Tensor>;
    expect(logits!.shape).toEqual([12, 3]);
    const checkpoint = await session.save();
    const on = await session.fit(data, { ...options, firstEpoch: 10 });

    const other = await open();
    await other.restore(checkpoint);
    expect((await other.fit(data, { ...options, firstEpoch: 10 }))[0]!.loss).toBe(on[0]!.loss);
    expect(other.getState("norm.running_var")).toEqual(session.getState("norm.running_var"));
    expect(history).toHaveLength(10);
    for (const s of [session, other]) s.dispose();
  });
});

describe("what can't be trained", () => {
  it("a target with the name of an input", () => {
    expect(() =>
      trainStep(withDropout(0.5), {
        targets: { x: [4] },
        loss: (y: Value) => mean(y),
        optimizer: optim.SGD({ lr: 1 }),
      }),
    ).toThrow(/x: an input and a target have this name/);
  });
});
