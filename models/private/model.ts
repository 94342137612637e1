/**
 * A classifier of digits that learns with differential privacy: x [batch, 784] → logits [batch, 10].
 * Abadi et al., "Deep learning with differential privacy", 2016. What is seen of a picture is fixed, since each weight that is learnt takes
 * noise: Tramèr and Boneh, "Differentially private learning needs better features (or much more data)", 2021.
 */

import { F, nn, perSample, type Value } from "wasmith";

/** Slopes in eight directions: filters [8, 1, 3, 3]. */
const slopes = Array.from({ length: 8 }, (_, k) => {
  const [dx, dy] = [Math.cos((k * Math.PI) / 4), Math.sin((k * Math.PI) / 4)];
  return [[-1, 0, 1].map((y) => [-1, 0, 1].map((x) => dx * x + dy * y))];
});

export class Classifier extends nn.Module {
  readonly layer = nn.Linear(8 * 7 * 7, 10);

  /** How strong edges are in each direction and each square of 4×4 pixels, as a vector of length 1. */
  features(x: Value): Value {
    const edges = F.relu(F.conv2d(x.reshape(x.shape[0]!, 1, 28, 28), F.constant(slopes), undefined, { padding: 1 }));
    const seen = F.avgPool2d(edges, 4).flatten(1);
    return seen.div(seen.norm(2, 1, true).add(1e-6));
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.layer(ctx, this.features(x));
  }
}

export interface PrivateOptions {
  /** The norm to which the gradient of a sample is clipped. */
  readonly clip: number;
  /** Standard deviation of the noise, in units of `clip`. */
  readonly noiseMultiplier: number;
  /** Samples of a batch, on average: how many there are tells something of the data. */
  readonly expectedBatch: number;
}

/** Gradients of the mean loss of which no sample has a part longer than `clip`, and none can be told in the noise. */
export function privateGradients(
  ctx: nn.Context,
  loss: (x: Value, y: Value) => Value,
  [x, y]: readonly [Value, Value],
  weights: readonly Value[],
  { clip, noiseMultiplier, expectedBatch }: PrivateOptions,
): readonly Value[] {
  const each = perSample(loss, [x, y], weights);
  const norms = F.stack(each.map((g) => g.flatten(1).norm(2, 1))).norm(2, 0);
  const scale = F.div(clip, norms.add(1e-6)).clamp(undefined, 1);
  return each.map((g) => {
    const sum = F.einsum("n,n...->...", scale, g);
    return sum.add(F.randnLike(ctx, sum).mul(clip * noiseMultiplier)).div(expectedBatch);
  });
}
