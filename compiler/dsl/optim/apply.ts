/** An optimiser applied to parameters: the state that it keeps for them, and the next values of all of it. */

import { np, where } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { choices } from "../../../ir/names.js";
import { constantLike } from "../../../ir/ops/constant.js";
import { elementCount, type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { located } from "../module.js";
import type { Rows } from "./rows.js";
import {
  type Clock,
  isFirst,
  mix,
  type Objective,
  type Optimizer,
  type Parameter,
  type Rule,
  type Slot,
  type Update,
  type Updated,
} from "./rule.js";

/** What state of the optimiser is called: one that belongs to a parameter, or to all of them. */
export type SlotName = (slot: string, parameter?: string) => string;

/** A parameter that is learnt, in a training graph. */
export interface Learnt {
  readonly name: string;
  readonly weight: Value;
  /** Undefined where the loss does not depend on the parameter: then it and its state stay as they are, as in PyTorch. */
  readonly gradient: Value | undefined;
  /** Whether its gradient must be rows of a table. */
  readonly sparse?: boolean;
  /** Where the gradient has some rows only, these: `gradient` is then their sums. */
  readonly rows?: Rows;
}

const averageSlot = "average";

/** Slots that a rule keeps for a parameter of this shape, by name. */
const slotsFor = (rule: Rule, shape: readonly number[]): readonly (readonly [string, Slot])[] =>
  Object.entries(rule.slots).filter(([, slot]) => slot.shape === undefined || slot.shape(shape) !== undefined);

/** Slots of one parameter by name. */
function slotsOf(optimizer: Optimizer, { name, shape }: Parameter): Readonly<Record<string, Slot>> {
  const own = optimizer.joint === undefined ? Object.fromEntries(slotsFor(optimizer.ruleFor(name), shape)) : {};
  if (optimizer.average === undefined) return own;
  if (Object.hasOwn(own, averageSlot))
    throw new ModelError(`${optimizer.name} keeps averages of its own: use it without optim.averaged`);
  return { ...own, [averageSlot]: { initial: "parameter" } };
}

const filled = (dtype: Tensor["dtype"], shape: readonly number[], value: number): Tensor =>
  tensorFrom(dtype, shape, new Float64Array(elementCount(shape)).fill(value));

/** @throws ModelError where a group's prefix begins none of the names: it would silently do nothing */
function checkPrefixes({ name: optimizer, prefixes = [] }: Optimizer, parameters: readonly Parameter[]): void {
  const names = parameters.map((p) => p.name);
  const idle = prefixes.filter((prefix) => !names.some((n) => n.startsWith(prefix)));
  if (idle.length > 0)
    throw new ModelError(
      idle.map((prefix) => ({
        where: `a group of optim.${optimizer}`,
        message: `no parameter's name begins with ${JSON.stringify(prefix)}`,
        hint: choices(prefix, names, "their names are"),
      })),
    );
}

/**
 * All state that an optimiser keeps for these parameters, with first values.
 * @throws ModelError where a group has none of them
 */
export function optimizerState(
  optimizer: Optimizer,
  parameters: readonly (Parameter & { readonly value: () => Tensor })[],
  slotName: SlotName,
): readonly (readonly [name: string, first: Tensor])[] {
  checkPrefixes(optimizer, parameters);
  const own = parameters.flatMap((p) =>
    Object.entries(slotsOf(optimizer, p)).map(([slot, { initial, scalar, shape = () => p.shape }]) => {
      const name = slotName(slot, p.name);
      if (initial === "parameter") return [name, p.value()] as const;
      return [name, scalar ? filled("f32", [], initial) : filled(p.dtype, shape(p.shape)!, initial)] as const;
    }),
  );
  const joint = Object.entries(optimizer.joint?.slots(parameters) ?? {}).map(
    ([slot, { shape, initial }]) => [slotName(slot), filled("f32", shape, initial)] as const,
  );
  return [...own, ...joint];
}

export interface Application {
  readonly optimizer: Optimizer;
  /** All parameters of the optimiser, in the order of `optimizerState`. */
  readonly learnt: readonly Learnt[];
  readonly clock: Clock;
  /** The value of a state by name. */
  readonly state: (name: string) => Value;
  readonly slotName: SlotName;
  readonly objective?: Objective | undefined;
}

type Next = readonly (readonly [name: string, value: Value])[];

/** Next values of parameters and slots, by the names of the states. */
export function applyOptimizer({ optimizer, learnt, clock, state, slotName, objective }: Application): Next {
  const next = optimizer.joint === undefined ? eachByItsRule() : together(optimizer.joint);
  const { average } = optimizer;
  if (average === undefined) return next;
  const params = new Map(next);
  return [
    ...next,
    ...learnt.flatMap(({ name }) => {
      const param = params.get(name);
      if (param === undefined) return [];
      const slot = slotName(averageSlot, name);
      const moved = mix(average.decay, state(slot), 1 - average.decay, param);
      return [[slot, where(isFirst(clock), param, moved)] as const];
    }),
  ];

  function eachByItsRule(): Next {
    return learnt.flatMap(({ name, weight, gradient, rows }) => {
      if (gradient === undefined) return [];
      const rule = optimizer.ruleFor(name);
      const kept = slotsFor(rule, weight.type.shape as readonly number[]);
      const slots = Object.fromEntries(kept.map(([slot]) => [slot, state(slotName(slot, name))]));
      const lr = scaledRate(clock.lr, rule.lr, optimizer.lr);
      const all = { ...clock, param: weight, gradient, slots, lr };
      const result = located(`optimizer.${name}`, name, () =>
        rows === undefined ? rule.update(all) : updateOfRows(rule, all, rows),
      );
      return [
        [name, result.param] as const,
        ...Object.entries(result.slots).map(([slot, v]) => [slotName(slot, name), v] as const),
      ];
    });
  }

  function together(joint: NonNullable<Optimizer["joint"]>): Next {
    const parameters = learnt.map(({ name, weight: { type } }) => ({
      name,
      dtype: type.dtype,
      shape: type.shape as readonly number[],
    }));
    const slots = Object.fromEntries(Object.keys(joint.slots(parameters)).map((slot) => [slot, state(slotName(slot))]));
    const result = joint.update({
      ...clock,
      params: learnt.map((l) => l.weight),
      gradients: learnt.map((l) => l.gradient ?? constantLike(l.weight, 0)),
      slots,
      objective,
    });
    return [
      ...learnt.map((l, i) => [l.name, result.params[i]!] as const),
      ...Object.entries(result.slots).map(([slot, v]) => [slotName(slot), v] as const),
    ];
  }
}

/** The update of the rows that a gradient has. */
function updateOfRows(rule: Rule, u: Update, rows: Rows): Updated {
  const slots = Object.entries(u.slots);
  const updated = rule.update({
    ...u,
    param: rows.of(u.param),
    gradient: rows.atAllUses(u.gradient),
    slots: Object.fromEntries(slots.map(([name, v]) => [name, rows.of(v)])),
  });
  return {
    param: rows.into(u.param, updated.param),
    slots: Object.fromEntries(slots.map(([name, v]) => [name, rows.into(v, updated.slots[name]!)])),
  };
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
