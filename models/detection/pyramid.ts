/**
 * A feature pyramid: coarse maps, which know what is there, are enlarged and added to fine ones, which know where.
 * Lin et al., "Feature pyramid networks for object detection", 2017. torchvision's layers and names.
 */

import { F, nn, type Value } from "wasmith";

export class Pyramid extends nn.Module<readonly [maps: readonly Value[]], readonly Value[]> {
  readonly inner_blocks: readonly nn.Layer[];
  readonly layer_blocks: readonly nn.Layer[];

  /** @param from channels of the maps, fine to coarse @param to channels of the results */
  constructor(from: readonly number[], to: number) {
    super();
    const init = { weightInit: nn.init.kaimingUniform({ slope: 1 }), biasInit: nn.init.zeros };
    this.inner_blocks = from.map((channels) => nn.sequential(nn.Conv2d(channels, to, 1, init)));
    this.layer_blocks = from.map(() => nn.sequential(nn.Conv2d(to, to, 3, { ...init, padding: 1 })));
  }

  /** Maps [N, C, H, W], fine to coarse, each half as large as the one before → as many, all with the same channels. */
  forward(ctx: nn.Context, maps: readonly Value[]): readonly Value[] {
    const merged: Value[] = [];
    for (let i = maps.length - 1; i >= 0; i--) {
      const own = this.inner_blocks[i]!(ctx, maps[i]!);
      const coarse = merged[0];
      const size = own.type.shape.slice(2) as number[];
      merged.unshift(coarse === undefined ? own : own.add(F.interpolate(coarse, { size })));
    }
    return merged.map((map, i) => this.layer_blocks[i]!(ctx, map));
  }
}
