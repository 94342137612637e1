/** What the functions of a program's entries get: modules with their values, gradients, updates, random numbers. */

import { np } from "../../ir/build.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { sameType, typeText, type Value } from "../../ir/graph.js";
import { scope } from "../../ir/scope.js";
import { scalar, type Tensor, tensorFrom, zeros } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import type { ObjectiveInfo, StateRole } from "../../runtime/format.js";
import { aFunction, aString, atLeast, type Checks, checkOptions, describe } from "../options.js";
import { Context } from "./context.js";
import type { AnyModule } from "./graph.js";
import { type Module, Variable } from "./module.js";
import { optimizerState } from "./optim/apply.js";
import { anOptimizer } from "./optim/rule.js";
import type { Optimizer } from "./optim.js";
import type { EntryState, StateStore } from "./state-store.js";
import { optimizerNames, randomNames, type UpdateOptions, updates } from "./update.js";

/** What is learnt: a module, a parameter, or several. */
export type Learning = Module<never, unknown> | Variable | readonly (Module<never, unknown> | Variable)[];

export interface MinimizeOptions extends UpdateOptions {
  /**
   * What the names of the optimiser's states begin with. Default: `ENTRY.optimizer`, or the name that this optimiser object has
   * already; an optimiser that several entries use shares its state between them.
   */
  readonly name?: string;
}

const minimizeChecks: Checks<MinimizeOptions> = {
  clip: aFunction,
  schedule: aFunction,
  momentumSchedule: aFunction,
  accumulate: atLeast(1),
  name: aString,
};

/** The key of Philox that a seed gives. */
const keyOf = (seed: number): Tensor => tensorFrom("u32", [2], [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]);

/** What all entries of a program share while they are built. */
export interface ProgramParts {
  readonly root: AnyModule;
  readonly store: StateStore;
  /** Optimisers that have been used, with their names and the parameters that they learn. */
  readonly optimizers: Map<Optimizer, { readonly name: string; readonly learns: string }>;
  readonly objectives: ObjectiveInfo[];
  /** Of the random numbers. */
  readonly seed: number;
  /** The entry that `fit` runs, whose gradients it looks at before state changes. */
  readonly guarded?: string | undefined;
  /** Of the only optimiser. Default: it is named by the entry that uses it first. */
  readonly nameOfOptimizer?: string;
}

export interface NamedParameter {
  /** As the session calls it. */
  readonly name: string;
  readonly variable: Variable;
  readonly value: Value;
}

export class EntryContext extends Context {
  readonly #parts: ProgramParts;
  readonly #state: EntryState;
  readonly #entry: string;
  readonly #gradients: Value[] = [];

  constructor(parts: ProgramParts, state: EntryState, entry: string, training: boolean) {
    const { store, seed } = parts;
    let drawn = false;
    const random = (name: "key" | "counter"): Value => {
      if (name === "counter") store.declare(randomNames.counter, "rng", tensorFrom("u32", [1], [0]));
      else store.declare(randomNames.key, "rng", keyOf(seed), (other) => keyOf(seed + other));
      // What this run draws, no other run draws.
      if (!drawn && name === "counter") {
        drawn = true;
        state.setAlways(randomNames.counter, np.add(state.first(randomNames.counter), 1));
      }
      return state.first(randomNames[name]);
    };
    const read = (v: Variable): Value | undefined => {
      const name = store.nameOf(v);
      return name === undefined ? undefined : state.first(name);
    };
    super(parts.root, read, { training, random: { key: () => random("key"), counter: () => random("counter") } });
    this.#parts = parts;
    this.#state = state;
    this.#entry = entry;
  }

  /** The trainable parameters of modules with their values here. @throws ModelError where there are none */
  parameters(of: Learning): readonly NamedParameter[] {
    const all = [of].flat().flatMap((m) => (m instanceof Variable ? [m] : [...m.variables().values()]));
    const found = [...new Set(all)].flatMap((variable): NamedParameter[] => {
      const name = this.#parts.store.nameOf(variable);
      if (name === undefined) {
        this.value(variable);
        return [];
      }
      const learnt = variable.trainable && isFloat(variable.dtype);
      return learnt ? [{ name, variable, value: this.value(variable) }] : [];
    });
    if (found.length > 0) return found;
    throw new ModelError({
      message: "there is no trainable parameter to learn",
      hint: "all are frozen, or the module has only buffers; use toGraph for inference",
    });
  }

  /**
   * Takes one step of the optimiser down the gradients of a loss with respect to the modules' trainable parameters, those that it
   * depends on; the others are left alone. From here on, and in the next run, the parameters have their new values.
   *
   * ```ts
   * ctx.minimize(loss, net, optim.Adam({ lr: 1e-3 }), { clip: optim.clipNorm(1) });
   * ```
   *
   * @returns the loss
   * @throws ModelError where the loss is not one float, or depends on none of the parameters
   */
  minimize(loss: Value, of: Learning, optimizer: Optimizer, options: MinimizeOptions = {}): Value {
    const parameters = this.parameters(of);
    const found = gradients(
      loss,
      parameters.map((p) => p.value),
      { unused: "undefined" },
    );
    if (found.every((g) => g === undefined))
      throw new ModelError({
        message: "the loss depends on none of the parameters to learn",
        hint: "compute it from the modules' values as they are here: not before another update of them, not behind a stopGradient",
      });
    this.#learn(found, parameters, optimizer, options, loss);
    return loss;
  }

