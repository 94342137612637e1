/** How well boxes are found. */

/** A box (x1, y1, x2, y2) around something of a class. */
export interface Box {
  readonly corners: ArrayLike<number>;
  readonly label: number;
}

export interface Found extends Box {
  readonly score: number;
}

/** Area that two boxes share, of the area that they cover together; 0 of empty boxes. */
export function intersectionOverUnion(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const shared = (axis: number) => Math.max(0, Math.min(a[axis + 2]!, b[axis + 2]!) - Math.max(a[axis]!, b[axis]!));
  const area = (box: ArrayLike<number>) => (box[2]! - box[0]!) * (box[3]! - box[1]!);
  const both = shared(0) * shared(1);
  return both === 0 ? 0 : both / (area(a) + area(b) - both);
}

/**
 * Area under precision over recall of what is found in pictures, of one class. In falling order of score each box is right where it
 * overlaps a box of the picture that is not taken yet by `iou` or more; it takes the one it overlaps most. Precision at a recall is the
 * largest at that recall or a higher one, as in the challenges PASCAL VOC (from 2010) and COCO. NaN where there is nothing to find.
 */
export function averagePrecision(
  found: readonly (readonly Found[])[],
  there: readonly (readonly Box[])[],
  iou = 0.5,
): number {
  const free = there.map((boxes) => new Set(boxes));
  const wanted = there.reduce((sum, boxes) => sum + boxes.length, 0);
  const ranked = found
    .flatMap((boxes, picture) => boxes.map((box) => ({ box, picture })))
    .sort((a, b) => b.box.score - a.box.score);
  const right = ranked.map(({ box, picture }) => {
    const [best] = [...free[picture]!]
      .map((other) => ({ other, share: intersectionOverUnion(box.corners, other.corners) }))
      .sort((a, b) => b.share - a.share);
    return best !== undefined && best.share >= iou && free[picture]!.delete(best.other);
  });
  let hits = right.filter(Boolean).length;
  let [area, precision] = [0, 0];
  for (let rank = right.length; rank > 0; rank--) {
    precision = Math.max(precision, hits / rank);
    if (!right[rank - 1]) continue;
    area += precision / wanted;
    hits--;
  }
  return wanted === 0 ? Number.NaN : area;
}

/** mAP: the mean of `averagePrecision` over the classes that are there. */
export function meanAveragePrecision(
  found: readonly (readonly Found[])[],
  there: readonly (readonly Box[])[],
  iou = 0.5,
): number {
  const classes = [...new Set(there.flat().map((box) => box.label))];
  const of = <B extends Box>(all: readonly (readonly B[])[], label: number) =>
    all.map((boxes) => boxes.filter((box) => box.label === label));
  return classes.reduce((sum, c) => sum + averagePrecision(of(found, c), of(there, c), iou), 0) / classes.length;
}
