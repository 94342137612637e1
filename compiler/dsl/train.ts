/**
 * Training as graphs: from a model, a loss and an optimiser to the entries `step`, `evaluate` and `predict` of a program, which
 * share the parameters, the buffers, the optimiser's state, the step counter and the random key.
 */

import { asType, np, reshapeTo } from "../../ir/build.js";
import { type Dim, dimSymbols, symbolDim } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param, paramName, type TensorType, typeText, type Value, withLoc } from "../../ir/graph.js";
import { withResults } from "../../ir/graph-rebuild.js";
import { constantLike } from "../../ir/ops/constant.js";
import { elementCount, scalar, type Tensor, tensorFrom, zeros } from "../../ir/tensor.js";
import { pullback } from "../../passes/graph/differentiate.js";
import type { StateRole, TrainingInfo } from "../../runtime/format.js";
import {
  aFunction,
  anObject,
  anything,
  aString,
  atLeast,
  type Checks,
  checkOptions,
  listOf,
  recordOf,
  sizeOrRange,
} from "../options.js";
import type { ProgramState, TrainingProgram } from "../program.js";
import { batchDim } from "./batch-dim.js";
import { Context } from "./context.js";
import { type AnyModule, applyModel, type DimRanges, type Inputs, inputTypes, namedOutputs } from "./graph.js";
import { GraphModel, type GraphOutput, type Trainable } from "./graph-model.js";
import { Module, type Variable } from "./module.js";
import { optimizerState } from "./optim/apply.js";
import type { Clip, Optimizer } from "./optim.js";
import { rateAt, type Schedule } from "./schedules.js";
import { stateNames, updates } from "./update.js";

export { stateNames };

/** A scalar of the model's output and the targets, in their order. */
export type Objective<O> = (output: O, ...targets: readonly Value[]) => Value;

interface CommonOptions<O> {
  /** What else a batch holds: labels. They follow the inputs in the signature. */
  readonly targets: Inputs;
  readonly dims?: DimRanges;
  /**
   * Name of the size that is the batch, along which `fit` cuts data sets wherever it stands in the shapes. Default: the size called
   * "batch"; else the one that leads all inputs and targets; else the only one that all of them have.
   */
  readonly batch?: string;
  readonly loss: Objective<O>;
  readonly optimizer: Optimizer;
  /** Scalars to report, means over the batch. */
  readonly metrics?: Readonly<Record<string, Objective<O>>>;
  /** Changes the gradients before the update: `optim.clipNorm(1)`. */
  readonly clip?: Clip;
  /** Batches whose mean gradient makes one update. The parameters change with every n-th step only. Default 1. */
  readonly accumulate?: number;
  /** Learning rate from the step counter. Without one it is a state that the session can set at any time. */
  readonly schedule?: Schedule;
  /** Momentum (or first beta) from the step counter. */
  readonly momentumSchedule?: Schedule;
  /** Seed of the random numbers that are drawn while training (dropout). Default 0. */
  readonly seed?: number;
}

export interface TrainOptions<O = Value> extends CommonOptions<O> {
  /** What goes into the model. */
  readonly inputs: Inputs;
  /** Names of the model's outputs in `predict`. */
  readonly outputs?: readonly string[];
}

export interface GraphTrainOptions<O = Value> extends CommonOptions<O> {
  /** Which weights are learnt; the others stay as they are. Default: all. */
  readonly trainable?: Trainable;
}

const commonChecks: Checks<CommonOptions<unknown>> = {
  targets: anObject,
  dims: recordOf(sizeOrRange),
  batch: aString,
  loss: aFunction,
  optimizer: anObject,
  metrics: recordOf(aFunction),
  clip: aFunction,
  accumulate: atLeast(1),
  schedule: aFunction,
  momentumSchedule: aFunction,
  seed: atLeast(0),
};
const modelChecks: Checks<TrainOptions<unknown>> = { ...commonChecks, inputs: anObject, outputs: listOf(aString) };
const graphChecks: Checks<GraphTrainOptions<unknown>> = { ...commonChecks, trainable: anything };

/** What the entries take, in order, and how outputs without names are called. */
interface Signature {
  readonly inputs: Types;
  readonly targets: Types;
  readonly outputs: readonly string[] | undefined;
}

