import {
  asType,
  clamp,
  concatenate,
  expandDims,
  mean,
  norm2,
  np,
  oneHot,
  padConstant,
  reshapeTo,
  square,
  sum,
  where,
} from "../../../ir/build.js";
import { scanOp } from "../../../ir/control-build.js";
import type { Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { full, iota } from "../../../ir/ops/constant.js";
import { sigmoid } from "../../../ir/ops/elementwise.js";
import { gatherElements } from "../../../ir/ops/indexing.js";
import * as loss from "../../../ir/ops/loss.js";
import { logSoftmax, logSumExp } from "../../../ir/ops/normalize.js";
import { type Builder, type Builders, sizes } from "./builder.js";

const crossEntropy =
  (attrs: Partial<Parameters<typeof loss.crossEntropy>[1]> = {}): Builder =>
  ({ x, t, w }) =>
    loss.crossEntropy(w ? [x!, t!, w] : [x!, t!], { reduction: "mean", labelSmoothing: 0, ...attrs });

const one = (v: Value) => np.sub(1, v);

/** Smallest finite stand-in for log 0, so that differences of impossible paths stay finite. */
const impossible = -1e30;

/**
 * CTC by the forward recursion over the labels with blanks between (Graves 2006). log α of all positions is carried through
 * time; each sample stops at its own input length. Mean over samples of loss / target length.
 */
const ctc: Builder = ({ x, targets, input_lengths, target_lengths }) => {
  const [, batch] = sizes(x!) as [number, number, number];
  const labels = sizes(targets!)[1]!;
  const width = 2 * labels + 1;
  // blank t1 blank t2 … blank
  const pairs = concatenate([expandDims(np.mul(targets!, 0), 2), expandDims(targets!, 2)], 2);
  const extended = padConstant(reshapeTo(pairs, [batch, 2 * labels]), [0, 0], [0, 1]);
  const ahead = padConstant(extended, [0, 2], [0, -2], -1);
  const maySkip = np.and(np.ne(extended, 0), np.ne(extended, ahead));
  const logP = logSoftmax([x!], { axis: 2 });
  const place = iota([], { dtype: "i64", shape: [batch, width], axis: 1 });
  const start = where(np.eq(place, 0), 0, full("f32", [batch, width], impossible));
  const time = iota([], { dtype: "i64", shape: [sizes(x!)[0]!], axis: 0 });
  const { carried } = scanOp({ carried: [start], inputs: [logP, time] }, ([alpha], [row, t]) => {
    const shifted = (by: number) => padConstant(alpha!, [0, by], [0, -by], impossible);
    // Before the first step only position 0 is reached, from which a step may stay or advance.
    const skipped = where(np.and(maySkip, np.gt(t!, 0)), shifted(2), impossible);
    const paths = concatenate(
      [alpha!, shifted(1), skipped].map((p) => expandDims(p, 2)),
      2,
    );
    const emitted = gatherElements([row!, extended], { axis: 1 });
    const next = np.add(logSumExp([paths], { axes: [2], keepDims: false }), emitted);
    return { carried: [where(np.lt(t!, reshapeTo(input_lengths!, [batch, 1])), next, alpha!)] };
  });
  const last = reshapeTo(np.mul(target_lengths!, 2), [batch, 1]);
  const ends = concatenate([last, np.sub(last, 1)], 1);
  const total = logSumExp([gatherElements([carried[0]!, ends], { axis: 1 })], { axes: [1], keepDims: false });
  return mean(np.div(np.mul(total, -1), asType(target_lengths!, "f32")));
};

export const losses: Builders = {
  cross_entropy: crossEntropy(),
  cross_entropy_sum: crossEntropy({ reduction: "sum" }),
  cross_entropy_none: crossEntropy({ reduction: "none" }),
  cross_entropy_ignore_index: crossEntropy({ ignoreIndex: 0 }),
  cross_entropy_label_smoothing: crossEntropy({ labelSmoothing: 0.1 }),
  cross_entropy_weight: crossEntropy(),
  cross_entropy_weight_ignore_smooth: crossEntropy({ ignoreIndex: 2, labelSmoothing: 0.2 }),
  cross_entropy_2d: crossEntropy(),
  cross_entropy_soft_targets: crossEntropy(),
  nll_loss: ({ x, t }) => loss.nllLoss([x!, t!], { reduction: "mean" }),
  bce: ({ x, t }) => loss.bceLoss([x!, t!], { reduction: "mean" }),
  bce_logits: ({ x, t }) => loss.bceWithLogitsLoss([x!, t!], { reduction: "mean" }),
  bce_logits_pos_weight: ({ x, t, p }) => loss.bceWithLogitsLoss([x!, t!, p!], { reduction: "mean" }),
  mse_loss: ({ x, y }) => loss.mseLoss([x!, y!], { reduction: "mean" }),
  mse_loss_sum: ({ x, y }) => loss.mseLoss([x!, y!], { reduction: "sum" }),
  l1_loss: ({ x, y }) => loss.l1Loss([x!, y!], { reduction: "mean" }),
  smooth_l1_beta: ({ x, y }) => loss.smoothL1Loss([x!, y!], { reduction: "mean", beta: 0.5 }),
  huber_delta: ({ x, y }) => loss.huberLoss([x!, y!], { reduction: "mean", delta: 0.7 }),
  kl_div_batchmean: ({ x, y }) =>
    np.div(loss.klDivLoss([x!, y!], { reduction: "sum", logTarget: false }), sizes(x!)[0]!),
  kl_div_log_target: ({ x, y }) => loss.klDivLoss([x!, y!], { reduction: "sum", logTarget: true }),
  focal_sigmoid: ({ x, t }, { alpha, gamma }) => {
    const p = sigmoid([x!]);
    const either = (a: Value, b: Value) => np.add(np.mul(a, t!), np.mul(b, one(t!)));
    const balance = np.add(np.mul(t!, alpha as number), np.mul(one(t!), 1 - (alpha as number)));
    const ce = loss.bceWithLogitsLoss([x!, t!], { reduction: "none" });
    return sum(np.mul(np.mul(balance, np.pow(one(either(p, one(p))), gamma as number)), ce));
  },
  hinge_margin: ({ x, t }) => mean(clamp(one(np.mul(t!, x!)), 0)),
  multi_margin: ({ x, t }) => {
    const right = gatherElements([x!, expandDims(t!, 1)], { axis: 1 });
    const others = one(oneHot(t!, sizes(x!)[1]!, "f32"));
    const margins = np.mul(clamp(np.add(np.sub(x!, right), 0.8), 0), others);
    return mean(np.div(sum(margins, 1), sizes(x!)[1]!));
  },
  triplet_margin: ({ a, p, n }) => {
    const distance = (u: Value, v: Value) => norm2(np.add(np.sub(u, v), 1e-6), 1);
    return mean(clamp(np.add(np.sub(distance(a!, p!), distance(a!, n!)), 2), 0));
  },
  capsule_margin: ({ x, t }) => {
    const present = np.mul(t!, square(relu([np.sub(0.9, x!)])));
    const absent = np.mul(np.mul(one(t!), 0.5), square(relu([np.sub(x!, 0.1)])));
    return mean(sum(np.add(present, absent), 1));
  },
  ctc_loss: ctc,
};
