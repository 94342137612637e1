/** Elementwise ops: arithmetic, functions, comparisons, logic, bits, casts. */
import { asType, broadcastAll, broadcastTo, constantLike, rankOf, reshapeTo } from "../../../ir/build.js";
import { type DType, isFloat, isInt } from "../../../ir/dtype.js";
import type { NoAttrs, Value } from "../../../ir/graph.js";
import type { Op } from "../../../ir/op.js";
import * as act from "../../../ir/ops/activation.js";
import { bitcast, cast } from "../../../ir/ops/cast.js";
import * as ew from "../../../ir/ops/elementwise.js";
import * as lg from "../../../ir/ops/logic.js";
import { broadcast } from "../../../ir/ops/movement.js";
import type { ImportOp, NodeContext, OpRow } from "../context.js";
import { describeCode, dtypeOfCode } from "../dtype.js";

const { abs, add, div, exp, log, max, min, mul, neg, sigmoid, sub, tanh } = ew;

/** Before opset 7, `broadcast` and `axis` placed the second operand; since then numpy's rule holds. */
export function binaryOperands(c: NodeContext): readonly [Value, Value] {
  const a = c.input(0);
  const b = c.input(1);
  if (c.since < 7 && c.attrs.flag("broadcast", false)) {
    const axis = c.attrs.int("axis", undefined);
    const start = axis === undefined ? rankOf(a) - rankOf(b) : c.axis(axis, rankOf(a));
    return [a, broadcast([b], { shape: a.type.shape, axes: b.type.shape.map((_, i) => start + i) })];
  }
  const [x, y] = broadcastAll(a, b);
  return [x!, y!];
}

const unary =
  (op: Op<string, NoAttrs>): ImportOp =>
  (c) =>
    op([c.input(0)]);

const binary =
  (op: Op<string, NoAttrs>): ImportOp =>
  (c) =>
    op(binaryOperands(c));

/** Min, Max, Sum and Mean of any number of inputs. */
const variadic =
  (op: Op<string, NoAttrs>, finish: (total: Value, count: number) => Value = (x) => x): ImportOp =>
  (c) => {
    const values = broadcastAll(...c.values());
    return finish(
      values.slice(1).reduce((acc, v) => op([acc, v]), values[0]!),
      values.length,
    );
  };

/** Formulas over x with constants of its type. */
const formula =
  (build: (x: Value, k: (value: number) => Value, c: NodeContext) => Value): ImportOp =>
  (c) => {
    const x = c.input(0);
    return build(x, (value) => constantLike(x, value), c);
  };

const where = (condition: Value, a: Value, b: Value): Value => lg.select([condition, a, b]);

/** Computes in f32 where the type is narrower, and rounds once at the end. */
export function inF32(values: readonly Value[], compute: (values: readonly Value[]) => Value): Value {
  const { dtype } = values[0]!.type;
  if (dtype !== "f16" && dtype !== "bf16") return compute(values);
  return asType(compute(values.map((v) => asType(v, "f32"))), dtype);
}

/** A function of x computed in f32 where x is narrower. */
const smooth =
  (build: (x: Value, c: NodeContext) => Value): ImportOp =>
  (c) =>
    inF32([c.input(0)], ([x]) => build(x!, c));

const clip: ImportOp = (c) => {
  let x = c.input(0);
  const bound = (i: number, name: string): Value | undefined => {
    if (c.since < 11) {
      const value = c.attrs.float(name, undefined);
      return value === undefined ? undefined : constantLike(x, value);
    }
    const value = c.optional(i);
    return value && broadcastTo(rankOf(value) === 0 ? value : reshapeTo(value, []), x.type.shape);
  };
  const low = bound(1, "min");
  const high = bound(2, "max");
  if (low) x = max([x, low]);
  // A minimum above the maximum gives the maximum.
  return high ? min([x, high]) : x;
};

function targetType(c: NodeContext, code: number): DType {
  const dtype = dtypeOfCode(code);
  if (dtype === undefined || dtype === "string")
    throw c.error(`casting to ${describeCode(code)} is not supported`, "keep strings out of the model");
  return dtype;
}

