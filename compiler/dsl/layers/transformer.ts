/** Transformer layers with PyTorch's names. */

import { np } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { gelu, relu } from "../../../ir/ops/activation.js";
import { aBoolean, aFunction, anObject, aValue, type Checks } from "../../options.js";
import {
  anyOf,
  parameter as argument,
  callable,
  choice,
  count,
  flag,
  further,
  type Kind,
  type OptionsOf,
  option,
  positional,
  type Settings,
  share,
  size,
} from "../../schema.js";
import type { Context } from "../context.js";
import { xavierUniform } from "../init.js";
import { Module } from "../module.js";
import { MultiHeadAttention, type MultiHeadAttentionModule } from "./attention.js";
import { biasInit, defineLayer, inputsOf, weightInit } from "./define.js";
import { Dropout, type DropoutLayer } from "./dropout.js";
import { Linear, type LinearLayer } from "./linear.js";
import { LayerNorm, type LayerNormLayer } from "./norm.js";

type Activation = (x: Value) => Value;
const activation: Kind<"relu" | "gelu" | Activation> = anyOf(choice("relu", "gelu"), aFunction as Kind<Activation>);

const layerOptions = {
  feedForward: option(count, 2048, "Width of the feed-forward part"),
  dropout: option(
    share,
    0.1,
    "While training: of the weights of attention, inside the feed-forward part, before each sum",
  ),
  activation: option(activation, "relu", "Of the feed-forward part: a name, or a function of a value"),
  batchFirst: option(flag, false, "Sequences are [batch, steps, features], not [steps, batch, features]"),
  normFirst: option(flag, false, "Normalise before attention and feed-forward, not after their sums"),
  epsilon: option(size, 1e-5, "Of the norms"),
  bias: option(flag, true, "Biases of linear layers, attention and norms"),
  ...weightInit("those of the layers inside"),
  ...biasInit("those of the layers inside"),
};
export type TransformerOptions = OptionsOf<typeof layerOptions>;
type LayerSettings = Settings<typeof layerOptions>;

export interface EncoderInputs {
  /** As that of attention: broadcasts to [batch, heads, queries, keys]; floats are added, bool keeps where true. */
  readonly mask?: Value | undefined;
  /** Bool [batch, steps], true where a step is padding. */
  readonly keyPaddingMask?: Value | undefined;
  /** Each step sees those up to itself. */
  readonly causal?: boolean | undefined;
}
const encoderChecks: Checks<EncoderInputs> = { mask: aValue, keyPaddingMask: aValue, causal: aBoolean };

export interface DecoderInputs extends EncoderInputs {
  /** As `mask`, for attention to the memory. */
  readonly memoryMask?: Value | undefined;
  /** As `keyPaddingMask`, of the memory. */
  readonly memoryKeyPaddingMask?: Value | undefined;
}
const decoderChecks: Checks<DecoderInputs> = { ...encoderChecks, memoryMask: aValue, memoryKeyPaddingMask: aValue };

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
  readonly #activation: Activation;

  constructor(features: number, count: number, settings: LayerSettings) {
    super();
    const { feedForward, dropout, activation, batchFirst, epsilon, bias, weightInit, biasInit } = settings;
    const linear = { bias, weightInit, biasInit };
    this.normFirst = settings.normFirst;
    this.#activation =
      activation === "relu"
        ? (x) => relu([x])
        : activation === "gelu"
          ? (x) => gelu([x], { approximate: "none" })
          : activation;
    this.self_attn = MultiHeadAttention(features, count, { ...linear, batchFirst, dropout });
    this.linear1 = Linear(features, feedForward, linear);
    this.linear2 = Linear(feedForward, features, linear);
    this.norm1 = LayerNorm(features, { epsilon, bias });
    this.norm2 = LayerNorm(features, { epsilon, bias });
    this.dropout = Dropout(dropout);
    this.dropout1 = Dropout(dropout);
    this.dropout2 = Dropout(dropout);
  }

  /** x + dropout(body(x)), with the norm on the way in or on the way out. */
  protected residual(
    ctx: Context,
    x: Value,
    norm: LayerNormLayer,
    drop: DropoutLayer,
    body: (v: Value) => Value,
  ): Value {
    const inner = drop(ctx, body(this.normFirst ? norm(ctx, x) : x));
    const sum = np.add(x, inner);
    return this.normFirst ? sum : norm(ctx, sum);
  }

  protected feedForward(ctx: Context, x: Value): Value {
    const wide = this.#activation(this.linear1(ctx, x));
    return this.linear2(ctx, this.dropout(ctx, wide));
  }
}

