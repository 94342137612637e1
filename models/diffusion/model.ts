/**
 * A U-Net that sees pictures with noise in them: the net of diffusion models, here a small one.
 * Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", 2020; blocks are told step and class as by Dhariwal and Nichol, 2021.
 */

import { F, nn, type Value } from "wasmith";

/** Blocks do little at first. */
const little = nn.init.normal(0, 0.01);

/** Two convolutions; what is told of step and class scales and shifts what is between them. */
class Block extends nn.Module<readonly [x: Value, told: Value]> {
  readonly first: nn.Layer;
  readonly told: nn.LinearLayer;
  readonly norm: nn.Layer;
  readonly second: nn.Layer;
  readonly shortcut: nn.Layer;

  constructor(from: number, to: number, told: number) {
    super();
    this.first = nn.sequential(nn.GroupNorm(8, from), nn.SiLU(), nn.Conv2d(from, to, 3, { padding: 1 }));
    this.told = nn.Linear(told, 2 * to);
    this.norm = nn.GroupNorm(8, to);
    this.second = nn.sequential(nn.SiLU(), nn.Conv2d(to, to, 3, { padding: 1, weightInit: little }));
    this.shortcut = from === to ? nn.Identity() : nn.Conv2d(from, to, 1);
  }

  forward(ctx: nn.Context, x: Value, told: Value): Value {
    const [scale, shift] = F.chunk(this.told(ctx, told).unsqueeze(2, 3), 2, 1);
    const h = this.norm(ctx, this.first(ctx, x)).mul(scale!.add(1)).add(shift!);
    return this.second(ctx, h).add(this.shortcut(ctx, x));
  }
}

/**
 * Pictures x [batch, 1, side, side] of classes y [batch] with the noise of steps t [batch] → their velocity, of x's shape: see `Diffusion`.
 * Side is a multiple of 4; squares of 2×2 pixels are channels, so that convolutions have a quarter of the places.
 */
export class UNet extends nn.Module<readonly [x: Value, t: Value, y: Value]> {
  readonly time: nn.Layer;
  readonly kind: nn.Layer;
  readonly start: nn.Layer;
  readonly down: Block;
  readonly halve: nn.Layer;
  readonly middle: readonly [Block, Block];
  readonly double: nn.Layer;
  readonly up: Block;
  readonly end: nn.Layer;

  constructor({ width = 24, told = 64, classes = 10 } = {}) {
    super();
    this.time = nn.sequential(nn.Linear(32, told), nn.SiLU(), nn.Linear(told, told));
    this.kind = nn.Embedding(classes, told);
    this.start = nn.sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, width, 3, { padding: 1 }));
    this.down = new Block(width, width, told);
    this.halve = nn.Conv2d(width, 2 * width, 3, { stride: 2, padding: 1 });
    this.middle = [new Block(2 * width, 2 * width, told), new Block(2 * width, 2 * width, told)];
    this.double = nn.sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2));
    this.up = new Block(2 * width, width, told);
    this.end = nn.sequential(
      nn.GroupNorm(8, width),
      nn.SiLU(),
      nn.Conv2d(width, 4, 3, { padding: 1, weightInit: little }),
      nn.PixelShuffle(2),
    );
  }

  forward(ctx: nn.Context, x: Value, t: Value, y: Value): Value {
    const told = F.silu(this.time(ctx, waves(t)).add(this.kind(ctx, y)));
    const fine = this.down(ctx, this.start(ctx, x), told);
    const coarse = this.middle.reduce((h, block) => block(ctx, h, told), this.halve(ctx, fine));
    return this.end(ctx, this.up(ctx, F.cat([this.double(ctx, coarse), fine], 1), told));
  }
}

/** Steps t [batch] as sines and cosines of 16 wavelengths: [batch, 32]. */
function waves(t: Value): Value {
  const frequencies = F.constant(Array.from({ length: 16 }, (_, i) => 1000 ** (-i / 15)));
  const angles = t.cast("f32").unsqueeze(-1).mul(frequencies);
  return F.cat([F.sin(angles), F.cos(angles)], -1);
}
