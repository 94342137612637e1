/** Activation functions. Composites: they decompose into elementwise ops, and stay finite where the function is finite. */

import { expandDims, np, rankOf, reciprocal, shapeOf, split, where } from "../build.js";
import { ModelError } from "../errors.js";
import { type Attrs, type NoAttrs, typeText, type Value } from "../graph.js";
import { normalizeAxis, requireDType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineComposite, type Sample, type Vjp } from "../op.js";
import { f32, of, sample, sampleWith, within } from "../sample.js";
import { constantLike } from "./constant.js";
import { abs, add, exp, expm1, geluExact, log1p, max, min, mul, neg, sigmoid, sub, tanh } from "./elementwise.js";
import { special } from "./elementwise-define.js";
import { gt, logicalAnd, lt, select } from "./logic.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-6 };

/** Samples of a function of one float that is smooth on both sides of 0. */
function curve<A extends Attrs>(attrs: A): readonly Sample<A>[] {
  const with_ = (operand = f32(1)): Sample<A> => sampleWith(attrs, operand);
  return [
    with_(within(0.1, 2.5, f32(2, 9))),
    with_(within(-2.5, -0.1, f32(17))),
    with_(within(0.1, 2.5, of("f64", 5))),
    with_(f32(0)),
    { ...with_(within(-30, 30, f32(33))), noGrad: true },
    { ...with_(special.operands[0]), noGrad: true },
  ];
}

interface Activation<N extends string, A extends Attrs> {
  readonly name: N;
  readonly summary: string;
  readonly attrs?: { readonly [K in keyof A & string]: string };
  readonly of: (x: Value, attrs: A) => Value;
  readonly vjp?: Vjp<A>;
  readonly samples: readonly Sample<A>[];
}

function activation<N extends string, A extends Attrs>(d: Activation<N, A>): CompositeOp<N, A> {
  return defineComposite<N, A>({
    name: d.name,
    operands: ["x"],
    summary: d.summary,
    ...(d.attrs ? { attrs: d.attrs } : {}),
    decompose: ([x], attrs) => {
      requireDType(x!.type, "float");
      return d.of(x!, attrs);
    },
    ...(d.vjp ? { vjp: d.vjp } : {}),
    accuracy,
    samples: d.samples,
  });
}

const zero = (x: Value) => constantLike(x, 0);
const isPositive = (x: Value) => gt([x, zero(x)]);
/** min(x, 0), whose gradient is 1 at 0: what stands inside an exponential that is used for x ≤ 0 only. */
const negativePart = (x: Value) => select([isPositive(x), zero(x), x]);
const scaled = (x: Value, by: number) => (by === 1 ? x : np.mul(x, by));

// ------------------------------------------------------------------------------------------------- rectifiers

export const relu: CompositeOp<"relu", NoAttrs> = activation<"relu", NoAttrs>({
  name: "relu",
  summary: "max(x, 0). NaN stays NaN. The gradient at 0 is 0.",
  of: (x) => max([x, zero(x)]),
  vjp: ({ dy, y }) => [select([isPositive(y), dy, zero(dy)])],
  samples: curve({}),
});

export const leakyRelu: CompositeOp<"leakyRelu", { slope: number }> = activation<"leakyRelu", { slope: number }>({
  name: "leakyRelu",
  summary: "x for x > 0, slope · x otherwise.",
  attrs: { slope: "factor of negative x" },
  of: (x, { slope }) => select([isPositive(x), x, np.mul(x, slope)]),
  samples: curve({ slope: 0.2 }),
});

export const prelu: CompositeOp<"prelu", NoAttrs> = defineComposite<"prelu", NoAttrs>({
  name: "prelu",
  operands: ["x", "slope"],
  summary: "x for x > 0, slope · x otherwise; the slope broadcasts to the shape of x.",
  decompose: ([x, slope]) => where(isPositive(x!), x!, np.mul(x!, slope!)),
  accuracy,
  samples: [
    sample(within(-2, -0.1, f32(2, 3, 5)), f32(3, 1)),
    sample(within(0.1, 2, f32(4, 9)), f32(1)),
    sample(within(-2, -0.1, f32(17)), f32(17)),
  ],
});

export const hardTanh: CompositeOp<"hardTanh", { low: number; high: number }> = activation<
  "hardTanh",
  { low: number; high: number }
>({
  name: "hardTanh",
  summary: "x limited to [low, high]; relu6 is [0, 6]. The gradient at the limits is 0.",
  attrs: { low: "lower limit", high: "upper limit" },
  of: (x, { low, high }) => min([max([x, constantLike(x, low)]), constantLike(x, high)]),
  vjp: ({ dy, operands: [x], attrs: { low, high } }) => {
    const inside = logicalAnd([gt([x!, constantLike(x!, low)]), lt([x!, constantLike(x!, high)])]);
    return [select([inside, dy, zero(dy)])];
  },
  samples: [...curve({ low: -0.05, high: 1.1 }), sampleWith({ low: 0, high: 6 }, within(0.5, 5.5, f32(9)))],
});

