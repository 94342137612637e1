/** Arithmetic and functions of a float: one result element from the operand elements at the same index. Operands have equal shapes. */

import type { NoAttrs, Value } from "../graph.js";
import type { Accuracy, PrimitiveOp } from "../op.js";
import { exactly, f32, i32, of, sample, within } from "../sample.js";
import { erf as erfReference, roundHalfEven, sigmoid as sigmoidReference } from "../special.js";
import { constantLike } from "./constant.js";
import {
  allInts,
  binary,
  floatPairs,
  floats,
  intPairs,
  ints,
  pair,
  rounding,
  smooth,
  special,
  unary,
} from "./elementwise-define.js";
import { eq, ge, gt, logicalAnd, lt, select } from "./logic.js";

// ---------------------------------------------------------------------------------------------- arithmetic

export const add: PrimitiveOp<"add", NoAttrs> = binary({
  name: "add",
  summary: "a + b. Integers wrap.",
  dtypes: "number",
  float: (a, b) => a! + b!,
  int: (a, b) => a! + b!,
  vjp: ({ dy }) => [dy, dy],
  samples: [...floatPairs, ...intPairs],
});

export const sub: PrimitiveOp<"sub", NoAttrs> = binary({
  name: "sub",
  summary: "a − b. Integers wrap.",
  dtypes: "number",
  float: (a, b) => a! - b!,
  int: (a, b) => a! - b!,
  vjp: ({ dy }) => [dy, neg([dy])],
  samples: [...floatPairs, ...intPairs],
});

export const mul: PrimitiveOp<"mul", NoAttrs> = binary({
  name: "mul",
  summary: "a · b. Integers wrap.",
  dtypes: "number",
  float: (a, b) => a! * b!,
  int: (a, b) => a! * b!,
  vjp: ({ dy, operands: [a, b] }) => [mul([dy, b!]), mul([dy, a!])],
  samples: [...floatPairs, ...intPairs],
});

export const div: PrimitiveOp<"div", NoAttrs> = binary({
  name: "div",
  summary: "a / b. Integer division truncates towards zero; x / 0 is 0 and min / −1 wraps to min, so nothing traps.",
  dtypes: "number",
  float: (a, b) => a! / b!,
  int: (a, b) => (b === 0n ? 0n : a! / b!),
  vjp: ({ dy, operands: [, b], y }) => {
    const da = div([dy, b!]);
    return [da, neg([mul([da, y])])];
  },
  cost: "expensive",
  samples: [
    ...floats(0.5, 3).map(pair),
    ...intPairs,
    sample(exactly([7, -7, 7, -7, 5, -128], of("i8", 6)), exactly([2, 2, -2, 0, 0, -1], of("i8", 6))),
    sample(exactly([-2147483648, 9, 0], i32(3)), exactly([-1, 0, 0], i32(3))),
  ],
});

export const rem: PrimitiveOp<"rem", NoAttrs> = binary({
  name: "rem",
  summary: "Remainder with the sign of a (C's % and fmod). Integer x rem 0 is 0.",
  dtypes: "number",
  float: (a, b) => a! % b!,
  int: (a, b) => (b === 0n ? 0n : a! % b!),
  vjp: ({ dy, operands: [a, b] }) => [dy, neg([mul([dy, trunc([div([a!, b!])])])])],
  cost: "expensive",
  samples: [
    { ...sample(within(-9, 9, f32(17)), within(1, 3, f32(17))), noGrad: true },
    { ...sample(within(-9, 9, of("f64", 5)), within(1, 3, of("f64", 5))), noGrad: true },
    sample(exactly([5.5, -5.5, 7.25], f32(3)), exactly([2, 2, -3], f32(3))),
    pair(special),
    ...intPairs,
    sample(exactly([7, -7, 7, -7, 5], i32(5)), exactly([3, 3, -3, -3, 0], i32(5))),
  ],
});

