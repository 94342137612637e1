/** Follows a training trajectory of PyTorch step by step, and compares losses and final state. */

import { join } from "node:path";
import { expect } from "vitest";
import type { Inputs } from "../../compiler/dsl/graph.js";
import type { Module } from "../../compiler/dsl/module.js";
import { type TrainOptions, trainStep } from "../../compiler/dsl/train.js";
import type { Value } from "../../ir/graph.js";
import { type Tensor, tensor } from "../../ir/tensor.js";
import { disagreement, readJson, readTensors } from "./reference-data.js";
import { ReferenceSession } from "./reference-session.js";

export interface Trajectory {
  readonly steps: number;
  readonly series: { readonly loss: { readonly values: readonly number[]; readonly atol: number } };
  readonly finalStats: Readonly<
    Record<string, { readonly atol: number; readonly ignoreRange?: readonly [number, number] }>
  >;
}

/** Slice s of axis 0. */
export function sliceOf(t: Tensor, s: number): Tensor {
  const shape = t.shape.slice(1);
  const n = shape.reduce((p, d) => p * d, 1);
  return tensor(t.dtype, shape, t.data.slice(s * n, (s + 1) * n));
}

/**
 * What is wrong with a final tensor, if anything. An ignored range is left out: its gradient is 0 in exact arithmetic, and the
 * optimiser turns the rounding noise into steps.
 */
export function finalDisagreement(
  got: Tensor,
  want: Tensor,
  { atol, ignoreRange }: Trajectory["finalStats"][string],
): string | undefined {
  if (ignoreRange === undefined) return disagreement(got, want, 0, atol);
  const [from, to] = ignoreRange;
  const data = got.data.slice();
  data.set(want.data.slice(from, to) as never, from);
  return disagreement({ ...got, data }, want, 0, atol);
}

export interface Followed {
  readonly inputs: Inputs;
  readonly targets: Inputs;
  /** Steps to run; all by default. The final state is compared after all only. */
  readonly steps?: number;
}

/** Trains the model as the folder's files say. */
export function follow(
  folder: string,
  model: Module<never, Value>,
  { steps, ...data }: Followed,
  options: Pick<TrainOptions, "loss" | "optimizer" | "clip" | "schedule">,
): ReferenceSession {
  const trajectory = readJson<Trajectory>(join(folder, "trajectory.json"));
  const batches = readTensors(join(folder, "batches.safetensors"));
  model.loadState(readTensors(join(folder, "init.safetensors")));
  const session = new ReferenceSession(trainStep(model, { ...data, ...options }));
  const count = steps ?? trajectory.steps;
  const { values, atol } = trajectory.series.loss;
  for (let s = 0; s < count; s++) {
    const feeds = Object.fromEntries(
      [...batches].filter(([name]) => !name.startsWith("_")).map(([name, t]) => [name, sliceOf(t, s)]),
    );
    const { loss } = session.step(feeds);
    expect(Math.abs(loss! - values[s]!), `loss ${loss} at step ${s}`).toBeLessThanOrEqual(atol);
  }
  if (count < trajectory.steps) return session;
  const final = readTensors(join(folder, "final.safetensors"));
  for (const [name, stats] of Object.entries(trajectory.finalStats)) {
    const got = session.state.get(name);
    if (got === undefined) continue;
    expect(finalDisagreement(got, final.get(name)!, stats), name).toBeUndefined();
  }
  return session;
}
