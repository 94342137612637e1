/**
 * A classifier whose features do not tell from which domain a picture is: the gradient of a critic that tries to tell is reversed.
 * Ganin et al., "Domain-adversarial training of neural networks", 2016.
 */

import { F, nn, type Value } from "wasmith";

/** Pictures [batch, 1, 28, 28] → logits of the classes [batch, 10] and of the first domain [batch]. */
export class DomainAdversarial extends nn.Module<
  readonly [x: Value, strength: Value],
  { classes: Value; domain: Value }
> {
  readonly features = nn.sequential(
    nn.Conv2d(1, 16, 5, { stride: 2 }),
    nn.InstanceNorm2d(16, { affine: true }),
    nn.ReLU(),
    nn.Conv2d(16, 32, 5, { stride: 2 }),
    nn.GroupNorm(4, 32),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32 * 4 * 4, 64),
    nn.LayerNorm(64),
    nn.ReLU(),
  );
  readonly classifier = nn.Linear(64, 10);
  readonly critic = nn.sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1));

  /** @param strength how much the features work against the critic; the critic learns all the same */
  forward(ctx: nn.Context, x: Value, strength: Value) {
    const h = this.features(ctx, x);
    return {
      classes: this.classifier(ctx, h),
      domain: this.critic(ctx, F.reverseGradient(h, strength)).squeeze(1),
    };
  }

  /** Classes alone. */
  classes(ctx: nn.Context, x: Value): Value {
    return this.classifier(ctx, this.features(ctx, x));
  }
}
