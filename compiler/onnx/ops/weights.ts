/** Matrices of weights that a file stores as integers, as `dequantize` of the IR has them: blocks along the last axis, 4 bits packed. */

import { asType, np, reshapeTo } from "../../../ir/build.js";
import type { Value } from "../../../ir/graph.js";
import { transpose } from "../../../ir/ops/movement.js";
import { dequantize } from "../../../ir/ops/quantized.js";
import { type Tensor, tensorFrom } from "../../../ir/tensor.js";
import { host } from "../build.js";

export interface QuantizedWeights {
  readonly values: Value;
  readonly scale: Value;
  readonly zero: Value | undefined;
  readonly axis: number;
  /** Elements of the axis that share a scale; 0: a scale is for an index of the axis, or for all. */
  readonly block: number;
}

const turn = (v: Value): Value => transpose([v], { perm: [1, 0] });

/** Constants of 4 bits as bytes of two, the lower first; numbers with a sign have 8 added. */
function packed(t: Tensor): Value {
  const [rows, width] = t.shape as readonly [number, number];
  const shift = t.dtype === "i4" ? 8 : 0;
  const out = new Uint8Array((rows * width) / 2);
  for (let i = 0; i < out.length; i++)
    out[i] = (Number(t.data[2 * i]) + shift) | ((Number(t.data[2 * i + 1]) + shift) << 4);
  return host(tensorFrom("u8", [rows, width / 2], out));
}

function turned({ dtype, shape, data }: Tensor): Tensor {
  const [rows, width] = shape as readonly [number, number];
  return tensorFrom(
    dtype,
    [width, rows],
    Array.from({ length: rows * width }, (_, i) => Number(data[(i % rows) * width + Math.floor(i / rows)])),
  );
}

/** The f32 weights; undefined where these are no constant matrix of such integers. */
export function dequantizedWeights({ values, scale, zero, axis, block }: QuantizedWeights): Value | undefined {
  const { dtype, shape } = values.type;
  if (values.def.op !== "constant" || shape.length !== 2 || scale.type.dtype !== "f32") return undefined;
  const isFour = dtype === "i4" || dtype === "u4";
  if (!isFour && dtype !== "i8" && dtype !== "u8") return undefined;
  const { value } = values.def.attrs;
  const along = (p: Value): Value => {
    if (p.type.shape.every((d) => d === 1)) return reshapeTo(p, [1, 1]);
    return p.type.shape.length === 2 ? p : reshapeTo(p, axis === 0 ? [-1, 1] : [1, -1]);
  };
  if (!isFour) {
    const parts = [along(scale), ...(zero ? [along(zero)] : [])];
    if (block === 0 || axis === 1) return dequantize([values, ...parts], { bits: 8, block });
    return turn(dequantize([turn(values), ...parts.map(turn)], { bits: 8, block }));
  }
  // Scales of columns, or blocks down the columns, belong to rows that run along K.
  const isTurned = axis === 0 ? block > 0 : block === 0 && scale.type.shape.some((d) => d !== 1);
  const own = isTurned ? turned(value) : value;
  if (own.shape[1]! % 2 !== 0) return undefined;
  const middle = (p: Value | undefined): Value | undefined => {
    if (dtype === "u4") return p && asType(p, "u8");
    const eight = host(tensorFrom("i32", [], [8]));
    return p === undefined ? asType(reshapeTo(eight, [1, 1]), "u8") : asType(shifted(p, eight), "u8");
  };
  const shifts = middle(zero && along(zero));
  const parts = [along(scale), ...(shifts ? [shifts] : [])].map((p) => (isTurned ? turn(p) : p));
  const rows = dequantize([packed(own), ...parts], { bits: 4, block });
  return isTurned ? turn(rows) : rows;
}

const shifted = (p: Value, by: Value): Value => np.add(asType(p, "i32"), by);
