/** The expressions of reference/grad, by what the package exports and nothing else. */

import { F, losses, nn, type Value } from "../../../index.js";

type Values = Readonly<Record<string, Value>>;
type Attributes = Readonly<Record<string, unknown>>;
type Build = (v: Values, attributes: Attributes) => Value | readonly Value[];

const unary =
  (f: (x: Value) => Value | readonly Value[]): Build =>
  (v) =>
    f(v.x!);
const pair =
  (f: (a: Value, b: Value) => Value): Build =>
  (v) =>
    f(v.a!, v.b!);
/** A loss of x and the target t or y. */
const target =
  (loss: (x: Value, target: Value) => Value): Build =>
  (v) =>
    loss(v.x!, (v.t ?? v.y)!);

/** A module's results, with the inputs of its variables' names as their values. */
function applied(
  model: nn.Module<never, unknown>,
  v: Values,
  apply: (ctx: nn.Context) => Value | readonly Value[],
  names: Readonly<Record<string, string>> = {},
) {
  const values = new Map([...model.variables()].map(([name, variable]) => [variable, v[names[name] ?? name]!]));
  return apply(new nn.Context(model, (variable) => values.get(variable)));
}

/** The function for the number of spatial axes. */
const forAxes = <T>(x: Value, one: T, two: T, three: T): T => [one, two, three][x.type.shape.length - 3]!;
const convolve: Build = (v, { k = {} }) => forAxes(v.x!, F.conv1d, F.conv2d, F.conv3d)(v.x!, v.w!, v.b, k as never);
const transposed: Build = (v, { k = {} }) => {
  const { output_padding: outputPadding = 0, ...rest } = k as { output_padding?: number };
  const transpose = forAxes(v.x!, F.convTranspose1d, F.convTranspose2d, F.convTranspose3d);
  return transpose(v.x!, v.w!, v.b, { ...rest, outputPadding } as never);
};

const batchNorm: Build = ({ x, running_mean, running_var, weight, bias }, attributes) => {
  const { training, momentum, eps } = attributes as { training: boolean; momentum: number; eps: number };
  if (training) return F.batchNormTrain(x!, running_mean!, running_var!, weight, bias, { momentum, eps });
  return [F.batchNorm(x!, running_mean!, running_var!, weight, bias, eps), running_mean!, running_var!];
};

const rnn =
  (...settings: Parameters<typeof nn.RNN>): Build =>
  (v) => {
    const model = nn.RNN(...settings);
    return applied(model, v, (ctx) => {
      const { output, hidden } = model(ctx, v.x!, ...(v.h0 ? [v.h0] : []));
      return [output, hidden];
    });
  };
const gru =
  (...settings: Parameters<typeof nn.GRU>): Build =>
  (v) => {
    const model = nn.GRU(...settings);
    return applied(model, v, (ctx) => {
      const { output, hidden } = model(ctx, v.x!, v.h0!);
      return [output, hidden];
    });
  };
const lstm =
  (...settings: Parameters<typeof nn.LSTM>): Build =>
  (v) => {
    const model = nn.LSTM(...settings);
    return applied(model, v, (ctx) => {
      const { output, hidden, cell } = model(ctx, v.x!, ...(v.h0 ? [v.h0, v.c0!] : []));
      return [output, hidden, cell];
    });
  };

const linear = (x: Value, w: Value, b?: Value) => F.linear(x, w, b);

