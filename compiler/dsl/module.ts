/**
 * Modules: layers and models made of layers. A module holds variables (parameters and buffers) and other modules in its
 * properties; their names, joined by dots, are the names of PyTorch's `state_dict`. It computes nothing by itself: a call builds
 * graph nodes in a `Context`, which knows the values of variables and whether the model is being trained.
 */

import { describe } from "../../ir/describe.js";
import type { DType } from "../../ir/dtype.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Loc, type Value, withLoc } from "../../ir/graph.js";
import { choices } from "../../ir/names.js";
import { castTensor } from "../../ir/ops/cast.js";
import { elementCount, type Tensor, tensorFrom } from "../../ir/tensor.js";
import type { Context } from "./context.js";
import type { Initializer } from "./init.js";
import { randomOf } from "./random.js";
import { readWeights } from "./weights-file.js";

/** A tensor that belongs to a module: a parameter (learnt) or a buffer (running statistics, tables). */
export class Variable {
  readonly role: "param" | "buffer";
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly initializer: Initializer;
  /** Whether optimisers change it. Buffers are never trainable. */
  trainable: boolean;
  /** Whether its gradient is to be rows of a table, those that a batch uses: `nn.Embedding(…, { sparse: true })`. */
  sparse = false;
  /** Its first value, once initialised or loaded. */
  value: Tensor | undefined;

  constructor(role: "param" | "buffer", shape: readonly number[], initializer: Initializer, dtype: DType = "f32") {
    if (shape.some((d) => !Number.isInteger(d) || d < 0)) {
      throw new ModelError(
        `a ${role === "param" ? "parameter" : "buffer"} needs a shape of whole numbers, not [${shape}]`,
      );
    }
    this.role = role;
    this.dtype = dtype;
    this.shape = shape;
    this.initializer = initializer;
    this.trainable = role === "param";
  }
}

/** A learnt tensor. */
export const parameter = (shape: readonly number[], initializer: Initializer, dtype?: DType): Variable =>
  new Variable("param", shape, initializer, dtype);
/** A tensor that is stored with the model, but not learnt by gradients. */
export const buffer = (shape: readonly number[], initializer: Initializer, dtype?: DType): Variable =>
  new Variable("buffer", shape, initializer, dtype);

/** Tensors by name, or the bytes of a safetensors file. */
export type StateSource = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>> | Uint8Array;

export interface LoadOptions {
  /** Take what fits by name and leave the rest as it is. Default: every variable must be given and nothing else. */
  readonly partial?: boolean;
}

type Member = readonly [name: string, value: unknown];

type Callable = new <I extends readonly unknown[], O>() => (ctx: Context, ...inputs: I) => O;

/** Makes modules functions: `net(ctx, x)` is `net.apply(ctx, x)`. */
const Callable = class {
  constructor() {
    const self: { apply(...given: unknown[]): unknown; name?: string; length?: number } = (...given: unknown[]) =>
      self.apply(...given);
    // What functions have of their own can't be written, and a module may have a property of this name.
    delete self.name;
    delete self.length;
    // biome-ignore lint/correctness/noConstructorReturn: a function is the only object that can be called.
    return Object.setPrototypeOf(self, new.target.prototype);
  }
} as unknown as Callable;

/**
 * Base of all layers and models. `I` are the values that go in, `O` is what comes out. A module is a function of a context and these
 * values: `net(ctx, x)`.
 *
 * ```ts
 * class Net extends nn.Module {
 *   readonly hidden = nn.Linear(12, 32);
 *   readonly out = nn.Linear(32, 4);
 *   forward(ctx: nn.Context, x: Value): Value {
 *     return this.out(ctx, this.hidden(ctx, x).relu());
 *   }
 * }
 * ```
 */
export abstract class Module<I extends readonly unknown[] = readonly [Value], O = Value> extends Callable<I, O> {
  /** Builds the nodes of this module. Call the module instead, which gives errors and nodes the layer's name. */
  abstract forward(ctx: Context, ...inputs: I): O;

