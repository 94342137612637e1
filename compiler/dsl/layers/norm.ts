/** Normalisation layers. */

import { mean, np, rankOf, variance } from "../../../ir/build.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { full } from "../../../ir/ops/constant.js";
import {
  batchNorm,
  batchNormTrain,
  groupNorm,
  instanceNorm,
  layerNorm,
  lrn,
  rmsNorm,
} from "../../../ir/ops/normalize.js";
import {
  parameter as argument,
  count,
  flag,
  number,
  type OptionsOf,
  option,
  type Settings,
  share,
  size,
} from "../../schema.js";
import type { Context } from "../context.js";
import { ones, zeros } from "../init.js";
import { buffer, Module, parameter, type Variable } from "../module.js";
import { biasInit, defineLayer, expectSize, type FunctionLayer, functionLayer, sizes, weightInit } from "./define.js";

const scaled = (affine: boolean, epsilon: number) => ({
  epsilon: option(size, epsilon, "Added to the variance"),
  affine: option(flag, affine, "Learn a scale and a bias"),
  ...weightInit("ones"),
  ...biasInit("zeros"),
});
const running = (track: boolean) => ({
  momentum: option(share, 0.1, "Weight of each batch in the running statistics (Keras states 1 − this)"),
  trackRunningStats: option(flag, track, "Keep running statistics, which are used when not training"),
});

const batchNormOptions = { ...scaled(true, 1e-5), ...running(true) };
const instanceNormOptions = { ...scaled(false, 1e-5), ...running(false) };
const groupNormOptions = scaled(true, 1e-5);
const layerNormOptions = { ...scaled(true, 1e-5), bias: option(flag, true, "With the scale, learn a bias as well") };
const { biasInit: _, ...rmsNormOptions } = scaled(true, 2 ** -23);
export type BatchNormOptions = OptionsOf<typeof batchNormOptions>;
export type InstanceNormOptions = OptionsOf<typeof instanceNormOptions>;
export type GroupNormOptions = OptionsOf<typeof groupNormOptions>;
export type LayerNormOptions = OptionsOf<typeof layerNormOptions>;
export type RMSNormOptions = OptionsOf<typeof rmsNormOptions>;

/** Scale and bias of these shapes, where a layer learns them. */
function scaleAndBias(shape: readonly number[], s: Settings<typeof groupNormOptions> & { readonly bias?: boolean }) {
  return {
    weight: s.affine ? parameter(shape, s.weightInit ?? ones) : undefined,
    bias: s.affine && s.bias !== false ? parameter(shape, s.biasInit ?? zeros) : undefined,
  };
}

const given = (ctx: Context, ...variables: readonly (Variable | undefined)[]): readonly Value[] =>
  variables.filter((v) => v !== undefined).map((v) => ctx.value(v));

