/**
 * Learning-rate schedules, by PyTorch's formulas in closed form. A schedule is written once over an abstract arithmetic: on numbers
 * it runs on the host (`rateAt`), on values it becomes part of the training graph (`trainStep`'s option `schedule`).
 */

import { asType, np, where } from "../../ir/build.js";
import type { Value } from "../../ir/graph.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { cos, exp, floor, log, sqrt } from "../../ir/ops/elementwise.js";

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

// --------------------------------------------------------------------------------------------------- schedules

const power = <T>(m: Arithmetic<T>, base: number, exponent: T): T => m.exp(m.mul(exponent, m.of(Math.log(base))));

export const constant =
  (rate: number): Schedule =>
  (m) =>
    m.of(rate);

/** Times gamma after every `size` steps. */
export const step =
  (rate: number, size: number, gamma = 0.1): Schedule =>
  (m, s) =>
    m.mul(m.of(rate), power(m, gamma, m.floor(m.div(s, m.of(size)))));

/** Times gamma at each milestone. */
export const multiStep =
  (rate: number, milestones: readonly number[], gamma = 0.1): Schedule =>
  (m, s) =>
    milestones.reduce((r, at) => m.below(s, m.of(at), r, m.mul(r, m.of(gamma))), m.of(rate));

export const exponential =
  (rate: number, gamma: number): Schedule =>
  (m, s) =>
    m.mul(m.of(rate), power(m, gamma, s));

/** Half a cosine from the rate to `end` in `period` steps, and back again after that. */
export const cosine =
  (rate: number, period: number, end = 0): Schedule =>
  (m, s) =>
    halfCosine(m, m.of(rate), m.of(end), m.div(s, m.of(period)));

/** a at 0, b at 1, by a cosine. */
function halfCosine<T>(m: Arithmetic<T>, a: T, b: T, at: T): T {
  const share = m.mul(m.add(m.cos(m.mul(at, m.of(Math.PI))), m.of(1)), m.of(0.5));
  return m.add(b, m.mul(m.sub(a, b), share));
}

/** Cosines that start again at full rate; each period is `factor` times the one before. */
export const cosineRestarts =
  (rate: number, period: number, factor = 1, end = 0): Schedule =>
  (m, s) => {
    if (factor === 1) {
      const at = m.div(s, m.of(period));
      return halfCosine(m, m.of(rate), m.of(end), m.sub(at, m.floor(at)));
    }
    // Cycle n begins at period·(factorⁿ − 1)/(factor − 1). The small addend keeps a rounded logarithm in the right cycle.
    const grown = m.add(m.mul(s, m.of((factor - 1) / period)), m.of(1));
    const n = m.floor(m.add(m.div(m.log(grown), m.of(Math.log(factor))), m.of(1e-9)));
    const length = power(m, factor, n);
    const begin = m.div(m.sub(length, m.of(1)), m.of(factor - 1));
    const at = m.div(m.sub(m.div(s, m.of(period)), begin), length);
    return halfCosine(m, m.of(rate), m.of(end), at);
  };

/** From rate·start to rate·end in a line over `total` steps. */
export const linear =
  (
    rate: number,
    { start = 1 / 3, end = 1, total = 5 }: { start?: number; end?: number; total?: number } = {},
  ): Schedule =>
  (m, s) => {
    const at = m.div(m.min(s, m.of(total)), m.of(total));
    return m.mul(m.of(rate), m.add(m.of(start), m.mul(at, m.of(end - start))));
  };

/** rate · (1 − s/total)^exponent, 0 from `total` on. */
export const polynomial =
  (rate: number, total: number, exponent = 1): Schedule =>
  (m, s) => {
    const left = m.sub(m.of(1), m.div(m.min(s, m.of(total)), m.of(total)));
    const raised = exponent === 1 ? left : m.exp(m.mul(m.log(left), m.of(exponent)));
    return m.mul(m.of(rate), raised);
  };

/** A line from rate/warmup up to the rate, then the rate. */
export const warmup =
  (rate: number, steps: number): Schedule =>
  (m, s) =>
    m.mul(m.of(rate), m.min(m.of(1), m.div(m.add(s, m.of(1)), m.of(steps))));

/** A line up, then half a cosine down to 0 at step `total`. */
export const warmupCosine =
  (rate: number, steps: number, total: number): Schedule =>
  (m, s) => {
    const up = m.div(m.mul(m.add(s, m.of(1)), m.of(rate)), m.of(steps));
    const down = halfCosine(m, m.of(rate), m.of(0), m.div(m.sub(s, m.of(steps)), m.of(total - steps)));
    return m.below(s, m.of(steps), up, down);
  };

/** Up in a line, then down with 1/√step: rate · min((s+1)^−½, (s+1)·warmup^−1.5). https://arxiv.org/abs/1706.03762 */
export const inverseSqrt =
  (rate: number, steps: number): Schedule =>
  (m, s) => {
    const t = m.add(s, m.of(1));
    return m.mul(m.of(rate), m.min(m.div(m.of(1), m.sqrt(t)), m.mul(t, m.of(steps ** -1.5))));
  };

/** The first schedule until a step, then the second, which counts from there. */
export const switchAt =
  (first: Schedule, at: number, second: Schedule): Schedule =>
  (m, s) =>
    m.below(s, m.of(at), first(m, s), second(m, m.max(m.sub(s, m.of(at)), m.of(0))));

