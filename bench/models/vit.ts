/** ViT-Tiny with patches of 16×16: https://arxiv.org/abs/2010.11929, sizes of https://arxiv.org/abs/2012.12877. */

import { F, nn, type Value } from "wasmith";
import { feedForward, SelfAttention } from "./transformer.js";

class Block extends nn.Module {
  readonly norm1: nn.Layer;
  readonly attention: SelfAttention;
  readonly norm2: nn.Layer;
  readonly wide: nn.Layer;

  constructor(features: number, heads: number) {
    super();
    this.norm1 = nn.LayerNorm(features);
    this.attention = new SelfAttention(features, heads);
    this.norm2 = nn.LayerNorm(features);
    this.wide = feedForward(features, 4 * features);
  }

  forward(ctx: nn.Context, x: Value): Value {
    const mixed = x.add(this.attention(ctx, this.norm1(ctx, x)));
    return mixed.add(this.wide(ctx, this.norm2(ctx, mixed)));
  }
}

/** x [1, 3, 224, 224] → logits [1, 1000] */
export class VitTiny extends nn.Module {
  readonly patches = nn.Conv2d(3, 192, 16, { stride: 16 });
  readonly classToken = nn.parameter([1, 1, 192], nn.init.normal(0, 0.02));
  readonly positions = nn.parameter([1, 197, 192], nn.init.normal(0, 0.02));
  readonly blocks = Array.from({ length: 12 }, () => new Block(192, 3));
  readonly norm = nn.LayerNorm(192);
  readonly head = nn.Linear(192, 1000);

  forward(ctx: nn.Context, x: Value): Value {
    const tokens = F.transpose(F.flatten(this.patches(ctx, x), 2), 1, 2);
    const start = F.cat([ctx.value(this.classToken), tokens], 1).add(ctx.value(this.positions));
    const y = this.norm(
      ctx,
      this.blocks.reduce((v, block) => block(ctx, v), start),
    );
    return this.head(ctx, F.select(y, 1, 0));
  }
}
