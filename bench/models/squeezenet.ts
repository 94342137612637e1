/** SqueezeNet 1.1: https://arxiv.org/abs/1602.07360, as torchvision has it. */

import { F, nn, type Value } from "wasmith";
import { convolution } from "./blocks.js";

/** A narrow convolution, then two wide ones side by side. */
class Fire extends nn.Module {
  readonly squeeze: nn.Layer;
  readonly expand1: nn.Layer;
  readonly expand3: nn.Layer;

  constructor(from: number, narrow: number, wide: number) {
    super();
    this.squeeze = convolution(from, narrow, 1, { activation: "relu" });
    this.expand1 = convolution(narrow, wide, 1, { activation: "relu" });
    this.expand3 = convolution(narrow, wide, 3, { activation: "relu" });
  }

  forward(ctx: nn.Context, x: Value): Value {
    const narrow = this.squeeze(ctx, x);
    return F.cat([this.expand1(ctx, narrow), this.expand3(ctx, narrow)], 1);
  }
}

const pool = () => nn.MaxPool2d(3, { stride: 2, ceilMode: true });

/** x [batch, 3, H, W] → logits [batch, 1000] */
export const squeezenet = () =>
  nn.sequential(
    convolution(3, 64, 3, { stride: 2, padding: 0, activation: "relu" }),
    pool(),
    new Fire(64, 16, 64),
    new Fire(128, 16, 64),
    pool(),
    new Fire(128, 32, 128),
    new Fire(256, 32, 128),
    pool(),
    new Fire(256, 48, 192),
    new Fire(384, 48, 192),
    new Fire(384, 64, 256),
    new Fire(512, 64, 256),
    convolution(512, 1000, 1, { activation: "relu" }),
    nn.GlobalAvgPool(),
    nn.Flatten(),
  );