export const pow: PrimitiveOp<"pow", NoAttrs> = binary({
  name: "pow",
  summary:
    "a to the power b with C's special cases (1^NaN = NaN^0 = 1). Integers wrap; a negative exponent gives the truncated reciprocal (0, or ±1 for a = ±1).",
  dtypes: "number",
  float: (a, b) => (a === 1 || (a === -1 && Math.abs(b!) === Infinity) ? 1 : a! ** b!),
  int: (a, b) => (b! >= 0n ? a! ** b! : a === 1n ? 1n : a === -1n ? (b! % 2n === 0n ? 1n : -1n) : 0n),
  vjp: ({ dy, operands: [a, b], y, needs }) => [
    // d/da = b·a^(b−1), which is 0 (not NaN) where b = 0.
    needs[0]
      ? select([
          eq([b!, constantLike(b!, 0)]),
          constantLike(a!, 0),
          mul([dy, mul([b!, pow([a!, sub([b!, constantLike(b!, 1)])])])]),
        ])
      : undefined,
    // d/db = y·log a, and its limit 0 where a = 0 and b ≥ 0.
    needs[1]
      ? select([
          logicalAnd([eq([a!, constantLike(a!, 0)]), ge([b!, constantLike(b!, 0)])]),
          constantLike(b!, 0),
          mul([dy, mul([y, log([a!])])]),
        ])
      : undefined,
  ],
  accuracy: { ulp: 4 },
  cost: "expensive",
  samples: [
    ...floats(0.2, 3).map(pair),
    ...allInts.map((d) => sample(within(0, 5, of(d, 9)), within(0, 3, of(d, 9)))),
    sample(exactly([2, -1, -1, 1, 0], i32(5)), exactly([-1, -2, -3, -4, 0], i32(5))),
    { ...sample(exactly([-2, -2, 0, 0, -0], f32(5)), exactly([3, 0.5, 0, -1, 3], f32(5))), noGrad: true },
  ],
});

export const min: PrimitiveOp<"min", NoAttrs> = binary({
  name: "min",
  summary: "Smaller of a and b. NaN if either is NaN; −0 < +0. Gradient: to the smaller; ties share it equally.",
  dtypes: "number",
  float: Math.min,
  int: (a, b) => (a! < b! ? a! : b!),
  vjp: ({ dy, operands: [a, b] }) => toWinner(dy, a!, b!, lt([a!, b!])),
  samples: [...floatPairs, ...intPairs],
});

export const max: PrimitiveOp<"max", NoAttrs> = binary({
  name: "max",
  summary: "Larger of a and b. NaN if either is NaN; −0 < +0. Gradient: to the larger; ties share it equally.",
  dtypes: "number",
  float: Math.max,
  int: (a, b) => (a! > b! ? a! : b!),
  vjp: ({ dy, operands: [a, b] }) => toWinner(dy, a!, b!, gt([a!, b!])),
  samples: [...floatPairs, ...intPairs],
});

/** Cotangents of min/max: all to the winner, half each at a tie. */
function toWinner(dy: Value, a: Value, b: Value, aWins: Value): readonly Value[] {
  const zero = constantLike(dy, 0);
  const tie = eq([a, b]);
  const half = mul([dy, constantLike(dy, 0.5)]);
  return [select([tie, half, select([aWins, dy, zero])]), select([tie, half, select([aWins, zero, dy])])];
}

export const atan2: PrimitiveOp<"atan2", NoAttrs> = binary({
  name: "atan2",
  summary: "Angle of the point (x = b, y = a) in [−π, π].",
  dtypes: "float",
  float: (a, b) => Math.atan2(a!, b!),
  vjp: ({ dy, operands: [a, b] }) => {
    const scale = div([dy, add([mul([a!, a!]), mul([b!, b!])])]);
    return [mul([scale, b!]), neg([mul([scale, a!])])];
  },
  accuracy: { ulp: 4 },
  cost: "expensive",
  samples: floats(0.3, 2).map(pair),
});

export const neg: PrimitiveOp<"neg", NoAttrs> = unary({
  name: "neg",
  summary: "−x. Integers wrap.",
  dtypes: "number",
  float: (x) => -x!,
  int: (x) => -x!,
  vjp: ({ dy }) => [neg([dy])],
  samples: [...floats(-3, 3), ...ints],
});

export const abs: PrimitiveOp<"abs", NoAttrs> = unary({
  name: "abs",
  summary: "|x|. The smallest signed integer wraps to itself. The gradient at 0 is 0.",
  dtypes: "number",
  float: (x) => Math.abs(x!),
  int: (x) => (x! < 0n ? -x! : x!),
  vjp: ({ dy, operands: [x] }) => [mul([dy, sign([x!])])],
  samples: [...floats(0.1, 3), sample(within(-3, -0.1, f32(5))), ...ints],
});

