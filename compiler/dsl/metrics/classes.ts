/** Metrics of class labels. */

import { asType, expandDims, mean, np, rankOf, reshapeTo, sum, where } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { exp, sub } from "../../../ir/ops/elementwise.js";
import { gatherElements } from "../../../ir/ops/indexing.js";
import * as loss from "../../../ir/ops/loss.js";
import { argMax } from "../../../ir/ops/reduce.js";
import { choice, count, option, optional, positive, type Settings, share as shareKind } from "../../schema.js";
import { like } from "../losses/define.js";
import {
  bins,
  countOf,
  defineMetric,
  fromLogits,
  histogram,
  ignoreIndex,
  type Metric,
  probabilities,
  type Sums,
  share,
} from "./define.js";

/** Axis of the classes: 1, or 0 where the output is one row. */
const classAxis = (output: Value): number => (rankOf(output) === 1 ? 0 : 1);

const numbers = (condition: Value): Value => asType(condition, "f32");
const total = (condition: Value): Value => sum(asType(condition, "f64"));

/** The largest class of each row, as the target's integers. */
function predicted(output: Value, target: Value): Value {
  if (rankOf(target) !== rankOf(output) - 1)
    throw new ModelError({
      message: `class indices ${typeText(target.type)} do not fit ${typeText(output.type)}`,
      hint: "they have all axes of the output but the one of the classes, which is axis 1",
    });
  return asType(argMax([output], { axis: classAxis(output), keepDims: false }), target.type.dtype);
}

const ratioSlots = { right: [], count: [] };
const ratio = ({ right, count: n }: Sums): Value => share(right!, n!);

export const accuracy = defineMetric({
  name: "accuracy",
  summary: "Share of class indices [N, …] whose score is the largest along axis 1 of the output [N, C, …].",
  options: ignoreIndex,
  of: ({ ignoreIndex: ignored }) => ({
    slots: ratioSlots,
    update: (output, target) => {
      const counted = np.ne(target!, ignored);
      return { right: total(np.and(np.eq(predicted(output, target!), target!), counted)), count: total(counted) };
    },
    result: ratio,
  }),
});

export const topK = defineMetric({
  name: "topK",
  summary:
    "Share of class indices [N, …] whose score is among the k largest along axis 1 of the output [N, C, …]. Of equal scores the first counts as larger.",
  options: { k: option(count, 5, "How many"), ...ignoreIndex },
  of: ({ k, ignoreIndex: ignored }) => ({
    slots: ratioSlots,
    update: (output, target) => {
      const axis = classAxis(output);
      const counted = np.ne(target!, ignored);
      const at = expandDims(where(counted, target!, 0), axis);
      const own = gatherElements([output, at], { axis });
      const shape = output.type.shape.map((d, a) => (a === axis ? d : 1));
      const earlier = np.lt(iota([], { dtype: at.type.dtype, shape, axis }), at);
      const ahead = np.or(np.gt(output, own), np.and(np.eq(output, own), earlier));
      const rank = sum(asType(ahead, "i32"), axis);
      return { right: total(np.and(np.lt(rank, k), counted)), count: total(counted) };
    },
    result: ratio,
  }),
});

const threshold = { threshold: option(shareKind, 0.5, "From above which probability on an element counts as 1") };

/** Which elements the output takes for 1. */
const taken = (output: Value, o: { readonly threshold: number; readonly fromLogits: boolean }): Value =>
  o.fromLogits
    ? np.gt(output, o.threshold === 0.5 ? 0 : Math.log(o.threshold / (1 - o.threshold)))
    : np.gt(output, o.threshold);

const isOne = (target: Value, output: Value): Value => np.gt(like(target, output), 0.5);

export const binaryAccuracy = defineMetric({
  name: "binaryAccuracy",
  summary: "Share of elements that are on the target's side (0 or 1) of the threshold.",
  options: { ...threshold, ...fromLogits },
  of: (o) => ({
    slots: ratioSlots,
    update: (output, target) => ({
      right: total(np.eq(taken(output, o), isOne(target!, output))),
      count: countOf(output),
    }),
    result: ratio,
  }),
});

// ----------------------------------------------------------------------------------------- precision, recall, F score

const averaging = {
  average: option(
    choice("binary", "micro", "macro", "weighted", "none"),
    "binary",
    "`binary`: elements of 0 and 1; else classes, all together, by their mean, by their mean weighted with their targets, or each for itself",
  ),
  classes: optional(count, "Number of classes; needed but for `binary`"),
  ...threshold,
  ...fromLogits,
  ...ignoreIndex,
};

/** Right ones, those that were predicted and those that were there, for each class or of all. */
type Counts = Readonly<Record<"right" | "predicted" | "actual", Value>>;

