/** Rates that fall (or rise) once, by PyTorch's and Keras's formulas. */

import { ModelError } from "../../../ir/errors.js";
import {
  callable,
  count,
  defined,
  flag,
  further,
  index,
  type Kind,
  list,
  type OptionsOf,
  option,
  parameter,
  positional,
  positive,
  settle,
  size,
} from "../../schema.js";
import { type Arithmetic, halfCosine, power, type Schedule } from "./arithmetic.js";

const rateParameter = parameter("rate", size, "rate to begin with");
const gammaParameter = further("gamma", positive, "factor, default 0.1");
const schedule: Kind<Schedule> = callable as unknown as Kind<Schedule>;
const milestones: Kind<readonly number[]> = {
  expected: "a list of steps that grow",
  fits: (v) =>
    Array.isArray(v) && v.every((s, i) => Number.isSafeInteger(s) && (s as number) >= 0 && (i === 0 || s > v[i - 1])),
};
const staircase = further("staircase", flag, "only at whole multiples of the steps, default false");

/** s / steps, or its whole part. */
const periods = <T>(m: Arithmetic<T>, s: T, steps: number, whole: boolean): T => {
  const at = m.div(s, m.of(steps));
  return whole ? m.floor(at) : at;
};

export const constant = positional(
  "schedules.constant",
  "The same rate in each step.",
  [rateParameter],
  (rate: number): Schedule =>
    (m) =>
      m.of(rate),
);

export const constantFactor = positional(
  "schedules.constantFactor",
  "A part of the rate for some steps, then all of it (`ConstantLR`).",
  [rateParameter, further("factor", size, "default 1/3"), further("total", count, "steps, default 5")],
  (rate: number, factor = 1 / 3, total = 5): Schedule =>
    (m, s) =>
      m.below(s, m.of(total), m.of(rate * factor), m.of(rate)),
);

export const step = positional(
  "schedules.step",
  "Times gamma after every `size` steps (`StepLR`).",
  [rateParameter, parameter("size", count, "steps"), gammaParameter],
  (rate: number, every: number, gamma = 0.1): Schedule =>
    (m, s) =>
      m.mul(m.of(rate), power(m, gamma, m.floor(m.div(s, m.of(every))))),
);

export const multiStep = positional(
  "schedules.multiStep",
  "Times gamma at each milestone (`MultiStepLR`).",
  [rateParameter, parameter("milestones", milestones, "steps"), gammaParameter],
  (rate: number, at: readonly number[], gamma = 0.1): Schedule =>
    (m, s) =>
      at.reduce((r, end) => m.below(s, m.of(end), r, m.mul(r, m.of(gamma))), m.of(rate)),
);

export const piecewise = positional(
  "schedules.piecewise",
  "A rate up to and with each boundary, and one after the last (Keras's `PiecewiseConstantDecay`).",
  [parameter("boundaries", milestones, "steps"), parameter("rates", list(size), "one more than boundaries")],
  (boundaries: readonly number[], rates: readonly number[]): Schedule => {
    if (rates.length !== boundaries.length + 1)
      throw new ModelError({
        where: "schedules.piecewise",
        message: `${boundaries.length} boundaries need ${boundaries.length + 1} rates, not ${rates.length}`,
      });
    return (m, s) =>
      boundaries.reduceRight(
        (later, end, i) => m.below(s, m.of(end + 0.5), m.of(rates[i]!), later),
        m.of(rates.at(-1)!),
      );
  },
);

export const exponential = positional(
  "schedules.exponential",
  "rate · gamma^s (`ExponentialLR`).",
  [rateParameter, parameter("gamma", positive, "factor of each step")],
  (rate: number, gamma: number): Schedule =>
    (m, s) =>
      m.mul(m.of(rate), power(m, gamma, s)),
);

export const exponentialDecay = positional(
  "schedules.exponentialDecay",
  "rate · factor^(s / steps) (Keras's `ExponentialDecay`).",
  [
    rateParameter,
    parameter("steps", count, "in which the rate is multiplied once"),
    parameter("factor", positive, ""),
    staircase,
  ],
  (rate: number, steps: number, factor: number, whole = false): Schedule =>
    (m, s) =>
      m.mul(m.of(rate), power(m, factor, periods(m, s, steps, whole))),
);