export const sign: PrimitiveOp<"sign", NoAttrs> = unary({
  name: "sign",
  summary: "−1, 0 or 1; ±0 and NaN give themselves.",
  dtypes: "number",
  float: (x) => Math.sign(x!),
  int: (x) => (x! > 0n ? 1n : x! < 0n ? -1n : 0n),
  vjp: "zero",
  samples: [...floats(0.1, 3), ...ints],
});

// ------------------------------------------------------------------------------------------------ rounding

export const floor: PrimitiveOp<"floor", NoAttrs> = rounding("floor", "Largest integer ≤ x.", Math.floor);
export const ceil: PrimitiveOp<"ceil", NoAttrs> = rounding("ceil", "Smallest integer ≥ x.", Math.ceil);
export const trunc: PrimitiveOp<"trunc", NoAttrs> = rounding("trunc", "Integer part of x, towards zero.", Math.trunc);
export const round: PrimitiveOp<"round", NoAttrs> = rounding("round", "Nearest integer, ties to even.", roundHalfEven);

// ------------------------------------------------------------------------------------- functions of a float

const one = (x: Value) => constantLike(x, 1);
const square = (x: Value) => mul([x, x]);

export const sqrt: PrimitiveOp<"sqrt", NoAttrs> = smooth(
  "sqrt",
  "Square root, correctly rounded. NaN below −0.",
  Math.sqrt,
  [0.2, 4],
  0,
  ({ dy, y }) => [div([dy, mul([y, constantLike(y, 2)])])],
);
export const exp: PrimitiveOp<"exp", NoAttrs> = smooth("exp", "e^x.", Math.exp, [-3, 3], 2, ({ dy, y }) => [
  mul([dy, y]),
]);
export const expm1: PrimitiveOp<"expm1", NoAttrs> = smooth(
  "expm1",
  "e^x − 1 without cancellation near 0.",
  Math.expm1,
  [-3, 3],
  4,
  ({ dy, y }) => [mul([dy, add([y, one(y)])])],
);
export const log: PrimitiveOp<"log", NoAttrs> = smooth(
  "log",
  "Natural logarithm. log 0 = −∞, NaN below.",
  Math.log,
  [0.2, 4],
  2,
  ({ dy, operands: [x] }) => [div([dy, x!])],
);
export const log1p: PrimitiveOp<"log1p", NoAttrs> = smooth(
  "log1p",
  "log(1 + x) without cancellation near 0.",
  Math.log1p,
  [-0.5, 4],
  4,
  ({ dy, operands: [x] }) => [div([dy, add([x!, one(x!)])])],
);
export const sin: PrimitiveOp<"sin", NoAttrs> = smooth(
  "sin",
  "Sine of radians, over the whole range.",
  Math.sin,
  [-3, 3],
  2,
  ({ dy, operands: [x] }) => [mul([dy, cos([x!])])],
);
export const cos: PrimitiveOp<"cos", NoAttrs> = smooth(
  "cos",
  "Cosine of radians, over the whole range.",
  Math.cos,
  [-3, 3],
  2,
  ({ dy, operands: [x] }) => [neg([mul([dy, sin([x!])])])],
);
export const tan: PrimitiveOp<"tan", NoAttrs> = smooth(
  "tan",
  "Tangent of radians.",
  Math.tan,
  [-1.2, 1.2],
  4,
  ({ dy, y }) => [mul([dy, add([square(y), one(y)])])],
);
export const asin: PrimitiveOp<"asin", NoAttrs> = smooth(
  "asin",
  "Inverse sine. NaN outside [−1, 1].",
  Math.asin,
  [-0.9, 0.9],
  4,
  ({ dy, operands: [x] }) => [div([dy, sqrt([sub([one(x!), square(x!)])])])],
);
export const acos: PrimitiveOp<"acos", NoAttrs> = smooth(
  "acos",
  "Inverse cosine. NaN outside [−1, 1].",
  Math.acos,
  [-0.9, 0.9],
  4,
  ({ dy, operands: [x] }) => [neg([div([dy, sqrt([sub([one(x!), square(x!)])])])])],
);
export const atan: PrimitiveOp<"atan", NoAttrs> = smooth(
  "atan",
  "Inverse tangent.",
  Math.atan,
  [-3, 3],
  4,
  ({ dy, operands: [x] }) => [div([dy, add([one(x!), square(x!)])])],
);
export const sinh: PrimitiveOp<"sinh", NoAttrs> = smooth(
  "sinh",
  "Hyperbolic sine.",
  Math.sinh,
  [-3, 3],
  4,
  ({ dy, operands: [x] }) => [mul([dy, cosh([x!])])],
);
export const cosh: PrimitiveOp<"cosh", NoAttrs> = smooth(
  "cosh",
  "Hyperbolic cosine.",
  Math.cosh,
  [-3, 3],
  4,
  ({ dy, operands: [x] }) => [mul([dy, sinh([x!])])],
);
export const tanh: PrimitiveOp<"tanh", NoAttrs> = smooth(
  "tanh",
  "Hyperbolic tangent. NaN → NaN, ±∞ → ±1, −0 → −0; never leaves [−1, 1].",
  Math.tanh,
  [-3, 3],
  4,
  ({ dy, y }) => [mul([dy, sub([one(y), square(y)])])],
);
export const asinh: PrimitiveOp<"asinh", NoAttrs> = smooth(
  "asinh",
  "Inverse hyperbolic sine.",
  Math.asinh,
  [-3, 3],
  4,
  ({ dy, operands: [x] }) => [div([dy, sqrt([add([square(x!), one(x!)])])])],
);
export const acosh: PrimitiveOp<"acosh", NoAttrs> = smooth(
  "acosh",
  "Inverse hyperbolic cosine. NaN below 1.",
  Math.acosh,
  [1.2, 4],
  4,
  ({ dy, operands: [x] }) => [div([dy, sqrt([sub([square(x!), one(x!)])])])],
);
export const atanh: PrimitiveOp<"atanh", NoAttrs> = smooth(
  "atanh",
  "Inverse hyperbolic tangent. NaN outside [−1, 1].",
  Math.atanh,
  [-0.8, 0.8],
  4,
  ({ dy, operands: [x] }) => [div([dy, sub([one(x!), square(x!)])])],
);
export const erf: PrimitiveOp<"erf", NoAttrs> = smooth(
  "erf",
  "Error function. Never leaves [−1, 1].",
  erfReference,
  [-2, 2],
  4,
  ({ dy, operands: [x] }) => [mul([dy, mul([constantLike(x!, 2 / Math.sqrt(Math.PI)), exp([neg([square(x!)])])])])],
);
export const sigmoid: PrimitiveOp<"sigmoid", NoAttrs> = smooth(
  "sigmoid",
  "Logistic function 1 / (1 + e^−x). Never leaves [0, 1].",
  sigmoidReference,
  [-3, 3],
  4,
  ({ dy, y }) => [mul([dy, mul([y, sub([one(y), y])])])],
);

