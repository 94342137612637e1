import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Context } from "../../compiler/dsl/context.js";
import { type AnyModule, applyModel, namedOutputs } from "../../compiler/dsl/graph.js";
import { F, losses, nn } from "../../compiler/dsl/index.js";
import type { Variable } from "../../compiler/dsl/module.js";
import * as B from "../../ir/build.js";
import { einsum, linear, matmul } from "../../ir/einsum.js";
import { graph, param, type Value } from "../../ir/graph.js";
import * as act from "../../ir/ops/activation.js";
import { attention } from "../../ir/ops/attention.js";
import { constant } from "../../ir/ops/constant.js";
import * as ew from "../../ir/ops/elementwise.js";
import { scaleGradient, stopGradient } from "../../ir/ops/gradient.js";
import { bceWithLogitsLoss, crossEntropy } from "../../ir/ops/loss.js";
import * as norm from "../../ir/ops/normalize.js";
import { cumProd, cumSum } from "../../ir/ops/sort.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { pullback } from "../../passes/graph/differentiate.js";
import { dataFolder, disagreement, hasData, readJson, readTensors } from "./reference-data.js";

interface Entry {
  readonly id: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: readonly { readonly name: string; readonly key: string; readonly grad?: string }[];
  readonly outputs: readonly { readonly key: string; readonly upstream?: string }[];
  readonly rtol: number;
  readonly atolOutput: number;
  readonly atolGrad: number;
}

type Values = Readonly<Record<string, Value>>;
type Build = (v: Values, attributes: Entry["attributes"]) => Value | readonly Value[];

const { np } = B;

/** Applies a layer whose variables are the inputs of their names. */
const withVariables = (model: AnyModule, v: Values, inputs: readonly Value[], names: Record<string, string> = {}) => {
  const values = new Map<Variable, Value>(
    [...model.variables()].map(([name, variable]) => [variable, v[names[name] ?? name]!]),
  );
  return namedOutputs(applyModel(model, new Context(model, (v) => values.get(v)), inputs)).map(([, value]) => value);
};

// The weights of these entries lie in the file as 1.5 times those that PyTorch's modules computed with, and with gradients of 0:
// outputs and the gradients of sequences and states are compared. Weights' gradients are checked by the training trajectories.
const recurrent =
  (make: () => AnyModule): Build =>
  (v) =>
    withVariables(make(), Object.fromEntries(Object.entries(v).map(([name, w]) => [name, np.div(w, 1.5)])), [
      v.x!,
      ...(v.h0 ? [v.h0] : []),
      ...(v.c0 ? [v.c0] : []),
    ]);

/** The function for the number of spatial axes. */
const forAxes = <T>(x: Value, one: T, two: T, three: T): T => [one, two, three][x.type.shape.length - 3]!;

const convolve: Build = (v, { k = {} }) => forAxes(v.x!, F.conv1d, F.conv2d, F.conv3d)(v.x!, v.w!, v.b, k as never);
const transposed: Build = (v, { k = {} }) => {
  const { output_padding: outputPadding = 0, ...rest } = k as { output_padding?: number };
  const transpose = forAxes(v.x!, F.convTranspose1d, F.convTranspose2d, F.convTranspose3d);
  return transpose(v.x!, v.w!, v.b, { ...rest, outputPadding });
};
const batchNormOf: Build = (v, { training, momentum, eps }) => {
  const own = [v.weight, v.bias].filter((w) => w !== undefined);
  const operands = [v.x!, v.running_mean!, v.running_var!, ...own];
  if (!training)
    return [norm.batchNorm(operands, { axis: 1, epsilon: eps as number }), v.running_mean!, v.running_var!];
  return norm.batchNormTrain(operands, {
    axis: 1,
    epsilon: eps as number,
    momentum: momentum as number,
    correction: 1,
  });
};
const unary =
  (f: (x: Value) => Value): Build =>
  (v) =>
    f(v.x!);
const pair =
  (f: (a: Value, b: Value) => Value): Build =>
  (v) =>
    f(v.a!, v.b!);
const target =
  (loss: losses.Loss): Build =>
  (v) =>
    loss(v.x!, (v.t ?? v.y)!);
