/** Optimisers that follow the gradient or its sign: SGD, ASGD, Rprop, Lion, LARS. */

import { clamp, norm2, np, where } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { sign } from "../../../ir/ops/elementwise.js";
import { decay, flag, option, optional, pair, positive, share, size } from "../../schema.js";
import {
  betaOptions,
  common,
  defineOptimizer,
  descend,
  epsilonOption,
  gradientOf,
  isFirst,
  mix,
  type Rule,
  ratio,
  same,
  shrunk,
  type Update,
} from "./rule.js";

const momentumOptions = {
  momentum: option(size, 0, "Share of the last step that is kept"),
  dampening: option(size, 0, "Share of the gradient that the momentum leaves out"),
  nesterov: option(flag, false, "Nesterov's momentum; needs a momentum and no dampening"),
};

interface Momentum {
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
}

/** Descent along directions that momentum smooths. */
function withMomentum(name: string, o: Momentum, raw: (u: Update) => Value): Omit<Rule, "lr"> {
  if (o.nesterov && (o.momentum === 0 || o.dampening !== 0))
    throw new ModelError({
      where: `optim.${name}`,
      message: "Nesterov's momentum needs a momentum and no dampening",
      hint: "give momentum: 0.9, say, and leave dampening out",
    });
  return {
    slots: o.momentum === 0 ? {} : { momentum: { initial: 0 } },
    update: (u) => {
      const g = raw(u);
      if (o.momentum === 0) return { param: descend(u.param, u.lr, g), slots: {} };
      const factor = u.momentum === undefined ? o.momentum : same(u.momentum, g);
      const moved = mix(factor, u.slots.momentum!, 1 - o.dampening, g);
      // The first gradient is not dampened.
      const momentum = o.dampening === 0 ? moved : where(isFirst(u), g, moved);
      const direction = o.nesterov ? np.add(g, np.mul(momentum, factor)) : momentum;
      return { param: descend(u.param, u.lr, direction), slots: { momentum } };
    },
  };
}

export const SGD = defineOptimizer({
  name: "SGD",
  summary: "Stochastic gradient descent, with (Nesterov's) momentum.",
  options: { ...common(1e-3), ...momentumOptions },
  rule: (o) => ({
    ...withMomentum("SGD", o, (u) => gradientOf(u, o)),
    ...(o.momentum === 0 && o.weightDecay === 0 ? { rows: "exact" } : {}),
  }),
});

export const ASGD = defineOptimizer({
  name: "ASGD",
  summary:
    "Averaged stochastic gradient descent, https://doi.org/10.1137/0330046. The averages are the state `optimizer.average.PARAMETER`.",
  options: {
    ...common(1e-2),
    lambda: option(size, 1e-4, "Share of the parameter that each step takes off, times the rate"),
    alpha: option(size, 0.75, "Power by which the rate falls"),
    averageFrom: option(
      size,
      1e6,
      "Step from which on it averages; before, the average is the parameter (PyTorch's `t0`)",
    ),
  },
  rule: (o) => ({
    slots: { rate: { initial: o.lr, scalar: true }, average: { initial: "parameter" } },
    update: (u) => {
      const g = gradientOf(u, o);
      const rate = where(isFirst(u), u.lr, u.slots.rate!);
      const kept = np.sub(scalarConstant("f32", 1), np.mul(rate, o.lambda));
      const param = descend(np.mul(u.param, same(kept, u.param)), rate, g);
      const weight = np.div(scalarConstant("f32", 1), np.max(np.sub(u.step, 1 + o.averageFrom), 1));
      const average = np.add(u.slots.average!, np.mul(np.sub(param, u.slots.average!), same(weight, param)));
      const slower = np.add(np.mul(np.mul(u.lr, o.lambda), u.step), 1);
      return { param, slots: { rate: np.div(u.lr, np.pow(slower, o.alpha)), average } };
    },
  }),
});

export const Rprop = defineOptimizer({
  name: "Rprop",
  summary:
    "Resilient backpropagation, https://doi.org/10.1109/ICNN.1993.298623: only signs of gradients count, each element has its own step. For whole data sets, not for batches that differ.",
  options: {
    lr: option(size, 1e-2, "First step of all elements"),
    maximize: option(flag, false, "Climb instead of descend"),
    etas: option(
      pair(positive),
      [0.5, 1.2],
      "Factors of the step where the gradient's sign changed, and where it stayed",
    ),
    stepSizes: option(pair(positive), [1e-6, 50], "Smallest and largest step"),
  },
  rule: (o) => ({
    slots: { previous: { initial: 0 }, stepSize: { initial: o.lr } },
    update: (u) => {
      const g = o.maximize ? np.mul(u.gradient, -1) : u.gradient;
      const agreement = np.mul(g, u.slots.previous!);
      const turned = np.lt(agreement, 0);
      const factor = where(turned, o.etas[0], where(np.gt(agreement, 0), o.etas[1], np.add(np.mul(g, 0), 1)));
      const before = where(isFirst(u), same(u.lr, g), u.slots.stepSize!);
      const stepSize = clamp(np.mul(before, factor), ...o.stepSizes);
      const previous = where(turned, 0, g);
      return { param: np.sub(u.param, np.mul(sign([previous]), stepSize)), slots: { previous, stepSize } };
    },
  }),
});

export const Lion = defineOptimizer({
  name: "Lion",
  summary:
    "Sign of an interpolated momentum, https://arxiv.org/abs/2302.06675; weight decay shrinks the parameter itself.",
  options: {
    ...common(1e-4),
    beta1: option(decay, 0.9, "Share of the momentum in the direction"),
    beta2: option(decay, 0.99, "Decay of the momentum"),
    betas: betaOptions(0, 0).betas,
  },
  rule: (o) => ({
    slots: { momentum: { initial: 0 } },
    update: (u) => {
      const g = gradientOf(u, { ...o, weightDecay: 0 });
      const { momentum } = u.slots;
      const direction = sign([mix(o.beta1, momentum!, 1 - o.beta1, g)]);
      return {
        param: descend(shrunk(u, o.weightDecay), u.lr, direction),
        slots: { momentum: mix(o.beta2, momentum!, 1 - o.beta2, g) },
      };
    },
  }),
});

export const LARS = defineOptimizer({
  name: "LARS",
  summary:
    "SGD whose gradients are scaled by the parameter's norm over the gradient's, https://arxiv.org/abs/1708.03888. Leave biases and norms as they are with a group of `adapt: false`.",
  options: {
    ...common(1),
    ...momentumOptions,
    trust: option(positive, 1e-3, "Trust coefficient: step in proportion to the parameter"),
    trustLimit: optional(share, "Largest ratio, relative to the rate (`trust_clip` of timm is 1)"),
    epsilon: epsilonOption(1e-8),
    adapt: option(flag, true, "Whether gradients are scaled"),
  },
  rule: (o) =>
    withMomentum("LARS", o, (u) => {
      const g = gradientOf(u, o);
      if (!o.adapt) return g;
      const [weight, gradient] = [norm2(u.param), norm2(o.maximize ? np.mul(u.gradient, -1) : u.gradient)];
      const scaled = ratio(
        np.mul(weight, o.trust),
        np.add(np.add(gradient, np.mul(weight, o.weightDecay)), o.epsilon),
        1,
      );
      const usable = np.and(np.gt(weight, 0), np.gt(gradient, 0));
      const trust = where(usable, scaled, 1);
      const limited = o.trustLimit === undefined ? trust : np.min(np.div(trust, same(u.lr, trust)), o.trustLimit);
      return np.mul(g, limited);
    }),
});
