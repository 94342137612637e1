/**
 * Random numbers. Each call draws from a stream of its own, and afresh in every run: the context comes first. Generator: Philox
 * 4×32-10, see `randomBits` of the op reference; the seed is the session's.
 */

import * as build from "../../../ir/build.js";

import { type FloatDType, type IntDType, isFloat } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import { type Shape, typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { requireValue } from "../../../ir/op.js";
import { full } from "../../../ir/ops/constant.js";
import { dropout as drop } from "../../../ir/ops/dropout.js";
import { log, log1p, neg } from "../../../ir/ops/elementwise.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import * as ops from "../../../ir/ops/random.js";
import { softmax } from "../../../ir/ops/softmax.js";
import { topK } from "../../../ir/ops/sort.js";
import { type Context, contextOf } from "../context.js";
import { argSort } from "./indexing.js";
import { argMax } from "./reduce.js";

const { np } = build;

/** Uniform numbers in [0, 1). */
export const rand = (ctx: Context, shape: Shape, dtype: FloatDType = "f32"): Value => uniform(ctx, shape, 0, 1, dtype);
/** Uniform numbers in [0, 1) of the type of x. */
export const randLike = (ctx: Context, x: Value): Value => uniform(ctx, build.shapeOf(x), 0, 1, floatOf(x));
/** Normal numbers of mean 0 and deviation 1. */
export const randn = (ctx: Context, shape: Shape, dtype: FloatDType = "f32"): Value => normal(ctx, shape, 0, 1, dtype);
/** Normal numbers of mean 0 and deviation 1, of the type of x. */
export const randnLike = (ctx: Context, x: Value): Value => normal(ctx, build.shapeOf(x), 0, 1, floatOf(x));

function floatOf(x: Value): FloatDType {
  const dtype = build.dtypeOf(x);
  if (!isFloat(dtype)) throw new ModelError(`random numbers like ${typeText(x.type)}, which is not of floats`);
  return dtype;
}

/** Uniform numbers in [low, high). */
export const uniform = (ctx: Context, shape: Shape, low = 0, high = 1, dtype: FloatDType = "f32"): Value =>
  ops.randomUniform(contextOf(ctx).random(), { dtype, shape, low, high });
/** Normal numbers. */
export const normal = (ctx: Context, shape: Shape, mean = 0, std = 1, dtype: FloatDType = "f32"): Value =>
  ops.randomNormal(contextOf(ctx).random(), { dtype, shape, mean, deviation: std });

/** Uniform u32 words: all that the others are made of. */
export const randomBits = (ctx: Context, shape: Shape): Value => ops.randomBits(contextOf(ctx).random(), { shape });

/** Integers in [low, high), uniform but for 2⁻³² of their number. */
export function randint(ctx: Context, low: number, high: number, shape: Shape, dtype: IntDType = "i64"): Value {
  const span = high - low;
  if (!Number.isInteger(low) || !Number.isInteger(high) || span < 1 || span > 2 ** 32)
    throw new ModelError(`randint needs integers low < high, at most 2^32 apart, not ${low} and ${high}`);
  const bits = randomBits(ctx, shape);
  const below = build.asType(span === 2 ** 32 ? bits : np.rem(bits, span), "i64");
  return build.asType(low === 0 ? below : np.add(below, low), dtype);
}

/** A random order of 0 … n − 1. */
export const randperm = (ctx: Context, n: number): Value => argSort(randomBits(ctx, [n]), 0);

/** 1 with the probability of each element, else 0, in its dtype. No gradient flows through it. */
export function bernoulli(ctx: Context, probability: Value): Value {
  const [key, counter] = contextOf(ctx).random();
  return build.asType(ops.bernoulli([stopGradient([probability]), key, counter], {}), build.dtypeOf(probability));
}

/** Numbers of the exponential distribution, with `rate` (its mean is 1 / rate). */
export const exponential = (ctx: Context, shape: Shape, rate = 1, dtype: FloatDType = "f32"): Value =>
  np.mul(log1p([neg([uniform(ctx, shape, 0, 1, dtype)])]), -1 / rate);

/** Numbers of the Gumbel distribution; finite. */
export const gumbel = (ctx: Context, shape: Shape, dtype: FloatDType = "f32"): Value =>
  neg([log([np.max(exponential(ctx, shape, 1, dtype), dtype === "f16" ? 6e-8 : 1e-38)])]);

/** An index drawn by the softmax of logits along an axis, which disappears: i64. https://arxiv.org/abs/1611.00712 */
export const categorical = (ctx: Context, logits: Value, dim = -1): Value =>
  argMax(np.add(stopGradient([logits]), gumbel(ctx, build.shapeOf(logits), floatOf(logits))), dim);

/**
 * `count` indices (i64) drawn by weights along the last axis, which need not sum to 1: [..., n] gives [..., count]. Without
 * replacement (the default) none is drawn twice; weights of 0 then come last.
 */
export function multinomial(
  ctx: Context,
  weights: Value,
  count: number,
  { replacement = false }: { readonly replacement?: boolean } = {},
): Value {
  const logits = log([stopGradient([weights])]);
  const axis = normalizeAxis(-1, build.rankOf(weights));
  if (!replacement) {
    const noise = gumbel(ctx, build.shapeOf(weights), floatOf(weights));
    return topK([np.add(logits, noise)], { k: count, axis, largest: true })[1]!;
  }
  const shape = [...build.shapeOf(weights).slice(0, -1), count, build.shapeOf(weights)[axis]!];
  return argMax(np.add(build.expandDims(logits, -2), gumbel(ctx, shape, floatOf(weights))), -1);
}

/** softmax((logits + Gumbel noise) / tau); `hard` gives one-hot rows with the soft gradient. https://arxiv.org/abs/1611.01144 */
export function gumbelSoftmax(
  ctx: Context,
  logits: Value,
  { tau = 1, hard = false, dim = -1 }: { readonly tau?: number; readonly hard?: boolean; readonly dim?: number } = {},
): Value {
  const noisy = np.mul(np.add(logits, gumbel(ctx, build.shapeOf(logits), floatOf(logits))), 1 / tau);
  const soft = softmax([noisy], { axis: dim });
  if (!hard) return soft;
  const axis = normalizeAxis(dim, build.rankOf(logits));
  const depth = build.staticSize(logits, axis, "the classes");
  const one = build.moveAxis(build.oneHot(argMax(soft, dim), depth, build.dtypeOf(soft)), -1, axis);
  return np.add(stopGradient([np.sub(one, soft)]), soft);
}

/** Elements are 0 with probability p, and x / (1 − p) otherwise, while the context trains; else x. https://jmlr.org/papers/v15/srivastava14a.html */
export const dropout = (ctx: Context, x: Value, p = 0.5): Value => dropped(ctx, x, p, []);
/** Drops whole channels of x [N, C, …] while the context trains. */
export const channelDropout = (ctx: Context, x: Value, p = 0.5): Value =>
  dropped(
    ctx,
    x,
    p,
    build
      .shapeOf(x)
      .map((_, a) => a)
      .slice(2),
  );

function dropped(ctx: Context, x: Value, probability: number, sharedAxes: readonly number[]): Value {
  if (!(probability >= 0 && probability <= 1))
    throw new ModelError(`a dropout probability lies between 0 and 1, not at ${probability}`);
  if (!contextOf(ctx).training || probability === 0) return requireValue(x);
  return drop([x, ...contextOf(ctx).random()], { probability, sharedAxes });
}

/** True with probability p, as bool, of a shape. */
export const mask = (ctx: Context, shape: Shape, p = 0.5): Value =>
  ops.bernoulli([full("f32", shape, p), ...contextOf(ctx).random()], {});
