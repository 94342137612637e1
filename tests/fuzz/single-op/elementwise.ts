/** Elementwise ops, casts and comparisons. */
import type { DType } from "../../../ir/dtype.js";
import { type Draw, fed, float, type Generator, type SingleOp } from "./draw.js";

const unary =
  (
    op: string,
    opsets: readonly number[],
    low = -3,
    high = 3,
    attrs: (d: Draw) => SingleOp["attrs"] = () => ({}),
  ): Generator =>
  (d) => ({
    op,
    opset: d.pick(opsets),
    attrs: attrs(d),
    inputs: [fed(d.tensor("f32", d.shape(0, 4), low, high))],
    outputs: 1,
  });

const some = (d: Draw, attrs: SingleOp["attrs"]): SingleOp["attrs"] =>
  Object.fromEntries(Object.entries(attrs).filter(() => d.chance(0.7)));

const binary =
  (
    op: string,
    opsets: readonly number[],
    dtypes: readonly DType[],
    low = -3,
    high = 3,
    attrs: SingleOp["attrs"] = {},
  ): Generator =>
  (d) => {
    const dtype = d.pick(dtypes);
    const shape = d.shape(0, 4);
    const sides = [d.tensor(dtype, shape, low, high), d.tensor(dtype, d.beside(shape), low, high)];
    return {
      op,
      opset: d.pick(opsets),
      attrs,
      inputs: (d.chance(0.5) ? sides : sides.reverse()).map((t) => d.either(t)),
      outputs: 1,
    };
  };

const several =
  (op: string, opsets: readonly number[]): Generator =>
  (d) => {
    const shape = d.shape(0, 3);
    const inputs = Array.from({ length: d.int(1, 4) }, (_, i) =>
      fed(d.tensor("f32", i === 0 ? shape : d.beside(shape))),
    );
    return { op, opset: d.pick(opsets), attrs: {}, inputs, outputs: 1 };
  };

const NUMBERS = ["f32", "f64", "i32", "i64"] as const;
const INTS = ["i32", "i64", "u8", "i8"] as const;

const cast: Generator = (d) => {
  const codes = { f32: 1, u8: 2, i8: 3, i32: 6, i64: 7, bool: 9, f64: 11 } as const;
  const from = d.pick(["f32", "f64", "i32", "i64", "u8", "i8", "bool"]);
  const to = d.pick(["f32", "f64", "i32", "i64", "u8", "i8", "bool"]);
  const low = to === "u8" ? 0 : -100;
  return {
    op: "Cast",
    opset: d.pick([9, 13, 19]),
    attrs: { to: codes[to] },
    inputs: [fed(d.tensor(from, d.shape(0, 3), low, 100))],
    outputs: 1,
  };
};

const clip: Generator = (d) => {
  const x = fed(d.tensor("f32", d.shape(0, 3)));
  const [low, high] = [d.next() * 2 - 1.5, d.next() * 2 - 0.5];
  if (d.chance(0.3))
    return { op: "Clip", opset: 6, attrs: some(d, { min: float(low), max: float(high) }), inputs: [x], outputs: 1 };
  const bound = (value: number) =>
    d.chance(0.7) ? d.either({ dtype: "f32", shape: [], data: Float32Array.of(value) }) : undefined;
  return { op: "Clip", opset: d.pick([11, 13]), attrs: {}, inputs: [x, bound(low), bound(high)], outputs: 1 };
};

const where: Generator = (d) => {
  const shape = d.shape(0, 4);
  const dtype = d.pick(["f32", "i64", "u8"] as const);
  return {
    op: "Where",
    opset: d.pick([9, 16]),
    attrs: {},
    inputs: [
      fed(d.tensor("bool", d.beside(shape))),
      d.either(d.tensor(dtype, shape)),
      d.either(d.tensor(dtype, d.beside(shape))),
    ],
    outputs: 1,
  };
};

const prelu: Generator = (d) => {
  const shape = d.shape(1, 4);
  return {
    op: "PRelu",
    opset: d.pick([9, 16]),
    attrs: {},
    inputs: [fed(d.tensor("f32", shape)), d.either(d.tensor("f32", d.beside(shape)))],
    outputs: 1,
  };
};

const pow: Generator = (d) => {
  const shape = d.shape(0, 3);
  return {
    op: "Pow",
    opset: d.pick([12, 13, 15]),
    attrs: {},
    inputs: [fed(d.tensor("f32", shape, 0.1, 3)), d.either(d.tensor(d.pick(["f32", "i32", "i64"]), d.beside(shape)))],
    outputs: 1,
  };
};

