/** EfficientNet-B0: https://arxiv.org/abs/1905.11946. */

import { nn, type Value } from "wasmith";
import { classifier, convolution } from "./blocks.js";

/** Channels scaled by what their means say: https://arxiv.org/abs/1709.01507 */
class SqueezeExcite extends nn.Module {
  readonly pool = nn.GlobalAvgPool();
  readonly reduce: nn.Layer;
  readonly expand: nn.Layer;

  constructor(channels: number, narrow: number) {
    super();
    this.reduce = convolution(channels, narrow, 1, { activation: "silu" });
    this.expand = convolution(narrow, channels, 1);
  }

  forward(ctx: nn.Context, x: Value): Value {
    return x.mul(this.expand(ctx, this.reduce(ctx, this.pool(ctx, x))).sigmoid());
  }
}

function block(from: number, to: number, kernel: number, stride: number, expansion: number): nn.Layer {
  const wide = from * expansion;
  const body = nn.sequential(
    ...(expansion === 1 ? [] : [convolution(from, wide, 1, { activation: "silu" })]),
    convolution(wide, wide, kernel, { stride, groups: wide, activation: "silu" }),
    new SqueezeExcite(wide, from >> 2),
    convolution(wide, to, 1),
  );
  return stride === 1 && from === to ? nn.Residual(body) : body;
}

/** Expansion, kernel, channels, blocks, stride of the first. */
const stages = [
  [1, 3, 16, 1, 1],
  [6, 3, 24, 2, 2],
  [6, 5, 40, 2, 2],
  [6, 3, 80, 3, 2],
  [6, 5, 112, 3, 1],
  [6, 5, 192, 4, 2],
  [6, 3, 320, 1, 1],
] as const;

/** x [batch, 3, H, W] → logits [batch, 1000] */
export function efficientnetB0() {
  let from = 32;
  const blocks = stages.flatMap(([expansion, kernel, to, count, stride]) =>
    Array.from({ length: count }, (_, i) => {
      const made = block(from, to, kernel, i === 0 ? stride : 1, expansion);
      from = to;
      return made;
    }),
  );
  return nn.sequential(
    convolution(3, 32, 3, { stride: 2, activation: "silu" }),
    ...blocks,
    convolution(320, 1280, 1, { activation: "silu" }),
    classifier(1280, 1000),
  );
}
