/**
 * Normalisations. ONNX computes those of f16 and bf16 in f32, the IR rounds every step: the narrow ones are written as their
 * definition.
 */

import { type DType, isFloat } from "../../../../ir/dtype.js";
import type { Shape, Value } from "../../../../ir/graph.js";
import { isStaticShape } from "../../../../ir/graph.js";
import { normalizeAxis } from "../../../../ir/infer.js";
import { elementCount, tensorFrom } from "../../../../ir/tensor.js";
import { flag, float, int, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";
import type { Row, SomeRows } from "./row.js";

const isWide = (v: Value): boolean => v.type.dtype === "f32" || v.type.dtype === "f64";

/** ONNX's attributes are f32: for other types they must be exact as such. */
export const exactAttrs = (dtype: DType, ...values: readonly number[]): boolean =>
  dtype === "f32" || values.every((v) => Math.fround(v) === v);

const filled = (e: Emitter, dtype: DType, shape: readonly number[], value: number): Ref =>
  e.constant(tensorFrom(dtype, shape, new Array<number>(elementCount(shape)).fill(value)));

/** Scale and bias, or ones and zeros; undefined where these would have an unknown size. */
function affine(
  e: Emitter,
  dtype: DType,
  shape: Shape,
  scale: Value | undefined,
  bias: Value | undefined,
): readonly [Ref, Ref] | undefined {
  if ((!scale || !bias) && !isStaticShape(shape)) return undefined;
  const whole = shape as readonly number[];
  return [scale ? e.ref(scale) : filled(e, dtype, whole, 1), bias ? e.ref(bias) : filled(e, dtype, whole, 0)];
}

const batchNorm: Row<"batchNorm"> = (e, node) => {
  const [x, mean, variance, scale, bias] = node.operands as [Value, Value, Value, Value?, Value?];
  const { axis, epsilon, momentum } = node.attrs;
  const { dtype } = x.type;
  const parts = axis === 1 && isWide(x) ? affine(e, dtype, mean.type.shape, scale, bias) : undefined;
  if (!parts || !exactAttrs(dtype, epsilon)) return e.decompose(node);
  return e.op("BatchNormalization", [e.ref(x), ...parts, e.ref(mean), e.ref(variance)], {
    epsilon: float(epsilon),
    ...(momentum === undefined ? {} : { momentum: float(1 - momentum) }),
  });
};

/** ONNX's running variance is the biased one. */
const batchNormTrain: Row<"batchNormTrain"> = (e, node) => {
  const [x, mean, variance, scale, bias] = node.operands as [Value, Value, Value, Value?, Value?];
  const { axis, epsilon, momentum, correction } = node.attrs;
  const { dtype } = x.type;
  const plain = axis === 1 && isWide(x) && correction === 0 && exactAttrs(dtype, epsilon, 1 - momentum);
  const parts = plain ? affine(e, dtype, mean.type.shape, scale, bias) : undefined;
  if (!parts || 1 - Math.fround(1 - momentum) !== momentum) return e.decompose(node);
  const attrs = { epsilon: float(epsilon), momentum: float(1 - momentum), training_mode: int(1) };
  return e.ops("BatchNormalization", [e.ref(x), ...parts, e.ref(mean), e.ref(variance)], attrs, 3);
};

const groupNorm: Row<"groupNorm"> = (e, node) => {
  const [x, scale, bias] = node.operands as [Value, Value?, Value?];
  const { groups, epsilon } = node.attrs;
  // Before opset 21 scale and bias were one per group.
  const allowed = e.model.allows(21) && isWide(x) && exactAttrs(x.type.dtype, epsilon);
  const parts = allowed ? affine(e, x.type.dtype, [x.type.shape[1]!], scale, bias) : undefined;
  if (!parts) return e.decompose(node);
  return e.op("GroupNormalization", [e.ref(x), ...parts], { epsilon: float(epsilon), num_groups: int(groups) });
};

const instanceNorm: Row<"instanceNorm"> = (e, node) => {
  const [x, scale, bias] = node.operands as [Value, Value?, Value?];
  const { epsilon } = node.attrs;
  const exact = isWide(x) && exactAttrs(x.type.dtype, epsilon);
  const parts = exact ? affine(e, x.type.dtype, [x.type.shape[1]!], scale, bias) : undefined;
  return parts ? e.op("InstanceNormalization", [e.ref(x), ...parts], { epsilon: float(epsilon) }) : e.decompose(node);
};

const layerNorm: Row<"layerNorm"> = (e, node) => {
  const [x, scale, bias] = node.operands as [Value, Value?, Value?];
  const { epsilon } = node.attrs;
  const { dtype, shape } = x.type;
  const axis = normalizeAxis(node.attrs.axis, shape.length);
  const normalized = shape.slice(axis);
  if (dtype !== "f32" || (!scale && !isStaticShape(normalized))) return e.decompose(node);
  const weight = scale ? e.ref(scale) : filled(e, dtype, normalized as readonly number[], 1);
  return e.op("LayerNormalization", [e.ref(x), weight, bias && e.ref(bias)], {
    axis: int(axis - shape.length),
    epsilon: float(epsilon),
  });
};

const rmsNorm: Row<"rmsNorm"> = (e, node) => {
  const [x, scale] = node.operands as [Value, Value?];
  const { shape, dtype } = x.type;
  if (!e.model.allows(23) || dtype !== "f32" || !scale) return e.decompose(node);
  const axis = normalizeAxis(node.attrs.axis, shape.length) - shape.length;
  return e.op("RMSNormalization", [e.ref(x), e.ref(scale)], { axis: int(axis), epsilon: float(node.attrs.epsilon) });
};

const alongAxis =
  (op: "Softmax" | "LogSoftmax"): Row<"softmax"> & Row<"logSoftmax"> =>
  (e, node) => {
    const x = node.operands[0]!;
    return e.op(op, [e.ref(x)], { axis: int(normalizeAxis(node.attrs.axis, x.type.shape.length)) });
  };

const logSumExp: Row<"logSumExp"> = (e, node) => {
  const { axes, keepDims } = node.attrs;
  const x = node.operands[0]!;
  if (axes.length === 0 || !isFloat(x.type.dtype)) return e.decompose(node);
  return e.op("ReduceLogSumExp", [e.ref(x), e.ints(axes)], { keepdims: flag(keepDims) });
};

const lrn: Row<"lrn"> = (e, node) => {
  const { before, after, alpha, beta, bias } = node.attrs;
  const size = before + after + 1;
  const x = node.operands[0]!;
  // ONNX Runtime takes windows of an odd size only.
  const centred = before === after;
  if (!centred || !isWide(x) || !exactAttrs(x.type.dtype, alpha, beta, bias)) return e.decompose(node);
  return e.op("LRN", [e.ref(x)], { size: int(size), alpha: float(alpha), beta: float(beta), bias: float(bias) });
};

export const normalize = {
  batchNorm,
  batchNormTrain,
  groupNorm,
  instanceNorm,
  layerNorm,
  rmsNorm,
  softmax: alongAxis("Softmax"),
  logSoftmax: alongAxis("LogSoftmax"),
  logSumExp,
  lrn,
  // ONNX's op has no least divisor.
  lpNormalize: "decompose",
} satisfies SomeRows;
