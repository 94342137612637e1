/**
 * A small network whose weights are a good place to begin from: some steps of gradient descent on few examples make it fit a new task.
 * Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", 2017.
 */

import { F, grad, nn, type Value } from "wasmith";

/** Weights of all layers, [tasks, in, out] and [tasks, 1, out]: those of each task, or one set for all (tasks = 1). */
export type Weights = readonly Value[];

/** x [tasks, shots, 1] → y of the same shape. */
export class Regressor extends nn.Module {
  readonly parts: readonly nn.Variable[];

  constructor({ hidden = 40 } = {}) {
    super();
    const sizes = [1, hidden, hidden, 1];
    this.parts = sizes.slice(1).flatMap((out, i) => {
      const from = sizes[i]!;
      return [
        nn.parameter([1, from, out], nn.init.normal(0, Math.sqrt(2 / from))),
        nn.parameter([1, 1, out], nn.init.zeros),
      ];
    });
  }

  /** What is learnt over all tasks. */
  weights(ctx: nn.Context): Weights {
    return this.parts.map((part) => ctx.value(part));
  }

  /** The network with other weights than its own. */
  with(weights: Weights, x: Value): Value {
    let h = x;
    for (let i = 0; i < weights.length; i += 2) {
      h = h.matmul(weights[i]!).add(weights[i + 1]!);
      if (i + 2 < weights.length) h = F.relu(h);
    }
    return h;
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.with(this.weights(ctx), x);
  }

  /**
   * Weights after some steps down the gradient of each task's own error. The steps are part of the graph, so that a loss behind them has
   * gradients by the weights that they began from: gradients of gradients.
   */
  adapted(ctx: nn.Context, x: Value, y: Value, { steps = 1, rate = 0.01 } = {}): Weights {
    let weights: Weights = this.weights(ctx).map((w) => w.expand(x.type.shape[0]!, -1, -1));
    for (let i = 0; i < steps; i++) {
      const errors = F.mseLoss(this.with(weights, x), y, { reduction: "none" });
      // Each task's weights are in its own error only.
      const slopes = grad(errors.mean([1, 2]).sum(), weights);
      weights = weights.map((w, j) => w.sub(slopes[j]!.mul(rate)));
    }
    return weights;
  }
}