function castWith(c: NodeContext, x: Value, to: DType): Value {
  const saturate = c.attrs.flag("saturate", true);
  if (x.type.dtype === to) return x;
  // Floats wrap on their way to integers of 4 and 2 bits, and the format without NaN takes it as 0.
  if (isFloat(x.type.dtype) && /^[iu][24]$/.test(to)) return cast([asType(x, "i32")], { to });
  if (isFloat(x.type.dtype) && to === "f4e2m1") return cast([where(lg.ne([x, x]), constantLike(x, 0), x)], { to });
  return cast([x], to.startsWith("f8") ? { to, saturate } : { to });
}

const OLD_TYPE_NAMES: Readonly<Record<string, number>> = {
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
};

const castRow: ImportOp = (c) => {
  if (c.since < 6) {
    const name = c.attrs.requiredString("to");
    return castWith(c, c.input(0), targetType(c, OLD_TYPE_NAMES[name] ?? 0));
  }
  return castWith(c, c.input(0), targetType(c, c.attrs.requiredInt("to")));
};

const pow: ImportOp = (c) => {
  const [a, b] = binaryOperands(c);
  const { dtype } = a.type;
  if (b.type.dtype === dtype) return ew.pow([a, b]);
  // The result has the base's type; the power is taken in the wider of the two.
  if (isFloat(dtype)) return ew.pow([a, asType(b, dtype)]);
  if (isInt(b.type.dtype)) return ew.pow([a, asType(b, dtype)]);
  return asType(ew.pow([asType(a, b.type.dtype), b]), dtype);
};

/** Remainder with the divisor's sign (Python's), or C's with fmod = 1. */
const mod: ImportOp = (c) => {
  const [a, b] = binaryOperands(c);
  const r = ew.rem([a, b]);
  if (c.attrs.flag("fmod", false) || a.type.dtype.startsWith("u")) return r;
  const zero = constantLike(r, 0);
  const differs = lg.logicalXor([lg.lt([r, zero]), lg.lt([b, zero])]);
  return where(lg.logicalAnd([differs, lg.ne([r, zero])]), add([r, b]), r);
};

const isInf: ImportOp = (c) => {
  const x = c.input(0);
  const f = x.type.dtype === "f32" || x.type.dtype === "f64" ? x : asType(x, "f32");
  const positive = lg.eq([f, constantLike(f, Number.POSITIVE_INFINITY)]);
  const negative = lg.eq([f, constantLike(f, Number.NEGATIVE_INFINITY)]);
  const up = c.attrs.flag("detect_positive", true);
  const down = c.attrs.flag("detect_negative", true);
  if (up && down) return lg.logicalOr([positive, negative]);
  if (!up && !down) return lg.lt([f, f]);
  return up ? positive : negative;
};

const isNan: ImportOp = (c) => {
  const x = c.input(0);
  const f = isFloat(x.type.dtype) ? x : asType(x, "f32");
  return lg.ne([f, f]);
};

const bitShift: ImportOp = (c) => {
  const operands = binaryOperands(c);
  return c.attrs.oneOf("direction", ["LEFT", "RIGHT"], "LEFT") === "LEFT"
    ? lg.shiftLeft(operands)
    : lg.shiftRight(operands);
};

const whereRow: ImportOp = (c) => {
  const [condition, a, b] = broadcastAll(c.input(0), c.input(1), c.input(2));
  return where(condition!, a!, b!);
};

const prelu: ImportOp = (c) => {
  const x = c.input(0);
  const slope = c.input(1);
  // Before opset 7 the slope was one per channel (axis 1) or one for all.
  const perChannel = c.since < 7 && rankOf(slope) === 1 && rankOf(x) > 1 && slope.type.shape[0] !== 1;
  const spread = perChannel
    ? broadcast([slope], { shape: x.type.shape, axes: [1] })
    : broadcastTo(rankOf(slope) > rankOf(x) ? reshapeTo(slope, []) : slope, x.type.shape);
  return where(lg.lt([x, constantLike(x, 0)]), mul([x, spread]), x);
};

function swish(x: Value, alpha: number): Value {
  return alpha === 1 ? act.silu([x]) : mul([x, sigmoid([mul([x, constantLike(x, alpha)])])]);
}

