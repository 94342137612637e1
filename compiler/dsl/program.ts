/** Programs: named entries over shared modules, each a graph that may learn, draw random numbers and keep state. */

import { asType, reshapeTo } from "../../ir/build.js";
import type { DType } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param, type TensorType, type Value } from "../../ir/graph.js";
import { withResults } from "../../ir/graph-rebuild.js";
import { choices } from "../../ir/names.js";
import type { FitInfo } from "../../runtime/format.js";
import {
  aBoolean,
  aFunction,
  anObject,
  aString,
  atLeast,
  type Checks,
  checkOptions,
  describe,
  recordOf,
  sizeOrRange,
} from "../options.js";
import { gradientGuard, type Program, type TypedProgram } from "../program.js";
import { batchDim } from "./batch-dim.js";
import { EntryContext, type ProgramParts } from "./entry-context.js";
import { type AnyModule, type DimRanges, type Inputs, inputTypes, namedOutputs, type Outputs } from "./graph.js";
import { located, Module, Variable } from "./module.js";
import { EntryState, StateStore } from "./state-store.js";
import { finiteness, randomNames } from "./update.js";

/** Values of an entry's inputs. */
export type InputValues<I extends Inputs> = { readonly [K in keyof I]: Value };

/** An entry: what it takes, and the function that builds it. */
export interface Entry<I extends Inputs = Inputs, O extends Outputs = Outputs> {
  readonly inputs: I;
  readonly dims?: DimRanges;
  /** Whether modules are in training mode (dropout, batch norms); `ctx.eval` changes it for a part. Default true. */
  readonly training?: boolean;
  /** Builds the entry. Its result is what the session gives: a value, a list, or values by name; nothing where it only changes state. */
  readonly run: (ctx: EntryContext, inputs: InputValues<I>) => O | undefined;
}

const entryChecks: Checks<Entry> = {
  inputs: anObject,
  dims: recordOf(sizeOrRange),
  training: aBoolean,
  run: aFunction,
};

/** The modules of a program by name, and variables of its own, such as caches: `nn.buffer(shape, nn.init.zeros)`. Or one module. */
export type Modules = AnyModule | Readonly<Record<string, AnyModule | Variable>>;

export interface ProgramOptions {
  /** Seed of the random numbers that entries draw. Default 0. */
  readonly seed?: number;
  /**
   * What the session's `fit`, `step`, `evaluate` and `predict` run. Default: the entries of these names, where there is a `step` that
   * gives a `loss`.
   */
  readonly fit?: FitOptions | false;
}

export interface FitOptions {
  /** Trains on one batch. Its outputs of one element are the loss and metrics, means over the batch. Default "step". */
  readonly step?: string;
  /** Measures the same without learning. Default "evaluate", if there is one. */
  readonly evaluate?: string;
  /** Default "predict", if there is one. */
  readonly predict?: string;
  /** The output that is the loss. Default "loss". */
  readonly loss?: string;
  /** Name of the size that is the batch. Default: "batch"; else the size that leads all inputs; else the only one that all have. */
  readonly batch?: string;
  /**
   * Look whether gradients are finite before state changes, so that `fit` ends in the batch where they are not. All gradients are then in
   * memory at once. Default true.
   */
  readonly checkGradients?: boolean;
}

const fitChecks: Checks<FitOptions> = {
  step: aString,
  evaluate: aString,
  predict: aString,
  loss: aString,
  batch: aString,
  checkGradients: aBoolean,
};
const programChecks: Checks<ProgramOptions> = {
  seed: atLeast(0),
  fit: { expected: "an object, or false", fits: (v) => v === false || anObject.fits(v) },
};

type DTypeOf<I> = I extends { readonly dtype: infer D extends DType } | `${infer D extends DType}[${string}]`
  ? D
  : "f32";

/** What an entry takes and gives, for the types of a session. */
export interface TypesOf<I extends Inputs, O> {
  readonly inputs: { readonly [K in keyof I]: DTypeOf<I[K]> };
  readonly outputs: O extends Value ? "output" : O extends readonly Value[] ? `output${number}` : keyof O;
}

/** Names that sessions have for themselves, and `then`, which would make promises of them. */
export const sessionNames: ReadonlySet<string> = new Set(
  (
    "report input inputs outputs dims entries run profile warmUp memoryBytes dispose state getState setState clearState copyState save " +
    "restore exportSafetensors loadSafetensors exportOnnx fit learningRate position machine enqueue runScalars write stateOf bytesOf then"
  ).split(" "),
);
const isReserved = (name: string): boolean => sessionNames.has(name) || name in Object.prototype;

/** Members of a program that was given several modules. */
class Modular extends Module<readonly [], undefined> {
  readonly #modules: Readonly<Record<string, AnyModule | Variable>>;

