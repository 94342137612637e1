/** Optimisers that divide by a size of the gradients: Adam and its kin, RMSprop, Adagrad, Adadelta, LAMB. */

import { asType, norm2, np, square, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { abs, exp, mul, sqrt, sub } from "../../../ir/ops/elementwise.js";
import { flag, option, optional, positive, type Settings, share, size } from "../../schema.js";
import {
  betaOptions,
  common,
  defineOptimizer,
  descend,
  epsilonForm,
  epsilonOption,
  gradientOf,
  mix,
  oneMinus,
  powerOf,
  type Rule,
  ratio,
  same,
  shrunk,
} from "./rule.js";

const adamOptions = {
  ...common(1e-3),
  ...betaOptions(0.9, 0.999),
  epsilon: epsilonOption(1e-8),
  epsilonForm: epsilonForm("added before the second moment is corrected for its start, with 1e-7"),
  amsgrad: option(flag, false, "Divide by the largest second moment so far"),
};
const decoupled = option(flag, false, "Weight decay shrinks the parameter itself, as in AdamW");

function adam(o: Settings<typeof adamOptions>, apart: boolean): Omit<Rule, "lr"> {
  return {
    slots: {
      mean: { initial: 0 },
      variance: { initial: 0 },
      ...(o.amsgrad ? { largestVariance: { initial: 0 } } : {}),
    },
    update: (u) => {
      const g = gradientOf(u, apart ? { ...o, weightDecay: 0 } : o);
      const start = apart ? shrunk(u, o.weightDecay) : u.param;
      const beta1 = u.momentum === undefined ? o.beta1 : u.momentum;
      const b1 = typeof beta1 === "number" ? beta1 : same(beta1, g);
      const mean = mix(b1, u.slots.mean!, oneMinus(b1), g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      const largest = o.amsgrad ? np.max(u.slots.largestVariance!, variance) : undefined;
      const root = sqrt([largest ?? variance]);
      // mean / (root / scale + ε) as scale · mean / (root + scale · ε): one division for each parameter instead of two.
      const scale = sqrt([powerOf(o.beta2, u.step).complement]);
      const epsilon = o.epsilonForm === "keras" ? o.epsilon : same(np.mul(scale, o.epsilon), g);
      const rate = np.mul(np.div(u.lr, powerOf(beta1, u.step).complement), scale);
      return {
        param: descend(start, rate, np.div(mean, np.add(root, epsilon))),
        slots: { mean, variance, ...(largest ? { largestVariance: largest } : {}) },
      };
    },
  };
}

export const Adam = defineOptimizer({
  name: "Adam",
  summary: "https://arxiv.org/abs/1412.6980; weight decay is added to the gradient.",
  options: adamOptions,
  rule: (o) => adam(o, false),
});

export const SparseAdam = defineOptimizer({
  name: "SparseAdam",
  summary:
    "Adam for embeddings: rows that a batch does not use stay as they are, moments included. As PyTorch's, it learns nothing but such tables, and adds epsilon before the second moment is corrected for its start.",
  options: {
    lr: adamOptions.lr,
    ...betaOptions(0.9, 0.999),
    epsilon: adamOptions.epsilon,
    maximize: adamOptions.maximize,
  },
  rule: (o) => ({ ...adam({ ...o, weightDecay: 0, epsilonForm: "keras", amsgrad: false }, false), rows: "only" }),
});

export const AdamW = defineOptimizer({
  name: "AdamW",
  summary: "https://arxiv.org/abs/1711.05101: Adam whose weight decay shrinks the parameter itself.",
  options: {
    ...adamOptions,
    weightDecay: option(size, 0.01, "Share of the parameter that each step takes off, times the rate"),
  },
  rule: (o) => adam(o, true),
});

export const Adamax = defineOptimizer({
  name: "Adamax",
  summary: "Adam with the infinity norm, https://arxiv.org/abs/1412.6980.",
  options: {
    ...common(2e-3),
    ...betaOptions(0.9, 0.999),
    epsilon: epsilonOption(1e-8),
    epsilonForm: epsilonForm("added to the norm when it divides, not when it is kept, with 1e-7"),
  },
  rule: (o) => ({
    slots: { mean: { initial: 0 }, norm: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, o);
      const keras = o.epsilonForm === "keras";
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const norm = np.max(np.mul(u.slots.norm!, o.beta2), keras ? abs([g]) : np.add(abs([g]), o.epsilon));
      const rate = np.div(u.lr, powerOf(o.beta1, u.step).complement);
      const divisor = keras ? np.add(norm, o.epsilon) : norm;
      return { param: descend(u.param, rate, np.div(mean, divisor)), slots: { mean, norm } };
    },
  }),
});

export const NAdam = defineOptimizer({
  name: "NAdam",
  summary: "Adam with Nesterov's momentum, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.",
  options: {
    ...common(2e-3),
    ...betaOptions(0.9, 0.999),
    epsilon: epsilonOption(1e-8),
    momentumDecay: option(size, 4e-3, "How fast the momentum reaches beta1"),
    decoupledWeightDecay: decoupled,
  },
  rule: (o) => ({
    slots: { mean: { initial: 0 }, variance: { initial: 0 }, product: { initial: 1, scalar: true } },
    update: (u) => {
      const apart = o.decoupledWeightDecay;
      const g = gradientOf(u, apart ? { ...o, weightDecay: 0 } : o);
      const start = apart ? shrunk(u, o.weightDecay) : u.param;
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
      const step = descend(start, byGradient, np.div(g, denominator));
      return { param: descend(step, byMean, np.div(mean, denominator)), slots: { mean, variance, product } };
    },
  }),
});

export const RAdam = defineOptimizer({
  name: "RAdam",
  summary: "Adam with a rectified step size, https://arxiv.org/abs/1908.03265.",
  options: {
    ...common(1e-3),
    ...betaOptions(0.9, 0.999),
    epsilon: epsilonOption(1e-8),
    decoupledWeightDecay: decoupled,
  },
  rule: (o) => ({
    slots: { mean: { initial: 0 }, variance: { initial: 0 } },
    update: (u) => {
      const apart = o.decoupledWeightDecay;
      const g = gradientOf(u, apart ? { ...o, weightDecay: 0 } : o);
      const start = apart ? shrunk(u, o.weightDecay) : u.param;
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      // ρ_t = ρ_∞ − 2t·β₂^t / (1 − β₂^t) is a difference of large numbers: in f64.
      const t = asType(u.step, "f64");
      const { power, complement } = powerOf(o.beta2, t);
      const limit = 2 / (1 - o.beta2) - 1;
      const rho = np.sub(scalarConstant("f64", limit), np.div(np.mul(mul([t, power]), 2), complement));
      const safe = np.max(rho, 5);
      const quotient = np.div(
        mul([np.sub(safe, 4), np.sub(safe, 2)]),
        np.mul(safe, ((limit - 4) * (limit - 2)) / limit),
      );
      const rectified = asType(sqrt([mul([quotient, complement])]), "f32");
      const rate = np.div(u.lr, powerOf(o.beta1, u.step).complement);
      const adaptive = np.div(np.mul(mean, same(rectified, g)), np.add(sqrt([variance]), o.epsilon));
      const direction = where(np.gt(rho, 5), adaptive, mean);
      return { param: descend(start, rate, direction), slots: { mean, variance } };
    },
  }),
});

export const RMSprop = defineOptimizer({
  name: "RMSprop",
  summary:
    'Gradients divided by a running root mean square (Hinton\'s lecture 6 of "Neural networks for machine learning").',
  options: {
    ...common(1e-2),
    alpha: option(share, 0.99, "Decay of the mean squared gradient (Keras calls it rho, and has 0.9)"),
    epsilon: epsilonOption(1e-8),
    epsilonForm: epsilonForm("under the root, with 1e-7"),
    momentum: option(size, 0, "Share of the last step that is kept"),
    centered: option(flag, false, "Divide by the standard deviation of the gradient"),
  },
  rule: (o) => ({
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
      const direction = np.div(g, rootWith(spread, o));
      const kept = { meanSquare, ...(mean ? { mean } : {}) };
      if (o.momentum === 0) return { param: descend(u.param, u.lr, direction), slots: kept };
      const factor = u.momentum === undefined ? o.momentum : same(u.momentum, g);
      const momentum = mix(factor, u.slots.momentum!, 1, direction);
      return { param: descend(u.param, u.lr, momentum), slots: { ...kept, momentum } };
    },
  }),
});

