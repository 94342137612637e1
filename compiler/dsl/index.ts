/** The DSL: models, losses, optimisers and training as graphs. */

export { graph, param } from "./by-hand.js";
export type { EntryContext, Learning, MinimizeOptions, NamedParameter } from "./entry-context.js";
export { F } from "./f/guarded.js";
export { checkpoint, type GradientOptions, grad, gradients, perSample, vjp } from "./gradients.js";
export { toGraph } from "./graph.js";
export type { GraphOutput, Trainable } from "./graph-model.js";
export * as losses from "./losses.js";
export * as metrics from "./metrics.js";
export * as nn from "./nn.js";
export * as optim from "./optim.js";
export {
  type Entry,
  type FitOptions,
  type InputValues,
  type Modules,
  type ProgramOptions,
  program,
  type TypesOf,
} from "./program.js";
export * as schedules from "./schedules.js";
export {
  type GradientMetric,
  type GraphTrainOptions,
  type Objective,
  type StreamingMetric,
  stateNames,
  type TrainOptions,
  trainStep,
} from "./train.js";
