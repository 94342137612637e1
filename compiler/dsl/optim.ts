/**
 * Optimisers, by PyTorch's formulas. An optimiser describes the state it keeps for each parameter and builds the nodes of one
 * update; the learning rate is a value of the graph, so that schedules need no compilation.
 */

import { type Arg, amax, asType, np, square, sum, where } from "../../ir/build.js";
import { ModelError } from "../../ir/errors.js";
import type { Value } from "../../ir/graph.js";
import { choices } from "../../ir/names.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { abs, exp, expm1, log, mul, sqrt, sub } from "../../ir/ops/elementwise.js";
import { describe } from "../options.js";

/** What an update sees. */
export interface Update {
  readonly param: Value;
  readonly gradient: Value;
  /** The parameter's own state by slot name. */
  readonly slots: Readonly<Record<string, Value>>;
  /** Learning rate, a scalar. */
  readonly lr: Value;
  /** Replaces the option `momentum` (or the first beta), where a schedule drives it. */
  readonly momentum?: Value | undefined;
  /** Number of this update, from 1, as a scalar f32. */
  readonly step: Value;
}

export interface Updated {
  readonly param: Value;
  readonly slots: Readonly<Record<string, Value>>;
}

export type OptimizerOptions = Readonly<Record<string, number | boolean | string>>;

/** The rule for some parameters: which state it keeps, and one update. */
export interface Rule {
  readonly lr: number;
  /** Slots and their first value in all elements; scalar slots are one number for the parameter. */
  readonly slots: Readonly<Record<string, { readonly initial: number; readonly scalar?: boolean }>>;
  readonly update: (u: Update) => Updated;
}

export interface Optimizer {
  readonly name: string;
  /** Learning rate at the start. */
  readonly lr: number;
  readonly options: OptimizerOptions;
  /** The rule for the parameter of this name. */
  readonly ruleFor: (name: string) => Rule;
}

/** Options that differ for some parameters. */
export interface Group<O> {
  /** Which parameters: a prefix of their names, or a test. The first group that fits counts. */
  readonly params: string | ((name: string) => boolean);
  readonly options: Partial<O>;
}

interface CommonOptions {
  readonly lr?: number;
  /** Multiple of the parameter added to its gradient (in AdamW: taken off the parameter). */
  readonly weightDecay?: number;
  /** Climb instead of descend. */
  readonly maximize?: boolean;
}

type Grouped<O> = O & { readonly groups?: readonly Group<O>[] };

/** An optimiser from its defaults and the rule that options give. */
function optimizer<O extends CommonOptions>(
  name: string,
  defaults: Required<O>,
  rule: (options: Required<O>) => Omit<Rule, "lr">,
): (options?: Grouped<O>) => Optimizer {
  return (given) => {
    const { groups = [], ...own } = given ?? ({} as Grouped<O>);
    const base: Required<O> = { ...defaults, ...stated(own as unknown as O) };
    check(name, base, defaults);
    const rules = groups.map((g) => {
      const options = { ...base, ...stated(g.options) };
      check(name, options, defaults);
      return { ...rule(options), lr: Number(options.lr) };
    });
    const common = { ...rule(base), lr: Number(base.lr) };
    const fits = (g: Group<O>, p: string) => (typeof g.params === "string" ? p.startsWith(g.params) : g.params(p));
    return {
      name,
      lr: common.lr,
      options: base as unknown as OptimizerOptions,
      ruleFor: (p) => rules[groups.findIndex((g) => fits(g, p))] ?? common,
    };
  };
}

/** Without options that are undefined. */
const stated = <O extends object>(options: O): O =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as O;

/** Options are those that have defaults, of the same kind. */
function check(name: string, options: object, defaults: object): void {
  const sample = defaults as Readonly<Record<string, unknown>>;
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(sample, key))
      throw new ModelError({
        where: `option ${key}`,
        message: `${name} has no such option`,
        hint: choices(key, [...Object.keys(sample), "groups"], "its options are"),
      });
    if (typeof sample[key] === "boolean" ? typeof value !== "boolean" : !Number.isFinite(value))
      throw new ModelError({
        where: `option ${key}`,
        message: `${name} expects ${typeof sample[key] === "boolean" ? "true or false" : "a finite number"}, got ${describe(value)}`,
      });
    if (typeof value === "number" && !(value >= 0))
      throw new ModelError(`${name}: ${key} is ${value}, but must be ≥ 0`);
  }
}

