/** Multi-head attention and transformer layers with PyTorch's names. */

import { expandDims, np, permute, rankOf, reshapeTo, split } from "../../../ir/build.js";
import { linear } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { gelu, relu } from "../../../ir/ops/activation.js";
import { attention } from "../../../ir/ops/attention.js";
import { not } from "../../../ir/ops/logic.js";
import { aBoolean, aNumber, atLeast, type Checks, checked, oneOf } from "../../options.js";
import type { Context } from "../context.js";
import { xavierUniform, zeros } from "../init.js";
import { Module, parameter, type Variable } from "../module.js";
import { Dropout, type DropoutLayer, expectSize, Linear, type LinearLayer } from "./basic.js";
import { LayerNorm, type LayerNormLayer } from "./norm.js";

export interface AttentionOptions {
  readonly bias?: boolean;
  /** Sequences are [batch, steps, features] and not [steps, batch, features]. */
  readonly batchFirst?: boolean;
}

export interface AttentionInputs {
  readonly key?: Value;
  readonly value?: Value;
  /** Broadcasts to [batch, heads, queries, keys]: floats are added, bool keeps where true. */
  readonly mask?: Value;
  /** Each query sees the keys up to its own position. */
  readonly causal?: boolean;
}

/** x [batch, steps, heads · d] → [batch, heads, steps, d]. */
function heads(x: Value, count: number): Value {
  const [batch, steps] = x.type.shape;
  return permute(reshapeTo(x, [batch!, steps!, count, -1]), [0, 2, 1, 3]);
}

/** Attention of queries to keys in several heads. Key and value default to the query (self-attention). */
export class MultiHeadAttentionModule extends Module<readonly [query: Value, inputs?: AttentionInputs]> {
  readonly in_proj_weight: Variable;
  readonly in_proj_bias: Variable | undefined;
  readonly out_proj: LinearLayer;
  readonly #features: number;
  readonly #heads: number;
  readonly #batchFirst: boolean;

  constructor(features: number, count: number, { bias = true, batchFirst = false }: AttentionOptions) {
    super();
    if (features % count !== 0) throw new ModelError(`${features} features do not divide into ${count} heads`);
    this.#features = features;
    this.#heads = count;
    this.#batchFirst = batchFirst;
    this.in_proj_weight = parameter([3 * features, features], xavierUniform());
    this.in_proj_bias = bias ? parameter([3 * features], zeros) : undefined;
    this.out_proj = Linear(features, features, { bias });
  }

