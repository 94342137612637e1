/** Rates that go up and down: one cycle, or many. */

import { ModelError } from "../../../ir/errors.js";
import {
  choice,
  count,
  defined,
  flag,
  type Option,
  option,
  optional,
  pair,
  positive,
  required,
  settleAs,
  share,
  size,
} from "../../schema.js";
import { type Arithmetic, halfCosine, power, type Schedule } from "./arithmetic.js";

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

const oneCycleOptions: { readonly [K in keyof OneCycleOptions]-?: Option<unknown> } = {
  max: required(size, "Largest rate"),
  total: required(count, "Number of steps"),
  rise: option(share, 0.3, "Share of the steps that rise"),
  anneal: option(choice("cosine", "linear"), "cosine", "The curve between the rates"),
  threePhase: option(flag, false, "Falls to the first rate as it rose, then to the last"),
  startDivisor: option(positive, 25, "The first rate is max / startDivisor"),
  endDivisor: option(positive, 1e4, "The last rate is the first / endDivisor"),
};

export const oneCycle = defined(
  {
    name: "schedules.oneCycle",
    summary: "Up to `max` and down again, https://arxiv.org/abs/1708.07120 (`OneCycleLR`).",
    options: oneCycleOptions,
  },
  (options: OneCycleOptions): Schedule => {
    const { max, total, rise, anneal, startDivisor, endDivisor, threePhase } = settleAs(
      "schedules.oneCycle",
      options,
      oneCycleOptions,
    ) as Required<OneCycleOptions>;
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
  },
);

/** `oneCycle`'s own options fit; those of rates do not count. */
type OneCycleShape = Omit<OneCycleOptions, "max"> & { readonly max?: number };
const momentumOptions = { ...oneCycleOptions, max: optional(size, "Not used: both take the same options") };

export const oneCycleMomentum = defined(
  {
    name: "schedules.oneCycleMomentum",
    summary:
      "The momentum that goes with `oneCycle`, high where the rate is low; its second argument is the least and the largest, [0.85, 0.95].",
    options: momentumOptions,
  },
  (options: OneCycleShape, range: readonly [number, number] = [0.85, 0.95]): Schedule => {
    const { total, rise, anneal, threePhase } = settleAs<OneCycleShape>(
      "schedules.oneCycleMomentum",
      options,
      momentumOptions,
    ) as Required<OneCycleShape>;
    if (!pair(share).fits(range))
      throw new ModelError({
        where: "schedules.oneCycleMomentum",
        message: `the range must be ${pair(share).expected}`,
      });
    const [base, max] = range;
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
  },
);

export interface CyclicOptions {
  readonly base: number;
  readonly max: number;
  readonly up: number;
  readonly down?: number;
  /** The amplitude stays, halves with each cycle, or shrinks with gamma to the power of the step. */
  readonly mode?: "triangular" | "triangular2" | "expRange";
  readonly gamma?: number;
}

const cyclicOptions: { readonly [K in keyof CyclicOptions]-?: Option<unknown> } = {
  base: required(size, "Rate at the ends of a cycle"),
  max: required(size, "Rate at its peak"),
  up: required(count, "Steps up"),
  down: optional(count, "Steps down; as many as up where it is not given"),
  mode: option(
    choice("triangular", "triangular2", "expRange"),
    "triangular",
    "The height stays, halves with each cycle, or is multiplied by gamma to the power of the step",
  ),
  gamma: option(positive, 1, "See mode"),
};

export const cyclic = defined(
  {
    name: "schedules.cyclic",
    summary:
      "Triangles between two rates, https://arxiv.org/abs/1506.01186 (`CyclicLR`). With base above max it is the momentum that goes with them.",
    options: cyclicOptions,
  },
  (options: CyclicOptions): Schedule => {
    const settled = settleAs("schedules.cyclic", options, cyclicOptions);
    const { base, max, up, down = up, mode, gamma } = settled as Required<CyclicOptions>;
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
      const scale =
        mode === "triangular" ? m.of(1) : mode === "triangular2" ? power(m, 0.5, cycle) : power(m, gamma, s);
      return m.add(m.of(base), m.mul(m.mul(height, scale), m.of(max - base)));
    };
  },
);