// -------------------------------------------------------------------------------------------------- arithmetic

/** a·x + b·y */
const mix = (a: Arg, x: Value, b: Arg, y: Value): Value => np.add(np.mul(x, a), np.mul(y, b));
const oneMinus = (a: Arg): Arg => (typeof a === "number" ? 1 - a : np.sub(scalarConstant(a.type.dtype, 1), a));
/** p − rate·direction */
const descend = (p: Value, rate: Value, direction: Value): Value =>
  np.sub(p, np.mul(direction, asType(rate, p.type.dtype)));
const same = (v: Value, like: Value): Value => asType(v, like.type.dtype);

/** Gradient with sign and weight decay. */
function gradientOf({ param, gradient }: Update, { weightDecay = 0, maximize = false }: CommonOptions): Value {
  const g = maximize ? np.mul(gradient, -1) : gradient;
  return weightDecay === 0 ? g : np.add(g, np.mul(param, weightDecay));
}

/** β^step, and 1 − β^step without cancellation. */
function powerOf(beta: Arg, step: Value): { readonly power: Value; readonly complement: Value } {
  const exponent = np.mul(step, typeof beta === "number" ? Math.log(beta) : log([beta]));
  return { power: exp([exponent]), complement: np.mul(expm1([exponent]), -1) };
}

// ------------------------------------------------------------------------------------------------- optimisers

export interface SGDOptions extends CommonOptions {
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
}

/** Stochastic gradient descent, with (Nesterov's) momentum. */
export const SGD = optimizer<SGDOptions>(
  "SGD",
  { lr: 1e-3, momentum: 0, dampening: 0, nesterov: false, weightDecay: 0, maximize: false },
  (o) => {
    if (o.nesterov && (o.momentum === 0 || o.dampening !== 0)) {
      throw new ModelError("SGD: Nesterov's momentum needs a momentum and no dampening");
    }
    return {
      slots: o.momentum === 0 ? {} : { momentum: { initial: 0 } },
      update: (u) => {
        const g = gradientOf(u, o);
        if (o.momentum === 0) return { param: descend(u.param, u.lr, g), slots: {} };
        const factor = u.momentum === undefined ? o.momentum : same(u.momentum, g);
        const moved = mix(factor, u.slots.momentum!, 1 - o.dampening, g);
        // The first gradient is not dampened.
        const momentum = o.dampening === 0 ? moved : where(np.eq(u.step, 1), g, moved);
        const direction = o.nesterov ? np.add(g, np.mul(momentum, factor)) : momentum;
        return { param: descend(u.param, u.lr, direction), slots: { momentum } };
      },
    };
  },
);

export interface AdamOptions extends CommonOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly amsgrad?: boolean;
}

function adam(o: Required<AdamOptions>, decoupled: boolean): Omit<Rule, "lr"> {
  return {
    slots: {
      mean: { initial: 0 },
      variance: { initial: 0 },
      ...(o.amsgrad ? { largestVariance: { initial: 0 } } : {}),
    },
    update: (u) => {
      const g = gradientOf(u, decoupled ? { ...o, weightDecay: 0 } : o);
      const start =
        decoupled && o.weightDecay !== 0
          ? np.mul(u.param, same(np.sub(scalarConstant("f32", 1), np.mul(u.lr, o.weightDecay)), u.param))
          : u.param;
      const beta1 = u.momentum === undefined ? o.beta1 : u.momentum;
      const b1 = typeof beta1 === "number" ? beta1 : same(beta1, g);
      const mean = mix(b1, u.slots.mean!, oneMinus(b1), g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      const largest = o.amsgrad ? np.max(u.slots.largestVariance!, variance) : undefined;
      const scale = same(sqrt([powerOf(o.beta2, u.step).complement]), g);
      const denominator = np.add(np.div(sqrt([largest ?? variance]), scale), o.epsilon);
      const rate = np.div(u.lr, powerOf(beta1, u.step).complement);
      return {
        param: descend(start, rate, np.div(mean, denominator)),
        slots: { mean, variance, ...(largest ? { largestVariance: largest } : {}) },
      };
    },
  };
}

const adamDefaults = { lr: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, amsgrad: false, maximize: false } as const;

/** https://arxiv.org/abs/1412.6980; weight decay is added to the gradient. */
export const Adam = optimizer<AdamOptions>("Adam", { ...adamDefaults, weightDecay: 0 }, (o) => adam(o, false));
/** https://arxiv.org/abs/1711.05101: weight decay shrinks the parameter itself. */
export const AdamW = optimizer<AdamOptions>("AdamW", { ...adamDefaults, weightDecay: 0.01 }, (o) => adam(o, true));

export interface AdamaxOptions extends CommonOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

/** Adam with the infinity norm, https://arxiv.org/abs/1412.6980. */
export const Adamax = optimizer<AdamaxOptions>(
  "Adamax",
  { lr: 2e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maximize: false },
  (o) => ({
    slots: { mean: { initial: 0 }, norm: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, o);
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const norm = np.max(np.mul(u.slots.norm!, o.beta2), np.add(abs([g]), o.epsilon));
      const rate = np.div(u.lr, powerOf(o.beta1, u.step).complement);
      return { param: descend(u.param, rate, np.div(mean, norm)), slots: { mean, norm } };
    },
  }),
);