/** ½(1 + erf(x/√2)). */
const normalCdf = (x: number): number => (1 + erfReference(x * Math.SQRT1_2)) / 2;
const normalDensity = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
/** What a quotient of polynomials gives: absolute, as activations need no digits of results near 0. */
const nearOne: Accuracy = { rtol: 1e-5, atol: 1e-6 };

export const geluExactGrad: PrimitiveOp<"geluExactGrad", NoAttrs> = unary({
  name: "geluExactGrad",
  summary: "Φ(x) + x·φ(x), the derivative of geluExact. ∞ → 1, −∞ → 0.",
  dtypes: "float",
  float: (x) => (Math.abs(x!) > 40 ? (x! > 0 ? 1 : 0) : normalCdf(x!) + x! * normalDensity(x!)),
  vjp: ({ dy, operands: [x] }) => {
    // φ(x)(2 − x²)
    const z = square(x!);
    const density = mul([exp([mul([z, constantLike(z, -0.5)])]), constantLike(z, 1 / Math.sqrt(2 * Math.PI))]);
    return [mul([dy, mul([density, sub([constantLike(z, 2), z])])])];
  },
  accuracy: nearOne,
  cost: "expensive",
  samples: floats(-3, 3),
});

export const geluExact: PrimitiveOp<"geluExact", NoAttrs> = unary({
  name: "geluExact",
  summary: "x·Φ(x) with Φ the normal distribution function: `gelu` without approximation. −∞ → −0.",
  dtypes: "float",
  float: (x) => (x === -Infinity ? -0 : x! * normalCdf(x!)),
  vjp: ({ dy, operands: [x] }) => [mul([dy, geluExactGrad([x!])])],
  accuracy: nearOne,
  cost: "expensive",
  samples: floats(-3, 3),
});
