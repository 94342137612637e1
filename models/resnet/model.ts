/**
 * ResNet: x [batch, 3, H, W] → logits [batch, 1000], with torchvision's layers and names; the stride of a bottleneck is that of its
 * 3×3 convolution.
 * He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016.
 */

import { nn, type Value } from "wasmith";
import { BasicBlock, Bottleneck, conv, type Norm } from "./blocks.js";

export interface TrunkOptions {
  readonly block?: typeof BasicBlock | typeof Bottleneck;
  /** Blocks of each of the four stages. */
  readonly depths?: readonly [number, number, number, number];
  /** Channels of pictures. */
  readonly inputs?: number;
  /** Channels of the first stage, which double from stage to stage. */
  readonly width?: number;
  /** For small pictures: 3×3 without a stride in front. */
  readonly small?: boolean;
  readonly norm?: Norm;
  /** So many of the last stages keep the size of maps: their windows are spread instead, twice as wide from stage to stage. */
  readonly dilated?: 0 | 1 | 2;
}

/** Maps of strides 4, 8, 16 and 32, or less where stages are dilated. */
export type Maps = readonly [Value, Value, Value, Value];

/** All but the last layer. */
abstract class Stages<O> extends nn.Module<readonly [x: Value], O> {
  readonly conv1: nn.Layer;
  readonly bn1: nn.Layer;
  readonly maxpool: nn.Layer;
  readonly layer1: nn.Layer;
  readonly layer2: nn.Layer;
  readonly layer3: nn.Layer;
  readonly layer4: nn.Layer;
  /** Channels of the four maps. */
  readonly channels: readonly number[];

  constructor({
    block: Block = BasicBlock,
    depths = [2, 2, 2, 2],
    inputs = 3,
    width = 64,
    small = false,
    norm = nn.BatchNorm2d,
    dilated = 0,
  }: TrunkOptions) {
    super();
    this.channels = depths.map((_, stage) => (width << stage) * Block.expansion);
    const dilation = (stage: number) => 1 << Math.max(0, stage + dilated - 3);
    const stage = (index: 0 | 1 | 2 | 3) => {
      const stride = index === 0 || dilation(index) > 1 ? 1 : 2;
      const first = new Block(
        index > 0 ? this.channels[index - 1]! : width,
        width << index,
        stride,
        norm,
        dilation(index - 1),
      );
      const others = Array.from(
        { length: depths[index] - 1 },
        () => new Block(this.channels[index]!, width << index, 1, norm, dilation(index)),
      );
      return nn.sequential(first, ...others);
    };
    this.conv1 = small ? conv(inputs, width, 3) : conv(inputs, width, 7, 2);
    this.bn1 = norm(width);
    this.maxpool = nn.MaxPool2d(3, { stride: 2, padding: 1 });
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = stage(3);
  }

  stages(ctx: nn.Context, x: Value): Maps {
    const c1 = this.layer1(ctx, this.maxpool(ctx, this.bn1(ctx, this.conv1(ctx, x)).relu()));
    const c2 = this.layer2(ctx, c1);
    const c3 = this.layer3(ctx, c2);
    return [c1, c2, c3, this.layer4(ctx, c3)];
  }
}

/** What detectors and segmentation build on: x → its four maps. */
export class ResNetTrunk extends Stages<Maps> {
  forward(ctx: nn.Context, x: Value): Maps {
    return this.stages(ctx, x);
  }
}

export class ResNet extends Stages<Value> {
  readonly fc: nn.Layer;

  constructor({ classes = 1000, ...trunk }: TrunkOptions & { readonly classes?: number } = {}) {
    super(trunk);
    this.fc = nn.Linear(this.channels[3]!, classes);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.fc(ctx, this.stages(ctx, x)[3].mean([2, 3]));
  }
}

export const resnet18 = () => new ResNet();
/** Blocks of ResNet-50. */
export const fifty = { block: Bottleneck, depths: [3, 4, 6, 3] } as const;
export const resnet50 = () => new ResNet(fifty);
