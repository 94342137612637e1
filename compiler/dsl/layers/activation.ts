/** Activations as layers, with PyTorch's default constants. */

import { asType, np } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import * as act from "../../../ir/ops/activation.js";
import { constantLike } from "../../../ir/ops/constant.js";
import { neg, sigmoid, tanh } from "../../../ir/ops/elementwise.js";
import { select } from "../../../ir/ops/logic.js";
import { randomUniform } from "../../../ir/ops/random.js";
import { logSoftmax, softmax } from "../../../ir/ops/softmax.js";
import { choice, count, further, integer, number, type Parameter, parameter, positional } from "../../schema.js";
import type { Context } from "../context.js";
import { constant } from "../init.js";
import { parameter as learnt, Module, type Variable } from "../module.js";
import { type FunctionLayer, functionLayer } from "./define.js";

/** An activation without settings. */
const plain = (name: string, summary: string, f: (x: Value) => Value): (() => FunctionLayer) =>
  positional(`nn.${name}`, summary, [], () => functionLayer(f));

const value = (name: string, standard: number, summary: string): Parameter<number> =>
  further(name, number, `${summary}. Default: ${standard}`);

export const ReLU = plain("ReLU", "max(x, 0)", (x) => act.relu([x]));
export const SELU = plain("SELU", "ELU, scaled so that means and variances of layers settle", (x) =>
  act.selu([x], act.seluConstants),
);
export const SiLU = plain("SiLU", "x·σ(x), also called swish", (x) => act.silu([x]));
export const Mish = plain("Mish", "x·tanh(softplus(x))", (x) => act.mish([x]));
export const Softsign = plain("Softsign", "x/(1 + |x|)", (x) => act.softsign([x]));
export const ReLU6 = plain("ReLU6", "min(max(x, 0), 6)", (x) => act.hardTanh([x], { low: 0, high: 6 }));
export const Hardsigmoid = plain("Hardsigmoid", "x/6 + ½, cut to [0, 1]", (x) =>
  act.hardSigmoid([x], act.hardSigmoidConstants),
);
export const Hardswish = plain("Hardswish", "x·Hardsigmoid(x)", (x) => act.hardSwish([x]));
export const LogSigmoid = plain("LogSigmoid", "ln σ(x)", (x) => act.logSigmoid([x]));
export const Sigmoid = plain("Sigmoid", "1/(1 + e⁻ˣ)", (x) => sigmoid([x]));
export const Tanh = plain("Tanh", "tanh(x)", (x) => tanh([x]));
export const Tanhshrink = plain("Tanhshrink", "x − tanh(x)", (x) => np.sub(x, tanh([x])));

export const LeakyReLU = positional(
  "nn.LeakyReLU",
  "x, or slope·x where negative",
  [value("slope", 0.01, "Of negative values")],
  (slope?: number) => functionLayer((x) => act.leakyRelu([x], { slope: slope ?? 0.01 })),
);
export const ELU = positional(
  "nn.ELU",
  "x, or alpha·(eˣ − 1) where negative",
  [value("alpha", 1, "Minus the lower limit")],
  (alpha?: number) => functionLayer((x) => act.elu([x], { alpha: alpha ?? 1 })),
);
export const CELU = positional(
  "nn.CELU",
  "x, or alpha·(e^(x/alpha) − 1) where negative",
  [value("alpha", 1, "Minus the lower limit")],
  (alpha?: number) => functionLayer((x) => act.celu([x], { alpha: alpha ?? 1 })),
);
export const GELU = positional(
  "nn.GELU",
  "x·Φ(x)",
  [further("approximate", choice("none", "tanh"), 'How Φ is computed. Default: "none"')],
  (approximate?: "none" | "tanh") => functionLayer((x) => act.gelu([x], { approximate: approximate ?? "none" })),
);
export const Softplus = positional(
  "nn.Softplus",
  "ln(1 + e^(beta·x))/beta",
  [value("beta", 1, "Sharpness")],
  (beta?: number) => functionLayer((x) => act.softplus([x], { beta: beta ?? 1 })),
);
export const Hardtanh = positional(
  "nn.Hardtanh",
  "x cut to [low, high]",
  [value("low", -1, "Lower limit"), value("high", 1, "Upper limit")],
  (low?: number, high?: number) => functionLayer((x) => act.hardTanh([x], { low: low ?? -1, high: high ?? 1 })),
);
export const Hardshrink = positional(
  "nn.Hardshrink",
  "x, or 0 where |x| ≤ lambda",
  [value("lambda", 0.5, "What counts as 0")],
  (lambda?: number) => functionLayer((x) => act.shrink([x], { lambda: lambda ?? 0.5, bias: 0 })),
);
export const Softshrink = positional(
  "nn.Softshrink",
  "x moved towards 0 by lambda, and 0 where |x| ≤ lambda",
  [value("lambda", 0.5, "How far")],
  (lambda?: number) => functionLayer((x) => act.shrink([x], { lambda: lambda ?? 0.5, bias: lambda ?? 0.5 })),
);
export const Threshold = positional(
  "nn.Threshold",
  "x where it is above the threshold, else the value",
  [
    parameter("threshold", number, "What x must exceed"),
    parameter("value", number, "What stands for x where it does not"),
  ],
  (threshold: number, other: number) => functionLayer((x) => select([np.gt(x, threshold), x, constantLike(x, other)])),
);

