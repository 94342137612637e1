/** One update of a training step: from gradients to the next values of parameters, optimiser state and counters. */

import { asType, np, sum } from "../../ir/build.js";
import { ifOp } from "../../ir/control-build.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Value, withLoc } from "../../ir/graph.js";
import { copyWith } from "../../ir/graph-rebuild.js";
import { constantLike, scalarConstant } from "../../ir/ops/constant.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { applyOptimizer, type Learnt } from "./optim/apply.js";
import { takesRows } from "./optim/clip.js";
import { areFew, Rows, usesOf } from "./optim/rows.js";
import type { Objective } from "./optim/rule.js";
import type { Clip, Optimizer } from "./optim.js";
import { rateValue, type Schedule } from "./schedules.js";

/** Names of the state that an optimiser of this name adds to the model's. */
export const optimizerNames = (name: string) => ({
  lr: `${name}.lr`,
  step: `${name}.step`,
  /** Batches since the last update, where several make one. */
  batches: `${name}.batches`,
  slot: (slot: string, parameter?: string) =>
    parameter === undefined ? `${name}.${slot}` : `${name}.${slot}.${parameter}`,
});
export type OptimizerNames = ReturnType<typeof optimizerNames>;

/** Names of the state of random numbers. */
export const randomNames = { key: "rng.key", counter: "rng.counter" } as const;

/** Names of the state that `trainStep` adds to the model's. */
export const stateNames = { ...optimizerNames("optimizer"), ...randomNames } as const;

export interface UpdateOptions {
  /** Changes the gradients before the update: `optim.clipNorm(1)`. */
  readonly clip?: Clip;
  /** Learning rate from the step counter. Without one it is a state that the session can set at any time. */
  readonly schedule?: Schedule;
  /** Momentum (or first beta) from the step counter. */
  readonly momentumSchedule?: Schedule;
  /** Batches whose mean gradient makes one update. The parameters change with every n-th step only. Default 1. */
  readonly accumulate?: number;
}

/** An optimiser at work: its states by name, and how they are called. */
export interface Updating extends UpdateOptions {
  readonly optimizer: Optimizer;
  readonly names: OptimizerNames;
  readonly state: (name: string) => Value;
  /** Whose gradients they are, where they are those of one loss of the parameters as they are. */
  readonly loss?: Value | undefined;
}

/**
 * 0 where all gradients are finite, else NaN. Of rows that are added to zeros (embeddings) the rows are looked at: the whole need not
 * be made.
 */
export function finiteness(gradients: readonly Value[]): Value {
  // As backpropagation makes them: what each needs of the forward pass is not kept for the others.
  const looked = [
    ...new Set(gradients.filter((g) => isFloat(g.type.dtype)).map((g) => usesOf(g)?.rows ?? g)),
  ].reverse();
  return withLoc("gradients", () =>
    looked.map((g) => asType(sum(np.mul(g, 0)), "f32")).reduce((a, b) => np.add(a, b), scalarConstant("f32", 0)),
  );
}

type Next = readonly (readonly [name: string, value: Value])[];

/** Next values of all state that the optimiser changes, the parameters among it. */
export function updates(learnt: readonly Learnt[], updating: Updating): Next {
  const { accumulate = 1 } = updating;
  return withLoc("optimizer", () =>
    accumulate === 1 ? updateOnce(learnt, updating) : accumulated(learnt, updating, accumulate),
  );
}

function updateOnce(learnt: readonly Learnt[], updating: Updating): Next {
  const { optimizer, clip, schedule, momentumSchedule, names, state } = updating;
  const counter = state(names.step);
  const done = np.add(counter, 1);
  const clock = {
    lr: schedule === undefined ? state(names.lr) : rateValue(schedule, counter),
    momentum: momentumSchedule && rateValue(momentumSchedule, counter),
    step: asType(done, "f32"),
  };
  const inRows = learnt.map((l) => withRows(l, updating));
  const clipped = clip === undefined ? inRows : withClip(clip, inRows);
  const objective = objectiveOf(updating, learnt);
  const next = applyOptimizer({ optimizer, learnt: clipped, clock, state, slotName: names.slot, objective });
  return [...next, [names.step, done]];
}

