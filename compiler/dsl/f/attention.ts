/** Attention. */

import { staticSize } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import * as ops from "../../../ir/ops/attention.js";
import { aBoolean, aNumber, anything, checked } from "../../options.js";

export interface AttentionOptions {
  /** Broadcasts to [..., L, S]: floats are added to the scores, bool keeps where true. */
  readonly mask?: Value;
  /** Query i sees the keys 0 … i only. Default false. */
  readonly causal?: boolean;
  /** Of the scores. Default 1/√D. */
  readonly scale?: number;
}

/**
 * softmax(scale · query · keyᵀ + mask) · value: query [..., L, D], key [..., S, D], value [..., S, E] give [..., L, E]. PyTorch's
 * scaled_dot_product_attention. https://arxiv.org/abs/1706.03762
 */
export function attention(query: Value, key: Value, value: Value, options?: AttentionOptions): Value {
  const {
    mask,
    causal = false,
    scale,
  } = checked("attention", options, { mask: anything, causal: aBoolean, scale: aNumber });
  const factor = scale ?? 1 / Math.sqrt(staticSize(query, -1, "the features of an attention without a scale"));
  return ops.attention([query, key, value, ...(mask === undefined ? [] : [mask])], { scale: factor, causal });
}

/** Pairs of features turned by angles: cos and sin broadcast to [..., L, D/2]. https://arxiv.org/abs/2104.09864 */
export const rotary = (
  x: Value,
  cos: Value,
  sin: Value,
  { interleaved = false }: { readonly interleaved?: boolean } = {},
): Value => ops.rotary([x, cos, sin], { interleaved });
