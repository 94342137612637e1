/** Multi-head attention with PyTorch's names. */

import { expandDims, mean, np, permute, rankOf, reshapeTo, split, where } from "../../../ir/build.js";
import { linear, matmul } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { attention, attentionWeights } from "../../../ir/ops/attention.js";
import { not } from "../../../ir/ops/logic.js";
import { aBoolean, aValue, type Checks } from "../../options.js";
import {
  parameter as argument,
  count,
  flag,
  type OptionsOf,
  option,
  optional,
  type Settings,
  share,
} from "../../schema.js";
import type { Context } from "../context.js";
import { xavierUniform, zeros } from "../init.js";
import { located, Module, parameter, type Variable } from "../module.js";
import { biasInit, defineLayer, expectSize, inputsOf, weightInit } from "./define.js";
import { DropoutLayer } from "./dropout.js";
import { Linear, type LinearLayer } from "./linear.js";

const attentionOptions = {
  bias: option(flag, true, "Add biases to the projections"),
  batchFirst: option(flag, false, "Sequences are [batch, steps, features], not [steps, batch, features]"),
  dropout: option(share, 0, "Of the weights of attention, while training"),
  keyFeatures: optional(count, "Features of keys. Default: as of queries"),
  valueFeatures: optional(count, "Features of values. Default: as of queries"),
  ...weightInit("Xavier uniform; for the output uniform in ±1/√features"),
  ...biasInit("zeros"),
};
export type AttentionOptions = OptionsOf<typeof attentionOptions>;

export interface AttentionInputs {
  /** Default: the query. */
  readonly key?: Value | undefined;
  /** Default: the key. */
  readonly value?: Value | undefined;
  /** Broadcasts to [batch, heads, queries, keys]: floats are added to the scores, bool keeps where true. */
  readonly mask?: Value | undefined;
  /** Bool [batch, keys], true where a key is padding: PyTorch's `key_padding_mask`. */
  readonly keyPaddingMask?: Value | undefined;
  /** Each query sees the keys up to its own position. */
  readonly causal?: boolean | undefined;
}
const inputChecks: Checks<AttentionInputs> = {
  key: aValue,
  value: aValue,
  mask: aValue,
  keyPaddingMask: aValue,
  causal: aBoolean,
};

/** A mask for attention from bool [batch, keys] that is true where a key is padding. */
export const paddingMask = (isPadding: Value): Value => expandDims(not([isPadding]), 1, 2);

/** Both masks as one. */
function joinedMask(mask: Value | undefined, keyPadding: Value | undefined): Value | undefined {
  if (keyPadding === undefined) return mask;
  if (keyPadding.type.dtype !== "bool" || rankOf(keyPadding) !== 2)
    throw new ModelError(`keyPaddingMask is bool [batch, keys], but got ${typeText(keyPadding.type)}`);
  const seen = paddingMask(keyPadding);
  if (mask === undefined) return seen;
  return mask.type.dtype === "bool" ? np.and(mask, seen) : where(seen, mask, -Infinity);
}

/** x [batch, steps, heads · d] → [batch, heads, steps, d]. */
function heads(x: Value, count: number): Value {
  const [batch, steps] = x.type.shape;
  return permute(reshapeTo(x, [batch!, steps!, count, -1]), [0, 2, 1, 3]);
}

export interface AttentionResult {
  readonly output: Value;
  /** How much each query saw of each key, the mean over the heads: [batch, queries, keys]. */
  readonly weights: Value;
}

/** Attention of queries to keys in several heads. Key and value default to the query (self-attention). */
export class MultiHeadAttentionModule extends Module<readonly [query: Value, inputs?: AttentionInputs]> {
  readonly in_proj_weight: Variable | undefined;
  readonly q_proj_weight: Variable | undefined;
  readonly k_proj_weight: Variable | undefined;
  readonly v_proj_weight: Variable | undefined;
  readonly in_proj_bias: Variable | undefined;
  readonly out_proj: LinearLayer;
  readonly features: number;
  readonly heads: number;
  readonly #dropout: DropoutLayer;
  readonly #batchFirst: boolean;
  /** Features of query, key and value. */
  readonly #sizes: readonly [number, number, number];

