/** Elementwise arithmetic, functions, comparisons, logic and casts. */

import { type DType, dtypeInfo, isFloat, isInt, isSigned } from "../../../../ir/dtype.js";
import type { Value } from "../../../../ir/graph.js";
import { toNumbers } from "../../../../ir/tensor.js";
import { flag, int, type Ref, string, typeCode } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Node, Row, SomeRows } from "./row.js";

/** A vector that exists from the start (a weight), repeated along all axes but `axis`. */
function weightAlong(v: Value, axis: number): Value | undefined {
  if (v.def.op !== "broadcast") return undefined;
  const { axes } = v.def.attrs;
  const [x] = v.def.operands;
  const at = axes.filter((_, i) => x!.type.shape[i] !== 1);
  const vector = x!.def.op === "reshape" ? x!.def.operands[0]! : x!;
  const early = vector.def.op === "param" || vector.def.op === "constant";
  return early && vector.type.shape.length === 1 && at.length === 1 && at[0] === axis ? vector : undefined;
}

/** The bias of a convolution or a product of matrices is an input of it. */
const add: Row<"add"> = (e, node) => {
  const [a, b] = node.operands as [Value, Value];
  for (const [product, bias] of [
    [a, b],
    [b, a],
  ] as const) {
    const vector = weightAlong(bias, 1);
    const matrix = product.type.shape.length === 2;
    const ops = matrix ? ["Gemm"] : ["Conv", "ConvTranspose"];
    const made = vector && e.extend(product, ops, 2, () => e.ref(vector));
    if (made) return made;
  }
  return e.op("Add", e.broadcasting([a, b]));
};

const unary =
  (op: string) =>
  (e: Emitter, node: { readonly operands: readonly Value[] }): Ref =>
    e.op(op, [e.ref(node.operands[0]!)]);

const binary =
  (op: string) =>
  (e: Emitter, node: { readonly operands: readonly Value[] }): Ref =>
    e.op(op, e.broadcasting(node.operands));

const typeOf = (node: { readonly operands: readonly Value[] }): DType => node.operands[0]!.type.dtype;

/** Comparisons of bools are of 0 and 1, which ONNX has none of. */
const comparison =
  (op: string) =>
  (e: Emitter, node: { readonly operands: readonly Value[] }): Ref => {
    const operands = e.broadcasting(node.operands);
    const dtype = typeOf(node);
    return e.op(op, dtype === "bool" ? operands.map((r) => e.cast(r, dtype, "u8")) : operands);
  };

const bitwise =
  (onBool: string, onBits: string) =>
  (e: Emitter, node: { readonly operands: readonly Value[] }): Ref =>
    e.op(typeOf(node) === "bool" ? onBool : onBits, e.broadcasting(node.operands));

const neg: Row<"neg"> = (e, node) => {
  const dtype = typeOf(node);
  const x = e.ref(node.operands[0]!);
  if (!isInt(dtype) || isSigned(dtype)) return e.op("Neg", [x]);
  return e.op("Sub", [e.scalar(dtype, 0), x]);
};

/** ONNX takes powers of i32 and i64 only; the others wrap to the same bits. */
const pow: Row<"pow"> = (e, node) => {
  const dtype = typeOf(node);
  const [a, b] = e.broadcasting(node.operands);
  const through = isInt(dtype) && dtype !== "i32" ? "i64" : dtype;
  return e.via([a!, b!], dtype, through, (x) => e.op("Pow", x));
};

const rem: Row<"rem"> = (e, node) => e.op("Mod", e.broadcasting(node.operands), { fmod: int(1) });

/** sign(x)·⌊|x|⌋, which keeps −0, ±∞ and NaN. */
const trunc: Row<"trunc"> = (e, node) => {
  const x = e.ref(node.operands[0]!);
  return e.op("Mul", [e.op("Sign", [x]), e.op("Floor", [e.op("Abs", [x])])]);
};

/** f32 for narrower floats, so that formulas round once. */
const precise = (dtype: DType): DType => (dtype === "f64" ? "f64" : "f32");

/** A formula over operands of one type, with constants of it. */
function formula(
  build: (e: Emitter, x: readonly Ref[], k: (value: number) => Ref) => Ref,
): (e: Emitter, node: { readonly operands: readonly Value[] }) => Ref {
  return (e, node) => {
    const dtype = typeOf(node);
    const through = precise(dtype);
    return e.via(e.broadcasting(node.operands), dtype, through, (x) =>
      build(e, x, (value) => e.scalar(through, value)),
    );
  };
}

/** tanh(x/2)·(e^x + 1): exact at ±0 and ±∞, a few ulp elsewhere. */
const expm1 = formula((e, [x], k) =>
  e.op("Mul", [e.op("Tanh", [e.op("Mul", [x, k(0.5)])]), e.op("Add", [e.op("Exp", [x]), k(1)])]),
);

