/** How elementwise ops are defined: a rule on doubles, a rule on exact integers, and samples that straddle the vector width. */

import { type DType, type IntDType, isFloat } from "../dtype.js";
import { InternalError } from "../errors.js";
import type { NoAttrs } from "../graph.js";
import { type DTypeClass, requireDType, requireSameType } from "../infer.js";
import { type Accuracy, defineOp, type PrimitiveOp, type Sample, type Vjp } from "../op.js";
import { exactly, f32, of, sample, within } from "../sample.js";
import { bigElement, element, setElement, type Tensor, zeros } from "../tensor.js";

export type IntRule = (...operands: bigint[]) => bigint;
export type FloatRule = (...operands: number[]) => number;

/** Applies a rule per element: doubles for floats, exact integers for integers (bool counts as an integer 0/1). */
export function mapElements(
  dtype: DType,
  operands: readonly Tensor[],
  float: FloatRule | undefined,
  int: IntRule | undefined,
): Tensor {
  const first = operands[0]!;
  const out = zeros(dtype, first.shape);
  const n = first.data.length;
  if (isFloat(first.dtype)) {
    if (!float) throw new InternalError("no float rule");
    for (let i = 0; i < n; i++) setElement(out, i, float(...operands.map((t) => element(t, i))));
  } else {
    if (!int) throw new InternalError("no integer rule");
    for (let i = 0; i < n; i++) setElement(out, i, int(...operands.map((t) => bigElement(t, i))));
  }
  return out;
}

export interface Elementwise<N extends string> {
  readonly name: N;
  readonly summary: string;
  readonly dtypes: DTypeClass;
  readonly float?: FloatRule;
  readonly int?: IntRule;
  readonly vjp: Vjp<NoAttrs>;
  /** Default: exact. */
  readonly accuracy?: Accuracy;
  readonly cost?: "expensive";
  readonly samples: readonly Sample<NoAttrs>[];
  /** Result dtype, when it is not the operands'. */
  readonly result?: DType;
}

function elementwise<N extends string>(operands: readonly string[], d: Elementwise<N>): PrimitiveOp<N, NoAttrs> {
  return defineOp<N, NoAttrs>({
    name: d.name,
    operands,
    summary: d.summary,
    infer: (types) => {
      const t = requireSameType(types);
      requireDType(t, d.dtypes);
      return { dtype: d.result ?? t.dtype, shape: t.shape };
    },
    reference: (tensors, { types }) => mapElements(types[0]!.dtype, tensors, d.float, d.int),
    vjp: d.vjp,
    accuracy: d.accuracy ?? "exact",
    ...(d.cost ? { cost: d.cost } : {}),
    samples: d.samples,
  });
}

export const unary = <N extends string>(d: Elementwise<N>): PrimitiveOp<N, NoAttrs> => elementwise(["x"], d);
export const binary = <N extends string>(d: Elementwise<N>): PrimitiveOp<N, NoAttrs> => elementwise(["a", "b"], d);

const specials = [
  0,
  -0,
  1,
  -1,
  0.5,
  -2.5,
  1e-40,
  -1e-40,
  3.4e38,
  -3.4e38,
  Infinity,
  -Infinity,
  Number.NaN,
  2.5,
  3.5,
  88.8,
  -104,
];
/** Special values of f32: zeros, subnormals, extremes, infinities, NaN, ties. */
export const special: Sample<NoAttrs> = { ...sample(exactly(specials, f32(specials.length))), noGrad: true };

/** Float samples over a domain where the function is smooth. */
export const floats = (lo: number, hi: number): Sample<NoAttrs>[] => [
  sample(within(lo, hi, f32(2, 3))),
  sample(within(lo, hi, f32(0))),
  sample(within(lo, hi, f32())),
  sample(within(lo, hi, f32(17))),
  sample(within(lo, hi, of("f64", 5))),
  sample(within(lo, hi, of("f16", 9))),
  sample(within(lo, hi, of("bf16", 9))),
  special,
];

/** The unary sample as a sample of two operands drawn alike. */
export const pair = (s: Sample<NoAttrs>): Sample<NoAttrs> => ({ ...s, operands: [s.operands[0]!, s.operands[0]!] });

export const allInts: readonly IntDType[] = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"];
export const modest = (d: IntDType): readonly [number, number] => (d.startsWith("u") ? [0, 100] : [-100, 100]);
export const ints: readonly Sample<NoAttrs>[] = allInts.map((d) => sample(within(...modest(d), of(d, 19))));
export const floatPairs: readonly Sample<NoAttrs>[] = floats(-3, 3).map(pair);
export const intPairs: readonly Sample<NoAttrs>[] = ints.map(pair);

/** A step function of a float: gradient zero. */
export const rounding = <N extends string>(
  name: N,
  summary: string,
  float: (x: number) => number,
): PrimitiveOp<N, NoAttrs> =>
  unary({
    name,
    summary,
    dtypes: "float",
    float: (x) => float(x!),
    vjp: "zero",
    samples: [...floats(0.1, 0.9), { ...sample(within(-9, 9, f32(33))), noGrad: true }],
  });

/** A differentiable function of a float, expensive; `ulp` 0 means correctly rounded. */
export const smooth = <N extends string>(
  name: N,
  summary: string,
  float: (x: number) => number,
  domain: readonly [number, number],
  ulp: number,
  vjp: Vjp<NoAttrs>,
): PrimitiveOp<N, NoAttrs> =>
  unary({
    name,
    summary,
    dtypes: "float",
    float: (x) => float(x!),
    vjp,
    accuracy: ulp === 0 ? "exact" : { ulp },
    cost: "expensive",
    samples: floats(...domain),
  });