export interface NAdamOptions extends AdamaxOptions {
  readonly momentumDecay?: number;
}

/** Adam with Nesterov's momentum, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ. */
export const NAdam = optimizer<NAdamOptions>(
  "NAdam",
  { lr: 2e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentumDecay: 4e-3, weightDecay: 0, maximize: false },
  (o) => ({
    slots: { mean: { initial: 0 }, variance: { initial: 0 }, product: { initial: 1, scalar: true } },
    update: (u) => {
      const g = gradientOf(u, o);
      // μ_t = β₁(1 − ½·0.96^(t·decay))
      const mu = (step: Value) => {
        const decayed = exp([np.mul(step, o.momentumDecay * Math.log(0.96))]);
        return np.mul(np.sub(scalarConstant("f32", 1), np.mul(decayed, 0.5)), o.beta1);
      };
      const now = mu(u.step);
      const next = mu(np.add(u.step, 1));
      const product = mul([u.slots.product!, now]);
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      const corrected = np.div(variance, same(powerOf(o.beta2, u.step).complement, g));
      const denominator = np.add(sqrt([corrected]), o.epsilon);
      const one = scalarConstant("f32", 1);
      const byGradient = mul([u.lr, np.div(np.sub(one, now), np.sub(one, product))]);
      const byMean = mul([u.lr, np.div(next, np.sub(one, mul([product, next])))]);
      const step = descend(u.param, byGradient, np.div(g, denominator));
      return { param: descend(step, byMean, np.div(mean, denominator)), slots: { mean, variance, product } };
    },
  }),
);

/** Adam with a rectified step size, https://arxiv.org/abs/1908.03265. */
export const RAdam = optimizer<AdamaxOptions>(
  "RAdam",
  { lr: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, maximize: false },
  (o) => ({
    slots: { mean: { initial: 0 }, variance: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, o);
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      // ρ_t = ρ_∞ − 2t·β₂^t / (1 − β₂^t) is a difference of large numbers: in f64.
      const t = asType(u.step, "f64");
      const { power, complement } = powerOf(o.beta2, t);
      const limit = 2 / (1 - o.beta2) - 1;
      const rho = np.sub(scalarConstant("f64", limit), np.div(np.mul(mul([t, power]), 2), complement));
      const safe = np.max(rho, 5);
      const ratio = np.div(mul([np.sub(safe, 4), np.sub(safe, 2)]), np.mul(safe, ((limit - 4) * (limit - 2)) / limit));
      const rectified = asType(sqrt([mul([ratio, complement])]), "f32");
      const rate = np.div(u.lr, powerOf(o.beta1, u.step).complement);
      const adaptive = np.div(np.mul(mean, same(rectified, g)), np.add(sqrt([variance]), o.epsilon));
      const direction = where(np.gt(rho, 5), adaptive, mean);
      return { param: descend(u.param, rate, direction), slots: { mean, variance } };
    },
  }),
);

export interface RMSpropOptions extends CommonOptions {
  readonly alpha?: number;
  readonly epsilon?: number;
  readonly momentum?: number;
  readonly centered?: boolean;
}

