/** What GoogLeNet is made of; torchvision's names. */

import { F, nn, type Value } from "wasmith";

/** A convolution, a norm and a ReLU. */
export class BasicConv2d extends nn.Module {
  readonly conv: nn.Layer;
  readonly bn: nn.Layer;

  constructor(
    from: number,
    to: number,
    kernel: number | readonly number[],
    window: { readonly stride?: number; readonly padding?: number | readonly number[] } = {},
  ) {
    super();
    this.conv = nn.Conv2d(from, to, kernel, { bias: false, weightInit: nn.init.kaimingNormal(), ...window });
    this.bn = nn.BatchNorm2d(to, { epsilon: 1e-3 });
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.bn(ctx, this.conv(ctx, x)).relu();
  }
}

export const conv = (from: number, to: number, kernel: number, stride = 1) =>
  new BasicConv2d(from, to, kernel, { stride, padding: kernel >> 1 });

export type Branches = readonly [
  one: number,
  narrow3: number,
  three: number,
  narrow5: number,
  five: number,
  pooled: number,
];

/** Windows of several sizes side by side; 1×1 convolutions make the channels few before the large ones. */
export class Inception extends nn.Module {
  readonly branch1: nn.Layer;
  readonly branch2: nn.Layer;
  readonly branch3: nn.Layer;
  readonly branch4: nn.Layer;

  /** @param large side of the third branch's window: 5 in the paper, 3 in torchvision's network, whose weights are such */
  constructor(from: number, c: (published: number) => number, branches: Branches, large: 3 | 5 = 3) {
    super();
    const [one, narrow3, three, narrow5, five, pooled] = branches;
    this.branch1 = conv(from, c(one), 1);
    this.branch2 = nn.sequential(conv(from, c(narrow3), 1), conv(c(narrow3), c(three), 3));
    this.branch3 = nn.sequential(conv(from, c(narrow5), 1), conv(c(narrow5), c(five), large));
    this.branch4 = nn.sequential(nn.MaxPool2d(3, { stride: 1, padding: 1, ceilMode: true }), conv(from, c(pooled), 1));
  }

  forward(ctx: nn.Context, x: Value): Value {
    const branches = [this.branch1, this.branch2, this.branch3, this.branch4];
    return F.cat(
      branches.map((branch) => branch(ctx, x)),
      1,
    );
  }
}

/** A classifier on the way. */
export class InceptionAux extends nn.Module {
  readonly pool = nn.AdaptiveAvgPool2d(4);
  readonly conv: nn.Layer;
  readonly fc1: nn.Layer;
  readonly dropout = nn.Dropout(0.7);
  readonly fc2: nn.Layer;

  constructor(from: number, width: number, classes: number) {
    super();
    this.conv = conv(from, width, 1);
    this.fc1 = nn.Linear(width * 16, width * 8);
    this.fc2 = nn.Linear(width * 8, classes);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const h = this.conv(ctx, this.pool(ctx, x)).flatten(1);
    return this.fc2(ctx, this.dropout(ctx, this.fc1(ctx, h).relu()));
  }
}
