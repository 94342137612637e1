import { clamp, norm2, np, reciprocal, rsqrt, square, sum, variance, where } from "../../../ir/build.js";
import type { NoAttrs, Value } from "../../../ir/graph.js";
import type { Op } from "../../../ir/op.js";
import * as act from "../../../ir/ops/activation.js";
import * as ew from "../../../ir/ops/elementwise.js";
import { scaleGradient, stopGradient } from "../../../ir/ops/gradient.js";
import type { Builder, Builders } from "./builder.js";

const unary =
  (op: Op<string, NoAttrs>): Builder =>
  ({ x }) =>
    op([x!]);
const ofX =
  (f: (x: Value) => Value): Builder =>
  ({ x }) =>
    f(x!);
const ofAB =
  (f: (a: Value, b: Value) => Value): Builder =>
  ({ a, b }) =>
    f(a!, b!);

export const elementwise: Builders = {
  unary_abs: unary(ew.abs),
  unary_neg: unary(ew.neg),
  unary_exp: unary(ew.exp),
  unary_sin: unary(ew.sin),
  unary_cos: unary(ew.cos),
  unary_tan: ofX((x) => ew.tan([np.mul(x, 0.5)])),
  unary_tanh: unary(ew.tanh),
  unary_sigmoid: unary(ew.sigmoid),
  unary_erf: unary(ew.erf),
  unary_square: ofX(square),
  unary_cube: ofX((x) => np.pow(x, 3)),
  unary_relu: unary(act.relu),
  unary_leaky_relu: ofX((x) => act.leakyRelu([x], { slope: 0.2 })),
  unary_elu: ofX((x) => act.elu([x], { alpha: 0.8 })),
  unary_selu: ofX((x) => act.selu([x], act.seluConstants)),
  unary_gelu_erf: ofX((x) => act.gelu([x], { approximate: "none" })),
  unary_gelu_tanh: ofX((x) => act.gelu([x], { approximate: "tanh" })),
  unary_silu: unary(act.silu),
  unary_mish: unary(act.mish),
  unary_softplus: ofX((x) => act.softplus([x], { beta: 1 })),
  unary_softplus_beta: ofX((x) => act.softplus([x], { beta: 2.5 })),
  unary_hardswish: ofX((x) => act.hardSwish([np.mul(x, 3)])),
  unary_hardsigmoid: ofX((x) => act.hardSigmoid([np.mul(x, 3)], act.hardSigmoidConstants)),
  unary_hardtanh: ofX((x) => act.hardTanh([x], { low: -0.7, high: 0.9 })),
  unary_relu6: ofX((x) => act.hardTanh([np.mul(x, 4)], { low: 0, high: 6 })),
  unary_softsign: unary(act.softsign),
  unary_logsigmoid: unary(act.logSigmoid),
  unary_celu: ofX((x) => act.celu([x], { alpha: 1.4 })),
  unary_atan: unary(ew.atan),
  unary_sinh: unary(ew.sinh),
  unary_expm1: unary(ew.expm1),
  unary_log: unary(ew.log),
  unary_sqrt: unary(ew.sqrt),
  unary_rsqrt: ofX(rsqrt),
  unary_reciprocal: ofX(reciprocal),
  unary_log1p: unary(ew.log1p),
  unary_pow_half: ofX((x) => np.pow(x, 1.5)),
  unary_log2: ofX((x) => np.mul(ew.log([x]), Math.LOG2E)),
  prelu_channel: ({ x, weight }) => act.prelu([x!, act.channelSlope(x!, weight!)]),
  prelu_single: ({ x, weight }) => act.prelu([x!, act.channelSlope(x!, weight!)]),
  glu: ofX((x) => act.glu([x], { axis: 1 })),
  binary_add: ofAB(np.add),
  binary_sub: ofAB(np.sub),
  binary_mul: ofAB(np.mul),
  binary_div: ofAB(np.div),
  binary_add_both_broadcast: ofAB(np.add),
  binary_mul_scalar_tensor: ofAB(np.mul),
  binary_pow: ofAB(np.pow),
  binary_max: ofAB(np.max),
  binary_min: ofAB(np.min),
  binary_atan2: ofAB(np.atan2),
  lerp: ({ a, b, w }) => np.add(a!, np.mul(w!, np.sub(b!, a!))),
  where_broadcast: ({ c, a, b }) => where(c!, a!, b!),
  clamp_both: ofX((x) => clamp(x, -0.5, 0.8)),
  clamp_min: ofX((x) => clamp(x, 0.1)),
  normalize: ofX((x) => np.div(x, np.max(norm2(x, 1, { keepDims: true }), 1e-12))),
  cosine_similarity: ofAB((a, b) => np.div(sum(np.mul(a, b), 1), np.mul(norm2(a, 1), norm2(b, 1)))),
  norm_2: ofX((x) => norm2(x, 1)),
  std_axis: ofX((x) => ew.sqrt([variance(x, 0, { correction: 1 })])),
  gradient_reversal: ({ x }, { lam }) => scaleGradient([x!], { factor: -(lam as number) }),
  stop_gradient_straight_through: ofX((x) => np.add(x, stopGradient([np.sub(ew.round([x]), x)]))),
  reused_input: ofX((x) => np.add(np.mul(sum(square(x), 1, { keepDims: true }), x), ew.exp([x]))),
  squash: ofX((x) => {
    const n = sum(square(x), -1, { keepDims: true });
    return np.div(np.mul(np.div(n, np.add(n, 1)), x), ew.sqrt([np.add(n, 1e-8)]));
  }),
};