const stacked = <L>() =>
  [
    argument("layer", callable as Kind<() => L>, "Makes a layer; called once for each"),
    argument("count", count, "How many"),
    further(
      "norm",
      { expected: "a layer norm", fits: (v) => v instanceof Module } as Kind<LayerNormLayer>,
      "At the end. Default: none",
    ),
  ] as const;
const sizesOfLayer = [argument("features", count, "Of each step"), argument("heads", count, "Of attention")] as const;

/** Self-attention and feed-forward, each with a residual. */
export class TransformerEncoderLayerModule extends TransformerLayer<readonly [x: Value, inputs?: EncoderInputs]> {
  forward(ctx: Context, x: Value, inputs?: EncoderInputs): Value {
    const given = inputsOf(inputs, encoderChecks);
    const attended = this.residual(ctx, x, this.norm1, this.dropout1, (v) => this.self_attn(ctx, v, given));
    return this.residual(ctx, attended, this.norm2, this.dropout2, (v) => this.feedForward(ctx, v));
  }
}
export const TransformerEncoderLayer = defineLayer({
  name: "TransformerEncoderLayer",
  summary:
    "Self-attention and feed-forward, each with a residual and a norm: `layer(ctx, x, { mask, keyPaddingMask, causal })`",
  parameters: sizesOfLayer,
  options: layerOptions,
  make: (settings, features: number, heads: number) => new TransformerEncoderLayerModule(features, heads, settings),
});

/** Self-attention, attention to the encoder's output, and feed-forward, each with a residual. */
export class TransformerDecoderLayerModule extends TransformerLayer<
  readonly [x: Value, memory: Value, inputs?: DecoderInputs]
> {
  readonly multihead_attn: MultiHeadAttentionModule;
  readonly norm3: LayerNormLayer;
  readonly dropout3: DropoutLayer;

  constructor(features: number, count: number, settings: LayerSettings) {
    super(features, count, settings);
    const { batchFirst, dropout, epsilon, bias, weightInit, biasInit } = settings;
    this.multihead_attn = MultiHeadAttention(features, count, { bias, weightInit, biasInit, batchFirst, dropout });
    this.norm3 = LayerNorm(features, { epsilon, bias });
    this.dropout3 = Dropout(dropout);
  }

  forward(ctx: Context, x: Value, memory: Value, inputs?: DecoderInputs): Value {
    const { memoryMask, memoryKeyPaddingMask, ...own } = inputsOf(inputs, decoderChecks);
    const attended = this.residual(ctx, x, this.norm1, this.dropout1, (v) => this.self_attn(ctx, v, own));
    const crossed = this.residual(ctx, attended, this.norm2, this.dropout2, (v) =>
      this.multihead_attn(ctx, v, { key: memory, mask: memoryMask, keyPaddingMask: memoryKeyPaddingMask }),
    );
    return this.residual(ctx, crossed, this.norm3, this.dropout3, (v) => this.feedForward(ctx, v));
  }
}
export const TransformerDecoderLayer = defineLayer({
  name: "TransformerDecoderLayer",
  summary:
    "Self-attention, attention to the memory, and feed-forward, each with a residual and a norm: `layer(ctx, x, memory, { mask, keyPaddingMask, causal, memoryMask, memoryKeyPaddingMask })`",
  parameters: sizesOfLayer,
  options: layerOptions,
  make: (settings, features: number, heads: number) => new TransformerDecoderLayerModule(features, heads, settings),
});

