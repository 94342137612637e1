/** Contraction: sums of products over paired axes. Matrix products, einsums and linear layers are all this one op. */

import { type DType, isBig, isInt } from "../dtype.js";
import { ModelError } from "../errors.js";
import { type TensorType, typeText, type Value } from "../graph.js";
import { mergeDims, normalizeAxis, requireDType } from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { exactly, f32, i32, i64, of, sampleWith, within } from "../sample.js";
import {
  bigElement,
  elementCount,
  setElement,
  stridesOf,
  type Tensor,
  tensorFrom,
  toFloat64,
  zeros,
} from "../tensor.js";
import { cast } from "./cast.js";
import { invertPermutation, transpose } from "./movement.js";

export type DotAttrs = {
  readonly batchA: readonly number[];
  readonly batchB: readonly number[];
  readonly contractA: readonly number[];
  readonly contractB: readonly number[];
  readonly result?: DType;
};

/** Axes that are neither batch nor contracted, increasing. */
export const freeAxes = (rank: number, batch: readonly number[], contract: readonly number[]): readonly number[] =>
  Array.from({ length: rank }, (_, a) => a).filter((a) => !batch.includes(a) && !contract.includes(a));

/** Integers whose products are summed in i32. */
const isNarrow = (d: DType) => d === "i8" || d === "u8" || d === "i16";

/**
 * Dtype of a sum of products: floats give their own type (f16 and bf16 may ask for f32), pairs of i8, u8 and i16 give i32,
 * other integers their own type.
 */
export function productDType(a: TensorType, b: TensorType, asked?: DType): DType {
  const fail = (): never => {
    throw new ModelError({
      message: `no product of ${typeText(a)} and ${typeText(b)}${asked === undefined ? "" : ` as ${asked}`}`,
      hint: "both operands must have one dtype, or be i8, u8 or i16 with result i32; cast them",
    });
  };
  requireDType(a, "number");
  requireDType(b, "number");
  if (isNarrow(a.dtype) && isNarrow(b.dtype)) {
    const result = asked ?? "i32";
    return result === "i32" || (result === a.dtype && result === b.dtype) ? result : fail();
  }
  if (a.dtype !== b.dtype) return fail();
  const wider = asked === "f32" && (a.dtype === "f16" || a.dtype === "bf16");
  return asked === undefined || asked === a.dtype || wider ? (asked ?? a.dtype) : fail();
}

function checkAxes(t: TensorType, batch: readonly number[], contract: readonly number[], what: string): void {
  const all = [...batch, ...contract];
  for (const axis of all) {
    if (normalizeAxis(axis, t.shape.length, `${what} axis`) !== axis)
      throw new ModelError(`${what} axes are counted from 0`);
  }
  if (new Set(all).size !== all.length)
    throw new ModelError(`batch and contracted axes of ${what} name one axis twice`);
}

/** Plain matrix product a [m,k] · b [k,n]. */
const plain: DotAttrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };

