/** Models that were trained here, as ONNX files: in ONNX Runtime they give what the session gives. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import type { Inputs } from "../../compiler/dsl/graph.js";
import { losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import type { Module } from "../../compiler/dsl/module.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import type { TrainingProgram } from "../../compiler/program.js";
import { flatten, full, sum } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { conv } from "../../ir/ops/conv.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor } from "../../ir/tensor.js";
import { convNet } from "../../models/convnet/model.js";
import { LstmStack } from "../../models/lstm-regression/model.js";
import { TransformerLm } from "../../models/transformer-lm.js";
import { load, type TrainingSession } from "../../runtime/index.js";
import { sampleTensor, seeded } from "../graph/random.js";
import { SmallResNet } from "../nn/models.js";
import { hasOnnxRuntime, howToGetIt, runOnnxRuntime } from "../onnx/onnxruntime.js";

interface Case {
  readonly program: () => TrainingProgram;
  readonly batch: Readonly<Record<string, Tensor>>;
}

const floats = (...shape: number[]): Tensor => sampleTensor(seeded(shape.length + shape[0]!), { dtype: "f32", shape });
const indices = (below: number, ...shape: number[]): Tensor =>
  sampleTensor(seeded(below), { dtype: "i64", shape, range: [0, below - 1] });

function classifier(model: Module<never, Value>, inputs: Inputs): TrainingProgram {
  model.initialize(2);
  return trainStep(model, {
    inputs,
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.SGD({ lr: 0.02, momentum: 0.9 }),
    outputs: ["logits"],
  });
}

const cases: Readonly<Record<string, Case>> = {
  LeNet: {
    program: () => classifier(convNet(), { x: ["batch", 1, 32, 32] }),
    batch: { x: floats(4, 1, 32, 32), y: indices(10, 4) },
  },
  "a residual network with batch norms": {
    program: () => classifier(new SmallResNet(), { x: ["batch", 3, 12, 12] }),
    batch: { x: floats(5, 3, 12, 12), y: indices(5, 5) },
  },
  "an LSTM": {
    program: () => {
      const model = new LstmStack();
      model.initialize(3);
      return trainStep(model, {
        inputs: { x: ["batch", 7, 1] },
        targets: { y: ["batch", 1] },
        loss: losses.mse(),
        optimizer: optim.Adam({ lr: 0.01 }),
      });
    },
    batch: { x: floats(6, 7, 1), y: floats(6, 1) },
  },
  "a transformer": {
    program: () => {
      const model = new TransformerLm({ vocabulary: 19, context: 10 });
      model.initialize(5);
      return trainStep(model, {
        inputs: { x: { dtype: "i64", shape: ["batch", 10] } },
        targets: { y: { dtype: "i64", shape: ["batch", 10] } },
        loss: (logits: Value, y: Value) => losses.crossEntropy()(flatten(logits, 0, 1), flatten(y)),
        optimizer: optim.AdamW({ lr: 0.01 }),
      });
    },
    batch: { x: indices(19, 3, 10), y: indices(19, 3, 10) },
  },
};

async function trained(program: TrainingProgram, batch: Case["batch"], steps: number): Promise<TrainingSession> {
  const session = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
  for (let s = 0; s < steps; s++) await session.step(batch as never);
  return session;
}

/** Largest difference as a share of the largest value. */
function relativeError(got: Tensor, want: Tensor): number {
  expect(got.dtype).toBe(want.dtype);
  expect([...got.shape]).toEqual([...want.shape]);
  let most = 0;
  let difference = 0;
  for (let i = 0; i < want.data.length; i++) {
    most = Math.max(most, Math.abs(element(want, i)));
    difference = Math.max(difference, Math.abs(element(got, i) - element(want, i)));
  }
  return difference / most;
}