  forward(ctx: Context, query: Value, { key = query, value = key, mask, causal = false }: AttentionInputs = {}): Value {
    const weight = ctx.value(this.in_proj_weight);
    const bias = this.in_proj_bias && ctx.value(this.in_proj_bias);
    const sequences = [query, key, value].map((x) => {
      if (rankOf(x) !== 3) throw new ModelError(`expected a sequence of rank 3, but got ${typeText(x.type)}`);
      expectSize(x, -1, this.#features, "features");
      return x;
    });
    const projected =
      key === query && value === query
        ? split(linear(query, weight, bias), -1, 3)
        : sequences.map((x, i) => linear(x, split(weight, 0, 3)[i]!, bias && split(bias, 0, 3)[i]!));
    const [q, k, v] = projected.map((x) => heads(this.#batchFirst ? x : permute(x, [1, 0, 2]), this.#heads));
    const scale = 1 / Math.sqrt(this.#features / this.#heads);
    const mixed = attention([q!, k!, v!, ...(mask ? [mask] : [])], { scale, causal });
    const [batch, , steps] = mixed.type.shape;
    const joined = reshapeTo(permute(mixed, [0, 2, 1, 3]), [batch!, steps!, this.#features]);
    return this.out_proj.apply(ctx, this.#batchFirst ? joined : permute(joined, [1, 0, 2]));
  }
}
export const MultiHeadAttention = (
  features: number,
  count: number,
  options?: AttentionOptions,
): MultiHeadAttentionModule =>
  new MultiHeadAttentionModule(
    features,
    count,
    checked("MultiHeadAttention", options, { bias: aBoolean, batchFirst: aBoolean }),
  );

export interface TransformerOptions {
  /** Width of the feed-forward part. Default 2048. */
  readonly feedForward?: number;
  readonly dropout?: number;
  readonly activation?: "relu" | "gelu";
  readonly batchFirst?: boolean;
  /** Normalise before attention and feed-forward, not after their residuals. */
  readonly normFirst?: boolean;
  readonly epsilon?: number;
}

const transformerChecks: Checks<TransformerOptions> = {
  feedForward: atLeast(1),
  dropout: aNumber,
  activation: oneOf("relu", "gelu"),
  batchFirst: aBoolean,
  normFirst: aBoolean,
  epsilon: aNumber,
};

export interface EncoderInputs {
  readonly mask?: Value;
  readonly causal?: boolean;
}

/** Feed-forward part and norms that both kinds of layers have. */
abstract class TransformerLayer<I extends readonly unknown[]> extends Module<I> {
  readonly self_attn: MultiHeadAttentionModule;
  readonly linear1: LinearLayer;
  readonly linear2: LinearLayer;
  readonly norm1: LayerNormLayer;
  readonly norm2: LayerNormLayer;
  readonly dropout: DropoutLayer;
  readonly dropout1: DropoutLayer;
  readonly dropout2: DropoutLayer;
  protected readonly normFirst: boolean;
  readonly #gelu: boolean;

  constructor(features: number, count: number, options: TransformerOptions) {
    super();
    const { feedForward = 2048, dropout: p = 0.1, batchFirst = false, epsilon = 1e-5 } = options;
    this.normFirst = options.normFirst ?? false;
    this.#gelu = options.activation === "gelu";
    this.self_attn = MultiHeadAttention(features, count, { batchFirst });
    this.linear1 = Linear(features, feedForward);
    this.linear2 = Linear(feedForward, features);
    this.norm1 = LayerNorm(features, { epsilon });
    this.norm2 = LayerNorm(features, { epsilon });
    this.dropout = Dropout(p);
    this.dropout1 = Dropout(p);
    this.dropout2 = Dropout(p);
  }

  /** x + dropout(body(x)), with the norm on the way in or on the way out. */
  protected residual(
    ctx: Context,
    x: Value,
    norm: LayerNormLayer,
    drop: DropoutLayer,
    body: (v: Value) => Value,
  ): Value {
    const inner = drop.apply(ctx, body(this.normFirst ? norm.apply(ctx, x) : x));
    const sum = np.add(x, inner);
    return this.normFirst ? sum : norm.apply(ctx, sum);
  }

  protected feedForward(ctx: Context, x: Value): Value {
    const wide = this.linear1.apply(ctx, x);
    const active = this.#gelu ? gelu([wide], { approximate: "none" }) : relu([wide]);
    return this.linear2.apply(ctx, this.dropout.apply(ctx, active));
  }
}

/** Self-attention and feed-forward, each with a residual. */
export class TransformerEncoderLayerModule extends TransformerLayer<readonly [x: Value, inputs?: EncoderInputs]> {
  forward(ctx: Context, x: Value, inputs: EncoderInputs = {}): Value {
    const attended = this.residual(ctx, x, this.norm1, this.dropout1, (v) => this.self_attn.apply(ctx, v, inputs));
    return this.residual(ctx, attended, this.norm2, this.dropout2, (v) => this.feedForward(ctx, v));
  }
}
export const TransformerEncoderLayer = (
  features: number,
  count: number,
  options?: TransformerOptions,
): TransformerEncoderLayerModule =>
  new TransformerEncoderLayerModule(features, count, checked("TransformerEncoderLayer", options, transformerChecks));

export interface DecoderInputs extends EncoderInputs {
  readonly memoryMask?: Value;
}

/** Self-attention, attention to the encoder's output, and feed-forward, each with a residual. */
export class TransformerDecoderLayerModule extends TransformerLayer<
  readonly [x: Value, memory: Value, inputs?: DecoderInputs]
> {
  readonly multihead_attn: MultiHeadAttentionModule;
  readonly norm3: LayerNormLayer;
  readonly dropout3: DropoutLayer;

  constructor(features: number, count: number, options: TransformerOptions) {
    super(features, count, options);
    this.multihead_attn = MultiHeadAttention(features, count, { batchFirst: options.batchFirst ?? false });
    this.norm3 = LayerNorm(features, { epsilon: options.epsilon ?? 1e-5 });
    this.dropout3 = Dropout(options.dropout ?? 0.1);
  }

  forward(ctx: Context, x: Value, memory: Value, { memoryMask, ...own }: DecoderInputs = {}): Value {
    const attended = this.residual(ctx, x, this.norm1, this.dropout1, (v) => this.self_attn.apply(ctx, v, own));
    const crossed = this.residual(ctx, attended, this.norm2, this.dropout2, (v) =>
      this.multihead_attn.apply(ctx, v, { key: memory, ...(memoryMask ? { mask: memoryMask } : {}) }),
    );
    return this.residual(ctx, crossed, this.norm3, this.dropout3, (v) => this.feedForward(ctx, v));
  }
}
export const TransformerDecoderLayer = (
  features: number,
  count: number,
  options?: TransformerOptions,
): TransformerDecoderLayerModule =>
  new TransformerDecoderLayerModule(features, count, checked("TransformerDecoderLayer", options, transformerChecks));

/** Encoder layers one after the other, and a norm at the end where one is given. */
export class TransformerEncoderModule extends Module<readonly [x: Value, inputs?: EncoderInputs]> {
  readonly layers: readonly TransformerEncoderLayerModule[];
  readonly norm: LayerNormLayer | undefined;

  constructor(layers: readonly TransformerEncoderLayerModule[], norm?: LayerNormLayer) {
    super();
    this.layers = layers;
    this.norm = norm;
  }

  forward(ctx: Context, x: Value, inputs: EncoderInputs = {}): Value {
    const y = this.layers.reduce((v, layer) => layer.apply(ctx, v, inputs), x);
    return this.norm === undefined ? y : this.norm.apply(ctx, y);
  }
}
/** `layer` is called once for each of the `count` layers. */
export const TransformerEncoder = (
  layer: () => TransformerEncoderLayerModule,
  count: number,
  norm?: LayerNormLayer,
): TransformerEncoderModule => new TransformerEncoderModule(Array.from({ length: count }, layer), norm);

/** Decoder layers one after the other, and a norm at the end where one is given. */
export class TransformerDecoderModule extends Module<readonly [x: Value, memory: Value, inputs?: DecoderInputs]> {
  readonly layers: readonly TransformerDecoderLayerModule[];
  readonly norm: LayerNormLayer | undefined;

  constructor(layers: readonly TransformerDecoderLayerModule[], norm?: LayerNormLayer) {
    super();
    this.layers = layers;
    this.norm = norm;
  }

  forward(ctx: Context, x: Value, memory: Value, inputs: DecoderInputs = {}): Value {
    const y = this.layers.reduce((v, layer) => layer.apply(ctx, v, memory, inputs), x);
    return this.norm === undefined ? y : this.norm.apply(ctx, y);
  }
}
/** `layer` is called once for each of the `count` layers. */
export const TransformerDecoder = (
  layer: () => TransformerDecoderLayerModule,
  count: number,
  norm?: LayerNormLayer,
): TransformerDecoderModule => new TransformerDecoderModule(Array.from({ length: count }, layer), norm);

export interface EncoderDecoderOptions extends TransformerOptions {
  readonly encoderLayers?: number;
  readonly decoderLayers?: number;
}

/** Encoder and decoder of https://arxiv.org/abs/1706.03762, each with a norm at the end. */
export class TransformerModule extends Module<
  readonly [source: Value, target: Value, masks?: { readonly source?: EncoderInputs; readonly target?: DecoderInputs }]
> {
  readonly encoder: TransformerEncoderModule;
  readonly decoder: TransformerDecoderModule;

  constructor(features: number, count: number, options: EncoderDecoderOptions) {
    super();
    const { encoderLayers = 6, decoderLayers = 6, epsilon = 1e-5, ...own } = options;
    const norm = () => LayerNorm(features, { epsilon });
    const layer = { ...own, epsilon };
    this.encoder = TransformerEncoder(() => TransformerEncoderLayer(features, count, layer), encoderLayers, norm());
    this.decoder = TransformerDecoder(() => TransformerDecoderLayer(features, count, layer), decoderLayers, norm());
  }

  forward(
    ctx: Context,
    source: Value,
    target: Value,
    masks: { readonly source?: EncoderInputs; readonly target?: DecoderInputs } = {},
  ): Value {
    return this.decoder.apply(ctx, target, this.encoder.apply(ctx, source, masks.source), masks.target);
  }
}
export const Transformer = (features: number, count: number, options?: EncoderDecoderOptions): TransformerModule =>
  new TransformerModule(
    features,
    count,
    checked("Transformer", options, { ...transformerChecks, encoderLayers: atLeast(1), decoderLayers: atLeast(1) }),
  );

/** A mask for attention from bool [batch, keys] that is true where a key is padding. */
export const paddingMask = (isPadding: Value): Value => expandDims(not([isPadding]), 1, 2);