export interface OneCycleOptions {
  readonly max: number;
  readonly total: number;
  /** Share of the steps that rise. */
  readonly rise?: number;
  readonly anneal?: "cosine" | "linear";
  /** The first rate is max / startDivisor, the last one the first / endDivisor. */
  readonly startDivisor?: number;
  readonly endDivisor?: number;
  /** Falls to the first rate as it rose, then to the last. */
  readonly threePhase?: boolean;
}

/** Piecewise from value to value; each piece ends at its step and begins where the one before ended. */
function pieces<T>(
  m: Arithmetic<T>,
  s: T,
  anneal: "cosine" | "linear",
  list: readonly { readonly end: number; readonly from: number; readonly to: number }[],
): T {
  let begin = 0;
  const parts = list.map(({ end, from, to }) => {
    const at = m.div(m.sub(s, m.of(begin)), m.of(end - begin));
    const value =
      anneal === "cosine" ? halfCosine(m, m.of(from), m.of(to), at) : m.add(m.of(from), m.mul(at, m.of(to - from)));
    begin = end;
    return { end, value };
  });
  // A step at the end of a piece belongs to it.
  return parts
    .slice(0, -1)
    .reduceRight((later, { end, value }) => m.below(s, m.of(end + 1e-6), value, later), parts.at(-1)!.value);
}

/** https://arxiv.org/abs/1708.07120 */
export function oneCycle(options: OneCycleOptions): Schedule {
  const {
    max,
    total,
    rise = 0.3,
    anneal = "cosine",
    startDivisor = 25,
    endDivisor = 1e4,
    threePhase = false,
  } = options;
  const start = max / startDivisor;
  const end = start / endDivisor;
  const list = threePhase
    ? [
        { end: rise * total - 1, from: start, to: max },
        { end: 2 * rise * total - 2, from: max, to: start },
        { end: total - 1, from: start, to: end },
      ]
    : [
        { end: rise * total - 1, from: start, to: max },
        { end: total - 1, from: max, to: end },
      ];
  return (m, s) => pieces(m, s, anneal, list);
}

/** The momentum that goes with `oneCycle`: high where the rate is low. */
export function oneCycleMomentum(
  options: Omit<OneCycleOptions, "max" | "startDivisor" | "endDivisor">,
  [base, max]: readonly [number, number] = [0.85, 0.95],
): Schedule {
  const { total, rise = 0.3, anneal = "cosine", threePhase = false } = options;
  const list = threePhase
    ? [
        { end: rise * total - 1, from: max, to: base },
        { end: 2 * rise * total - 2, from: base, to: max },
        { end: total - 1, from: max, to: max },
      ]
    : [
        { end: rise * total - 1, from: max, to: base },
        { end: total - 1, from: base, to: max },
      ];
  return (m, s) => pieces(m, s, anneal, list);
}

export interface CyclicOptions {
  readonly base: number;
  readonly max: number;
  readonly up: number;
  readonly down?: number;
  /** The amplitude stays, halves with each cycle, or shrinks with gamma to the power of the step. */
  readonly mode?: "triangular" | "triangular2" | "expRange";
  readonly gamma?: number;
}

/** Triangles between two rates, https://arxiv.org/abs/1506.01186. With base above max it is the momentum that goes with them. */
export function cyclic({ base, max, up, down = up, mode = "triangular", gamma = 1 }: CyclicOptions): Schedule {
  return (m, s) => {
    const total = up + down;
    const cycles = m.div(s, m.of(total));
    const cycle = m.floor(cycles);
    const x = m.sub(cycles, cycle);
    const ratio = m.of(up / total);
    const height = m.below(
      m.sub(x, m.of(1e-9)),
      ratio,
      m.div(x, ratio),
      m.div(m.sub(x, m.of(1)), m.sub(ratio, m.of(1))),
    );
    const scale = mode === "triangular" ? m.of(1) : mode === "triangular2" ? power(m, 0.5, cycle) : power(m, gamma, s);
    return m.add(m.of(base), m.mul(m.mul(height, scale), m.of(max - base)));
  };
}

export interface PlateauOptions {
  readonly factor?: number;
  readonly patience?: number;
  readonly threshold?: number;
  readonly thresholdMode?: "relative" | "absolute";
  readonly cooldown?: number;
  readonly min?: number;
  /** Whether smaller or larger measures are better. */
  readonly mode?: "min" | "max";
}

/**
 * Lowers the rate when a measure stops improving. It depends on measures, so it runs on the host: call `next` with each measure
 * and set the session's learning rate to what it returns.
 */
export class Plateau {
  rate: number;
  readonly #options: Required<PlateauOptions>;
  #best: number;
  #bad = 0;
  #cooling = 0;

  constructor(rate: number, options: PlateauOptions = {}) {
    this.rate = rate;
    this.#options = {
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "relative",
      cooldown: 0,
      min: 0,
      mode: "min",
      ...options,
    };
    this.#best = this.#options.mode === "min" ? Infinity : -Infinity;
  }

  next(measure: number): number {
    const { factor, patience, threshold, thresholdMode, cooldown, min, mode } = this.#options;
    const sign = mode === "min" ? -1 : 1;
    const margin = thresholdMode === "relative" ? this.#best * (1 + sign * threshold) : this.#best + sign * threshold;
    if (mode === "min" ? measure < margin : measure > margin) {
      this.#best = measure;
      this.#bad = 0;
    } else this.#bad++;
    if (this.#cooling > 0) {
      this.#cooling--;
      this.#bad = 0;
    }
    if (this.#bad > patience) {
      const lower = Math.max(this.rate * factor, min);
      if (this.rate - lower > 1e-8) this.rate = lower;
      this.#cooling = cooldown;
      this.#bad = 0;
    }
    return this.rate;
  }
}
