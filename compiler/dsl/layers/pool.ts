/** Pools over the spatial axes of [N, C, …]. */

import { rankOf, sizeOf } from "../../../ir/build.js";
import { type Dim, dimAdd, dimMul, dimSub } from "../../../ir/dim.js";
import { ModelError } from "../../../ir/errors.js";
import { typeText, type Value } from "../../../ir/graph.js";
import {
  parameter as argument,
  flag,
  number,
  type OptionsOf,
  option,
  optional,
  positional,
  type Settings,
} from "../../schema.js";
import type { Context } from "../context.js";
import {
  adaptiveAvgPool,
  adaptiveMaxPool,
  avgPool,
  lpPool,
  maxPoolWithIndices,
  maxUnpool,
  type Size,
  sizes as sizesOf,
} from "../functional.js";
import { located, Module } from "../module.js";
import { amounts, defineLayer, FunctionLayer, functionLayer, sizes } from "./define.js";

/** x, which has so many spatial axes. */
function ranked(axes: number, x: Value): Value {
  if (rankOf(x) === axes + 2) return x;
  const want = `a ${axes}-d pool takes [batch, channels, …] of rank ${axes + 2}`;
  throw new ModelError(`${want}, but got ${typeText(x.type)}`);
}

/** A pool over a fixed number of spatial axes. */
const pool = (axes: number, body: (x: Value) => Value): FunctionLayer => functionLayer((x) => body(ranked(axes, x)));

const strideOption = { stride: optional(sizes, "Step of the window. Default: its size") };
const ceilOption = { ceilMode: option(flag, false, "The last window may hang over the edge") };
const maxOptions = {
  ...strideOption,
  padding: option(amounts, 0, "Elements before and after each axis that never win"),
  dilation: option(sizes, 1, "Distance of the window's elements"),
  ...ceilOption,
};
const avgOptions = {
  ...strideOption,
  padding: option(amounts, 0, "Zeros before and after each axis"),
  countIncludePad: option(flag, true, "Padding counts in the mean"),
  ...ceilOption,
};
const lpOptions = { ...strideOption, ...ceilOption };
export type MaxPoolOptions = OptionsOf<typeof maxOptions>;
export type AvgPoolOptions = OptionsOf<typeof avgOptions>;
export type LPPoolOptions = OptionsOf<typeof lpOptions>;

/** Without options that have no value: what the functions expect. */
const stated = <S extends { readonly stride: Size | undefined }>({ stride, ...rest }: S) => ({
  ...rest,
  ...(stride === undefined ? {} : { stride }),
});

const kernel = argument("kernel", sizes, "Size of the window");
/** A max pool that also tells where it found its results. */
export class MaxPoolLayer extends FunctionLayer {
  readonly #find: (x: Value) => Pooled;

  constructor(axes: number, find: (x: Value) => Pooled) {
    super((x) => find(ranked(axes, x)).output);
    this.#find = (x) => find(ranked(axes, x));
  }

  /** As `apply`, with i32 indices into the flattened spatial axes of x: what `MaxUnpool` takes. */
  withIndices(ctx: Context, x: Value): Pooled {
    return located(ctx.pathOf(this), this.constructor.name, () => this.#find(x));
  }
}
export interface Pooled {
  readonly output: Value;
  readonly indices: Value;
}

const maxOf = (axes: number) =>
  defineLayer({
    name: `MaxPool${axes}d`,
    summary: "Largest element of each window; `withIndices` gives where it is as well",
    parameters: [kernel],
    options: maxOptions,
    make: (settings: Settings<typeof maxOptions>, kernel: Size) =>
      new MaxPoolLayer(axes, (x) => maxPoolWithIndices(x, kernel, stated(settings))),
  });
export const MaxPool1d = maxOf(1);
export const MaxPool2d = maxOf(2);
export const MaxPool3d = maxOf(3);

const unpoolOptions = {
  ...strideOption,
  padding: option(amounts, 0, "Of the pool"),
};
export type MaxUnpoolOptions = OptionsOf<typeof unpoolOptions>;

/** Values put back where a max pool found them, among zeros. */
export class MaxUnpoolLayer extends Module<readonly [x: Value, indices: Value, size?: readonly Dim[]]> {
  readonly #sizesOf: (x: Value) => readonly Dim[];

