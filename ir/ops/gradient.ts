/** Ops that matter to differentiation only. */

import { np } from "../build.js";
import type { NoAttrs } from "../graph.js";
import { type CompositeOp, defineComposite } from "../op.js";
import { f32, i32, noGrad, sample, sampleWith } from "../sample.js";

export const stopGradient: CompositeOp<"stopGradient", NoAttrs> = defineComposite<"stopGradient", NoAttrs>({
  name: "stopGradient",
  operands: ["x"],
  summary: "x itself; no gradient flows through it (PyTorch's detach).",
  decompose: ([x]) => x!,
  vjp: "zero",
  accuracy: "exact",
  samples: [sample(noGrad(f32(2, 3))), sample(noGrad(f32(0))), sample(i32(3))],
});

export const scaleGradient: CompositeOp<"scaleGradient", { factor: number }> = defineComposite<
  "scaleGradient",
  { factor: number }
>({
  name: "scaleGradient",
  operands: ["x"],
  summary: "x itself; its cotangent is multiplied by a factor (−1 reverses it, https://arxiv.org/abs/1505.07818).",
  attrs: { factor: "of the cotangent" },
  decompose: ([x]) => x!,
  vjp: ({ dy, attrs: { factor } }) => [np.mul(dy, factor)],
  accuracy: "exact",
  samples: [sampleWith({ factor: -0.7 }, noGrad(f32(3)))],
});
