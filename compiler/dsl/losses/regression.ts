/** Losses of numbers: how far an output is from its target. */

import { np, sum, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { softplus } from "../../../ir/ops/activation.js";
import { abs, exp, log, log1p, mul, neg, sqrt } from "../../../ir/ops/elementwise.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import * as loss from "../../../ir/ops/loss.js";
import { flag, integer, option, positive, size } from "../../schema.js";
import { defineLoss, like, reduce, reductionOption } from "./define.js";

export const mse = defineLoss({
  name: "mse",
  summary: "(output − target)².",
  options: reductionOption,
  of: (attrs) => (output: Value, target: Value) => loss.mseLoss([output, like(target, output)], attrs),
});

export const l1 = defineLoss({
  name: "l1",
  summary: "|output − target|.",
  options: reductionOption,
  of: (attrs) => (output: Value, target: Value) => loss.l1Loss([output, like(target, output)], attrs),
});

export const smoothL1 = defineLoss({
  name: "smoothL1",
  summary: "With d = |output − target|: d² / 2β below β, d − β/2 from there on.",
  options: { ...reductionOption, beta: option(size, 1, "Where the parabola ends") },
  of: (attrs) => (output: Value, target: Value) => loss.smoothL1Loss([output, like(target, output)], attrs),
});

export const huber = defineLoss({
  name: "huber",
  summary: "With d = |output − target|: d²/2 up to δ, δ(d − δ/2) beyond.",
  options: { ...reductionOption, delta: option(positive, 1, "Where the parabola ends") },
  of: (attrs) => (output: Value, target: Value) => loss.huberLoss([output, like(target, output)], attrs),
});

export const logCosh = defineLoss({
  name: "logCosh",
  summary: "log cosh(output − target), Keras's `log_cosh`.",
  options: reductionOption,
  of:
    ({ reduction }) =>
    (output: Value, target: Value) => {
      // log cosh d = |d| + log(1 + e^(−2|d|)) − log 2
      const d = np.sub(output, like(target, output));
      return reduce(np.sub(np.add(d, softplus([np.mul(d, -2)], { beta: 1 })), Math.LN2), reduction);
    },
});

export const meanAbsolutePercentage = defineLoss({
  name: "meanAbsolutePercentage",
  summary: "100 · |target − output| / max(|target|, 1e-7), Keras's `mean_absolute_percentage_error`.",
  options: reductionOption,
  of:
    ({ reduction }) =>
    (output: Value, target: Value) => {
      const t = like(target, output);
      return reduce(np.mul(abs([np.div(np.sub(t, output), np.max(abs([t]), 1e-7))]), 100), reduction);
    },
});

export const meanSquaredLogarithmic = defineLoss({
  name: "meanSquaredLogarithmic",
  summary: "(log(1 + target) − log(1 + output))², both at least 1e-7, Keras's `mean_squared_logarithmic_error`.",
  options: reductionOption,
  of:
    ({ reduction }) =>
    (output: Value, target: Value) => {
      const logarithm = (v: Value) => log1p([np.max(v, 1e-7)]);
      return loss.mseLoss([logarithm(output), logarithm(like(target, output))], { reduction });
    },
});

export const poissonNLL = defineLoss({
  name: "poissonNLL",
  summary: "Negative log-likelihood of counts by Poisson's distribution, PyTorch's `poisson_nll_loss`.",
  options: {
    ...reductionOption,
    logInput: option(flag, true, "The output is the logarithm of the rate"),
    full: option(flag, false, "With Stirling's formula for the factorial of targets above 1"),
    epsilon: option(size, 1e-8, "Added to the rate before its logarithm"),
  },
  of:
    ({ reduction, logInput, full, epsilon }) =>
    (output: Value, target: Value) => {
      const t = like(target, output);
      const each = logInput
        ? np.sub(exp([output]), np.mul(t, output))
        : np.sub(output, np.mul(t, log([np.add(output, epsilon)])));
      if (!full) return reduce(each, reduction);
      const large = np.gt(t, 1);
      const safe = where(large, t, 2);
      const stirling = np.add(np.sub(mul([safe, log([safe])]), safe), np.mul(log([np.mul(safe, 2 * Math.PI)]), 0.5));
      return reduce(np.add(each, where(large, stirling, 0)), reduction);
    },
});

export const gaussianNLL = defineLoss({
  name: "gaussianNLL",
  summary:
    "Of means, targets and variances: negative log-likelihood by normal distributions, PyTorch's `gaussian_nll_loss`. Variances may lack the last axis or have 1 there.",
  options: {
    ...reductionOption,
    full: option(flag, false, "With the constant ½ log 2π"),
    epsilon: option(positive, 1e-6, "Least variance; the gradient goes to the variance as it is"),
  },
  of:
    ({ reduction, full, epsilon }) =>
    (output: Value, target: Value, variance: Value) => {
      const raised = np.add(variance, stopGradient([np.sub(np.max(variance, epsilon), variance)]));
      const d = np.sub(output, like(target, output));
      const each = np.mul(np.add(log([raised]), np.div(mul([d, d]), raised)), 0.5);
      return reduce(full ? np.add(each, 0.5 * Math.log(2 * Math.PI)) : each, reduction);
    },
});

export const cosineSimilarity = defineLoss({
  name: "cosineSimilarity",
  summary: "−cosine of the angle between output and target along an axis, Keras's `cosine_similarity`.",
  options: { ...reductionOption, axis: option(integer, -1, "Along which the vectors lie") },
  of:
    ({ reduction, axis }) =>
    (output: Value, target: Value) => {
      // Keras's l2_normalize: x / sqrt(max(Σ x², 1e-12)).
      const unit = (v: Value) => np.div(v, sqrt([np.max(sum(mul([v, v]), axis, { keepDims: true }), 1e-12)]));
      return reduce(neg([sum(mul([unit(output), unit(like(target, output))]), axis)]), reduction);
    },
});
