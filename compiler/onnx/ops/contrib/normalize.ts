/** Normalisations with what surrounds them: residual sums, embeddings, activations. */
import {
  asType,
  broadcastTo,
  expandDims,
  full,
  mean,
  np,
  rankOf,
  reshapeTo,
  rsqrt,
  square,
  sum,
} from "../../../../ir/build.js";
import type { Dim } from "../../../../ir/dim.js";
import type { Value } from "../../../../ir/graph.js";
import { silu } from "../../../../ir/ops/activation.js";
import { iota } from "../../../../ir/ops/constant.js";
import { gather } from "../../../../ir/ops/indexing.js";
import { groupNorm, layerNorm, rmsNorm } from "../../../../ir/ops/normalize.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../../context.js";
import { common, normalize } from "../normalize.js";
import { centred } from "../products.js";
import { present, scalar, withBias } from "./common.js";
import { toChannelsLast, toChannelsSecond } from "./fused.js";

/** 1 / √(mean of squares + ε) from the axis on: of differences from the mean, or of the values themselves. */
function inverseDeviation(x: Value, average: Value | undefined, axes: readonly number[], epsilon: number): Value {
  const from = average ? np.sub(x, average) : x;
  return rsqrt(np.add(mean(square(from), axes, { keepDims: true }), epsilon));
}

/** input + skip (+ bias), normalised; the sum is a result as well. */
const skipLayerNorm: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const total = withBias(np.add(x, broadcastTo(c.input(1), x.type.shape)), c.optional(4));
  const epsilon = c.attrs.float("epsilon", 1e-12);
  const y = common([total, c.input(2), c.optional(3)], (v) => layerNorm(present(v), { axis: -1, epsilon }));
  const last = [rankOf(total) - 1];
  const average = mean(asType(total, "f32"), last, { keepDims: true });
  return [y, average, inverseDeviation(asType(total, "f32"), average, last, epsilon), total];
};

const skipRmsNorm: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const total = withBias(np.add(x, broadcastTo(c.input(1), x.type.shape)), c.optional(3));
  const epsilon = c.attrs.float("epsilon", 1e-12);
  const y = common([total, c.input(2)], (v) => rmsNorm(present(v), { axis: -1, epsilon }));
  const wide = asType(total, "f32");
  const last = [rankOf(total) - 1];
  return [y, mean(wide, last, { keepDims: true }), inverseDeviation(wide, undefined, last, epsilon), total];
};

const simplifiedLayerNorm: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const axis = c.axis(c.attrs.int("axis", -1), rankOf(x));
  const epsilon = c.attrs.float("epsilon", 1e-5);
  const wide = asType(x, x.type.dtype === "f64" ? "f64" : "f32");
  const axes = x.type.shape.map((_, i) => i).slice(axis);
  return [
    common([x, c.input(1)], (v) => rmsNorm(present(v), { axis, epsilon })),
    inverseDeviation(wide, undefined, axes, epsilon),
  ];
};

/** Number of tokens of each sequence, of a mask of 0 and 1; without one 0. */
const tokenCounts = (ids: Value, mask: Value | undefined): Value =>
  mask ? sum(asType(mask, "i32"), 1) : full("i32", [ids.type.shape[0]!], 0);

interface Embeddings {
  readonly words: Value;
  readonly positions: Value;
  readonly segments: Value | undefined;
  readonly gamma: Value;
  readonly beta: Value;
}

function embedded(c: NodeContext, tables: Embeddings, positionIds: Value | undefined): readonly Bound[] {
  const ids = c.input(0);
  const [, length] = ids.type.shape as [Dim, Dim];
  const at = positionIds ?? expandDims(iota([], { dtype: "i64", shape: [length], axis: 0 }), 0);
  let total = np.add(gather([tables.words, ids], { axis: 0 }), gather([tables.positions, at], { axis: 0 }));
  if (c.has(1) && tables.segments) total = np.add(total, gather([tables.segments, c.input(1)], { axis: 0 }));
  const y = common([total, tables.gamma, tables.beta], (v) =>
    layerNorm(present(v), { axis: -1, epsilon: c.attrs.float("epsilon", 1e-12) }),
  );
  return [y, tokenCounts(ids, c.optional(7)), total];
}

const embedLayerNorm: ImportOp = (c) =>
  embedded(
    c,
    {
      words: c.input(2),
      positions: c.input(3),
      segments: c.optional(4),
      gamma: c.input(5),
      beta: c.input(6),
    },
    c.optional(8),
  );

/** Tables 2 to 6 with the scales at 8 to 12 and the zero points at 13 to 17. */
const qEmbedLayerNorm: ImportOp = (c) => {
  const table = (i: number) => np.mul(asType(centred(c.input(i), c.optional(i + 11)), "f32"), scalar(c.input(i + 6)));
  const segments = c.has(4) ? table(4) : undefined;
  const tables = { words: table(2), positions: table(3), segments, gamma: table(5), beta: table(6) };
  return embedded(c, tables, undefined).slice(0, 2);
};

/** Of x with its channels last, unless the node says otherwise. */
function groupNormOf(c: NodeContext, x: Value): Value {
  const last = c.attrs.flag("channels_last", true);
  const y = common([last ? toChannelsSecond(x) : x, c.input(1), c.input(2)], (v) =>
    groupNorm(present(v), { groups: c.attrs.requiredInt("groups"), epsilon: c.attrs.float("epsilon", 1e-5) }),
  );
  const active = c.attrs.requiredInt("activation") === 1 ? silu([y]) : y;
  return last ? toChannelsLast(active) : active;
}

const skipGroupNorm: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const skip = c.input(3);
  // [N, C] adds the same to each position.
  const at = rankOf(skip) === 2 ? reshapeTo(skip, [skip.type.shape[0]!, 1, 1, skip.type.shape[1]!]) : skip;
  const total = withBias(np.add(x, at), c.optional(4));
  return [groupNormOf(c, total), total];
};

export const normalizeRows: Readonly<Record<string, OpRow>> = {
  LayerNormalization: normalize.LayerNormalization,
  SimplifiedLayerNormalization: simplifiedLayerNorm,
  SkipLayerNormalization: skipLayerNorm,
  SkipSimplifiedLayerNormalization: skipRmsNorm,
  EmbedLayerNormalization: embedLayerNorm,
  QEmbedLayerNormalization: qEmbedLayerNorm,
  GroupNorm: (c) => groupNormOf(c, c.input(0)),
  SkipGroupNorm: skipGroupNorm,
};
