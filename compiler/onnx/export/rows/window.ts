/** What convolutions and pools share: layouts, padding, windows. */

import { type Dim, dimMul } from "../../../../ir/dim.js";
import { type DType, isFloat } from "../../../../ir/dtype.js";
import { ModelError } from "../../../../ir/errors.js";
import type { Shape } from "../../../../ir/graph.js";
import { channelsOf, type Layout, spatialOf, type WindowAttrs } from "../../../../ir/ops/window-geometry.js";
import { ints, type Ref } from "../draft.js";
import type { Emitter } from "../emitter.js";

/** [N, …, C] → [N, C, …]. */
export function channelsFirst(e: Emitter, x: Ref, rank: number, layout: Layout): Ref {
  if (layout === "channelsFirst") return x;
  return e.transpose(x, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, a) => a + 1)]);
}

/** [N, C, …] → the layout. */
export function inLayout(e: Emitter, y: Ref, rank: number, layout: Layout): Ref {
  if (layout === "channelsFirst") return y;
  return e.transpose(y, [0, ...Array.from({ length: rank - 2 }, (_, a) => a + 2), 1]);
}

/** The shape with the channels second. */
export const firstShape = (shape: Shape, layout: Layout): Shape => [
  shape[0]!,
  channelsOf(shape, layout),
  ...spatialOf(shape, layout),
];

/** Whether ONNX's attribute can state these paddings. */
export const statedPads = (pads: readonly Dim[]): pads is readonly number[] =>
  pads.every((p) => typeof p === "number" && p >= 0);

/** x [N, C, …] with its padding: as attribute where that can state it, else as a node (which also crops). */
export function padded(
  e: Emitter,
  x: Ref,
  { padLow, padHigh }: Pick<WindowAttrs, "padLow" | "padHigh">,
  fill: () => Ref,
  /** What ONNX Runtime demands of pools: padding stays below the window. */
  below: readonly number[] = [],
): { readonly x: Ref; readonly pads: readonly number[]; readonly stated: boolean } {
  const pads = [...padLow, ...padHigh];
  const small = below.length === 0 || pads.every((p, i) => typeof p === "number" && p < below[i % below.length]!);
  if (statedPads(pads) && small) return { x, pads, stated: true };
  const amounts = e.sizes.shape([0, 0, ...padLow, 0, 0, ...padHigh]);
  return { x: e.op("Pad", [x, amounts, fill()]), pads: pads.map(() => 0), stated: false };
}

export const windowAttrs = (
  window: readonly number[],
  { strides, dilations }: WindowAttrs,
  pads: readonly number[],
) => ({
  kernel_shape: ints(window),
  strides: ints(strides),
  dilations: ints(dilations),
  pads: ints(pads),
});

/** [N, C, …] as [N·C, 1, …], so that one kernel serves all channels. */
export const apart = ([n, c, ...spatial]: Shape): Shape => [dimMul(n!, c!), 1, ...spatial];

/** Integers of up to 32 bits are summed in doubles, which hold every sum of them, and wrap on the way back. */
export function throughDoubles(dtype: DType, what: string): DType {
  if (isFloat(dtype)) return dtype;
  if (dtype === "i64" || dtype === "u64")
    throw new ModelError({ message: `ONNX has no ${what} of ${dtype}`, hint: "cast to f64 or to a type of 32 bits" });
  return "f64";
}

export const fromDoubles = (e: Emitter, x: Ref, through: DType, to: DType): Ref =>
  through === to || isFloat(to) ? e.cast(x, through, to) : e.cast(e.cast(x, through, "i64"), "i64", to);
