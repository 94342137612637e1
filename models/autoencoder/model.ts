/**
 * An autoencoder: pictures x [batch, 784] of values in [0, 1] pass through a bottleneck of few numbers, the code [batch, code].
 * Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", 2006.
 */

import { F, nn, type Value } from "wasmith";

export class Autoencoder extends nn.Module {
  readonly encoder: nn.Layer;
  readonly decoder: nn.Layer;

  constructor({ pixels = 784, hidden = [256, 64], code = 2 } = {}) {
    super();
    this.encoder = dense([pixels, ...hidden, code]);
    this.decoder = dense([code, ...hidden.toReversed(), pixels]);
  }

  /** Pictures of codes. */
  decode(ctx: nn.Context, code: Value): Value {
    return F.sigmoid(this.decoder(ctx, code));
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.decode(ctx, this.encoder(ctx, x));
  }
}

/** Linear layers of these sizes with ReLUs between them. */
function dense(sizes: readonly number[]): nn.Layer {
  const layers = sizes.slice(1).flatMap((size, i) => [nn.ReLU(), nn.Linear(sizes[i]!, size)]);
  return nn.sequential(...layers.slice(1));
}
