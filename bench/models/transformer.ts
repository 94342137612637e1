/** Parts of the transformers: attention with a projection each for queries, keys and values, and the feed-forward part. */

import { F, nn, type Value } from "wasmith";

/** x [batch, steps, features] → [batch, heads, steps, features / heads] */
export function splitHeads(x: Value, heads: number): Value {
  const [batch, steps] = x.type.shape;
  return F.permute(F.reshape(x, [batch!, steps!, heads, -1]), 0, 2, 1, 3);
}

/** The inverse of splitHeads. */
export function joinHeads(x: Value): Value {
  const [batch, , steps] = x.type.shape;
  return F.reshape(F.permute(x, 0, 2, 1, 3), [batch!, steps!, -1]);
}

/** x [batch, steps, features], mask that broadcasts to [batch, heads, steps, steps] and is added to the scores → as x */
export class SelfAttention extends nn.Module<readonly [x: Value, mask?: Value]> {
  readonly query: nn.LinearLayer;
  readonly key: nn.LinearLayer;
  readonly value: nn.LinearLayer;
  readonly output: nn.LinearLayer;
  readonly #heads: number;

  constructor(features: number, heads: number) {
    super();
    this.#heads = heads;
    this.query = nn.Linear(features, features);
    this.key = nn.Linear(features, features);
    this.value = nn.Linear(features, features);
    this.output = nn.Linear(features, features);
  }

  forward(ctx: nn.Context, x: Value, mask?: Value): Value {
    const split = (layer: nn.LinearLayer) => splitHeads(layer(ctx, x), this.#heads);
    const mixed = F.attention(split(this.query), split(this.key), split(this.value), mask ? { mask } : {});
    return this.output(ctx, joinHeads(mixed));
  }
}

export const feedForward = (features: number, wide: number): nn.Layer =>
  nn.sequential({ up: nn.Linear(features, wide), act: nn.GELU(), down: nn.Linear(wide, features) });
