/**
 * Learning-rate schedules, by PyTorch's formulas in closed form. A schedule is written once over an abstract arithmetic: on numbers
 * it runs on the host (`rateAt`), on values it becomes part of the training graph (`trainStep`'s option `schedule`).
 */

import { asType, np, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { cos, exp, floor, log, sqrt } from "../../../ir/ops/elementwise.js";

/** What schedules compute with. */
export interface Arithmetic<T> {
  readonly of: (value: number) => T;
  readonly add: (a: T, b: T) => T;
  readonly sub: (a: T, b: T) => T;
  readonly mul: (a: T, b: T) => T;
  readonly div: (a: T, b: T) => T;
  readonly min: (a: T, b: T) => T;
  readonly max: (a: T, b: T) => T;
  readonly floor: (a: T) => T;
  readonly cos: (a: T) => T;
  readonly sqrt: (a: T) => T;
  readonly log: (a: T) => T;
  readonly exp: (a: T) => T;
  /** a < b ? x : y, where both sides may be computed. */
  readonly below: (a: T, b: T, x: T, y: T) => T;
}

/** The rate for a step, counted from 0. */
export type Schedule = <T>(m: Arithmetic<T>, step: T) => T;

const numbers: Arithmetic<number> = {
  of: (v) => v,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  floor: Math.floor,
  cos: Math.cos,
  sqrt: Math.sqrt,
  log: Math.log,
  exp: Math.exp,
  below: (a, b, x, y) => (a < b ? x : y),
};

/** Scalars in f64: powers of a decay near 1 keep their digits over many steps. */
const values: Arithmetic<Value> = {
  of: (v) => scalarConstant("f64", v),
  add: np.add,
  sub: np.sub,
  mul: np.mul,
  div: np.div,
  min: np.min,
  max: np.max,
  floor: (a) => floor([a]),
  cos: (a) => cos([a]),
  sqrt: (a) => sqrt([a]),
  log: (a) => log([a]),
  exp: (a) => exp([a]),
  below: (a, b, x, y) => where(np.lt(a, b), x, y),
};

/** The rate of a step (from 0) as a number. */
export const rateAt = (schedule: Schedule, step: number): number => schedule(numbers, step);

/** The rate as a scalar f32 of the graph, from a scalar integer step. */
export const rateValue = (schedule: Schedule, step: Value): Value =>
  asType(schedule(values, asType(step, "f64")), "f32");

// ------------------------------------------------------------------------------------------------------------- parts

export const power = <T>(m: Arithmetic<T>, base: number, exponent: T): T =>
  m.exp(m.mul(exponent, m.of(Math.log(base))));

/** a at 0, b at 1, by a cosine. */
export function halfCosine<T>(m: Arithmetic<T>, a: T, b: T, at: T): T {
  const share = m.mul(m.add(m.cos(m.mul(at, m.of(Math.PI))), m.of(1)), m.of(0.5));
  return m.add(b, m.mul(m.sub(a, b), share));
}
