/** Normalisation layers. Composites: kernels may do a row at once, the decomposition is the definition. */

import {
  asType,
  dimScalar,
  mean,
  np,
  padConstant,
  reducedCount,
  reshapeTo,
  rsqrt,
  sizeOf,
  sliceAxis,
  square,
  sum,
} from "../build.js";
import { type Dim, dimBounds, dimFloorDiv, dimMod, dimSub, dimText } from "../dim.js";
import { ModelError } from "../errors.js";
import { shapeText, typeText, type Value } from "../graph.js";
import { normalizeAxis, requireDType } from "../infer.js";
import {
  type Accuracy,
  type CompositeOp,
  defineComposite,
  defineMultiComposite,
  type Sample,
  type SampleOperand,
} from "../op.js";
import { f32, noGrad, sampleWith, within } from "../sample.js";
import { constantLike, dimSize } from "./constant.js";
import { abs, add, mul, pow, sqrt } from "./elementwise.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };
const keep = { keepDims: true } as const;

/** Axes from `axis` (negative: from the end) to the last. */
function trailingAxes(x: Value, axis: number): readonly number[] {
  const first = normalizeAxis(axis, x.type.shape.length);
  return x.type.shape.map((_, a) => a).slice(first);
}

/** A vector over channels (axis 1), shaped so that it broadcasts with x. */
export function perChannel(x: Value, v: Value, axis = 1): Value {
  const rank = x.type.shape.length;
  const a = normalizeAxis(axis, rank);
  return reshapeTo(v, [...v.type.shape, ...new Array<Dim>(rank - 1 - a).fill(1)]);
}

/** x · scale + bias, where both may be absent. */
function affine(x: Value, scale: Value | undefined, bias: Value | undefined): Value {
  const scaled = scale === undefined ? x : np.mul(x, scale);
  return bias === undefined ? scaled : np.add(scaled, bias);
}

// ----------------------------------------------------------------------------------------- layer and RMS norm

type NormAttrs = { readonly axis: number; readonly epsilon: number };
const normAttrs = {
  axis: "first of the normalised axes, which run to the last; negative ones count from the end",
  epsilon: "added to the variance",
} as const;

const normSamples = (operands: (...shape: number[]) => readonly SampleOperand[]): readonly Sample<NormAttrs>[] => [
  sampleWith({ axis: -1, epsilon: 1e-5 }, f32(2, 3, 9), ...operands(9)),
  sampleWith({ axis: 1, epsilon: 1e-3 }, f32(2, 3, 5), ...operands(3, 5)),
  sampleWith({ axis: -1, epsilon: 1e-5 }, f32(4, 33)),
  sampleWith({ axis: 0, epsilon: 1e-5 }, f32(7)),
];

function checkScale(x: Value, axes: readonly number[], v: Value | undefined, what: string): void {
  if (v === undefined) return;
  const want = axes.map((a) => x.type.shape[a]!);
  if (v.type.shape.length > want.length)
    throw new ModelError(`the ${what} ${typeText(v.type)} must broadcast to ${shapeText(want)}`);
}

export const layerNorm: CompositeOp<"layerNorm", NormAttrs> = defineComposite<"layerNorm", NormAttrs>({
  name: "layerNorm",
  operands: ["x", "scale?", "bias?"],
  summary:
    "(x − mean) / √(variance + ε) · scale + bias, with mean and (biased) variance over the trailing axes. https://arxiv.org/abs/1607.06450",
  attrs: normAttrs,
  decompose: ([x, scale, bias], { axis, epsilon }) => {
    requireDType(x!.type, "float");
    const axes = trailingAxes(x!, axis);
    checkScale(x!, axes, scale, "scale");
    checkScale(x!, axes, bias, "bias");
    const centred = np.sub(x!, mean(x!, axes, keep));
    const inverse = rsqrt(np.add(mean(square(centred), axes, keep), epsilon));
    return affine(np.mul(centred, inverse), scale, bias);
  },
  accuracy,
  samples: normSamples((...shape) => [f32(...shape), f32(...shape)]),
});