interface Declared {
  readonly name: string;
  readonly role: StateRole;
  readonly tensor: Tensor;
}

/** State as parameters of one graph, made when asked for, so that an entry has only what it uses. */
class StateParams {
  readonly #declared: ReadonlyMap<string, Declared>;
  readonly #values = new Map<string, Value>();

  constructor(declared: ReadonlyMap<string, Declared>) {
    this.#declared = declared;
  }

  get(name: string): Value {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const { tensor } = this.#declared.get(name)!;
    const value = param(name, { dtype: tensor.dtype, shape: tensor.shape });
    this.#values.set(name, value);
    return value;
  }

  /** In the order of declaration. */
  params(): readonly Value[] {
    return [...this.#declared.keys()].flatMap((name) => this.#values.get(name) ?? []);
  }
}

/**
 * The training program of a model. `compile` it; a session of the artefact then has `step`, `fit`, `evaluate` and `predict`.
 *
 * ```ts
 * const program = trainStep(net, {
 *   inputs: { x: ["batch", 1, 32, 32] },
 *   targets: { y: { dtype: "i32", shape: ["batch"] } },
 *   loss: losses.crossEntropy(),
 *   optimizer: optim.SGD({ lr: 0.01, momentum: 0.9 }),
 *   metrics: { accuracy: metrics.accuracy() },
 * });
 * ```
 *
 * The step computes loss and metrics before the update. Learning rate, step counter and random key are states too; see
 * `stateNames`. Throws ModelError where layers, loss or names do not fit.
 */
export function trainStep<O>(model: Module<never, O>, options: TrainOptions<NoInfer<O>>): TrainingProgram;
/**
 * The training program of a graph, such as an imported one. Its named float constants are the weights, under the names that they
 * have in the ONNX file; its inputs are known. Batch norms and dropout train as in PyTorch, though the file was exported for
 * inference. The loss takes the graph's result, or its results by name where it has several.
 *
 * ```ts
 * const program = trainStep(importOnnx(bytes), {
 *   trainable: ["classifier.*"],
 *   targets: { y: { dtype: "i64", shape: ["batch"] } },
 *   loss: losses.crossEntropy(),
 *   optimizer: optim.AdamW({ lr: 1e-4 }),
 * });
 * ```
 */
export function trainStep<O extends GraphOutput = Value>(model: Graph, options: GraphTrainOptions<O>): TrainingProgram;
export function trainStep<O>(
  model: Module<never, O> | Graph,
  options: TrainOptions<O> | GraphTrainOptions<O>,
): TrainingProgram {
  if (model instanceof Module) {
    checkOptions("trainStep of a model", options as TrainOptions<O>, modelChecks);
    const { inputs, outputs } = options as TrainOptions<O>;
    checkTargets(inputs, options.targets);
    const types = inputTypes({ ...inputs, ...options.targets }, options.dims);
    const count = Object.keys(inputs).length;
    return build(model, options, {
      inputs: new Map([...types].slice(0, count)),
      targets: new Map([...types].slice(count)),
      outputs,
    });
  }
  checkOptions("trainStep of a graph", options as GraphTrainOptions<O>, graphChecks);
  const inputs = new Map(model.params.map((p) => [paramName(p), p.type]));
  checkTargets(Object.fromEntries(inputs), options.targets);
  const symbols = new Map([...inputs.values()].flatMap(({ shape }) => shape.flatMap(namedSymbols)));
  return build(new GraphModel(model, (options as GraphTrainOptions<O>).trainable ?? true), options, {
    inputs,
    targets: inputTypes(options.targets, options.dims, symbols),
    outputs: model.resultNames,
  });
}

/** The symbols of a size by name. */
const namedSymbols = (d: Dim): readonly (readonly [string, Dim])[] =>
  [...dimSymbols(d).values()].map((s) => [s.name, symbolDim(s)] as const);

function checkTargets(inputs: Readonly<Record<string, unknown>>, targets: Inputs): void {
  for (const name of Object.keys(targets)) {
    if (name in inputs) throw new ModelError({ where: name, message: "an input and a target have this name" });
  }
}

function build<O>(model: AnyModule, options: CommonOptions<O>, signature: Signature): TrainingProgram {
  const { optimizer, schedule } = options;
  const types = new Map([...signature.inputs, ...signature.targets]);
  const variables = model.variables();
  const trained = [...variables].filter(([, v]) => v.trainable && isFloat(v.dtype));
  if (trained.length === 0) {
    throw new ModelError({ message: "the model has no trainable parameter", hint: "use toGraph for inference" });
  }
  const declared = declare(model, trained, options);
  checkNames([...types.keys()], options, declared);

  const used = new Set<string>();
  const finish: Finish = (ctx, state, inputs, name, results) => {
    const params = [...state.params(), ...inputs];
    for (const p of state.params()) if (p.def.op === "param") used.add(p.def.name);
    const donations = new Map(results.next.map(([n], i) => [i, params.indexOf(state.get(n))]));
    const all = [...results.next, ...results.outputs];
    const values = all.map(([, v]) => v);
    const made = graph(
      name,
      params,
      values,
      all.map(([n]) => n),
      donations.size > 0 ? donations : undefined,
    );
    return withResults(made, values, ctx.finders);
  };
  const entries = {
    step: stepEntry(model, variables, trained, signature, declared, options, finish),
    evaluate: evaluateEntry(model, variables, signature, declared, options, finish),
    predict: predictEntry(model, variables, signature, declared, finish),
  };
  const state: readonly ProgramState[] = [...declared.values()].filter(
    (s) => used.has(s.name) || s.role === "param" || s.role === "buffer",
  );
  const metrics = Object.keys(options.metrics ?? {});
  const training: TrainingInfo = {
    step: "step",
    evaluate: "evaluate",
    predict: "predict",
    loss: "loss",
    metrics,
    batch: batchDim(types, options.batch),
    optimizer: { name: optimizer.name, options: optimizer.options },
    learningRate: schedule === undefined ? stateNames.lr : null,
    stepCounter: stateNames.step,
    rng: used.has(stateNames.key) ? stateNames.key : null,
  };
  return { entries, state, training };
}

interface Results {
  /** Next values of states. */
  readonly next: readonly (readonly [string, Value])[];
  readonly outputs: readonly (readonly [string, Value])[];
}
type Finish = (ctx: Context, state: StateParams, inputs: readonly Value[], name: string, results: Results) => Graph;
type Types = ReadonlyMap<string, TensorType>;
type Named = ReadonlyMap<string, Variable>;

/** All state the program may have, with first values. */
function declare<O>(
  model: AnyModule,
  trained: readonly (readonly [string, Variable])[],
  { optimizer, schedule, seed = 0, accumulate = 1 }: CommonOptions<O>,
): ReadonlyMap<string, Declared> {
  const declared = new Map<string, Declared>();
  const add = (name: string, role: StateRole, tensor: Tensor) => {
    if (declared.has(name))
      throw new ModelError({ where: name, message: "two states have this name", hint: "rename the layer" });
    declared.set(name, { name, role, tensor });
  };
  const values = model.state();
  for (const [name, v] of model.variables()) add(name, v.role, values.get(name)!);
  const learnt = trained.map(([name, { dtype, shape }]) => ({ name, dtype, shape, value: () => values.get(name)! }));
  for (const [name, first] of optimizerState(optimizer, learnt, stateNames.slot)) add(name, "optimizer", first);
  if (!Number.isInteger(accumulate) || accumulate < 1) {
    throw new ModelError(`accumulate is a whole number of batches, not ${accumulate}`);
  }
  if (accumulate > 1) {
    for (const [name, v] of trained) add(stateNames.slot("gradient", name), "optimizer", zeros(v.dtype, v.shape));
    add(stateNames.batches, "counter", scalar("i32", 0));
  }
  const rate = schedule === undefined ? optimizer.lr : rateAt(schedule, 0);
  add(stateNames.lr, "hyper", scalar("f32", rate));
  add(stateNames.step, "counter", scalar("i32", 0));
  add(stateNames.key, "rng", tensorFrom("u32", [2], [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0]));
  return declared;
}

function checkNames<O>(
  inputs: readonly string[],
  options: CommonOptions<O>,
  declared: ReadonlyMap<string, Declared>,
): void {
  const outputs = ["loss", ...Object.keys(options.metrics ?? {})];
  for (const name of [...inputs, ...outputs]) {
    if (declared.has(name)) {
      throw new ModelError({
        where: name,
        message: "a state of the model has this name too",
        hint: "rename the input or metric",
      });
    }
  }
  if (new Set(outputs).size !== outputs.length) throw new ModelError('no metric can be called "loss"');
}

function modelValues(variables: Named, state: StateParams): ReadonlyMap<Variable, Value> {
  return new Map([...variables].map(([name, v]) => [v, state.get(name)]));
}

/** Loss and metrics as f32 scalars. */
function measure<O>(
  output: O,
  targets: readonly Value[],
  { loss, metrics = {} }: CommonOptions<O>,
): readonly (readonly [string, Value])[] {
  return Object.entries({ loss, ...metrics }).map(([name, objective]) => {
    const value = withLoc(name, () => objective(output, ...targets));
    if (
      !isFloat(value.type.dtype) ||
      elementCount(value.type.shape.map((d) => (typeof d === "number" ? d : 0))) !== 1
    ) {
      throw new ModelError({
        where: name,
        message: `must be one float, but is ${typeText(value.type)}`,
        hint: "reduce it with a mean",
      });
    }
    return [name, value] as const;
  });
}

const asScalar = ([name, v]: readonly [string, Value]) => [name, asType(reshapeTo(v, []), "f32")] as const;

function stepEntry<O>(
  model: AnyModule,
  variables: Named,
  trained: readonly (readonly [string, Variable])[],
  { inputs, targets }: Signature,
  declared: ReadonlyMap<string, Declared>,
  options: CommonOptions<O>,
  finish: Finish,
): Graph {
  const state = new StateParams(declared);
  const feeds = [...inputs, ...targets].map(([name, type]) => param(name, type));
  const count = inputs.size;
  const counter = state.get(stateNames.step);
  // Batches that make one update together draw different numbers.
  const { accumulate = 1 } = options;
  const draw = accumulate === 1 ? counter : np.add(np.mul(counter, accumulate), state.get(stateNames.batches));
  const random = { key: () => state.get(stateNames.key), step: draw };
  const ctx = new Context(model, modelValues(variables, state), { training: true, random });
  const output = applyModel(model, ctx, feeds.slice(0, count)) as O;
  const measures = measure(output, feeds.slice(count), options);
  const weights = trained.map(([, v]) => ctx.value(v));
  const loss = measures[0]![1];
  const found = pullback([loss], [constantLike(loss, 1)], weights);
  if (found.every((g) => g === undefined))
    throw new ModelError({
      where: "loss",
      message: "the loss depends on no parameter that is learnt",
      hint: "compute it from the model's output, without stopGradient and integers in between",
    });

  const learnt = trained.map(([name], i) => ({ name, weight: weights[i]!, gradient: found[i] }));
  const next = updates(learnt, (name) => state.get(name), options);
  const buffers = [...variables].flatMap(([name, v]) => {
    const value = ctx.updates.get(v);
    return value === undefined ? [] : [[name, value] as const];
  });
  return finish(ctx, state, feeds, "step", { next: [...next, ...buffers], outputs: measures.map(asScalar) });
}

function evaluateEntry<O>(
  model: AnyModule,
  variables: Named,
  { inputs, targets }: Signature,
  declared: ReadonlyMap<string, Declared>,
  options: CommonOptions<O>,
  finish: Finish,
): Graph {
  const state = new StateParams(declared);
  const feeds = [...inputs, ...targets].map(([name, type]) => param(name, type));
  const count = inputs.size;
  const ctx = new Context(model, modelValues(variables, state));
  const output = applyModel(model, ctx, feeds.slice(0, count)) as O;
  const outputs = measure(output, feeds.slice(count), options).map(asScalar);
  return finish(ctx, state, feeds, "evaluate", { next: [], outputs });
}

function predictEntry(
  model: AnyModule,
  variables: Named,
  { inputs, outputs: names }: Signature,
  declared: ReadonlyMap<string, Declared>,
  finish: Finish,
): Graph {
  const state = new StateParams(declared);
  const feeds = [...inputs].map(([name, type]) => param(name, type));
  const ctx = new Context(model, modelValues(variables, state));
  const outputs = namedOutputs(applyModel(model, ctx, feeds), names);
  return finish(ctx, state, feeds, "predict", { next: [], outputs });
}
