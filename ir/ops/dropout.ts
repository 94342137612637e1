/** Noise layers. The random numbers come from a key and a counter, which are operands. */

import { broadcastTo, np } from "../build.js";
import { requireDType } from "../infer.js";
import { type CompositeOp, defineComposite } from "../op.js";
import { exactly, f32, noGrad, of, sampleWith } from "../sample.js";
import { constantLike, full } from "./constant.js";
import { select } from "./logic.js";
import { bernoulli } from "./random.js";

type DropoutAttrs = { readonly probability: number; readonly sharedAxes: readonly number[] };

const words = (...values: number[]) => exactly(values, of("u32", 2));

export const dropout: CompositeOp<"dropout", DropoutAttrs> = defineComposite<"dropout", DropoutAttrs>({
  name: "dropout",
  operands: ["x", "key", "counter"],
  summary:
    "Each element is 0 with the given probability, and x / (1 − probability) otherwise. Axes may share one draw (whole channels). The same key and counter drop the same elements.",
  attrs: {
    probability: "of dropping an element, in [0, 1]",
    sharedAxes: "axes along which one draw decides; not negative",
  },
  decompose: ([x, key, counter], { probability, sharedAxes }) => {
    requireDType(x!.type, "float");
    const shape = x!.type.shape.map((d, a) => (sharedAxes.includes(a) ? 1 : d));
    const kept = bernoulli([full("f32", shape, 1 - probability), key!, counter!]);
    const zero = constantLike(x!, 0);
    if (probability >= 1) return zero;
    return select([broadcastTo(kept, x!.type.shape), np.mul(x!, 1 / (1 - probability)), zero]);
  },
  accuracy: { ulp: 1 },
  samples: [
    sampleWith({ probability: 0.3, sharedAxes: [] }, f32(4, 9), words(1, 2), words(3, 4)),
    sampleWith({ probability: 0.5, sharedAxes: [2, 3] }, f32(2, 5, 3, 3), words(5, 0), words(0, 1)),
    sampleWith({ probability: 0, sharedAxes: [] }, f32(7), words(1, 2), words(3, 4)),
    sampleWith({ probability: 1, sharedAxes: [] }, f32(7), words(1, 2), words(3, 4)),
  ],
});

export const idleDropout: CompositeOp<"idleDropout", { probability: number }> = defineComposite<
  "idleDropout",
  { probability: number }
>({
  name: "idleDropout",
  operands: ["x"],
  summary: "x itself: dropout while a model does not train. Says where a training step of the same model drops.",
  attrs: { probability: "of dropping an element, in [0, 1], when the model trains" },
  decompose: ([x]) => x!,
  accuracy: "exact",
  samples: [sampleWith({ probability: 0.5 }, noGrad(f32(2, 3))), sampleWith({ probability: 0.1 }, of("f16", 3))],
});
