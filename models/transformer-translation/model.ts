/**
 * Encoder and decoder of attention alone: source [batch, words] and target [batch, characters] → logits of the next characters.
 * Vaswani et al., "Attention Is All You Need", 2017; with norms before the parts, as Xiong et al., "On Layer Normalization in the
 * Transformer Architecture", 2020, found easier to train.
 */

import { F, nn, type Value } from "wasmith";
import type { Decoder } from "../decoding.js";

/** What the encoder made of the source [batch, words, features], and where there is no word [batch, words]. */
interface Memory {
  readonly states: Value;
  readonly padding: Value;
}

export interface TransformerOptions {
  /** Tokens of either language. */
  readonly source: number;
  readonly target: number;
  /** Tokens of a text at most. */
  readonly most: number;
  readonly features?: number;
  readonly heads?: number;
  readonly layers?: number;
  readonly dropout?: number;
}

/** Sines and cosines of places [most, features], in waves of growing length. */
function waves(most: number, features: number): Value {
  const table = Float32Array.from({ length: most * features }, (_, i) => {
    const [place, feature] = [Math.floor(i / features), i % features];
    const angle = place / 10000 ** ((feature - (feature % 2)) / features);
    return feature % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
  return F.constant(table).reshape(most, features);
}

/** A layer of the decoder: it looks at its own text up to each place, then at the source. */
class DecoderLayer extends nn.Module<
  readonly [x: Value, memory: Memory],
  { readonly x: Value; readonly attention: Value }
> {
  readonly norm1: nn.LayerNormLayer;
  readonly own: nn.MultiHeadAttentionModule;
  readonly norm2: nn.LayerNormLayer;
  readonly across: nn.MultiHeadAttentionModule;
  readonly dropout: nn.Layer;
  readonly feedForward: nn.Layer;

  constructor(features: number, heads: number, dropout: number) {
    super();
    this.norm1 = nn.LayerNorm(features);
    this.own = nn.MultiHeadAttention(features, heads, { batchFirst: true });
    this.norm2 = nn.LayerNorm(features);
    this.across = nn.MultiHeadAttention(features, heads, { batchFirst: true });
    this.dropout = nn.Dropout(dropout);
    this.feedForward = nn.Residual(
      nn.sequential(
        nn.LayerNorm(features),
        nn.Linear(features, 4 * features),
        nn.ReLU(),
        nn.Linear(4 * features, features),
        nn.Dropout(dropout),
      ),
    );
  }

  forward(ctx: nn.Context, given: Value, { states, padding }: Memory) {
    const own = this.own(ctx, this.norm1(ctx, given), { causal: true });
    const x = given.add(this.dropout(ctx, own));
    const { output, weights } = this.across.withWeights(ctx, this.norm2(ctx, x), {
      key: states,
      keyPaddingMask: padding,
    });
    return { x: this.feedForward(ctx, x.add(this.dropout(ctx, output))), attention: weights };
  }
}

export class TransformerTranslator extends nn.Module<
  readonly [source: Value, target: Value],
  { logits: Value; attention: Value }
> {
  readonly sourceEmbedding: nn.EmbeddingLayer;
  readonly targetEmbedding: nn.EmbeddingLayer;
  readonly dropout: nn.Layer;
  readonly encoder: nn.TransformerEncoderModule;
  readonly layers: readonly DecoderLayer[];
  readonly norm: nn.LayerNormLayer;
  readonly output: nn.LinearLayer;
  readonly #most: number;
  readonly #features: number;

  constructor({ source, target, most, features = 96, heads = 4, layers = 2, dropout = 0.1 }: TransformerOptions) {
    super();
    this.#most = most;
    this.#features = features;
    this.sourceEmbedding = nn.Embedding(source, features, { paddingIndex: 0 });
    this.targetEmbedding = nn.Embedding(target, features, { paddingIndex: 0 });
    this.dropout = nn.Dropout(dropout);
    const layer = { feedForward: 4 * features, dropout, batchFirst: true, normFirst: true };
    this.encoder = nn.TransformerEncoder(
      () => nn.TransformerEncoderLayer(features, heads, layer),
      layers,
      nn.LayerNorm(features),
    );
    this.layers = Array.from({ length: layers }, () => new DecoderLayer(features, heads, dropout));
    this.norm = nn.LayerNorm(features);
    this.output = nn.Linear(features, target);
  }

  /** Embeddings [batch, places, features], which say what stands there and where that is. */
  private placed(ctx: nn.Context, embedded: Value): Value {
    const places = waves(this.#most, this.#features).narrow(0, 0, embedded.type.shape[1]!);
    return this.dropout(ctx, embedded.add(places));
  }

  private encode(ctx: nn.Context, source: Value): Memory {
    const padding = source.eq(0);
    const x = this.placed(ctx, this.sourceEmbedding(ctx, source));
    return { states: this.encoder(ctx, x, { keyPaddingMask: padding }), padding };
  }

  private decode(ctx: nn.Context, target: Value, memory: Memory) {
    const start = { x: this.placed(ctx, this.targetEmbedding(ctx, target)), attention: memory.padding };
    const { x, attention } = this.layers.reduce((before, layer) => layer(ctx, before.x, memory), start);
    return { logits: this.output(ctx, this.norm(ctx, x)), attention };
  }

  forward(ctx: nn.Context, source: Value, target: Value) {
    return this.decode(ctx, target, this.encode(ctx, source));
  }

  /** Remembers the text so far, and reads all of it for each token. */
  decoder(ctx: nn.Context, source: Value, beams?: number): Decoder {
    const memory = this.encode(ctx, source);
    const each = (x: Value) => (beams === undefined ? x : x.expand(beams, ...x.type.shape.slice(1)));
    const all = { states: each(memory.states), padding: each(memory.padding) };
    return {
      start: [F.zeros([all.states.type.shape[0]!, this.#most], "i64")],
      next: (token, t, [before]) => {
        const text = F.where(F.arange(this.#most).eq(t), token.unsqueeze(1), before!);
        return { logits: this.decode(ctx, text, all).logits.indexSelect(1, t), state: [text] };
      },
    };
  }
}
