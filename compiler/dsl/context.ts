/** What modules build their nodes in: values of variables, training or not, randomness, new values of buffers. */

import { asType, concatenate, reshapeTo } from "../../ir/build.js";
import type { Dim, DimExpr } from "../../ir/dim.js";
import { InternalError, ModelError } from "../../ir/errors.js";
import { sameType, typeText, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { unknownSize } from "../../ir/ops/dynamic.js";
import { scope } from "../../ir/scope.js";
import { tensorFrom } from "../../ir/tensor.js";
import type { Module, Variable } from "./module.js";

/** Key and step of the random generator, as values of the graph. */
export interface RandomState {
  /** u32[2]; asked for once random numbers are drawn. */
  readonly key: () => Value;
  /** Steps done, a scalar integer: each step draws other numbers. */
  readonly step: Value;
}

export interface ContextOptions {
  /** Dropout drops, batch norms use and update the batch's statistics. Default false. */
  readonly training?: boolean;
  /** Needed where a module draws random numbers. */
  readonly random?: RandomState | undefined;
}

export class Context {
  readonly training: boolean;
  readonly #values: ReadonlyMap<Variable, Value>;
  readonly #paths: ReadonlyMap<unknown, string>;
  readonly #updates = new Map<Variable, Value>();
  readonly #finders: Value[] = [];
  readonly #random: RandomState | undefined;
  #streams = 0;
  #sizes = 0;

  constructor(root: Module<never, unknown>, values: ReadonlyMap<Variable, Value>, options: ContextOptions = {}) {
    this.training = options.training ?? false;
    this.#values = values;
    this.#paths = new Map([...root.modules()].map(([path, m]) => [m, path]));
    this.#random = options.random;
  }

  /** Where the module sits in the model: `encoder.layers.0.conv1`. */
  pathOf(m: Module<never, unknown>): string {
    const path = this.#paths.get(m);
    if (path !== undefined) return path;
    throw new ModelError({
      where: m.constructor.name,
      message: "this module does not belong to the model",
      hint: "make layers once, in a property of the model, not inside forward",
    });
  }

  /** The variable's value here: its new one, where this graph has updated it. */
  value(v: Variable): Value {
    const value = this.#updates.get(v) ?? this.#values.get(v);
    if (value === undefined) {
      throw new ModelError({
        message: `a ${v.role === "param" ? "parameter" : "buffer"} of shape [${v.shape}] does not belong to the model`,
        hint: "make it once, in a property of a module, not inside forward",
      });
    }
    return value;
  }

  /** Sets a buffer's value after this run. Only a training step keeps it. */
  update(v: Variable, value: Value): void {
    const before = this.value(v);
    if (v.role !== "buffer") throw new InternalError("only buffers are updated by modules");
    if (!sameType(before.type, value.type)) {
      throw new ModelError(`a buffer of type ${typeText(before.type)} cannot become ${typeText(value.type)}`);
    }
    this.#updates.set(v, value);
  }

  /** A size that the run finds, at most `bound`: `make` is given its symbol and makes the node that finds it. */
  findSize<T extends Value | readonly Value[]>(
    name: string,
    bound: Dim,
    make: (defines: DimExpr) => T,
  ): { readonly size: DimExpr; readonly made: T } {
    const size = unknownSize(`${name}_f${++this.#sizes}`, bound);
    const made = make(size);
    // In a region the region itself keeps it.
    if (scope().made === undefined) this.keepSize((Array.isArray(made) ? made[0] : made) as Value);
    return { size, made };
  }

  /** Keeps a value whose node finds a data-dependent size, for shapes that nothing else ties to it. */
  keepSize(finder: Value): void {
    this.#finders.push(finder);
  }

  get finders(): readonly Value[] {
    return this.#finders;
  }

  get updates(): ReadonlyMap<Variable, Value> {
    return this.#updates;
  }

  /**
   * Key and counter for random ops, u32[2] each. Every call gives another stream: the counter is (calls so far, step).
   */
  random(): readonly [key: Value, counter: Value] {
    if (this.#random === undefined) {
      throw new ModelError({
        message: "random numbers are drawn, but this graph has no random state",
        hint: "train with trainStep, which keeps one; or apply the model with training: false",
      });
    }
    const stream = constant([], { value: tensorFrom("u32", [1], [this.#streams++]) });
    const step = reshapeTo(asType(this.#random.step, "u32"), [1]);
    return [this.#random.key(), concatenate([stream, step], 0)];
  }
}
