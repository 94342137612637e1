/** The optimiser's part of a training step: from gradients to the next values of parameters, optimiser state and counters. */

import { asType, np, where } from "../../ir/build.js";
import { ModelError } from "../../ir/errors.js";
import { type Value, withLoc } from "../../ir/graph.js";
import { constantLike } from "../../ir/ops/constant.js";
import type { Clip, Optimizer } from "./optim.js";
import { rateValue, type Schedule } from "./schedules.js";

/** Names of the state that training adds to the model's. */
export const stateNames = {
  lr: "optimizer.lr",
  step: "optimizer.step",
  /** Batches since the last update, where several make one. */
  batches: "optimizer.batches",
  key: "rng.key",
  slot: (slot: string, parameter: string) => `optimizer.${slot}.${parameter}`,
} as const;

export interface UpdateOptions {
  readonly optimizer: Optimizer;
  readonly clip?: Clip;
  readonly schedule?: Schedule;
  readonly momentumSchedule?: Schedule;
  readonly accumulate?: number;
}

/** A parameter that is learnt. */
export interface Learnt {
  readonly name: string;
  readonly weight: Value;
  readonly gradient: Value;
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
  const gradients = learnt.map((l) => l.gradient);
  const clipped = clip?.(gradients) ?? gradients;
  const counter = state(stateNames.step);
  const done = np.add(counter, 1);
  const step = asType(done, "f32");
  const lr = schedule === undefined ? state(stateNames.lr) : rateValue(schedule, counter);
  const momentum = momentumSchedule && rateValue(momentumSchedule, counter);
  const next = learnt.flatMap(({ name, weight }, i) => {
    const rule = optimizer.ruleFor(name);
    const slots = Object.fromEntries(Object.keys(rule.slots).map((slot) => [slot, state(stateNames.slot(slot, name))]));
    const rate = scaledRate(lr, rule.lr, optimizer.lr);
    const result = withLoc(`optimizer.${name}`, () =>
      rule.update({ param: weight, gradient: clipped[i]!, slots, lr: rate, step, momentum }),
    );
    return [
      [name, result.param] as const,
      ...Object.entries(result.slots).map(([slot, v]) => [stateNames.slot(slot, name), v] as const),
    ];
  });
  return [...next, [stateNames.step, done]];
}

/** A group's rate keeps its ratio to the optimiser's own. */
function scaledRate(lr: Value, own: number, base: number): Value {
  if (own === base) return lr;
  if (base === 0) {
    throw new ModelError({
      message: "a group has its own learning rate, but the optimiser's is 0",
      hint: "give the optimiser the rate that groups are relative to",
    });
  }
  return np.mul(lr, own / base);
}

/** Adds up gradients; with every `count`-th batch their mean makes an update, otherwise all else stays as it is. */
function accumulated(
  learnt: readonly Learnt[],
  state: (name: string) => Value,
  options: UpdateOptions,
  count: number,
): Next {
  const slot = (name: string) => stateNames.slot("gradient", name);
  const sums = learnt.map((l) => np.add(state(slot(l.name)), np.mul(l.gradient, 1 / count)));
  const batches = np.add(state(stateNames.batches), 1);
  const full = np.ge(batches, count);
  const updated = updateOnce(
    learnt.map((l, i) => ({ ...l, gradient: sums[i]! })),
    state,
    options,
  );
  const weights = new Map(learnt.map((l) => [l.name, l.weight]));
  return [
    ...updated.map(([name, v]) => [name, where(full, v, weights.get(name) ?? state(name))] as const),
    ...learnt.map((l, i) => [slot(l.name), where(full, constantLike(sums[i]!, 0), sums[i]!)] as const),
    [stateNames.batches, where(full, 0, batches)],
  ];
}