export const dotGeneral: PrimitiveOp<"dotGeneral", DotAttrs> = defineOp<"dotGeneral", DotAttrs>({
  name: "dotGeneral",
  operands: ["a", "b"],
  summary:
    "Sum over contracted axes of products, for each index of the batch axes. Result axes: batch (in the order of batchA), free axes of a, free axes of b. Floats accumulate in an order fixed by the shapes, f16 and bf16 in f32. Integers wrap.",
  attrs: {
    batchA: "batch axes of a",
    batchB: "the axes of b paired with them",
    contractA: "contracted axes of a",
    contractB: "the axes of b paired with them",
    result: "result dtype. Default: i32 for i8, u8 and i16, else the operands'. f16 and bf16 may give f32",
  },
  infer: ([a, b], { batchA, batchB, contractA, contractB, result }) => {
    const dtype = productDType(a!, b!, result);
    if (batchA.length !== batchB.length || contractA.length !== contractB.length) {
      throw new ModelError("batch and contracted axes of a and b must come in pairs");
    }
    checkAxes(a!, batchA, contractA, "a");
    checkAxes(b!, batchB, contractB, "b");
    const pair = (axisA: number, axisB: number) =>
      mergeDims(
        a!.shape[axisA]!,
        b!.shape[axisB]!,
        () => `axis ${axisA} of ${typeText(a!)} and axis ${axisB} of ${typeText(b!)} differ in size`,
      );
    contractA.forEach((axis, i) => {
      pair(axis, contractB[i]!);
    });
    return {
      dtype,
      shape: [
        ...batchA.map((axis, i) => pair(axis, batchB[i]!)),
        ...freeAxes(a!.shape.length, batchA, contractA).map((axis) => a!.shape[axis]!),
        ...freeAxes(b!.shape.length, batchB, contractB).map((axis) => b!.shape[axis]!),
      ],
    };
  },
  reference: ([a, b], { attrs, types, dim }) => {
    const { batchA, batchB, contractA, contractB } = attrs;
    const freeA = freeAxes(a!.shape.length, batchA, contractA);
    const freeB = freeAxes(b!.shape.length, batchB, contractB);
    const size = (t: Tensor, axes: readonly number[]) => elementCount(axes.map((axis) => t.shape[axis]!));
    const sizes = [size(a!, batchA), size(a!, freeA), size(a!, contractA), size(b!, freeB)] as const;
    const { dtype } = types[0]!;
    const shape = types[0]!.shape.map(dim);
    const ia = orderOf(a!, [...batchA, ...freeA, ...contractA]);
    const ib = orderOf(b!, [...batchB, ...contractB, ...freeB]);
    if (isBig(a!.dtype)) return bigProduct(a!, b!, ia, ib, sizes, zeros(dtype, shape));
    const values = product(reorder(toFloat64(a!), ia), reorder(toFloat64(b!), ib), sizes, isInt(a!.dtype));
    return tensorFrom(dtype, shape, values);
  },
  vjp: ({ dy, operands: [a, b], attrs: { batchA, batchB, contractA, contractB }, needs }) => {
    const wide = (v: Value) => (v.type.dtype === dy.type.dtype ? v : cast([v], { to: dy.type.dtype }));
    const narrow = (v: Value, like: Value) =>
      v.type.dtype === like.type.dtype ? v : cast([v], { to: like.type.dtype });
    const freeA = freeAxes(a!.type.shape.length, batchA, contractA);
    const freeB = freeAxes(b!.type.shape.length, batchB, contractB);
    const batch = batchA.map((_, i) => i);
    const dyA = freeA.map((_, i) => batch.length + i);
    const dyB = freeB.map((_, i) => batch.length + freeA.length + i);
    /** Axes of one operand that the other's contracted axes, taken in increasing order, are paired with. */
    const partners = (own: readonly number[], other: readonly number[]) =>
      [...other].sort((p, q) => p - q).map((axis) => own[other.indexOf(axis)]!);
    const da = () => {
      const flat = dotGeneral([dy, wide(b!)], { batchA: batch, batchB, contractA: dyB, contractB: freeB });
      return toAxes(flat, [...batchA, ...freeA, ...partners(contractA, contractB)]);
    };
    const db = () => {
      const flat = dotGeneral([dy, wide(a!)], { batchA: batch, batchB: batchA, contractA: dyA, contractB: freeA });
      return toAxes(flat, [...batchB, ...freeB, ...partners(contractB, contractA)]);
    };
    return [needs[0] ? narrow(da(), a!) : undefined, needs[1] ? narrow(db(), b!) : undefined];
  },
  accuracy: { rtol: 1e-5, atol: 1e-5 },
  samples: dotSamples(),
});

/** The value whose axis i is to become axis `axes[i]`. */
function toAxes(v: Value, axes: readonly number[]): Value {
  return axes.every((axis, i) => axis === i) ? v : transpose([v], { perm: invertPermutation(axes) });
}

/** Positions of the elements of t when its axes come in this order. */
function orderOf(t: Tensor, axes: readonly number[]): Int32Array {
  const strides = stridesOf(t.shape);
  let order = Int32Array.of(0);
  for (const axis of axes) {
    const n = t.shape[axis]!;
    const next = new Int32Array(order.length * n);
    for (let i = 0; i < order.length; i++) for (let j = 0; j < n; j++) next[i * n + j] = order[i]! + j * strides[axis]!;
    order = next;
  }
  return order;
}

function reorder(x: Float64Array, order: Int32Array): Float64Array {
  const out = new Float64Array(order.length);
  for (let i = 0; i < out.length; i++) out[i] = x[order[i]!]!;
  return out;
}

type ProductSizes = readonly [batch: number, m: number, k: number, n: number];

/** a [batch,m,k] · b [batch,k,n] in doubles, or in wrapping 32-bit integers. */
function product(a: Float64Array, b: Float64Array, [batch, m, k, n]: ProductSizes, wrap: boolean): Float64Array {
  const out = new Float64Array(batch * m * n);
  for (let g = 0; g < batch; g++) {
    for (let i = 0; i < m; i++) {
      const to = (g * m + i) * n;
      for (let l = 0; l < k; l++) {
        const x = a[(g * m + i) * k + l]!;
        const from = (g * k + l) * n;
        if (wrap) for (let j = 0; j < n; j++) out[to + j] = (out[to + j]! + Math.imul(x, b[from + j]!)) | 0;
        else for (let j = 0; j < n; j++) out[to + j]! += x * b[from + j]!;
      }
    }
  }
  return out;
}