function classCounts(o: Settings<typeof averaging>): Pick<Metric, "slots" | "update"> {
  const per = o.average === "binary" ? 1 : classesOf(o.classes);
  const shape = o.average === "binary" || o.average === "micro" ? [] : [per];
  return {
    slots: { right: shape, predicted: shape, actual: shape },
    update: (output, target) => {
      const counts = countsOf(output, target!, per);
      if (shape.length > 0) return counts;
      return Object.fromEntries(Object.entries(counts).map(([name, v]) => [name, sum(asType(v, "f64"))]));
    },
  };

  function countsOf(output: Value, target: Value, classes: number): Counts {
    if (rankOf(target) === rankOf(output) || o.average === "binary") {
      // Elements of 0 and 1; several classes may hold, and lie along axis 1.
      const [yes, there] = [taken(output, o), isOne(target, output)];
      const axes = output.type.shape.map((_, a) => a).filter((a) => o.average === "binary" || a !== 1);
      const over = (v: Value) => sum(asType(v, "f64"), axes);
      return { right: over(np.and(yes, there)), predicted: over(yes), actual: over(there) };
    }
    const best = predicted(output, target);
    const counted = np.ne(target, o.ignoreIndex);
    const safe = where(counted, target, 0);
    return {
      right: histogram(safe, numbers(np.and(np.eq(best, target), counted)), classes),
      predicted: histogram(where(counted, best, 0), numbers(counted), classes),
      actual: histogram(safe, numbers(counted), classes),
    };
  }
}

function classesOf(classes: number | undefined): number {
  if (classes !== undefined) return classes;
  throw new ModelError({
    where: "option classes",
    message: "metrics of classes need their number",
    hint: 'give `classes: 10`, say, or `average: "binary"`',
  });
}

const averaged =
  (o: Settings<typeof averaging>, of: (c: Counts) => Value): Metric["result"] =>
  (sums) => {
    const counts = sums as Counts;
    const each = of(counts);
    if (o.average === "macro") return mean(each);
    if (o.average === "weighted") return share(sum(np.mul(each, counts.actual)), sum(counts.actual));
    return each;
  };

const scored = (name: string, summary: string, of: (c: Counts) => Value) =>
  defineMetric({
    name,
    summary: `${summary} Outputs are scores [N, C, …] for class indices [N, …], or one score for each element of targets of 0 and 1. 0 where nothing is counted.`,
    options: averaging,
    of: (o) => ({ ...classCounts(o), result: averaged(o, of) }),
  });

export const precision = scored("precision", "Share of what is predicted that is right.", (c) =>
  share(c.right, c.predicted),
);

export const recall = scored("recall", "Share of what is there that is found.", (c) => share(c.right, c.actual));

export const fBeta = defineMetric({
  name: "fBeta",
  summary: "Harmonic mean of precision and recall, in which recall weighs beta² times as much. See precision.",
  options: { beta: option(positive, 1, "1: the F1 score"), ...averaging },
  of: (o) => ({ ...classCounts(o), result: averaged(o, (c) => fScore(c, o.beta)) }),
});

export const f1 = scored("f1", "Harmonic mean of precision and recall.", (c) => fScore(c, 1));

/** (1 + β²)·right / (predicted + β²·actual) */
const fScore = ({ right, predicted: p, actual }: Counts, beta: number): Value =>
  share(np.mul(right, 1 + beta ** 2), np.add(p, np.mul(actual, beta ** 2)));

// ------------------------------------------------------------------------------------------- confusion, intersections

/** Counts of pairs of target and prediction, [classes, classes]. */
function confusion(classes: number, ignored: number): Pick<Metric, "slots" | "update"> {
  return {
    slots: { pairs: [classes, classes] },
    update: (output, target) => {
      const counted = np.ne(target!, ignored);
      const safe = where(counted, target!, 0);
      const inside = where(np.ge(safe, classes), -1, safe);
      const pair = where(np.lt(inside, 0), -1, np.add(np.mul(inside, classes), predicted(output, target!)));
      return {
        pairs: reshapeTo(histogram(where(counted, pair, 0), numbers(counted), classes ** 2), [classes, classes]),
      };
    },
  };
}

const classesOption = { classes: optional(count, "Number of classes; needed") };

export const confusionMatrix = defineMetric({
  name: "confusionMatrix",
  summary: "How often class i (rows) was taken for class j (columns), [classes, classes].",
  options: { ...classesOption, ...ignoreIndex },
  of: (o) => ({ ...confusion(classesOf(o.classes), o.ignoreIndex), result: ({ pairs }) => pairs! }),
});

