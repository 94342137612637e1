/**
 * Functions on values, by PyTorch's definitions and with its layouts (images are [N, C, …]): what layers are made of, and the
 * functional style of writing models. Sizes may be one number for all spatial axes or a list.
 */

import { amax, concatenate, moveAxis, np, rankOf, reshapeTo, sliceAxis, staticSize } from "../../ir/build.js";
import { type Dim, dimAdd, dimCeilDiv, dimMin, dimMul, dimProduct, dimSub, dimText } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { typeText, type Value } from "../../ir/graph.js";
import { constant, full } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv, convInputGrad } from "../../ir/ops/conv.js";
import { scatterElements } from "../../ir/ops/indexing.js";
import { perChannel } from "../../ir/ops/normalize.js";
import { averagePool, globalAveragePool, lpPool as lpPoolOp } from "../../ir/ops/pooling.js";
import { maxPool as maxPoolOp, type PoolAttrs } from "../../ir/ops/window.js";
import { tensorFrom } from "../../ir/tensor.js";
import { aBoolean, anything, type Checks, checked, checkOptions } from "../options.js";

/** One number for all spatial axes, or one for each. */
export type Size = number | readonly number[];

/** A size as a list. Throws ModelError when the list has another length. */
export function sizes(size: Size, axes: number, what: string): readonly number[] {
  if (typeof size === "number") return new Array<number>(axes).fill(size);
  if (size.length !== axes) throw new ModelError(`${what} [${size}] needs ${axes} value${axes === 1 ? "" : "s"}`);
  return size;
}

const spatialAxes = (x: Value) => rankOf(x) - 2;
const spatial = (x: Value): readonly Dim[] => x.type.shape.slice(2);

function requireImage(x: Value, axes: number, what: string): void {
  if (rankOf(x) !== axes + 2) {
    const names = ["length", "height, width", "depth, height, width"][axes - 1];
    throw new ModelError(`${what} takes [batch, channels, ${names}], but got ${typeText(x.type)}`);
  }
}

// ------------------------------------------------------------------------------------------------ convolution

export interface ConvOptions {
  /** Distance between windows. Default 1. */
  readonly stride?: Size;
  /** Zeros on both sides; "same" keeps the size (stride 1), "valid" pads nothing. Default 0. */
  readonly padding?: Size | "same" | "valid";
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Groups of channels that see nothing of one another. Default 1. */
  readonly groups?: number;
}

/** Convolution over 1 to 3 spatial axes: x [N, C, …], weight [O, C/groups, …k], bias [O]. */
export function convolution(x: Value, weight: Value, bias?: Value, options: ConvOptions = {}): Value {
  const axes = spatialAxes(weight);
  requireImage(x, axes, `a ${axes}-d convolution`);
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const strides = sizes(stride, axes, "stride");
  const dilations = sizes(dilation, axes, "dilation");
  const kernel = strides.map((_, a) => staticSize(weight, a + 2, "the kernel"));
  const total = kernel.map((k, a) => dilations[a]! * (k - 1));
  if (padding === "same" && strides.some((s) => s !== 1)) {
    throw new ModelError({ message: 'padding "same" needs stride 1', hint: "give the padding as numbers" });
  }
  const low =
    padding === "same"
      ? total.map((t) => Math.floor(t / 2))
      : sizes(padding === "valid" ? 0 : padding, axes, "padding");
  const high = padding === "same" ? total.map((t, a) => t - low[a]!) : low;
  const y = conv([x, weight], { strides, padLow: low, padHigh: high, dilations, groups, layout: "channelsFirst" });
  return bias === undefined ? y : np.add(y, perChannel(y, bias));
}

export interface ConvTransposeOptions {
  /** Distance between windows of the result. Default 1. */
  readonly stride?: Size;
  /** Elements cut off on both sides of the result. Default 0. */
  readonly padding?: Size;
  /** Elements added after the result, which only its size depends on. Default 0. */
  readonly outputPadding?: Size;
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Groups of channels that see nothing of one another. Default 1. */
  readonly groups?: number;
}