/** Per channel (axis 1) over the batch and all further axes. */
export class BatchNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly running_mean: Variable | undefined;
  readonly running_var: Variable | undefined;
  readonly #ranks: readonly number[];
  readonly #channels: number;
  readonly #epsilon: number;
  readonly #momentum: number;

  constructor(ranks: readonly number[], channels: number, settings: Settings<typeof batchNormOptions>) {
    super();
    const { epsilon, momentum, trackRunningStats } = settings;
    this.#ranks = ranks;
    this.#channels = channels;
    this.#epsilon = epsilon;
    this.#momentum = momentum;
    const { weight, bias } = scaleAndBias([channels], settings);
    this.weight = weight;
    this.bias = bias;
    this.running_mean = trackRunningStats ? buffer([channels], zeros) : undefined;
    this.running_var = trackRunningStats ? buffer([channels], ones) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    if (!this.#ranks.includes(rankOf(x))) {
      throw new ModelError(`expected rank ${this.#ranks.join(" or ")}, but got ${typeText(x.type)}`);
    }
    expectSize(x, 1, this.#channels, "channels");
    const own = given(ctx, this.weight, this.bias);
    const attrs = { axis: 1, epsilon: this.#epsilon };
    const { running_mean: average, running_var: spread } = this;
    if (average === undefined || spread === undefined) {
      const unused = full(x.type.dtype, [this.#channels], 0);
      return batchNormTrain([x, unused, unused, ...own], { ...attrs, momentum: 0, correction: 1 })[0]!;
    }
    const statistics = [ctx.value(average), ctx.value(spread)];
    const momentum = this.#momentum;
    if (!ctx.training) return batchNorm([x, ...statistics, ...own], { ...attrs, momentum });
    const results = batchNormTrain([x, ...statistics, ...own], { ...attrs, momentum, correction: 1 });
    ctx.update(average, results[1]!);
    ctx.update(spread, results[2]!);
    return results[0]!;
  }
}

const channels = argument("channels", count, "Of x, its axis 1");
const batchNormOf = (axes: number, ...ranks: readonly number[]) =>
  defineLayer({
    name: `BatchNorm${axes}d`,
    summary: `Each channel normalised over the batch and all further axes; x of rank ${ranks.join(" or ")}. Training needs more than one value a channel`,
    parameters: [channels],
    options: batchNormOptions,
    make: (settings, channels: number) => new BatchNormLayer(ranks, channels, settings),
  });
export const BatchNorm1d = batchNormOf(1, 2, 3);
export const BatchNorm2d = batchNormOf(2, 4);
export const BatchNorm3d = batchNormOf(3, 5);

function expectTrailing(x: Value, shape: readonly number[]): void {
  shape.forEach((n, i) => {
    expectSize(x, i - shape.length, n, "normalised features");
  });
}

/** Over the trailing axes, which have this shape. */
export class LayerNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly #shape: readonly number[];
  readonly #epsilon: number;

  constructor(shape: number | readonly number[], settings: Settings<typeof layerNormOptions>) {
    super();
    this.#shape = typeof shape === "number" ? [shape] : shape;
    this.#epsilon = settings.epsilon;
    const { weight, bias } = scaleAndBias(this.#shape, settings);
    this.weight = weight;
    this.bias = bias;
  }

  forward(ctx: Context, x: Value): Value {
    expectTrailing(x, this.#shape);
    return layerNorm([x, ...given(ctx, this.weight, this.bias)], { axis: -this.#shape.length, epsilon: this.#epsilon });
  }
}
const normalised = argument("shape", sizes, "Of the trailing axes that are normalised");
export const LayerNorm = defineLayer({
  name: "LayerNorm",
  summary: "Trailing axes of this shape normalised",
  parameters: [normalised],
  options: layerNormOptions,
  make: (settings, shape: number | readonly number[]) => new LayerNormLayer(shape, settings),
});

/** x / root mean square over the trailing axes, which have this shape. */
export class RMSNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly #shape: readonly number[];
  readonly #epsilon: number;

  constructor(shape: number | readonly number[], settings: Settings<typeof rmsNormOptions>) {
    super();
    this.#shape = typeof shape === "number" ? [shape] : shape;
    this.#epsilon = settings.epsilon;
    this.weight = settings.affine ? parameter(this.#shape, settings.weightInit ?? ones) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectTrailing(x, this.#shape);
    return rmsNorm([x, ...given(ctx, this.weight)], { axis: -this.#shape.length, epsilon: this.#epsilon });
  }
}
export const RMSNorm = defineLayer({
  name: "RMSNorm",
  summary: "Trailing axes of this shape divided by their root mean square; the default epsilon is f32's, as PyTorch's",
  parameters: [normalised],
  options: rmsNormOptions,
  make: (settings, shape: number | readonly number[]) => new RMSNormLayer(shape, settings),
});

/** Channels in groups, each normalised with all further axes. */
export class GroupNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly #groups: number;
  readonly #channels: number;
  readonly #epsilon: number;

  constructor(groups: number, channels: number, settings: Settings<typeof groupNormOptions>) {
    super();
    if (channels % groups !== 0) throw new ModelError(`${channels} channels do not divide into ${groups} groups`);
    this.#groups = groups;
    this.#channels = channels;
    this.#epsilon = settings.epsilon;
    const { weight, bias } = scaleAndBias([channels], settings);
    this.weight = weight;
    this.bias = bias;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#channels, "channels");
    return groupNorm([x, ...given(ctx, this.weight, this.bias)], { groups: this.#groups, epsilon: this.#epsilon });
  }
}
export const GroupNorm = defineLayer({
  name: "GroupNorm",
  summary: "Channels in groups, each normalised with all further axes",
  parameters: [argument("groups", count, "Of channels"), channels],
  options: groupNormOptions,
  make: (settings, groups: number, channels: number) => new GroupNormLayer(groups, channels, settings),
});

/** Each channel of each sample. By default without scale, bias and running statistics, as in PyTorch. */
export class InstanceNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly running_mean: Variable | undefined;
  readonly running_var: Variable | undefined;
  readonly #rank: number;
  readonly #channels: number;
  readonly #epsilon: number;
  readonly #momentum: number;

  constructor(rank: number, channels: number, settings: Settings<typeof instanceNormOptions>) {
    super();
    this.#rank = rank;
    this.#channels = channels;
    this.#epsilon = settings.epsilon;
    this.#momentum = settings.momentum;
    const { weight, bias } = scaleAndBias([channels], settings);
    this.weight = weight;
    this.bias = bias;
    this.running_mean = settings.trackRunningStats ? buffer([channels], zeros) : undefined;
    this.running_var = settings.trackRunningStats ? buffer([channels], ones) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    if (rankOf(x) !== this.#rank) throw new ModelError(`expected rank ${this.#rank}, but got ${typeText(x.type)}`);
    expectSize(x, 1, this.#channels, "channels");
    const own = given(ctx, this.weight, this.bias);
    const { running_mean, running_var } = this;
    if (running_mean === undefined || running_var === undefined)
      return instanceNorm([x, ...own], { epsilon: this.#epsilon });
    const statistics = [ctx.value(running_mean), ctx.value(running_var)] as const;
    const momentum = this.#momentum;
    if (!ctx.training) return batchNorm([x, ...statistics, ...own], { axis: 1, epsilon: this.#epsilon, momentum });
    const axes = x.type.shape.map((_, a) => a).slice(2);
    const move = (old: Value, fresh: Value) => np.add(np.mul(old, 1 - momentum), np.mul(mean(fresh, 0), momentum));
    ctx.update(running_mean, move(statistics[0], mean(x, axes)));
    ctx.update(running_var, move(statistics[1], variance(x, axes, { correction: 1 })));
    return instanceNorm([x, ...own], { epsilon: this.#epsilon });
  }
}

const instanceNormOf = (axes: number) =>
  defineLayer({
    name: `InstanceNorm${axes}d`,
    summary: `Each channel of each sample normalised over its ${axes} axes`,
    parameters: [channels],
    options: instanceNormOptions,
    make: (settings, channels: number) => new InstanceNormLayer(axes + 2, channels, settings),
  });
export const InstanceNorm1d = instanceNormOf(1);
export const InstanceNorm2d = instanceNormOf(2);
export const InstanceNorm3d = instanceNormOf(3);

const lrnOptions = {
  alpha: option(number, 1e-4, "Factor of the mean of squares"),
  beta: option(number, 0.75, "Exponent of the divisor"),
  k: option(number, 1, "Added to the divisor before the exponent"),
};
export type LocalResponseNormOptions = OptionsOf<typeof lrnOptions>;

export const LocalResponseNorm = defineLayer({
  name: "LocalResponseNorm",
  summary: "x divided by a power of the mean of squares over neighbouring channels",
  parameters: [argument("size", count, "Channels that count")],
  options: lrnOptions,
  make: ({ alpha, beta, k }, size: number): FunctionLayer =>
    functionLayer((x) =>
      lrn([x], { before: Math.floor(size / 2), after: Math.floor((size - 1) / 2), alpha, beta, bias: k }),
    ),
});
