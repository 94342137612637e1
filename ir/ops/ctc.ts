/** Connectionist temporal classification (Graves et al., ICML 2006): the likelihood of a label sequence over all its alignments. */

import {
  asType,
  broadcastTo,
  concatenate,
  expandDims,
  mean,
  np,
  padConstant,
  rankOf,
  reshapeTo,
  sizeOf,
  sliceAxis,
  stack,
  sum,
  takeAt,
  where,
} from "../build.js";
import { scanOp } from "../control-build.js";
import { dimAdd, dimMul } from "../dim.js";
import { ModelError } from "../errors.js";
import { typeText, type Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type CompositeOp, defineComposite } from "../op.js";
import { exactly, f32, i64, sampleWith, within } from "../sample.js";
import { constantLike, full, iota } from "./constant.js";
import { exp, log, neg } from "./elementwise.js";
import { stopGradient } from "./gradient.js";
import { gatherElements } from "./indexing.js";
import { logicalAnd } from "./logic.js";
import type { Reduction } from "./loss.js";

type CtcAttrs = { readonly blank: number; readonly reduction: Reduction; readonly zeroInfinity: boolean };

/** Stands for log 0: finite, so that differences of two of them are numbers. */
const nothing = -1e30;

/** log Σ eᵛ of values of one shape. */
function logAdd(...values: readonly Value[]): Value {
  const largest = stopGradient([values.reduce((a, b) => np.max(a, b))]);
  const total = values.map((v) => exp([np.sub(v, largest)])).reduce((a, b) => np.add(a, b));
  return np.add(log([total]), largest);
}

/** The last axis moved towards higher indices by `count`; what enters is `nothing`. */
function shifted(v: Value, count: number): Value {
  return sliceAxis(padConstant(v, [0, count], [0, 0], nothing), 1, 0, sizeOf(v, 1));
}

export const ctcLoss: CompositeOp<"ctcLoss", CtcAttrs> = defineComposite<"ctcLoss", CtcAttrs>({
  name: "ctcLoss",
  operands: ["logProbabilities", "targets", "inputLengths", "targetLengths"],
  summary:
    "−log of the probability of each target sequence, over all alignments with repeated labels and blanks. logProbabilities [T, N, C], targets [N, S] of one integer type with the lengths [N]; entries beyond the lengths do not count. ∞ where a target does not fit.",
  attrs: {
    blank: "class that stands for no label",
    reduction: "`none`; `sum`; `mean`: each loss divided by its target's length, then the mean over the batch",
    zeroInfinity: "infinite losses and their gradients count as 0",
  },
  decompose: ([logP, targets, inputLengths, targetLengths], { blank, reduction, zeroInfinity }) => {
    requireDType(logP!.type, "float");
    requireDType(targets!.type, "int", "the targets");
    if (rankOf(logP!) !== 3 || rankOf(targets!) !== 2) {
      throw new ModelError(
        `ctcLoss takes [T, N, C] and [N, S], but got ${typeText(logP!.type)} and ${typeText(targets!.type)}`,
      );
    }
    const [steps, batch] = logP!.type.shape;
    const length = sizeOf(targets!, 1);
    const states = dimAdd(dimMul(length, 2), 1);
    const { dtype } = targets!.type;
    // Labels with blanks between and around them: blank, t₁, blank, t₂, …, blank.
    const blanks = constantLike(targets!, blank);
    const interleaved = reshapeTo(stack([blanks, targets!], 2), [batch!, dimMul(length, 2)]);
    const labels = concatenate([interleaved, full(dtype, [batch!, 1], blank)], 1);
    // A label may follow the one two places before, over the blank, unless both are the same.
    const before = sliceAxis(padConstant(labels, [0, 2], [0, 0], blank), 1, 0, states);
    const maySkip = logicalAnd([np.ne(labels, blank), np.ne(labels, before)]);
    const index = broadcastTo(expandDims(labels, 0), [steps!, batch!, states]);
    const scores = gatherElements([logP!, index], { axis: 2 });

    const place = iota([], { dtype, shape: [batch!, states], axis: 1 });
    const none = full(logP!.type.dtype, [batch!, states], nothing);
    const first = where(np.lt(place, 2), takeAt(scores, 0, 0), none);
    const time = iota([], { dtype: inputLengths!.type.dtype, shape: [steps!], axis: 0 });
    const { carried } = scanOp({ carried: [first], inputs: [scores, time] }, ([alpha], [row, t]) => {
      const skipped = where(maySkip, shifted(alpha!, 2), nothing);
      const next = np.add(logAdd(alpha!, shifted(alpha!, 1), skipped), row!);
      const runs = logicalAnd([np.gt(broadcastTo(t!, inputLengths!.type.shape), 0), np.lt(t!, inputLengths!)]);
      return { carried: [where(expandDims(runs, 1), next, alpha!)] };
    });
    const end = np.mul(expandDims(asType(targetLengths!, dtype), 1), 2);
    const at = (position: Value) => sum(where(np.eq(place, position), carried[0]!, 0), 1);
    const beforeEnd = where(np.gt(targetLengths!, 0), at(np.sub(end, 1)), nothing);
    const losses = neg([logAdd(at(end), beforeEnd)]);
    const possible = np.lt(losses, -nothing / 10);
    const finite = where(possible, losses, zeroInfinity ? 0 : Infinity);
    if (reduction === "none") return finite;
    if (reduction === "sum") return sum(finite);
    return mean(np.div(finite, np.max(asType(targetLengths!, logP!.type.dtype), 1)));
  },
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: [
    sampleWith(
      { blank: 0, reduction: "mean", zeroInfinity: false },
      within(-3, -0.5, f32(6, 2, 4)),
      exactly([1, 2, 2, 3, 0, 0], i64(2, 3)),
      exactly([6, 4], i64(2)),
      exactly([3, 1], i64(2)),
    ),
    sampleWith(
      { blank: 3, reduction: "none", zeroInfinity: true },
      within(-3, -0.5, f32(3, 2, 4)),
      exactly([1, 1, 1, 0], i64(2, 2)),
      exactly([2, 3], i64(2)),
      exactly([2, 0], i64(2)),
    ),
  ],
});
