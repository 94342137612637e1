/** Losses, by PyTorch's formulas. Composites: they decompose into elementwise ops and reductions. */

import { dimScalar, expandDims, full, mean, np, square, staticSize, sum, where } from "../build.js";
import { dimDiffers } from "../dim.js";
import { isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { typeText, type Value } from "../graph.js";
import { mergeShapes, requireDType, requireSameType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineComposite, type Sample, type Vjp } from "../op.js";
import { exactly, f32, i32, i64, noGrad, sampleWith, within } from "../sample.js";
import { softplus } from "./activation.js";
import { constantLike, iota } from "./constant.js";
import { abs, add, exp, log, mul, neg, sub } from "./elementwise.js";
import { checkIndices } from "./guard.js";
import { lt, select } from "./logic.js";
import { productOf } from "./movement.js";
import { perChannel } from "./normalize.js";
import { logSoftmax } from "./softmax.js";

export type Reduction = "none" | "sum" | "mean";
type ReductionAttrs = { readonly reduction: Reduction };

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };
const keep = { keepDims: true } as const;
const reductionDoc = "`none`: the loss of each element; `sum`; `mean`: of all elements" as const;

function reduced(losses: Value, reduction: Reduction, divisor?: Value): Value {
  switch (reduction) {
    case "none":
      return losses;
    case "sum":
      return sum(losses);
    case "mean":
      return divisor === undefined ? mean(losses) : np.div(sum(losses), divisor);
  }
}

// -------------------------------------------------------------------------------------------- classification

type ClassAttrs = ReductionAttrs & { readonly ignoreIndex?: number };
type CrossEntropyAttrs = ClassAttrs & { readonly labelSmoothing: number };

const classDocs = {
  reduction:
    "`none`: the loss of each target; `sum`; `mean`: the sum divided by the total class weight of the counted targets (with probabilities as targets, by their number)",
  ignoreIndex: "targets of this class count nothing",
} as const;

/** Loss of each target is −Σ weights · log p over the classes; a mean divides by the divisor. */
interface Weighing {
  readonly weights: Value;
  readonly divisor: Value;
}

/** Targets are class indices [N, …] (integers) or probabilities [N, C, …] (floats). */
function weigh(x: Value, target: Value, weight: Value | undefined, axis: number, attrs: CrossEntropyAttrs): Weighing {
  const { dtype, shape } = x.type;
  const epsilon = attrs.labelSmoothing;
  const perClass = weight === undefined ? undefined : perChannel(x, weight, axis);
  const share = epsilon === 0 ? 0 : epsilon / staticSize(x, axis, "the number of classes");
  const rank = target.type.shape.length;
  if (rank !== shape.length - (isFloat(target.type.dtype) ? 0 : 1))
    throw new ModelError({
      message: `targets ${typeText(target.type)} do not fit ${typeText(x.type)}`,
      hint:
        rank === shape.length - 1
          ? "class indices are integers: declare them as i32 or i64"
          : "class indices have all axes of the logits but the one of the classes; probabilities are floats with all of them",
    });
  if (isFloat(target.type.dtype)) {
    const smooth = epsilon === 0 ? target : np.add(np.mul(target, 1 - epsilon), share);
    const rows = mergeShapes(shape, target.type.shape).filter((_, a) => a !== axis);
    return {
      weights: perClass === undefined ? smooth : np.mul(smooth, perClass),
      divisor: dimScalar(productOf(rows), dtype),
    };
  }
  requireDType(target.type, "int", "the targets");
  const { ignoreIndex } = attrs;
  const checked = checkIndices([target], {
    size: shape[axis]!,
    ...(ignoreIndex === undefined ? {} : { ignore: ignoreIndex }),
  });
  const index = expandDims(checked, axis);
  const rows = shape.map((d, a) => (a === axis ? 1 : d));
  mergeShapes(index.type.shape, rows);
  const counter = { dtype: target.type.dtype, shape: shape.map((d, a) => (a === axis ? d : 1)), axis };
  const hot = np.eq(index, iota([], counter));
  const kept = attrs.ignoreIndex === undefined ? undefined : np.ne(index, attrs.ignoreIndex);
  const counted = (v: Value) => (kept === undefined ? v : where(kept, v, 0));
  const classWeight = perClass ?? full(dtype, rows, 1);
  const own = where(hot, classWeight, 0);
  const weights = epsilon === 0 ? own : np.add(np.mul(own, 1 - epsilon), np.mul(classWeight, share));
  return {
    weights: counted(weights),
    divisor:
      perClass === undefined && kept === undefined
        ? dimScalar(productOf(rows), dtype)
        : sum(counted(perClass === undefined ? classWeight : sum(own, axis, keep))),
  };
}

