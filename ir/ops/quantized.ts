/** Weights of fewer bits than what is computed with. */

import { asType, broadcastTo, expandDims, np, repeatElements, reshapeTo, sliceAxis } from "../build.js";
import { type Dim, dimEqual, dimMul } from "../dim.js";
import { dtypeInfo, isFloat } from "../dtype.js";
import { ModelError } from "../errors.js";
import { sameShape, type TensorType, typeText, type Value } from "../graph.js";
import { type CompositeOp, defineComposite, defineOp, type PrimitiveOp } from "../op.js";
import { exactly, f32, of, sampleWith, within } from "../sample.js";
import { type Tensor, tensorFrom, toNumbers } from "../tensor.js";
import { constant } from "./constant.js";
import { shiftRight } from "./logic.js";

export type DequantizeAttrs = {
  /** Bits of a value: those of the dtype, or 4 or 2 where bytes hold several, the lowest bits first. */
  readonly bits: number;
  /** Elements of the last axis that share a scale, where scales have fewer indices along it than values but more than one. */
  readonly block: number;
};

/** u8[…, n] as i32[…, n · 8 / bits]: the fields of each byte, the lowest bits first. */
export function unpackedFields(packed: Value, bits: number): Value {
  const wide = asType(packed, "i32");
  const fields = 8 / bits;
  if (fields === 1) return wide;
  const shifts = tensorFrom(
    "i32",
    [fields],
    Array.from({ length: fields }, (_, i) => i * bits),
  );
  const { shape } = packed.type;
  const spread = [...shape, fields];
  const places = broadcastTo(constant([], { value: shifts }), spread);
  const apart = shiftRight([broadcastTo(expandDims(wide, -1), spread), places]);
  return reshapeTo(np.and(apart, 2 ** bits - 1), [...shape.slice(0, -1), dimMul(shape.at(-1)!, fields)]);
}

/** A scale or zero point for each value: repeated along the last axis where it has one for each block. */
function spread(p: Value, shape: readonly Dim[], block: number): Value {
  const [last, own] = [shape.at(-1), p.type.shape.at(-1)];
  if (last === undefined || own === undefined || own === 1 || dimEqual(own, last)) return broadcastTo(p, shape);
  const rows = broadcastTo(p, [...shape.slice(0, -1), own]);
  return sliceAxis(repeatElements(rows, block, -1), -1, 0, last);
}

export const dequantize: CompositeOp<"dequantize", DequantizeAttrs> = defineComposite<"dequantize", DequantizeAttrs>({
  name: "dequantize",
  operands: ["values", "scale", "zero?"],
  summary:
    "(values − zero) · scale, in the dtype of scale. Scale and zero broadcast to the values; along the last axis they may have one element for each block. The difference of integers is exact. No gradient flows to integers.",
  attrs: {
    bits: "bits of a value: those of the dtype, or 4 or 2 of u8 that hold several along the last axis, the lowest bits first",
    block: "elements of the last axis that share a scale; 0 where scales broadcast",
  },
  decompose: ([values, scale, zero], { bits, block }) => {
    const { dtype } = values!.type;
    const isPacked = bits < dtypeInfo[dtype].bits;
    if (isPacked && (dtype !== "u8" || (bits !== 4 && bits !== 2)))
      throw new ModelError(`values of ${bits} bits are packed in u8, not in ${typeText(values!.type)}`);
    const whole = isPacked ? unpackedFields(values!, bits) : asType(values!, "i32");
    const { shape } = whole.type;
    const shift = zero && spread(zero, shape, block);
    const to = scale!.type.dtype;
    const wide = to === "f64" ? "f64" : "f32";
    const centred =
      shift === undefined
        ? asType(whole, wide)
        : isFloat(shift.type.dtype)
          ? np.sub(asType(whole, wide), asType(shift, wide))
          : asType(np.sub(whole, asType(shift, "i32")), wide);
    return asType(np.mul(centred, asType(spread(scale!, shape, block), wide)), to);
  },
  accuracy: { rtol: 1e-6, atol: 1e-6 },
  samples: [
    sampleWith({ bits: 8, block: 0 }, within(-128, 127, of("i8", 3, 5)), f32(3, 1)),
    sampleWith({ bits: 8, block: 0 }, within(0, 255, of("u8", 3, 5)), f32(1, 5), within(0, 255, of("u8", 1, 5))),
    sampleWith({ bits: 8, block: 4 }, within(-128, 127, of("i8", 3, 10)), f32(3, 3), within(-8, 8, of("i8", 3, 3))),
    sampleWith({ bits: 4, block: 4 }, within(0, 255, of("u8", 3, 6)), f32(3, 3), within(0, 15, of("u8", 1, 1))),
    sampleWith({ bits: 2, block: 0 }, within(0, 255, of("u8", 2, 3)), f32(1, 1), f32(1, 1)),
    sampleWith({ bits: 8, block: 0 }, within(-128, 127, of("i8", 0, 4)), f32(1, 1)),
  ],
});

export type WeightProductAttrs = {
  readonly bits: number;
  readonly block: number;
};