export const inverseTime = positional(
  "schedules.inverseTime",
  "rate / (1 + factor · s / steps) (Keras's `InverseTimeDecay`).",
  [rateParameter, parameter("steps", count, ""), parameter("factor", positive, ""), staircase],
  (rate: number, steps: number, factor: number, whole = false): Schedule =>
    (m, s) =>
      m.div(m.of(rate), m.add(m.of(1), m.mul(periods(m, s, steps, whole), m.of(factor)))),
);

export const cosine = positional(
  "schedules.cosine",
  "Half a cosine from the rate to `end` in `period` steps, and back again after that (`CosineAnnealingLR`).",
  [rateParameter, parameter("period", count, "steps"), further("end", size, "last rate, default 0")],
  (rate: number, period: number, end = 0): Schedule =>
    (m, s) =>
      halfCosine(m, m.of(rate), m.of(end), m.div(s, m.of(period))),
);

const cosineDecayOptions = {
  alpha: option(size, 0, "Share of the rate at the end"),
  warmup: option(index, 0, "Steps in a line from `start` to the rate; `steps` are counted after them"),
  start: option(size, 0, "First rate of the warm-up"),
};

export const cosineDecay = defined(
  {
    name: "schedules.cosineDecay",
    summary:
      "`cosineDecay(rate, steps, options)`: a warm-up in a line, then half a cosine, then the end's rate (Keras's `CosineDecay`).",
    options: cosineDecayOptions,
  },
  (rate: number, steps: number, options: OptionsOf<typeof cosineDecayOptions> = {}): Schedule => {
    const { alpha, warmup: up, start } = settle("schedules.cosineDecay", options, cosineDecayOptions);
    requireNumbers("schedules.cosineDecay", { rate, steps }, { rate: size, steps: count });
    return (m, s) => {
      const at = m.div(m.min(m.sub(s, m.of(up)), m.of(steps)), m.of(steps));
      const down = halfCosine(m, m.of(rate), m.of(rate * alpha), at);
      if (up === 0) return down;
      const rise = m.add(m.of(start), m.mul(m.div(s, m.of(up)), m.of(rate - start)));
      return m.below(s, m.of(up), rise, down);
    };
  },
);

export const cosineRestarts = positional(
  "schedules.cosineRestarts",
  "Cosines that start again at full rate; each period is `factor` times the one before (`CosineAnnealingWarmRestarts`), each height `shrink` times (Keras's `CosineDecayRestarts`).",
  [
    rateParameter,
    parameter("period", count, "steps of the first"),
    further("factor", positive, "default 1"),
    further("end", size, "last rate, default 0"),
    further("shrink", positive, "default 1"),
  ],
  (rate: number, period: number, factor = 1, end = 0, shrink = 1): Schedule =>
    (m, s) => {
      const top = (n: Parameters<typeof m.floor>[0]) =>
        shrink === 1 ? m.of(rate) : m.add(m.of(end), m.mul(m.of(rate - end), power(m, shrink, n)));
      if (factor === 1) {
        const at = m.div(s, m.of(period));
        const n = m.floor(at);
        return halfCosine(m, top(n), m.of(end), m.sub(at, n));
      }
      // Cycle n begins at period·(factorⁿ − 1)/(factor − 1). The small addend keeps a rounded logarithm in the right cycle.
      const grown = m.add(m.mul(s, m.of((factor - 1) / period)), m.of(1));
      const n = m.floor(m.add(m.div(m.log(grown), m.of(Math.log(factor))), m.of(1e-9)));
      const length = power(m, factor, n);
      const begin = m.div(m.sub(length, m.of(1)), m.of(factor - 1));
      const at = m.div(m.sub(m.div(s, m.of(period)), begin), length);
      return halfCosine(m, top(n), m.of(end), at);
    },
);

const linearOptions = {
  start: option(size, 1 / 3, "Factor of the first step"),
  end: option(size, 1, "Factor from `total` on"),
  total: option(count, 5, "Steps"),
};

