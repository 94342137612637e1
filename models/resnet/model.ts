/**
 * ResNet: x [batch, 3, H, W] → logits [batch, 1000], with torchvision's layers and names; the stride of a bottleneck is that of its
 * 3×3 convolution.
 * He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016.
 */

import { nn, type Value } from "wasmith";

const conv = (from: number, to: number, kernel: number, stride = 1) =>
  nn.Conv2d(from, to, kernel, {
    stride,
    padding: kernel >> 1,
    bias: false,
    weightInit: nn.init.kaimingNormal({ mode: "fanOut" }),
  });

/** What makes a block's input fit its output, where they differ in size or channels. */
const shortcut = (from: number, to: number, stride: number) =>
  from === to && stride === 1 ? undefined : nn.sequential(conv(from, to, 1, stride), nn.BatchNorm2d(to));

/** Two convolutions of 3×3. */
export class BasicBlock extends nn.Module {
  static readonly expansion: number = 1;
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly conv2: nn.Layer;
  readonly bn2: nn.Layer;
  readonly downsample: nn.Layer | undefined;

  constructor(from: number, width: number, stride: number) {
    super();
    this.conv1 = conv(from, width, 3, stride);
    this.bn1 = nn.BatchNorm2d(width);
    this.conv2 = conv(width, width, 3);
    this.bn2 = nn.BatchNorm2d(width);
    this.downsample = shortcut(from, width, stride);
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

  constructor(from: number, width: number, stride: number) {
    super();
    const to = width * Bottleneck.expansion;
    this.conv1 = conv(from, width, 1);
    this.bn1 = nn.BatchNorm2d(width);
    this.conv2 = conv(width, width, 3, stride);
    this.bn2 = nn.BatchNorm2d(width);
    this.conv3 = conv(width, to, 1);
    this.bn3 = nn.BatchNorm2d(to);
    this.downsample = shortcut(from, to, stride);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const narrow = this.bn1(ctx, this.conv1(ctx, x)).relu();
    const h = this.bn2(ctx, this.conv2(ctx, narrow)).relu();
    const y = this.bn3(ctx, this.conv3(ctx, h));
    return y.add(this.downsample ? this.downsample(ctx, x) : x).relu();
  }
}

export interface ResNetOptions {
  readonly block?: typeof BasicBlock | typeof Bottleneck;
  /** Blocks of each of the four stages. */
  readonly depths?: readonly [number, number, number, number];
  readonly classes?: number;
  /** Channels of pictures. */
  readonly inputs?: number;
  /** Channels of the first stage, which double from stage to stage. */
  readonly width?: number;
  /** For small pictures: 3×3 without a stride in front. */
  readonly small?: boolean;
}

export class ResNet extends nn.Module {
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly maxpool: nn.Layer;
  readonly layer1: nn.Layer;
  readonly layer2: nn.Layer;
  readonly layer3: nn.Layer;
  readonly layer4: nn.Layer;
  readonly fc: nn.Layer;

  constructor({
    block: Block = BasicBlock,
    depths = [2, 2, 2, 2],
    classes = 1000,
    inputs = 3,
    width = 64,
    small = false,
  }: ResNetOptions = {}) {
    super();
    let from = width;
    const stage = (index: 0 | 1 | 2 | 3) =>
      nn.sequential(
        ...Array.from({ length: depths[index] }, (_, i) => {
          const block = new Block(from, width << index, i === 0 && index > 0 ? 2 : 1);
          from = (width << index) * Block.expansion;
          return block;
        }),
      );
    this.conv1 = small ? conv(inputs, width, 3) : conv(inputs, width, 7, 2);
    this.bn1 = nn.BatchNorm2d(width);
    this.maxpool = nn.MaxPool2d(3, { stride: 2, padding: 1 });
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = stage(3);
    this.fc = nn.Linear(from, classes);
  }

  /** The four maps that detectors and segmentation build on: strides 4, 8, 16 and 32. */
  stages(ctx: nn.Context, x: Value): readonly [Value, Value, Value, Value] {
    const c1 = this.layer1(ctx, this.maxpool(ctx, this.bn1(ctx, this.conv1(ctx, x)).relu()));
    const c2 = this.layer2(ctx, c1);
    const c3 = this.layer3(ctx, c2);
    return [c1, c2, c3, this.layer4(ctx, c3)];
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.fc(ctx, this.stages(ctx, x)[3].mean([2, 3]));
  }
}

export const resnet18 = () => new ResNet();
export const resnet50 = () => new ResNet({ block: Bottleneck, depths: [3, 4, 6, 3] });
