/** Geometry that convolutions and pools of ONNX share: auto_pad, pads, strides, dilations, ceil_mode. */
import {
  type Dim,
  dimAdd,
  dimBounds,
  dimCeilDiv,
  dimFloorDiv,
  dimMax,
  dimMin,
  dimMul,
  dimSub,
} from "../../../ir/dim.js";
import type { NodeContext } from "../context.js";

export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padLow: readonly Dim[];
  readonly padHigh: readonly Dim[];
}

export function perAxis(c: NodeContext, name: string, axes: number, fallback: number): readonly number[] {
  const list = c.attrs.ints(name, undefined);
  if (list === undefined) return Array<number>(axes).fill(fallback);
  if (list.length !== axes) throw c.error(`"${name}" has ${list.length} values for ${axes} spatial axes`);
  return list;
}

/** Pads as the node states them, for the given input size. */
export function readWindow(c: NodeContext, spatial: readonly Dim[], kernel: readonly number[]): Window {
  const axes = spatial.length;
  const strides = perAxis(c, "strides", axes, 1);
  const dilations = perAxis(c, "dilations", axes, 1);
  const reach = kernel.map((k, a) => dilations[a]! * (k - 1) + 1);
  const auto = c.attrs.oneOf("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"], "NOTSET");
  const none = spatial.map(() => 0);
  if (auto === "VALID") return { kernel, strides, dilations, padLow: none, padHigh: none };
  if (auto === "NOTSET") {
    const pads = perPads(c, axes);
    return { kernel, strides, dilations, padLow: pads.slice(0, axes), padHigh: pads.slice(axes) };
  }
  // SAME: ⌈size / stride⌋ positions; the odd pad goes to the named side.
  const total = spatial.map((size, a) => {
    const needed = dimAdd(dimMul(dimSub(dimCeilDiv(size, strides[a]!), 1), strides[a]!), reach[a]!);
    return dimMax(dimSub(needed, size), 0);
  });
  const small = total.map((t) => dimFloorDiv(t, 2));
  const large = total.map((t, a) => dimSub(t, small[a]!));
  return auto === "SAME_UPPER"
    ? { kernel, strides, dilations, padLow: small, padHigh: large }
    : { kernel, strides, dilations, padLow: large, padHigh: small };
}

export function perPads(c: NodeContext, axes: number): readonly number[] {
  const pads = c.attrs.ints("pads", undefined) ?? Array<number>(2 * axes).fill(0);
  if (pads.length !== 2 * axes) throw c.error(`"pads" has ${pads.length} values for ${axes} spatial axes`);
  return pads;
}

/**
 * The window with padHigh raised so that rounding down gives what ceil_mode asks for. A last window that would start in the
 * padding on the right is left out, as in PyTorch and ONNX since opset 19.
 */
export function roundUp(w: Window, spatial: readonly Dim[]): Window {
  const padHigh = w.padHigh.map((high, a) => {
    const reach = w.dilations[a]! * (w.kernel[a]! - 1) + 1;
    const stride = w.strides[a]!;
    const room = dimSub(dimAdd(dimAdd(spatial[a]!, w.padLow[a]!), high), reach);
    const positions = dimAdd(dimCeilDiv(room, stride), 1);
    const lastStart = dimMul(dimSub(positions, 1), stride);
    // lastStart ≥ size + padLow: drop that window.
    const over = dimSub(lastStart, dimAdd(spatial[a]!, w.padLow[a]!));
    const bounds = dimBounds(over);
    const kept =
      bounds.max < 0
        ? positions
        : bounds.min >= 0
          ? dimSub(positions, 1)
          : // Only sizes below the stride decide; min picks the smaller count.
            dimMin(positions, dimAdd(dimFloorDiv(dimSub(dimAdd(spatial[a]!, w.padLow[a]!), 1), stride), 1));
    const needed = dimAdd(dimMul(dimSub(kept, 1), stride), reach);
    return dimSub(needed, dimAdd(spatial[a]!, w.padLow[a]!));
  });
  return { ...w, padHigh };
}