describe.each(Object.entries(cases))("%s, trained", (_, { program: make, batch }) => {
  it(`gives in ONNX Runtime what the session gives${howToGetIt}`, { timeout: 60_000 }, async ({ skip }) => {
    if (!hasOnnxRuntime) skip(howToGetIt);
    const program = make();
    const session = await trained(program, batch, 4);
    const { x } = batch;
    const want = (await session.predict({ x: x! } as never)) as Record<string, Tensor>;
    const bytes = await session.exportOnnx();
    const got = await runOnnxRuntime(bytes, { x: x! });
    expect(Object.keys(got)).toEqual(Object.keys(want));
    for (const [name, tensor] of Object.entries(want))
      expect(relativeError(got[name]!, tensor), name).toBeLessThan(1e-5);
    session.dispose();
  });
});

describe("session.exportOnnx", () => {
  const { program: make, batch } = cases.LeNet!;

  it("writes what exportOnnx writes with the session's weights", async () => {
    const program = make();
    const session = await trained(program, batch, 2);
    const own = readOnnx(await session.exportOnnx());
    const outside = readOnnx(exportOnnx(program, { weights: await session.exportSafetensors() }));
    expect(own.graph.nodes.map((n) => [n.name, n.opType, n.inputs, n.outputs])).toEqual(
      outside.graph.nodes.map((n) => [n.name, n.opType, n.inputs, n.outputs]),
    );
    expect([...own.graph.initializers].sort()).toEqual([...outside.graph.initializers].sort());
    expect(own.graph.initializers.get("fc3.bias")!.data).toEqual(session.getState("fc3.bias").data);
    // A checkpoint holds more than weights; the rest is left out.
    expect(exportOnnx(program, { weights: await session.save() })).toEqual(
      exportOnnx(program, { weights: await session.exportSafetensors() }),
    );
    session.dispose();
  });

  it("is the same for the same state, works threaded, from one file, and writes atomically", async () => {
    const artifact = await compile(make(), { variants: ["simd128", "simd128-threads"] });
    const session = await load<TrainingSession>(await artifact.toBytes(), { threads: 2 });
    const bytes = await session.exportOnnx();
    expect(await session.exportOnnx()).toEqual(bytes);
    const x = floats(2, 1, 32, 32);
    const [want] = Object.values((await session.predict({ x } as never)) as Record<string, Tensor>);
    const [got] = evaluate(importOnnx(bytes), [x]);
    expect(relativeError(got!, want!)).toBeLessThan(1e-5);
    const folder = mkdtempSync(join(tmpdir(), "wasmith-export-"));
    try {
      await session.exportOnnx(join(folder, "model.onnx"));
      expect(readdirSync(folder)).toEqual(["model.onnx"]);
      expect(new Uint8Array(readFileSync(join(folder, "model.onnx")))).toEqual(bytes);
    } finally {
      rmSync(folder, { recursive: true });
      session.dispose();
    }
  });

  it("says what ONNX can't express; the model trains all the same", async () => {
    const program = trainStep(new Counting(), {
      inputs: { x: [1, 1, 6] },
      targets: {},
      loss: (y: Value) => sum(y),
      optimizer: optim.SGD({ lr: 0.1 }),
    });
    const session = await trained(program, { x: floats(1, 1, 6) }, 1);
    await expect(session.exportOnnx()).rejects.toThrow(/ONNX can't express the model: .*no convolution of i32 and i32/);
    session.dispose();
  });
});

/** Convolves integers, which ONNX does for bytes only. */
class Counting extends nn.Module {
  readonly scale = nn.Linear(5, 1);

  forward(ctx: nn.Context, x: Value): Value {
    const whole = cast([x], { to: "i32" });
    const kernel = full("i32", [1, 1, 2], 1);
    const attrs = {
      strides: [1],
      padLow: [0],
      padHigh: [0],
      dilations: [1],
      groups: 1,
      layout: "channelsFirst",
    } as const;
    return this.scale(ctx, cast([conv([whole, kernel], attrs)], { to: "f32" }));
  }
}
