/** Whether a kernel's result meets an op's stated accuracy against the reference. */

import { type DType, isFloat } from "../../ir/dtype.js";
import type { Accuracy } from "../../ir/op.js";
import { bigElement, element, type Tensor } from "../../ir/tensor.js";

/** Explicit mantissa bits, and the exponent of the smallest normal number. */
const formats = {
  f64: { bits: 52, lowest: -1022 },
  f32: { bits: 23, lowest: -126 },
  f16: { bits: 10, lowest: -14 },
  bf16: { bits: 7, lowest: -126 },
} as const;

/** Distance from x to the next number of the dtype. */
export function ulpOf(dtype: keyof typeof formats, x: number): number {
  const { bits, lowest } = formats[dtype];
  const exponent = x === 0 ? lowest : Math.max(lowest, Math.floor(Math.log2(Math.abs(x))));
  return 2 ** (exponent - bits);
}

/** The first way in which the tensors differ by more than the accuracy allows; undefined when they agree. */
export function disagreement(got: Tensor, want: Tensor, accuracy: Accuracy): string | undefined {
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join()) {
    return `${got.dtype}[${got.shape}] instead of ${want.dtype}[${want.shape}]`;
  }
  const close = isFloat(want.dtype) ? floatRule(want.dtype, accuracy) : undefined;
  for (let i = 0; i < want.data.length; i++) {
    const same = close ? close(element(got, i), element(want, i)) : bigElement(got, i) === bigElement(want, i);
    if (!same) return `element ${i} is ${element(got, i)} instead of ${element(want, i)}`;
  }
  return undefined;
}

function floatRule(dtype: DType, accuracy: Accuracy): (got: number, want: number) => boolean {
  const format = dtype as keyof typeof formats;
  return (got, want) => {
    if (Number.isNaN(want)) return Number.isNaN(got);
    if (accuracy === "exact") return Object.is(got, want);
    if (got === want) return true;
    if (!Number.isFinite(got) || !Number.isFinite(want)) return false;
    if ("ulp" in accuracy) return Math.abs(got - want) <= accuracy.ulp * ulpOf(format, want);
    // Tolerances are stated for f32.
    const scale = 2 ** (formats.f32.bits - formats[format].bits);
    return Math.abs(got - want) <= scale * (accuracy.atol + accuracy.rtol * Math.abs(want));
  };
}