export const thresholdedRelu: CompositeOp<"thresholdedRelu", { threshold: number }> = activation<
  "thresholdedRelu",
  { threshold: number }
>({
  name: "thresholdedRelu",
  summary: "x where x > threshold, else 0.",
  attrs: { threshold: "largest x that gives 0" },
  of: (x, { threshold }) => select([gt([x, constantLike(x, threshold)]), x, zero(x)]),
  samples: curve({ threshold: 0.05 }),
});

export const shrink: CompositeOp<"shrink", { lambda: number; bias: number }> = activation<
  "shrink",
  { lambda: number; bias: number }
>({
  name: "shrink",
  summary: "x + bias below −λ, otherwise x − bias above λ, else 0. Soft shrink: bias = λ; hard shrink: bias = 0.",
  attrs: { lambda: "half width of the zero band", bias: "how far values outside move towards 0" },
  of: (x, { lambda, bias }) =>
    select([
      lt([x, constantLike(x, -lambda)]),
      np.add(x, bias),
      select([gt([x, constantLike(x, lambda)]), np.sub(x, bias), zero(x)]),
    ]),
  samples: [...curve({ lambda: 0.05, bias: 0.05 }), ...curve({ lambda: -0.3, bias: 0.5 })],
});

// ------------------------------------------------------------------------------------------- exponential units

const elu_ = (x: Value, alpha: number, inner = 1) => {
  const curve_ = expm1([inner === 1 ? negativePart(x) : np.div(negativePart(x), inner)]);
  return select([isPositive(x), x, scaled(curve_, alpha)]);
};

export const elu: CompositeOp<"elu", { alpha: number }> = activation<"elu", { alpha: number }>({
  name: "elu",
  summary: "x for x > 0, α(e^x − 1) otherwise.",
  attrs: { alpha: "value approached at −∞, negated" },
  of: (x, { alpha }) => elu_(x, alpha),
  samples: curve({ alpha: 0.8 }),
});

export const celu: CompositeOp<"celu", { alpha: number }> = activation<"celu", { alpha: number }>({
  name: "celu",
  summary: "x for x > 0, α(e^(x/α) − 1) otherwise.",
  attrs: { alpha: "value approached at −∞, negated; not 0" },
  of: (x, { alpha }) => elu_(x, alpha, alpha),
  samples: curve({ alpha: 1.4 }),
});

type SeluAttrs = { readonly alpha: number; readonly gamma: number };
/** Constants of https://arxiv.org/abs/1706.02515. */
export const seluConstants: SeluAttrs = { alpha: 1.6732632423543772, gamma: 1.0507009873554805 };

export const selu: CompositeOp<"selu", SeluAttrs> = activation<"selu", SeluAttrs>({
  name: "selu",
  summary: "γ · elu(x, α), self-normalising with the constants of https://arxiv.org/abs/1706.02515.",
  attrs: { alpha: "α of the elu", gamma: "scale" },
  of: (x, { alpha, gamma }) => np.mul(elu_(x, alpha), gamma),
  samples: curve(seluConstants),
});

/** log(1 + e^x) = max(x, 0) + log1p(e^−|x|). */
const softplus_ = (x: Value) => add([max([x, zero(x)]), log1p([exp([neg([abs([x])])])])]);

export const softplus: CompositeOp<"softplus", { beta: number }> = activation<"softplus", { beta: number }>({
  name: "softplus",
  summary: "log(1 + e^(βx)) / β, without overflow.",
  attrs: { beta: "sharpness, > 0" },
  of: (x, { beta }) => scaled(softplus_(scaled(x, beta)), 1 / beta),
  vjp: ({ dy, operands: [x], attrs: { beta } }) => [mul([dy, sigmoid([scaled(x!, beta)])])],
  samples: [...curve({ beta: 1 }), ...curve({ beta: 2.5 })],
});

export const logSigmoid: CompositeOp<"logSigmoid", NoAttrs> = activation<"logSigmoid", NoAttrs>({
  name: "logSigmoid",
  summary: "log of the logistic function, −log(1 + e^−x), without underflow to log 0.",
  of: (x) => sub([min([x, zero(x)]), log1p([exp([neg([abs([x])])])])]),
  vjp: ({ dy, operands: [x] }) => [mul([dy, sigmoid([neg([x!])])])],
  samples: curve({}),
});

// ------------------------------------------------------------------------------------------------- gated units