export const iou = defineMetric({
  name: "iou",
  summary:
    "Intersection over union of each class, of scores [N, C, …] and class indices [N, …]; the mean is over the classes that are predicted or there (Keras's `MeanIoU`).",
  options: {
    ...classesOption,
    average: option(choice("macro", "none"), "macro", "Mean of the classes, or each for itself"),
    ...ignoreIndex,
  },
  of: (o) => {
    const classes = classesOf(o.classes);
    return {
      ...confusion(classes, o.ignoreIndex),
      result: ({ pairs }) => {
        const same = np.eq(
          ...([0, 1].map((axis) => iota([], { dtype: "i32", shape: [classes, classes], axis })) as [Value, Value]),
        );
        const both = sum(where(same, pairs!, 0), 0);
        const union = sub([np.add(sum(pairs!, 0), sum(pairs!, 1)), both]);
        const each = share(both, union);
        return o.average === "none" ? each : share(sum(each), total(np.gt(union, 0)));
      },
    };
  },
});

// ------------------------------------------------------------------------------------------------------------- curves

/** Histograms of the probabilities of elements whose target is 1 and 0, from the highest bin down: [columns, bins] or [bins]. */
function curve(size: number, columns: number | undefined, logits: boolean): Pick<Metric, "slots" | "update"> {
  const shape = columns === undefined ? [size] : [columns, size];
  return {
    slots: { positives: shape, negatives: shape },
    update: (output, target) => {
      const p = probabilities(output, logits);
      const down = np.min(np.max(np.mul(np.sub(p, 1), -size), 0), size - 1);
      const bin = asType(down, "i32");
      if (columns !== undefined && (rankOf(output) !== 2 || output.type.shape[1] !== columns))
        throw new ModelError(`scores [N, ${columns}] are needed, not ${typeText(output.type)}`);
      const row = columns === undefined ? 0 : iota([], { dtype: "i32", shape: [1, columns], axis: 1 });
      const place = columns === undefined ? bin : np.add(bin, np.mul(row as Value, size));
      const there = isOne(target!, output);
      const of = (which: Value) => reshapeTo(histogram(place, numbers(which), size * (columns ?? 1)), shape);
      return { positives: of(there), negatives: of(np.eq(asType(there, "i32"), 0)) };
    },
  };
}

/** Sums along the last axis up to each element, itself included. */
export function cumulated(v: Value): Value {
  const n = v.type.shape.at(-1) as number;
  const at = (axis: number) => iota([], { dtype: "i32", shape: [n, n], axis });
  const upTo = np.le(at(1), at(0));
  return sum(where(upTo, expandDims(v, -2), 0), -1);
}

export const auc = defineMetric({
  name: "auc",
  summary:
    "Area under the ROC curve of scores and targets of 0 and 1. Probabilities in one bin count as equal, so that it is exact where no bin holds both a positive and a negative; otherwise off by half of such pairs' share at most.",
  options: { ...bins, ...fromLogits },
  of: (o) => ({
    ...curve(o.bins, undefined, o.fromLogits),
    result: ({ positives, negatives }) => {
      // Each negative is beaten by the positives above it, and by half of those beside it.
      const above = np.sub(cumulated(positives!), np.mul(positives!, 0.5));
      return share(sum(np.mul(above, negatives!)), np.mul(sum(positives!), sum(negatives!)));
    },
  }),
});

/** Σ precision · (recall gained), from the highest probability down, along the last axis. */
function precisionArea({ positives, negatives }: Sums): Value {
  const found = cumulated(positives!);
  const precisionAt = share(found, np.add(found, cumulated(negatives!)));
  return share(sum(np.mul(precisionAt, positives!), -1), sum(positives!, -1));
}

export const averagePrecision = defineMetric({
  name: "averagePrecision",
  summary:
    "Area under the precision-recall curve of scores and targets of 0 and 1: Σ precision · gain of recall over the bins, exact where no bin holds both a positive and a negative.",
  options: { ...bins, ...fromLogits },
  of: (o) => ({ ...curve(o.bins, undefined, o.fromLogits), result: precisionArea }),
});

export const meanAveragePrecision = defineMetric({
  name: "meanAveragePrecision",
  summary: "mAP of scores [N, C] and targets of 0 and 1: the mean of averagePrecision over the classes that are there.",
  options: { ...classesOption, ...bins, ...fromLogits },
  of: (o) => ({
    ...curve(o.bins, classesOf(o.classes), o.fromLogits),
    result: (sums) => {
      const there = np.gt(sum(sums.positives!, -1), 0);
      return share(sum(where(there, precisionArea(sums), 0)), total(there));
    },
  }),
});

export const perplexity = defineMetric({
  name: "perplexity",
  summary: "e to the mean cross-entropy of logits [N, C, …] and class indices [N, …].",
  options: ignoreIndex,
  of: ({ ignoreIndex: ignored }) => ({
    slots: { entropy: [], count: [] },
    update: (output, target) => ({
      entropy: loss.crossEntropy([output, target!], { reduction: "sum", labelSmoothing: 0, ignoreIndex: ignored }),
      count: total(np.ne(target!, ignored)),
    }),
    result: ({ entropy, count: n }) => exp([share(entropy!, n!)]),
  }),
});