/** Axis of the classes: 1, or 0 where x is one row. */
function classAxis(x: Value, weight: Value | undefined): number {
  requireDType(x.type, "float");
  const axis = x.type.shape.length === 1 ? 0 : 1;
  const classes = x.type.shape[axis];
  if (classes === undefined) throw new ModelError(`${typeText(x.type)} has no axis of classes`);
  if (weight !== undefined && (weight.type.shape.length !== 1 || dimDiffers(weight.type.shape[0]!, classes))) {
    throw new ModelError(`class weights ${typeText(weight.type)} do not fit the classes of ${typeText(x.type)}`);
  }
  return axis;
}

/** −Σ weights · log p for each target. A class of weight 0 counts nothing even where log p is −∞. */
function pickedLoss(logP: Value, target: Value, weight: Value | undefined, attrs: CrossEntropyAttrs): Value {
  const axis = classAxis(logP, weight);
  const { weights, divisor } = weigh(logP, target, weight, axis, attrs);
  const terms = where(np.ne(weights, 0), np.mul(weights, logP), 0);
  return reduced(neg([sum(terms, axis)]), attrs.reduction, divisor);
}

const targets = [0, 2, 1, 4, 2, 0, 3] as const;
const classSamples = <A extends ReductionAttrs>(attrs: A): readonly Sample<A>[] => [
  sampleWith(attrs, f32(3, 5), exactly(targets.slice(0, 3), i64(3))),
  sampleWith(attrs, f32(4, 9), exactly(targets.slice(0, 4), i32(4)), noGrad(within(0.5, 2, f32(9)))),
  sampleWith(attrs, f32(2, 5, 3), exactly(targets.slice(0, 6), i64(2, 3))),
];

export const crossEntropy: CompositeOp<"crossEntropy", CrossEntropyAttrs> = defineComposite<
  "crossEntropy",
  CrossEntropyAttrs
>({
  name: "crossEntropy",
  operands: ["logits", "target", "weight?"],
  summary:
    "−log softmax(logits) of the target class. logits [N, C, …] (or [C]); targets are class indices [N, …] or probabilities [N, C, …]; weight [C] scales the classes. An index outside the classes, other than ignoreIndex, is an error.",
  attrs: { ...classDocs, labelSmoothing: "share of the target that is spread over all classes, in [0, 1]" },
  decompose: ([logits, target, weight], attrs) => {
    const axis = classAxis(logits!, weight);
    return pickedLoss(logSoftmax([logits!], { axis }), target!, weight, attrs);
  },
  accuracy,
  samples: [
    ...classSamples<CrossEntropyAttrs>({ reduction: "mean", labelSmoothing: 0 }),
    ...classSamples<CrossEntropyAttrs>({ reduction: "none", labelSmoothing: 0.1 }),
    ...classSamples<CrossEntropyAttrs>({ reduction: "sum", labelSmoothing: 0 }),
    ...classSamples<CrossEntropyAttrs>({ reduction: "mean", labelSmoothing: 0.2, ignoreIndex: 2 }),
    sampleWith({ reduction: "mean", labelSmoothing: 0 }, f32(3, 5), noGrad(within(0, 1, f32(3, 5)))),
    sampleWith({ reduction: "mean", labelSmoothing: 0 }, f32(5), exactly([3], i64())),
  ],
});

export const nllLoss: CompositeOp<"nllLoss", ClassAttrs> = defineComposite<"nllLoss", ClassAttrs>({
  name: "nllLoss",
  operands: ["logProbabilities", "target", "weight?"],
  summary: "−log p of the target class, from logarithms of probabilities [N, C, …] and class indices [N, …].",
  attrs: classDocs,
  decompose: ([logP, target, weight], attrs) => pickedLoss(logP!, target!, weight, { ...attrs, labelSmoothing: 0 }),
  accuracy,
  samples: [
    ...classSamples<ClassAttrs>({ reduction: "mean" }),
    ...classSamples<ClassAttrs>({ reduction: "sum", ignoreIndex: 0 }),
  ],
});

