/** Attention. Composites: kernels may avoid the matrix of weights, the decomposition is the definition. */

import { concatenate, lowerTriangle, np, rankOf, reshapeTo, sizeOf, split, stack, swapAxes, where } from "../build.js";
import { dimDiffers } from "../dim.js";
import { matmul } from "../einsum.js";
import { ModelError } from "../errors.js";
import { typeText, type Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type Accuracy, type CompositeOp, defineComposite } from "../op.js";
import { bool, exactly, f32, noGrad, sampleWith } from "../sample.js";
import { softmax } from "./softmax.js";

const accuracy: Accuracy = { rtol: 1e-5, atol: 1e-5 };

export type AttentionAttrs = { readonly scale: number; readonly causal: boolean };

/** softmax(scale · query · keyᵀ + mask): how much each query sees of each key, [..., L, S]. */
export function attentionWeights(
  query: Value,
  key: Value,
  mask: Value | undefined,
  { scale, causal }: AttentionAttrs,
): Value {
  requireDType(query.type, "float");
  if (rankOf(query) < 2 || rankOf(key) < 2 || dimDiffers(sizeOf(query, -1), sizeOf(key, -1))) {
    throw new ModelError(`query ${typeText(query.type)} and key ${typeText(key.type)} must have one last size`);
  }
  let scores = matmul(np.mul(query, scale), swapAxes(key, -1, -2));
  if (mask !== undefined) {
    scores = mask.type.dtype === "bool" ? where(mask, scores, -Infinity) : np.add(scores, mask);
  }
  if (causal) scores = where(lowerTriangle(sizeOf(scores, -2), sizeOf(scores, -1)), scores, -Infinity);
  return softmax([scores], { axis: -1 });
}

export const attention: CompositeOp<"attention", AttentionAttrs> = defineComposite<"attention", AttentionAttrs>({
  name: "attention",
  operands: ["query", "key", "value", "mask?"],
  summary:
    "softmax(scale · query · keyᵀ + mask) · value over the last two axes: query [..., L, D], key [..., S, D], value [..., S, E]. The mask broadcasts to [..., L, S]: floats are added, bool keeps where true. A row without any kept key is NaN. https://arxiv.org/abs/1706.03762",
  attrs: { scale: "of the scores, usually 1/√D", causal: "query i sees the keys 0 … i only" },
  decompose: ([query, key, value, mask], attrs) => matmul(attentionWeights(query!, key!, mask, attrs), value!),
  accuracy,
  samples: [
    sampleWith({ scale: 0.5, causal: false }, f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6)),
    sampleWith({ scale: 0.35, causal: true }, f32(2, 2, 5, 8), f32(2, 2, 5, 8), f32(2, 2, 5, 8)),
    sampleWith({ scale: 1, causal: false }, f32(3, 4), f32(9, 4), f32(9, 4), f32(3, 9)),
    sampleWith(
      { scale: 1, causal: false },
      f32(1, 2, 4),
      f32(1, 3, 4),
      f32(1, 3, 4),
      noGrad(exactly([1, 0, 1, 0, 0, 1], bool(2, 3))),
    ),
  ],
});

type RotaryAttrs = { readonly interleaved: boolean };

export const rotary: CompositeOp<"rotary", RotaryAttrs> = defineComposite<"rotary", RotaryAttrs>({
  name: "rotary",
  operands: ["x", "cos", "sin"],
  summary:
    "Pairs of features of the last axis turned by angles: (a, b) → (a·cos − b·sin, a·sin + b·cos). cos and sin broadcast to [..., L, D/2]. https://arxiv.org/abs/2104.09864",
  attrs: { interleaved: "pairs are neighbours; otherwise feature i pairs with i + D/2" },
  decompose: ([x, cos, sin], { interleaved }) => {
    requireDType(x!.type, "float");
    const { shape } = x!.type;
    const paired = interleaved ? reshapeTo(x!, [...shape.slice(0, -1), -1, 2]) : x!;
    const [a, b] = interleaved
      ? split(paired, -1, 2).map((v) => reshapeTo(v, v.type.shape.slice(0, -1)))
      : split(paired, -1, 2);
    const first = np.sub(np.mul(a!, cos!), np.mul(b!, sin!));
    const second = np.add(np.mul(a!, sin!), np.mul(b!, cos!));
    return interleaved ? reshapeTo(stack([first, second], -1), shape) : concatenate([first, second], -1);
  },
  accuracy,
  samples: [
    sampleWith({ interleaved: false }, f32(2, 3, 8), f32(3, 4), f32(3, 4)),
    sampleWith({ interleaved: true }, f32(2, 3, 8), f32(3, 4), f32(3, 4)),
  ],
});
