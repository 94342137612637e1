/** Quantisation: to and from integers and narrow floats, and products of quantised operands. */
import {
  amax,
  amin,
  asType,
  constantLike,
  np,
  rankOf,
  repeatElements,
  reshapeTo,
  sliceAxis,
  where,
} from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import { type DType, dtypeInfo } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { cast } from "../../../ir/ops/cast.js";
import { max, min, round } from "../../../ir/ops/elementwise.js";
import type { Bound, ImportOp, NodeContext, OpRow } from "../context.js";
import { dtypeOfCode } from "../dtype.js";
import { windowOf } from "./conv.js";
import { requantized } from "./dequantized.js";
import { integerConv, integerMatmul, knownZero } from "./quantized.js";
import { dequantizedWeights } from "./weights.js";

/** A scale or zero point shaped to broadcast with x: one value, one per index of an axis, or one per block. */
export function spreadParameter(x: Value, parameter: Value, axis: number, block: number): Value {
  if (rankOf(parameter) === 0 || (rankOf(parameter) === 1 && parameter.type.shape[0] === 1))
    return reshapeTo(parameter, []);
  if (block > 0 && rankOf(parameter) === rankOf(x))
    return sliceAxis(repeatElements(parameter, block, axis), axis, 0, x.type.shape[axis]!);
  if (rankOf(parameter) === 1)
    return reshapeTo(
      parameter,
      x.type.shape.map((d, i): Dim => (i === axis ? d : 1)),
    );
  return parameter;
}

const rangeOf = (dtype: DType): readonly [number, number] => {
  const { bits, signed } = dtypeInfo[dtype];
  return signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
};

/** round(x / scale) + zero, limited to the range of the type. x and scale are floats of one type, zero is of that type too. */
export function quantizeTo(x: Value, scale: Value, zero: Value | undefined, to: DType, saturate = true): Value {
  const ratio = np.div(x, scale);
  if (dtypeInfo[to].kind === "float") {
    const shifted = zero ? np.add(ratio, zero) : ratio;
    return to.startsWith("f8") ? cast([shifted], { to, saturate }) : cast([shifted], { to });
  }
  const rounded = round([ratio]);
  const shifted = zero ? np.add(rounded, zero) : rounded;
  const [low, high] = rangeOf(to);
  const limited = min([max([shifted, constantLike(shifted, low)]), constantLike(shifted, high)]);
  const whole = asType(limited, "i32");
  return asType(whole, to);
}

function axisOf(c: NodeContext, x: Value): number {
  const axis = c.attrs.int("axis", 1);
  return rankOf(x) === 0 ? 0 : axis < 0 ? axis + rankOf(x) : axis;
}

export const quantizeLinear: ImportOp = (c) => {
  const x = c.input(0);
  const axis = axisOf(c, x);
  const block = c.attrs.int("block_size", 0);
  const code = c.attrs.int("output_dtype", 0);
  const zero = c.optional(2);
  const to = zero?.type.dtype ?? (code ? dtypeOfCode(code) : "u8");
  if (to === undefined || to === "string") throw c.error("the type of the result is not supported");
  const same = requantized(c, to);
  if (same) return same;
  const at = (v: Value) => asType(spreadParameter(x, v, axis, block), "f32");
  const shift = zero && knownZero(zero) !== 0 ? at(zero) : undefined;
  return quantizeTo(asType(x, "f32"), at(c.input(1)), shift, to, c.attrs.flag("saturate", true));
};