function bigProduct(
  a: Tensor,
  b: Tensor,
  ia: Int32Array,
  ib: Int32Array,
  [batch, m, k, n]: ProductSizes,
  out: Tensor,
): Tensor {
  for (let g = 0; g < batch; g++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0n;
        for (let l = 0; l < k; l++) {
          sum += bigElement(a, ia[(g * m + i) * k + l]!) * bigElement(b, ib[(g * k + l) * n + j]!);
        }
        setElement(out, (g * m + i) * n + j, sum);
      }
    }
  }
  return out;
}

function dotSamples() {
  const batched: DotAttrs = { batchA: [0], batchB: [0], contractA: [2], contractB: [1] };
  return [
    sampleWith(plain, f32(2, 3), f32(3, 4)),
    sampleWith(plain, f32(1, 1), f32(1, 1)),
    sampleWith(plain, f32(3, 5), f32(5, 8)),
    sampleWith(plain, f32(4, 8), f32(8, 8)),
    sampleWith(plain, f32(5, 7), f32(7, 9)),
    sampleWith(plain, f32(17, 33), f32(33, 17)),
    sampleWith(plain, f32(0, 3), f32(3, 4)),
    sampleWith(plain, f32(2, 0), f32(0, 4)),
    sampleWith(batched, f32(2, 3, 4), f32(2, 4, 5)),
    // Transposed operands.
    sampleWith({ batchA: [], batchB: [], contractA: [0], contractB: [1] }, f32(3, 4), f32(5, 3)),
    sampleWith({ batchA: [], batchB: [], contractA: [0], contractB: [0] }, f32(9, 6), f32(9, 5)),
    sampleWith({ batchA: [], batchB: [], contractA: [1], contractB: [1] }, f32(6, 9), f32(5, 9)),
    // A transposed and long enough to be packed.
    sampleWith({ batchA: [], batchB: [], contractA: [0], contractB: [0] }, f32(70, 11), f32(70, 66)),
    sampleWith({ batchA: [0], batchB: [0], contractA: [1], contractB: [1] }, f32(2, 65, 9), f32(2, 65, 64)),
    // Vectors, outer products, full contractions.
    sampleWith({ batchA: [], batchB: [], contractA: [0], contractB: [0] }, f32(7), f32(7)),
    sampleWith({ batchA: [], batchB: [], contractA: [], contractB: [] }, f32(3), f32(5)),
    sampleWith({ batchA: [], batchB: [], contractA: [1], contractB: [0] }, f32(4, 9), f32(9)),
    // Several axes of each kind, out of order.
    sampleWith({ batchA: [1], batchB: [2], contractA: [3, 0], contractB: [0, 3] }, f32(2, 3, 4, 5), f32(5, 6, 3, 2)),
    sampleWith({ batchA: [0, 1], batchB: [0, 1], contractA: [3], contractB: [3] }, f32(2, 2, 5, 4), f32(2, 2, 6, 4)),
    sampleWith(plain, of("f64", 3, 5), of("f64", 5, 4)),
    sampleWith(plain, of("f16", 3, 5), of("f16", 5, 4)),
    sampleWith({ ...plain, result: "f32" as const }, of("f16", 3, 5), of("f16", 5, 4)),
    sampleWith(plain, of("bf16", 3, 5), of("bf16", 5, 4)),
    sampleWith(
      { ...plain, result: "i32" as const },
      within(-128, 127, of("i8", 5, 9)),
      within(-128, 127, of("i8", 9, 7)),
    ),
    sampleWith(
      { ...plain, result: "i32" as const },
      within(0, 255, of("u8", 4, 17)),
      within(-128, 127, of("i8", 17, 6)),
    ),
    sampleWith(plain, within(0, 255, of("u8", 4, 5)), within(0, 255, of("u8", 5, 6))),
    sampleWith(plain, within(-255, 255, of("i16", 5, 19)), within(-128, 127, of("i8", 19, 21))),
    sampleWith(plain, of("i16", 1, 8), of("i16", 8, 5)),
    sampleWith(plain, exactly([-32768, -32768], of("i16", 1, 2)), exactly([-32768, -32768], of("i16", 2, 1))),
    sampleWith(batched, of("i16", 2, 3, 5), of("i16", 2, 5, 9)),
    sampleWith({ batchA: [], batchB: [], contractA: [0], contractB: [1] }, of("i16", 7, 6), of("i16", 5, 7)),
    sampleWith(plain, i32(3, 5), i32(5, 4)),
    sampleWith(plain, exactly([2147483647, 3], i32(1, 2)), exactly([3, 2147483647], i32(2, 1))),
    sampleWith(plain, i64(3, 5), i64(5, 4)),
  ];
}
