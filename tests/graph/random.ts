/** Seeded numbers and tensors for tests of graphs. */

import { type DType, isFloat, isStorageOnly } from "../../ir/dtype.js";
import type { SampleOperand } from "../../ir/op.js";
import { elementCount, setElement, type Tensor, tensorFrom, zeros } from "../../ir/tensor.js";

export type Random = () => number;

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const defaultRange = (dtype: DType): readonly [number, number] =>
  dtype === "bool" ? [0, 1] : isFloat(dtype) ? [-2, 2] : dtype.startsWith("u") ? [0, 9] : [-5, 5];

/** A tensor of uniform floats, or of integers within the inclusive range. */
export function randomTensor(
  random: Random,
  dtype: DType,
  shape: readonly number[],
  [lo, hi] = defaultRange(dtype),
): Tensor {
  const out = zeros(dtype, shape);
  const real = isFloat(dtype) || (isStorageOnly(dtype) && dtype.startsWith("f"));
  for (let i = 0; i < out.data.length; i++) {
    setElement(out, i, real ? lo + (hi - lo) * random() : BigInt(Math.floor(lo + (hi - lo + 1) * random())));
  }
  return out;
}

/** The tensor an op's sample asks for. */
export function sampleTensor(random: Random, o: SampleOperand): Tensor {
  if (o.values) return tensorFrom(o.dtype, o.shape, o.values);
  if (!o.distinct) return randomTensor(random, o.dtype, o.shape, o.range ?? defaultRange(o.dtype));
  const n = elementCount(o.shape);
  const [lo, hi] = o.range ?? defaultRange(o.dtype);
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return tensorFrom(
    o.dtype,
    o.shape,
    order.map((k) => (isFloat(o.dtype) ? lo + ((hi - lo) * (k + 0.5)) / n : Math.round(lo) + k)),
  );
}
