/**
 * VGG: x [batch, 3, 224, 224] → logits [batch, 1000], 3×3 convolutions alone, with torchvision's layers and names.
 * Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015.
 */

import { nn, type Value } from "wasmith";

/** Convolutions of each stage, all of the same channels, with a pool behind. */
export const stages = {
  vgg11: [1, 1, 2, 2, 2],
  vgg13: [2, 2, 2, 2, 2],
  vgg16: [2, 2, 3, 3, 3],
  vgg19: [2, 2, 4, 4, 4],
} as const;

export interface VggOptions {
  readonly depths?: readonly number[];
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** Channels of each stage. */
  readonly channels?: readonly number[];
  /** Units of the two hidden dense layers. */
  readonly hidden?: number;
  /** Side of the map that the dense layers see. */
  readonly side?: number;
  /** Probability with which units of the dense layers are dropped. */
  readonly dropout?: number;
  /** A batch norm behind each convolution, as in torchvision's `vgg16_bn`. */
  readonly norms?: boolean;
}

export class Vgg extends nn.Module {
  readonly features: nn.Layer;
  readonly avgpool: nn.Layer;
  readonly classifier: nn.Layer;

  constructor({
    depths = stages.vgg16,
    classes = 1000,
    inputs = 3,
    channels = [64, 128, 256, 512, 512],
    hidden = 4096,
    side = 7,
    dropout = 0.5,
    norms = false,
  }: VggOptions = {}) {
    super();
    let from = inputs;
    const convolution = (to: number): nn.Layer[] => {
      const conv = nn.Conv2d(from, to, 3, { padding: 1, weightInit: nn.init.kaimingNormal(), biasInit: nn.init.zeros });
      from = to;
      return norms ? [conv, nn.BatchNorm2d(to), nn.ReLU()] : [conv, nn.ReLU()];
    };
    this.features = nn.sequential(
      ...depths.flatMap((depth, stage) => [
        ...Array.from({ length: depth }, () => convolution(channels[stage]!)).flat(),
        nn.MaxPool2d(2),
      ]),
    );
    this.avgpool = nn.AdaptiveAvgPool2d(side);
    this.classifier = nn.sequential(
      nn.Linear(from * side * side, hidden),
      nn.ReLU(),
      nn.Dropout(dropout),
      nn.Linear(hidden, hidden),
      nn.ReLU(),
      nn.Dropout(dropout),
      nn.Linear(hidden, classes),
    );
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.classifier(ctx, this.avgpool(ctx, this.features(ctx, x)).flatten(1));
  }
}
