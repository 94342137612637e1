/**
 * What moves or compares elements does so before they are dequantised, where that means the same: D(q) = (q − zero) · scale is one
 * function of each element, and with scale > 0 a growing one.
 *
 *   move(D(q)) → D(move(q))      maxPool(D(q)) → D(maxPool(q))      relu(D(q)) → D(max(q, zero))
 *   concat(D(p), D(q)) → D(concat(p, q)), of one scale and zero point      Q(D(q)) → q, of one scale and zero point
 *
 * Exact: rounding (q − zero) · scale / scale, less than an ulp off a whole number below 2¹⁷, gives that number.
 */
import { asType, broadcastTo, concatenate, np, rankOf, reshapeTo } from "../../../ir/build.js";
import type { DType } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import { max } from "../../../ir/ops/elementwise.js";
import { sameTensor } from "../../../ir/tensor.js";
import { constantOf } from "../../../passes/values/index.js";
import { type Bound, type ImportOp, isValue, NodeContext, type QuantizedOrigin } from "../context.js";

const moving: ReadonlySet<string> = new Set([
  "DepthToSpace",
  "Expand",
  "Flatten",
  "Gather",
  "Identity",
  "MaxPool",
  "Relu",
  "Reshape",
  "Slice",
  "SpaceToDepth",
  "Split",
  "Squeeze",
  "Transpose",
  "Unsqueeze",
]);

const isSingle = (v: Value): boolean => rankOf(v) === 0 || (rankOf(v) === 1 && v.type.shape[0] === 1);

/** The f32 value that bytes of one scale and zero point stand for. */
export function dequantize({ values, scale, zero }: QuantizedOrigin): Value {
  const wide = asType(values, "i32");
  const centred = zero === undefined ? wide : np.sub(wide, asType(reshapeTo(zero, []), "i32"));
  return np.mul(asType(centred, "f32"), reshapeTo(scale, []));
}

/** The origin of a value that was dequantised from bytes with one positive scale, which is known, and one zero point. */
function originOf(c: NodeContext, bound: Bound | undefined): QuantizedOrigin | undefined {
  const origin = isValue(bound) ? c.services.dequantized.get(bound) : undefined;
  if (origin === undefined || !isByte(origin.values.type.dtype) || origin.scale.type.dtype !== "f32") return undefined;
  if (!isSingle(origin.scale) || (origin.zero && !isSingle(origin.zero))) return undefined;
  const scale = constantOf(origin.scale)?.data[0];
  return Number(scale) >= 2 ** -126 && Number(scale) < Infinity ? origin : undefined;
}

const isByte = (d: DType): boolean => d === "i8" || d === "u8";

/** Whether two values are one constant, or both absent. */
function areEqual(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  const [p, q] = [a, b].map((v) => v && constantOf(reshapeTo(v, [])));
  return p !== undefined && q !== undefined && sameTensor(p, q);
}

/** The bytes that quantising input 0 gives back, if it was dequantised with the same scale and zero point. */
export function requantized(c: NodeContext, to: DType): Value | undefined {
  const origin = originOf(c, c.inputs[0]);
  const same = origin?.values.type.dtype === to && areEqual(origin.scale, c.input(1));
  return same && areEqual(origin.zero, c.optional(2)) ? origin.values : undefined;
}

/** What the row makes of the node, on bytes where its input is dequantised and the op only moves or compares elements. */
export function onBytes(row: ImportOp, c: NodeContext): Bound | readonly Bound[] {
  if (c.node.domain !== "" && c.node.domain !== "ai.onnx") return row(c);
  if (c.node.opType === "Concat") return concatenated(c) ?? row(c);
  const origin = moving.has(c.node.opType) ? originOf(c, c.inputs[0]) : undefined;
  if (origin === undefined || (c.node.opType === "MaxPool" && c.node.outputs.length > 1)) return row(c);
  const { values, zero } = origin;
  const made =
    c.node.opType === "Relu"
      ? zero && max([values, broadcastTo(reshapeTo(zero, []), values.type.shape)])
      : row(new NodeContext(c.node, c.since, c.services, c.scope, [values, ...c.inputs.slice(1)]));
  if (made === undefined) return row(c);
  const results: readonly Bound[] = Array.isArray(made) ? made : [made as Bound];
  return results.map((r) => (isValue(r) ? tracked(c, { ...origin, values: r }) : r));
}

function concatenated(c: NodeContext): Value | undefined {
  const origins = c.inputs.map((b) => originOf(c, b));
  const [first] = origins;
  if (first === undefined) return undefined;
  const fits = origins.every(
    (o) =>
      o?.values.type.dtype === first.values.type.dtype &&
      areEqual(o.scale, first.scale) &&
      areEqual(o.zero, first.zero),
  );
  if (!fits) return undefined;
  const rank = rankOf(first.values);
  const axis = c.axis(c.attrs.requiredInt("axis"), rank);
  return tracked(c, {
    ...first,
    values: concatenate(
      (origins as QuantizedOrigin[]).map((o) => o.values),
      axis,
    ),
  });
}

/** The float value, with its origin noted. */
function tracked(c: NodeContext, origin: QuantizedOrigin): Value {
  const y = dequantize(origin);
  c.services.dequantized.set(y, origin);
  return y;
}
