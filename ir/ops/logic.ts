/** Comparisons, selection, logic and bits. */

import { dtypeInfo, type IntDType, wrapInt } from "../dtype.js";
import type { NoAttrs, TensorType } from "../graph.js";
import { type DTypeClass, mergeShapes, requireDType, requireSameType } from "../infer.js";
import { defineOp, type PrimitiveOp } from "../op.js";
import { bool, exactly, f32, i32, of, sample, within } from "../sample.js";
import { zeros } from "../tensor.js";
import { constantLike } from "./constant.js";
import {
  allInts,
  binary,
  floatPairs,
  type IntRule,
  intPairs,
  ints,
  mapElements,
  modest,
} from "./elementwise-define.js";

const compare = <N extends string>(
  name: N,
  symbol: string,
  dtypes: DTypeClass,
  holds: (a: number | bigint, b: number | bigint) => boolean,
): PrimitiveOp<N, NoAttrs> =>
  binary({
    name,
    summary: `a ${symbol} b as bool. ${name === "ne" ? "True" : "False"} when either is NaN.`,
    dtypes,
    float: (a, b) => Number(holds(a!, b!)),
    int: (a, b) => BigInt(holds(a!, b!)),
    vjp: "none",
    result: "bool",
    samples: [
      ...floatPairs.map((s) => ({ ...s, noGrad: true })),
      ...intPairs,
      sample(exactly([1, 2, 3, Number.NaN, 0], f32(5)), exactly([1, 3, 2, 1, -0], f32(5))),
      sample(exactly([1, 200, 3], of("u8", 3)), exactly([1, 3, 200], of("u8", 3))),
    ],
  });

export const eq: PrimitiveOp<"eq", NoAttrs> = compare("eq", "=", "compute", (a, b) => a === b);
export const ne: PrimitiveOp<"ne", NoAttrs> = compare("ne", "≠", "compute", (a, b) => a !== b);
export const lt: PrimitiveOp<"lt", NoAttrs> = compare("lt", "<", "number", (a, b) => a < b);
export const le: PrimitiveOp<"le", NoAttrs> = compare("le", "≤", "number", (a, b) => a <= b);
export const gt: PrimitiveOp<"gt", NoAttrs> = compare("gt", ">", "number", (a, b) => a > b);
export const ge: PrimitiveOp<"ge", NoAttrs> = compare("ge", "≥", "number", (a, b) => a >= b);

export const select: PrimitiveOp<"select", NoAttrs> = defineOp<"select", NoAttrs>({
  name: "select",
  operands: ["condition", "a", "b"],
  summary: "a where the condition holds, else b. The unchosen operand's value, NaN included, has no effect.",
  infer: ([c, a, b]): TensorType => {
    requireDType(c!, "bool", "the condition");
    const t = requireSameType([a!, b!]);
    return { dtype: t.dtype, shape: mergeShapes(t.shape, c!.shape) };
  },
  reference: ([c, a, b]) => {
    const out = zeros(a!.dtype, a!.shape);
    for (let i = 0; i < out.data.length; i++) out.data[i] = (c!.data[i] ? a! : b!).data[i]!;
    return out;
  },
  vjp: ({ dy, operands: [c] }) => [
    undefined,
    select([c!, dy, constantLike(dy, 0)]),
    select([c!, constantLike(dy, 0), dy]),
  ],
  accuracy: "exact",
  samples: [
    sample(bool(2, 3), f32(2, 3), f32(2, 3)),
    sample(bool(17), f32(17), f32(17)),
    sample(bool(0), f32(0), f32(0)),
    sample(bool(5), of("f64", 5), of("f64", 5)),
    sample(bool(7), of("f16", 7), of("f16", 7)),
    sample(bool(7), bool(7), bool(7)),
    ...allInts.map((d) => sample(bool(19), of(d, 19), of(d, 19))),
  ],
});

const bits = <N extends string>(name: N, summary: string, int: IntRule): PrimitiveOp<N, NoAttrs> =>
  binary({ name, summary, dtypes: "logical", int, vjp: "none", samples: [sample(bool(9), bool(9)), ...intPairs] });

export const logicalAnd: PrimitiveOp<"and", NoAttrs> = bits(
  "and",
  "Bitwise and; logical and on bool.",
  (a, b) => a! & b!,
);
export const logicalOr: PrimitiveOp<"or", NoAttrs> = bits("or", "Bitwise or; logical or on bool.", (a, b) => a! | b!);
export const logicalXor: PrimitiveOp<"xor", NoAttrs> = bits(
  "xor",
  "Bitwise exclusive or; inequality on bool.",
  (a, b) => a! ^ b!,
);

export const not: PrimitiveOp<"not", NoAttrs> = defineOp<"not", NoAttrs>({
  name: "not",
  operands: ["x"],
  summary: "Bitwise complement; logical negation on bool.",
  infer: ([x]) => requireDType(x!, "logical"),
  reference: ([x]) => mapElements(x!.dtype, [x!], undefined, x!.dtype === "bool" ? (v) => 1n - v! : (v) => ~v!),
  vjp: "none",
  accuracy: "exact",
  samples: [sample(bool(9)), ...ints],
});

const shift = <N extends string>(
  name: N,
  summary: string,
  int: (a: bigint, n: bigint, d: IntDType) => bigint,
): PrimitiveOp<N, NoAttrs> =>
  defineOp<N, NoAttrs>({
    name,
    operands: ["x", "bits"],
    summary,
    infer: (types) => requireDType(requireSameType(types), "int"),
    reference: ([x, n]) => mapElements(x!.dtype, [x!, n!], undefined, (a, b) => int(a!, b!, x!.dtype as IntDType)),
    vjp: "none",
    accuracy: "exact",
    samples: [
      ...allInts.map((d) => sample(within(...modest(d), of(d, 19)), within(0, 9, of(d, 19)))),
      sample(exactly([1, 1, -1, -1], i32(4)), exactly([31, 32, 31, 40], i32(4))),
    ],
  });

const inWidth = (n: bigint, d: IntDType) => n >= 0n && n < BigInt(dtypeInfo[d].bits);

export const shiftLeft: PrimitiveOp<"shiftLeft", NoAttrs> = shift(
  "shiftLeft",
  "x · 2^bits, wrapping. 0 when bits is negative or not below the width.",
  (a, n, d) => (inWidth(n, d) ? wrapInt(d, a << n) : 0n),
);
export const shiftRight: PrimitiveOp<"shiftRight", NoAttrs> = shift(
  "shiftRight",
  "⌊x / 2^bits⌋: arithmetic for signed, logical for unsigned types. Only sign bits remain when bits is negative or not below the width.",
  (a, n, d) => (inWidth(n, d) ? a >> n : a < 0n ? -1n : 0n),
);
