/**
 * Products of dequantised operands (the QDQ form that quantisers write), computed on the integers: the sum is exact, and one
 * multiplication by the product of the scales makes it a float.
 */
import { asType, np, padConstant, rankOf, reshapeTo, sum, swapAxes } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { conv as convOp } from "../../../ir/ops/conv.js";
import { element, elementCount } from "../../../ir/tensor.js";
import { constantOf } from "../../../passes/values/index.js";
import { host } from "../build.js";
import type { NodeContext, QuantizedOrigin } from "../context.js";
import { centred, matmul } from "./products.js";
import type { Window } from "./window.js";

const isByte = (v: Value): boolean => v.type.dtype === "u8" || v.type.dtype === "i8";
const isScalar = (v: Value): boolean => rankOf(v) === 0 || (rankOf(v) === 1 && v.type.shape[0] === 1);

/** The single integer of a zero point that is known; 0 if there is none; undefined if it differs or is not known. */
export function knownZero(zero: Value | undefined): number | undefined {
  if (!zero) return 0;
  const tensor = constantOf(zero);
  if (!tensor || tensor.data.length === 0) return undefined;
  const first = Number(tensor.data[0]);
  for (let i = 1; i < tensor.data.length; i++) if (Number(tensor.data[i]) !== first) return undefined;
  return first;
}

/** A value per channel shaped to broadcast with axis 1 of a result of the given rank, or a scalar. */
const perChannel = (v: Value, rank: number): Value =>
  isScalar(v)
    ? reshapeTo(v, [])
    : reshapeTo(
        v,
        Array.from({ length: rank }, (_, i): Dim => (i === 1 ? v.type.shape[0]! : 1)),
      );

/** The zero point of all elements: a number where that is known, else a scalar of the running program; undefined if they differ. */
function singleZero(zero: Value | undefined): number | Value | undefined {
  return knownZero(zero) ?? (zero && isScalar(zero) ? reshapeTo(zero, []) : undefined);
}

/** The weight less its zero point, as bytes: itself where that is 0, a constant of i8 where its elements allow that. */
function centredBytes(w: Value, zero: Value | undefined, axis: number): Value | undefined {
  if (!isByte(w)) return undefined;
  if (knownZero(zero) === 0) return w;
  const constants = [w, zero!].map((v) => constantOf(v));
  const [values, zeros] = constants;
  if (!values || !zeros || rankOf(zero!) > 1) return undefined;
  const size = values.shape[axis]!;
  const inner = elementCount(values.shape.slice(axis + 1));
  const zeroAt = (i: number) => element(zeros, zeros.data.length === 1 ? 0 : Math.floor(i / inner) % size);
  const made = new Int8Array(values.data.length);
  let fits = true;
  for (let i = 0; i < made.length; i++) {
    const shifted = element(values, i) - zeroAt(i);
    made[i] = shifted;
    fits &&= made[i] === shifted;
  }
  return fits ? host({ dtype: "i8", shape: values.shape, data: made }) : undefined;
}

/** Convolution of bytes as exact i32, zero points taken off: Σ (x − zx)(w − zw). Padding counts as the zero point of x. */
export function integerConv(
  x: Value,
  zeroX: Value | undefined,
  w: Value,
  zeroW: Value | undefined,
  { strides, dilations, padLow, padHigh }: Window,
  groups: number,
): Value {
  const attrs = { strides, dilations, groups, layout: "channelsFirst" as const };
  const zx = singleZero(zeroX);
  const bytes = centredBytes(w, zeroW, 0);
  // Padding with a number that the run finds would copy x; less the zero point, the padding is 0.
  const isPadded = [...padLow, ...padHigh].some((d) => d !== 0);
  if (zx === undefined || bytes === undefined || !isByte(x) || (typeof zx !== "number" && isPadded)) {
    return convOp([centred(x, zeroX), centred(w, zeroW, 0)], { ...attrs, padLow, padHigh });
  }
  // Σ x·w over x padded with its zero point, minus zx·Σ w.
  const none = padLow.map(() => 0);
  const padded = typeof zx !== "number" || zx === 0 ? x : padConstant(x, [0, 0, ...padLow], [0, 0, ...padHigh], zx);
  const product = convOp([padded, bytes], {
    ...attrs,
    ...(zx === 0 ? { padLow, padHigh } : { padLow: none, padHigh: none }),
  });
  const axes = bytes.type.shape.map((_, i) => i).slice(1);
  return withoutZero(product, zx, () => perChannel(sum(asType(bytes, "i32"), axes), rankOf(product)));
}

/** The product minus zero point times the sum of the weight's elements that it has met. */
const withoutZero = (product: Value, zero: number | Value, sums: () => Value): Value =>
  zero === 0 ? product : np.sub(product, np.mul(sums(), typeof zero === "number" ? zero : asType(zero, "i32")));