/** Gradients divided by a running root mean square (Hinton's lecture 6 of "Neural networks for machine learning"). */
export const RMSprop = optimizer<RMSpropOptions>(
  "RMSprop",
  { lr: 1e-2, alpha: 0.99, epsilon: 1e-8, momentum: 0, centered: false, weightDecay: 0, maximize: false },
  (o) => ({
    slots: {
      meanSquare: { initial: 0 },
      ...(o.centered ? { mean: { initial: 0 } } : {}),
      ...(o.momentum > 0 ? { momentum: { initial: 0 } } : {}),
    },
    update: (u) => {
      const g = gradientOf(u, o);
      const meanSquare = mix(o.alpha, u.slots.meanSquare!, 1 - o.alpha, square(g));
      const mean = o.centered ? mix(o.alpha, u.slots.mean!, 1 - o.alpha, g) : undefined;
      const spread = mean === undefined ? meanSquare : sub([meanSquare, square(mean)]);
      const direction = np.div(g, np.add(sqrt([spread]), o.epsilon));
      const kept = { meanSquare, ...(mean ? { mean } : {}) };
      if (o.momentum === 0) return { param: descend(u.param, u.lr, direction), slots: kept };
      const momentum = mix(o.momentum, u.slots.momentum!, 1, direction);
      return { param: descend(u.param, u.lr, momentum), slots: { ...kept, momentum } };
    },
  }),
);

export interface AdagradOptions extends CommonOptions {
  readonly lrDecay?: number;
  readonly epsilon?: number;
  readonly initialAccumulator?: number;
}

/** https://jmlr.org/papers/v12/duchi11a.html */
export const Adagrad = optimizer<AdagradOptions>(
  "Adagrad",
  { lr: 1e-2, lrDecay: 0, epsilon: 1e-10, initialAccumulator: 0, weightDecay: 0, maximize: false },
  (o) => ({
    slots: { sum: { initial: o.initialAccumulator } },
    update: (u) => {
      const g = gradientOf(u, o);
      const total = np.add(u.slots.sum!, square(g));
      const slower = np.add(np.mul(np.sub(u.step, 1), o.lrDecay), 1);
      const rate = o.lrDecay === 0 ? u.lr : np.div(u.lr, slower);
      return { param: descend(u.param, rate, np.div(g, np.add(sqrt([total]), o.epsilon))), slots: { sum: total } };
    },
  }),
);

export interface AdadeltaOptions extends CommonOptions {
  readonly rho?: number;
  readonly epsilon?: number;
}

/** https://arxiv.org/abs/1212.5701 */
export const Adadelta = optimizer<AdadeltaOptions>(
  "Adadelta",
  { lr: 1, rho: 0.9, epsilon: 1e-6, weightDecay: 0, maximize: false },
  (o) => ({
    slots: { meanSquare: { initial: 0 }, meanSquareStep: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, o);
      const meanSquare = mix(o.rho, u.slots.meanSquare!, 1 - o.rho, square(g));
      const ratio = np.div(sqrt([np.add(u.slots.meanSquareStep!, o.epsilon)]), sqrt([np.add(meanSquare, o.epsilon)]));
      const step = mul([ratio, g]);
      const meanSquareStep = mix(o.rho, u.slots.meanSquareStep!, 1 - o.rho, square(step));
      return { param: descend(u.param, u.lr, step), slots: { meanSquare, meanSquareStep } };
    },
  }),
);

// --------------------------------------------------------------------------------------------------- clipping

/** Changes all gradients before the update. */
export type Clip = (gradients: readonly Value[]) => readonly Value[];

/** Norm of all gradients as one vector; p may be Infinity. */
export function gradientNorm(gradients: readonly Value[], p = 2): Value {
  const f32s = gradients.map((g) => asType(g, "f32"));
  const join = (values: readonly Value[], by: (a: Value, b: Value) => Value) => values.reduce((a, b) => by(a, b));
  if (p === Infinity)
    return join(
      f32s.map((g) => amax(abs([g]))),
      np.max,
    );
  const power = (g: Value) => (p === 2 ? square(g) : p === 1 ? abs([g]) : np.pow(abs([g]), p));
  const total = join(
    f32s.map((g) => sum(power(g))),
    np.add,
  );
  return p === 2 ? sqrt([total]) : p === 1 ? total : np.pow(total, 1 / p);
}

/** Scales all gradients down so that their common norm is at most `max`. */
export const clipNorm =
  (max: number, p = 2): Clip =>
  (gradients) => {
    const factor = np.min(np.div(scalarConstant("f32", max), np.add(gradientNorm(gradients, p), 1e-6)), 1);
    return gradients.map((g) => np.mul(g, same(factor, g)));
  };

/** Limits each element of each gradient to [−max, max]. */
export const clipValue =
  (max: number): Clip =>
  (gradients) =>
    gradients.map((g) => np.min(np.max(g, -max), max));