// ------------------------------------------------------------------------------------------------ regression

interface Pairwise<N extends string, A extends ReductionAttrs> {
  readonly name: N;
  readonly summary: string;
  readonly attrs: { readonly [K in keyof A & string]: string };
  /** Loss of each element. */
  readonly of: (x: Value, target: Value, attrs: A) => Value;
  readonly samples: readonly Sample<A>[];
}

/** A loss between two tensors of one type. */
function pairwise<N extends string, A extends ReductionAttrs>(d: Pairwise<N, A>): CompositeOp<N, A> {
  return defineComposite<N, A>({
    name: d.name,
    operands: ["x", "target"],
    summary: d.summary,
    attrs: d.attrs,
    decompose: ([x, target], attrs) => {
      requireDType(requireSameType([x!.type, target!.type]), "float");
      return reduced(d.of(x!, target!, attrs), attrs.reduction);
    },
    accuracy,
    samples: d.samples,
  });
}

const pairSamples = <A extends ReductionAttrs>(attrs: Omit<A, "reduction">): readonly Sample<A>[] =>
  (["mean", "sum", "none"] as const).map((reduction) =>
    sampleWith({ ...attrs, reduction } as unknown as A, within(-3, -1, f32(3, 5)), within(0.5, 3, f32(3, 5))),
  );

export const mseLoss: CompositeOp<"mseLoss", ReductionAttrs> = pairwise<"mseLoss", ReductionAttrs>({
  name: "mseLoss",
  summary: "(x − target)².",
  attrs: { reduction: reductionDoc },
  of: (x, target) => square(sub([x, target])),
  samples: pairSamples({}),
});

export const l1Loss: CompositeOp<"l1Loss", ReductionAttrs> = pairwise<"l1Loss", ReductionAttrs>({
  name: "l1Loss",
  summary: "|x − target|.",
  attrs: { reduction: reductionDoc },
  of: (x, target) => abs([sub([x, target])]),
  samples: pairSamples({}),
});

type SmoothL1Attrs = ReductionAttrs & { readonly beta: number };

export const smoothL1Loss: CompositeOp<"smoothL1Loss", SmoothL1Attrs> = pairwise<"smoothL1Loss", SmoothL1Attrs>({
  name: "smoothL1Loss",
  summary: "With d = |x − target|: d² / 2β below β, d − β/2 from there on.",
  attrs: { reduction: reductionDoc, beta: "where the parabola ends, ≥ 0" },
  of: (x, target, { beta }) => {
    const d = abs([sub([x, target])]);
    if (beta === 0) return d;
    return select([lt([d, constantLike(d, beta)]), np.mul(square(d), 0.5 / beta), np.sub(d, 0.5 * beta)]);
  },
  samples: [...pairSamples<SmoothL1Attrs>({ beta: 0.5 }), ...pairSamples<SmoothL1Attrs>({ beta: 30 })],
});

type HuberAttrs = ReductionAttrs & { readonly delta: number };

export const huberLoss: CompositeOp<"huberLoss", HuberAttrs> = pairwise<"huberLoss", HuberAttrs>({
  name: "huberLoss",
  summary: "With d = |x − target|: d²/2 up to δ, δ(d − δ/2) beyond.",
  attrs: { reduction: reductionDoc, delta: "where the parabola ends, > 0" },
  of: (x, target, { delta }) => {
    const d = abs([sub([x, target])]);
    const line = np.mul(np.sub(d, 0.5 * delta), delta);
    return select([np.le(d, delta), np.mul(square(d), 0.5), line]);
  },
  samples: [...pairSamples<HuberAttrs>({ delta: 0.7 }), ...pairSamples<HuberAttrs>({ delta: 30 })],
});

type KlAttrs = ReductionAttrs & { readonly logTarget: boolean };

