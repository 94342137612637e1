/** Ops on quantised tensors: QLinear…, products of bytes. */
import { asType, concatenate, full, mean, np, rankOf, swapAxes, where } from "../../../../ir/build.js";
import type { Value } from "../../../../ir/graph.js";
import * as act from "../../../../ir/ops/activation.js";
import { sigmoid } from "../../../../ir/ops/elementwise.js";
import { softmax } from "../../../../ir/ops/softmax.js";
import type { ImportOp, NodeContext, OpRow } from "../../context.js";
import { averagePoolOf, maxPoolOf } from "../pool.js";
import { centred, matmul } from "../products.js";
import {
  dequantizeLinear,
  dynamicParameters,
  qLinearConvOf,
  quantizeLinear,
  quantizeTo,
  requantize,
} from "../quantize.js";
import { integerMatmul } from "../quantized.js";
import { dynamicQuantizeLstm } from "../recurrent.js";
import { flatScale, scalar, withBias } from "./common.js";
import { toChannelsLast, toChannelsSecond } from "./fused.js";

/** The quantised value as f32: inputs i (values), i+1 (scale), i+2 (zero point). */
function dequantized(c: NodeContext, i: number): Value {
  return np.mul(asType(centred(c.input(i), c.optional(i + 2)), "f32"), scalar(c.input(i + 1)));
}

/** f32 as the quantised type of the zero point at input i+1, with the scale at input i. */
function quantized(c: NodeContext, y: Value, i: number): Value {
  const zero = c.optional(i + 1);
  const to = zero?.type.dtype ?? c.input(0).type.dtype;
  return quantizeTo(y, scalar(c.input(i)), zero && scalar(zero), to);
}

const qBinary =
  (op: (a: Value, b: Value) => Value): ImportOp =>
  (c) =>
    quantized(c, op(dequantized(c, 0), dequantized(c, 3)), 6);

const qUnary =
  (op: (x: Value, c: NodeContext) => Value): ImportOp =>
  (c) =>
    quantized(c, op(dequantized(c, 0), c), 3);

/** Runs `op` with the channels second, where they come last. */
function channelsSecond(c: NodeContext, x: Value, op: (x: Value) => Value): Value {
  return c.attrs.flag("channels_last", false) ? toChannelsLast(op(toChannelsSecond(x))) : op(x);
}

const spatialAxes = (v: Value) => v.type.shape.map((_, i) => i).filter((i) => i >= 2);

const qConcat: ImportOp = (c) => {
  const parts = Array.from({ length: (c.count - 2) / 3 }, (_, k) => dequantized(c, 2 + 3 * k));
  const y = concatenate(parts, c.attrs.requiredInt("axis"));
  return quantizeTo(y, scalar(c.input(0)), scalar(c.input(1)), c.input(1).type.dtype);
};

const qSoftmax: ImportOp = qUnary((x, c) => {
  const axis = c.axis(c.attrs.int("axis", -1), rankOf(x));
  if (c.attrs.int("opset", 13) >= 13 || axis === rankOf(x) - 1) return softmax([x], { axis });
  throw c.error("softmax over several axes (opset below 13) is not supported");
});

const qGemm: ImportOp = (c) => {
  const side = (i: number, transposed: boolean, axis: number): Value => {
    const v = centred(c.input(i), c.optional(i + 2), axis);
    return transposed ? swapAxes(v, 0, 1) : v;
  };
  const transB = c.attrs.flag("transB", false);
  let acc = matmul(side(0, c.attrs.flag("transA", false), 0), side(3, transB, transB ? 0 : 1));
  const bias = c.optional(6);
  if (bias) acc = np.add(acc, bias);
  const scales = np.mul(np.mul(scalar(c.input(1)), asType(flatScale(c.input(4)), "f32")), c.attrs.float("alpha", 1));
  if (!c.has(7)) return np.mul(asType(acc, "f32"), scales);
  const zero = c.optional(8) ?? full("u8", [], 0);
  return requantize(acc, np.div(scales, scalar(c.input(7))), zero, zero.type.dtype);
};

const dynamicQuantizeMatMul: ImportOp = (c) => {
  const a = c.input(0);
  const { scale, zero } = dynamicParameters(a);
  const acc = integerMatmul(quantizeTo(a, scale, zero, "u8"), asType(zero, "u8"), c.input(1), c.optional(3));
  return withBias(np.mul(asType(acc, "f32"), np.mul(scale, flatScale(c.input(2)))), c.optional(4));
};

const matMulIntegerToFloat: ImportOp = (c) => {
  const [a, b] = [c.input(0), c.input(1)];
  const acc = integerMatmul(a, c.optional(4), b, c.optional(5));
  const scale = np.mul(flatScale(c.input(2)), flatScale(c.input(3)));
  return withBias(np.mul(asType(acc, "f32"), scale), c.optional(6));
};

export const quantizedRows: Readonly<Record<string, OpRow>> = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  QLinearAdd: qBinary((a, b) => np.add(a, b)),
  QLinearMul: qBinary((a, b) => np.mul(a, b)),
  QLinearSigmoid: qUnary((x) => sigmoid([x])),
  QLinearLeakyRelu: qUnary((x, c) => act.leakyRelu([x], { slope: c.attrs.float("alpha", 0.01) })),
  QLinearSoftmax: qSoftmax,
  QLinearConcat: qConcat,
  QLinearConv: (c) => channelsSecond(c, c.input(0), (x) => qLinearConvOf(c, x)),
  QLinearAveragePool: qUnary((x, c) => channelsSecond(c, x, (v) => averagePoolOf(c, v))),
  QLinearGlobalAveragePool: qUnary((x, c) => channelsSecond(c, x, (v) => mean(v, spatialAxes(v), { keepDims: true }))),
  QLinearReduceMean: qUnary((x, c) =>
    mean(x, c.axes(c.attrs.ints("axes", undefined) ?? x.type.shape.map((_, i) => i), rankOf(x)), {
      keepDims: c.attrs.flag("keepdims", true),
    }),
  ),
  QLinearWhere: (c) => quantized(c, where(c.input(0), dequantized(c, 1), dequantized(c, 4)), 7),
  QGemm: qGemm,
  DynamicQuantizeMatMul: dynamicQuantizeMatMul,
  DynamicQuantizeLSTM: dynamicQuantizeLstm,
  MatMulIntegerToFloat: matMulIntegerToFloat,
  NhwcMaxPool: (c) => toChannelsLast(maxPoolOf(c, toChannelsSecond(c.input(0)))[0]!),
};
