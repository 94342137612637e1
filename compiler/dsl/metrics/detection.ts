/** Average precision of boxes that were found. */

import {
  amax,
  asType,
  concatenate,
  expandDims,
  moveAxis,
  np,
  reshapeTo,
  sum,
  takeAt,
  where,
} from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { constantLike, iota } from "../../../ir/ops/constant.js";
import { gatherElements } from "../../../ir/ops/indexing.js";
import { argMax } from "../../../ir/ops/reduce.js";
import { sort } from "../../../ir/ops/sort.js";
import { count, option, required, share as shareKind } from "../../schema.js";
import { cumulated } from "./classes.js";
import { bins, defineMetric, histogram, share } from "./define.js";

const column = (boxes: Value, c: number): Value => takeAt(boxes, 2, c);

/** Intersection over union of each of the boxes [N, K, …] with each of the others [N, M, …]: [N, K, M]. */
function overlaps(boxes: Value, others: Value): Value {
  const a = (c: number) => expandDims(column(boxes, c), 2);
  const b = (c: number) => expandDims(column(others, c), 1);
  const side = (low: number, high: number) => np.max(np.sub(np.min(a(high), b(high)), np.max(a(low), b(low))), 0);
  const area = (v: (c: number) => Value) => np.mul(np.max(np.sub(v(2), v(0)), 0), np.max(np.sub(v(3), v(1)), 0));
  const both = np.mul(side(0, 2), side(1, 3));
  return share(both, np.sub(np.add(area(a), area(b)), both));
}

/** Whether each box, [N, K] in falling order of score, finds a target of its class that no box before it has taken. */
function matches(boxes: Value, targets: Value, threshold: number): Value {
  const alike = np.eq(expandDims(column(boxes, 5), 2), expandDims(column(targets, 4), 1));
  const there = expandDims(np.ge(column(targets, 4), 0), 1);
  const fitting = where(np.and(alike, there), overlaps(boxes, targets), -1);
  const rows = moveAxis(fitting, 1, 0);
  const none = constantLike(takeAt(rows, 0, 0), 0);
  const { scanned } = scanOp({ carried: [none], inputs: [rows] }, ([taken], [row]) => {
    const free = where(np.gt(taken!, 0), -1, row!);
    const best = argMax([free], { axis: 1, keepDims: true });
    const found = np.ge(amax(free, 1, { keepDims: true }), threshold);
    const place = np.eq(iota([], { dtype: best.type.dtype, shape: [1, row!.type.shape[1]!], axis: 1 }), best);
    const taking = asType(np.and(place, found), taken!.type.dtype);
    return { carried: [np.max(taken!, taking)], scanned: [asType(reshapeTo(found, [found.type.shape[0]!]), "f32")] };
  });
  return moveAxis(scanned[0]!, 0, 1);
}

/** Boxes in falling order of their scores. */
function byScore(boxes: Value): Value {
  const [, order] = sort([column(boxes, 4)], { axis: 1, descending: true });
  const parts = [0, 1, 2, 3, 4, 5].map((c) => expandDims(gatherElements([column(boxes, c), order!], { axis: 1 }), 2));
  return concatenate(parts, 2);
}

export const boxAveragePrecision = defineMetric({
  name: "boxAveragePrecision",
  summary:
    "mAP of boxes: the output [N, K, 6] holds x₁, y₁, x₂, y₂, score (0: no box) and class, the target [N, M, 5] x₁, y₁, x₂, y₂ and class (−1: no box). In falling order of score each box takes the target of its class that it overlaps most, of those that are free and overlap enough (COCO's matching); precision is the largest at that recall or a higher one; the mean is over the classes that are there. Scores in one bin count as equal.",
  options: {
    classes: required(count, "Number of classes"),
    iou: option(shareKind, 0.5, "Overlap, as intersection over union, from which on a box is found"),
    ...bins,
  },
  of: ({ classes, iou, bins: size }) => ({
    slots: { found: [classes, size], wrong: [classes, size], targets: [classes] },
    update: (output, target) => {
      const [o, t] = [output.type.shape, target!.type.shape];
      if (o.length !== 3 || o[2] !== 6 || t.length !== 3 || t[2] !== 5)
        throw new ModelError(
          `boxes [N, K, 6] and [N, M, 5] are needed, not ${typeText(output.type)} and ${typeText(target!.type)}`,
        );
      const boxes = byScore(output);
      const hit = matches(boxes, target!, iou);
      const score = column(boxes, 4);
      const valid = np.gt(score, 0);
      const down = np.min(np.max(np.mul(np.sub(score, 1), -size), 0), size - 1);
      const ofClass = where(valid, asType(column(boxes, 5), "i32"), 0);
      const place = np.add(np.mul(ofClass, size), asType(down, "i32"));
      const counted = (weights: Value) => reshapeTo(histogram(place, weights, classes * size), [classes, size]);
      const real = asType(valid, "f32");
      const labels = column(target!, 4);
      const there = np.ge(labels, 0);
      return {
        found: counted(np.mul(real, hit)),
        wrong: counted(np.mul(real, np.sub(constantLike(hit, 1), hit))),
        targets: histogram(where(there, asType(labels, "i32"), 0), asType(there, "f32"), classes),
      };
    },
    result: ({ found, wrong, targets }) => {
      const hits = cumulated(found!);
      const precision = share(hits, np.add(hits, cumulated(wrong!)));
      const at = (axis: number) => iota([], { dtype: "i32", shape: [size, size], axis });
      // Of this bin and those of lower scores.
      const best = amax(where(np.ge(at(1), at(0)), expandDims(precision, 1), 0), 2);
      const each = share(sum(np.mul(best, found!), 1), targets!);
      return share(sum(each), sum(asType(np.gt(targets!, 0), "f64")));
    },
  }),
});
