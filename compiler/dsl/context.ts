/** What modules build their nodes in: values of variables, training or not, randomness, new values of buffers. */

import { concatenate, reshapeTo, sliceAxis } from "../../ir/build.js";
import { describe } from "../../ir/describe.js";
import type { Dim, DimExpr } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { sameType, typeText, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { unknownSize } from "../../ir/ops/dynamic.js";
import { randomBits } from "../../ir/ops/random.js";
import { type Carried, type RegionFrame, scope } from "../../ir/scope.js";
import { tensorFrom } from "../../ir/tensor.js";
import type { Module, Variable } from "./module.js";

/** What the random numbers of a graph come from. */
export interface RandomState {
  /** u32[2]; asked for once random numbers are drawn. */
  readonly key: () => Value;
  /** u32[1], another one in each run. */
  readonly counter: () => Value;
}

export interface ContextOptions {
  /** Dropout drops, batch norms use and update the batch's statistics. Default false. */
  readonly training?: boolean;
  /** Needed where a module draws random numbers. */
  readonly random?: RandomState | undefined;
}

/** What a loop's body or a branch has of its own. */
interface InRegion {
  /** By a branch. */
  readonly replaced: Map<Variable, Value>;
  readonly carried: Map<Variable, { readonly loop: Carried; value: Value }>;
  key?: Value;
}

/** The context. @throws ModelError where something else stands in its place */
export function contextOf(ctx: Context): Context {
  if (ctx instanceof Context) return ctx;
  throw new ModelError({
    message: `expected the context first, got ${describe(ctx)}`,
    hint: "F.randn(ctx, shape), where ctx is what forward and the entries of programs are given",
  });
}

export class Context {
  readonly #read: (v: Variable) => Value | undefined;
  readonly #paths: ReadonlyMap<unknown, string>;
  readonly #updates = new Map<Variable, Value>();
  readonly #computed = new Map<Variable, Value>();
  readonly #regions = new WeakMap<RegionFrame, InRegion>();
  readonly #finders: Value[] = [];
  readonly #random: RandomState | undefined;
  #training: boolean;
  #streams = 0;
  #sizes = 0;

  /** @param read a variable's value when the graph begins */
  constructor(root: Module<never, unknown>, read: (v: Variable) => Value | undefined, options: ContextOptions = {}) {
    this.#training = options.training ?? false;
    this.#read = read;
    this.#paths = new Map([...root.modules()].map(([path, m]) => [m, path]));
    this.#random = options.random;
  }

  /** Whether dropout drops and batch norms learn. */
  get training(): boolean {
    return this.#training;
  }

  /** Runs `build` with modules in evaluation mode: no dropout, batch norms by their running statistics. */
  eval<T>(build: () => T): T {
    return this.#inMode(false, build);
  }

  /** Runs `build` with modules in training mode. */
  train<T>(build: () => T): T {
    return this.#inMode(true, build);
  }

  #inMode<T>(training: boolean, build: () => T): T {
    const before = this.#training;
    this.#training = training;
    try {
      return build();
    } finally {
      this.#training = before;
    }
  }

  /** Where the module sits in the model: `encoder.layers.0.conv1`. */
  pathOf(m: Module<never, unknown>): string {
    const path = this.#paths.get(m);
    if (path !== undefined) return path;
    throw new ModelError({
      where: m.constructor.name,
      message: "this module does not belong to the model",
      hint: "make layers once, in a property of the model, not inside forward; give programs all their modules",
    });
  }

  /** The variable's value here: its new one, where this graph has updated it. */
  value(v: Variable): Value {
    return this.#computed.get(v) ?? this.#valueIn(scope().region, v);
  }

  /** Runs `build` with a value in the variable's place: a weight that is computed from what is learnt. */
  computed<T>(v: Variable, value: Value, build: () => T): T {
    const before = this.#computed.get(v);
    this.#computed.set(v, value);
    try {
      return build();
    } finally {
      if (before === undefined) this.#computed.delete(v);
      else this.#computed.set(v, before);
    }
  }

  #valueIn(region: RegionFrame | undefined, v: Variable): Value {
    if (region === undefined) {
      const value = this.#updates.get(v) ?? this.#read(v);
      if (value !== undefined) return value;
      throw new ModelError({
        message: `a ${v.role === "param" ? "parameter" : "buffer"} of shape [${v.shape}] does not belong to the model`,
        hint: "make it once, in a property of a module, not inside forward",
      });
    }
    const replaced = this.#regions.get(region)?.replaced.get(v);
    if (replaced !== undefined) return replaced;
    // What the body may update must go round with it from the first use on.
    if (v.role === "buffer" && this.#training && region.carry) return this.#carried(region, v).value;
    return this.#valueIn(region.outer, v);
  }

  #inRegion(region: RegionFrame): InRegion {
    const known = this.#regions.get(region);
    if (known) return known;
    const made: InRegion = { carried: new Map(), replaced: new Map() };
    this.#regions.set(region, made);
    return made;
  }

  #carried(region: RegionFrame, v: Variable): { readonly loop: Carried; value: Value } {
    const { carried } = this.#inRegion(region);
    const known = carried.get(v);
    if (known) return known;
    const loop = region.carry!(region.outside(() => this.#valueIn(region.outer, v)));
    const made = { loop, value: loop.now };
    carried.set(v, made);
    loop.after = (last) => {
      if (made.value !== loop.now) this.#set(region.outer, v, last);
    };
    return made;
  }

  /** Sets a buffer's value after this run. Only entries of programs keep it. */
  update(v: Variable, value: Value): void {
    if (v.role !== "buffer")
      throw new ModelError({
        message: "only buffers can be updated",
        hint: "parameters are learnt by minimize, or set by assign in an entry of a program",
      });
    this.assign(v, value);
  }

  /**
   * Sets the value of a variable, parameters too, after this run and for all that is built from here on. In a branch of `F.cond`: where
   * that is taken, also for what comes after it; then nothing is computed or copied where it isn't.
   */
  assign(v: Variable, value: Value): void {
    const before = this.value(v);
    if (!sameType(before.type, value.type)) {
      const what = v.role === "buffer" ? "buffer" : "parameter";
      throw new ModelError(`a ${what} of type ${typeText(before.type)} cannot become ${typeText(value.type)}`);
    }
    this.#set(scope().region, v, value);
  }

  #set(region: RegionFrame | undefined, v: Variable, value: Value): void {
    if (region === undefined) {
      this.#updates.set(v, value);
      return;
    }
    if (region.replace) {
      const before = region.outside(() => this.#valueIn(region.outer, v));
      this.#inRegion(region).replaced.set(v, value);
      region.replace(v, { before, next: value, after: (last) => this.#set(region.outer, v, last) });
      return;
    }
    if (!region.carry)
      throw new ModelError({
        message: "state is changed inside a function with a gradient of its own, which keeps none",
        hint: "give its new value as a result, and assign it outside",
      });
    if (v.role !== "buffer" || !this.#training)
      throw new ModelError({
        message: `a ${v.role === "param" ? "parameter" : "buffer in evaluation mode"} is changed inside a loop`,
        hint: "carry its value through the loop and assign it after it",
      });
    const carried = this.#carried(region, v);
    carried.value = value;
    carried.loop.next = value;
  }

  /** The symbol of a size that the run finds, which no other has. */
  freshSize(name: string, bound: Dim): DimExpr {
    return unknownSize(`${name}_f${++this.#sizes}`, bound);
  }

  /** A size that the run finds, at most `bound`: `make` is given its symbol and makes the node that finds it. */
  findSize<T extends Value | readonly Value[]>(
    name: string,
    bound: Dim,
    make: (defines: DimExpr) => T,
  ): { readonly size: DimExpr; readonly made: T } {
    const size = this.freshSize(name, bound);
    const made = make(size);
    // In a region the region itself keeps it.
    if (scope().region === undefined) this.keepSize((Array.isArray(made) ? made[0] : made) as Value);
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
   * Key and counter for random ops, u32[2] each. Every call gives another stream: the counter is (calls so far, runs so far). In a
   * loop each round has a key of its own.
   */
  random(): readonly [key: Value, counter: Value] {
    return [this.#keyIn(scope().region), this.#nextCounter()];
  }

  #nextCounter(): Value {
    const stream = constant([], { value: tensorFrom("u32", [1], [this.#streams++]) });
    return concatenate([stream, this.#requireRandom().counter()], 0);
  }

  #requireRandom(): RandomState {
    if (this.#random) return this.#random;
    throw new ModelError({
      message: "random numbers are drawn, but this graph has no random state",
      hint: "make a program of it (trainStep, program), which keeps one; or apply the model in evaluation mode",
    });
  }

  #keyIn(region: RegionFrame | undefined): Value {
    if (region === undefined) return this.#requireRandom().key();
    const own = this.#inRegion(region);
    own.key ??= this.#keyOfRounds(region);
    return own.key;
  }

  /** Another key in each round: words of the stream outside. Branches have that around them. */
  #keyOfRounds(region: RegionFrame): Value {
    const draw = (shape: Parameters<typeof randomBits>[1]["shape"]) =>
      randomBits([this.#keyIn(region.outer), this.#nextCounter()], { shape });
    if (region.row) return region.row((rounds) => draw([rounds, 2]));
    if (!region.carry) return this.#keyIn(region.outer);
    const carried = region.carry(region.outside(() => draw([2])));
    const [now, next] = [0, 2].map((at) =>
      reshapeTo(
        sliceAxis(
          randomBits([carried.now, constant([], { value: tensorFrom("u32", [2], [0, 0]) })], { shape: [4] }),
          0,
          at,
          2,
        ),
        [2],
      ),
    );
    carried.next = next!;
    return now!;
  }
}