/** Encoder layers one after the other, and a norm at the end where one is given. */
export class TransformerEncoderModule extends Module<readonly [x: Value, inputs?: EncoderInputs]> {
  readonly layers: readonly TransformerEncoderLayerModule[];
  readonly norm: LayerNormLayer | undefined;

  constructor(layers: readonly TransformerEncoderLayerModule[], norm?: LayerNormLayer) {
    super();
    this.layers = layers;
    this.norm = norm;
  }

  forward(ctx: Context, x: Value, inputs?: EncoderInputs): Value {
    const y = this.layers.reduce((v, layer) => layer(ctx, v, inputs), x);
    return this.norm === undefined ? y : this.norm(ctx, y);
  }
}
export const TransformerEncoder = positional(
  "nn.TransformerEncoder",
  "Encoder layers one after the other, and a norm at the end where one is given",
  stacked<TransformerEncoderLayerModule>(),
  (layer: () => TransformerEncoderLayerModule, layers: number, norm?: LayerNormLayer) =>
    new TransformerEncoderModule(Array.from({ length: layers }, layer), norm),
);

/** Decoder layers one after the other, and a norm at the end where one is given. */
export class TransformerDecoderModule extends Module<readonly [x: Value, memory: Value, inputs?: DecoderInputs]> {
  readonly layers: readonly TransformerDecoderLayerModule[];
  readonly norm: LayerNormLayer | undefined;

  constructor(layers: readonly TransformerDecoderLayerModule[], norm?: LayerNormLayer) {
    super();
    this.layers = layers;
    this.norm = norm;
  }

  forward(ctx: Context, x: Value, memory: Value, inputs?: DecoderInputs): Value {
    const y = this.layers.reduce((v, layer) => layer(ctx, v, memory, inputs), x);
    return this.norm === undefined ? y : this.norm(ctx, y);
  }
}
export const TransformerDecoder = positional(
  "nn.TransformerDecoder",
  "Decoder layers one after the other, and a norm at the end where one is given",
  stacked<TransformerDecoderLayerModule>(),
  (layer: () => TransformerDecoderLayerModule, layers: number, norm?: LayerNormLayer) =>
    new TransformerDecoderModule(Array.from({ length: layers }, layer), norm),
);

const transformerOptions = {
  encoderLayers: option(count, 6, "How many layers encode"),
  decoderLayers: option(count, 6, "How many layers decode"),
  ...layerOptions,
  ...weightInit("Xavier uniform"),
};
export type EncoderDecoderOptions = OptionsOf<typeof transformerOptions>;

export interface TransformerInputs {
  readonly source?: EncoderInputs | undefined;
  readonly target?: DecoderInputs | undefined;
}

/** Encoder and decoder of https://arxiv.org/abs/1706.03762, each with a norm at the end. */
export class TransformerModule extends Module<readonly [source: Value, target: Value, masks?: TransformerInputs]> {
  readonly encoder: TransformerEncoderModule;
  readonly decoder: TransformerDecoderModule;

  constructor(features: number, count: number, settings: Settings<typeof transformerOptions>) {
    super();
    const { encoderLayers, decoderLayers, weightInit = xavierUniform(), ...own } = settings;
    const norm = () => LayerNorm(features, { epsilon: own.epsilon, bias: own.bias });
    const layer = { ...own, weightInit };
    this.encoder = TransformerEncoder(() => TransformerEncoderLayer(features, count, layer), encoderLayers, norm());
    this.decoder = TransformerDecoder(() => TransformerDecoderLayer(features, count, layer), decoderLayers, norm());
  }

  forward(ctx: Context, source: Value, target: Value, given?: TransformerInputs): Value {
    const masks = inputsOf(given, { source: anObject, target: anObject });
    return this.decoder(ctx, target, this.encoder(ctx, source, masks.source), masks.target);
  }
}
export const Transformer = defineLayer({
  name: "Transformer",
  summary:
    "Encoder and decoder with a norm at the end of each: `layer(ctx, source, target, { source: { mask, … }, target: { causal, … } })`",
  parameters: sizesOfLayer,
  options: transformerOptions,
  make: (settings, features: number, heads: number) => new TransformerModule(features, heads, settings),
});
