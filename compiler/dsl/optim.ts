/**
 * Optimisers, by PyTorch's formulas. An optimiser describes the state it keeps and builds the nodes of one update; the learning
 * rate is a value of the graph, so that schedules need no compilation.
 */

export { Adadelta, Adagrad, Adam, Adamax, AdamW, LAMB, NAdam, RAdam, RMSprop, SparseAdam } from "./optim/adaptive.js";
export { averaged, ema } from "./optim/average.js";
export { type Clip, clipEachNorm, clipNorm, clipValue, gradientNorm } from "./optim/clip.js";
export { ASGD, LARS, Lion, Rprop, SGD } from "./optim/descent.js";
export { LBFGS } from "./optim/lbfgs.js";
export { Adafactor, combined, Muon, type Part } from "./optim/matrix.js";
export type {
  Group,
  JointRule,
  JointUpdate,
  Optimizer,
  OptimizerOptions,
  Parameter,
  Rule,
  Slot,
  Update,
  Updated,
} from "./optim/rule.js";