export const elementwise = {
  Abs: unary(abs),
  Neg: unary(neg),
  Sign: unary(ew.sign),
  Ceil: unary(ew.ceil),
  Floor: unary(ew.floor),
  Round: unary(ew.round),
  Sqrt: unary(ew.sqrt),
  Exp: unary(exp),
  Log: unary(log),
  Erf: unary(ew.erf),
  Sin: unary(ew.sin),
  Cos: unary(ew.cos),
  Tan: unary(ew.tan),
  Asin: unary(ew.asin),
  Acos: unary(ew.acos),
  Atan: unary(ew.atan),
  Sinh: unary(ew.sinh),
  Cosh: unary(ew.cosh),
  Tanh: unary(tanh),
  Asinh: unary(ew.asinh),
  Acosh: unary(ew.acosh),
  Atanh: unary(ew.atanh),
  Sigmoid: unary(sigmoid),
  Reciprocal: formula((x, k) => div([k(1), x])),
  Add: binary(add),
  Sub: binary(sub),
  Mul: binary(mul),
  Div: binary(div),
  Pow: pow,
  Mod: mod,
  Min: variadic(min),
  Max: variadic(max),
  Sum: variadic(add),
  Mean: variadic(add, (total, count) => div([total, constantLike(total, count)])),
  Clip: clip,
  Relu: (c) => {
    const x = c.input(0);
    return isFloat(x.type.dtype) ? act.relu([x]) : max([x, constantLike(x, 0)]);
  },
  LeakyRelu: (c) => act.leakyRelu([c.input(0)], { slope: c.attrs.float("alpha", 0.01) }),
  PRelu: prelu,
  ThresholdedRelu: (c) => act.thresholdedRelu([c.input(0)], { threshold: c.attrs.float("alpha", 1) }),
  Elu: smooth((x, c) => act.elu([x], { alpha: c.attrs.float("alpha", 1) })),
  Selu: smooth((x, c) =>
    act.selu([x], {
      alpha: c.attrs.float("alpha", c.since < 6 ? 1.6732 : act.seluConstants.alpha),
      gamma: c.attrs.float("gamma", c.since < 6 ? 1.0507 : act.seluConstants.gamma),
    }),
  ),
  Celu: smooth((x, c) => act.celu([x], { alpha: c.attrs.float("alpha", 1) })),
  Gelu: smooth((x, c) => act.gelu([x], { approximate: c.attrs.oneOf("approximate", ["none", "tanh"], "none") })),
  HardSigmoid: (c) =>
    act.hardSigmoid([c.input(0)], { alpha: c.attrs.float("alpha", 0.2), beta: c.attrs.float("beta", 0.5) }),
  HardSwish: (c) => act.hardSwish([c.input(0)]),
  Mish: smooth((x) => act.mish([x])),
  Softplus: smooth((x) => act.softplus([x], { beta: 1 })),
  Softsign: smooth((x) => act.softsign([x])),
  Swish: smooth((x, c) => swish(x, c.attrs.float("alpha", 1))),
  Shrink: (c) => {
    const x = c.input(0);
    const attrs = { lambda: c.attrs.float("lambd", 0.5), bias: c.attrs.float("bias", 0) };
    if (isFloat(x.type.dtype)) return act.shrink([x], attrs);
    return asType(act.shrink([asType(x, "f32")], attrs), x.type.dtype);
  },
  Equal: binary(lg.eq),
  Greater: binary(lg.gt),
  GreaterOrEqual: binary(lg.ge),
  Less: binary(lg.lt),
  LessOrEqual: binary(lg.le),
  And: binary(lg.logicalAnd),
  Or: binary(lg.logicalOr),
  Xor: binary(lg.logicalXor),
  Not: unary(lg.not),
  BitwiseAnd: binary(lg.logicalAnd),
  BitwiseOr: binary(lg.logicalOr),
  BitwiseXor: binary(lg.logicalXor),
  BitwiseNot: unary(lg.not),
  BitShift: bitShift,
  Where: whereRow,
  IsInf: isInf,
  IsNaN: isNan,
  Cast: castRow,
  CastLike: (c) => castWith(c, c.input(0), c.input(1).type.dtype),
  BitCast: (c) => {
    const x = c.input(0);
    const to = targetType(c, c.attrs.requiredInt("to"));
    if (x.type.dtype === to) return x;
    // A bool is stored as a byte of 0 or 1.
    if (x.type.dtype === "bool") return bitcast([asType(x, "u8")], { to });
    return to === "bool" ? asType(x, "bool") : bitcast([x], { to });
  },
} as const satisfies Readonly<Record<string, OpRow>>;