  /** What is looked through for variables and modules: name → variable, module, or an array or record of them. */
  protected members(): Iterable<Member> {
    return Object.entries(this);
  }

  /** What another module is looked through for: for modules that stand in its place. */
  protected static membersOf(m: Module<never, unknown>): Iterable<Member> {
    return m.members();
  }

  /** The module's output, as by a call: `net(ctx, x)`. Errors and nodes inside bear the path of this layer. */
  override apply(ctx: Context, ...inputs: I): O {
    if (typeof ctx?.pathOf !== "function")
      throw new ModelError({
        where: this.constructor.name,
        message: `a module is called with the context first, but got ${describe(ctx)}`,
        hint: "net(ctx, x), where ctx is what forward and the entries of programs are given",
      });
    const path = ctx.pathOf(this);
    return located(path, this.constructor.name, () => this.forward(ctx, ...inputs));
  }

  /** This module and all inside with their paths; the own path is "". A module in two places has the first. */
  modules(): Map<string, Module<never, unknown>> {
    const found = new Map<string, Module<never, unknown>>([["", this]]);
    const seen = new Set<unknown>([this]);
    const visit = (m: Module<never, unknown>, prefix: string) => {
      for (const [path, item] of leavesOf(m.members(), prefix)) {
        if (!(item instanceof Module) || seen.has(item)) continue;
        seen.add(item);
        found.set(path, item);
        visit(item, `${path}.`);
      }
    };
    visit(this, "");
    return found;
  }

  /** Variables by name. One that is shared by several layers appears once, under its first name. */
  variables(): Map<string, Variable> {
    const first = new Map<Variable, string>();
    for (const [name, v] of this.#allNames()) if (!first.has(v)) first.set(v, name);
    return new Map([...first].map(([v, name]) => [name, v]));
  }

  #allNames(): (readonly [string, Variable])[] {
    const all: (readonly [string, Variable])[] = [];
    const visit = (m: Module<never, unknown>, prefix: string, open: readonly unknown[]) => {
      for (const [path, item] of leavesOf(m.members(), prefix)) {
        if (item instanceof Variable) all.push([path, item]);
        else if (item instanceof Module && !open.includes(item)) visit(item, `${path}.`, [...open, item]);
      }
    };
    visit(this, "", [this]);
    return all;
  }

  parameters(): Map<string, Variable> {
    return new Map([...this.variables()].filter(([, v]) => v.role === "param"));
  }
  buffers(): Map<string, Variable> {
    return new Map([...this.variables()].filter(([, v]) => v.role === "buffer"));
  }

  /** Number of learnt values. */
  parameterCount(): number {
    return [...this.parameters().values()].reduce((n, p) => n + p.shape.reduce((m, d) => m * d, 1), 0);
  }

  /**
   * Excludes parameters from learning: all, or those whose name begins with the prefix.
   * @throws ModelError where no name does
   */
  freeze(prefix = ""): this {
    const parameters = [...this.parameters()];
    const chosen = parameters.filter(([name]) => name.startsWith(prefix));
    if (chosen.length === 0 && prefix !== "")
      throw new ModelError({
        message: `freeze: no parameter's name begins with "${prefix}"`,
        hint: choices(
          prefix,
          parameters.map(([name]) => name),
          "the parameters are",
        ),
      });
    for (const [, p] of chosen) p.trainable = false;
    return this;
  }

  /** Draws all initial values anew. The same seed gives the same values; see dsl/random.ts for the generator. */
  initialize(seed = 0): this {
    for (const [name, v] of this.variables()) v.value = drawn(v, seed, name);
    return this;
  }

  /** Values of all variables by name. Those not yet initialised are drawn with seed 0. */
  state(): Map<string, Tensor> {
    return new Map(
      [...this.variables()].map(([name, v]) => {
        v.value ??= drawn(v, 0, name);
        return [name, v.value] as const;
      }),
    );
  }