  constructor(axes: number, kernel: Size, { stride = kernel, padding }: Settings<typeof unpoolOptions>) {
    super();
    const window = sizesOf(kernel, axes, "kernel size");
    const [steps, pads] = [sizesOf(stride, axes, "stride"), sizesOf(padding, axes, "padding")];
    this.#sizesOf = (x) =>
      window.map((k, a) => dimAdd(dimMul(dimSub(sizeOf(ranked(axes, x), a + 2), 1), steps[a]!), k - 2 * pads[a]!));
  }

  forward(_ctx: Context, x: Value, indices: Value, size: readonly Dim[] = this.#sizesOf(x)): Value {
    return maxUnpool(x, indices, size);
  }
}
const unpoolOf = (axes: number) =>
  defineLayer({
    name: `MaxUnpool${axes}d`,
    summary:
      "`layer(ctx, x, indices, size?)`: values put back where a max pool's `withIndices` found them, among zeros; the size of the spatial axes is the least that the pool may have had",
    parameters: [kernel],
    options: unpoolOptions,
    make: (settings: Settings<typeof unpoolOptions>, kernel: Size) => new MaxUnpoolLayer(axes, kernel, settings),
  });
export const MaxUnpool1d = unpoolOf(1);
export const MaxUnpool2d = unpoolOf(2);
export const MaxUnpool3d = unpoolOf(3);

const avgOf = (axes: number) =>
  defineLayer({
    name: `AvgPool${axes}d`,
    summary: "Mean of each window",
    parameters: [kernel],
    options: avgOptions,
    make: (settings: Settings<typeof avgOptions>, kernel: Size) =>
      pool(axes, (x) => avgPool(x, kernel, stated(settings))),
  });
export const AvgPool1d = avgOf(1);
export const AvgPool2d = avgOf(2);
export const AvgPool3d = avgOf(3);

const lpOf = (axes: number) =>
  defineLayer({
    name: `LPPool${axes}d`,
    summary: "p-norm of each window",
    parameters: [argument("p", number, "Of the norm"), kernel],
    options: lpOptions,
    make: (settings: Settings<typeof lpOptions>, p: number, kernel: Size) =>
      pool(axes, (x) => lpPool(x, p, kernel, stated(settings))),
  });
export const LPPool1d = lpOf(1);
export const LPPool2d = lpOf(2);
export const LPPool3d = lpOf(3);

const adaptiveOf = (name: string, what: string, axes: number, body: (x: Value, output: Size) => Value) =>
  positional(
    `nn.${name}${axes}d`,
    `${what} of windows that give an output of this size`,
    [argument("output", sizes, "Size of the result's spatial axes")],
    (output: Size) => pool(axes, (x) => body(x, output)),
  );
export const AdaptiveAvgPool1d = adaptiveOf("AdaptiveAvgPool", "Mean", 1, adaptiveAvgPool);
export const AdaptiveAvgPool2d = adaptiveOf("AdaptiveAvgPool", "Mean", 2, adaptiveAvgPool);
export const AdaptiveAvgPool3d = adaptiveOf("AdaptiveAvgPool", "Mean", 3, adaptiveAvgPool);
export const AdaptiveMaxPool1d = adaptiveOf("AdaptiveMaxPool", "Largest element", 1, adaptiveMaxPool);
export const AdaptiveMaxPool2d = adaptiveOf("AdaptiveMaxPool", "Largest element", 2, adaptiveMaxPool);
export const AdaptiveMaxPool3d = adaptiveOf("AdaptiveMaxPool", "Largest element", 3, adaptiveMaxPool);

export const GlobalAvgPool = positional(
  "nn.GlobalAvgPool",
  "Mean over all spatial axes, which stay with size 1",
  [],
  () => functionLayer((x) => adaptiveAvgPool(x, 1)),
);
export const GlobalMaxPool = positional(
  "nn.GlobalMaxPool",
  "Largest element over all spatial axes, which stay with size 1",
  [],
  () => functionLayer((x) => adaptiveMaxPool(x, 1)),
);