/** The product of byte matrices as exact i32, zero points taken off. */
export function integerMatmul(a: Value, zeroA: Value | undefined, b: Value, zeroB: Value | undefined): Value {
  const za = singleZero(zeroA);
  const bytes = rankOf(a) > 1 && rankOf(b) > 1 && isByte(a) ? centredBytes(b, zeroB, rankOf(b) - 1) : undefined;
  if (za === undefined || bytes === undefined) {
    return matmul(centred(a, zeroA, rankOf(a) - 2), centred(b, zeroB, rankOf(b) - 1));
  }
  return withoutZero(matmul(a, bytes), za, () => sum(asType(bytes, "i32"), rankOf(b) - 2, { keepDims: true }));
}

/** Whether the origin is of bytes, with one scale, or with one per index of the axis. */
function fits(origin: QuantizedOrigin | undefined, axis?: number): origin is QuantizedOrigin {
  if (!origin || !isByte(origin.values) || origin.scale.type.dtype !== "f32") return false;
  return isScalar(origin.scale) || (axis !== undefined && rankOf(origin.scale) === 1 && origin.axis === axis);
}

/** A bias in the unit of the accumulator: the i32 that was dequantised, if its scale is the product of the others. */
function integerBias(c: NodeContext, bias: Value, scale: Value): Value | undefined {
  const origin = c.services.dequantized.get(bias);
  if (origin?.values.type.dtype !== "i32" || knownZero(origin.zero) !== 0) return undefined;
  const [own, product] = [origin.scale, scale].map((v) => constantOf(v));
  if (!own || !product) return undefined;
  for (let i = 0; i < Math.max(own.data.length, product.data.length); i++) {
    const a = Number(own.data[own.data.length === 1 ? 0 : i]);
    const b = Number(product.data[product.data.length === 1 ? 0 : i]);
    if (!(Math.abs(a - b) <= 1e-5 * Math.abs(b))) return undefined;
  }
  return origin.values;
}

/** The convolution of a node whose operands are dequantised bytes; undefined if they are not. */
export function convOfDequantized(c: NodeContext, window: Window, groups: number): Value | undefined {
  const x = c.services.dequantized.get(c.input(0));
  const w = c.services.dequantized.get(c.input(1));
  if (!fits(x) || !fits(w, 0)) return undefined;
  const scale = np.mul(reshapeTo(x.scale, []), w.scale);
  const acc = integerConv(x.values, x.zero, w.values, w.zero, window, groups);
  return finish(c, acc, scale, c.optional(2));
}

/** The product of a node whose operands are dequantised bytes; undefined if they are not. */
export function matmulOfDequantized(c: NodeContext): Value | undefined {
  const a = c.services.dequantized.get(c.input(0));
  const b = c.services.dequantized.get(c.input(1));
  if (!fits(a) || !fits(b, 1) || rankOf(b.values) < 2 || rankOf(a.values) < 2) return undefined;
  // Scales of columns, but not those of another axis of a batch.
  if (rankOf(b.values) !== 2 && !isScalar(b.scale)) return undefined;
  const scale = np.mul(reshapeTo(a.scale, []), isScalar(b.scale) ? reshapeTo(b.scale, []) : b.scale);
  return np.mul(asType(integerMatmul(a.values, a.zero, b.values, b.zero), "f32"), scale);
}

/** Gemm of dequantised bytes with α = β = 1; undefined if it is not that. */
export function gemmOfDequantized(c: NodeContext): Value | undefined {
  const plain = c.attrs.float("alpha", 1) === 1 && c.attrs.float("beta", 1) === 1 && !c.attrs.flag("transA", false);
  const transposed = c.attrs.flag("transB", false);
  const a = c.services.dequantized.get(c.input(0));
  const b = c.services.dequantized.get(c.input(1));
  const bias = c.optional(2);
  if (!plain || !fits(a) || !fits(b, transposed ? 0 : 1) || (bias && rankOf(bias) !== 1)) return undefined;
  const right = transposed ? swapAxes(b.values, 0, 1) : b.values;
  const scale = np.mul(reshapeTo(a.scale, []), isScalar(b.scale) ? reshapeTo(b.scale, []) : b.scale);
  return finish(c, integerMatmul(a.values, a.zero, right, b.zero), scale, bias);
}

/** acc · scale + bias per channel, with the bias added to the integers where it is one. */
function finish(c: NodeContext, acc: Value, scale: Value, bias: Value | undefined): Value {
  const rank = rankOf(acc);
  const whole = bias && integerBias(c, bias, scale);
  const total = whole ? np.add(acc, perChannel(whole, rank)) : acc;
  const y = np.mul(asType(total, "f32"), perChannel(scale, rank));
  return bias && !whole ? np.add(y, perChannel(bias, rank)) : y;
}
