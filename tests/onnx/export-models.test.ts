/** Real models survive export and import: their recorded outputs come out, and models/ compute the same as before. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import type { Inputs } from "../../compiler/dsl/graph.js";
import { nn, toGraph } from "../../compiler/dsl/index.js";
import type { Module } from "../../compiler/dsl/module.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { Graph, Value } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";
import { convNet } from "../../models/convnet/model.js";
import { LstmStack } from "../../models/lstm-regression/model.js";
import { mlp } from "../../models/mlp.js";
import { TextRnn } from "../../models/text-rnn/model.js";
import { TransformerLm } from "../../models/transformer-lm.js";
import { load } from "../../runtime/index.js";
import { sampleTensor, seeded } from "../graph/random.js";
import { SmallCrnn, SmallResNet, SmallUNet } from "../nn/models.js";
import { compareTensors } from "./compare.js";
import { hasExports, hasModels, pytorchExports, trainedModels } from "./data.js";
import { checkRecorded } from "./recorded.js";

const check = async (name: string, folder: string) =>
  expect(
    await checkRecorded(name, folder, {
      configurations: [["simd128", 1]],
      prepare: (graph) => importOnnx(exportOnnx(graph)),
    }),
  ).toEqual([]);

describe.skipIf(!hasExports)("PyTorch's exports, exported again", () => {
  it.each(hasExports ? pytorchExports() : [])("$name", { timeout: 120_000 }, ({ name, folder }) => check(name, folder));
});

describe.skipIf(!hasModels)("trained models, exported again", () => {
  it.each(hasModels ? trainedModels() : [])("$name", { timeout: 300_000 }, ({ name, folder }) => check(name, folder));
});

interface Case {
  readonly model: () => Module<never, Value>;
  readonly inputs: Inputs;
  readonly feed: readonly number[];
  /** Inputs are indices below this. */
  readonly below?: number;
}

const own: Readonly<Record<string, Case>> = {
  lenet: { model: () => convNet(), inputs: { x: ["batch", 1, 32, 32] }, feed: [3, 1, 32, 32] },
  mlp: { model: () => mlp(12, [32, 16], 4), inputs: { x: ["batch", 12] }, feed: [5, 12] },
  "lstm-stack": { model: () => new LstmStack(), inputs: { x: ["batch", "steps", 1] }, feed: [2, 6, 1] },
  "rnn-sentiment": {
    model: () => new TextRnn({ vocabulary: 20, embedding: 8, hidden: 12 }),
    inputs: { x: { dtype: "i64", shape: ["steps", "batch"] } },
    feed: [7, 3],
    below: 20,
  },
  "transformer-lm": {
    model: () => new TransformerLm({ vocabulary: 17, context: 12 }),
    inputs: { x: { dtype: "i64", shape: ["batch", "steps"] } },
    feed: [2, 9],
    below: 17,
  },
  "residual network": { model: () => new SmallResNet(), inputs: { x: ["batch", 3, 12, 12] }, feed: [2, 3, 12, 12] },
  "u-net": { model: () => new SmallUNet(), inputs: { x: ["batch", 1, 16, 16] }, feed: [2, 1, 16, 16] },
  crnn: { model: () => new SmallCrnn(), inputs: { x: ["batch", 1, 6, "width"] }, feed: [2, 1, 6, 11] },
  "pools and norms": {
    model: () =>
      nn.sequential(
        nn.Conv2d(2, 8, 3, { groups: 2, dilation: 2, padding: 2 }),
        nn.GroupNorm(4, 8),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(8, 4, 3, { stride: 2, padding: 1, outputPadding: 1 }),
        nn.GELU(),
        nn.Flatten(),
      ),
    inputs: { x: ["batch", 2, 10, 10] },
    feed: [2, 2, 10, 10],
  },
};

async function runOnce(graph: Graph, x: Tensor): Promise<Tensor> {
  const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
  try {
    const { y } = (await session.run({ x } as never)) as Record<string, Tensor>;
    return y!;
  } finally {
    session.dispose();
  }
}

describe("models of layers", () => {
  it.each(Object.entries(own))("%s", { timeout: 60_000 }, async (_, { model, inputs, feed, below }) => {
    const net = model();
    net.initialize(4);
    const graph = toGraph(net, { inputs, outputs: ["y"] });
    const x = sampleTensor(
      seeded(9),
      below === undefined ? { dtype: "f32", shape: feed } : { dtype: "i64", shape: feed, range: [0, below - 1] },
    );
    const back = importOnnx(exportOnnx(graph));
    const [want, got] = [await runOnce(graph, x), await runOnce(back, x)];
    expect(compareTensors(got, want, { rtol: 1e-5, atol: 1e-6 })).toBeUndefined();
  });
});