export const rmsNorm: CompositeOp<"rmsNorm", NormAttrs> = defineComposite<"rmsNorm", NormAttrs>({
  name: "rmsNorm",
  operands: ["x", "scale?"],
  summary: "x / √(mean(x²) + ε) · scale, with the mean over the trailing axes. https://arxiv.org/abs/1910.07467",
  attrs: { ...normAttrs, epsilon: "added to the mean of squares" },
  decompose: ([x, scale], { axis, epsilon }) => {
    requireDType(x!.type, "float");
    const axes = trailingAxes(x!, axis);
    checkScale(x!, axes, scale, "scale");
    return affine(np.mul(x!, rsqrt(np.add(mean(square(x!), axes, keep), epsilon))), scale, undefined);
  },
  accuracy,
  samples: normSamples((...shape) => [f32(...shape)]),
});

export const groupNorm: CompositeOp<"groupNorm", { groups: number; epsilon: number }> = defineComposite<
  "groupNorm",
  { groups: number; epsilon: number }
>({
  name: "groupNorm",
  operands: ["x", "scale?", "bias?"],
  summary:
    "Channels (axis 1) in groups; each group of each sample is normalised over its channels and all further axes, then scaled and shifted per channel. https://arxiv.org/abs/1803.08494",
  attrs: { groups: "number of groups, divides the channels", epsilon: "added to the variance" },
  decompose: ([x, scale, bias], { groups, epsilon }) => {
    requireDType(x!.type, "float");
    const [n, channels, ...rest] = x!.type.shape;
    if (n === undefined || channels === undefined || dimMod(channels, groups) !== 0) {
      throw new ModelError(`axis 1 of ${typeText(x!.type)} does not divide into ${groups} groups`);
    }
    const grouped = reshapeTo(x!, [n, groups, dimFloorDiv(channels, groups), ...rest]);
    const normalized = layerNorm([grouped], { axis: 2, epsilon });
    return affine(reshapeTo(normalized, x!.type.shape), scale && perChannel(x!, scale), bias && perChannel(x!, bias));
  },
  accuracy,
  samples: [
    sampleWith({ groups: 2, epsilon: 1e-5 }, f32(2, 4, 3, 3), f32(4), f32(4)),
    sampleWith({ groups: 3, epsilon: 1e-5 }, f32(2, 9, 5)),
    sampleWith({ groups: 1, epsilon: 1e-5 }, f32(3, 4, 5), f32(4)),
  ],
});

export const instanceNorm: CompositeOp<"instanceNorm", { epsilon: number }> = defineComposite<
  "instanceNorm",
  { epsilon: number }
>({
  name: "instanceNorm",
  operands: ["x", "scale?", "bias?"],
  summary:
    "Each channel (axis 1) of each sample normalised over all further axes, then scaled and shifted per channel. https://arxiv.org/abs/1607.08022",
  attrs: { epsilon: "added to the variance" },
  decompose: ([x, scale, bias], { epsilon }) => {
    if (x!.type.shape.length < 3)
      throw new ModelError(`instanceNorm needs axes after the channels, got ${typeText(x!.type)}`);
    const normalized = layerNorm([x!], { axis: 2, epsilon });
    return affine(normalized, scale && perChannel(x!, scale), bias && perChannel(x!, bias));
  },
  accuracy,
  samples: [
    sampleWith({ epsilon: 1e-5 }, f32(2, 3, 4, 5), f32(3), f32(3)),
    sampleWith({ epsilon: 1e-5 }, f32(2, 3, 17)),
  ],
});

// ------------------------------------------------------------------------------------------------- batch norm

type BatchNormAttrs = { readonly axis: number; readonly epsilon: number; readonly momentum?: number };
const channelAxis = "axis of the channels" as const;

