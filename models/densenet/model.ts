/**
 * DenseNet: x [batch, 3, H, W] → logits [batch, 1000]; each layer sees the results of all before it in its block. Layers and names are
 * torchvision's.
 * Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017.
 */

import { F, nn, type Value } from "wasmith";

const conv = (from: number, to: number, kernel: number, stride = 1) =>
  nn.Conv2d(from, to, kernel, { stride, padding: kernel >> 1, bias: false, weightInit: nn.init.kaimingNormal() });

/** Norm, ReLU and 1×1 to `bottleneck` times the growth, then norm, ReLU and 3×3 to as many channels as a layer adds. */
const denseLayer = (from: number, growth: number, bottleneck: number) =>
  nn.sequential({
    norm1: nn.BatchNorm2d(from),
    relu1: nn.ReLU(),
    conv1: conv(from, bottleneck * growth, 1),
    norm2: nn.BatchNorm2d(bottleneck * growth),
    relu2: nn.ReLU(),
    conv2: conv(bottleneck * growth, growth, 3),
  });

/** [batch, from, H, W] → [batch, from + depth · growth, H, W] */
class DenseBlock extends nn.Module {
  readonly #layers: Readonly<Record<string, nn.Layer>>;

  constructor(from: number, depth: number, growth: number, bottleneck: number) {
    super();
    this.#layers = Object.fromEntries(
      Array.from({ length: depth }, (_, i) => [
        `denselayer${i + 1}`,
        denseLayer(from + i * growth, growth, bottleneck),
      ]),
    );
  }

  protected override members() {
    return Object.entries(this.#layers);
  }

  forward(ctx: nn.Context, x: Value): Value {
    let all = x;
    for (const layer of Object.values(this.#layers)) all = F.cat([all, layer(ctx, all)], 1);
    return all;
  }
}

const transition = (from: number, to: number) =>
  nn.sequential({ norm: nn.BatchNorm2d(from), relu: nn.ReLU(), conv: conv(from, to, 1), pool: nn.AvgPool2d(2) });

export interface DenseNetOptions {
  /** Layers of each block. */
  readonly depths?: readonly number[];
  /** Channels that a layer adds. */
  readonly growth?: number;
  /** Channels of the 1×1 convolutions, in growths. */
  readonly bottleneck?: number;
  /** Channels of the first convolution. */
  readonly width?: number;
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** For small pictures: 3×3 without a stride in front. */
  readonly small?: boolean;
}

export class DenseNet extends nn.Module {
  readonly features: nn.Layer;
  readonly classifier: nn.Layer;

  constructor({
    depths = [6, 12, 24, 16],
    growth = 32,
    bottleneck = 4,
    width = 64,
    classes = 1000,
    inputs = 3,
    small = false,
  }: DenseNetOptions = {}) {
    super();
    const layers: Record<string, nn.Layer> = {
      conv0: small ? conv(inputs, width, 3) : conv(inputs, width, 7, 2),
      norm0: nn.BatchNorm2d(width),
      relu0: nn.ReLU(),
      pool0: nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    };
    let channels = width;
    for (const [i, depth] of depths.entries()) {
      layers[`denseblock${i + 1}`] = new DenseBlock(channels, depth, growth, bottleneck);
      channels += depth * growth;
      if (i === depths.length - 1) break;
      layers[`transition${i + 1}`] = transition(channels, channels >> 1);
      channels >>= 1;
    }
    layers.norm5 = nn.BatchNorm2d(channels);
    this.features = nn.sequential(layers);
    this.classifier = nn.Linear(channels, classes);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.classifier(ctx, this.features(ctx, x).relu().mean([2, 3]));
  }
}
