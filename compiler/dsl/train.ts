/**
 * Training as graphs: from a model, a loss and an optimiser to the entries `step`, `evaluate` and `predict` of a program, which
 * share the parameters, the buffers, the optimiser's state, the step counter and the random key.
 */

import { asType, np } from "../../ir/build.js";
import { type Dim, dimSymbols, symbolDim } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, paramName, type TensorType, typeText, type Value, withLoc } from "../../ir/graph.js";
import { requireValue } from "../../ir/op.js";
import { elementCount, zeros } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import {
  aBoolean,
  aFunction,
  anObject,
  anything,
  aString,
  atLeast,
  type Checks,
  checkOptions,
  either,
  listOf,
  recordOf,
  sizeOrRange,
} from "../options.js";
import type { TrainingProgram } from "../program.js";
import type { EntryContext } from "./entry-context.js";
import { type AnyModule, applyModel, type DimRanges, type Inputs, inputTypes, type Outputs } from "./graph.js";
import { GraphModel, type GraphOutput, type Trainable } from "./graph-model.js";
import { located, Module } from "./module.js";
import { anOptimizer } from "./optim/rule.js";
import type { Optimizer } from "./optim.js";
import { asScalar, type BuiltEntry, buildProgram } from "./program.js";
import { stateNames, type UpdateOptions } from "./update.js";

export { stateNames };

/** A scalar of the model's output and the targets, in their order. */
export type Objective<O> = (output: O, ...targets: readonly Value[]) => Value;

/**
 * A metric of the whole data that is no mean over batches: sums that grow with each batch, and what is made of them at the end. Right
 * however the data are cut into batches.
 */
export interface StreamingMetric<O> {
  /** Shapes of the sums, f64. They begin at 0. */
  readonly slots: Readonly<Record<string, readonly number[]>>;
  /** What a batch adds to each sum, of any float type. */
  readonly update: (output: O, ...targets: readonly Value[]) => Readonly<Record<string, Value>>;
  /** One float; or several (a confusion matrix), which the entry `measure` gives: `session.measure({})`. */
  readonly result: (slots: Readonly<Record<string, Value>>) => Value;
}

/** A metric of the gradients, as they are before the option `clip` changes them: only training steps give it. */
export interface GradientMetric {
  /** One float of the gradients of all parameters that have one. */
  readonly gradients: (gradients: readonly Value[]) => Value;
}

type AnyMetric<O> = Objective<O> | StreamingMetric<O> | GradientMetric;

interface CommonOptions<O> extends UpdateOptions {
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
  /** Scalars to report: means over the batch, or metrics of the whole data (all of `metrics`), which `step` gives of its batch. */
  readonly metrics?: Readonly<Record<string, AnyMetric<O>>>;
  /** Seed of the random numbers that are drawn while training (dropout). Default 0. */
  readonly seed?: number;
  /**
   * Look whether gradients are finite before state changes, so that `fit` ends in the batch where they are not. All gradients are then in
   * memory at once. Default true.
   */
  readonly checkGradients?: boolean;
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
  optimizer: anOptimizer,
  metrics: recordOf(either(aFunction, anObject)),
  clip: aFunction,
  accumulate: atLeast(1),
  schedule: aFunction,
  momentumSchedule: aFunction,
  seed: atLeast(0),
  checkGradients: aBoolean,
};
const needed = ["targets", "loss", "optimizer"] as const;
const modelChecks: Checks<TrainOptions<unknown>> = { ...commonChecks, inputs: anObject, outputs: listOf(aString) };
const graphChecks: Checks<GraphTrainOptions<unknown>> = { ...commonChecks, trainable: anything };