const nonFinite =
  (op: string): Generator =>
  (d) => {
    const x = d.tensor("f32", d.shape(0, 3));
    for (let i = 0; i < x.data.length; i++)
      if (d.chance(0.4))
        (x.data as Float32Array)[i] = d.pick([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    const attrs = op === "IsInf" ? some(d, { detect_negative: d.int(0, 1), detect_positive: d.int(0, 1) }) : {};
    return { op, opset: d.pick([13, 20]), attrs, inputs: [fed(x)], outputs: 1 };
  };

const mod: Generator = (d) => {
  const fmod = d.int(0, 1);
  const shape = d.shape(0, 3);
  const dtype = fmod === 1 ? "f32" : d.pick(["i32", "i64"] as const);
  const by = d.tensor(dtype, d.beside(shape), 1, 5);
  return {
    op: "Mod",
    opset: d.pick([10, 13]),
    attrs: { fmod },
    inputs: [fed(d.tensor(dtype, shape, -20, 20)), d.either(by)],
    outputs: 1,
  };
};

export const elementwise: readonly Generator[] = [
  ...["Abs", "Neg", "Exp", "Ceil", "Floor", "Relu", "Sigmoid", "Tanh"].map((op) => unary(op, [6, 13])),
  ...["Atan", "Sin", "Cos", "Tan"].map((op) => unary(op, [7, 22], -1.4, 1.4)),
  ...["Acos", "Asin"].map((op) => unary(op, [7, 22], -1, 1)),
  ...["Sinh", "Cosh", "Asinh", "Erf", "Sign"].map((op) => unary(op, [9, 13])),
  unary("Atanh", [9, 22], -0.9, 0.9),
  unary("Acosh", [9, 22], 1, 4),
  ...["Log", "Sqrt", "Reciprocal"].map((op) => unary(op, [6, 13], 0.1, 4)),
  ...["Round", "Softplus", "Softsign", "HardSwish", "Mish"].map((op) =>
    unary(op, op === "Round" ? [11, 22] : op === "HardSwish" ? [14, 22] : op === "Mish" ? [18, 22] : [1, 22]),
  ),
  unary("Elu", [6, 22], -3, 3, (d) => some(d, { alpha: float(d.next() * 2) })),
  unary("Celu", [12], -3, 3, (d) => some(d, { alpha: float(0.2 + d.next()) })),
  unary("Selu", [6, 22], -3, 3, (d) => some(d, { alpha: float(d.next() * 2), gamma: float(d.next() * 2) })),
  unary("LeakyRelu", [6, 16], -3, 3, (d) => some(d, { alpha: float(d.next() - 0.3) })),
  unary("HardSigmoid", [6, 22], -5, 5, (d) => some(d, { alpha: float(d.next()), beta: float(d.next()) })),
  unary("ThresholdedRelu", [10, 22], -3, 3, (d) => some(d, { alpha: float(d.next() * 2 - 1) })),
  unary("Shrink", [9], -3, 3, (d) => some(d, { lambd: float(d.next() * 2 - 0.7), bias: float(d.next() - 0.5) })),
  unary("Gelu", [20], -3, 3, (d) => some(d, { approximate: d.pick(["none", "tanh"]) })),
  ...["Add", "Sub", "Mul"].map((op) => binary(op, [7, 13, 14], NUMBERS)),
  binary("Div", [7, 13, 14], NUMBERS, 1, 9),
  ...["Equal", "Greater", "Less"].map((op) => binary(op, [11, 13], NUMBERS)),
  ...["GreaterOrEqual", "LessOrEqual"].map((op) => binary(op, [12, 16], ["f32", "i32", "i64"])),
  ...["And", "Or", "Xor"].map((op) => binary(op, [7], ["bool"])),
  ...["BitwiseAnd", "BitwiseOr", "BitwiseXor"].map((op) => binary(op, [18], INTS, -100, 100)),
  (d) => binary("BitShift", [11], ["u8", "u32", "u64"], 0, 7, { direction: d.pick(["LEFT", "RIGHT"]) })(d),
  ...["Max", "Min", "Mean", "Sum"].map((op) => several(op, op === "Mean" || op === "Sum" ? [8, 13] : [8, 12, 13])),
  cast,
  clip,
  where,
  prelu,
  pow,
  mod,
  nonFinite("IsInf"),
  nonFinite("IsNaN"),
];
