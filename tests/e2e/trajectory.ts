/** Training from PyTorch's initial weights on PyTorch's batches, in compiled wasm: what is compared, and how. */

import { join } from "node:path";
import { compile } from "../../compiler/compile.js";
import * as optim from "../../compiler/dsl/optim.js";
import type { TrainOptions } from "../../compiler/dsl/train.js";
import type { TrainingProgram } from "../../compiler/program.js";
import type { Tensor } from "../../ir/tensor.js";
import { load, type TrainingArtifact, type VariantId } from "../../runtime/index.js";
import { dataFolder, readJson, readTensors } from "../nn/reference-data.js";
import { finalDisagreement, sliceOf, type Trajectory } from "../nn/trajectory.js";

interface Case {
  readonly options: Pick<TrainOptions, "inputs" | "targets" | "optimizer">;
}

const labels = { y: { dtype: "i64", shape: ["batch"] } } as const;

export const cases: Readonly<Record<string, Case>> = {
  convnet_sgd: {
    options: {
      inputs: { x: ["batch", 1, 32, 32] },
      targets: labels,
      optimizer: optim.SGD({ lr: 0.001, momentum: 0.9 }),
    },
  },
};

export interface Followed {
  /** All losses as one text: equal exactly when all bits are. */
  readonly losses: string;
  /** Where a loss or a final weight leaves its tolerance. */
  readonly departures: readonly string[];
  /** Variant and threads that were really used. */
  readonly used: string;
}

export const folderOf = (name: string): string => join(dataFolder, "reference/train", name);

/** Trains a program that starts from the stored initial weights. `inputs`: what it calls the batch's tensors. */
export async function followProgram(
  name: string,
  program: TrainingProgram,
  variant: VariantId,
  threads: number,
  inputs: Readonly<Record<string, string>> = {},
): Promise<Followed> {
  const folder = folderOf(name);
  const trajectory = readJson<Trajectory>(join(folder, "trajectory.json"));
  const artifact = (await compile(program, { variants: [variant] })) as unknown as TrainingArtifact;
  const session = await load(artifact, { threads });
  const batches = readTensors(join(folder, "batches.safetensors"));
  const departures: string[] = [];
  const seen: number[] = [];
  const { values, atol } = trajectory.series.loss;
  for (let s = 0; s < trajectory.steps; s++) {
    const feeds = [...batches].map(([key, t]) => [inputs[key] ?? key, sliceOf(t, s)] as const);
    const { loss } = await session.step(Object.fromEntries(feeds) as never);
    seen.push(loss);
    if (!(Math.abs(loss - values[s]!) <= atol)) departures.push(`loss of step ${s} is ${loss}, not ${values[s]}`);
  }
  const final = readTensors(join(folder, "final.safetensors"));
  for (const [parameter, stats] of Object.entries(trajectory.finalStats)) {
    const wrong = finalDisagreement(session.getState(parameter) as Tensor, final.get(parameter)!, stats);
    if (wrong !== undefined) departures.push(`${parameter}: ${wrong}`);
  }
  const { report } = session;
  session.dispose();
  return { losses: seen.join(), departures, used: `${report.variant} ${report.threads}` };
}
