/** Layers that make noise while training; otherwise they give x as it is. */

import { np, rankOf } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { seluConstants } from "../../../ir/ops/activation.js";
import { constantLike, full } from "../../../ir/ops/constant.js";
import { dropout } from "../../../ir/ops/dropout.js";
import { further, positional, share } from "../../schema.js";
import type { Context } from "../context.js";
import { Module } from "../module.js";

/** Drops elements while training; scales the others so that the mean stays. Otherwise x as it is. */
export class DropoutLayer extends Module {
  readonly probability: number;
  readonly #rank: number | undefined;

  /** @param rank of x, where whole channels are dropped */
  constructor(probability: number, rank?: number) {
    super();
    this.probability = probability;
    this.#rank = rank;
  }

  forward(ctx: Context, x: Value): Value {
    const { probability } = this;
    const channels = this.#rank !== undefined;
    if (channels && this.#rank !== 0 && rankOf(x) !== this.#rank)
      throw new ModelError(`expected rank ${this.#rank}, but got ${typeText(x.type)}`);
    if (!ctx.training || probability === 0) return x;
    const [key, counter] = ctx.random();
    const sharedAxes = channels ? x.type.shape.map((_, a) => a).slice(2) : [];
    return dropout([x, key, counter], { probability, sharedAxes });
  }
}

const probability = (value: number) => further("probability", share, `Of dropping. Default: ${value}`);
const dropsOf = (name: string, summary: string, rank?: number) =>
  positional(`nn.${name}`, summary, [probability(0.5)], (p?: number) => new DropoutLayer(p ?? 0.5, rank));

export const Dropout = dropsOf(
  "Dropout",
  "Drops elements while training, and scales the others so that the mean stays",
);
export const ChannelDropout = dropsOf("ChannelDropout", "Drops whole channels of [N, C, …] while training", 0);
export const Dropout1d = dropsOf("Dropout1d", "Drops whole channels of [N, C, L] while training", 3);
export const Dropout2d = dropsOf("Dropout2d", "Drops whole channels of [N, C, H, W] while training", 4);
export const Dropout3d = dropsOf("Dropout3d", "Drops whole channels of [N, C, D, H, W] while training", 5);

/** Dropped elements become SELU's lower limit; the result is scaled and moved so that mean and variance stay. */
export class AlphaDropoutLayer extends Module {
  readonly probability: number;
  readonly #channels: boolean;

  constructor(probability: number, channels: boolean) {
    super();
    this.probability = probability;
    this.#channels = channels;
  }

  forward(ctx: Context, x: Value): Value {
    const p = this.probability;
    if (!ctx.training || p === 0) return x;
    if (p === 1) return constantLike(x, 0);
    const [key, counter] = ctx.random();
    const sharedAxes = this.#channels ? x.type.shape.map((_, a) => a).slice(2) : [];
    // 1 where x is kept, else 0.
    const ones = full(x.type.dtype, x.type.shape, 1 - p);
    const kept = dropout([ones, key, counter], { probability: p, sharedAxes });
    const low = -seluConstants.alpha * seluConstants.gamma;
    const scale = 1 / Math.sqrt((1 - p) * (1 + p * low ** 2));
    const mixed = np.add(np.mul(x, kept), np.mul(np.sub(1, kept), low));
    return np.add(np.mul(mixed, scale), -scale * low * p);
  }
}
export const AlphaDropout = positional(
  "nn.AlphaDropout",
  "Dropout that keeps mean and variance behind SELU",
  [probability(0.5)],
  (p?: number) => new AlphaDropoutLayer(p ?? 0.5, false),
);
export const FeatureAlphaDropout = positional(
  "nn.FeatureAlphaDropout",
  "As AlphaDropout, of whole channels of [N, C, …]",
  [probability(0.5)],
  (p?: number) => new AlphaDropoutLayer(p ?? 0.5, true),
);