/** Transposed convolution: x [N, C, …], weight [C, O/groups, …k], bias [O]. */
export function convTranspose(x: Value, weight: Value, bias?: Value, options: ConvTransposeOptions = {}): Value {
  const axes = spatialAxes(weight);
  requireImage(x, axes, `a ${axes}-d transposed convolution`);
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1, groups = 1 } = options;
  const strides = sizes(stride, axes, "stride");
  const dilations = sizes(dilation, axes, "dilation");
  const pads = sizes(padding, axes, "padding");
  const extra = sizes(outputPadding, axes, "outputPadding");
  extra.forEach((e, a) => {
    if (e >= Math.max(strides[a]!, dilations[a]!))
      throw new ModelError(`outputPadding ${e} must be smaller than stride ${strides[a]} or dilation ${dilations[a]}`);
  });
  const inputSize = spatial(x).map((d, a) => {
    const reach = dilations[a]! * (staticSize(weight, a + 2, "the kernel") - 1) + 1;
    return dimAdd(dimMul(dimSub(d, 1), strides[a]!), reach - 2 * pads[a]! + extra[a]!);
  });
  const y = convInputGrad([x, weight], {
    strides,
    padLow: pads,
    // Whole strides of output padding are positions that no window reaches: they are cropped on the way back.
    padHigh: pads.map((p, a) => p - extra[a]! + (extra[a]! % strides[a]!)),
    dilations,
    groups,
    layout: "channelsFirst",
    inputSize,
  });
  return bias === undefined ? y : np.add(y, perChannel(y, bias));
}

// ---------------------------------------------------------------------------------------------------- pooling

export interface PoolOptions {
  /** Default: the window's size, so that windows do not overlap. */
  readonly stride?: Size;
  /** Elements on both sides that count nothing; at most half of the window. Default 0. */
  readonly padding?: Size;
  /** Distance between the elements of a window. Default 1. */
  readonly dilation?: Size;
  /** Round the output's size up, so that the last window may hang over the edge. */
  readonly ceilMode?: boolean;
}

const poolChecks: Checks<PoolOptions> = { stride: anything, padding: anything, dilation: anything, ceilMode: aBoolean };

interface Windows {
  readonly attrs: PoolAttrs;
  readonly overhang: readonly Dim[];
}

function windows(x: Value, kernel: Size, options: PoolOptions): Windows {
  const axes = spatialAxes(x);
  const window = sizes(kernel, axes, "kernel size");
  const strides = sizes(options.stride ?? window, axes, "stride");
  const pads = sizes(options.padding ?? 0, axes, "padding");
  const dilations = sizes(options.dilation ?? 1, axes, "dilation");
  pads.forEach((p, a) => {
    if (2 * p > window[a]!) throw new ModelError(`padding ${p} may be at most half of the window ${window[a]}`);
  });
  // Rounding up: as many windows as begin inside the tensor or its padding before, and whose room has not run out.
  const overhang = spatial(x).map((d, a): Dim => {
    if (!options.ceilMode) return 0;
    const reach = dilations[a]! * (window[a]! - 1) + 1;
    const padded = dimAdd(d, 2 * pads[a]!);
    const byRoom = dimCeilDiv(dimSub(padded, reach), strides[a]!);
    const byStart = dimSub(dimCeilDiv(dimAdd(d, pads[a]!), strides[a]!), 1);
    return dimSub(dimAdd(dimMul(dimMin(byRoom, byStart), strides[a]!), reach), padded);
  });
  const padHigh = pads.map((p, a) => dimAdd(p, overhang[a]!));
  return { attrs: { window, strides, padLow: pads, padHigh, dilations, layout: "channelsFirst" }, overhang };
}

/** Largest element of each window, and where it is among the flattened spatial axes (i32): x [N, C, …]. */
export function maxPoolWithIndices(
  x: Value,
  kernel: Size,
  options: PoolOptions = {},
): { readonly output: Value; readonly indices: Value } {
  const [output, indices] = maxPoolOp([x], windows(x, kernel, checked("maxPool", options, poolChecks)).attrs);
  return { output: output!, indices: indices! };
}

/** Largest element of each window: x [N, C, …]. */
export const maxPool = (x: Value, kernel: Size, options: PoolOptions = {}): Value =>
  maxPoolWithIndices(x, kernel, options).output;

