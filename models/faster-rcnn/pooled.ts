/** What maps hold inside of boxes. */

import { F, type nn, type Value } from "wasmith";

export interface PooledOptions {
  /** Pixels of the picture for one of each map, each twice the one before. */
  readonly strides: readonly number[];
  /** Places along each axis of a box. */
  readonly size: number;
}

/**
 * RoiAlign of boxes [N, R, 4], each in the map that fits its size: [N · R, C, size, size]. One of 224×224 pixels is looked at in the map of
 * stride 16, as in "Feature pyramid networks".
 */
export function pooled(ctx: nn.Context, maps: readonly Value[], boxes: Value, { strides, size }: PooledOptions): Value {
  const image = F.arange(boxes.type.shape[0]!).typeAs(boxes).reshape(-1, 1, 1);
  const regions = F.cat([F.expandAs(image, boxes.narrow(2, 0, 1)), boxes], 2).flatten(0, 1);
  const inside = (map: number, some: Value) =>
    F.roiAlign(ctx, maps[map]!, some, size, { spatialScale: 1 / strides[map]!, samplingRatio: 2 });
  if (maps.length === 1) return inside(0, regions);

  const [width, height] = [3, 4].map((i) => regions.select(1, i).sub(regions.select(1, i - 2))) as [Value, Value];
  const fit = F.floor(F.log2(F.sqrt(width.mul(height)).div(224)).add(4 + 1e-6));
  const level = fit.sub(Math.log2(strides[0]!)).clamp(0, maps.length - 1);
  const whole = F.zeros([regions.type.shape[0]!, maps[0]!.type.shape[1]!, size, size]);
  return maps.reduce((all, _, map) => {
    const chosen = F.nonzero(ctx, level.eq(map)).squeeze(1);
    return F.indexCopy(all, 0, chosen, inside(map, regions.indexSelect(0, chosen)));
  }, whole);
}
