/** Linear and embedding layers, shapes, composition. */

import { asType, flatten, np, rankOf, reshapeTo, sizeOf, where } from "../../../ir/build.js";
import { dimDiffers, dimText } from "../../../ir/dim.js";
import { isInt } from "../../../ir/dtype.js";
import { linear } from "../../../ir/einsum.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { normalizeAxis } from "../../../ir/infer.js";
import { dropout } from "../../../ir/ops/dropout.js";
import { stopGradient } from "../../../ir/ops/gradient.js";
import { gather } from "../../../ir/ops/indexing.js";
import { aBoolean, aFunction, aNumber, checked } from "../../options.js";
import type { Context } from "../context.js";
import { type Initializer, normal, scaledUniform } from "../init.js";
import { type Layer, Module, parameter, type Variable } from "../module.js";

/** Throws ModelError unless the axis may have this size. */
export function expectSize(x: Value, axis: number, want: number, what: string): void {
  const exists = axis < 0 ? rankOf(x) >= -axis : rankOf(x) > axis;
  const got = exists ? sizeOf(x, axis) : undefined;
  if (got === undefined || dimDiffers(got, want)) {
    const came = got === undefined ? "none" : dimText(got);
    throw new ModelError(`expected ${want} ${what}, but got ${came} in ${typeText(x.type)}`);
  }
}

export interface LinearOptions {
  readonly bias?: boolean;
  readonly init?: Initializer;
}

/** x [..., in] → x · weightᵀ + bias [..., out]; weight [out, in]. */
export class LinearLayer extends Module {
  readonly weight: Variable;
  readonly bias: Variable | undefined;
  readonly #in: number;

  constructor(inFeatures: number, outFeatures: number, { bias = true, init }: LinearOptions = {}) {
    super();
    this.#in = inFeatures;
    this.weight = parameter([outFeatures, inFeatures], init ?? scaledUniform(inFeatures));
    this.bias = bias ? parameter([outFeatures], scaledUniform(inFeatures)) : undefined;
  }

  forward(ctx: Context, x: Value): Value {
    expectSize(x, -1, this.#in, "input features");
    return linear(x, ctx.value(this.weight), this.bias && ctx.value(this.bias));
  }
}
export const Linear = (inFeatures: number, outFeatures: number, options?: LinearOptions): LinearLayer =>
  new LinearLayer(inFeatures, outFeatures, checked("Linear", options, { bias: aBoolean, init: aFunction }));

export interface EmbeddingOptions {
  /** Row that starts as zeros and gets no gradient. */
  readonly paddingIndex?: number;
  readonly init?: Initializer;
}

/** Indices [...] → rows of the weight [count, size]: [..., size]. */
export class EmbeddingLayer extends Module {
  readonly weight: Variable;
  readonly #padding: number | undefined;

  constructor(count: number, size: number, { paddingIndex, init = normal() }: EmbeddingOptions = {}) {
    super();
    const padding = paddingIndex === undefined ? undefined : normalizeAxis(paddingIndex, count, "paddingIndex");
    this.#padding = padding;
    this.weight = parameter([count, size], (shape, random) => {
      const values = Float64Array.from(init(shape, random));
      if (padding !== undefined) values.fill(0, padding * size, (padding + 1) * size);
      return values;
    });
  }