/** Values of x put where `maxPoolWithIndices` found them, among zeros: [N, C, …] → [N, C, …size]. */
export function maxUnpool(x: Value, indices: Value, size: readonly Dim[]): Value {
  if (rankOf(x) < 3 || size.length !== rankOf(x) - 2 || indices.type.shape.length !== rankOf(x))
    throw new ModelError(
      `cannot unpool ${typeText(x.type)} by ${typeText(indices.type)} to [${size.map(dimText)}]: they must have the same axes`,
    );
  const [n, c] = x.type.shape as readonly [Dim, Dim];
  const flat = (v: Value) => reshapeTo(v, [n, c, dimProduct(spatial(v))]);
  const zeros = full(x.type.dtype, [n, c, dimProduct(size)], 0);
  const put = scatterElements([zeros, flat(indices), flat(x)], { axis: 2, reduction: "none" });
  return reshapeTo(put, [n, c, ...size]);
}

export interface AvgPoolOptions extends Omit<PoolOptions, "dilation"> {
  /** Padding counts as elements of value 0. Default true. */
  readonly countIncludePad?: boolean;
}

/** Mean of each window: x [N, C, …]. */
export function avgPool(x: Value, kernel: Size, options: AvgPoolOptions = {}): Value {
  const { dilation: _, ...checks } = poolChecks;
  checkOptions("avgPool", options, { ...checks, countIncludePad: aBoolean });
  const { attrs, overhang } = windows(x, kernel, options);
  return averagePool([x], { ...attrs, overhang, countPadding: options.countIncludePad ?? true });
}

/** p-norm of each window: x [N, C, …]. */
export function lpPool(x: Value, p: number, kernel: Size, options: Omit<PoolOptions, "padding"> = {}): Value {
  return lpPoolOp([x], { ...windows(x, kernel, options).attrs, p });
}

/** Windows of PyTorch's adaptive pools: output i sees [⌊i·n/out⌋, ⌈(i + 1)·n/out⌉). */
function adaptiveWindow(n: number, out: number, i: number): readonly [start: number, end: number] {
  return [Math.floor((i * n) / out), Math.ceil(((i + 1) * n) / out)];
}

function adaptive(
  x: Value,
  output: Size,
  whole: (x: Value) => Value,
  even: (x: Value, window: readonly number[]) => Value,
  uneven: (x: Value, axis: number, n: number, out: number) => Value,
): Value {
  const axes = spatialAxes(x);
  const outs = sizes(output, axes, "output size");
  if (outs.every((o) => o === 1)) return whole(x);
  const ins = outs.map((_, a) => staticSize(x, a + 2, "a spatial axis of an adaptive pool"));
  if (ins.every((n, a) => n % outs[a]! === 0))
    return even(
      x,
      ins.map((n, a) => n / outs[a]!),
    );
  return outs.reduce((y, out, a) => (ins[a] === out ? y : uneven(y, a + 2, ins[a]!, out)), x);
}

/** Mean pool to a given output size. */
export function adaptiveAvgPool(x: Value, output: Size): Value {
  return adaptive(
    x,
    output,
    (v) => globalAveragePool([v], { layout: "channelsFirst" }),
    (v, window) => avgPool(v, window),
    (v, axis, n, out) => {
      const weights = new Float64Array(n * out);
      for (let i = 0; i < out; i++) {
        const [start, end] = adaptiveWindow(n, out, i);
        for (let j = start; j < end; j++) weights[j * out + i] = 1 / (end - start);
      }
      const matrix = constant([], { value: tensorFrom(v.type.dtype, [n, out], weights) });
      const product = dotGeneral([v, matrix], { batchA: [], batchB: [], contractA: [axis], contractB: [0] });
      return moveAxis(product, -1, axis);
    },
  );
}

/** Max pool to a given output size. */
export function adaptiveMaxPool(x: Value, output: Size): Value {
  return adaptive(
    x,
    output,
    (v) =>
      amax(
        v,
        spatial(v).map((_, a) => a + 2),
        { keepDims: true },
      ),
    (v, window) => maxPool(v, window),
    (v, axis, n, out) => {
      const parts = Array.from({ length: out }, (_, i) => {
        const [start, end] = adaptiveWindow(n, out, i);
        return amax(sliceAxis(v, axis, start, end - start), axis, { keepDims: true });
      });
      return concatenate(parts, axis);
    },
  );
}