/** √x + ε, or Keras's √(x + ε). */
const rootWith = (x: Value, o: { readonly epsilon: number; readonly epsilonForm: "pytorch" | "keras" }): Value =>
  o.epsilonForm === "keras" ? sqrt([np.add(x, o.epsilon)]) : np.add(sqrt([x]), o.epsilon);

export const Adagrad = defineOptimizer({
  name: "Adagrad",
  summary: "Gradients divided by the root of the sum of their squares, https://jmlr.org/papers/v12/duchi11a.html.",
  options: {
    ...common(1e-2),
    lrDecay: option(size, 0, "The rate is divided by 1 + (step − 1)·lrDecay"),
    epsilon: epsilonOption(1e-10),
    epsilonForm: epsilonForm("under the root, with 1e-7"),
    initialAccumulator: option(size, 0, "Sum to begin with (Keras: 0.1)"),
  },
  rule: (o) => ({
    ...(o.weightDecay === 0 && o.epsilon > 0 ? { rows: "exact" } : {}),
    slots: { sum: { initial: o.initialAccumulator } },
    update: (u) => {
      const g = gradientOf(u, o);
      const total = np.add(u.slots.sum!, square(g));
      const slower = np.add(np.mul(np.sub(u.step, 1), o.lrDecay), 1);
      const rate = o.lrDecay === 0 ? u.lr : np.div(u.lr, slower);
      return { param: descend(u.param, rate, np.div(g, rootWith(total, o))), slots: { sum: total } };
    },
  }),
});

