/** Normalisation layers. */

import { rankOf } from "../../../ir/build.js";
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
import { aBoolean, aNumber, type Checks, checked } from "../../options.js";
import type { Context } from "../context.js";
import { ones, zeros } from "../init.js";
import { buffer, Module, parameter, type Variable } from "../module.js";
import { expectSize, type FunctionLayer, Lambda } from "./basic.js";

export interface NormOptions {
  /** Added to the variance. */
  readonly epsilon?: number;
  /** Learn a scale and a bias. */
  readonly affine?: boolean;
}

const normChecks: Checks<NormOptions> = { epsilon: aNumber, affine: aBoolean };

const given = (ctx: Context, ...variables: readonly (Variable | undefined)[]): readonly Value[] =>
  variables.filter((v) => v !== undefined).map((v) => ctx.value(v));

export interface BatchNormOptions extends NormOptions {
  /** Weight of each batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
  /** Keep running statistics, which are used when not training. Default true. */
  readonly trackRunningStats?: boolean;
}

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

  constructor(ranks: readonly number[], channels: number, options: BatchNormOptions) {
    super();
    const { epsilon = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true } = options;
    this.#ranks = ranks;
    this.#channels = channels;
    this.#epsilon = epsilon;
    this.#momentum = momentum;
    this.weight = affine ? parameter([channels], ones) : undefined;
    this.bias = affine ? parameter([channels], zeros) : undefined;
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
    const { running_mean: mean, running_var: variance } = this;
    if (mean === undefined || variance === undefined) {
      const unused = full(x.type.dtype, [this.#channels], 0);
      return batchNormTrain([x, unused, unused, ...own], { ...attrs, momentum: 0, correction: 0 })[0]!;
    }
    const statistics = [ctx.value(mean), ctx.value(variance)];
    const momentum = this.#momentum;
    if (!ctx.training) return batchNorm([x, ...statistics, ...own], { ...attrs, momentum });
    const results = batchNormTrain([x, ...statistics, ...own], { ...attrs, momentum, correction: 1 });
    ctx.update(mean, results[1]!);
    ctx.update(variance, results[2]!);
    return results[0]!;
  }
}

type BatchNormOf = (channels: number, options?: BatchNormOptions) => BatchNormLayer;
const batchNormOf =
  (...ranks: readonly number[]): BatchNormOf =>
  (channels, options) =>
    new BatchNormLayer(
      ranks,
      channels,
      checked("BatchNorm", options, { ...normChecks, momentum: aNumber, trackRunningStats: aBoolean }),
    );
export const BatchNorm1d: BatchNormOf = batchNormOf(2, 3);
export const BatchNorm2d: BatchNormOf = batchNormOf(4);
export const BatchNorm3d: BatchNormOf = batchNormOf(5);

export interface LayerNormOptions extends NormOptions {
  readonly bias?: boolean;
}

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

  constructor(
    shape: number | readonly number[],
    { epsilon = 1e-5, affine = true, bias = true }: LayerNormOptions = {},
  ) {
    super();
    this.#shape = typeof shape === "number" ? [shape] : shape;
    this.#epsilon = epsilon;
    this.weight = affine ? parameter(this.#shape, ones) : undefined;
    this.bias = affine && bias ? parameter(this.#shape, zeros) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectTrailing(x, this.#shape);
    return layerNorm([x, ...given(ctx, this.weight, this.bias)], { axis: -this.#shape.length, epsilon: this.#epsilon });
  }
}
export const LayerNorm = (shape: number | readonly number[], options?: LayerNormOptions): LayerNormLayer =>
  new LayerNormLayer(shape, checked("LayerNorm", options, { ...normChecks, bias: aBoolean }));

/** x / root mean square over the trailing axes, which have this shape. */
export class RMSNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly #shape: readonly number[];
  readonly #epsilon: number;

  constructor(shape: number | readonly number[], { epsilon = 2 ** -23, affine = true }: NormOptions = {}) {
    super();
    this.#shape = typeof shape === "number" ? [shape] : shape;
    this.#epsilon = epsilon;
    this.weight = affine ? parameter(this.#shape, ones) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectTrailing(x, this.#shape);
    return rmsNorm([x, ...given(ctx, this.weight)], { axis: -this.#shape.length, epsilon: this.#epsilon });
  }
}
/** The default epsilon is that of f32, as in PyTorch. */
export const RMSNorm = (shape: number | readonly number[], options?: NormOptions): RMSNormLayer =>
  new RMSNormLayer(shape, checked("RMSNorm", options, normChecks));

/** Channels in groups, each normalised with all further axes. */
export class GroupNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly #groups: number;
  readonly #channels: number;
  readonly #epsilon: number;

  constructor(groups: number, channels: number, { epsilon = 1e-5, affine = true }: NormOptions = {}) {
    super();
    if (channels % groups !== 0) throw new ModelError(`${channels} channels do not divide into ${groups} groups`);
    this.#groups = groups;
    this.#channels = channels;
    this.#epsilon = epsilon;
    this.weight = affine ? parameter([channels], ones) : undefined;
    this.bias = affine ? parameter([channels], zeros) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, 1, this.#channels, "channels");
    return groupNorm([x, ...given(ctx, this.weight, this.bias)], { groups: this.#groups, epsilon: this.#epsilon });
  }
}
export const GroupNorm = (groups: number, channels: number, options?: NormOptions): GroupNormLayer =>
  new GroupNormLayer(groups, channels, checked("GroupNorm", options, normChecks));

/** Each channel of each sample. By default without scale and bias, as in PyTorch. */
export class InstanceNormLayer extends Module {
  readonly weight: Variable | undefined;
  readonly bias: Variable | undefined;
  readonly #rank: number;
  readonly #channels: number;
  readonly #epsilon: number;

  constructor(rank: number, channels: number, { epsilon = 1e-5, affine = false }: NormOptions) {
    super();
    this.#rank = rank;
    this.#channels = channels;
    this.#epsilon = epsilon;
    this.weight = affine ? parameter([channels], ones) : undefined;
    this.bias = affine ? parameter([channels], zeros) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    if (rankOf(x) !== this.#rank) throw new ModelError(`expected rank ${this.#rank}, but got ${typeText(x.type)}`);
    expectSize(x, 1, this.#channels, "channels");
    return instanceNorm([x, ...given(ctx, this.weight, this.bias)], { epsilon: this.#epsilon });
  }
}

type InstanceNormOf = (channels: number, options?: NormOptions) => InstanceNormLayer;
const instanceNormOf =
  (rank: number): InstanceNormOf =>
  (channels, options) =>
    new InstanceNormLayer(rank, channels, checked("InstanceNorm", options, normChecks));
export const InstanceNorm1d: InstanceNormOf = instanceNormOf(3);
export const InstanceNorm2d: InstanceNormOf = instanceNormOf(4);
export const InstanceNorm3d: InstanceNormOf = instanceNormOf(5);

export interface LocalResponseNormOptions {
  readonly alpha?: number;
  readonly beta?: number;
  readonly k?: number;
}

/** Over `size` neighbouring channels. */
export const LocalResponseNorm = (size: number, options?: LocalResponseNormOptions): FunctionLayer => {
  const {
    alpha = 1e-4,
    beta = 0.75,
    k = 1,
  } = checked("LocalResponseNorm", options, {
    alpha: aNumber,
    beta: aNumber,
    k: aNumber,
  });
  return Lambda((x) =>
    lrn([x], { before: Math.floor(size / 2), after: Math.floor((size - 1) / 2), alpha, beta, bias: k }),
  );
};
