/**
 * Constants along the channels of a product: which axes of a result are axes of its constant weight, constants that vary along
 * these only, and weights scaled by them.
 */

import { isStaticShape, type Shape, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { freeAxes } from "../../ir/ops/contraction.js";
import { broadcast } from "../../ir/ops/movement.js";
import { elementCount, scalar, stridesOf, type Tensor, tensorFrom, toFloat64, zeros } from "../../ir/tensor.js";
import { type NodeNamed, splatOf } from "../pattern.js";
import { filled } from "./build.js";

/** An axis of a result along which the weight varies too. */
export interface Channel {
  readonly axis: number;
  readonly size: number;
  /** The index along it of weight elements, a sum over these axes of the weight: ⌊index / every⌋ · times. */
  readonly from: readonly { readonly weightAxis: number; readonly every: number; readonly times: number }[];
}

/** Doubles along channels, row-major in their order; a single one holds for all. */
export type PerChannel = Float64Array;

const productNames = ["dotGeneral", "conv", "convInputGrad"] as const;
export type Product = NodeNamed<(typeof productNames)[number]>;
export const isProduct = (op: string): op is Product["op"] => (productNames as readonly string[]).includes(op);

/** The channels that scaling operand `which` of the product, a constant of this shape, reaches. */
export function channelsOfWeight(n: Product, which: 0 | 1, shape: readonly number[]): readonly Channel[] {
  const at = (axis: number, weightAxis: number): Channel => {
    return { axis, size: shape[weightAxis]!, from: [{ weightAxis, every: 1, times: 1 }] };
  };
  switch (n.op) {
    case "dotGeneral": {
      const { batchA, batchB, contractA, contractB } = n.attrs;
      const free = [
        freeAxes(n.operands[0]!.type.shape.length, batchA, contractA),
        freeAxes(n.operands[1]!.type.shape.length, batchB, contractB),
      ];
      const first = batchA.length + (which === 1 ? free[0]!.length : 0);
      return [
        ...(which === 0 ? batchA : batchB).map((w, i) => at(i, w)),
        ...free[which]!.map((w, i) => at(first + i, w)),
      ];
    }
    case "conv":
      return which === 1 ? [at(channelAxis(n), 0)] : [];
    case "convInputGrad": {
      if (which !== 1) return [];
      // Channel c of group g is c of the weight in the rows of the group.
      const { groups } = n.attrs;
      const axis = channelAxis(n);
      const size = shape[axis]!;
      const from = [
        { weightAxis: axis, every: 1, times: 1 },
        { weightAxis: 0, every: shape[0]! / groups, times: size },
      ];
      return [{ axis, size: groups * size, from }];
    }
  }
}

const channelAxis = (n: NodeNamed<"conv" | "convInputGrad">): number =>
  n.attrs.layout === "channelsFirst" ? 1 : n.operands[0]!.type.shape.length - 1;

const countOf = (channels: readonly Channel[]): number => elementCount(channels.map((c) => c.size));

/** The value as constants along the channels; undefined if it is not constant, or varies along other axes. */
export function perChannelOf(v: Value, channels: readonly Channel[]): PerChannel | undefined {
  const splat = splatOf(v);
  if (splat !== undefined) return Float64Array.of(splat.value);
  const source = v.def.op === "broadcast" ? v.def.operands[0]! : v;
  const axes = v.def.op === "broadcast" ? v.def.attrs.axes : v.type.shape.map((_, a) => a);
  if (source.def.op !== "constant") return undefined;
  const { value } = source.def.attrs;
  const strides = stridesOf(value.shape);
  const along = channels.map(() => 0);
  for (const [i, d] of value.shape.entries()) {
    if (d === 1) continue;
    const c = channels.findIndex((ch) => ch.axis === axes[i]!);
    if (c < 0) return undefined;
    along[c] = strides[i]!;
  }
  const elements = toFloat64(value);
  const sizes = channels.map((c) => c.size);
  return Float64Array.from(
    walk(sizes, (c, i) => along[c]! * i),
    (at) => elements[at]!,
  );
}

/** For each index of the sizes, row-major, the sum over the axes of what `place` says of the index along each. */
function walk(sizes: readonly number[], place: (axis: number, index: number) => number): Int32Array {
  const tables = sizes.map((n, a) => Int32Array.from({ length: n }, (_, i) => place(a, i)));
  let places = Int32Array.of(0);
  for (const table of tables) {
    const next = new Int32Array(places.length * table.length);
    let at = 0;
    for (let i = 0; i < places.length; i++) for (let j = 0; j < table.length; j++) next[at++] = places[i]! + table[j]!;
    places = next;
  }
  return places;
}

/** For each element of a weight the channel it belongs to. */
function channelOfElement(shape: readonly number[], channels: readonly Channel[]): Int32Array {
  const strides = stridesOf(channels.map((c) => c.size));
  return walk(shape, (weightAxis, index) => {
    let channel = 0;
    channels.forEach((c, i) => {
      for (const f of c.from) {
        if (f.weightAxis === weightAxis) channel += strides[i]! * Math.floor(index / f.every) * f.times;
      }
    });
    return channel;
  });
}

/** Magnitudes below it have fewer bits. */
export const smallestNormal = { f32: 2 ** -126, f64: 2 ** -1022 } as const;

/**
 * The weight scaled along channels, rounded once; undefined where that turns a finite element infinite, or a normal one
 * subnormal or zero.
 */
export function scaledWeight(w: Tensor, channels: readonly Channel[], scale: PerChannel): Tensor | undefined {
  if (w.dtype !== "f32" && w.dtype !== "f64") return undefined;
  const least = smallestNormal[w.dtype];
  const out = zeros(w.dtype, w.shape);
  const from = w.data as Float32Array | Float64Array;
  const to = out.data as Float32Array | Float64Array;
  // Elements after the last axis of a channel share their factor.
  const last = scale.length === 1 ? -1 : Math.max(...channels.flatMap((c) => c.from.map((f) => f.weightAxis)));
  const run = elementCount(w.shape.slice(last + 1));
  const channel = channelOfElement(w.shape.slice(0, last + 1), channels);
  for (let r = 0, i = 0; r < channel.length; r++) {
    const factor = scale[scale.length === 1 ? 0 : channel[r]!]!;
    for (const end = i + run; i < end; i++) {
      const x = from[i]!;
      to[i] = x * factor;
      const y = Math.abs(to[i]!);
      // Not finite, or subnormal: NaN fails both comparisons.
      if (!(y < Infinity && y >= least) && Number.isFinite(x) && (y >= least || Math.abs(x) >= least)) return undefined;
    }
  }
  return out;
}

/** Constants along channels as a value of a product's shape. */
export function spreadChannels(
  constants: PerChannel,
  channels: readonly Channel[],
  dtype: "f32" | "f64",
  shape: Shape,
): Value {
  if (constants.length === 1) return filled(scalar(dtype, constants[0]!), shape);
  const value = tensorFrom(
    dtype,
    channels.map((c) => c.size),
    constants,
  );
  // broadcast wants increasing axes; channels are in the order of the result's.
  const c = constant([], { value });
  const whole = isStaticShape(shape) && shape.length === channels.length;
  return whole ? c : broadcast([c], { shape, axes: channels.map((ch) => ch.axis) });
}

/** a ∘ b, of constants along the same channels. */
export function combine(
  a: PerChannel,
  b: PerChannel,
  channels: readonly Channel[],
  f: (a: number, b: number) => number,
): PerChannel {
  const n = a.length === 1 && b.length === 1 ? 1 : countOf(channels);
  return Float64Array.from({ length: n }, (_, i) => f(a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!));
}
