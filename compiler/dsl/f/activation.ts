/** Activations, with PyTorch's names and default constants. */

import { np, where } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import * as act from "../../../ir/ops/activation.js";
import { tanh } from "../../../ir/ops/elementwise.js";
import * as soft from "../../../ir/ops/softmax.js";
import { type Unary, unary } from "./lift.js";

/** max(x, 0). */
export const relu: Unary = unary(act.relu);
/** x limited to [0, 6]. */
export const relu6: Unary = (x) => act.hardTanh([x], { low: 0, high: 6 });
/** x for x > 0, slope · x otherwise. */
export const leakyRelu = (x: Value, slope = 0.01): Value => act.leakyRelu([x], { slope });
/** x for x > 0, weight · x otherwise, with one weight or one for each channel (axis 1). */
export const prelu = (x: Value, weight: Value): Value => act.prelu([x, act.channelSlope(x, weight)]);
/** x for x > 0, alpha · (eˣ − 1) otherwise. */
export const elu = (x: Value, alpha = 1): Value => act.elu([x], { alpha });
/** x for x > 0, alpha · (e^(x / alpha) − 1) otherwise. */
export const celu = (x: Value, alpha = 1): Value => act.celu([x], { alpha });
/** Self-normalising elu, https://arxiv.org/abs/1706.02515. */
export const selu: Unary = (x) => act.selu([x], act.seluConstants);
/** x · Φ(x), or its approximation by tanh. https://arxiv.org/abs/1606.08415 */
export const gelu = (x: Value, approximate: "none" | "tanh" = "none"): Value => act.gelu([x], { approximate });
/** x · sigmoid(x), also called swish. */
export const silu: Unary = unary(act.silu);
/** x · tanh(softplus(x)), https://arxiv.org/abs/1908.08681. */
export const mish: Unary = unary(act.mish);
/** log(1 + e^(beta · x)) / beta, without overflow. */
export const softplus = (x: Value, beta = 1): Value => act.softplus([x], { beta });
/** x / (1 + |x|). */
export const softsign: Unary = unary(act.softsign);
/** x limited to [low, high]. */
export const hardtanh = (x: Value, low = -1, high = 1): Value => act.hardTanh([x], { low, high });
/** x / 6 + ½ limited to [0, 1]. */
export const hardsigmoid: Unary = (x) => act.hardSigmoid([x], act.hardSigmoidConstants);
/** x · hardsigmoid(x), https://arxiv.org/abs/1905.02244. */
export const hardswish: Unary = unary(act.hardSwish);
/** x where |x| > lambda, else 0. */
export const hardshrink = (x: Value, lambda = 0.5): Value => act.shrink([x], { lambda, bias: 0 });
/** x moved towards 0 by lambda, not beyond it. */
export const softshrink = (x: Value, lambda = 0.5): Value => act.shrink([x], { lambda, bias: lambda });
/** x − tanh(x). */
export const tanhshrink: Unary = (x) => np.sub(x, tanh([x]));
/** x where x > limit, else value. */
export const threshold = (x: Value, limit: number, value: number): Value =>
  value === 0 ? act.thresholdedRelu([x], { threshold: limit }) : where(np.gt(x, limit), x, value);
/** log(sigmoid(x)), without underflow. */
export const logSigmoid: Unary = unary(act.logSigmoid);
/** First half along an axis times the sigmoid of the second half, https://arxiv.org/abs/1612.08083. */
export const glu = (x: Value, dim = -1): Value => act.glu([x], { axis: dim });
/** eˣ divided by its sum along an axis. */
export const softmax = (x: Value, dim = -1): Value => soft.softmax([x], { axis: dim });
/** softmax(−x). */
export const softmin = (x: Value, dim = -1): Value => soft.softmax([np.mul(x, -1)], { axis: dim });
/** log(softmax(x)), without overflow. */
export const logSoftmax = (x: Value, dim = -1): Value => soft.logSoftmax([x], { axis: dim });
