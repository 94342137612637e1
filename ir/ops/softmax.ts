/** Softmax and its kin. Composites: kernels may do a row at once, the decomposition is the definition. */

import { amax, np, reshapeTo, sum, where } from "../build.js";
import type { Dim } from "../dim.js";
import type { Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineComposite, type Sample } from "../op.js";
import { exactly, f32, of, sampleWith, within } from "../sample.js";
import { constantLike } from "./constant.js";
import { abs, add, exp, log, mul, sub } from "./elementwise.js";
import { stopGradient } from "./gradient.js";
import { lt } from "./logic.js";
import { type ReduceAttrs, reducedShape, spread } from "./reduce.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };
const keep = { keepDims: true } as const;

const axisSamples: readonly Sample<{ axis: number }>[] = [
  sampleWith({ axis: 1 }, f32(2, 5)),
  sampleWith({ axis: 0 }, f32(9, 3)),
  sampleWith({ axis: -1 }, f32(2, 3, 17)),
  sampleWith({ axis: 1 }, f32(2, 7, 4)),
  sampleWith({ axis: 0 }, of("f64", 5)),
  sampleWith({ axis: 1 }, f32(0, 4)),
  // Without subtracting the largest element these overflow.
  sampleWith({ axis: 1 }, within(900, 1000, f32(2, 9))),
  { ...sampleWith({ axis: 0 }, exactly([1, -Infinity, 2, 3], f32(4))), noGrad: true },
];

/** x minus its largest element along the axis. */
function shifted(x: Value, axis: number): Value {
  return np.sub(x, stopGradient([amax(x, axis, keep)]));
}

export const softmax: CompositeOp<"softmax", { axis: number }> = defineComposite<"softmax", { axis: number }>({
  name: "softmax",
  operands: ["x"],
  summary: "e^x divided by its sum along an axis, without overflow. NaN where all elements are −∞ or one is +∞.",
  attrs: { axis: "axis that sums to 1; negative ones count from the end" },
  decompose: ([x], { axis }) => {
    requireDType(x!.type, "float");
    const e = exp([shifted(x!, axis)]);
    return np.div(e, sum(e, axis, keep));
  },
  vjp: ({ dy, y, attrs: { axis } }) => [mul([y, np.sub(dy, sum(mul([dy, y]), axis, keep))])],
  accuracy,
  samples: axisSamples,
});

export const logSoftmax: CompositeOp<"logSoftmax", { axis: number }> = defineComposite<"logSoftmax", { axis: number }>({
  name: "logSoftmax",
  operands: ["x"],
  summary: "log(softmax(x)), without overflow and without the log of an underflow.",
  attrs: { axis: "axis whose exponentials sum to 1; negative ones count from the end" },
  decompose: ([x], { axis }) => {
    requireDType(x!.type, "float");
    const s = shifted(x!, axis);
    return np.sub(s, log([sum(exp([s]), axis, keep)]));
  },
  vjp: ({ dy, y, attrs: { axis } }) => [sub([dy, np.mul(exp([y]), sum(dy, axis, keep))])],
  accuracy,
  samples: axisSamples,
});

export const logSumExp: CompositeOp<"logSumExp", ReduceAttrs> = defineComposite<"logSumExp", ReduceAttrs>({
  name: "logSumExp",
  operands: ["x"],
  summary: "log of the sum of exponentials over axes, without overflow. −∞ where all elements are −∞.",
  attrs: { axes: "axes to reduce, increasing, not negative", keepDims: "keep reduced axes with size 1" },
  decompose: ([x], { axes, keepDims }) => {
    requireDType(x!.type, "float");
    const largest = stopGradient([amax(x!, axes, keep)]);
    const finite = lt([abs([largest]), constantLike(largest, Infinity)]);
    const shift = where(finite, largest, 0);
    const total = add([log([sum(exp([np.sub(x!, shift)]), axes, keep)]), shift]);
    return reshapeTo(total, reducedShape<Dim>(x!.type.shape, axes, keepDims));
  },
  vjp: ({ dy, y, operands: [x], attrs: { axes, keepDims } }) => [
    mul([spread(dy, x!, axes, keepDims), exp([sub([x!, spread(y, x!, axes, keepDims)])])]),
  ],
  accuracy,
  samples: [
    sampleWith({ axes: [1], keepDims: false }, f32(3, 9)),
    sampleWith({ axes: [0, 2], keepDims: true }, f32(2, 3, 5)),
    sampleWith({ axes: [0], keepDims: false }, within(900, 1000, f32(17))),
    { ...sampleWith({ axes: [0], keepDims: false }, exactly([-Infinity, -Infinity], f32(2))), noGrad: true },
    { ...sampleWith({ axes: [0], keepDims: false }, exactly([Infinity, 1], f32(2))), noGrad: true },
  ],
});
