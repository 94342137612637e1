/** The optimiser's part of a training step: from gradients to the next values of parameters, optimiser state and counters. */

import { asType, np, where } from "../../ir/build.js";
import { type Value, withLoc } from "../../ir/graph.js";
import { constantLike } from "../../ir/ops/constant.js";
import { applyOptimizer, type Learnt } from "./optim/apply.js";
import type { Clip, Optimizer } from "./optim.js";
import { rateValue, type Schedule } from "./schedules.js";

/** Names of the state that training adds to the model's. */
export const stateNames = {
  lr: "optimizer.lr",
  step: "optimizer.step",
  /** Batches since the last update, where several make one. */
  batches: "optimizer.batches",
  key: "rng.key",
  slot: (slot: string, parameter?: string) =>
    parameter === undefined ? `optimizer.${slot}` : `optimizer.${slot}.${parameter}`,
} as const;

export interface UpdateOptions {
  readonly optimizer: Optimizer;
  readonly clip?: Clip;
  readonly schedule?: Schedule;
  readonly momentumSchedule?: Schedule;
  readonly accumulate?: number;
}

type Next = readonly (readonly [name: string, value: Value])[];

/** Next values of all state that the optimiser changes. `state` gives the value of a state by name. */
export function updates(learnt: readonly Learnt[], state: (name: string) => Value, options: UpdateOptions): Next {
  const { accumulate = 1 } = options;
  return withLoc("optimizer", () =>
    accumulate === 1 ? updateOnce(learnt, state, options) : accumulated(learnt, state, options, accumulate),
  );
}

function updateOnce(learnt: readonly Learnt[], state: (name: string) => Value, options: UpdateOptions): Next {
  const { optimizer, clip, schedule, momentumSchedule } = options;
  const counter = state(stateNames.step);
  const done = np.add(counter, 1);
  const clock = {
    lr: schedule === undefined ? state(stateNames.lr) : rateValue(schedule, counter),
    momentum: momentumSchedule && rateValue(momentumSchedule, counter),
    step: asType(done, "f32"),
  };
  const clipped = clip === undefined ? learnt : withClip(clip, learnt);
  const next = applyOptimizer({ optimizer, learnt: clipped, clock, state, slotName: stateNames.slot });
  return [...next, [stateNames.step, done]];
}

function withClip(clip: Clip, learnt: readonly Learnt[]): readonly Learnt[] {
  const clipped = [...clip(learnt.flatMap((l) => l.gradient ?? []))];
  return learnt.map((l) => (l.gradient === undefined ? l : { ...l, gradient: clipped.shift()! }));
}

/** Adds up gradients; with every `count`-th batch their mean makes an update, otherwise all else stays as it is. */
function accumulated(
  learnt: readonly Learnt[],
  state: (name: string) => Value,
  options: UpdateOptions,
  count: number,
): Next {
  const slot = (name: string) => stateNames.slot("gradient", name);
  const sums = learnt.map((l) => l.gradient && np.add(state(slot(l.name)), np.mul(l.gradient, 1 / count)));
  const batches = np.add(state(stateNames.batches), 1);
  const full = np.ge(batches, count);
  const updated = updateOnce(
    learnt.map((l, i) => ({ ...l, gradient: sums[i] })),
    state,
    options,
  );
  const weights = new Map(learnt.map((l) => [l.name, l.weight]));
  return [
    ...updated.map(([name, v]) => [name, where(full, v, weights.get(name) ?? state(name))] as const),
    ...learnt.flatMap((l, i) => {
      const total = sums[i];
      return total === undefined ? [] : [[slot(l.name), where(full, constantLike(total, 0), total)] as const];
    }),
    [stateNames.batches, where(full, 0, batches)],
  ];
}