export const cases: Readonly<Record<string, Build>> = {
  unary_abs: unary(F.abs),
  unary_neg: unary(F.neg),
  unary_exp: unary(F.exp),
  unary_sin: unary(F.sin),
  unary_cos: unary(F.cos),
  unary_tan: unary((x) => F.tan(F.mul(x, 0.5))),
  unary_tanh: unary(F.tanh),
  unary_sigmoid: unary(F.sigmoid),
  unary_erf: unary(F.erf),
  unary_square: unary(F.square),
  unary_cube: unary((x) => F.pow(x, 3)),
  unary_relu: unary(F.relu),
  unary_leaky_relu: unary((x) => F.leakyRelu(x, 0.2)),
  unary_elu: unary((x) => F.elu(x, 0.8)),
  unary_selu: unary(F.selu),
  unary_gelu_erf: unary((x) => F.gelu(x)),
  unary_gelu_tanh: unary((x) => F.gelu(x, "tanh")),
  unary_silu: unary(F.silu),
  unary_mish: unary(F.mish),
  unary_softplus: unary((x) => F.softplus(x)),
  unary_softplus_beta: unary((x) => F.softplus(x, 2.5)),
  unary_hardswish: unary((x) => F.hardswish(F.mul(x, 3))),
  unary_hardsigmoid: unary((x) => F.hardsigmoid(F.mul(x, 3))),
  unary_hardtanh: unary((x) => F.hardtanh(x, -0.7, 0.9)),
  unary_relu6: unary((x) => F.relu6(F.mul(x, 4))),
  unary_softsign: unary(F.softsign),
  unary_logsigmoid: unary(F.logSigmoid),
  unary_celu: unary((x) => F.celu(x, 1.4)),
  unary_atan: unary(F.atan),
  unary_sinh: unary(F.sinh),
  unary_expm1: unary(F.expm1),
  unary_log: unary(F.log),
  unary_sqrt: unary(F.sqrt),
  unary_rsqrt: unary(F.rsqrt),
  unary_reciprocal: unary(F.reciprocal),
  unary_log1p: unary(F.log1p),
  unary_pow_half: unary((x) => F.pow(x, 1.5)),
  unary_log2: unary(F.log2),
  prelu_channel: ({ x, weight }) => F.prelu(x!, weight!),
  prelu_single: ({ x, weight }) => F.prelu(x!, weight!),
  glu: unary((x) => F.glu(x, 1)),
  binary_add: pair(F.add),
  binary_sub: pair(F.sub),
  binary_mul: pair(F.mul),
  binary_div: pair((a, b) => F.div(a, b)),
  binary_add_both_broadcast: pair(F.add),
  binary_mul_scalar_tensor: pair(F.mul),
  binary_pow: pair((a, b) => F.pow(a, b)),
  binary_max: pair(F.maximum),
  binary_min: pair(F.minimum),
  binary_atan2: pair(F.atan2),
  lerp: ({ a, b, w }) => F.lerp(a!, b!, w!),
  where_broadcast: ({ c, a, b }) => F.where(c!, a!, b!),
  clamp_both: unary((x) => F.clamp(x, -0.5, 0.8)),
  clamp_min: unary((x) => F.clamp(x, 0.1)),
  sum_all: unary((x) => F.sum(x)),
  sum_axes_keepdim: unary((x) => F.sum(x, [0, 2], true)),
  mean_axis: unary((x) => F.mean(x, 1)),
  mean_axes: unary((x) => F.mean(x, [1, 2])),
  max_axis: unary((x) => F.max(x, 1)),
  amax_axes: unary((x) => F.amax(x, [0, 2])),
  min_axis_keepdim: unary((x) => F.min(x, -1, true)),
  amax_ties: unary((x) => F.amax(x, 1)),
  max_ties: unary((x) => F.max(x, 1)),
  prod_axis: unary((x) => F.prod(x, 1)),
  var_unbiased: unary((x) => F.var(x, 1)),
  var_biased_axes: unary((x) => F.var(x, [0, 2], { correction: 0, keepDim: true })),
  std_axis: unary((x) => F.std(x, 0)),
  logsumexp: unary((x) => F.logSumExp(x, 1)),
  norm_2: unary((x) => F.norm(x, 2, 1)),
  normalize: unary((x) => F.normalize(x, 2, 1)),
  cosine_similarity: pair((a, b) => F.cosineSimilarity(a, b, 1)),
  cumsum: unary((x) => F.cumSum(x, 1)),
  cumprod: unary((x) => F.cumProd(x, 1)),
  matmul_2d: pair(F.matmul),
  matmul_batched: pair(F.matmul),
  matmul_broadcast: pair(F.matmul),
  matmul_vec_right: pair(F.matmul),
  matmul_vec_left: pair(F.matmul),
  matmul_dot: pair(F.matmul),
  linear: ({ x, w, b }) => linear(x!, w!, b),
  addmm: ({ c, a, b }) => F.addmm(c!, a!, b!, { beta: 0.5, alpha: 2 }),
  einsum_bij_bkj: pair((a, b) => F.einsum("bij,bkj->bik", a, b)),
  matmul_transposed: pair((a, b) => F.matmul(F.transpose(a, -1, -2), b)),
  matmul_17x33x9: pair(F.matmul),
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
  batch_norm1d_train: batchNorm,
  batch_norm2d_train: batchNorm,
  batch_norm2d_eval: batchNorm,
  batch_norm2d_train_noaffine: batchNorm,
  batch_norm3d_train: batchNorm,
  layer_norm: ({ x, weight, bias }) => F.layerNorm(x!, 5, weight, bias),
  layer_norm_2d: ({ x, weight, bias }) => F.layerNorm(x!, [3, 5], weight, bias, 1e-3),
  group_norm: ({ x, weight, bias }) => F.groupNorm(x!, 2, weight, bias),
  instance_norm: ({ x, weight, bias }) => F.instanceNorm(x!, weight, bias),
  local_response_norm: unary((x) => F.localResponseNorm(x, 3, { alpha: 0.1, beta: 0.75, k: 1 })),
  softmax: unary((x) => F.softmax(x, -1)),
  softmax_axis0: unary((x) => F.softmax(x, 0)),
  log_softmax: unary((x) => F.logSoftmax(x, 1)),
  softmax_large: unary((x) => F.softmax(x, 1)),
  cross_entropy: target((x, t) => F.crossEntropy(x, t)),
  cross_entropy_sum: target((x, t) => F.crossEntropy(x, t, { reduction: "sum" })),
  cross_entropy_none: target((x, t) => F.crossEntropy(x, t, { reduction: "none" })),
  cross_entropy_ignore_index: target((x, t) => F.crossEntropy(x, t, { ignoreIndex: 0 })),
  cross_entropy_label_smoothing: target((x, t) => F.crossEntropy(x, t, { labelSmoothing: 0.1 })),
  cross_entropy_weight: ({ x, t, w }) => F.crossEntropy(x!, t!, { weight: w! }),
  cross_entropy_weight_ignore_smooth: ({ x, t, w }) =>
    F.crossEntropy(x!, t!, { weight: w!, ignoreIndex: 2, labelSmoothing: 0.2 }),
  cross_entropy_2d: target((x, t) => F.crossEntropy(x, t)),
  cross_entropy_soft_targets: target((x, t) => F.crossEntropy(x, t)),
  nll_loss: target((x, t) => F.nllLoss(x, t)),
  bce: target((x, t) => F.binaryCrossEntropy(x, t)),
  bce_logits: target((x, t) => F.binaryCrossEntropyWithLogits(x, t)),
  bce_logits_pos_weight: ({ x, t, p }) => F.binaryCrossEntropyWithLogits(x!, t!, { posWeight: p! }),
  mse_loss: target((x, y) => F.mseLoss(x, y)),
  mse_loss_sum: target((x, y) => F.mseLoss(x, y, { reduction: "sum" })),
  l1_loss: target((x, y) => F.l1Loss(x, y)),
  smooth_l1_beta: target((x, y) => F.smoothL1Loss(x, y, { beta: 0.5 })),
  huber_delta: target((x, y) => F.huberLoss(x, y, { delta: 0.7 })),
  kl_div_batchmean: target(losses.klDiv({ reduction: "batchmean" })),
  kl_div_log_target: target((x, y) => F.klDiv(x, y, { reduction: "sum", logTarget: true })),
  focal_sigmoid: ({ x, t }, attributes) => {
    const { alpha, gamma } = attributes as { alpha: number; gamma: number };
    const p = F.sigmoid(x!);
    const ce = F.binaryCrossEntropyWithLogits(x!, t!, { reduction: "none" });
    const either = (a: Value | number, b: Value | number) => F.add(F.mul(t!, a), F.mul(F.sub(1, t!), b));
    const missed = F.sub(1, either(p, F.sub(1, p)));
    return F.sum(F.mul(F.mul(either(alpha, 1 - alpha), F.pow(missed, gamma)), ce));
  },
  hinge_margin: ({ x, t }) => F.mean(F.clamp(F.sub(1, F.mul(t!, x!)), 0)),
  multi_margin: target(losses.multiMargin({ margin: 0.8 })),
  triplet_margin: ({ a, p, n }) => losses.triplet({ margin: 2 })(a!, p!, n!),
  capsule_margin: ({ x, t }) => {
    const present = F.mul(t!, F.square(F.relu(F.sub(0.9, x!))));
    const absent = F.mul(F.mul(0.5, F.sub(1, t!)), F.square(F.relu(F.sub(x!, 0.1))));
    return F.mean(F.sum(F.add(present, absent), 1));
  },
  ctc_loss: (v) => F.ctcLoss(F.logSoftmax(v.x!, 2), v.targets!, v.input_lengths!, v.target_lengths!),
  embedding: ({ i, w }) => F.embedding(i!, w!),
  embedding_padding_idx: (v) => {
    const model = nn.Embedding(6, 3, { paddingIndex: 0 });
    return applied(model, v, (ctx) => model(ctx, v.i!), { weight: "w" });
  },
  gather: ({ x, i }) => F.gather(x!, 1, i!),
  scatter_add: ({ x, i, s }) => F.scatterAdd(x!, 1, i!, s!),
  scatter: ({ x, i, s }) => F.scatter(x!, 1, i!, s!),
  index_select: ({ x, i }) => F.indexSelect(x!, 0, i!),
  advanced_index: ({ x, i, j }) => F.gatherND(x!, F.stack([i!, j!], 1)),
  masked_fill: ({ x, m }) => F.maskedFill(x!, m!, -2),
  pad_constant: unary((x) => F.pad(x, [1, 2, 0, 1], "constant", 0.5)),
  pad_reflect: unary((x) => F.pad(x, [2, 1, 1, 2], "reflect")),
  pad_replicate: unary((x) => F.pad(x, [1, 2, 2, 0], "replicate")),
  pad_negative: unary((x) => F.pad(x, [-1, 1])),
  slice_step: unary((x) => F.slice(F.slice(x, 1, 1, undefined, 2), 2, 0, -1)),
  concat: pair((a, b) => F.cat([a, b], 1)),
  stack: pair((a, b) => F.stack([a, b], 1)),
  transpose_permute: unary((x) => F.mul(F.permute(x, [2, 0, 1]), 2)),
  expand: unary((x) => F.expand(x, [3, 2, 4])),
  repeat: unary((x) => F.tile(x, [2, 3])),
  split_mul: unary((x) => F.split(x, [1, 3], 1)),
  flip_roll: unary((x) => F.roll(F.flip(x, 1), 1, 1)),
  tril: unary((x) => F.tril(x)),
  pixel_shuffle: unary((x) => F.pixelShuffle(x, 2)),
  unfold_im2col: unary((x) => F.unfold(x, 3, { padding: 1, stride: 2 })),
  fold_col2im: unary((x) => F.fold(x, [4, 4], 2, { stride: 1 })),
  upsample_nearest: unary((x) => F.interpolate(x, { scale: 2 })),
  upsample_nearest_size: unary((x) => F.interpolate(x, { size: [5, 7] })),
  upsample_bilinear: unary((x) => F.interpolate(x, { scale: 2, mode: "linear" })),
  upsample_bilinear_align: unary((x) => F.interpolate(x, { size: [7, 5], mode: "linear", alignCorners: true })),
  sort: unary((x) => F.sort(x, 1, { descending: true })),
  topk: unary((x) => F.topK(x, 2, 1)),
  rnn_tanh: rnn(3, 4),
  rnn_relu_2layer_bidir: rnn(3, 4, { layers: 2, bidirectional: true, nonlinearity: "relu" }),
  rnn_sentiment_shape: rnn(4, 5, { layers: 2, bidirectional: true }),
  lstm: lstm(3, 4),
  lstm_batch_first_2layer: lstm(3, 4, { layers: 2, batchFirst: true }),
  lstm_2layer_bidir: lstm(3, 4, { layers: 2, bidirectional: true }),
  lstm_nobias: lstm(2, 3, { bias: false }),
  gru: gru(3, 4),
  gru_2layer_bidir: gru(3, 4, { layers: 2, bidirectional: true }),
  sdpa_causal: ({ q, k, v, m }) => F.attention(q!, k!, v!, { mask: m! }),
  sdpa_additive_mask: ({ q, k, v, m }) => F.attention(q!, k!, v!, { mask: m! }),
  multi_head_attention: (v) => {
    const model = nn.MultiHeadAttention(6, 2);
    return applied(model, v, (ctx) => model(ctx, v.x!), {
      in_proj_weight: "in_w",
      in_proj_bias: "in_b",
      "out_proj.weight": "out_w",
      "out_proj.bias": "out_b",
    });
  },
  gradient_reversal: ({ x }, { lam }) => F.reverseGradient(x!, lam as number),
  stop_gradient_straight_through: unary((x) => F.add(x, F.stopGradient(F.sub(F.round(x), x)))),
  depthwise_chain_residual: ({ x, w }) => F.add(F.relu(F.conv2d(x!, w!, undefined, { padding: 1, groups: 4 })), x!),
  reused_input: unary((x) => F.add(F.mul(F.sum(F.mul(x, x), 1, true), x), F.exp(x))),
  squash: unary((x) => {
    const n = F.sum(F.square(x), -1, true);
    return F.div(F.mul(F.div(n, F.add(1, n)), x), F.sqrt(F.add(n, 1e-8)));
  }),
};
