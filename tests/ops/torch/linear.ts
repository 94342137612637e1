import { amax, flatten, mean, np, reshapeTo, sliceAxis, stack } from "../../../ir/build.js";
import { einsum, linear as linearOf, matmul } from "../../../ir/einsum.js";
import type { Value } from "../../../ir/graph.js";
import { relu } from "../../../ir/ops/activation.js";
import { constant, constantLike } from "../../../ir/ops/constant.js";
import { type ConvAttrs, conv, convInputGrad } from "../../../ir/ops/conv.js";
import { transpose } from "../../../ir/ops/movement.js";
import { perChannel } from "../../../ir/ops/normalize.js";
import { maxPool, type PoolAttrs, windowSum } from "../../../ir/ops/window.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { type Builder, type Builders, iotaList, sizes } from "./builder.js";

interface ConvOptions {
  readonly stride?: number | readonly number[];
  readonly padding?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  readonly output_padding?: number;
  readonly groups?: number;
}

function convAttrs(axes: number, k: ConvOptions): ConvAttrs {
  const each = (v: number | readonly number[] | undefined, otherwise: number) =>
    typeof v === "object" ? v : new Array<number>(axes).fill(v ?? otherwise);
  return {
    strides: each(k.stride, 1),
    padLow: each(k.padding, 0),
    padHigh: each(k.padding, 0),
    dilations: each(k.dilation, 1),
    groups: k.groups ?? 1,
    layout: "channelsFirst",
  };
}

const biased = (y: Value, b: Value | undefined): Value => (b ? np.add(y, perChannel(y, b)) : y);

const convolution: Builder = ({ x, w, b }, { k }) =>
  biased(conv([x!, w!], convAttrs(sizes(x!).length - 2, k as ConvOptions)), b);

const transposed: Builder = ({ x, w, b }, { k }) => {
  const options = k as ConvOptions;
  const attrs = convAttrs(sizes(x!).length - 2, options);
  const inputSize = attrs.strides.map((stride, a) => {
    const reach = attrs.dilations[a]! * (sizes(w!)[a + 2]! - 1) + 1;
    const pads = (attrs.padLow[a] as number) + (attrs.padHigh[a] as number);
    return (sizes(x!)[a + 2]! - 1) * stride + reach - pads + (options.output_padding ?? 0);
  });
  return biased(convInputGrad([x!, w!], { ...attrs, inputSize }), b);
};

function pool(window: readonly number[], options: Partial<PoolAttrs> = {}): PoolAttrs {
  const all = (v: number) => window.map(() => v);
  return {
    window,
    strides: window,
    padLow: all(0),
    padHigh: all(0),
    dilations: all(1),
    layout: "channelsFirst",
    ...options,
  };
}

const max =
  (attrs: PoolAttrs): Builder =>
  ({ x }) =>
    maxPool([x!], attrs)[0]!;

/** Mean of each window over the elements it sees, or over its whole size. */
const average =
  (attrs: PoolAttrs, countPadding: boolean): Builder =>
  ({ x }) => {
    const total = windowSum([x!], attrs);
    const whole = attrs.window.reduce((p, d) => p * d, 1);
    return np.div(total, countPadding ? whole : windowSum([constantLike(x!, 1)], attrs));
  };

/** Windows of uneven size that cover an axis with `count` outputs. */
function adaptive(x: Value, counts: readonly number[], pick: (x: Value, axis: number) => Value): Value {
  let y = x;
  counts.forEach((count, i) => {
    const axis = i + 2;
    const size = sizes(x)[axis]!;
    const parts = iotaList(count).map((o) => {
      const start = Math.floor((o * size) / count);
      return pick(sliceAxis(y, axis, start, Math.ceil(((o + 1) * size) / count) - start), axis);
    });
    y = stack(parts, axis);
  });
  return y;
}