/** The losses' operands beyond input and target: weights of classes. */
const weighted =
  (attrs: { readonly ignoreIndex?: number; readonly labelSmoothing: number }): Build =>
  (v) =>
    crossEntropy([v.x!, v.t!, v.w!], { reduction: "mean", ...attrs });

const builds: Readonly<Record<string, Build>> = {
  unary_relu: unary((x) => act.relu([x])),
  unary_leaky_relu: unary((x) => act.leakyRelu([x], { slope: 0.2 })),
  unary_elu: unary((x) => act.elu([x], { alpha: 0.8 })),
  unary_selu: unary((x) => act.selu([x], act.seluConstants)),
  unary_gelu_erf: unary((x) => act.gelu([x], { approximate: "none" })),
  unary_gelu_tanh: unary((x) => act.gelu([x], { approximate: "tanh" })),
  unary_silu: unary((x) => act.silu([x])),
  unary_mish: unary((x) => act.mish([x])),
  unary_softplus: unary((x) => act.softplus([x], { beta: 1 })),
  unary_softplus_beta: unary((x) => act.softplus([x], { beta: 2.5 })),
  unary_hardswish: unary((x) => act.hardSwish([np.mul(x, 3)])),
  unary_hardsigmoid: unary((x) => act.hardSigmoid([np.mul(x, 3)], act.hardSigmoidConstants)),
  unary_hardtanh: unary((x) => act.hardTanh([x], { low: -0.7, high: 0.9 })),
  unary_relu6: unary((x) => act.hardTanh([np.mul(x, 4)], { low: 0, high: 6 })),
  unary_softsign: unary((x) => act.softsign([x])),
  unary_logsigmoid: unary((x) => act.logSigmoid([x])),
  unary_celu: unary((x) => act.celu([x], { alpha: 1.4 })),
  unary_abs: unary((x) => ew.abs([x])),
  unary_neg: unary((x) => ew.neg([x])),
  unary_exp: unary((x) => ew.exp([x])),
  unary_sin: unary((x) => ew.sin([x])),
  unary_cos: unary((x) => ew.cos([x])),
  unary_tan: unary((x) => ew.tan([np.mul(x, 0.5)])),
  unary_tanh: unary((x) => ew.tanh([x])),
  unary_sigmoid: unary((x) => ew.sigmoid([x])),
  unary_erf: unary((x) => ew.erf([x])),
  unary_square: unary(B.square),
  unary_cube: unary((x) => np.pow(x, 3)),
  unary_atan: unary((x) => ew.atan([x])),
  unary_sinh: unary((x) => ew.sinh([x])),
  unary_expm1: unary((x) => ew.expm1([x])),
  unary_log: unary((x) => ew.log([x])),
  unary_sqrt: unary((x) => ew.sqrt([x])),
  unary_rsqrt: unary(B.rsqrt),
  unary_reciprocal: unary(B.reciprocal),
  unary_log1p: unary((x) => ew.log1p([x])),
  unary_pow_half: unary((x) => np.pow(x, 1.5)),
  unary_log2: unary((x) => np.div(ew.log([x]), Math.LN2)),
  prelu_channel: (v) => act.prelu([v.x!, act.channelSlope(v.x!, v.weight!)]),
  prelu_single: (v) => act.prelu([v.x!, act.channelSlope(v.x!, v.weight!)]),
  glu: unary((x) => act.glu([x], { axis: 1 })),
  binary_add: pair(np.add),
  binary_sub: pair(np.sub),
  binary_mul: pair(np.mul),
  binary_div: pair(np.div),
  binary_add_both_broadcast: pair(np.add),
  binary_mul_scalar_tensor: pair(np.mul),
  binary_pow: pair(np.pow),
  binary_max: pair(np.max),
  binary_min: pair(np.min),
  binary_atan2: pair(np.atan2),
  lerp: (v) => np.add(v.a!, np.mul(v.w!, np.sub(v.b!, v.a!))),
  where_broadcast: (v) => B.where(v.c!, v.a!, v.b!),
  clamp_both: unary((x) => B.clamp(x, -0.5, 0.8)),
  clamp_min: unary((x) => B.clamp(x, 0.1)),
  sum_all: unary((x) => B.sum(x)),
  sum_axes_keepdim: unary((x) => B.sum(x, [0, 2], { keepDims: true })),
  mean_axis: unary((x) => B.mean(x, 1)),
  mean_axes: unary((x) => B.mean(x, [1, 2])),
  amax_axes: unary((x) => B.amax(x, [0, 2])),
  amax_ties: unary((x) => B.amax(x, 1)),
  var_unbiased: unary((x) => B.variance(x, 1, { correction: 1 })),
  var_biased_axes: unary((x) => B.variance(x, [0, 2], { keepDims: true })),
  std_axis: unary((x) => ew.sqrt([B.variance(x, 0, { correction: 1 })])),
  logsumexp: unary((x) => norm.logSumExp([x], { axes: [1], keepDims: false })),
  norm_2: unary((x) => B.norm2(x, 1)),
  normalize: unary((x) => norm.lpNormalize([x], { axis: 1, p: 2, epsilon: 1e-12 })),
  cumsum: unary((x) => cumSum([x], { axis: 1, exclusive: false, reverse: false })),
  cumprod: unary((x) => cumProd([x], { axis: 1, exclusive: false, reverse: false })),
  matmul_2d: pair(matmul),
  matmul_batched: pair(matmul),
  matmul_broadcast: pair(matmul),
  matmul_vec_right: pair(matmul),
  matmul_vec_left: pair(matmul),
  matmul_dot: pair(matmul),
  matmul_17x33x9: pair(matmul),
  matmul_transposed: pair((a, b) => matmul(B.swapAxes(a, -1, -2), b)),
  linear: (v) => linear(v.x!, v.w!, v.b),
  addmm: (v) => np.add(np.mul(v.c!, 0.5), np.mul(matmul(v.a!, v.b!), 2)),
  einsum_bij_bkj: pair((a, b) => einsum("bij,bkj->bik", a, b)),
  conv1d: convolve,
  conv1d_stride_pad_dilation: convolve,
  conv1d_groups: convolve,
  conv2d: convolve,
  conv2d_5x5_lenet: convolve,
  conv2d_stride2_pad1: convolve,
  conv2d_asym: convolve,
  conv2d_dilation_nobias: convolve,
  conv2d_groups: convolve,
  conv2d_depthwise: convolve,
  conv2d_depthwise_mult_stride: convolve,
  conv2d_1x1: convolve,
  conv2d_7x7_s2_p3: convolve,
  conv3d: convolve,
  conv3d_stride: convolve,
  conv_transpose1d: transposed,
  conv_transpose2d: transposed,
  conv_transpose2d_dcgan: transposed,
  conv_transpose2d_outpad: transposed,
  conv_transpose2d_groups_dilation: transposed,
  max_pool2d: unary((x) => F.maxPool2d(x, 2)),
  max_pool2d_overlap_pad: unary((x) => F.maxPool2d(x, 3, { stride: 2, padding: 1 })),
  max_pool2d_ceil: unary((x) => F.maxPool2d(x, 3, { stride: 2, ceilMode: true })),
  max_pool2d_dilation: unary((x) => F.maxPool2d(x, 2, { stride: 1, dilation: 2 })),
  max_pool1d: unary((x) => F.maxPool1d(x, 3, { stride: 2 })),
  max_pool3d: unary((x) => F.maxPool3d(x, 2)),
  avg_pool2d: unary((x) => F.avgPool2d(x, 2)),
  avg_pool2d_pad_include: unary((x) => F.avgPool2d(x, 3, { stride: 2, padding: 1 })),
  avg_pool2d_pad_exclude: unary((x) => F.avgPool2d(x, 3, { stride: 2, padding: 1, countIncludePad: false })),
  avg_pool2d_ceil: unary((x) => F.avgPool2d(x, 3, { stride: 2, ceilMode: true })),
  adaptive_avg_pool2d: unary((x) => F.adaptiveAvgPool2d(x, [3, 2])),
  adaptive_avg_pool2d_global: unary((x) => F.adaptiveAvgPool2d(x, 1)),
  adaptive_max_pool2d: unary((x) => F.adaptiveMaxPool2d(x, [2, 3])),
  batch_norm1d_train: batchNormOf,
  batch_norm2d_train: batchNormOf,
  batch_norm2d_eval: batchNormOf,
  batch_norm2d_train_noaffine: batchNormOf,
  batch_norm3d_train: batchNormOf,
  layer_norm: (v) => norm.layerNorm([v.x!, v.weight!, v.bias!], { axis: -1, epsilon: 1e-5 }),
  layer_norm_2d: (v) => norm.layerNorm([v.x!, v.weight!, v.bias!], { axis: -2, epsilon: 1e-3 }),
  group_norm: (v) => norm.groupNorm([v.x!, v.weight!, v.bias!], { groups: 2, epsilon: 1e-5 }),
  instance_norm: (v) => norm.instanceNorm([v.x!, v.weight!, v.bias!], { epsilon: 1e-5 }),
  local_response_norm: unary((x) => norm.lrn([x], { before: 1, after: 1, alpha: 0.1, beta: 0.75, bias: 1 })),
  softmax: unary((x) => norm.softmax([x], { axis: -1 })),
  softmax_axis0: unary((x) => norm.softmax([x], { axis: 0 })),
  softmax_large: unary((x) => norm.softmax([x], { axis: 1 })),
  log_softmax: unary((x) => norm.logSoftmax([x], { axis: 1 })),
  cross_entropy: target(losses.crossEntropy()),
  cross_entropy_sum: target(losses.crossEntropy({ reduction: "sum" })),
  cross_entropy_none: target(losses.crossEntropy({ reduction: "none" })),
  cross_entropy_ignore_index: target(losses.crossEntropy({ ignoreIndex: 0 })),
  cross_entropy_label_smoothing: target(losses.crossEntropy({ labelSmoothing: 0.1 })),
  cross_entropy_2d: target(losses.crossEntropy()),
  cross_entropy_soft_targets: target(losses.crossEntropy()),
  cross_entropy_weight: weighted({ labelSmoothing: 0 }),
  cross_entropy_weight_ignore_smooth: weighted({ labelSmoothing: 0.2, ignoreIndex: 2 }),
  bce_logits_pos_weight: (v) => bceWithLogitsLoss([v.x!, v.t!, v.p!], { reduction: "mean" }),
  nll_loss: target(losses.nll()),
  bce: target(losses.bce()),
  bce_logits: target(losses.bceWithLogits()),
  ctc_loss: (v) => losses.ctc()(norm.logSoftmax([v.x!], { axis: 2 }), v.targets!, v.input_lengths!, v.target_lengths!),
  mse_loss: target(losses.mse()),
  mse_loss_sum: target(losses.mse({ reduction: "sum" })),
  l1_loss: target(losses.l1()),
  smooth_l1_beta: target(losses.smoothL1({ beta: 0.5 })),
  huber_delta: target(losses.huber({ delta: 0.7 })),
  kl_div_batchmean: target(losses.klDiv({ reduction: "batchmean" })),
  kl_div_log_target: target(losses.klDiv({ reduction: "sum", logTarget: true })),
  embedding: (v) => withVariables(nn.Embedding(6, 3), v, [v.i!], { weight: "w" }),
  embedding_padding_idx: (v) => withVariables(nn.Embedding(6, 3, { paddingIndex: 0 }), v, [v.i!], { weight: "w" }),
  masked_fill: (v) => B.where(v.m!, -2, v.x!),
  pad_constant: unary((x) => F.pad(x, [1, 2, 0, 1], "constant", 0.5)),
  pad_reflect: unary((x) => F.pad(x, [2, 1, 1, 2], "reflect")),
  pad_replicate: unary((x) => F.pad(x, [1, 2, 2, 0], "replicate")),
  pad_negative: unary((x) => F.pad(x, [-1, 1])),
  concat: pair((a, b) => B.concatenate([a, b], 1)),
  stack: pair((a, b) => B.stack([a, b], 1)),
  transpose_permute: unary((x) => np.mul(B.permute(x, [2, 0, 1]), 2)),
  repeat: unary((x) => B.tile(x, [2, 3])),
  flip_roll: unary((x) => B.roll(B.flip(x, 1), 1, 1)),
  tril: unary((x) => B.where(B.lowerTriangle(x.type.shape[0]!, x.type.shape[1]!), x, 0)),
  pixel_shuffle: unary((x) => F.pixelShuffle(x, 2)),
  upsample_nearest: unary((x) => F.interpolate(x, { scale: 2 })),
  upsample_nearest_size: unary((x) => F.interpolate(x, { size: [5, 7] })),
  upsample_bilinear: unary((x) => F.interpolate(x, { scale: 2, mode: "linear" })),
  upsample_bilinear_align: unary((x) => F.interpolate(x, { size: [7, 5], mode: "linear", alignCorners: true })),
  rnn_tanh: recurrent(() => nn.RNN(3, 4)),
  rnn_relu_2layer_bidir: recurrent(() => nn.RNN(3, 4, { layers: 2, bidirectional: true, nonlinearity: "relu" })),
  rnn_sentiment_shape: recurrent(() => nn.RNN(4, 5, { layers: 2, bidirectional: true })),
  lstm: recurrent(() => nn.LSTM(3, 4)),
  lstm_batch_first_2layer: recurrent(() => nn.LSTM(3, 4, { layers: 2, batchFirst: true })),
  lstm_2layer_bidir: recurrent(() => nn.LSTM(3, 4, { layers: 2, bidirectional: true })),
  lstm_nobias: recurrent(() => nn.LSTM(2, 3, { bias: false })),
  gru: recurrent(() => nn.GRU(3, 4)),
  gru_2layer_bidir: recurrent(() => nn.GRU(3, 4, { layers: 2, bidirectional: true })),
  sdpa_causal: (v) => attention([v.q!, v.k!, v.v!], { scale: 0.5, causal: true }),
  sdpa_additive_mask: (v) => attention([v.q!, v.k!, v.v!, v.m!], { scale: 0.5, causal: false }),
  multi_head_attention: (v) =>
    withVariables(nn.MultiHeadAttention(6, 2), v, [v.x!], {
      in_proj_weight: "in_w",
      in_proj_bias: "in_b",
      "out_proj.weight": "out_w",
      "out_proj.bias": "out_b",
    }),
  gradient_reversal: (v, { lam }) => scaleGradient([v.x!], { factor: -(lam as number) }),
  stop_gradient_straight_through: unary((x) => np.add(x, stopGradient([np.sub(ew.round([x]), x)]))),
  depthwise_chain_residual: (v) => np.add(act.relu([F.conv2d(v.x!, v.w!, undefined, { padding: 1, groups: 4 })]), v.x!),
  reused_input: unary((x) => np.add(np.mul(B.sum(np.mul(x, x), 1, { keepDims: true }), x), ew.exp([x]))),
};