/** Element (n, k) of rows that hold fields of `bits`. */
function fieldOf(rows: Tensor, bits: number): (n: number, k: number) => number {
  const values = toNumbers(rows);
  const width = rows.shape[1]!;
  const perElement = dtypeInfo[rows.dtype].bits / bits;
  return (n, k) => {
    const x = values[n * width + Math.floor(k / perElement)]!;
    return perElement === 1 ? x : (x >> (bits * (k % perElement))) & (2 ** bits - 1);
  };
}

export const weightProduct: PrimitiveOp<"weightProduct", WeightProductAttrs> = defineOp<
  "weightProduct",
  WeightProductAttrs
>({
  name: "weightProduct",
  operands: ["a", "rows", "scale?", "zero?"],
  summary:
    "a[…, K] times the transpose of weights [N, K] as they are stored, in f32: f16 or bf16, or integers as `dequantize` has them, with f32 scales [N, blocks] and zero points [N, blocks] or [1, 1]. Integers lie in whole groups of 16 bytes, beyond K if need be. Made by the pass stream-weights.",
  attrs: { bits: "as of `dequantize`", block: "elements of K that share a scale; 0: all" },
  infer: ([a, rows, scale, zero], { bits, block }): TensorType => {
    const [n, width] = rows!.shape;
    const k = a!.shape.at(-1);
    const fail = (what: string): never => {
      throw new ModelError(`${what} in a product of ${typeText(a!)} with rows of ${typeText(rows!)}`);
    };
    if (a!.dtype !== "f32" || rows!.shape.length !== 2) fail("operands that do not fit");
    if (typeof k !== "number" || typeof n !== "number" || typeof width !== "number")
      return fail("sizes that are not known");
    const length = (width * dtypeInfo[rows!.dtype].bits) / bits;
    const shape = [...a!.shape.slice(0, -1), n];
    if (scale === undefined) {
      if ((rows!.dtype !== "f16" && rows!.dtype !== "bf16") || length !== k || k < 4) fail("rows without a scale");
      return { dtype: "f32", shape };
    }
    const group = 128 / bits;
    const blocks = block === 0 ? 1 : Math.ceil(k / block);
    if (length % group !== 0 || block % group !== 0 || length < k || k < 1)
      fail(`rows that are no whole groups of ${group}`);
    if (block > 0 && length !== blocks * block) fail(`rows that are no ${blocks} blocks`);
    const isFor = (t: TensorType) => sameShape(t.shape, [n, blocks]);
    if (scale.dtype !== "f32" || !isFor(scale)) fail(`scales ${typeText(scale)}`);
    if (zero !== undefined && !isFor(zero) && !sameShape(zero.shape, [1, 1])) fail(`zero points ${typeText(zero)}`);
    return { dtype: "f32", shape };
  },
  reference: ([a, rows, scale, zero], { attrs: { bits, block }, types, dim }) => {
    const shape = types[0]!.shape.map(dim);
    const k = a!.shape.at(-1)!;
    const n = shape.at(-1)!;
    const blocks = block === 0 ? 1 : Math.ceil(k / block);
    const field = fieldOf(rows!, bits);
    const [scales, zeros, x] = [scale && toNumbers(scale), zero && toNumbers(zero), toNumbers(a!)];
    const out = new Float64Array(shape.reduce((p, d) => p * d, 1));
    const m = n === 0 ? 0 : out.length / n;
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const at = j * blocks + (block === 0 ? 0 : Math.floor(l / block));
          const shift = zeros === undefined ? 0 : zeros[zeros.length === 1 ? 0 : at]!;
          sum += x[i * k + l]! * (field(j, l) - shift) * (scales?.[at] ?? 1);
        }
        out[i * n + j] = sum;
      }
    return tensorFrom("f32", shape, out);
  },
  // Passes make it after differentiation.
  vjp: "none",
  accuracy: { rtol: 1e-5, atol: 1e-4 },
  samples: [
    sampleWith({ bits: 16, block: 0 }, f32(2, 9), of("f16", 5, 9)),
    sampleWith({ bits: 16, block: 0 }, f32(7, 8), of("bf16", 70, 8)),
    sampleWith({ bits: 8, block: 0 }, f32(1, 30), within(-128, 127, of("i8", 7, 32)), f32(7, 1)),
    sampleWith(
      { bits: 8, block: 16 },
      f32(6, 32),
      within(0, 255, of("u8", 66, 32)),
      f32(66, 2),
      within(0, 255, of("u8", 66, 2)),
    ),
    sampleWith(
      { bits: 4, block: 32 },
      f32(2, 64),
      within(0, 255, of("u8", 9, 32)),
      f32(9, 2),
      exactly([8], of("u8", 1, 1)),
    ),
    sampleWith(
      { bits: 4, block: 32 },
      f32(2, 2, 3, 64),
      within(0, 255, of("u8", 9, 32)),
      f32(9, 2),
      within(0, 15, of("u8", 9, 2)),
    ),
    sampleWith({ bits: 2, block: 64 }, f32(3, 64), within(0, 255, of("u8", 5, 16)), f32(5, 1), f32(5, 1)),
  ],
});