export const Adadelta = defineOptimizer({
  name: "Adadelta",
  summary: "https://arxiv.org/abs/1212.5701",
  options: {
    ...common(1),
    rho: option(share, 0.9, "Decay of the mean squares"),
    epsilon: epsilonOption(1e-6),
  },
  rule: (o) => ({
    slots: { meanSquare: { initial: 0 }, meanSquareStep: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, o);
      const meanSquare = mix(o.rho, u.slots.meanSquare!, 1 - o.rho, square(g));
      const quotient = np.div(
        sqrt([np.add(u.slots.meanSquareStep!, o.epsilon)]),
        sqrt([np.add(meanSquare, o.epsilon)]),
      );
      const step = mul([quotient, g]);
      const meanSquareStep = mix(o.rho, u.slots.meanSquareStep!, 1 - o.rho, square(step));
      return { param: descend(u.param, u.lr, step), slots: { meanSquare, meanSquareStep } };
    },
  }),
});

export const LAMB = defineOptimizer({
  name: "LAMB",
  summary:
    "Adam whose steps are scaled by the parameter's norm over the step's, https://arxiv.org/abs/1904.00962. Leave biases and norms as they are with a group of `adapt: false, weightDecay: 0`.",
  options: {
    ...common(1e-3),
    ...betaOptions(0.9, 0.999),
    epsilon: epsilonOption(1e-6),
    weightDecay: option(size, 0, "Multiple of the parameter that is added to its step, before that is scaled"),
    trustLimit: optional(positive, "Largest ratio of the norms"),
    adapt: option(flag, true, "Whether steps are scaled"),
  },
  rule: (o) => ({
    slots: { mean: { initial: 0 }, variance: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, { ...o, weightDecay: 0 });
      const mean = mix(o.beta1, u.slots.mean!, 1 - o.beta1, g);
      const variance = mix(o.beta2, u.slots.variance!, 1 - o.beta2, square(g));
      const corrected = (v: Value, beta: number) => np.div(v, same(powerOf(beta, u.step).complement, g));
      const adaptive = np.div(corrected(mean, o.beta1), np.add(sqrt([corrected(variance, o.beta2)]), o.epsilon));
      const step = o.weightDecay === 0 ? adaptive : np.add(adaptive, np.mul(u.param, o.weightDecay));
      const scale = () => {
        const weight = norm2(u.param);
        const trust = where(np.gt(weight, 0), ratio(weight, norm2(step), 1), 1);
        return o.trustLimit === undefined ? trust : np.min(trust, o.trustLimit);
      };
      return {
        param: descend(u.param, u.lr, o.adapt ? np.mul(step, scale()) : step),
        slots: { mean, variance },
      };
    },
  }),
});