describe.skipIf(!hasData)("outputs and gradients equal PyTorch's", () => {
  const folder = join(dataFolder, "reference/grad");
  const entries = hasData ? readJson<{ entries: readonly Entry[] }>(join(folder, "ops.json")).entries : [];
  const tensors: ReadonlyMap<string, Tensor> = hasData ? readTensors(join(folder, "ops.safetensors")) : new Map();

  it.each(entries.filter((e) => e.id in builds).map((e) => [e.id, e] as const))("%s", (id, e) => {
    const params = e.inputs.map(({ name, key }) => {
      const { dtype, shape } = tensors.get(key)!;
      return param(name, { dtype, shape });
    });
    const feeds = e.inputs.map(({ key }) => tensors.get(key)!);
    const made = builds[id]!(Object.fromEntries(e.inputs.map(({ name }, i) => [name, params[i]!])), e.attributes);
    const results: readonly Value[] = Array.isArray(made) ? made : [made as Value];
    const upstream = e.outputs.map((o) => o.upstream && constant([], { value: tensors.get(o.upstream)! }));
    const wanted = e.inputs.flatMap((input, i) =>
      input.grad === undefined || /_l\d/.test(input.name) ? [] : [{ key: input.grad, of: params[i]! }],
    );
    const found = pullback(
      results,
      results.map((_, i) => upstream[i] || undefined),
      wanted.map((w) => w.of),
    );
    const shown = e.outputs.slice(0, results.length);
    const out = evaluate(graph("g", params, [...results.slice(0, shown.length), ...found.map((d) => d!)]), feeds);
    shown.forEach(({ key }, i) => {
      expect(disagreement(out[i]!, tensors.get(key)!, e.rtol, e.atolOutput), key).toBeUndefined();
    });
    wanted.forEach(({ key }, i) => {
      expect(disagreement(out[shown.length + i]!, tensors.get(key)!, e.rtol, e.atolGrad), key).toBeUndefined();
    });
  });
});
