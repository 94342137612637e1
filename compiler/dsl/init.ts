/** Initialisers of weights, by PyTorch's definitions (torch.nn.init). Fans follow its convention: axis 0 is out, axis 1 is in. */

import { ModelError } from "../../ir/errors.js";
import { elementCount } from "../../ir/tensor.js";
import type { Random } from "./random.js";

/** Values of a new tensor in row-major order. What `random.array` gave becomes the tensor's data without being copied. */
export type Initializer = (shape: readonly number[], random: Random) => ArrayLike<number>;

export interface Fans {
  readonly fanIn: number;
  readonly fanOut: number;
}

/** Connections into and out of a unit: [out, in, …kernel]. */
export function fansOf(shape: readonly number[]): Fans {
  const [out, input, ...kernel] = shape;
  if (out === undefined || input === undefined) {
    throw new ModelError(`fans need a tensor of at least two axes, not [${shape}]`);
  }
  const field = elementCount(kernel);
  return { fanIn: input * field, fanOut: out * field };
}

export type Nonlinearity = "linear" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

/** Recommended gain of a nonlinearity; `slope` is leakyRelu's. */
export function gainOf(nonlinearity: Nonlinearity, slope = 0.01): number {
  switch (nonlinearity) {
    case "linear":
    case "sigmoid":
      return 1;
    case "tanh":
      return 5 / 3;
    case "relu":
      return Math.SQRT2;
    case "leakyRelu":
      return Math.sqrt(2 / (1 + slope ** 2));
    case "selu":
      return 0.75;
  }
}

export const constant =
  (value: number): Initializer =>
  (shape, random) =>
    random.array(elementCount(shape)).fill(value);
export const zeros: Initializer = constant(0);
export const ones: Initializer = constant(1);

/** Uniform in [low, high). */
export const uniform =
  (low = 0, high = 1): Initializer =>
  (shape, random) => {
    const values = random.array(elementCount(shape));
    random.fillUniform(values, low, high);
    return values;
  };

export const normal =
  (mean = 0, deviation = 1): Initializer =>
  (shape, random) => {
    const values = random.array(elementCount(shape));
    random.fillNormal(values, mean, deviation);
    return values;
  };

/** Normal, redrawn outside [low, high]. */
export const truncatedNormal =
  (mean = 0, deviation = 1, low = -2, high = 2): Initializer =>
  (shape, random) => {
    const values = random.array(elementCount(shape));
    const drawn = new Float64Array(Math.min(values.length, 4096));
    let kept = 0;
    while (kept < values.length) {
      // Never more than are needed, so that nothing drawn is lost.
      const some = drawn.subarray(0, values.length - kept);
      random.fillNormal(some, mean, deviation);
      for (const v of some) if (v >= low && v <= high) values[kept++] = v;
    }
    return values;
  };

export interface KaimingOptions {
  readonly mode?: "fanIn" | "fanOut";
  readonly nonlinearity?: Nonlinearity;
  /** Slope of leakyRelu. */
  readonly slope?: number;
}

function kaimingDeviation(shape: readonly number[], options: KaimingOptions): number {
  const fan = fansOf(shape)[options.mode ?? "fanIn"];
  return gainOf(options.nonlinearity ?? "leakyRelu", options.slope ?? 0) / Math.sqrt(fan);
}

/** https://arxiv.org/abs/1502.01852 */
export const kaimingUniform =
  (options: KaimingOptions = {}): Initializer =>
  (shape, random) => {
    const bound = Math.sqrt(3) * kaimingDeviation(shape, options);
    return uniform(-bound, bound)(shape, random);
  };
export const kaimingNormal =
  (options: KaimingOptions = {}): Initializer =>
  (shape, random) =>
    normal(0, kaimingDeviation(shape, options))(shape, random);

const xavierDeviation = (shape: readonly number[], gain: number): number => {
  const { fanIn, fanOut } = fansOf(shape);
  return gain * Math.sqrt(2 / (fanIn + fanOut));
};

/** https://proceedings.mlr.press/v9/glorot10a */
export const xavierUniform =
  (gain = 1): Initializer =>
  (shape, random) => {
    const bound = Math.sqrt(3) * xavierDeviation(shape, gain);
    return uniform(-bound, bound)(shape, random);
  };
export const xavierNormal =
  (gain = 1): Initializer =>
  (shape, random) =>
    normal(0, xavierDeviation(shape, gain))(shape, random);

/** Rows (or columns, if there are fewer) of a random orthonormal basis; axes after the first count as columns. */
export const orthogonal =
  (gain = 1): Initializer =>
  (shape, random) => {
    const rows = shape[0] ?? 1;
    const columns = elementCount(shape.slice(1));
    const [count, length] = rows <= columns ? [rows, columns] : [columns, rows];
    const basis: Float64Array[] = [];
    while (basis.length < count) {
      const v = Float64Array.from({ length }, () => random.normal());
      // Twice, so that rounding leaves no component along the others.
      for (const other of [...basis, ...basis]) {
        const along = v.reduce((s, x, i) => s + x * other[i]!, 0);
        for (let i = 0; i < length; i++) v[i]! -= along * other[i]!;
      }
      const norm = Math.sqrt(v.reduce((s, x) => s + x * x, 0));
      if (norm > 1e-8) basis.push(v.map((x) => x / norm));
    }
    return Float64Array.from({ length: rows * columns }, (_, i) => {
      const [r, c] = [Math.floor(i / columns), i % columns];
      return gain * (rows <= columns ? basis[r]![c]! : basis[c]![r]!);
    });
  };

/** Identity on the first two axes; the centre tap of a convolution kernel. */
export const dirac: Initializer = (shape) => {
  const kernel = shape.slice(2);
  const centre = kernel.reduce((at, k) => at * k + Math.floor(k / 2), 0);
  const field = elementCount(kernel);
  const out = new Float64Array(elementCount(shape));
  for (let i = 0; i < Math.min(shape[0] ?? 0, shape[1] ?? 0); i++) {
    out[(i * (shape[1] ?? 0) + i) * field + centre] = 1;
  }
  return out;
};

/** PyTorch's default for weights of linear layers and convolutions, and for their biases: uniform in ±1/√fanIn. */
export const scaledUniform = (fanIn: number): Initializer => {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  return uniform(-bound, bound);
};

/** Zeros, and a value for the forget gates: the second quarter of an LSTM's bias. Keras begins so, with 1. */
export const forgetGate =
  (value = 1): Initializer =>
  (shape) => {
    const quarter = elementCount(shape) / 4;
    return Float64Array.from({ length: 4 * quarter }, (_, i) => (Math.floor(i / quarter) === 1 ? value : 0));
  };
