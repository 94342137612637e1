/** Ops that matter to differentiation only. */

import type { NoAttrs } from "../graph.js";
import { defineComposite, type Op } from "../op.js";
import { f32, i32, noGrad, sample } from "../sample.js";

export const stopGradient: Op<"stopGradient", NoAttrs> = defineComposite<"stopGradient", NoAttrs>({
  name: "stopGradient",
  operands: ["x"],
  summary: "x itself; no gradient flows through it (PyTorch's detach).",
  decompose: ([x]) => x!,
  vjp: "zero",
  accuracy: "exact",
  samples: [sample(noGrad(f32(2, 3))), sample(noGrad(f32(0))), sample(i32(3))],
});
