/**
 * A generative Transformer: tokens [batch, steps] → logits of the next one at each step. Beside the whole sequence at once, as in training, it
 * can go on from where it stands: keys and values of earlier steps stay in the caches of its blocks.
 * Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018.
 */

import { type Dim, F, nn, type Value } from "wasmith";

/** Where new steps begin, and which steps each of them sees [steps, context]. */
export interface Place {
  readonly start: Dim;
  readonly seen: Value;
}

class Block extends nn.Module<readonly [x: Value, place?: Place]> {
  readonly norm1: nn.LayerNormLayer;
  readonly qkv: nn.LinearLayer;
  readonly projection: nn.LinearLayer;
  readonly feedForward: nn.Layer;
  readonly keys: nn.Variable;
  readonly values: nn.Variable;
  readonly #heads: number;

  constructor(features: number, heads: number, context: number) {
    super();
    this.#heads = heads;
    this.norm1 = nn.LayerNorm(features);
    this.qkv = nn.Linear(features, 3 * features);
    this.projection = nn.Linear(features, features);
    this.feedForward = nn.Residual(
      nn.sequential(
        nn.LayerNorm(features),
        nn.Linear(features, 4 * features),
        nn.GELU(),
        nn.Linear(4 * features, features),
      ),
    );
    const cache = [1, heads, context, features / heads];
    this.keys = nn.buffer(cache, nn.init.zeros);
    this.values = nn.buffer(cache, nn.init.zeros);
  }

  forward(ctx: nn.Context, x: Value, place?: Place): Value {
    const [batch, steps, features] = x.type.shape;
    const [q, k, v] = F.chunk(this.qkv(ctx, this.norm1(ctx, x)), 3, -1).map((part) =>
      part.reshape(batch!, steps!, this.#heads, -1).transpose(1, 2),
    ) as [Value, Value, Value];
    const mixed = place
      ? F.attention(q, this.remembered(ctx, this.keys, k, place), this.remembered(ctx, this.values, v, place), {
          mask: place.seen,
        })
      : F.attention(q, k, v, { causal: true });
    const joined = mixed.transpose(1, 2).reshape(batch!, steps!, features!);
    return this.feedForward(ctx, x.add(this.projection(ctx, joined)));
  }

  /** The cache with new rows in their place. Nothing else of it is written. */
  private remembered(ctx: nn.Context, cache: nn.Variable, rows: Value, { start }: Place): Value {
    const next = F.sliceScatter(ctx.value(cache), rows, 2, start);
    ctx.update(cache, next);
    return next;
  }
}

export interface GptOptions {
  readonly vocabulary: number;
  /** Most steps. */
  readonly context: number;
  readonly features?: number;
  readonly heads?: number;
  readonly layers?: number;
}

export class Gpt extends nn.Module<readonly [tokens: Value]> {
  readonly tokens: nn.EmbeddingLayer;
  readonly positions: nn.Variable;
  readonly blocks: readonly Block[];
  readonly norm: nn.LayerNormLayer;
  readonly head: nn.LinearLayer;
  /** How many rows of the caches are written. */
  readonly written: nn.Variable;
  readonly #context: number;

  constructor({ vocabulary, context, features = 64, heads = 4, layers = 3 }: GptOptions) {
    super();
    this.#context = context;
    this.tokens = nn.Embedding(vocabulary, features, { weightInit: nn.init.normal(0, 0.02) });
    this.positions = nn.parameter([context, features], nn.init.normal(0, 0.02));
    this.blocks = Array.from({ length: layers }, () => new Block(features, heads, context));
    this.norm = nn.LayerNorm(features);
    this.head = nn.Linear(features, vocabulary);
    this.written = nn.buffer([], nn.init.zeros, "i64");
  }

  forward(ctx: nn.Context, tokens: Value): Value {
    return this.logits(ctx, tokens, 0);
  }

  private logits(ctx: nn.Context, tokens: Value, start: Dim, place?: Place): Value {
    const positions = ctx.value(this.positions).narrow(0, start, tokens.type.shape[1]!);
    const x = this.tokens(ctx, tokens).add(positions);
    return this.head(
      ctx,
      this.norm(
        ctx,
        this.blocks.reduce((h, block) => block(ctx, h, place), x),
      ),
    );
  }

  /** Logits behind the last of the tokens [1, steps], which begin a text, or go on with the one that the caches hold. */
  next(ctx: nn.Context, tokens: Value, { fresh }: { fresh: boolean }): Value {
    const steps = tokens.type.shape[1]!;
    const before = fresh ? F.zeros([], "i64") : ctx.value(this.written);
    ctx.update(this.written, before.add(F.size(tokens, 1)));
    const start = fresh ? 0 : F.toSize(ctx, before, this.#context);
    const seen = F.arange(this.#context).unsqueeze(0).le(F.arange(steps).unsqueeze(1).add(before));
    return this.logits(ctx, tokens, start, { start, seen }).select(1, -1);
  }
}

/**
 * A token drawn by logits [batch, vocabulary], after division by the temperature, among the most probable ones that together reach the
 * probability topP: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020.
 */
export function sample(ctx: nn.Context, logits: Value, temperature: Value, topP: Value): Value {
  const [sorted, order] = F.sort(logits.div(temperature), -1, { descending: true });
  const before = F.cumSum(F.softmax(sorted), -1, { exclusive: true });
  const drawn = F.categorical(ctx, sorted.maskedFill(before.ge(topP), Number.NEGATIVE_INFINITY));
  return order.gather(-1, drawn.unsqueeze(-1)).squeeze(-1);
}
