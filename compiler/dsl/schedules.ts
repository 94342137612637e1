/**
 * Learning-rate schedules, by PyTorch's and Keras's formulas in closed form. docs/TRAINING.md lists them all. One's own is a function
 * of an arithmetic and a step: `(m, s) => m.div(m.of(0.1), m.add(s, m.of(1)))`.
 */

export { type Arithmetic, rateAt, rateValue, type Schedule } from "./schedules/arithmetic.js";
export { type CyclicOptions, cyclic, type OneCycleOptions, oneCycle, oneCycleMomentum } from "./schedules/cycles.js";
export {
  constant,
  constantFactor,
  cosine,
  cosineDecay,
  cosineRestarts,
  exponential,
  exponentialDecay,
  inverseSqrt,
  inverseTime,
  linear,
  multiStep,
  piecewise,
  polynomial,
  product,
  step,
  switchAt,
  warmup,
  warmupCosine,
} from "./schedules/decay.js";
export { Plateau, type PlateauOptions } from "./schedules/plateau.js";
