/** Faster R-CNN with a ResNet-50 and a feature pyramid, as torchvision's fasterrcnn_resnet50_fpn: its state_dict fits. */

import { F, nn, type Value } from "wasmith";
import { anchorGrid } from "../detection/boxes.js";
import { Pyramid } from "../detection/pyramid.js";
import { fifty, ResNetTrunk } from "../resnet/model.js";
import { FasterRcnn } from "./model.js";

/** A batch norm that stays as it was when the trunk learnt to classify: nothing of it is learnt. */
class FrozenBatchNorm2d extends nn.Module {
  readonly weight: nn.Variable;
  readonly bias: nn.Variable;
  readonly running_mean: nn.Variable;
  readonly running_var: nn.Variable;

  constructor(channels: number) {
    super();
    const vector = (initializer: nn.init.Initializer) => nn.buffer([channels], initializer);
    this.weight = vector(nn.init.ones);
    this.bias = vector(nn.init.zeros);
    this.running_mean = vector(nn.init.zeros);
    this.running_var = vector(nn.init.ones);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const [mean, variance, weight, bias] = [this.running_mean, this.running_var, this.weight, this.bias].map((v) =>
      ctx.value(v),
    ) as [Value, Value, Value, Value];
    return F.batchNorm(x, mean, variance, weight, bias);
  }
}

/** Maps of strides 4, 8, 16, 32, and 64 for proposals alone, of 256 channels each. */
class Backbone extends nn.Module<readonly [x: Value], readonly Value[]> {
  readonly body = new ResNetTrunk({ ...fifty, norm: (channels) => new FrozenBatchNorm2d(channels) });
  readonly fpn = new Pyramid(this.body.channels, 256);

  forward(ctx: nn.Context, x: Value): readonly Value[] {
    const maps = this.fpn(ctx, this.body(ctx, x));
    return [...maps, F.maxPool2d(maps[3]!, 1, { stride: 2 })];
  }
}

/** Boxes of an area of size², with sides in the ratios 1:2, 1:1 and 2:1, in whole pixels. */
const shapes = (size: number) =>
  [0.5, 1, 2].map((ratio) => {
    const height = 2 * Math.round((size * Math.sqrt(ratio)) / 2);
    return [2 * Math.round(size / Math.sqrt(ratio) / 2), height] as const;
  });

/** For pictures [3, height, width], whose sizes 32 divides. Classes include the background. */
export function fasterRcnnResNet50([height, width]: readonly [number, number] = [800, 800], classes = 91): FasterRcnn {
  const sizes = [32, 64, 128, 256, 512];
  const anchors = sizes.map((size, i) => {
    const stride = 4 << i;
    return anchorGrid([Math.ceil(height / stride), Math.ceil(width / stride)], stride, shapes(size));
  });
  const backbone = new Backbone();
  return new FasterRcnn({
    backbone,
    channels: 256,
    anchors,
    shapes: 3,
    strides: [4, 8, 16, 32],
    side: [height, width],
    classes,
  });
}
