/** Losses that compare outputs with one another: rankings, embeddings, contrast. */

import { amax, moveAxis, norm2, np, sizeOf, sum, where } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { dotGeneral } from "../../../ir/ops/contraction.js";
import { abs, mul, neg, sqrt } from "../../../ir/ops/elementwise.js";
import * as loss from "../../../ir/ops/loss.js";
import { flag, type Kind, number, option, positive, size } from "../../schema.js";
import { defineLoss, like, positivePart, reduce, reductionOption } from "./define.js";

export const hingeEmbedding = defineLoss({
  name: "hingeEmbedding",
  summary:
    "Of distances and targets of 1 (alike: the distance) and −1 (not: max(0, margin − distance)), PyTorch's `hinge_embedding_loss`.",
  options: { ...reductionOption, margin: option(number, 1, "Distance from which on what is not alike is far enough") },
  of:
    ({ reduction, margin }) =>
    (output: Value, target: Value) => {
      const t = like(target, output);
      const apart = where(np.ne(t, 1), positivePart(np.add(neg([output]), margin)), 0);
      return reduce(np.add(apart, where(np.ne(t, -1), output, 0)), reduction);
    },
});

export const marginRanking = defineLoss({
  name: "marginRanking",
  summary:
    "Of two scores and targets of 1 (the first is to be larger) and −1: max(0, margin − target · (first − second)), PyTorch's `margin_ranking_loss`.",
  options: { ...reductionOption, margin: option(number, 0, "What the larger one is to be ahead by") },
  of:
    ({ reduction, margin }) =>
    (first: Value, second: Value, target: Value) =>
      reduce(positivePart(np.add(neg([np.mul(like(target, first), np.sub(first, second))]), margin)), reduction),
});

export const cosineEmbedding = defineLoss({
  name: "cosineEmbedding",
  summary:
    "Of two embeddings [N, D] (or [D]) and targets of 1 (1 − cosine) and −1 (max(0, cosine − margin)), PyTorch's `cosine_embedding_loss`.",
  options: { ...reductionOption, margin: option(number, 0, "Cosine up to which what is not alike is far enough") },
  of:
    ({ reduction, margin }) =>
    (first: Value, second: Value, target: Value) => {
      const along = (a: Value, b: Value) => sum(np.mul(a, b), -1);
      const lengths = mul([np.add(along(first, first), 1e-12), np.add(along(second, second), 1e-12)]);
      const cosine = np.div(along(first, second), sqrt([lengths]));
      const apart = positivePart(np.sub(cosine, margin));
      return reduce(where(np.eq(like(target, cosine), 1), np.add(neg([cosine]), 1), apart), reduction);
    },
});

const norm: Kind<number> = { expected: "a number > 0, or Infinity", fits: (v) => typeof v === "number" && v > 0 };

/** Norm of a − b along the last axis, as PyTorch's `pairwise_distance`: epsilon keeps its gradient finite. */
function distance(a: Value, b: Value, p: number, epsilon: number): Value {
  const d = np.add(np.sub(a, b), epsilon);
  if (p === 2) return norm2(d, -1);
  if (p === 1) return sum(abs([d]), -1);
  if (p === Infinity) return amax(abs([d]), -1);
  return np.pow(sum(np.pow(abs([d]), p), -1), 1 / p);
}

export const triplet = defineLoss({
  name: "triplet",
  summary:
    "Of an anchor, what is like it and what is not, [N, D] each: max(0, distance to the one − distance to the other + margin), PyTorch's `triplet_margin_loss`.",
  options: {
    ...reductionOption,
    margin: option(number, 1, "What the other is to be farther away by"),
    p: option(norm, 2, "Which norm the distance is"),
    epsilon: option(size, 1e-6, "Added to the differences"),
    swap: option(flag, false, "The other's distance is the less of those to the anchor and to what is like it"),
  },
  of:
    ({ reduction, margin, p, epsilon, swap }) =>
    (anchor: Value, positive: Value, negative: Value) => {
      const near = distance(anchor, positive, p, epsilon);
      const far = distance(anchor, negative, p, epsilon);
      const least = swap ? np.min(far, distance(positive, negative, p, epsilon)) : far;
      return reduce(positivePart(np.add(np.sub(near, least), margin)), reduction);
    },
});

export const contrastive = defineLoss({
  name: "contrastive",
  summary:
    "Of two embeddings [N, D] and targets of 1 (alike: distance²) and 0 (not: max(0, margin − distance)²), http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf.",
  options: {
    ...reductionOption,
    margin: option(number, 1, "Distance from which on what is not alike is far enough"),
    epsilon: option(size, 1e-6, "Added to the differences, so that equal embeddings have a gradient"),
  },
  of:
    ({ reduction, margin, epsilon }) =>
    (first: Value, second: Value, target: Value) => {
      const d = distance(first, second, 2, epsilon);
      const t = like(target, d);
      const short = positivePart(np.add(neg([d]), margin));
      return reduce(np.add(np.mul(t, mul([d, d])), np.mul(np.add(neg([t]), 1), mul([short, short]))), reduction);
    },
});

export const infoNCE = defineLoss({
  name: "infoNCE",
  summary:
    "Of two lists of embeddings [N, D]: cross-entropy of each of the first finding its partner among all of the second, https://arxiv.org/abs/1807.03748. `symmetric` adds the other direction and halves, as CLIP does.",
  options: {
    reduction: reductionOption.reduction,
    temperature: option(positive, 0.1, "Similarities are divided by it"),
    normalize: option(flag, true, "Similarity is the cosine; false: the dot product"),
    symmetric: option(flag, false, "Both directions"),
  },
  of:
    ({ reduction, temperature, normalize, symmetric }) =>
    (first: Value, second: Value) => {
      if (first.type.shape.length !== 2 || second.type.shape.length !== 2)
        throw new ModelError(`embeddings [N, D] are needed, not ${typeText(first.type)} and ${typeText(second.type)}`);
      const unit = (v: Value) => (normalize ? np.div(v, np.max(norm2(v, 1, { keepDims: true }), 1e-12)) : v);
      const products = dotGeneral([unit(first), unit(second)], {
        batchA: [],
        batchB: [],
        contractA: [1],
        contractB: [1],
      });
      const logits = np.div(products, temperature);
      const partner = iota([], { dtype: "i32", shape: [sizeOf(first, 0)], axis: 0 });
      const attrs = { reduction, labelSmoothing: 0 };
      const forth = loss.crossEntropy([logits, partner], attrs);
      if (!symmetric) return forth;
      return np.mul(np.add(forth, loss.crossEntropy([moveAxis(logits, 0, 1), partner], attrs)), 0.5);
    },
});
