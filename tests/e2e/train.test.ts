import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import type { AnyModule } from "../../compiler/dsl/graph.js";
import { losses, optim, trainStep } from "../../compiler/dsl/index.js";
import { lenet } from "../../models/lenet.js";
import { mlp } from "../../models/mlp.js";
import { load } from "../../runtime/index.js";
import { TrainingSession } from "../../runtime/train.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "../nn/reference-data.js";
import { sliceOf, type Trajectory } from "../nn/trajectory.js";

/** Compiles the training of a model and follows a recorded trajectory in wasm, to the final state. */
async function follow(
  folder: string,
  model: AnyModule,
  x: readonly (string | number)[],
  optimizer: optim.Optimizer,
): Promise<void> {
  const trajectory = readJson<Trajectory>(join(folder, "trajectory.json"));
  const batches = readTensors(join(folder, "batches.safetensors"));
  const final = readTensors(join(folder, "final.safetensors"));
  model.loadState(readTensors(join(folder, "init.safetensors")));
  const program = trainStep(model, {
    inputs: { x },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer,
  });
  const artifact = await compile(program, { deterministic: true });
  const runs: number[][] = [];
  for (const threads of [1, 2]) {
    const session = await load(artifact, { threads });
    if (!(session instanceof TrainingSession)) throw new Error("not a training session");
    const { values, atol } = trajectory.series.loss;
    const seen: number[] = [];
    for (let s = 0; s < trajectory.steps; s++) {
      const feeds = Object.fromEntries([...batches].map(([name, t]) => [name, sliceOf(t, s)]));
      const { loss } = await session.step(feeds as never);
      expect(Math.abs(loss - values[s]!), `loss at step ${s}, ${threads} threads`).toBeLessThanOrEqual(atol);
      seen.push(loss);
    }
    for (const [name, stats] of Object.entries(trajectory.finalStats)) {
      const got = session.getState(name);
      expect(disagreement(got as never, final.get(name)!, 0, stats.atol), name).toBeUndefined();
    }
    session.dispose();
    runs.push(seen);
  }
  expect(runs[1]).toEqual(runs[0]);
}

describe("compiled training follows PyTorch", () => {
  it("mlp_sgd", async () => {
    const folder = join(import.meta.dirname, "../fixtures/train/mlp_sgd");
    await follow(folder, mlp(12, [32, 16], 4), ["batch", 12], optim.SGD({ lr: 0.1, momentum: 0.9, weightDecay: 1e-4 }));
  });
  it.skipIf(!hasData)("convnet_sgd", async () => {
    const folder = join(dataFolder, "reference/train/convnet_sgd");
    await follow(folder, lenet(), ["batch", 1, 32, 32], optim.SGD({ lr: 0.001, momentum: 0.9 }));
  });
});