export const klDivLoss: CompositeOp<"klDivLoss", KlAttrs> = pairwise<"klDivLoss", KlAttrs>({
  name: "klDivLoss",
  summary:
    "target · (log target − x), where x holds logarithms of probabilities; 0 where the target is 0. PyTorch's `batchmean` is the sum divided by the batch size.",
  attrs: { reduction: reductionDoc, logTarget: "the target holds logarithms as well" },
  of: (x, target, { logTarget }) => {
    if (logTarget) return mul([exp([target]), sub([target, x])]);
    const positive = np.gt(target, 0);
    const safe = where(positive, target, 1);
    return where(positive, mul([safe, sub([log([safe]), x])]), 0);
  },
  samples: [
    ...pairSamples<KlAttrs>({ logTarget: false }),
    ...pairSamples<KlAttrs>({ logTarget: true }),
    sampleWith({ reduction: "sum", logTarget: false }, f32(3), noGrad(exactly([0, 1, 0.5], f32(3)))),
  ],
});

// ---------------------------------------------------------------------------------------- binary cross-entropy

const clampedLog = (p: Value) => np.max(log([p]), -100);
const complement = (p: Value) => sub([constantLike(p, 1), p]);

const bceVjp: Vjp<ReductionAttrs> = ({ dy, operands: [p, target], needs, attrs: { reduction } }) => {
  const count = dimScalar(productOf(p!.type.shape), p!.type.dtype);
  const d = reduction === "mean" ? np.div(dy, count) : dy;
  return [
    needs[0] ? np.mul(np.div(sub([p!, target!]), np.max(mul([p!, complement(p!)]), 1e-12)), d) : undefined,
    needs[1] ? np.mul(sub([clampedLog(complement(p!)), clampedLog(p!)]), d) : undefined,
  ];
};

export const bceLoss: CompositeOp<"bceLoss", ReductionAttrs> = defineComposite<"bceLoss", ReductionAttrs>({
  name: "bceLoss",
  operands: ["p", "target"],
  summary:
    "−t·log p − (1 − t)·log(1 − p) of probabilities p; logarithms are at least −100, so that 0 and 1 have a finite loss and gradient.",
  attrs: { reduction: reductionDoc },
  decompose: ([p, target], { reduction }) => {
    requireDType(requireSameType([p!.type, target!.type]), "float");
    const losses = neg([add([mul([target!, clampedLog(p!)]), mul([complement(target!), clampedLog(complement(p!))])])]);
    return reduced(losses, reduction);
  },
  vjp: bceVjp,
  accuracy,
  samples: [
    ...(["mean", "sum", "none"] as const).map((reduction) =>
      sampleWith({ reduction }, within(0.1, 0.9, f32(3, 5)), within(0, 1, f32(3, 5))),
    ),
    {
      ...sampleWith({ reduction: "mean" as const }, exactly([0, 1, 0, 1], f32(4)), exactly([0, 1, 1, 0], f32(4))),
      noGrad: true,
    },
  ],
});

export const bceWithLogitsLoss: CompositeOp<"bceWithLogitsLoss", ReductionAttrs> = defineComposite<
  "bceWithLogitsLoss",
  ReductionAttrs
>({
  name: "bceWithLogitsLoss",
  operands: ["logits", "target", "posWeight?"],
  summary:
    "Binary cross-entropy of sigmoid(logits) without overflow: (1 − t)·x + (1 + (w − 1)·t)·softplus(−x), where w, the weight of the positive class, broadcasts.",
  attrs: { reduction: reductionDoc },
  decompose: ([x, target, posWeight], { reduction }) => {
    requireDType(requireSameType([x!.type, target!.type]), "float");
    const tail = softplus([neg([x!])], { beta: 1 });
    const weighted = posWeight === undefined ? tail : np.mul(tail, np.add(np.mul(target!, np.sub(posWeight, 1)), 1));
    return reduced(add([mul([complement(target!), x!]), weighted]), reduction);
  },
  accuracy,
  samples: [
    ...(["mean", "sum", "none"] as const).map((reduction) =>
      sampleWith({ reduction }, f32(3, 5), within(0, 1, f32(3, 5)), within(0.5, 3, f32(5))),
    ),
    sampleWith({ reduction: "mean" }, f32(17), within(0, 1, f32(17))),
    {
      ...sampleWith({ reduction: "none" as const }, exactly([-200, 200, 0], f32(3)), exactly([0, 1, 1], f32(3))),
      noGrad: true,
    },
  ],
});
