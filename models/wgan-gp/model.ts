/**
 * Generator and critic of points in the plane, and the penalty that keeps the critic's slope near 1.
 * Gulrajani et al., "Improved Training of Wasserstein GANs", 2017.
 */

import { F, grad, nn, type Value } from "wasmith";

/** Noise z [batch, 2] → points [batch, 2]. */
export const generator = (hidden = 64) => dense([2, hidden, hidden, hidden, 2]);

/** Points [batch, 2] → how far on the side of the real ones they are: [batch, 1]. */
export const critic = (hidden = 64) => dense([2, hidden, hidden, hidden, 1]);

/** Linear layers of these sizes with ReLUs between them. */
function dense(sizes: readonly number[]): nn.Layer {
  const layers = sizes.slice(1).flatMap((size, i) => [nn.ReLU(), nn.Linear(sizes[i]!, size)]);
  return nn.sequential(...layers.slice(1));
}

/**
 * How far the critic's slope is from 1 at random places between real and generated points. The slope is a gradient, and the loss that it is
 * part of is differentiated once more.
 */
export function gradientPenalty(ctx: nn.Context, critic: nn.Layer, real: Value, fake: Value): Value {
  const share = F.rand(ctx, [real.type.shape[0]!, 1]);
  const between = F.lerp(real, fake, share);
  const slope = grad(critic(ctx, between).sum(), between).norm(2, 1);
  return slope.sub(1).square().mean();
}