export const batchNorm: CompositeOp<"batchNorm", BatchNormAttrs> = defineComposite<"batchNorm", BatchNormAttrs>({
  name: "batchNorm",
  operands: ["x", "mean", "variance", "scale?", "bias?"],
  summary:
    "(x − mean) / √(variance + ε) · scale + bias per channel, with given statistics (inference). https://arxiv.org/abs/1502.03167",
  attrs: {
    axis: channelAxis,
    epsilon: "added to the variance",
    momentum: "of the same layer when it trains: see batchNormTrain; means nothing here",
  },
  decompose: ([x, average, spread_, scale, bias], { axis, epsilon }) => {
    requireDType(x!.type, "float");
    const inverse = rsqrt(np.add(spread_!, epsilon));
    const factor = scale === undefined ? inverse : mul([inverse, scale]);
    const centred = np.sub(x!, perChannel(x!, average!, axis));
    return affine(np.mul(centred, perChannel(x!, factor, axis)), undefined, bias && perChannel(x!, bias, axis));
  },
  accuracy,
  samples: [
    sampleWith({ axis: 1, epsilon: 1e-5 }, f32(2, 3, 4, 5), f32(3), within(0.5, 2, f32(3)), f32(3), f32(3)),
    sampleWith({ axis: 1, epsilon: 1e-3, momentum: 0.2 }, f32(4, 9), f32(9), within(0.5, 2, f32(9))),
    sampleWith({ axis: 3, epsilon: 1e-5 }, f32(2, 4, 5, 3), f32(3), within(0.5, 2, f32(3)), f32(3), f32(3)),
  ],
});

type BatchNormTrainAttrs = {
  readonly axis: number;
  readonly epsilon: number;
  readonly momentum: number;
  readonly correction: number;
};

/** How many values of x a channel has: at least so many, as a scalar; a run with fewer is refused. */
function countOf(x: Value, count: Dim, atLeast: number): Value {
  const { dtype } = x.type;
  const { min, max } = dimBounds(count);
  if (min >= atLeast) return dimScalar(count, dtype);
  if (max < atLeast)
    throw new ModelError({
      message: `training takes statistics of a channel's values, so there must be at least ${atLeast}, but ${typeText(x.type)} has ${dimText(count)}`,
      hint: "train with larger batches, or normalise by features: layerNorm",
    });
  return asType(dimSize([], { size: count, atLeast }), dtype);
}

export const batchNormTrain: CompositeOp<"batchNormTrain", BatchNormTrainAttrs, "many"> = defineMultiComposite<
  "batchNormTrain",
  BatchNormTrainAttrs
>({
  name: "batchNormTrain",
  operands: ["x", "runningMean", "runningVariance", "scale?", "bias?"],
  summary:
    "Batch normalisation with the statistics of this batch. Results: y, and the running mean and variance moved towards them: (1 − momentum) · old + momentum · new. y uses the biased variance.",
  attrs: {
    axis: channelAxis,
    epsilon: "added to the variance",
    momentum: "weight of this batch in the running statistics (PyTorch's meaning; ONNX states 1 − this)",
    correction: "subtracted from the count in the variance that goes to the running one: 1 as PyTorch, 0 as ONNX",
  },
  decompose: ([x, runningMean, runningVariance, scale, bias], { axis, epsilon, momentum, correction }) => {
    requireDType(x!.type, "float");
    const channel = normalizeAxis(axis, x!.type.shape.length);
    const axes = x!.type.shape.map((_, a) => a).filter((a) => a !== channel);
    const count = reducedCount(x!, axes);
    const { dtype } = x!.type;
    const divisor = countOf(x!, count, correction > 0 ? correction + 1 : 0);
    const average = np.div(sum(x!, axes), divisor);
    const centred = np.sub(x!, perChannel(x!, average, channel));
    const biased = np.div(sum(square(centred), axes), divisor);
    const y = affine(
      np.mul(centred, perChannel(x!, rsqrt(np.add(biased, epsilon)), channel)),
      scale && perChannel(x!, scale, channel),
      bias && perChannel(x!, bias, channel),
    );
    const unbiased =
      correction === 0 ? biased : np.mul(biased, np.div(divisor, dimScalar(dimSub(count, correction), dtype)));
    const move = (old: Value, fresh: Value) => add([np.mul(old, 1 - momentum), np.mul(fresh, momentum)]);
    return [y, move(runningMean!, average), move(runningVariance!, unbiased)];
  },
  accuracy,
  samples: [
    sampleWith(
      { axis: 1, epsilon: 1e-5, momentum: 0.1, correction: 1 },
      f32(3, 4, 3, 5),
      noGrad(f32(4)),
      noGrad(within(0.5, 2, f32(4))),
      f32(4),
      f32(4),
    ),
    sampleWith(
      { axis: 1, epsilon: 1e-5, momentum: 0.3, correction: 0 },
      f32(6, 9),
      noGrad(f32(9)),
      noGrad(within(0.5, 2, f32(9))),
    ),
    sampleWith(
      { axis: 2, epsilon: 1e-3, momentum: 0.1, correction: 1 },
      f32(2, 5, 3),
      noGrad(f32(3)),
      noGrad(within(0.5, 2, f32(3))),
      f32(3),
      f32(3),
    ),
  ],
});

