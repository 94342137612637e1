/** Conversions between element types. */

import { computeDtypes, type DType, dtypeInfo, intRange, isFloat, isInt, isStorageOnly } from "../dtype.js";
import { ModelError } from "../errors.js";
import { encodeE8M0, encodeFloat, type NarrowFloat } from "../float-formats.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { bool, exactly, f32, i32, of, sampleWith, within } from "../sample.js";
import { bigElement, bytesOf, element, setElement, type Tensor, zeros } from "../tensor.js";

type CastAttrs = { readonly to: DType; readonly saturate?: boolean };

export const cast: PrimitiveOp<"cast", CastAttrs> = defineOp<"cast", CastAttrs>({
  name: "cast",
  operands: ["x"],
  summary:
    "Converts the element type. To a float: nearest, ties to even. Float to integer: truncates and saturates, NaN → 0. Integer to integer: wraps. To bool: x ≠ 0. To an 8-bit float: saturates unless `saturate` is false.",
  attrs: { to: "result dtype", saturate: "8-bit floats: overflow gives the largest finite value (default) or ∞/NaN" },
  infer: ([x], { to }) => ({ dtype: to, shape: x!.shape }),
  reference: ([x], { attrs }) => castTensor(x!, attrs.to, attrs.saturate ?? true),
  vjp: ({ dy, operands: [x] }) => [isFloat(x!.type.dtype) ? cast([dy], { to: x!.type.dtype }) : undefined],
  accuracy: "exact",
  samples: castSamples(),
});

/** The conversion `cast` makes, on a host tensor. */
export function castTensor(x: Tensor, to: DType, saturate = true): Tensor {
  const out = zeros(to, x.shape);
  const fromFloat = dtypeInfo[x.dtype].kind === "float";
  const toInt = dtypeInfo[to].kind === "int";
  for (let i = 0; i < x.data.length; i++) {
    if (to === "bool") setElement(out, i, Number(fromFloat ? element(x, i) !== 0 : bigElement(x, i) !== 0n));
    else if (toInt) setElement(out, i, fromFloat ? floatToInt(element(x, i), to) : bigElement(x, i));
    else if (to === "f8e8m0") out.data[i] = encodeE8M0(element(x, i), "up", saturate);
    else if (isStorageOnly(to)) out.data[i] = encodeFloat(to as NarrowFloat, element(x, i), saturate);
    else setElement(out, i, fromFloat ? element(x, i) : intToFloat(bigElement(x, i), to));
  }
  return out;
}

// A 64-bit integer must be rounded once: through a double it could round twice on the way to f32.
function intToFloat(v: bigint, to: DType): number {
  const big = v < 0n ? -v : v;
  if (to === "f64" || big < 1n << 53n) return Number(v);
  const extra = BigInt(big.toString(2).length - 30);
  // 30 bits and a sticky bit decide every narrower rounding.
  const sticky = (big & ((1n << extra) - 1n)) !== 0n ? 1n : 0n;
  const magnitude = Number(((big >> extra) << 1n) | sticky) * 2 ** Number(extra - 1n);
  return v < 0n ? -magnitude : magnitude;
}

const smallRanges = {
  i4: { min: -8n, max: 7n },
  u4: { min: 0n, max: 15n },
  i2: { min: -2n, max: 1n },
  u2: { min: 0n, max: 3n },
};

function floatToInt(x: number, to: DType): bigint {
  if (Number.isNaN(x)) return 0n;
  const range = isInt(to) ? intRange(to) : smallRanges[to as keyof typeof smallRanges];
  const t = Math.trunc(x);
  if (t <= Number(range.min)) return range.min;
  if (t >= Number(range.max)) return range.max;
  return BigInt(t);
}

function castSamples() {
  const targets: readonly DType[] = [
    ...computeDtypes,
    "f8e4m3fn",
    "f8e4m3fnuz",
    "f8e5m2",
    "f8e5m2fnuz",
    "f4e2m1",
    "i4",
    "u4",
    "i2",
    "u2",
  ];
  const source = (d: DType) =>
    d === "bool" ? bool(9) : isFloat(d) ? within(-9, 9, of(d, 9)) : within(0, 100, of(d, 9));
  const edge = exactly(
    [Number.NaN, Infinity, -Infinity, -0, 300, -300, 3e9, -3e9, 1e20, 65520, 1e-8, 0.5, 1.5, 2.5, -1.5],
    f32(15),
  );
  // Rounding to a narrow type is a step function: finite differences say nothing about it.
  const smooth = (from: DType, to: DType) => (from === "f32" || from === "f64") && (to === "f32" || to === "f64");
  return [
    ...computeDtypes.flatMap((from) =>
      targets.map((to) => ({ ...sampleWith({ to }, source(from)), noGrad: !smooth(from, to) })),
    ),
    ...targets.map((to) => ({ ...sampleWith({ to }, edge), noGrad: true })),
    sampleWith({ to: "u8" as const }, exactly([-1, 256, 511, 70000], i32(4))),
    sampleWith({ to: "f32" as const }, exactly([16777217, 33554435, -16777219], i32(3))),
  ];
}

export const bitcast: PrimitiveOp<"bitcast", { to: DType }> = defineOp<"bitcast", { to: DType }>({
  name: "bitcast",
  operands: ["x"],
  summary: "Reads the same bits as another dtype of the same width.",
  attrs: { to: "result dtype" },
  infer: ([x], { to }) => {
    if (dtypeInfo[x!.dtype].bytes !== dtypeInfo[to].bytes || x!.dtype === "bool" || to === "bool") {
      throw new ModelError(`bitcast needs two types of one width, not ${x!.dtype} and ${to}`);
    }
    return { dtype: to, shape: x!.shape };
  },
  reference: ([x], { attrs }) => {
    const out = zeros(attrs.to, x!.shape);
    bytesOf(out).set(bytesOf(x!));
    return out;
  },
  vjp: "none",
  accuracy: "exact",
  samples: [
    { ...sampleWith({ to: "i32" as const }, f32(9)), noGrad: true },
    sampleWith({ to: "f32" as const }, within(0, 1 << 30, i32(5))),
    sampleWith({ to: "u64" as const }, of("i64", 3)),
    sampleWith({ to: "i8" as const }, of("u8", 17)),
    { ...sampleWith({ to: "u16" as const }, of("f16", 6)), noGrad: true },
  ],
});
