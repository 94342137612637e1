/** U-Net: https://arxiv.org/abs/1505.04597, with padded convolutions. */

import { F, nn, type Value } from "wasmith";
import { convolution } from "./blocks.js";

const twice = (from: number, to: number): nn.Layer =>
  nn.sequential(convolution(from, to, 3, { activation: "relu" }), convolution(to, to, 3, { activation: "relu" }));

/** x [batch, 3, H, W], sides multiples of 16 → logits [batch, 2, H, W] */
export class UNet extends nn.Module {
  readonly down: readonly nn.Layer[];
  readonly pool = nn.MaxPool2d(2);
  readonly up: readonly nn.Layer[];
  readonly joined: readonly nn.Layer[];
  readonly head: nn.Layer;

  constructor(width = 32) {
    super();
    const widths = [1, 2, 4, 8, 16].map((k) => k * width);
    this.down = widths.map((w, i) => twice(i === 0 ? 3 : widths[i - 1]!, w));
    const upwards = widths.slice(0, -1).reverse();
    this.up = upwards.map((w) => nn.ConvTranspose2d(2 * w, w, 2, { stride: 2 }));
    this.joined = upwards.map((w) => twice(2 * w, w));
    this.head = convolution(width, 2, 1);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const levels: Value[] = [];
    for (const [i, layer] of this.down.entries()) levels.push(layer(ctx, i === 0 ? x : this.pool(ctx, levels[i - 1]!)));
    let y = levels.pop()!;
    for (const [i, layer] of this.up.entries()) y = this.joined[i]!(ctx, F.cat([levels.pop()!, layer(ctx, y)], 1));
    return this.head(ctx, y);
  }
}