/** 2·atanh(x / (x + 2)) within (−1, 1), where log(1 + x) would cancel. */
const log1p = formula((e, [x], k) => {
  const ratio = e.op("Div", [x, e.op("Add", [x, k(2)])]);
  const near = e.op("Mul", [e.op("Atanh", [ratio]), k(2)]);
  const far = e.op("Log", [e.op("Add", [x, k(1)])]);
  return e.op("Where", [e.op("Less", [e.op("Abs", [x]), k(1)]), near, far]);
});

/** 2·Φ(x). */
const twiceNormal = (e: Emitter, x: Ref | undefined, k: (value: number) => Ref): Ref =>
  e.op("Add", [e.op("Erf", [e.op("Mul", [x, k(Math.SQRT1_2)])]), k(1)]);

/** −∞ would be multiplied by 0; from −40 on the result is 0 either way. */
const geluExact = formula((e, [x], k) =>
  e.op("Mul", [e.op("Mul", [e.op("Max", [x, k(-40)]), k(0.5)]), twiceNormal(e, x, k)]),
);

const geluExactGrad = formula((e, [x], k) => {
  const near = e.op("Min", [e.op("Max", [x, k(-40)]), k(40)]);
  const density = e.op("Mul", [
    e.op("Exp", [e.op("Mul", [e.op("Mul", [near, near]), k(-0.5)])]),
    k(1 / Math.sqrt(2 * Math.PI)),
  ]);
  return e.op("Add", [e.op("Mul", [twiceNormal(e, x, k), k(0.5)]), e.op("Mul", [near, density])]);
});

/** From the arc tangent of the smaller by the larger magnitude, and the signs. */
const atan2 = formula((e, [y, x], k) => {
  // Whether the sign bit is set, −0 included.
  const negative = (v: Ref | undefined) => {
    const signed = e.op("Where", [e.op("Equal", [v, k(0)]), e.op("Div", [k(1), v]), v]);
    return e.op("Less", [signed, k(0)]);
  };
  const [up, across] = [e.op("Abs", [y]), e.op("Abs", [x])];
  // Of equal magnitudes, 0 and ∞ have no quotient.
  const equal = e.op("Where", [e.op("Equal", [across, k(0)]), k(0), k(1)]);
  const quotient = e.op("Div", [e.op("Min", [up, across]), e.op("Max", [up, across])]);
  const angle = e.op("Atan", [e.op("Where", [e.op("Equal", [up, across]), equal, quotient])]);
  const steep = e.op("Where", [e.op("Greater", [up, across]), e.op("Sub", [k(Math.PI / 2), angle]), angle]);
  const turned = e.op("Where", [negative(x), e.op("Sub", [k(Math.PI), steep]), steep]);
  return e.op("Where", [negative(y), e.op("Neg", [turned]), turned]);
});

const ne: Row<"ne"> = (e, node) => e.op("Not", [e.op("Equal", e.broadcasting(node.operands))]);

const not: Row<"not"> = (e, node) => e.op(typeOf(node) === "bool" ? "Not" : "BitwiseNot", [e.ref(node.operands[0]!)]);

/** Integers that runtimes have no Where for, and a type that holds them. */
const WHERE_THROUGH: { readonly [D in DType]?: DType } = { i8: "i32", i16: "i32", u16: "i32", u32: "i64", u64: "i64" };

/** The choice between two values of a type, without what ONNX Runtime lacks. */
function where(e: Emitter, condition: Ref, a: Ref, b: Ref, dtype: DType): Ref {
  if (dtype === "bool") return e.op("Or", [e.op("And", [condition, a]), e.op("And", [e.op("Not", [condition]), b])]);
  return e.via([a, b], dtype, WHERE_THROUGH[dtype] ?? dtype, (x) => e.op("Where", [condition, ...x]));
}

const select: Row<"select"> = (e, node) => {
  const [condition, a, b] = e.broadcasting(node.operands) as [Ref, Ref, Ref];
  return where(e, condition, a, b, node.results[0]!.type.dtype);
};

const unsigned = (dtype: DType): DType => dtype.replace(/^i/, "u") as DType;

