/**
 * A perceptron, and what makes it cheaper: weights left out, weights of few bits, a small one that learns from it.
 * Han, Mao and Dally, "Deep Compression", 2016; Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
 * Inference", 2018; Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
 */

import { F, nn, type Value } from "wasmith";

/** Pictures x [batch, …] → logits [batch, classes], by linear layers of these sizes with ReLUs between them. */
export class Perceptron extends nn.Module {
  readonly layers: readonly nn.LinearLayer[];

  constructor(sizes: readonly number[]) {
    super();
    this.layers = sizes.slice(1).map((to, i) => nn.Linear(sizes[i]!, to));
  }

  /** What a layer computes with: its weights, or what a subclass makes of them. */
  protected weightOf(ctx: nn.Context, layer: number): Value {
    return ctx.value(this.layers[layer]!.weight);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.layers.reduce(
      (h, { bias }, layer) => {
        const y = F.linear(h, this.weightOf(ctx, layer), bias && ctx.value(bias));
        return layer + 1 < this.layers.length ? F.relu(y) : y;
      },
      F.flatten(x, 1),
    );
  }
}

/** Leaves out the smallest weights of each layer, for good: the others go on learning. */
export class Pruned extends Perceptron {
  readonly masks: readonly nn.Variable[];

  constructor(sizes: readonly number[]) {
    super(sizes);
    this.masks = this.layers.map(({ weight }) => nn.buffer(weight.shape, nn.init.ones));
  }

  protected override weightOf(ctx: nn.Context, layer: number): Value {
    return super.weightOf(ctx, layer).mul(ctx.value(this.masks[layer]!));
  }

  /** Masks that leave out the smallest. @param share of the weights that goes */
  smallest(ctx: nn.Context, share: number): readonly Value[] {
    return this.layers.map(({ weight }) => {
      const size = F.abs(ctx.value(weight));
      const count = weight.shape.reduce((a, b) => a * b, 1);
      const [limit] = F.kthvalue(size.flatten(), Math.round(share * count));
      return size.gt(limit).cast("f32");
    });
  }
}

/** Weights [out, in] as whole numbers of `bits` bits, and a scale [out, 1]: levels · scale is near the weight. */
export function rounded(weight: Value, bits: number): { levels: Value; scale: Value } {
  const most = 2 ** (bits - 1) - 1;
  const size = F.abs(weight);
  // The largest weight gets the largest level. With three levels, that would leave nothing of most others: there the mean gets it, as in Ma et
  // al., "The Era of 1-bit LLMs", 2024.
  const scale = F.maximum(bits > 2 ? size.amax(1, true).div(most) : size.mean(1, true), 1e-8);
  return { levels: F.clamp(F.round(weight.div(scale)), -most, most), scale };
}

/** Computes with weights as they will be rounded, and learns the weights behind them: the gradient goes past the rounding. */
export class Rounding extends Perceptron {
  readonly bits: number;

  constructor(sizes: readonly number[], bits: number) {
    super(sizes);
    this.bits = bits;
  }

  protected override weightOf(ctx: nn.Context, layer: number): Value {
    const weight = super.weightOf(ctx, layer);
    const { levels, scale } = rounded(weight, this.bits);
    return weight.add(levels.mul(scale).sub(weight).detach());
  }
}

/** A linear layer whose weights stay whole numbers, in the file and in memory: products widen them in registers. */
class StoredLinear extends nn.Module {
  readonly levels: nn.Variable;
  readonly scale: nn.Variable;
  readonly bias: nn.Variable;
  readonly bits: number;

  constructor(from: number, to: number, bits: number) {
    super();
    this.bits = bits;
    // Bytes hold several levels where these have few bits.
    this.levels = nn.buffer([to, (from * bits) / 8], nn.init.zeros, bits < 8 ? "u8" : "i8");
    this.scale = nn.buffer([to, 1], nn.init.ones);
    this.bias = nn.buffer([to], nn.init.zeros);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const { bits } = this;
    const options = bits < 8 ? { bits, zero: F.constant(2 ** (bits - 1), "u8") } : {};
    const weight = F.dequantize(ctx.value(this.levels), ctx.value(this.scale), options);
    return F.linear(x, weight, ctx.value(this.bias));
  }
}

/** The perceptron of stored layers. */
export const stored = (sizes: readonly number[], bits: number) =>
  nn.sequential(
    nn.Flatten(),
    ...sizes.slice(1).flatMap((to, i) => [...(i > 0 ? [nn.ReLU()] : []), new StoredLinear(sizes[i]!, to, bits)]),
  );

/** How far the student's probabilities are from the teacher's, softened so that what is improbable counts as well. */
export function distillation(student: Value, teacher: Value, temperature: number): Value {
  const probabilities = F.softmax(teacher.div(temperature), -1).detach();
  return F.crossEntropy(student.div(temperature), probabilities).mul(temperature ** 2);
}
