/**
 * Transfer: what a network of somebody else's has learnt, with a new head: x [batch, 1, 28, 28] of values from 0 to 1 → logits
 * [batch, classes].
 * Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?", 2014.
 */

import { importOnnx, nn, type Value } from "wasmith";

/** The layers of a file that knows handwritten digits, without its head: x [batch, 1, 28, 28] from 0 to 255 → maps [batch, 16, 4, 4]. */
export const importedTrunk = (file: Uint8Array, { frozen }: { frozen: boolean }): nn.Layer =>
  nn.fromGraph(
    importOnnx(file, {
      outputs: ["Pooling160_Output_0"],
      // The file takes one picture.
      shapes: { Input3: ["batch", 1, 28, 28] },
    }),
    { frozen },
  );

/** The same layers, which know nothing yet. */
export const freshTrunk = (): nn.Layer =>
  nn.sequential(
    nn.Conv2d(1, 8, 5, { padding: 2 }),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 5, { padding: 2 }),
    nn.ReLU(),
    nn.MaxPool2d(3),
  );

export class Transfer extends nn.Module {
  readonly trunk: nn.Layer;
  readonly norm = nn.LayerNorm(256);
  readonly head: nn.Layer;
  readonly white: number;

  /** @param white what the trunk takes for white */
  constructor(trunk: nn.Layer, { white = 1, classes = 10 } = {}) {
    super();
    this.trunk = trunk;
    this.head = nn.Linear(256, classes);
    this.white = white;
  }

  forward(ctx: nn.Context, x: Value): Value {
    const features = this.trunk(ctx, x.mul(this.white)).flatten(1);
    return this.head(ctx, this.norm(ctx, features));
  }
}
