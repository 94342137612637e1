/** The worked examples of docs/ADDING-AN-OP.md, which quotes them. */

import type { NoAttrs } from "../../ir/graph.js";
import { type CompositeOp, defineComposite, type PrimitiveOp } from "../../ir/op.js";
import { constantLike } from "../../ir/ops/constant.js";
import { abs, max, mul, neg, sign } from "../../ir/ops/elementwise.js";
import { binary, floatPairs } from "../../ir/ops/elementwise-define.js";
import { eq, select } from "../../ir/ops/logic.js";
import { exactly, f32, sample, within } from "../../ir/sample.js";

// example: composite
export const squaredRelu: CompositeOp<"squaredRelu", NoAttrs> = defineComposite<"squaredRelu", NoAttrs>({
  name: "squaredRelu",
  operands: ["x"],
  summary: "max(x, 0)². NaN stays NaN. https://arxiv.org/abs/2109.08668",
  decompose: ([x]) => {
    const positive = max([x!, constantLike(x!, 0)]);
    return mul([positive, positive]);
  },
  accuracy: { rtol: 1e-5, atol: 1e-6 },
  samples: [
    sample(within(0.1, 3, f32(2, 3))),
    sample(within(-3, -0.1, f32(17))),
    sample(f32(0)),
    { ...sample(exactly([Number.NaN, Infinity, -Infinity, -0], f32(4))), noGrad: true },
  ],
});
// end

// example: primitive
export const copysign: PrimitiveOp<"copysign", NoAttrs> = binary({
  name: "copysign",
  summary: "|a| with the sign of b, of −0 and NaN too (IEEE 754).",
  dtypes: "float",
  float: (a, b) => (b! < 0 || Object.is(b, -0) ? -Math.abs(a!) : Math.abs(a!)),
  // d/da is the product of the signs; d/db is 0 wherever it exists.
  vjp: ({ dy, operands: [a], y }) => [
    select([eq([y, abs([a!])]), mul([dy, sign([a!])]), mul([dy, neg([sign([a!])])])]),
    undefined,
  ],
  samples: floatPairs,
});
// end
