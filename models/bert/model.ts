/**
 * A Transformer that reads in both directions: tokens [batch, steps] → a state for each of them. Parts have the names of Hugging Face's
 * `BertModel`, so that its files load.
 * Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019.
 */

import { F, nn, type Value } from "wasmith";

export interface BertOptions {
  readonly vocabulary: number;
  readonly features: number;
  readonly layers: number;
  readonly heads: number;
  /** Tokens of a text at most. */
  readonly positions: number;
  readonly dropout?: number;
}

/** BERT-base: 109,482,240 parameters. */
export const base: BertOptions = { vocabulary: 30_522, features: 768, layers: 12, heads: 12, positions: 512 };

const weightInit = nn.init.normal(0, 0.02);
const linear = (from: number, to: number) => nn.Linear(from, to, { weightInit, biasInit: nn.init.zeros });
const norm = (features: number) => nn.LayerNorm(features, { epsilon: 1e-12 });

export interface BertInputs {
  /** Which of two sentences a token belongs to, 0 or 1 [batch, steps]. Default: all to the first. */
  readonly types?: Value;
  /** True where there is a token [batch, steps]. Default: everywhere. */
  readonly mask?: Value;
}

class Embeddings extends nn.Module<readonly [tokens: Value, types?: Value]> {
  readonly word_embeddings: nn.EmbeddingLayer;
  readonly position_embeddings: nn.EmbeddingLayer;
  readonly token_type_embeddings: nn.EmbeddingLayer;
  readonly LayerNorm: nn.LayerNormLayer;
  readonly dropout: nn.Layer;

  constructor({ vocabulary, features, positions, dropout = 0.1 }: BertOptions) {
    super();
    this.word_embeddings = nn.Embedding(vocabulary, features, { weightInit, paddingIndex: 0 });
    this.position_embeddings = nn.Embedding(positions, features, { weightInit });
    this.token_type_embeddings = nn.Embedding(2, features, { weightInit });
    this.LayerNorm = norm(features);
    this.dropout = nn.Dropout(dropout);
  }

  forward(ctx: nn.Context, tokens: Value, types: Value = F.zerosLike(tokens)): Value {
    const places = this.position_embeddings(ctx, F.arange(tokens.type.shape[1]!));
    const sum = this.word_embeddings(ctx, tokens).add(places).add(this.token_type_embeddings(ctx, types));
    return this.dropout(ctx, this.LayerNorm(ctx, sum));
  }
}

/** A linear layer, whose result is added to what was before, and a norm of the sum. */
class Output extends nn.Module<readonly [x: Value, before: Value]> {
  readonly dense: nn.LinearLayer;
  readonly LayerNorm: nn.LayerNormLayer;
  readonly dropout: nn.Layer;

  constructor(from: number, { features, dropout = 0.1 }: BertOptions) {
    super();
    this.dense = linear(from, features);
    this.LayerNorm = norm(features);
    this.dropout = nn.Dropout(dropout);
  }

  forward(ctx: nn.Context, x: Value, before: Value): Value {
    return this.LayerNorm(ctx, before.add(this.dropout(ctx, this.dense(ctx, x))));
  }
}

class Layer extends nn.Module<readonly [x: Value, seen?: Value]> {
  readonly attention: {
    readonly self: Readonly<Record<"query" | "key" | "value", nn.LinearLayer>>;
    readonly output: Output;
  };
  readonly intermediate: { readonly dense: nn.LinearLayer };
  readonly output: Output;
  readonly #heads: number;

  constructor(options: BertOptions) {
    super();
    const { features, heads } = options;
    const own = () => linear(features, features);
    this.#heads = heads;
    this.attention = { self: { query: own(), key: own(), value: own() }, output: new Output(features, options) };
    this.intermediate = { dense: linear(features, 4 * features) };
    this.output = new Output(4 * features, options);
  }

  forward(ctx: nn.Context, x: Value, seen?: Value): Value {
    const [batch, steps] = x.type.shape;
    const { query, key, value } = this.attention.self;
    const [q, k, v] = [query, key, value].map((layer) =>
      layer(ctx, x).reshape(batch!, steps!, this.#heads, -1).transpose(1, 2),
    ) as [Value, Value, Value];
    const mixed = F.attention(q, k, v, seen ? { mask: seen } : {}).transpose(1, 2);
    const y = this.attention.output(ctx, mixed.reshape(batch!, steps!, -1), x);
    return this.output(ctx, F.gelu(this.intermediate.dense(ctx, y)), y);
  }
}

export class Bert extends nn.Module<readonly [tokens: Value, inputs?: BertInputs], { states: Value; pooled: Value }> {
  readonly embeddings: Embeddings;
  readonly encoder: { readonly layer: readonly Layer[] };
  readonly pooler: { readonly dense: nn.LinearLayer };

  constructor(options: BertOptions) {
    super();
    this.embeddings = new Embeddings(options);
    this.encoder = { layer: Array.from({ length: options.layers }, () => new Layer(options)) };
    this.pooler = { dense: linear(options.features, options.features) };
  }

  /** States [batch, steps, features], and what the first token, [CLS], makes of the whole text [batch, features]. */
  forward(ctx: nn.Context, tokens: Value, { types, mask }: BertInputs = {}) {
    const seen = mask?.unsqueeze(1, 2);
    const states = this.encoder.layer.reduce((x, layer) => layer(ctx, x, seen), this.embeddings(ctx, tokens, types));
    return { states, pooled: F.tanh(this.pooler.dense(ctx, states.select(1, 0))) };
  }
}