  forward(ctx: Context, indices: Value): Value {
    if (!isInt(indices.type.dtype)) {
      throw new ModelError({
        message: `an embedding takes integer indices, but got ${typeText(indices.type)}`,
        hint: "declare the input as i32 or i64",
      });
    }
    const rows = gather([ctx.value(this.weight), indices], { axis: 0 });
    if (this.#padding === undefined) return rows;
    const isPadding = np.eq(reshapeTo(indices, [...indices.type.shape, 1]), this.#padding);
    return where(isPadding, stopGradient([rows]), rows);
  }
}
export const Embedding = (count: number, size: number, options?: EmbeddingOptions): EmbeddingLayer =>
  new EmbeddingLayer(count, size, checked("Embedding", options, { paddingIndex: aNumber, init: aFunction }));

/** A function without variables as a layer. */
export class FunctionLayer extends Module {
  readonly #body: (x: Value, ctx: Context) => Value;

  constructor(body: (x: Value, ctx: Context) => Value) {
    super();
    this.#body = body;
  }

  forward(ctx: Context, x: Value): Value {
    return this.#body(x, ctx);
  }
}
export const Lambda = (body: (x: Value, ctx: Context) => Value): FunctionLayer => new FunctionLayer(body);

/** x as it is. */
export const Identity = (): FunctionLayer => Lambda((x) => x);

/** Axes start to end as one; by default all but the batch. */
export const Flatten = (start = 1, end = -1): FunctionLayer => Lambda((x) => flatten(x, start, end));

/** All axes but the batch take this shape; one entry may be −1. */
export const Reshape = (...shape: readonly number[]): FunctionLayer =>
  Lambda((x) => reshapeTo(x, [sizeOf(x, 0), ...shape]));

/** One axis is divided into several; one entry may be −1. */
export const Unflatten = (axis: number, shape: readonly number[]): FunctionLayer =>
  Lambda((x) => {
    const a = normalizeAxis(axis, rankOf(x));
    return reshapeTo(x, [...x.type.shape.slice(0, a), ...shape, ...x.type.shape.slice(a + 1)]);
  });

/** The element type converted, e.g. to f32 for images that come as bytes. */
export const Cast = (to: "f32" | "f64" | "f16" | "bf16" | "i32" | "i64"): FunctionLayer => Lambda((x) => asType(x, to));

/** x + body(x); a shortcut changes x where the shapes differ. */
export class ResidualLayer extends Module {
  readonly body: Layer;
  readonly shortcut: Layer | undefined;

  constructor(body: Layer, shortcut?: Layer) {
    super();
    this.body = body;
    this.shortcut = shortcut;
  }

  forward(ctx: Context, x: Value): Value {
    return np.add(this.body.apply(ctx, x), this.shortcut === undefined ? x : this.shortcut.apply(ctx, x));
  }
}
export const Residual = (body: Layer, shortcut?: Layer): ResidualLayer => new ResidualLayer(body, shortcut);

/** Layers one after the other. Their names are their keys, as in PyTorch. */
export class SequentialModule<L extends Readonly<Record<string, Layer>>> extends Module {
  readonly layers: L;

  constructor(layers: L) {
    super();
    this.layers = layers;
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return Object.entries(this.layers);
  }

  forward(ctx: Context, x: Value): Value {
    return Object.values(this.layers).reduce((value, layer) => layer.apply(ctx, value), x);
  }
}

/** `sequential({ conv1: Conv2d(1, 6, 5), relu1: ReLU() })`, or `sequential(Linear(4, 8), ReLU())` with the names 0, 1, … */
export function sequential<L extends Readonly<Record<string, Layer>>>(layers: L): SequentialModule<L>;
export function sequential(...layers: readonly Layer[]): SequentialModule<Readonly<Record<string, Layer>>>;
export function sequential(
  first: Layer | Readonly<Record<string, Layer>>,
  ...rest: readonly Layer[]
): SequentialModule<Readonly<Record<string, Layer>>> {
  if (!(first instanceof Module)) return new SequentialModule(first);
  return new SequentialModule(Object.fromEntries([first, ...rest].map((layer, i) => [String(i), layer])));
}

/** Drops elements while training; scales the others so that the mean stays. Otherwise x as it is. */
export class DropoutLayer extends Module {
  readonly probability: number;
  readonly #channels: boolean;

  constructor(probability: number, channels: boolean) {
    super();
    if (!(probability >= 0 && probability <= 1)) {
      throw new ModelError(`a dropout probability lies between 0 and 1, not at ${probability}`);
    }
    this.probability = probability;
    this.#channels = channels;
  }

  forward(ctx: Context, x: Value): Value {
    if (!ctx.training || this.probability === 0) return x;
    const [key, counter] = ctx.random();
    const sharedAxes = this.#channels ? x.type.shape.map((_, a) => a).slice(2) : [];
    return dropout([x, key, counter], { probability: this.probability, sharedAxes });
  }
}
export const Dropout = (probability = 0.5): DropoutLayer => new DropoutLayer(probability, false);
/** Drops whole channels of [N, C, …]. */
export const ChannelDropout = (probability = 0.5): DropoutLayer => new DropoutLayer(probability, true);
