/** What ResNets are made of. */

import { nn, type Value } from "wasmith";

export const conv = (from: number, to: number, kernel: number, stride = 1, dilation = 1) =>
  nn.Conv2d(from, to, kernel, {
    stride,
    padding: dilation * (kernel >> 1),
    dilation,
    bias: false,
    weightInit: nn.init.kaimingNormal({ mode: "fanOut" }),
  });

/** The layer that normalises so many channels. */
export type Norm = (channels: number) => nn.Layer;

/** What makes a block's input fit its output, where they differ in size or channels. */
const shortcut = (from: number, to: number, stride: number, norm: Norm) =>
  from === to && stride === 1 ? undefined : nn.sequential(conv(from, to, 1, stride), norm(to));

/** Two convolutions of 3×3. */
export class BasicBlock extends nn.Module {
  static readonly expansion: number = 1;
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly bn2: nn.Layer;
  readonly downsample: nn.Layer | undefined;

  constructor(from: number, width: number, stride: number, norm: Norm = nn.BatchNorm2d, dilation = 1) {
    super();
    this.conv1 = conv(from, width, 3, stride, dilation);
    this.bn1 = norm(width);
    this.conv2 = conv(width, width, 3, 1, dilation);
    this.bn2 = norm(width);
    this.downsample = shortcut(from, width, stride, norm);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const h = this.bn1(ctx, this.conv1(ctx, x)).relu();
    const y = this.bn2(ctx, this.conv2(ctx, h));
    return y.add(this.downsample ? this.downsample(ctx, x) : x).relu();
  }
}

/** 1×1 to few channels, 3×3 among them, 1×1 to four times as many. */
export class Bottleneck extends nn.Module {
  static readonly expansion: number = 4;
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly bn2: nn.Layer;
  readonly conv3: nn.Layer;
  readonly bn3: nn.Layer;
  readonly downsample: nn.Layer | undefined;

  constructor(from: number, width: number, stride: number, norm: Norm = nn.BatchNorm2d, dilation = 1) {
    super();
    const to = width * Bottleneck.expansion;
    this.conv1 = conv(from, width, 1);
    this.bn1 = norm(width);
    this.conv2 = conv(width, width, 3, stride, dilation);
    this.bn2 = norm(width);
    this.conv3 = conv(width, to, 1);
    this.bn3 = norm(to);
    this.downsample = shortcut(from, to, stride, norm);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const narrow = this.bn1(ctx, this.conv1(ctx, x)).relu();
    const h = this.bn2(ctx, this.conv2(ctx, narrow)).relu();
    const y = this.bn3(ctx, this.conv3(ctx, h));
    return y.add(this.downsample ? this.downsample(ctx, x) : x).relu();
  }
}
