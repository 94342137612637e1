/** Boxes as values: (x1, y1, x2, y2) in pixels along the last axis. */

import { F, type nn, type Value } from "wasmith";

/** Intersection over union of all pairs: a [..., K, 4] and b [..., M, 4] give [..., K, M]; 0 of empty boxes. */
export function overlaps(a: Value, b: Value): Value {
  const area = (corners: Value) => {
    const size = F.relu(corners.narrow(-1, 2, 2).sub(corners.narrow(-1, 0, 2)));
    return size.select(-1, 0).mul(size.select(-1, 1));
  };
  const [rows, columns] = [a.unsqueeze(-2), b.unsqueeze(-3)];
  const low = F.maximum(rows.narrow(-1, 0, 2), columns.narrow(-1, 0, 2));
  const high = F.minimum(rows.narrow(-1, 2, 2), columns.narrow(-1, 2, 2));
  const both = area(F.cat([low, high], -1));
  return both.div(area(rows).add(area(columns)).sub(both).clamp(1e-6));
}

/** Centres and sizes (x, y, width, height) of corners, each as [..., 2]. */
export function centred(corners: Value): readonly [centre: Value, size: Value] {
  const [low, high] = F.split(corners, 2, -1) as [Value, Value];
  return [low.add(high).mul(0.5), high.sub(low)];
}

/** Corners [..., 4] of centres and sizes [..., 2]. */
export const cornered = (centre: Value, size: Value): Value =>
  F.cat([centre.sub(size.mul(0.5)), centre.add(size.mul(0.5))], -1);

/** Factors of the four deltas, so that they have a deviation of about 1. */
export type DeltaWeights = readonly [centre: number, size: number];
/** The largest logarithm of how much a size may grow: from 16 to 1000 pixels. */
const mostGrowth = Math.log(1000 / 16);

/** What moves anchors to boxes: shift of the centre by sizes of the anchor, logarithm of the growth. */
export function deltasOf(boxes: Value, anchors: Value, [ofCentre, ofSize]: DeltaWeights = [1, 1]): Value {
  const [[centre, size], [from, scale]] = [centred(boxes), centred(anchors)];
  return F.cat([centre.sub(from).div(scale).mul(ofCentre), F.log(size.div(scale)).mul(ofSize)], -1);
}

/** The boxes to which deltas move anchors. */
export function moved(deltas: Value, anchors: Value, [ofCentre, ofSize]: DeltaWeights = [1, 1]): Value {
  const [from, scale] = centred(anchors);
  const [shift, growth] = F.split(deltas, 2, -1) as [Value, Value];
  const size = F.exp(growth.div(ofSize).clamp(undefined, mostGrowth)).mul(scale);
  return cornered(shift.div(ofCentre).mul(scale).add(from), size);
}

/** Boxes of a grid of `height` × `width` places, one of each shape at each: [height · width · shapes, 4]. */
export function anchorGrid(
  [height, width]: readonly [height: number, width: number],
  stride: number,
  shapes: readonly (readonly [width: number, height: number])[],
  offset = 0,
): Value {
  const corners: number[] = [];
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      for (const [w, h] of shapes) {
        const [x, y] = [(column + offset) * stride, (row + offset) * stride];
        corners.push(x - w / 2, y - h / 2, x + w / 2, y + h / 2);
      }
  return F.reshape(F.constant(Float32Array.from(corners)), -1, 4);
}

/** Boxes less wide or high, in pixels, are none. */
const thinnest = 1e-3;

export interface DetectionOptions {
  /** Boxes that overlap a better one of their class by more than this are left out. Default 0.5. */
  readonly iou?: number;
  /** Boxes of less are left out. Default 0.05. */
  readonly score?: number;
  /** How many boxes a picture has in the result. Default 20. */
  readonly most?: number;
}

/**
 * The best boxes of each picture, none of which overlaps a better one of its class: [N, most, 6] of (x1, y1, x2, y2, score, class), of
 * score 0 where there are no more.
 * @param boxes [N, K, 4], or [N, C, K, 4] where each class has boxes of its own @param scores [N, C, K]
 */
export function detections(
  ctx: nn.Context,
  boxes: Value,
  scores: Value,
  { iou = 0.5, score = 0.05, most = 20 }: DetectionOptions = {},
): Value {
  const own = boxes.type.shape.length === 4;
  const thick = centred(boxes)[1].amin([-1]).ge(thinnest);
  const likely = F.where(own ? thick : thick.unsqueeze(1), scores, 0);
  // Boxes of each class are those of a picture of its own.
  const [places, by] = own ? [boxes.flatten(0, 1), likely.flatten(0, 1).unsqueeze(1)] : [boxes, likely];
  const kept = F.nonMaxSuppression(ctx, places, by, iou, { scoreThreshold: score });
  const ones = F.onesLike(kept.select(1, 0), "f32");
  const best = F.scatterND(F.zerosLike(by), kept, ones).reshape(scores.type.shape).mul(scores);
  const [top, index] = F.topK(best.flatten(1), most);
  const count = F.size(scores, 2);
  const corners = own
    ? F.takeAlongDim(boxes.flatten(1, 2), index.unsqueeze(2), 1)
    : F.takeAlongDim(boxes, F.remainder(index, count).unsqueeze(2), 1);
  const label = F.cast(F.floorDivide(index, count), "f32");
  return F.cat([corners, top.unsqueeze(2), label.unsqueeze(2)], 2);
}

export interface Matched {
  /** Which anchors are to find a box, and which are to find none; those between count for nothing. bool [N, A] */
  readonly positive: Value;
  readonly negative: Value;
  /** The box that each anchor overlaps most, and its class: [N, A, 4], and [N, A] in f32. */
  readonly corners: Value;
  readonly label: Value;
}

/**
 * Boxes for anchors [A, 4] or [N, A, 4] to find: those that they overlap by `above` or more; where no anchor does so, the ones that
 * overlap it most. @param truth [N, M, 5] of corners and class, class −1 where there is none
 */
export function matched(anchors: Value, truth: Value, { above = 0.5, below = 0.4, orBest = true } = {}): Matched {
  const shares = overlaps(anchors, truth.narrow(2, 0, 4));
  const [share, index] = F.max(shares, 2) as readonly [Value, Value];
  const best = shares
    .eq(shares.amax([1], true))
    .logicalAnd(shares.gt(0))
    .any([2]);
  const positive = orBest ? share.ge(above).logicalOr(best) : share.ge(above);
  const own = F.takeAlongDim(truth, index.unsqueeze(2), 1);
  return {
    positive,
    negative: share.lt(below).logicalAnd(positive.logicalNot()),
    corners: own.narrow(2, 0, 4),
    label: own.select(2, 4),
  };
}
