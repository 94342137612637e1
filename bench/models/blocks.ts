/** What several benchmark models are made of. Norms of batches are part of the convolutions before them, as exporters write trained models. */

import { nn } from "wasmith";

const activations = {
  relu: () => nn.ReLU(),
  relu6: () => nn.ReLU6(),
  silu: () => nn.SiLU(),
  leaky: () => nn.LeakyReLU(0.1),
} as const;
export type Activation = keyof typeof activations;

export interface ConvolutionOptions {
  readonly stride?: number;
  readonly groups?: number;
  /** Default: half of the kernel, which keeps the size at stride 1. */
  readonly padding?: number;
  /** Default: none. */
  readonly activation?: Activation;
}

/** Keeps the variance through a ReLU: activations stay ordinary numbers through any number of layers. */
const throughRelu = nn.init.kaimingUniform();
const linear = nn.init.kaimingUniform({ nonlinearity: "linear" });

/** A convolution with a bias and its activation: [N, from, H, W] → [N, to, H/stride, W/stride]. */
export function convolution(from: number, to: number, kernel: number, options: ConvolutionOptions = {}): nn.Layer {
  const { stride = 1, groups = 1, padding = kernel >> 1, activation } = options;
  const weightInit = activation === undefined ? linear : throughRelu;
  const conv = nn.Conv2d(from, to, kernel, { stride, groups, padding, weightInit });
  return activation === undefined ? conv : nn.sequential({ conv, activation: activations[activation]() });
}

/** The end of a classifier: mean over the image, one linear layer. */
export const classifier = (channels: number, classes: number): nn.Layer =>
  nn.sequential({ pool: nn.GlobalAvgPool(), flatten: nn.Flatten(), fc: nn.Linear(channels, classes) });