/** Identity weights: channel (c, tap) of the result is tap `tap` of channel c. */
function tapWeights(channels: number, kernel: number): Value {
  const taps = channels * kernel * kernel;
  const values = iotaList(taps * taps).map((i) => (i % (taps + 1) === 0 ? 1 : 0));
  return constant([], { value: tensorFrom("f32", [taps, channels, kernel, kernel], values) });
}

export const linear: Builders = {
  matmul_2d: ({ a, b }) => matmul(a!, b!),
  matmul_batched: ({ a, b }) => matmul(a!, b!),
  matmul_broadcast: ({ a, b }) => matmul(a!, b!),
  matmul_vec_right: ({ a, b }) => matmul(a!, b!),
  matmul_vec_left: ({ a, b }) => matmul(a!, b!),
  matmul_dot: ({ a, b }) => matmul(a!, b!),
  matmul_17x33x9: ({ a, b }) => matmul(a!, b!),
  matmul_transposed: ({ a, b }) => matmul(transpose([a!], { perm: [0, 2, 1] }), b!),
  linear: ({ x, w, b }) => linearOf(x!, w!, b!),
  addmm: ({ a, b, c }) => np.add(np.mul(matmul(a!, b!), 2), np.mul(c!, 0.5)),
  einsum_bij_bkj: ({ a, b }) => einsum("bij,bkj->bik", a!, b!),
  conv1d: convolution,
  conv1d_stride_pad_dilation: convolution,
  conv1d_groups: convolution,
  conv2d: convolution,
  conv2d_5x5_lenet: convolution,
  conv2d_stride2_pad1: convolution,
  conv2d_asym: convolution,
  conv2d_dilation_nobias: convolution,
  conv2d_groups: convolution,
  conv2d_depthwise: convolution,
  conv2d_depthwise_mult_stride: convolution,
  conv2d_1x1: convolution,
  conv2d_7x7_s2_p3: convolution,
  conv3d: convolution,
  conv3d_stride: convolution,
  conv_transpose1d: transposed,
  conv_transpose2d: transposed,
  conv_transpose2d_dcgan: transposed,
  conv_transpose2d_outpad: transposed,
  conv_transpose2d_groups_dilation: transposed,
  depthwise_chain_residual: (v) => np.add(relu([convolution(v, { k: { padding: 1, groups: 4 } }) as Value]), v.x!),
  max_pool2d: max(pool([2, 2])),
  max_pool2d_overlap_pad: max(pool([3, 3], { strides: [2, 2], padLow: [1, 1], padHigh: [1, 1] })),
  max_pool2d_ceil: max(pool([3, 3], { strides: [2, 2], padHigh: [1, 1] })),
  max_pool2d_dilation: max(pool([2, 2], { strides: [1, 1], dilations: [2, 2] })),
  max_pool1d: max(pool([3], { strides: [2] })),
  max_pool3d: max(pool([2, 2, 2])),
  avg_pool2d: average(pool([2, 2]), true),
  avg_pool2d_pad_include: average(pool([3, 3], { strides: [2, 2], padLow: [1, 1], padHigh: [1, 1] }), true),
  avg_pool2d_pad_exclude: average(pool([3, 3], { strides: [2, 2], padLow: [1, 1], padHigh: [1, 1] }), false),
  avg_pool2d_ceil: average(pool([3, 3], { strides: [2, 2], padHigh: [1, 1] }), false),
  adaptive_avg_pool2d: ({ x }) => adaptive(x!, [3, 2], (part, axis) => mean(part, axis)),
  adaptive_avg_pool2d_global: ({ x }) => mean(x!, [2, 3], { keepDims: true }),
  adaptive_max_pool2d: ({ x }) => adaptive(x!, [2, 3], (part, axis) => amax(part, axis)),
  unfold_im2col: ({ x }) => flatten(conv([x!, tapWeights(2, 3)], convAttrs(2, { padding: 1, stride: 2 })), 2),
  fold_col2im: ({ x }) =>
    convInputGrad([reshapeTo(x!, [1, 8, 3, 3]), tapWeights(2, 2)], { ...convAttrs(2, {}), inputSize: [4, 4] }),
};
