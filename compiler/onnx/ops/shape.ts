/** Shapes as data, constants and generators. Most of it evaluates at compile time; see passes/values. */
import { asType, broadcastTo, dimScalar, full, np, rankOf, reshapeTo, where } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { typeText, type Value } from "../../../ir/graph.js";
import { iota } from "../../../ir/ops/constant.js";
import { range as rangeOp } from "../../../ir/ops/dynamic.js";
import { ceil } from "../../../ir/ops/elementwise.js";
import { productOf } from "../../../ir/ops/movement.js";
import { tensorFrom } from "../../../ir/tensor.js";
import { dimOf, factOf } from "../../../passes/values/index.js";
import { bindTensor, dimVector, host, vector } from "../build.js";
import { type Bound, type ImportOp, type OpRow, sizeWithin } from "../context.js";
import { dtypeOfCode } from "../dtype.js";

const clampIndex = (i: number, rank: number) => Math.min(Math.max(i < 0 ? i + rank : i, 0), rank);

const shapeRow: ImportOp = (c) => {
  const { shape } = c.input(0).type;
  const start = clampIndex(c.attrs.int("start", 0), shape.length);
  const end = clampIndex(c.attrs.int("end", shape.length), shape.length);
  return dimVector(shape.slice(start, Math.max(start, end)));
};

const constantRow: ImportOp = (c): Bound => {
  const { attrs } = c;
  const tensor = attrs.tensor("value") ?? attrs.tensor("sparse_value");
  if (tensor) return bindTensor(tensor);
  const int = attrs.bigint("value_int", undefined);
  if (int !== undefined) return host(tensorFrom("i64", [], [int]));
  const float = attrs.float("value_float", undefined);
  if (float !== undefined) return host(tensorFrom("f32", [], [float]));
  const ints = attrs.bigints("value_ints", undefined);
  if (ints) return vector("i64", ints);
  const floats = attrs.floats("value_floats", undefined);
  if (floats) return vector("f32", floats);
  const string = attrs.string("value_string", undefined);
  if (string !== undefined) return { kind: "strings", tensor: { dtype: "string", shape: [], data: [string] } };
  const strings = attrs.strings("value_strings", undefined);
  if (strings) return { kind: "strings", tensor: { dtype: "string", shape: [strings.length], data: strings } };
  throw c.error("the constant has no value");
};

const constantOfShape: ImportOp = (c) => {
  const shape = c.dimsWithin(0);
  const value = c.attrs.tensor("value");
  const bound = value ? bindTensor(value) : host(tensorFrom("f32", [1], [0]));
  if (!("def" in bound)) throw c.error("filling with strings is not supported");
  return broadcastTo(reshapeTo(bound, []), shape);
};

/** start, start + delta … below limit: max(0, ⌈(limit − start) / delta⌉) of them. */
const range: ImportOp = (c) => {
  const [start, limit, delta] = [c.input(0), c.input(1), c.input(2)].map((v) => reshapeTo(v, [])) as [
    Value,
    Value,
    Value,
  ];
  if (factOf(delta)?.exact === 0) throw c.error("the step of the range is 0");
  const ratio = np.div(asType(np.sub(limit, start), "f64"), asType(delta, "f64"));
  const fact = factOf(np.max(asType(ceil([ratio]), "i64"), 0));
  const count = dimOf(fact);
  if (count === undefined)
    return c.services.findSize("range", sizeWithin(fact, c.services.maxUnknownSize), (defines) =>
      rangeOp([start, limit, delta], { defines }),
    ).made;
  const steps = iota([], { dtype: start.type.dtype, shape: [count], axis: 0 });
  return np.add(np.mul(steps, delta), start);
};

const eyeLike: ImportOp = (c) => {
  const x = c.input(0);
  if (rankOf(x) !== 2) throw c.error(`the input should have 2 axes, but is ${typeText(x.type)}`);
  const code = c.attrs.int("dtype", undefined);
  const dtype = code === undefined ? x.type.dtype : dtypeOfCode(code);
  if (dtype === undefined || dtype === "string") throw c.error("the dtype of the result is not supported");
  const [rows, columns] = x.type.shape as [Dim, Dim];
  const at = (axis: number) => iota([], { dtype: "i32", shape: [rows, columns], axis });
  return asType(np.eq(at(1), np.add(at(0), c.attrs.int("k", 0))), dtype);
};

const trilu: ImportOp = (c) => {
  const x = c.input(0);
  const rank = rankOf(x);
  if (rank < 2) throw c.error(`the input should have at least 2 axes, but is ${typeText(x.type)}`);
  const [rows, columns] = x.type.shape.slice(-2) as [Dim, Dim];
  const upper = c.attrs.flag("upper", true);
  const at = (axis: number) => iota([], { dtype: "i64", shape: [rows, columns], axis });
  const k = c.optional(1);
  const diagonal = np.sub(at(1), at(0));
  const offset = k ? reshapeTo(asType(k, "i64"), []) : 0;
  return where(upper ? np.ge(diagonal, offset) : np.le(diagonal, offset), x, full(x.type.dtype, [], 0));
};

export const shape = {
  Shape: shapeRow,
  Size: (c) => dimScalar(productOf(c.input(0).type.shape), "i64"),
  Constant: constantRow,
  ConstantOfShape: constantOfShape,
  Range: range,
  EyeLike: eyeLike,
  Trilu: trilu,
  Identity: (c) => {
    const bound = c.inputs[0];
    if (bound === undefined) throw c.error("input 0 is required, but is absent");
    return bound;
  },
} as const satisfies Readonly<Record<string, OpRow>>;
