/** Products of matrices as numpy has them, and integers less their zero points. */

import { asType, broadcastTo, expandDims, np, rankOf, reshapeTo, squeeze } from "../../../ir/build.js";
import type { Dim } from "../../../ir/dim.js";
import type { Value } from "../../../ir/graph.js";
import { broadcastShapes } from "../../../ir/infer.js";
import { type DotAttrs, dotGeneral } from "../../../ir/ops/contraction.js";
import { inF32 } from "./elementwise.js";

/** A contraction. f16 and bf16 sum in f32 and round once, so that doing it in f32 changes nothing but the speed. */
export const product = (operands: readonly Value[], attrs: DotAttrs): Value =>
  inF32(operands, (values) => dotGeneral(values, attrs));

/** numpy's matmul: the last two axes multiply, the others broadcast; vectors get an axis that disappears again. */
export function matmul(a: Value, b: Value): Value {
  if (rankOf(a) === 1) return squeeze(matmul(expandDims(a, 0), b), rankOf(b) === 1 ? 0 : rankOf(b) - 2);
  if (rankOf(b) === 1) return squeeze(matmul(a, expandDims(b, 1)), rankOf(a) - 1);
  const contractA = [rankOf(a) - 1];
  // A shared right matrix: one large product.
  if (rankOf(b) === 2) return product([a, b], { batchA: [], batchB: [], contractA, contractB: [0] });
  const batchShape = broadcastShapes(a.type.shape.slice(0, -2), b.type.shape.slice(0, -2));
  const batch = batchShape.map((_, i) => i);
  const wideA = broadcastTo(a, [...batchShape, ...a.type.shape.slice(-2)]);
  const wideB = broadcastTo(b, [...batchShape, ...b.type.shape.slice(-2)]);
  return product([wideA, wideB], {
    batchA: batch,
    batchB: batch,
    contractA: [batch.length + 1],
    contractB: [batch.length],
  });
}

/** An integer matrix minus its zero point, as i32. */
export function centred(x: Value, zeroPoint: Value | undefined, axis?: number): Value {
  const wide = asType(x, "i32");
  if (!zeroPoint) return wide;
  const zero = asType(zeroPoint, "i32");
  if (rankOf(zero) === 1 && axis !== undefined && zero.type.shape[0] !== 1) {
    const shape: Dim[] = x.type.shape.map((d, i) => (i === axis ? d : 1));
    return np.sub(wide, reshapeTo(zero, shape));
  }
  return np.sub(wide, rankOf(zero) <= 1 ? reshapeTo(zero, []) : zero);
}