const axisOf = (standard: number): Parameter<number> => further("axis", integer, `Along which. Default: ${standard}`);
export const GLU = positional("nn.GLU", "a·σ(b) of the halves of an axis", [axisOf(-1)], (axis?: number) =>
  functionLayer((x) => act.glu([x], { axis: axis ?? -1 })),
);
export const Softmax = positional("nn.Softmax", "eˣ/Σeˣ along an axis", [axisOf(-1)], (axis?: number) =>
  functionLayer((x) => softmax([x], { axis: axis ?? -1 })),
);
export const Softmin = positional("nn.Softmin", "Softmax of −x", [axisOf(-1)], (axis?: number) =>
  functionLayer((x) => softmax([neg([x])], { axis: axis ?? -1 })),
);
export const LogSoftmax = positional("nn.LogSoftmax", "ln Softmax(x) along an axis", [axisOf(-1)], (axis?: number) =>
  functionLayer((x) => logSoftmax([x], { axis: axis ?? -1 })),
);
export const Softmax2d = plain("Softmax2d", "Softmax over the channels (axis 1) of each place", (x) =>
  softmax([x], { axis: 1 }),
);

/** The slope of negative values is drawn anew for each element while training, and else the mean of its limits. */
export class RReLULayer extends Module {
  readonly #low: number;
  readonly #high: number;

  constructor(low: number, high: number) {
    super();
    this.#low = low;
    this.#high = high;
  }

  forward(ctx: Context, x: Value): Value {
    const [low, high] = [this.#low, this.#high];
    if (!ctx.training) return act.leakyRelu([x], { slope: (low + high) / 2 });
    const [key, counter] = ctx.random();
    const slopes = randomUniform([key, counter], { dtype: "f32", shape: x.type.shape, low, high });
    return select([np.ge(x, 0), x, np.mul(x, asType(slopes, x.type.dtype))]);
  }
}
export const RReLU = positional(
  "nn.RReLU",
  "LeakyReLU whose slope is drawn for each element while training",
  [further("low", number, "Least slope. Default: 1/8"), further("high", number, "Largest slope. Default: 1/3")],
  (low?: number, high?: number) => new RReLULayer(low ?? 1 / 8, high ?? 1 / 3),
);

/** Learns the slope of negative values: one, or one for each channel (axis 1). */
export class PReLULayer extends Module {
  readonly weight: Variable;

  constructor(count: number, initial: number) {
    super();
    this.weight = learnt([count], constant(initial));
  }

  forward(ctx: Context, x: Value): Value {
    return act.prelu([x, act.channelSlope(x, ctx.value(this.weight))]);
  }
}
export const PReLU = positional(
  "nn.PReLU",
  "LeakyReLU whose slope is learnt: one, or one for each channel (axis 1)",
  [further("count", count, "Number of slopes. Default: 1"), value("initial", 0.25, "First slope")],
  (slopes?: number, initial?: number) => new PReLULayer(slopes ?? 1, initial ?? 0.25),
);