export const dequantizeLinear: ImportOp = (c) => {
  const x = c.input(0);
  const scale = c.input(1);
  const axis = axisOf(c, x);
  const block = c.attrs.int("block_size", 0);
  const code = c.attrs.int("output_dtype", 0);
  const to = code ? dtypeOfCode(code) : scale.type.dtype;
  if (to === undefined || to === "string") throw c.error("the type of the result is not supported");
  const zero = c.optional(2);
  const integer = dtypeInfo[x.type.dtype].kind === "int";
  const weights = to === "f32" ? dequantizedWeights({ values: x, scale, zero, axis, block }) : undefined;
  if (weights) {
    if (block === 0) c.services.dequantized.set(weights, { values: x, scale, zero, axis });
    return weights;
  }
  const wide = integer
    ? asType(
        zero ? np.sub(asType(x, "i32"), asType(spreadParameter(x, zero, axis, block), "i32")) : asType(x, "i32"),
        "f32",
      )
    : asType(x, "f32");
  const y = asType(np.mul(wide, asType(spreadParameter(x, scale, axis, block), "f32")), to);
  if (integer && block === 0) c.services.dequantized.set(y, { values: x, scale, zero, axis });
  return y;
};

const dynamicQuantizeLinear: ImportOp = (c): readonly Bound[] => {
  const x = c.input(0);
  const { scale, zero } = dynamicParameters(x);
  return [quantizeTo(x, scale, zero, "u8"), scale, asType(zero, "u8")];
};

/** Scale and zero point (as floats) that map the range of x, 0 included, to u8. */
export function dynamicParameters(x: Value): { scale: Value; zero: Value } {
  const low = np.min(amin(x), 0);
  const high = np.max(amax(x), 0);
  const span = np.div(np.sub(high, low), 255);
  const scale = where(np.eq(span, 0), 1, span);
  const zero = round([np.min(np.max(np.div(np.sub(constantLike(low, 0), low), scale), 0), 255)]);
  return { scale, zero };
}

/** An i32 sum of products as the quantised result: (acc · factor) rounded, moved to the zero point, limited. */
export function requantize(acc: Value, factor: Value, zero: Value, to: DType): Value {
  const scaled = round([np.mul(asType(acc, "f32"), factor)]);
  const shifted = np.add(scaled, asType(reshapeTo(zero, []), "f32"));
  const [low, high] = rangeOf(to);
  return asType(asType(np.min(np.max(shifted, low), high), "i32"), to);
}

const scalarF32 = (v: Value): Value => asType(reshapeTo(v, []), "f32");

/** The quantised convolution of x with the node's other operands. */
export function qLinearConvOf(c: NodeContext, x: Value): Value {
  const w = c.input(3);
  const window = windowOf(c, x, w);
  let acc = integerConv(x, c.input(2), w, c.input(5), window, c.attrs.int("group", 1));
  const perChannel = (v: Value): Value =>
    rankOf(v) === 1 && v.type.shape[0] !== 1
      ? reshapeTo(
          v,
          acc.type.shape.map((_, i): Dim => (i === 1 ? v.type.shape[0]! : 1)),
        )
      : reshapeTo(v, []);
  const bias = c.optional(8);
  if (bias) acc = np.add(acc, perChannel(bias));
  const factor = np.div(np.mul(scalarF32(c.input(1)), asType(perChannel(c.input(4)), "f32")), scalarF32(c.input(6)));
  return requantize(acc, factor, c.input(7), c.input(7).type.dtype);
}

const qLinearMatMul: ImportOp = (c) => {
  const [a, b] = [c.input(0), c.input(3)];
  const acc = integerMatmul(a, c.input(2), b, c.input(5));
  const perRow = (v: Value, rank: number, fromEnd: number): Value =>
    rankOf(v) === 1 && v.type.shape[0] !== 1
      ? reshapeTo(
          v,
          Array.from({ length: rank }, (_, i): Dim => (i === rank - fromEnd ? v.type.shape[0]! : 1)),
        )
      : rankOf(v) <= 1
        ? reshapeTo(v, [])
        : v;
  const rank = rankOf(acc);
  const scaleA = asType(perRow(c.input(1), rank, 2), "f32");
  const scaleB = asType(perRow(c.input(4), rank, 1), "f32");
  return requantize(acc, np.div(np.mul(scaleA, scaleB), scalarF32(c.input(6))), c.input(7), c.input(7).type.dtype);
};

export const quantize = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  QLinearConv: (c) => qLinearConvOf(c, c.input(0)),
  QLinearMatMul: qLinearMatMul,
} as const satisfies Readonly<Record<string, OpRow>>;
