/** BERT encoders: https://arxiv.org/abs/1810.04805, with the additive mask that exports have. */

import { F, nn, type Value } from "wasmith";
import { feedForward, SelfAttention } from "./transformer.js";

export interface BertOptions {
  readonly vocabulary: number;
  readonly features: number;
  readonly layers: number;
  readonly heads: number;
  /** Longest sequence. */
  readonly context?: number;
}

class Layer extends nn.Module<readonly [x: Value, mask: Value]> {
  readonly attention: SelfAttention;
  readonly norm1: nn.Layer;
  readonly wide: nn.Layer;
  readonly norm2: nn.Layer;

  constructor({ features, heads }: BertOptions) {
    super();
    this.attention = new SelfAttention(features, heads);
    this.norm1 = nn.LayerNorm(features, { epsilon: 1e-12 });
    this.wide = feedForward(features, 4 * features);
    this.norm2 = nn.LayerNorm(features, { epsilon: 1e-12 });
  }

  forward(ctx: nn.Context, x: Value, mask: Value): Value {
    const mixed = this.norm1(ctx, x.add(this.attention(ctx, x, mask)));
    return this.norm2(ctx, mixed.add(this.wide(ctx, mixed)));
  }
}

/** Token ids and a mask (1 where a token counts), both i64 [batch, steps] → hidden states [batch, steps, features] */
export class Bert extends nn.Module<readonly [ids: Value, mask: Value]> {
  readonly words: nn.EmbeddingLayer;
  readonly positions: nn.EmbeddingLayer;
  readonly types: nn.EmbeddingLayer;
  readonly norm: nn.Layer;
  readonly layers: readonly Layer[];

  constructor(options: BertOptions) {
    super();
    const weightInit = nn.init.normal(0, 0.02);
    this.words = nn.Embedding(options.vocabulary, options.features, { weightInit });
    this.positions = nn.Embedding(options.context ?? 512, options.features, { weightInit });
    this.types = nn.Embedding(2, options.features, { weightInit });
    this.norm = nn.LayerNorm(options.features, { epsilon: 1e-12 });
    this.layers = Array.from({ length: options.layers }, () => new Layer(options));
  }

  forward(ctx: nn.Context, ids: Value, mask: Value): Value {
    const [batch, steps] = ids.type.shape;
    const places = F.narrow(ctx.value(this.positions.weight), 0, 0, steps!);
    const kind = F.narrow(ctx.value(this.types.weight), 0, 0, 1);
    const start = this.norm(ctx, this.words(ctx, ids).add(kind).add(places));
    const hidden = F.reshape(F.cast(mask, "f32").rsub(1).mul(-10_000), [batch!, 1, 1, steps!]);
    return this.layers.reduce((v, layer) => layer(ctx, v, hidden), start);
  }
}
