/** The DSL: models, losses, optimisers and training as graphs. */

export * as F from "./f/index.js";
export { toGraph } from "./graph.js";
export type { GraphOutput, Trainable } from "./graph-model.js";
export * as losses from "./losses.js";
export * as metrics from "./metrics.js";
export * as nn from "./nn.js";
export * as optim from "./optim.js";
export * as schedules from "./schedules.js";
export { type GraphTrainOptions, type Objective, stateNames, type TrainOptions, trainStep } from "./train.js";