  constructor(features: number, count: number, settings: Settings<typeof attentionOptions>) {
    super();
    if (features % count !== 0) throw new ModelError(`${features} features do not divide into ${count} heads`);
    const { bias, batchFirst, dropout, keyFeatures = features, valueFeatures = features } = settings;
    const { weightInit: given, biasInit = zeros } = settings;
    const weightInit = given ?? xavierUniform();
    this.features = features;
    this.heads = count;
    this.#batchFirst = batchFirst;
    this.#dropout = new DropoutLayer(dropout);
    this.#sizes = [features, keyFeatures, valueFeatures];
    const isJoint = keyFeatures === features && valueFeatures === features;
    const own = (size: number) => (isJoint ? undefined : parameter([features, size], weightInit));
    this.in_proj_weight = isJoint ? parameter([3 * features, features], weightInit) : undefined;
    this.q_proj_weight = own(features);
    this.k_proj_weight = own(keyFeatures);
    this.v_proj_weight = own(valueFeatures);
    this.in_proj_bias = bias ? parameter([3 * features], biasInit) : undefined;
    this.out_proj = Linear(features, features, { bias, weightInit: given, biasInit });
  }

  forward(ctx: Context, query: Value, inputs: AttentionInputs = {}): Value {
    return this.#attend(ctx, query, inputs, false).output;
  }

  /** As `apply`, with the weights of attention. They are not those that dropout leaves. */
  withWeights(ctx: Context, query: Value, inputs: AttentionInputs = {}): AttentionResult {
    return located(ctx.pathOf(this), this.constructor.name, () => {
      const { output, weights } = this.#attend(ctx, query, inputs, true);
      return { output, weights: weights! };
    });
  }

  #attend(ctx: Context, query: Value, inputs: AttentionInputs, needsWeights: boolean) {
    const { key = query, value = key, mask: given, keyPaddingMask, causal = false } = inputsOf(inputs, inputChecks);
    const [q, k, v] = this.#projected(ctx, query, key, value).map((x) =>
      heads(this.#batchFirst ? x : permute(x, [1, 0, 2]), this.heads),
    ) as [Value, Value, Value];
    const mask = joinedMask(given, keyPaddingMask);
    const attrs = { scale: 1 / Math.sqrt(this.features / this.heads), causal };
    const isDropping = ctx.training && this.#dropout.probability > 0;
    const weights = isDropping || needsWeights ? attentionWeights(q, k, mask, attrs) : undefined;
    const mixed =
      weights === undefined
        ? attention([q, k, v, ...(mask ? [mask] : [])], attrs)
        : matmul(this.#dropout(ctx, weights), v);
    const [batch, , steps] = mixed.type.shape;
    const joined = reshapeTo(permute(mixed, [0, 2, 1, 3]), [batch!, steps!, this.features]);
    const output = this.out_proj(ctx, this.#batchFirst ? joined : permute(joined, [1, 0, 2]));
    return { output, weights: weights && mean(weights, 1) };
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return [...super.members(), ["dropout", this.#dropout]];
  }

  #projected(ctx: Context, query: Value, key: Value, value: Value): readonly Value[] {
    const sequences = [query, key, value];
    sequences.forEach((x, i) => {
      if (rankOf(x) !== 3) throw new ModelError(`expected a sequence of rank 3, but got ${typeText(x.type)}`);
      expectSize(x, -1, this.#sizes[i]!, `features of the ${["query", "key", "value"][i]}`);
    });
    const bias = this.in_proj_bias && ctx.value(this.in_proj_bias);
    const joint = this.in_proj_weight && ctx.value(this.in_proj_weight);
    if (joint !== undefined && key === query && value === query) return split(linear(query, joint, bias), -1, 3);
    const weights =
      joint === undefined
        ? [this.q_proj_weight!, this.k_proj_weight!, this.v_proj_weight!].map((w) => ctx.value(w))
        : split(joint, 0, 3);
    const biases = bias && split(bias, 0, 3);
    return sequences.map((x, i) => linear(x, weights[i]!, biases?.[i]));
  }
}
export const MultiHeadAttention = defineLayer({
  name: "MultiHeadAttention",
  summary:
    "Attention in several heads: `layer(ctx, query, { key, value, mask, keyPaddingMask, causal })`; `withWeights` gives the weights as well",
  parameters: [argument("features", count, "Of queries and results"), argument("heads", count, "How many")],
  options: attentionOptions,
  make: (settings, features: number, heads: number) => new MultiHeadAttentionModule(features, heads, settings),
});
