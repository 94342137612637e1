/**
 * AlexNet: x [batch, 3, 224, 224] → logits [batch, 1000], with torchvision's layers and names. `norms` and `groups` give the form of
 * 2012, whose halves were on two GPUs; later forms leave them out.
 * Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012; the one-column form is
 * that of "One weird trick for parallelizing convolutional neural networks", 2014.
 */

import { nn, type Value } from "wasmith";

/** Signals keep their size from layer to layer; the paper began with a normal distribution of deviation 0.01. */
const initial = { weightInit: nn.init.kaimingNormal({ nonlinearity: "relu" }), biasInit: nn.init.zeros };

export interface AlexNetOptions {
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** Channels of the five convolutions. */
  readonly channels?: readonly [number, number, number, number, number];
  /** Units of the two hidden dense layers. */
  readonly hidden?: readonly [number, number];
  /** The first convolution. */
  readonly stem?: { readonly kernel: number; readonly stride: number };
  /** Side of the map that the dense layers see. */
  readonly side?: number;
  /** Probability with which units of the dense layers are dropped. */
  readonly dropout?: number;
  /** What stands behind the ReLUs of the first two convolutions: `responseNorms()`. */
  readonly norms?: readonly nn.Layer[];
  /** Groups of the second convolution: 2 in the paper. */
  readonly groups?: number;
}

/** The paper's norms over five neighbouring channels. */
export const responseNorms = (): readonly nn.Layer[] => [
  nn.LocalResponseNorm(5, { k: 2 }),
  nn.LocalResponseNorm(5, { k: 2 }),
];

export class AlexNet extends nn.Module {
  readonly features: nn.Layer;
  readonly avgpool: nn.Layer;
  readonly classifier: nn.Layer;

  constructor({
    classes = 1000,
    inputs = 3,
    channels: [a, b, c, d, e] = [64, 192, 384, 256, 256],
    hidden: [first, second] = [4096, 4096],
    stem = { kernel: 11, stride: 4 },
    side = 6,
    dropout = 0.5,
    norms = [],
    groups = 1,
  }: AlexNetOptions = {}) {
    super();
    const pool = () => nn.MaxPool2d(3, { stride: 2 });
    this.features = nn.sequential(
      nn.Conv2d(inputs, a, stem.kernel, { stride: stem.stride, padding: 2, ...initial }),
      nn.ReLU(),
      ...norms.slice(0, 1),
      pool(),
      nn.Conv2d(a, b, 5, { padding: 2, groups, ...initial }),
      nn.ReLU(),
      ...norms.slice(1),
      pool(),
      nn.Conv2d(b, c, 3, { padding: 1, ...initial }),
      nn.ReLU(),
      nn.Conv2d(c, d, 3, { padding: 1, ...initial }),
      nn.ReLU(),
      nn.Conv2d(d, e, 3, { padding: 1, ...initial }),
      nn.ReLU(),
      pool(),
    );
    this.avgpool = nn.AdaptiveAvgPool2d(side);
    this.classifier = nn.sequential(
      nn.Dropout(dropout),
      nn.Linear(e * side * side, first, initial),
      nn.ReLU(),
      nn.Dropout(dropout),
      nn.Linear(first, second, initial),
      nn.ReLU(),
      nn.Linear(second, classes),
    );
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.classifier(ctx, this.avgpool(ctx, this.features(ctx, x)).flatten(1));
  }
}
