/**
 * Counter-based random numbers: Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * Nothing is hidden: a key and a counter are operands. Element i of the result is word i mod 4 of block ⌊i / 4⌋, and the block
 * depends on nothing else, so any chunking over threads or vectors gives the same numbers. Two draws are independent when
 * their keys or counters differ: by convention the key is the seed and the counter is (stream of this op, step).
 */

import { ModelError } from "../errors.js";
import type { NoAttrs, Shape, TensorType, Value } from "../graph.js";
import { requireDType } from "../infer.js";
import { type CompositeOp, defineComposite, defineOp, type PrimitiveOp } from "../op.js";
import { exactly, f32, noGrad, of, sample, sampleWith, within } from "../sample.js";
import { zeros } from "../tensor.js";
import { cast } from "./cast.js";
import { constantLike } from "./constant.js";
import { add, cos, log1p, mul, neg, sqrt } from "./elementwise.js";
import { lt, shiftRight } from "./logic.js";
import { reshape, slice } from "./movement.js";

/** High word of the product of two u32, from the products of their halves; doubles hold each exactly. */
function highWord(a: number, b: number): number {
  const [a0, a1] = [a & 0xffff, a >>> 16];
  const [b0, b1] = [b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16);
}

/** Writes one block of four words from a counter of four and a key of two words. */
export function philoxInto(
  out: Uint32Array,
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = highWord(c0, 0xd2511f53);
    const high1 = highWord(c2, 0xcd9e8d57);
    const low0 = Math.imul(c0, 0xd2511f53);
    const low1 = Math.imul(c2, 0xcd9e8d57);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

function requireWords(t: TensorType, what: string): void {
  requireDType(t, ["u32"], what);
  if (t.shape.length !== 1 || t.shape[0] !== 2) throw new ModelError(`${what} must be u32[2]`);
}

const words = (...values: number[]) => exactly(values, of("u32", 2));

export const randomBits: PrimitiveOp<"randomBits", { shape: Shape }> = defineOp<"randomBits", { shape: Shape }>({
  name: "randomBits",
  operands: ["key", "counter"],
  summary:
    "Uniform u32 words from Philox 4×32-10. Element i in row-major order is word i mod 4 of the block with counter (low and high word of ⌊i/4⌋, counter[0], counter[1]) under the key.",
  attrs: { shape: "shape of the result" },
  infer: ([key, counter], { shape }) => {
    requireWords(key!, "key");
    requireWords(counter!, "counter");
    return { dtype: "u32", shape };
  },
  reference: ([key, counter], { types, dim }) => {
    const out = zeros("u32", types[0]!.shape.map(dim));
    const [k0, k1] = key!.data as Uint32Array;
    const [c2, c3] = counter!.data as Uint32Array;
    const four = new Uint32Array(4);
    for (let i = 0; i < out.data.length; i += 4) {
      const block = i / 4;
      philoxInto(four, [block >>> 0, Math.floor(block / 2 ** 32), c2!, c3!], [k0!, k1!]);
      for (let j = 0; j < 4 && i + j < out.data.length; j++) out.data[i + j] = four[j]!;
    }
    return out;
  },
  vjp: "zero",
  accuracy: "exact",
  samples: [
    sampleWith({ shape: [9] }, words(0, 0), words(0, 0)),
    sampleWith({ shape: [4] }, words(0xffffffff, 0xffffffff), words(0xffffffff, 0xffffffff)),
    sampleWith({ shape: [3, 7] }, words(0xa4093822, 0x299f31d0), words(0x13198a2e, 0x03707344)),
    sampleWith({ shape: [] }, words(1, 2), words(3, 4)),
    sampleWith({ shape: [0] }, words(1, 2), words(3, 4)),
    sampleWith({ shape: [65] }, words(42, 0), words(7, 1)),
  ],
});

type FloatOut = "f32" | "f64" | "f16" | "bf16";

/** How many random bits fill a type's mantissa, so that the largest value stays below 1. */
const mantissaBits = { f32: 24, f64: 32, f16: 11, bf16: 8 } as const satisfies Record<FloatOut, number>;

/** Uniform multiples of 2^−bits in [0, 1). */
function unitInterval(key: Value, counter: Value, dtype: FloatOut, shape: Shape): Value {
  const bits = randomBits([key, counter], { shape });
  const n = mantissaBits[dtype];
  const kept = n === 32 ? bits : shiftRight([bits, constantLike(bits, 32 - n)]);
  const x = cast([kept], { to: dtype });
  return mul([x, constantLike(x, 2 ** -n)]);
}

const affine = (x: Value, scale: number, shift: number): Value => {
  const scaled = scale === 1 ? x : mul([x, constantLike(x, scale)]);
  return shift === 0 ? scaled : add([scaled, constantLike(scaled, shift)]);
};

const draws = <A extends object>(more: A) =>
  (["f32", "f64", "f16", "bf16"] as const).map((dtype) =>
    sampleWith({ dtype, shape: [3, 7], ...more }, words(1, 2), words(3, 4)),
  );

const outDocs = { dtype: "float type of the result", shape: "shape of the result" } as const;

export type UniformAttrs = {
  readonly dtype: FloatOut;
  readonly shape: Shape;
  readonly low: number;
  readonly high: number;
};

export const randomUniform: CompositeOp<"randomUniform", UniformAttrs> = defineComposite<"randomUniform", UniformAttrs>(
  {
    name: "randomUniform",
    operands: ["key", "counter"],
    summary:
      "Uniform numbers in [low, high): multiples of 2⁻²⁴ (f32), 2⁻³² (f64), 2⁻¹¹ (f16) or 2⁻⁸ (bf16) of the span.",
    attrs: { ...outDocs, low: "smallest value", high: "bound above" },
    decompose: ([key, counter], { dtype, shape, low, high }) =>
      affine(unitInterval(key!, counter!, dtype, shape), high - low, low),
    accuracy: { ulp: 1 },
    samples: [...draws({ low: 0, high: 1 }), ...draws({ low: -2, high: 3 })],
  },
);

export type NormalAttrs = {
  readonly dtype: FloatOut;
  readonly shape: Shape;
  readonly mean: number;
  readonly deviation: number;
};

export const randomNormal: CompositeOp<"randomNormal", NormalAttrs> = defineComposite<"randomNormal", NormalAttrs>({
  name: "randomNormal",
  operands: ["key", "counter"],
  summary:
    "Normally distributed numbers (Box–Muller: √(−2 ln(1 − u)) · cos 2πv, u and v uniform from one draw of twice the size, computed in f32 or f64).",
  attrs: { ...outDocs, mean: "mean", deviation: "standard deviation" },
  decompose: ([key, counter], { dtype, shape, mean, deviation }) => {
    const compute = dtype === "f64" ? "f64" : "f32";
    const uv = unitInterval(key!, counter!, compute, [2, ...shape]);
    const half = (start: number) =>
      reshape(
        [
          slice([uv], {
            starts: [start, ...shape.map(() => 0)],
            sizes: [1, ...shape],
            steps: [1, ...shape.map(() => 1)],
          }),
        ],
        { shape },
      );
    const radius = sqrt([affine(log1p([neg([half(0)])]), -2, 0)]);
    const z = affine(mul([radius, cos([affine(half(1), 2 * Math.PI, 0)])]), deviation, mean);
    return dtype === compute ? z : cast([z], { to: dtype });
  },
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: draws({ mean: 0.5, deviation: 2 }),
});

export const bernoulli: CompositeOp<"bernoulli", NoAttrs> = defineComposite<"bernoulli", NoAttrs>({
  name: "bernoulli",
  operands: ["probability", "key", "counter"],
  summary:
    "True with the given probability, independently for each element: uniform < probability, compared in f32 (f64 for f64).",
  decompose: ([probability, key, counter]) => {
    requireDType(probability!.type, "float", "probability");
    const compute = probability!.type.dtype === "f64" ? "f64" : "f32";
    const p = probability!.type.dtype === compute ? probability! : cast([probability!], { to: compute });
    return lt([unitInterval(key!, counter!, compute, p.type.shape), p]);
  },
  accuracy: "exact",
  samples: [
    sample(noGrad(within(0, 1, f32(3, 7))), words(1, 2), words(3, 4)),
    sample(noGrad(exactly([0, 1, 0.5], of("f64", 3))), words(1, 2), words(3, 4)),
  ],
});
