/**
 * Stream weights: products with weights of few bits read these as they are stored, and widen them in registers.
 *
 *   dotGeneral %x, transpose(dequantize %w %s %z)   ⇒   weightProduct %x %w %s %z
 *   dotGeneral %x, cast f32 (%w: f16)               ⇒   weightProduct %x (transpose %w)
 *
 * Weights are constants; what they lie like is turned when compiling. Where a kernel can't read them, they are widened by a run as before.
 */

import { asType, broadcastTo, reshapeTo } from "../../ir/build.js";
import { dimBounds, dimProduct } from "../../ir/dim.js";
import { dtypeInfo } from "../../ir/dtype.js";
import { isStaticShape, type NodeOf, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { type DotAttrs, freeAxes } from "../../ir/ops/contraction.js";
import { transpose } from "../../ir/ops/movement.js";
import { type DequantizeAttrs, weightProduct } from "../../ir/ops/quantized.js";
import { zeros } from "../../ir/tensor.js";
import { node, rule } from "../pattern.js";
import { rewritePass } from "../rewrite.js";

/** Weights below which a kernel of their own is not worth its code. */
const fewest = 1 << 12;

/**
 * Rows of the other operand from which on weights that are widened and packed once pay: products over panels are a sixth faster (45 against 38
 * GFLOP/s on a Zen 4), and reading weights takes little of the time. Where the number of rows is known in the run only, few are expected.
 */
const manyRows = 8;

/** The value through transposes of a matrix, and whether these turn it. */
function turned(v: Value): readonly [Value, boolean] {
  if (v.def.op !== "transpose" || v.type.shape.length !== 2) return [v, false];
  const [inner, isTurned] = turned(v.def.operands[0]!);
  return [inner, v.def.attrs.perm[0] === 1 ? !isTurned : isTurned];
}

type Rows = readonly [operands: readonly Value[], attrs: { readonly bits: number; readonly block: number }];

/** Operands and attributes of the product with a matrix b, of which one axis is contracted. */
function rowsOf(b: Value, contracted: number): Rows | undefined {
  const [inner, isTurned] = turned(b);
  const axis = isTurned ? 1 - contracted : contracted;
  const { def } = inner;
  if (def.op === "cast") {
    const [half] = def.operands as readonly [Value];
    const { dtype, shape } = half.type;
    if ((dtype !== "f16" && dtype !== "bf16") || !((shape[axis] as number) >= 4)) return undefined;
    const rows = byRows(half, axis, 1);
    return rows && [[rows], { bits: 16, block: 0 }];
  }
  return def.op === "dequantize" ? quantised(def, axis) : undefined;
}

function quantised(n: NodeOf<"dequantize", DequantizeAttrs>, axis: number): Rows | undefined {
  const [values, scale, zero] = n.operands as readonly [Value, Value, Value?];
  const { bits, block } = n.attrs;
  const { dtype } = values.type;
  const width = dtypeInfo[dtype].bits;
  if (!(dtype === "u8" || (dtype === "i8" && bits === 8)) || width !== 8) return undefined;
  if ((bits < 8 || block > 0) && axis !== 1) return undefined;
  const group = 128 / bits;
  if (block % group !== 0) return undefined;
  const rows = byRows(values, axis, block === 0 ? 16 : (block * bits) / 8);
  if (rows === undefined) return undefined;
  const [count, bytes] = rows.type.shape as readonly [number, number];
  const k = n.results[0]!.type.shape[axis] as number;
  const blocks = block === 0 ? 1 : Math.ceil(k / block);
  if (block > 0 && bytes !== (blocks * block * bits) / 8) return undefined;
  const perRow = (p: Value): Value | undefined => {
    const { shape } = p.type;
    const single = shape.every((d) => d === 1);
    if (block > 0) return shape.length === 2 && shape[0] === count && shape[1] === blocks ? p : undefined;
    if (single) return broadcastTo(reshapeTo(p, [1, 1]), [count, 1]);
    return shape.length === 2 && shape[1 - axis] === count && shape[axis] === 1 ? reshapeTo(p, [count, 1]) : undefined;
  };
  const scales = perRow(scale);
  const shifts =
    zero === undefined ? undefined : zero.type.shape.every((d) => d === 1) ? reshapeTo(zero, [1, 1]) : perRow(zero);
  if (scales === undefined || (zero !== undefined && shifts === undefined)) return undefined;
  return [[rows, asType(scales, "f32"), ...(shifts ? [shifts] : [])], { bits, block }];
}

/** A constant matrix as rows that run along `axis`, of a multiple of `unit` elements: zeros at their ends. */
function byRows(v: Value, axis: number, unit: number): Value | undefined {
  if (v.def.op !== "constant") return undefined;
  const { dtype, data, shape } = v.def.attrs.value;
  const [rows, width] = [shape[1 - axis]!, shape[axis]!];
  const to = Math.ceil(width / unit) * unit;
  if (axis === 1 && to === width) return v;
  const out = zeros(dtype, [rows, to]);
  // All typed arrays of one tensor are of one kind.
  const [from, target] = [data as Uint8Array, out.data as Uint8Array];
  const [rowStride, columnStride] = axis === 1 ? [width, 1] : [1, rows];
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < width; j++) target[i * to + j] = from[i * rowStride + j * columnStride]!;
  return constant([], { value: out });
}

export const streamWeights = rewritePass(
  "stream-weights",
  [
    rule("stream-weights", node(["dotGeneral"], "n"), ({ n }) => {
      const [a, b] = n.operands as readonly [Value, Value];
      const { batchB, contractA, contractB } = n.attrs as DotAttrs;
      const { dtype, shape } = b.type;
      if (dtype !== "f32" || shape.length !== 2 || batchB.length > 0 || contractB.length !== 1 || !isStaticShape(shape))
        return undefined;
      if ((shape as readonly number[]).reduce((p, d) => p * d, 1) < fewest) return undefined;
      const free = freeAxes(a.type.shape.length, [], contractA);
      if (dimBounds(dimProduct(free.map((axis) => a.type.shape[axis]!))).min >= manyRows) return undefined;
      const found = rowsOf(b, contractB[0]!);
      if (found === undefined) return undefined;
      const [rows, attrs] = found;
      // The contracted axis of a comes last.
      const order = [...free, contractA[0]!];
      const moved = order.every((axis, i) => axis === i) ? a : transpose([a], { perm: order });
      return weightProduct([moved, ...rows], attrs);
    }),
  ],
  true,
);