export const silu: CompositeOp<"silu", NoAttrs> = activation<"silu", NoAttrs>({
  name: "silu",
  summary: "x · sigmoid(x), also called swish.",
  of: (x) => mul([x, sigmoid([x])]),
  samples: curve({}),
});

export const mish: CompositeOp<"mish", NoAttrs> = activation<"mish", NoAttrs>({
  name: "mish",
  summary: "x · tanh(softplus(x)), https://arxiv.org/abs/1908.08681.",
  of: (x) => mul([x, tanh([softplus([x], { beta: 1 })])]),
  samples: curve({}),
});

type GeluAttrs = { readonly approximate: "none" | "tanh" };

export const gelu: CompositeOp<"gelu", GeluAttrs> = activation<"gelu", GeluAttrs>({
  name: "gelu",
  summary:
    "x · Φ(x) with Φ the normal distribution function, exact by erf; or its approximation ½x(1 + tanh(√(2/π)(x + 0.044715x³))). https://arxiv.org/abs/1606.08415",
  attrs: { approximate: "`none`: by erf; `tanh`: the approximation" },
  of: (x, { approximate }) => {
    if (approximate === "none") return geluExact([x]);
    const inner = np.mul(mul([x, np.add(np.mul(mul([x, x]), 0.044715), 1)]), Math.sqrt(2 / Math.PI));
    return mul([np.mul(x, 0.5), np.add(tanh([inner]), 1)]);
  },
  samples: [...curve<GeluAttrs>({ approximate: "none" }), ...curve<GeluAttrs>({ approximate: "tanh" })],
});

export const glu: CompositeOp<"glu", { axis: number }> = activation<"glu", { axis: number }>({
  name: "glu",
  summary: "First half along an axis times the logistic function of the second half.",
  attrs: { axis: "axis that is halved; negative ones count from the end" },
  of: (x, { axis }) => {
    const a = normalizeAxis(axis, x.type.shape.length);
    if (x.type.shape.length === 0) throw new ModelError(`glu has no axis to halve in ${typeText(x.type)}`);
    const [value, gate] = split(x, a, 2);
    return mul([value!, sigmoid([gate!])]);
  },
  samples: [
    sampleWith({ axis: 1 }, f32(2, 6)),
    sampleWith({ axis: 0 }, f32(4, 9)),
    sampleWith({ axis: -1 }, f32(3, 34)),
  ],
});

// ------------------------------------------------------------------------------------------------ hard sigmoids

type HardSigmoidAttrs = { readonly alpha: number; readonly beta: number };
/** PyTorch's constants; ONNX's default is α = 0.2. */
export const hardSigmoidConstants: HardSigmoidAttrs = { alpha: 1 / 6, beta: 0.5 };

export const hardSigmoid: CompositeOp<"hardSigmoid", HardSigmoidAttrs> = activation<"hardSigmoid", HardSigmoidAttrs>({
  name: "hardSigmoid",
  summary: "αx + β limited to [0, 1].",
  attrs: { alpha: "slope", beta: "value at 0" },
  of: (x, { alpha, beta }) => hardTanh([np.add(np.mul(x, alpha), beta)], { low: 0, high: 1 }),
  samples: [...curve(hardSigmoidConstants), ...curve({ alpha: 0.25, beta: 0.4 })].map((s) =>
    s.attrs.alpha === 0.25 ? { ...s, noGrad: true } : s,
  ),
});

export const hardSwish: CompositeOp<"hardSwish", NoAttrs> = activation<"hardSwish", NoAttrs>({
  name: "hardSwish",
  summary: "x · hardSigmoid(x) with slope 1/6, https://arxiv.org/abs/1905.02244.",
  of: (x) => mul([x, hardSigmoid([x], hardSigmoidConstants)]),
  samples: curve({}),
});

// --------------------------------------------------------------------------------------------------- quotients

export const softsign: CompositeOp<"softsign", NoAttrs> = activation<"softsign", NoAttrs>({
  name: "softsign",
  summary: "x / (1 + |x|).",
  of: (x) => np.div(x, np.add(abs([x]), 1)),
  // The gradient 1/(1 + |x|)² does not pass through the kink of |x| at 0.
  vjp: ({ dy, operands: [x] }) => {
    const r = reciprocal(np.add(abs([x!]), 1));
    return [mul([dy, mul([r, r])])];
  },
  samples: curve({}),
});

/** PReLU as PyTorch shapes it: one slope, or one for each channel (axis 1). */
export function channelSlope(x: Value, slope: Value): Value {
  const trailing = Math.max(0, rankOf(x) - 2);
  return shapeOf(slope)[0] === 1 || trailing === 0
    ? slope
    : expandDims(slope, ...Array.from({ length: trailing }, (_, i) => i + 1));
}