  /**
   * Takes one step of the optimiser with gradients that were made otherwise, in the order of `parameters(of)`; undefined leaves a
   * parameter alone.
   */
  applyGradients(
    found: readonly (Value | undefined)[],
    of: Learning,
    optimizer: Optimizer,
    options: MinimizeOptions = {},
  ): void {
    const parameters = this.parameters(of);
    if (found.length !== parameters.length)
      throw new ModelError(`${found.length} gradients are given for ${parameters.length} parameters`);
    found.forEach((gradient, i) => {
      const { name, value } = parameters[i]!;
      if (gradient !== undefined && !sameType(gradient.type, value.type))
        throw new ModelError({
          where: name,
          message: `its gradient is ${typeText(gradient.type)}, the parameter ${typeText(value.type)}`,
        });
    });
    this.#learn(found, parameters, optimizer, options);
  }

  #learn(
    found: readonly (Value | undefined)[],
    parameters: readonly NamedParameter[],
    optimizer: Optimizer,
    options: MinimizeOptions,
    loss?: Value,
  ): void {
    checkOptions("minimize", options, minimizeChecks);
    if (!anOptimizer.fits(optimizer))
      throw new ModelError({
        where: "minimize",
        message: `expected ${anOptimizer.expected}, got ${describe(optimizer)}`,
        hint: "ctx.minimize(loss, net, optim.Adam({ lr: 1e-3 }))",
      });
    const { store, objectives } = this.#parts;
    const name = this.#optimizerName(optimizer, parameters, options.name);
    const names = optimizerNames(name);
    // Those of a branch are not made where it is not taken.
    if (scope().region === undefined) this.#gradients.push(...found.flatMap((g) => g ?? []));
    const { schedule, accumulate = 1 } = options;
    const learnt = parameters.map((p, i) => ({
      name: p.name,
      weight: p.value,
      gradient: found[i],
      sparse: p.variable.sparse,
    }));
    const declared = parameters.map(({ name: parameter, variable: { dtype, shape } }) => ({
      name: parameter,
      dtype,
      shape,
      value: () => store.get(parameter).tensor,
    }));
    for (const [slot, first] of optimizerState(optimizer, declared, names.slot))
      store.declare(slot, "optimizer", first);
    if (accumulate > 1) {
      for (const p of declared) store.declare(names.slot("gradient", p.name), "optimizer", zeros(p.dtype, p.shape));
      store.declare(names.batches, "counter", scalar("i32", 0));
    }
    if (schedule === undefined) store.declare(names.lr, "hyper", scalar("f32", optimizer.lr));
    store.declare(names.step, "counter", scalar("i32", 0));
    const variables = new Map(parameters.map((p) => [p.name, p.variable]));
    const updating = { ...options, optimizer, names, loss, state: (state: string) => this.#state.now(state) };
    for (const [state, value] of updates(learnt, updating)) {
      const variable = variables.get(state);
      if (variable) this.assign(variable, value);
      else this.#state.set(state, value);
    }
    objectives.push({
      entry: this.#entry,
      name,
      optimizer: { name: optimizer.name, options: optimizer.options },
      learningRate: schedule === undefined ? names.lr : null,
      stepCounter: names.step,
    });
  }

  #optimizerName(optimizer: Optimizer, all: readonly NamedParameter[], wanted: string | undefined): string {
    const { optimizers, store, nameOfOptimizer } = this.#parts;
    const learns = all.map((p) => p.name).join();
    const known = optimizers.get(optimizer);
    if (known) {
      if (known.learns !== learns)
        throw new ModelError({
          message: `an optimiser (${optimizer.name}) that learns other parameters already`,
          hint: "make one for each set of parameters",
        });
      return known.name;
    }
    const base = wanted ?? nameOfOptimizer ?? `${this.#entry}.optimizer`;
    let name = base;
    for (let n = 2; store.has(optimizerNames(name).step); n++) {
      if (wanted !== undefined)
        throw new ModelError({ where: `option name`, message: `two optimisers are called "${wanted}"` });
      name = `${base}${n}`;
    }
    optimizers.set(optimizer, { name, learns });
    return name;
  }

  /** A state of the entries' own, by its name in the program. Setting `value` changes it after this run. */
  keep(name: string, role: StateRole, initial: Tensor): { value: Value } {
    this.#parts.store.declare(name, role, initial);
    const state = this.#state;
    return {
      get value() {
        return state.now(name);
      },
      set value(next: Value) {
        state.set(name, next);
      },
    };
  }

  /** Copies the values of one module's variables to another of the same form: `ctx.copy(online, target)`. */
  copy(from: Module<never, unknown>, to: Module<never, unknown>): undefined {
    return this.blend(from, to, 1);
  }

  /**
   * Moves the variables of `to` towards those of `from`: to + rate·(from − to). With a small rate, an average of weights (EMA) or a
   * target network that follows slowly. Integers are copied.
   */
  blend(from: Module<never, unknown>, to: Module<never, unknown>, rate: number | Value): undefined {
    const sources = from.variables();
    const targets = to.variables();
    const missing =
      [...targets.keys()].find((name) => !sources.has(name)) ?? [...sources.keys()].find((n) => !targets.has(n));
    if (missing !== undefined)
      throw new ModelError({ where: missing, message: "the modules do not have the same variables" });
    for (const [name, target] of targets) {
      const source = this.value(sources.get(name)!);
      const value = this.value(target);
      const whole = rate === 1 || !isFloat(source.type.dtype);
      this.assign(target, whole ? source : np.add(value, np.mul(np.sub(source, value), rate)));
    }
  }

  /** The gradients that were learnt from. */
  get gradients(): readonly Value[] {
    return this.#gradients;
  }

  /** Moves what modules updated into the state. Called once, when the entry is built. */
  finish(): void {
    for (const [v, value] of this.updates) this.#state.set(this.#parts.store.nameOf(v)!, value);
  }
}