// ---------------------------------------------------------------------------------------------- other norms

type LrnAttrs = {
  readonly before: number;
  readonly after: number;
  readonly alpha: number;
  readonly beta: number;
  readonly bias: number;
};

/** x^p of positive x by square roots, a tenth of the time: for the quarters that models use. */
function quarterPower(x: Value, p: number): Value | undefined {
  if (p === 1) return x;
  const root = (v: Value) => sqrt([v]);
  if (p === 0.5) return root(x);
  return p === 0.75 ? mul([root(x), root(root(x))]) : undefined;
}

export const lrn: CompositeOp<"lrn", LrnAttrs> = defineComposite<"lrn", LrnAttrs>({
  name: "lrn",
  operands: ["x"],
  summary:
    "Local response normalisation: x / (bias + α · mean of squares over neighbouring channels)^β. The mean divides by the whole window, also at the edges. https://papers.nips.cc/paper/4824",
  attrs: {
    before: "channels (axis 1) before the own one in the window",
    after: "channels after it",
    alpha: "α",
    beta: "β",
    bias: "added, > 0",
  },
  decompose: ([x], { before, after, alpha, beta, bias }) => {
    requireDType(x!.type, "float");
    const channels = sizeOf(x!, 1);
    const ends = (n: number) => x!.type.shape.map((_, a) => (a === 1 ? n : 0));
    const padded = padConstant(square(x!), ends(before), ends(after));
    const size = before + 1 + after;
    const total = Array.from({ length: size }, (_, i) => sliceAxis(padded, 1, i, channels)).reduce((a, b) =>
      add([a, b]),
    );
    const base = np.add(np.mul(total, alpha / size), bias);
    return np.div(x!, quarterPower(base, beta) ?? np.pow(base, beta));
  },
  accuracy,
  samples: [
    sampleWith({ before: 1, after: 1, alpha: 0.1, beta: 0.75, bias: 1 }, f32(2, 5, 3, 3)),
    sampleWith({ before: 1, after: 1, alpha: 0.1, beta: 0.6, bias: 1 }, f32(2, 5, 3)),
    sampleWith({ before: 1, after: 1, alpha: 0.1, beta: 1, bias: 1 }, f32(2, 5, 3)),
    sampleWith({ before: 1, after: 2, alpha: 1e-4, beta: 0.75, bias: 2 }, f32(1, 9, 4)),
  ],
});

type LpAttrs = { readonly axis: number; readonly p: number; readonly epsilon: number };

export const lpNormalize: CompositeOp<"lpNormalize", LpAttrs> = defineComposite<"lpNormalize", LpAttrs>({
  name: "lpNormalize",
  operands: ["x"],
  summary: "x divided by max(ε, its p-norm along an axis).",
  attrs: {
    axis: "axis of the norm; negative ones count from the end",
    p: "order of the norm, ≥ 1",
    epsilon: "least divisor",
  },
  decompose: ([x], { axis, p, epsilon }) => {
    requireDType(x!.type, "float");
    const norm = lpNorm(x!, [normalizeAxis(axis, x!.type.shape.length)], p);
    return np.div(x!, epsilon === 0 ? norm : np.max(norm, epsilon));
  },
  accuracy,
  samples: [
    sampleWith({ axis: 1, p: 2, epsilon: 1e-12 }, f32(3, 5)),
    sampleWith({ axis: -1, p: 1, epsilon: 1e-12 }, f32(2, 9)),
    sampleWith({ axis: 0, p: 3, epsilon: 1e-12 }, within(0.5, 2, f32(4, 3))),
  ],
});

/** p-norm over axes, which are kept with size 1. */
function lpNorm(x: Value, axes: readonly number[], p: number): Value {
  if (p === 1) return sum(abs([x]), axes, keep);
  if (p === 2) return sqrt([sum(square(x), axes, keep)]);
  const powers = sum(pow([abs([x]), constantLike(x, p)]), axes, keep);
  return np.pow(powers, 1 / p);
}