export const linear = defined(
  {
    name: "schedules.linear",
    summary: "`linear(rate, options)`: from rate·start to rate·end in a line (`LinearLR`).",
    options: linearOptions,
  },
  (rate: number, options: OptionsOf<typeof linearOptions> = {}): Schedule => {
    const { start, end, total } = settle("schedules.linear", options, linearOptions);
    requireNumbers("schedules.linear", { rate }, { rate: size });
    return (m, s) => {
      const at = m.div(m.min(s, m.of(total)), m.of(total));
      return m.mul(m.of(rate), m.add(m.of(start), m.mul(at, m.of(end - start))));
    };
  },
);

export const polynomial = positional(
  "schedules.polynomial",
  "(rate − end) · (1 − s/total)^exponent + end, from `total` on `end` (`PolynomialLR`, Keras's `PolynomialDecay`).",
  [
    rateParameter,
    parameter("total", count, "steps"),
    further("exponent", positive, "default 1"),
    further("end", size, "last rate, default 0"),
  ],
  (rate: number, total: number, exponent = 1, end = 0): Schedule =>
    (m, s) => {
      const left = m.sub(m.of(1), m.div(m.min(s, m.of(total)), m.of(total)));
      const raised = exponent === 1 ? left : m.exp(m.mul(m.log(left), m.of(exponent)));
      const fallen = m.mul(m.of(rate - end), raised);
      return end === 0 ? fallen : m.add(fallen, m.of(end));
    },
);

export const warmup = positional(
  "schedules.warmup",
  "A line from rate/steps up to the rate, then the rate.",
  [rateParameter, parameter("steps", count, "of the line")],
  (rate: number, steps: number): Schedule =>
    (m, s) =>
      m.mul(m.of(rate), m.min(m.of(1), m.div(m.add(s, m.of(1)), m.of(steps)))),
);

export const warmupCosine = positional(
  "schedules.warmupCosine",
  "A line up, then half a cosine down to 0 at step `total`.",
  [
    rateParameter,
    parameter("steps", count, "of the line"),
    parameter("total", count, "steps, more than those of the line"),
  ],
  (rate: number, steps: number, total: number): Schedule => {
    if (total <= steps)
      throw new ModelError({
        where: "schedules.warmupCosine",
        message: `total ${total} must be more than steps ${steps}`,
      });
    return (m, s) => {
      const up = m.div(m.mul(m.add(s, m.of(1)), m.of(rate)), m.of(steps));
      const down = halfCosine(m, m.of(rate), m.of(0), m.div(m.sub(s, m.of(steps)), m.of(total - steps)));
      return m.below(s, m.of(steps), up, down);
    };
  },
);

export const inverseSqrt = positional(
  "schedules.inverseSqrt",
  "Up in a line, then down with 1/√step: rate · min((s+1)^−½, (s+1)·steps^−1.5), https://arxiv.org/abs/1706.03762.",
  [rateParameter, parameter("steps", count, "of the line")],
  (rate: number, steps: number): Schedule =>
    (m, s) => {
      const t = m.add(s, m.of(1));
      return m.mul(m.of(rate), m.min(m.div(m.of(1), m.sqrt(t)), m.mul(t, m.of(steps ** -1.5))));
    },
);

export const switchAt = positional(
  "schedules.switchAt",
  "The first schedule until a step, then the second, which counts from there (`SequentialLR`).",
  [parameter("first", schedule, ""), parameter("at", count, "step"), parameter("second", schedule, "")],
  (first: Schedule, at: number, second: Schedule): Schedule =>
    (m, s) =>
      m.below(s, m.of(at), first(m, s), second(m, m.max(m.sub(s, m.of(at)), m.of(0)))),
);

export const product = positional(
  "schedules.product",
  "rate · Π (schedule / rate) of schedules that begin with the same rate (`ChainedScheduler`).",
  [parameter("rate", positive, "rate of all of them"), parameter("schedules", list(schedule), "")],
  (rate: number, all: readonly Schedule[]): Schedule =>
    (m, s) =>
      all.reduce((r, of) => m.mul(r, m.div(of(m, s), m.of(rate))), m.of(rate)),
);

function requireNumbers(
  of: string,
  values: Readonly<Record<string, unknown>>,
  kinds: Readonly<Record<string, Kind<number>>>,
): void {
  for (const [name, { expected, fits }] of Object.entries(kinds))
    if (!fits(values[name]))
      throw new ModelError({ where: `${of}: ${name}`, message: `expected ${expected}, got ${String(values[name])}` });
}