/** What the entries take, in order, and how outputs without names are called. */
interface Signature {
  readonly inputs: Types;
  readonly targets: Types;
  readonly outputs: readonly string[] | undefined;
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
export function trainStep(model: Module<never, Value>, options: TrainOptions<Value>): TrainingProgram;
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
    checkOptions("trainStep of a model", options as TrainOptions<O>, modelChecks, ["inputs", ...needed]);
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
  checkOptions("trainStep of a graph", options as GraphTrainOptions<O>, graphChecks, needed);
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

type Types = ReadonlyMap<string, TensorType>;

function build<O>(model: AnyModule, options: CommonOptions<O>, signature: Signature): TrainingProgram {
  const { inputs, targets, outputs: outputNames } = signature;
  const trained = [...model.variables().values()].some((v) => v.trainable && isFloat(v.dtype));
  if (!trained)
    throw new ModelError({ message: "the model has no trainable parameter", hint: "use toGraph for inference" });
  const metrics = Object.entries(options.metrics ?? {});
  if (metrics.some(([name]) => name === "loss")) throw new ModelError('no metric can be called "loss"');
  const streaming = metrics.flatMap(([name, m]) => (isStreaming<O>(m) ? [[name, m] as const] : []));
  const ofGradients = metrics.flatMap(([name, m]) => ("gradients" in m ? [[name, m] as const] : []));
  metrics.forEach(([name, m]) => {
    if (typeof m !== "function" && !isStreaming(m) && !("gradients" in m))
      throw new ModelError({
        where: `metric ${name}`,
        message: "is neither a function, nor { slots, update, result }, nor { gradients }",
        hint: "such as metrics.accuracy() or (output, y) => …",
      });
  });
  const types = new Map([...inputs, ...targets]);
  const order = { inputs: [...inputs.keys()], targets: [...targets.keys()] };
  const measured = (ctx: EntryContext, feeds: Feeds) => {
    const values = (names: readonly string[]) => names.map((name) => feeds[name]!);
    const output = applyModel(model, ctx, values(order.inputs)) as O;
    return measure(ctx, output, values(order.targets), options, streaming);
  };
  const { clip, schedule, momentumSchedule, accumulate } = options;
  const learning = defined({ clip, schedule, momentumSchedule, accumulate });
  const entries: Record<string, BuiltEntry> = {
    step: {
      types,
      run: (ctx, feeds) => {
        const measures = measured(ctx, feeds);
        const more = gradientMeasures(ctx, model, measures.loss!, ofGradients);
        ctx.minimize(measures.loss!, model, options.optimizer, learning);
        return scalars({ ...measures, ...more });
      },
    },
    evaluate: { types, training: false, run: (ctx, feeds) => scalars(measured(ctx, feeds)) },
    predict: {
      types: inputs,
      training: false,
      outputNames,
      run: (ctx, feeds) =>
        applyModel(
          model,
          ctx,
          order.inputs.map((name) => feeds[name]!),
        ) as Outputs,
    },
  };
  if (streaming.length > 0)
    entries.measure = { types: new Map(), training: false, run: (ctx) => results(ctx, streaming) };
  const { seed, batch, checkGradients } = options;
  const made = buildProgram(model, entries, defined({ seed, fit: defined({ batch, checkGradients }) }), "optimizer");
  const fit = made.training?.fit;
  if (!fit) throw new ModelError("the training step has no loss");
  const { resultNames = [], results: values = [] } = made.entries.measure ?? {};
  const single = resultNames.filter((_, i) => values[i]!.type.shape.length === 0);
  const streamed = single.length > 0 ? { entry: "measure", metrics: single } : null;
  // It measures all but what is of gradients.
  return { ...made, training: { ...made.training!, fit: { ...fit, evaluate: "evaluate", streamed } } };
}

/** Metrics of the gradients. The update's own are the same nodes. */
function gradientMeasures(
  ctx: EntryContext,
  model: AnyModule,
  loss: Value,
  list: readonly (readonly [string, GradientMetric])[],
): Measured {
  if (list.length === 0) return {};
  const values = ctx.parameters(model).map((p) => p.value);
  const found = gradients(loss, values, { unused: "undefined" }).flatMap((g) => g ?? []);
  return Object.fromEntries(
    list.map(([name, m]) => [
      name,
      requireOne(
        name,
        withLoc(name, () => m.gradients(found)),
      ),
    ]),
  );
}

type Feeds = Readonly<Record<string, Value>>;
type Measured = Readonly<Record<string, Value>>;

/** The package's own metrics are functions of a batch as well. */
const isStreaming = <O>(m: AnyMetric<O>): m is StreamingMetric<O> => "slots" in m && "update" in m && "result" in m;
const scalars = (measures: Measured): Measured =>
  Object.fromEntries(Object.entries(measures).map(([name, v]) => [name, asScalar(v)]));

/** Without what is undefined. */
const defined = <T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined)) as never;

const isOne = ({ type: { dtype, shape } }: Value): boolean =>
  isFloat(dtype) && elementCount(shape.map((d) => (typeof d === "number" ? d : 0))) === 1;

function requireOne(name: string, given: Value): Value {
  const value = located(name, name, () => requireValue(given, "what it gives"));
  if (isOne(value)) return value;
  throw new ModelError({
    where: name,
    message: `must be one float, but is ${typeText(value.type)}`,
    hint: "reduce it with a mean",
  });
}

/** Loss and metrics of a batch; metrics of the whole data grow. */
function measure<O>(
  ctx: EntryContext,
  output: O,
  targets: readonly Value[],
  { loss, metrics = {} }: CommonOptions<O>,
  streaming: readonly (readonly [string, StreamingMetric<O>])[],
): Measured {
  for (const [name, { slots, update }] of streaming)
    withLoc(name, () => {
      const more = update(output, ...targets);
      for (const [slot, shape] of Object.entries(slots)) {
        const state = ctx.keep(metricState(name, slot), "metric", zeros("f64", shape));
        state.value = np.add(state.value, asType(grown(more, slot), "f64"));
      }
    });
  const means = Object.entries({ loss, ...metrics }).flatMap(([name, m]) => {
    // Metrics of the whole data may tell something of a batch as well.
    if (typeof m !== "function") return [];
    const value = withLoc(name, () => m(output, ...targets));
    return isStreaming(m) && !isOne(value) ? [] : [[name, requireOne(name, value)] as const];
  });
  return Object.fromEntries(means);
}

const metricState = (metric: string, slot: string): string => `metric.${metric}.${slot}`;

/** Metrics of all that was seen. */
function results<O>(ctx: EntryContext, streaming: readonly (readonly [string, StreamingMetric<O>])[]): Measured {
  return Object.fromEntries(
    streaming.map(([name, { slots, result }]) => {
      const sums = Object.entries(slots).map(([slot, shape]) => {
        const state = ctx.keep(metricState(name, slot), "metric", zeros("f64", shape));
        return [slot, state.value] as const;
      });
      const made = withLoc(name, () => result(Object.fromEntries(sums)));
      const value = located(name, name, () => requireValue(made, "its result"));
      return [name, isOne(value) ? asScalar(value) : value];
    }),
  );
}

function grown(more: Measured, slot: string): Value {
  const value = more[slot];
  if (value !== undefined) return value;
  throw new ModelError({
    message: `the metric has a slot ${slot}, but its update gives nothing for it`,
    hint: "update gives an increment for each slot",
  });
}