  /**
   * Takes values by name, from tensors or the bytes of a safetensors file (PyTorch's names). Floats are converted to the dtype of
   * the variable. Throws ModelError listing everything that is missing, superfluous or of another shape; then nothing is changed.
   */
  loadState(source: StateSource, { partial = false }: LoadOptions = {}): this {
    const given =
      source instanceof Uint8Array
        ? readWeights(source)
        : source instanceof Map
          ? source
          : new Map(Object.entries(source));
    const problems: { where: string; message: string; hint?: string }[] = [];
    const names = this.#allNames();
    const known = new Set(names.map(([name]) => name));
    const taken = new Map<Variable, Tensor>();
    for (const [name, v] of names) {
      const t = given.get(name);
      if (t === undefined) {
        if (!partial && !names.some(([other, w]) => w === v && given.has(other)))
          problems.push({ where: name, message: `${v.dtype}[${v.shape}] is not in the file` });
      } else if (t.shape.join() !== v.shape.join()) {
        problems.push({ where: name, message: `the model has shape [${v.shape}], the file [${t.shape}]` });
      } else if (t.dtype !== v.dtype && !(isFloat(t.dtype) && isFloat(v.dtype))) {
        problems.push({ where: name, message: `the model has ${v.dtype}, the file ${t.dtype}` });
      } else taken.set(v, t.dtype === v.dtype ? t : castTensor(t, v.dtype));
    }
    for (const name of given.keys()) {
      // PyTorch counts batches in its batch norms; nothing here depends on the count.
      if (partial || known.has(name) || name.endsWith("num_batches_tracked")) continue;
      problems.push({
        where: name,
        message: "the model has no such variable",
        hint: "load with { partial: true } to leave it out",
      });
    }
    if (problems.length > 0) throw new ModelError(problems);
    for (const [v, t] of taken) v.value = t;
    return this;
  }
}

/** A module that takes one value and gives one. */
export type Layer = Module<readonly [Value], Value>;

function drawn(v: Variable, seed: number, name: string): Tensor {
  const values = v.initializer(v.shape, randomOf(seed, name, v.dtype === "f32"));
  const own = v.dtype === "f32" && values instanceof Float32Array && values.length === elementCount(v.shape);
  const made = own ? { dtype: v.dtype, shape: v.shape, data: values } : tensorFrom(v.dtype, v.shape, values);
  // Members of an ensemble, drawn with seeds of their own, stay different.
  draws.set(made, (other) => drawn(v, seed + other, name));
  return made;
}

/** How tensors that were drawn, not loaded, are drawn with another seed. What took the values of another module has the other's again. */
const draws = new WeakMap<Tensor, (seed: number) => Tensor>();

/** Draws a first value anew, its own seed added to the given one; undefined where it was not drawn. */
export const drawOf = (value: Tensor): ((seed: number) => Tensor) | undefined => draws.get(value);

/** Variables and modules among members, arrays and records of them included. */
function* leavesOf(members: Iterable<Member>, prefix: string): Generator<readonly [string, unknown]> {
  for (const [name, item] of members) {
    const path = `${prefix}${name}`;
    if (item instanceof Variable || item instanceof Module) yield [path, item];
    else if (Array.isArray(item))
      yield* leavesOf(
        item.map((v, i) => [String(i), v] as const),
        `${path}.`,
      );
    else if (isRecord(item)) yield* leavesOf(Object.entries(item), `${path}.`);
  }
}

function isRecord(item: unknown): item is Readonly<Record<string, unknown>> {
  return typeof item === "object" && item !== null && Object.getPrototypeOf(item) === Object.prototype;
}

/** Runs the body under a layer's path: nodes get it as their location, errors without a place get it as their place. */
export function located<T>(path: string, kind: string, body: () => T): T {
  const loc: Loc | undefined = path === "" ? undefined : path;
  try {
    return withLoc(loc, body);
  } catch (error) {
    if (!(error instanceof ModelError) || error.problems.every((p) => p.where !== undefined)) throw error;
    const where = path === "" ? kind : path;
    throw new ModelError(
      error.problems.map((p) => (p.where === undefined ? { ...p, where } : p)),
      { cause: error },
    );
  }
}