/** Distances outside [0, width), which ONNX does not define, are told apart unless they are constants inside. */
function shift(e: Emitter, node: Node<"shiftLeft"> | Node<"shiftRight">, direction: "LEFT" | "RIGHT"): Ref {
  const dtype = typeOf(node);
  const [x, bits] = e.broadcasting(node.operands) as [Ref, Ref];
  const wide = unsigned(dtype);
  const { bits: width } = dtypeInfo[dtype];
  const arithmetic = direction === "RIGHT" && isSigned(dtype);
  const raw = e.cast(x, dtype, wide);
  // An arithmetic shift of a negative number is the complement of the logical one of its complement.
  const sign = arithmetic ? e.op("Less", [x, e.scalar(dtype, 0)]) : undefined;
  const start = sign ? where(e, sign, e.op("BitwiseNot", [raw]), raw, wide) : raw;
  const known = constantOf(node.operands[1]!)?.every((n) => n >= 0 && n < width) ?? false;
  const inside = known
    ? undefined
    : e.op("And", [e.op("GreaterOrEqual", [bits, e.scalar(dtype, 0)]), e.op("Less", [bits, e.scalar(dtype, width)])]);
  const by = inside ? where(e, inside, bits, e.scalar(dtype, 0), dtype) : bits;
  const moved = e.op("BitShift", [start, e.cast(by, dtype, wide)], { direction: string(direction) });
  const limited = inside ? where(e, inside, moved, e.scalar(wide, 0), wide) : moved;
  const signed = sign ? where(e, sign, e.op("BitwiseNot", [limited]), limited, wide) : limited;
  return e.cast(signed, wide, dtype);
}

/** Elements of a constant, repeated or not. */
export function constantOf(v: Value): readonly number[] | undefined {
  if (v.def.op === "broadcast") return constantOf(v.def.operands[0]!);
  return v.def.op === "constant" ? toNumbers(v.def.attrs.value) : undefined;
}

/**
 * Floats on their way to integers of 4 and 2 bits are limited as i32, since ONNX wraps there. The 4-bit float takes NaN as its
 * largest value, ONNX as 0.
 */
const cast: Row<"cast"> = (e, node) => {
  const { to, saturate } = node.attrs;
  const from = typeOf(node);
  const x = e.ref(node.operands[0]!);
  if (isFloat(from) && /^[iu][24]$/.test(to)) {
    const { bits, signed } = dtypeInfo[to];
    const [low, high] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
    const whole = e.cast(x, from, "i32");
    const limited = e.op("Min", [e.op("Max", [whole, e.scalar("i32", low)]), e.scalar("i32", high)]);
    return e.cast(limited, "i32", to);
  }
  if (isFloat(from) && to === "f4e2m1")
    return e.cast(e.op("Where", [e.op("IsNaN", [x]), e.scalar(from, LARGEST_F4), x]), from, to);
  return e.op("Cast", [x], { to: typeCode(to), ...(saturate === undefined ? {} : { saturate: flag(saturate) }) });
};

const LARGEST_F4 = 6;

const bitcast: Row<"bitcast"> = (e, node) =>
  e.op("BitCast", [e.ref(node.operands[0]!)], { to: typeCode(node.attrs.to) });

/** Max and Min of ONNX have no bool. */
const extremum =
  (op: "Max" | "Min"): Row<"max"> & Row<"min"> =>
  (e, node) => {
    const dtype = typeOf(node);
    return e.via(e.broadcasting(node.operands), dtype, dtype === "bool" ? "u8" : dtype, (x) => e.op(op, x));
  };

export const elementwise = {
  abs: unary("Abs"),
  acos: unary("Acos"),
  acosh: unary("Acosh"),
  add,
  asin: unary("Asin"),
  asinh: unary("Asinh"),
  atan: unary("Atan"),
  atan2,
  atanh: unary("Atanh"),
  ceil: unary("Ceil"),
  cos: unary("Cos"),
  cosh: unary("Cosh"),
  div: binary("Div"),
  erf: unary("Erf"),
  exp: unary("Exp"),
  expm1,
  floor: unary("Floor"),
  log: unary("Log"),
  log1p,
  max: extremum("Max"),
  min: extremum("Min"),
  mul: binary("Mul"),
  neg,
  pow,
  rem,
  round: unary("Round"),
  geluExact,
  geluExactGrad,
  sigmoid: unary("Sigmoid"),
  sign: unary("Sign"),
  sin: unary("Sin"),
  sinh: unary("Sinh"),
  sqrt: unary("Sqrt"),
  sub: binary("Sub"),
  tan: unary("Tan"),
  tanh: unary("Tanh"),
  trunc,
  eq: binary("Equal"),
  ne,
  lt: comparison("Less"),
  le: comparison("LessOrEqual"),
  gt: comparison("Greater"),
  ge: comparison("GreaterOrEqual"),
  and: bitwise("And", "BitwiseAnd"),
  or: bitwise("Or", "BitwiseOr"),
  xor: bitwise("Xor", "BitwiseXor"),
  not,
  select,
  shiftLeft: (e, node) => shift(e, node, "LEFT"),
  shiftRight: (e, node) => shift(e, node, "RIGHT"),
  cast,
  bitcast,
} satisfies SomeRows;