/** The loss as a function of the parameters; random numbers are the same for all of them. */
function objectiveOf({ loss, accumulate = 1, clip }: Updating, learnt: readonly Learnt[]): Objective | undefined {
  if (loss === undefined || accumulate > 1 || clip !== undefined) return undefined;
  return {
    loss,
    at: (params) => {
      const replaced = new Map(learnt.map((l, i) => [l.weight, params[i]!]));
      const [value] = copyWith([loss], replaced) as readonly [Value];
      const found = gradients(value, params, { unused: "undefined" });
      return { loss: value, gradients: found.map((g, i) => g ?? constantLike(params[i]!, 0)) };
    },
  };
}

/**
 * The gradient as rows of a table: where the optimiser or the layer (`sparse: true`) asks for that, and where it gives the same for less.
 * @throws ModelError where it is asked for, but can't be
 */
function withRows(l: Learnt, { optimizer, clip, accumulate = 1 }: Updating): Learnt {
  if (l.gradient === undefined) return l;
  const { rows } = optimizer.joint === undefined ? optimizer.ruleFor(l.name) : {};
  const asked = rows === "only" || l.sparse === true;
  const uses = accumulate === 1 ? usesOf(l.gradient) : undefined;
  const fits = clip === undefined || takesRows(clip);
  if (uses !== undefined && rows !== undefined && fits && optimizer.average === undefined) {
    // Sums of rows into the table itself need less: passes/graph/sparse-updates.
    const isSum = rows === "exact" && clip === undefined && Object.keys(optimizer.ruleFor(l.name).slots).length === 0;
    if (isSum || !(asked || areFew(uses, l.weight))) return l;
    const own = new Rows(uses, l.weight);
    return { ...l, gradient: own.sums, rows: own };
  }
  if (!asked) return l;
  const { message, hint } = whyNot();
  throw new ModelError({ where: l.name, message: `it can't be learnt by rows: ${message}`, hint });

  function whyNot(): { readonly message: string; readonly hint: string } {
    if (accumulate > 1)
      return { message: "gradients of several batches are added up as a whole", hint: "leave accumulate out" };
    if (rows === undefined)
      return {
        message: `${optimizer.name} with these options has no sparse form`,
        hint: "SGD without momentum, Adagrad and SparseAdam have one, without weight decay",
      };
    if (uses === undefined)
      return {
        message: "its gradient is no rows of a table",
        hint: "use it in Embedding and EmbeddingBag only, and learn other parameters by another optimiser",
      };
    if (!fits)
      return {
        message: "a clip of one's own takes whole gradients",
        hint: "use optim.clipNorm, clipValue or clipEachNorm",
      };
    return { message: "averages are kept of whole parameters", hint: "leave optim.averaged out" };
  }
}

function withClip(clip: Clip, learnt: readonly Learnt[]): readonly Learnt[] {
  const clipped = [...clip(learnt.flatMap((l) => l.gradient ?? []))];
  return learnt.map((l) => (l.gradient === undefined ? l : { ...l, gradient: clipped.shift()! }));
}

/** Adds up gradients; with every `count`-th batch their mean makes an update. Otherwise all else stays as it is, and nothing is computed. */
function accumulated(learnt: readonly Learnt[], updating: Updating, count: number): Next {
  const { names, state } = updating;
  const slot = (name: string) => names.slot("gradient", name);
  const summed = learnt.map((l): Learnt => {
    if (l.gradient === undefined) return l;
    return { ...l, gradient: np.add(state(slot(l.name)), np.mul(l.gradient, 1 / count)) };
  });
  const sums = summed.flatMap(({ name, gradient }) => (gradient ? [[slot(name), gradient] as const] : []));
  const batches = np.add(state(names.batches), 1);
  let changed: readonly string[] = [];
  const weights = new Map(learnt.map((l) => [l.name, l.weight]));
  const results = ifOp(
    np.ge(batches, count),
    () => {
      const next = [
        ...updateOnce(summed, updating),
        ...sums.map(([name, v]) => [name, constantLike(v, 0)] as const),
        [names.batches, constantLike(batches, 0)] as const,
      ];
      changed = next.map(([name]) => name);
      return next.map(([, v]) => v);
    },
    () => {
      const now = new Map<string, Value>([...sums, [names.batches, batches]]);
      return changed.map((name) => now.get(name) ?? weights.get(name) ?? state(name));
    },
  );
  return changed.map((name, i) => [name, results[i]!] as const);
}
