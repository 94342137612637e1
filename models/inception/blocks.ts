/** What Inception-v3 is made of: branches side by side, whose large windows are taken apart into rows and columns. */

import { F, nn, type Value } from "wasmith";
import { BasicConv2d } from "../googlenet/blocks.js";

export type Layers = Readonly<Record<string, nn.Layer>>;
export type Branch = readonly [layers: Layers, fork?: Layers];

export const run = (ctx: nn.Context, x: Value, layers: Layers): Value =>
  Object.values(layers).reduce((value, layer) => layer(ctx, value), x);

/** Branches side by side: layers one after the other, and then, where there is a fork, two on the same value. */
export class Mixed extends nn.Module {
  readonly #branches: readonly Branch[];

  constructor(...branches: readonly Branch[]) {
    super();
    this.#branches = branches;
  }

  protected override members() {
    return this.#branches.flatMap(([layers, fork = {}]) => Object.entries({ ...layers, ...fork }));
  }

  forward(ctx: nn.Context, x: Value): Value {
    const results = this.#branches.flatMap(([layers, fork]) => {
      const y = run(ctx, x, layers);
      return fork ? Object.values(fork).map((layer) => layer(ctx, y)) : [y];
    });
    return F.cat(results, 1);
  }
}

/** A convolution without padding. */
export const conv = (from: number, to: number, kernel: number, stride = 1) =>
  new BasicConv2d(from, to, kernel, { stride });
/** One that keeps the size. */
export const same = (from: number, to: number, kernel: number) =>
  new BasicConv2d(from, to, kernel, { padding: kernel >> 1 });
/** Windows of 1×n and n×1 that keep the size. */
export const row = (from: number, to: number, n: number) => new BasicConv2d(from, to, [1, n], { padding: [0, n >> 1] });
export const column = (from: number, to: number, n: number) =>
  new BasicConv2d(from, to, [n, 1], { padding: [n >> 1, 0] });
export const average = () => nn.AvgPool2d(3, { stride: 1, padding: 1 });
export const shrink = () => nn.MaxPool2d(3, { stride: 2 });

/** Channels of this network for those of the paper. */
export type Channels = (published: number) => number;

/** Figure 5 of the paper: 3×3 twice in place of 5×5. */
export const small3 = (c: Channels, from: number, pooled: number) =>
  new Mixed(
    [{ branch1x1: same(from, c(64), 1) }],
    [{ branch5x5_1: same(from, c(48), 1), branch5x5_2: same(c(48), c(64), 5) }],
    [
      {
        branch3x3dbl_1: same(from, c(64), 1),
        branch3x3dbl_2: same(c(64), c(96), 3),
        branch3x3dbl_3: same(c(96), c(96), 3),
      },
    ],
    [{ pool: average(), branch_pool: same(from, c(pooled), 1) }],
  );

/** From 35×35 to 17×17: convolutions and a pool with strides, side by side. */
export const reduction3 = (c: Channels, from: number) =>
  new Mixed(
    [{ branch3x3: conv(from, c(384), 3, 2) }],
    [
      {
        branch3x3dbl_1: same(from, c(64), 1),
        branch3x3dbl_2: same(c(64), c(96), 3),
        branch3x3dbl_3: conv(c(96), c(96), 3, 2),
      },
    ],
    [{ pool: shrink() }],
  );

/** Figure 6: 1×7 and 7×1 in place of 7×7. */
export const factorised7 = (c: Channels, from: number, narrow: number) =>
  new Mixed(
    [{ branch1x1: same(from, c(192), 1) }],
    [
      {
        branch7x7_1: same(from, c(narrow), 1),
        branch7x7_2: row(c(narrow), c(narrow), 7),
        branch7x7_3: column(c(narrow), c(192), 7),
      },
    ],
    [
      {
        branch7x7dbl_1: same(from, c(narrow), 1),
        branch7x7dbl_2: column(c(narrow), c(narrow), 7),
        branch7x7dbl_3: row(c(narrow), c(narrow), 7),
        branch7x7dbl_4: column(c(narrow), c(narrow), 7),
        branch7x7dbl_5: row(c(narrow), c(192), 7),
      },
    ],
    [{ pool: average(), branch_pool: same(from, c(192), 1) }],
  );

/** From 17×17 to 8×8. */
export const reduction7 = (c: Channels, from: number) =>
  new Mixed(
    [{ branch3x3_1: same(from, c(192), 1), branch3x3_2: conv(c(192), c(320), 3, 2) }],
    [
      {
        branch7x7x3_1: same(from, c(192), 1),
        branch7x7x3_2: row(c(192), c(192), 7),
        branch7x7x3_3: column(c(192), c(192), 7),
        branch7x7x3_4: conv(c(192), c(192), 3, 2),
      },
    ],
    [{ pool: shrink() }],
  );

/** Figure 7: a row and a column side by side, for the last and widest maps. */
export const wide = (c: Channels, from: number) =>
  new Mixed(
    [{ branch1x1: same(from, c(320), 1) }],
    [
      { branch3x3_1: same(from, c(384), 1) },
      { branch3x3_2a: row(c(384), c(384), 3), branch3x3_2b: column(c(384), c(384), 3) },
    ],
    [
      { branch3x3dbl_1: same(from, c(448), 1), branch3x3dbl_2: same(c(448), c(384), 3) },
      { branch3x3dbl_3a: row(c(384), c(384), 3), branch3x3dbl_3b: column(c(384), c(384), 3) },
    ],
    [{ pool: average(), branch_pool: same(from, c(192), 1) }],
  );