  constructor(modules: Readonly<Record<string, AnyModule | Variable>>) {
    super();
    this.#modules = modules;
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return Object.entries(this.#modules);
  }

  forward(): undefined {}
}

function rootOf(modules: Modules): AnyModule {
  if (modules instanceof Module) return modules;
  const given: unknown = modules;
  const entries = typeof given === "object" && given !== null ? Object.entries(given) : undefined;
  for (const [name, m] of entries ?? [["modules", given]])
    if (!(m instanceof Module) && !(m instanceof Variable))
      throw new ModelError({
        where: name as string,
        message: "a program takes modules, and variables made by nn.buffer or nn.parameter",
        hint: "program({ G, D }, { step: { inputs, run } })",
      });
  return new Modular(modules as Readonly<Record<string, AnyModule | Variable>>);
}

/**
 * A program of named entries over shared modules. Each entry is a function that builds a graph in a context: it may call modules,
 * draw random numbers, take gradients, `minimize` losses with an optimiser for each set of parameters, and change state. A session
 * of the compiled program has a method for each entry.
 *
 * ```ts
 * const gan = program({ G, D }, {
 *   stepD: {
 *     inputs: { real: ["batch", 1, 28, 28] },
 *     run(ctx, { real }) {
 *       const fake = F.stopGradient(G(ctx, F.randn(ctx, [F.size(real, 0), 100])));
 *       const loss = F.add(bce(D(ctx, real), 1), bce(D(ctx, fake), 0));
 *       return { loss: ctx.minimize(loss, D, optim.Adam({ lr: 4e-4 })) };
 *     },
 *   },
 *   sample: { inputs: { z: ["batch", 100] }, run: (ctx, { z }) => ({ image: ctx.eval(() => G(ctx, z)) }) },
 * });
 * const session = await load(await compile(gan));
 * const { loss } = await session.stepD({ real });
 * ```
 *
 * Entries see each other's updates through the state: parameters and buffers by their names in the modules (`G.fc.weight`),
 * optimisers' states (`stepD.optimizer.lr`), the random generator's (`rng.key`, `rng.counter`).
 *
 * @throws ModelError where modules, entries or names do not fit
 */
export function program<
  const I extends Readonly<Record<string, Inputs>>,
  O extends { readonly [K in keyof I]: Outputs },
>(
  modules: Modules,
  entries: { readonly [K in keyof I]: Entry<I[K], O[K]> },
  options: ProgramOptions = {},
): TypedProgram<{ readonly [K in keyof I]: TypesOf<I[K], O[K]> }> {
  checkOptions("program", options, programChecks);
  const made = buildProgram(rootOf(modules), entries as unknown as Readonly<Record<string, Entry>>, options);
  return made as ReturnType<typeof program<I, O>>;
}

/** An entry as `buildProgram` takes it: types of inputs may be made already. */
export interface BuiltEntry extends Omit<Entry, "inputs"> {
  readonly inputs?: Inputs;
  readonly types?: ReadonlyMap<string, TensorType>;
  /** Names of outputs that have none. */
  readonly outputNames?: readonly string[] | undefined;
}

export function buildProgram(
  root: AnyModule,
  entries: Readonly<Record<string, BuiltEntry>>,
  { seed = 0, fit }: ProgramOptions,
  nameOfOptimizer?: string,
): Program {
  const names = Object.keys(entries);
  if (names.length === 0) throw new ModelError("the program has no entry");
  const store = new StateStore(root);
  const parts: ProgramParts = {
    root,
    store,
    optimizers: new Map(),
    objectives: [],
    seed,
    guarded: fit === false || fit?.checkGradients === false ? undefined : (fit?.step ?? "step"),
    ...(nameOfOptimizer === undefined ? {} : { nameOfOptimizer }),
  };
  const graphs: Record<string, Graph> = {};
  const inputs = new Map<string, ReadonlyMap<string, TensorType>>();
  for (const name of names) {
    const types = checkedTypes(name, entries[name]!);
    inputs.set(name, types);
    graphs[name] = located("", `entry "${name}"`, () => buildEntry(name, entries[name]!, types, parts));
  }
  for (const [name, types] of inputs) checkNames(name, [...types.keys()], graphs[name]!, store);
  const state = store.all();
  const fits = fit === false ? null : fitOf(graphs, inputs, fit);
  const rng = store.has(randomNames.key) ? randomNames.key : null;
  const { objectives } = parts;
  const training = objectives.length > 0 || fits !== null || rng !== null ? { objectives, fit: fits, rng } : undefined;
  return { entries: graphs, state, ...(training ? { training } : {}) };
}

function checkedTypes(name: string, entry: BuiltEntry): ReadonlyMap<string, TensorType> {
  if (!/^[A-Za-z_$][\w$]*$/.test(name) || isReserved(name))
    throw new ModelError({
      where: `entry "${name}"`,
      message: isReserved(name)
        ? "sessions have a member of this name"
        : "it becomes a method, whose name is an identifier",
      hint: "give it another name",
    });
  if (entry.types) return entry.types;
  if (!anObject.fits(entry) || typeof entry.run !== "function")
    throw new ModelError({
      where: `entry "${name}"`,
      message: anObject.fits(entry) ? "it has no function `run`" : `expected an entry, got ${describe(entry)}`,
      hint: "{ inputs, run(ctx, inputs) { … } }",
    });
  checkOptions(`entry "${name}"`, entry as Entry, entryChecks);
  return inputTypes(entry.inputs ?? {}, entry.dims);
}

function buildEntry(
  name: string,
  entry: BuiltEntry,
  types: ReadonlyMap<string, TensorType>,
  parts: ProgramParts,
): Graph {
  const state = new EntryState(parts.store);
  const ctx = new EntryContext(parts, state, name, entry.training ?? true);
  const feeds = [...types].map(([input, type]) => [input, param(input, type)] as const);
  const results = entry.run(ctx, Object.fromEntries(feeds));
  const given = results ? namedOutputs(results, entry.outputNames) : [];
  const guarded = name === parts.guarded && ctx.gradients.length > 0;
  const outputs = guarded ? [...given, [gradientGuard, finiteness(ctx.gradients)] as const] : given;
  ctx.finish();
  const { params: states, next } = state.finish();
  if (next.length + outputs.length === 0)
    throw new ModelError("it gives nothing and changes nothing: return values by name");
  const params = [...states, ...feeds.map(([, v]) => v)];
  const all = [...next, ...outputs];
  const donations = new Map(next.map(([n], i) => [i, params.indexOf(state.first(n))]));
  const values = all.map(([, v]) => v);
  const made = graph(
    name,
    params,
    values,
    all.map(([n]) => n),
    donations.size > 0 ? donations : undefined,
  );
  return withResults(made, values, ctx.finders);
}

function checkNames(
  entry: string,
  inputs: readonly string[],
  { donations, resultNames }: Graph,
  store: StateStore,
): void {
  const outputs = resultNames.filter((_, i) => !donations?.has(i));
  for (const name of [...inputs, ...outputs])
    if (store.has(name))
      throw new ModelError({
        where: `entry "${entry}"`,
        message: `a state of the program is called "${name}" too`,
        hint: "rename the input or output",
      });
}

const isScalar = (v: Value): boolean => v.type.shape.length === 0 && v.type.dtype === "f32";

function fitOf(
  graphs: Readonly<Record<string, Graph>>,
  inputs: ReadonlyMap<string, ReadonlyMap<string, TensorType>>,
  options: FitOptions | undefined,
): FitInfo | null {
  if (options) checkOptions("option fit", options, fitChecks);
  const { step = "step", evaluate = "evaluate", predict = "predict", loss = "loss" } = options ?? {};
  const named = (entry: string) => (Object.hasOwn(graphs, entry) ? entry : null);
  const problem = (message: string, hint?: string) => {
    if (options === undefined) return null;
    throw new ModelError({ where: "option fit", message, ...(hint ? { hint } : {}) });
  };
  if (named(step) === null)
    return problem(`there is no entry "${step}"`, choices(step, Object.keys(graphs), "there are"));
  const scalars = (g: Graph) =>
    g.resultNames.filter((name, i) => !g.donations?.has(i) && name !== gradientGuard && isScalar(g.results[i]!));
  const own = scalars(graphs[step]!);
  if (!own.includes(loss)) return problem(`the entry "${step}" has no output "${loss}" that is one f32`);
  const metrics = own.filter((n) => n !== loss);
  for (const [role, entry] of [
    ["evaluate", options?.evaluate],
    ["predict", options?.predict],
  ] as const)
    if (entry !== undefined && named(entry) === null) return problem(`there is no entry "${entry}" to ${role}`);
  const measures = named(evaluate) !== null && [loss, ...metrics].every((n) => scalars(graphs[evaluate]!).includes(n));
  if (options?.evaluate !== undefined && !measures)
    return problem(`the entry "${evaluate}" lacks outputs of "${step}"`);
  return {
    step,
    evaluate: measures ? evaluate : null,
    predict: named(predict),
    loss,
    metrics,
    streamed: null,
    batch: batchDim(inputs.get(step)!, options?.batch),
  };
}

/** One f32 without axes. */
export const asScalar = (v: Value): Value => asType(reshapeTo(v, []), "f32");
