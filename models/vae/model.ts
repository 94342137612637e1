/**
 * A variational autoencoder: pictures x [batch, 784] of values in [0, 1], a code z [batch, latent] of what distinguishes them.
 * Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.
 */

import { F, nn, type Value } from "wasmith";

export class Vae extends nn.Module<readonly [x: Value], { logits: Value; mean: Value; logVariance: Value }> {
  readonly body: nn.Layer;
  readonly mean: nn.LinearLayer;
  readonly logVariance: nn.LinearLayer;
  readonly decoder: nn.Layer;

  constructor({ pixels = 784, hidden = 400, latent = 20 } = {}) {
    super();
    this.body = nn.sequential(nn.Linear(pixels, hidden), nn.ReLU());
    this.mean = nn.Linear(hidden, latent);
    this.logVariance = nn.Linear(hidden, latent);
    this.decoder = nn.sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels));
  }

  /** The distribution of codes that x may come from. */
  encode(ctx: nn.Context, x: Value): { mean: Value; logVariance: Value } {
    const h = this.body(ctx, x);
    return { mean: this.mean(ctx, h), logVariance: this.logVariance(ctx, h) };
  }

  /** A code is drawn so that gradients reach the distribution: mean + deviation · noise. */
  forward(ctx: nn.Context, x: Value) {
    const { mean, logVariance } = this.encode(ctx, x);
    const noise = F.randn(ctx, mean.type.shape);
    const z = mean.add(F.exp(logVariance.mul(0.5)).mul(noise));
    return { logits: this.decoder(ctx, z), mean, logVariance };
  }
}

/** Bits lost in nats a picture: what the decoder does not know of x, and what the code says that the prior does not. */
export function freeEnergy(
  x: Value,
  { logits, mean, logVariance }: { logits: Value; mean: Value; logVariance: Value },
) {
  const missed = F.binaryCrossEntropyWithLogits(logits, x, { reduction: "none" }).sum([1]);
  const code = F.exp(logVariance).add(mean.mul(mean)).sub(logVariance).sub(1).sum([1]).mul(0.5);
  return missed.add(code).mean();
}
