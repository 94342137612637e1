/**
 * A perceptron with one hidden layer, its gradients by hand, and deep perceptrons to see what becomes of signals.
 * Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", 1986.
 */

import { F, nn, type Value } from "wasmith";

export class Perceptron extends nn.Module {
  readonly hidden: nn.LinearLayer;
  readonly output: nn.LinearLayer;

  constructor({ pixels = 784, hidden = 100, classes = 10 } = {}) {
    super();
    this.hidden = nn.Linear(pixels, hidden);
    this.output = nn.Linear(hidden, classes);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.output(ctx, F.relu(this.hidden(ctx, x)));
  }

  /**
   * Gradients of the mean cross-entropy, in the order of the parameters: W₁, b₁, W₂, b₂. The forward pass is
   *
   *     s = x·W₁ᵀ + b₁    h = max(s, 0)    z = h·W₂ᵀ + b₂    p = softmax(z)    loss = −mean log p[y]
   *
   * and the chain rule goes back through it line by line.
   *
   * @param labels [batch, classes], 1 at the class
   */
  gradients(ctx: nn.Context, x: Value, labels: Value): readonly [W1: Value, b1: Value, W2: Value, b2: Value] {
    const s = this.hidden(ctx, x);
    const h = F.relu(s);
    const p = F.softmax(this.output(ctx, h));
    const dz = p.sub(labels).div(F.size(x, 0).cast("f32"));
    const dh = dz.matmul(ctx.value(this.output.weight));
    const ds = F.where(s.gt(0), dh, 0);
    return [ds.transpose().matmul(x), ds.sum(0), dz.transpose().matmul(h), dz.sum(0)];
  }
}

const activations = { tanh: F.tanh, sigmoid: F.sigmoid, relu: F.relu };

export interface DeepOptions {
  readonly activation: keyof typeof activations;
  readonly init: nn.init.Initializer;
  readonly depth?: number;
  readonly width?: number;
}

/** Many layers of the same width: gives the scores, and what each layer hands on. */
export class Deep extends nn.Module<readonly [x: Value], { logits: Value; signals: readonly Value[] }> {
  readonly layers: readonly nn.LinearLayer[];
  readonly output: nn.LinearLayer;
  readonly #activation: (x: Value) => Value;

  constructor({ activation, init, depth = 8, width = 64 }: DeepOptions) {
    super();
    const options = { weightInit: init, biasInit: nn.init.zeros };
    this.layers = Array.from({ length: depth }, (_, i) => nn.Linear(i === 0 ? 784 : width, width, options));
    this.output = nn.Linear(width, 10, options);
    this.#activation = activations[activation];
  }

  forward(ctx: nn.Context, x: Value) {
    const signals: Value[] = [];
    let h = x;
    for (const layer of this.layers) {
      h = this.#activation(layer(ctx, h));
      signals.push(h);
    }
    return { logits: this.output(ctx, h), signals };
  }
}
