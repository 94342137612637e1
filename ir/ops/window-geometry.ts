/**
 * Geometry that convolutions and window reductions share.
 *
 * Output position o and tap t of an axis meet the input at  i = o·stride + t·dilation − padLow.  Taps outside [0, size) see
 * padding. Pads may be symbolic and may be negative: a negative pad crops. The number of output positions is
 *   ⌊(size + padLow + padHigh − dilation·(window − 1) − 1) / stride⌋ + 1
 * Rounding up (ceil mode of pools) and SAME are expressed by padHigh.
 */

import { type Dim, dimAdd, dimBounds, dimFloorDiv, dimSub, dimText } from "../dim.js";
import { ModelError } from "../errors.js";
import { type Shape, type TensorType, typeText } from "../graph.js";

/** channelsFirst: [N, C, …spatial]. channelsLast: [N, …spatial, C]. */
export type Layout = "channelsFirst" | "channelsLast";

export type WindowAttrs = {
  readonly strides: readonly number[];
  readonly padLow: readonly Dim[];
  readonly padHigh: readonly Dim[];
  readonly dilations: readonly number[];
  readonly layout: Layout;
};

/** Docs of the attributes, for definitions. */
export const windowAttrDocs = {
  strides: "distance between output positions, per spatial axis, ≥ 1",
  padLow: "padding before, per spatial axis; negative crops",
  padHigh: "padding after, per spatial axis; negative crops",
  dilations: "distance between taps, per spatial axis, ≥ 1",
  layout: '"channelsFirst" or "channelsLast"',
} as const;

export const spatialOf = <D>(shape: readonly D[], layout: Layout): readonly D[] =>
  layout === "channelsFirst" ? shape.slice(2) : shape.slice(1, -1);
export const channelsOf = <D>(shape: readonly D[], layout: Layout): D =>
  layout === "channelsFirst" ? shape[1]! : shape.at(-1)!;
/** [N, C, …spatial] or [N, …spatial, C]. */
export const imageShape = (n: Dim, c: Dim, spatial: readonly Dim[], layout: Layout): Shape =>
  layout === "channelsFirst" ? [n, c, ...spatial] : [n, ...spatial, c];

/** Checks rank (1 to 3 spatial axes) and the lengths of the attributes. Returns the number of spatial axes. */
export function checkWindow(x: TensorType, attrs: WindowAttrs, window: readonly number[]): number {
  const axes = x.shape.length - 2;
  if (axes < 1 || axes > 3) {
    throw new ModelError({
      message: `${typeText(x)} must have 1 to 3 spatial axes besides batch and channels`,
      hint: "reshape it",
    });
  }
  for (const [name, list] of Object.entries({
    window,
    strides: attrs.strides,
    padLow: attrs.padLow,
    padHigh: attrs.padHigh,
    dilations: attrs.dilations,
  })) {
    if (list.length !== axes)
      throw new ModelError(`${name} [${list.map(dimText)}] needs ${axes} values for ${typeText(x)}`);
  }
  for (const [name, list] of Object.entries({ window, strides: attrs.strides, dilations: attrs.dilations })) {
    if (!list.every((v) => Number.isInteger(v) && v >= 1))
      throw new ModelError(`${name} [${list}] must be integers ≥ 1`);
  }
  return axes;
}

/** Output positions along each spatial axis. Throws where the window never fits. */
export function windowPositions(
  spatial: readonly Dim[],
  window: readonly number[],
  attrs: WindowAttrs,
): readonly Dim[] {
  return spatial.map((size, a) => {
    const reach = attrs.dilations[a]! * (window[a]! - 1) + 1;
    const room = dimSub(dimAdd(size, dimAdd(attrs.padLow[a]!, attrs.padHigh[a]!)), reach);
    if (dimBounds(room).max < 0) {
      throw new ModelError({
        message: `a window of ${reach} (with dilation) does not fit in ${dimText(size)} with padding ${dimText(attrs.padLow[a]!)} and ${dimText(attrs.padHigh[a]!)} at spatial axis ${a}`,
        hint: "pad more, or use a smaller window",
      });
    }
    return dimAdd(dimFloorDiv(room, attrs.strides[a]!), 1);
  });
}

/** Numbers that a reference walks over, spatial axes filled up to three from the left. */
export interface Geometry {
  readonly n: number;
  readonly c: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly window: readonly number[];
  readonly strides: readonly number[];
  readonly padLow: readonly number[];
  readonly dilations: readonly number[];
  readonly layout: Layout;
}

const fill = (list: readonly number[], by: number): readonly number[] => [
  ...new Array<number>(3 - list.length).fill(by),
  ...list,
];

export function geometry(
  n: number,
  c: number,
  inputs: readonly number[],
  outputs: readonly number[],
  window: readonly number[],
  attrs: WindowAttrs,
  dim: (d: Dim) => number,
): Geometry {
  return {
    n,
    c,
    inputs: fill(inputs, 1),
    outputs: fill(outputs, 1),
    window: fill(window, 1),
    strides: fill(attrs.strides, 1),
    padLow: fill(attrs.padLow.map(dim), 0),
    dilations: fill(attrs.dilations, 1),
    layout: attrs.layout,
  };
}

/**
 * Visits every output position with every tap that meets the input, in row-major order: flat positions within the output
 * plane, the input plane and the window.
 */
export function forEachTap(g: Geometry, visit: (output: number, input: number, tap: number) => void): void {
  const [di, hi, wi] = g.inputs as [number, number, number];
  const [, ho, wo] = g.outputs as [number, number, number];
  const [kd, kh, kw] = g.window as [number, number, number];
  forEachPosition(g, (d, h, w) => {
    const output = (d * ho + h) * wo + w;
    for (let td = 0; td < kd; td++) {
      const id = d * g.strides[0]! + td * g.dilations[0]! - g.padLow[0]!;
      if (id < 0 || id >= di) continue;
      for (let th = 0; th < kh; th++) {
        const ih = h * g.strides[1]! + th * g.dilations[1]! - g.padLow[1]!;
        if (ih < 0 || ih >= hi) continue;
        for (let tw = 0; tw < kw; tw++) {
          const iw = w * g.strides[2]! + tw * g.dilations[2]! - g.padLow[2]!;
          if (iw >= 0 && iw < wi) visit(output, (id * hi + ih) * wi + iw, (td * kh + th) * kw + tw);
        }
      }
    }
  });
}

function forEachPosition(g: Geometry, visit: (d: number, h: number, w: number) => void): void {
  const [d, h, w] = g.outputs as [number, number, number];
  for (let i = 0; i < d; i++) for (let j = 0; j < h; j++) for (let k = 0; k < w; k++) visit(i, j, k);
}

/** Strides in elements of batch, channel and flat spatial position, for [N, C, …] or [N, …, C]. */
export function planeStrides(channels: number, plane: number, layout: Layout): { n: number; c: number; s: number } {
  return layout === "channelsFirst"
    ? { n: channels * plane, c: plane, s: 1 }
    : { n: channels * plane, c: 1, s: channels };
}

export const planeSize = (spatial: readonly number[]): number => spatial.reduce((p, d) => p * d, 1);
