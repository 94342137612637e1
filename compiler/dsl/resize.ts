/** Padding by copies of the image and interpolation, by PyTorch's definitions. */

import {
  concatenate,
  dtypeOf,
  flip,
  moveAxis,
  padConstant,
  permute,
  rankOf,
  repeatElements,
  reshapeTo,
  shapeOf,
  sizeOf,
  sliceAxis,
  staticSize,
  tile,
} from "../../ir/build.js";
import { type Dim, dimBounds, dimMul, dimSub } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { typeText, type Value } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { tensorFrom } from "../../ir/tensor.js";
import { type Size, sizes } from "./functional.js";

export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/** Elements before and after an axis. */
export type Pads = readonly (readonly [low: number, high: number])[];

/**
 * Pads the last `pads.length` axes, first to last. Mirrored without the edge ("reflect"), the edge repeated ("replicate"), or
 * from the other end ("circular"). Negative pads cut off.
 */
export function pad(x: Value, pads: Pads, mode: PadMode = "constant", value = 0): Value {
  const first = rankOf(x) - pads.length;
  if (first < 0) throw new ModelError(`pads for ${pads.length} axes are given, but there is only ${typeText(x.type)}`);
  if (mode === "constant") {
    const all = (side: 0 | 1) => shapeOf(x).map((_, a) => (a < first ? 0 : pads[a - first]![side]));
    return padConstant(x, all(0), all(1), value);
  }
  return pads.reduce((v, [low, high], i) => {
    const axis = first + i;
    const kept = cut(v, axis, Math.max(0, -low), Math.max(0, -high));
    return extend(kept, axis, Math.max(0, low), Math.max(0, high), mode);
  }, x);
}

function cut(x: Value, axis: number, low: number, high: number): Value {
  return low + high === 0 ? x : sliceAxis(x, axis, low, dimSub(sizeOf(x, axis), low + high));
}

function extend(x: Value, axis: number, low: number, high: number, mode: Exclude<PadMode, "constant">): Value {
  if (low + high === 0) return x;
  const size = sizeOf(x, axis);
  const most = mode === "replicate" ? Infinity : mode === "reflect" ? dimBounds(size).max - 1 : dimBounds(size).max;
  if (Math.max(low, high) > most) {
    throw new ModelError(
      `padding [${low}, ${high}] is too much for axis ${axis} of ${typeText(x.type)} in mode "${mode}"`,
    );
  }
  const side = (count: number, start: Dim): readonly Value[] => {
    if (count === 0) return [];
    if (mode === "replicate") {
      return [
        tile(
          sliceAxis(x, axis, start, 1),
          shapeOf(x).map((_, a) => (a === axis ? count : 1)),
        ),
      ];
    }
    const part = sliceAxis(x, axis, start, count);
    return [mode === "reflect" ? flip(part, axis) : part];
  };
  const starts: Record<typeof mode, readonly [Dim, Dim]> = {
    reflect: [1, dimSub(size, high + 1)],
    replicate: [0, dimSub(size, 1)],
    circular: [dimSub(size, low), 0],
  };
  return concatenate([...side(low, starts[mode][0]), x, ...side(high, starts[mode][1])], axis);
}

export type ResizeMode = "nearest" | "linear" | "cubic";

export interface ResizeOptions {
  /** Size of the result's spatial axes, or by how much they grow. Exactly one is given. */
  readonly size?: Size;
  readonly scale?: Size;
  /** Default "nearest". "linear" is PyTorch's linear, bilinear and trilinear; "cubic" its bicubic. */
  readonly mode?: ResizeMode;
  /** The centres of the corner pixels stay where they are. */
  readonly alignCorners?: boolean;
}

/** Neighbours and weights of a position of the result. */
type Taps = readonly (readonly [index: number, weight: number])[];

/** Keys' kernel with a = −¾. */
function cubicWeight(distance: number): number {
  const d = Math.abs(distance);
  const a = -0.75;
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

function tapsAt(i: number, size: number, result: number, scale: number, mode: ResizeMode, align: boolean): Taps {
  const inside = (k: number) => Math.min(Math.max(k, 0), size - 1);
  if (mode === "nearest") return [[inside(Math.floor(i * scale)), 1]];
  const centre = align ? (result > 1 ? (i * (size - 1)) / (result - 1) : 0) : (i + 0.5) * scale - 0.5;
  if (mode === "linear") {
    const at = Math.max(centre, 0);
    const low = inside(Math.floor(at));
    return [
      [low, 1 - (at - low)],
      [inside(low + 1), at - low],
    ];
  }
  const low = Math.floor(centre);
  return [-1, 0, 1, 2].map((k) => [inside(low + k), cubicWeight(centre - low - k)]);
}

/** Resizes the spatial axes of x [N, C, …]: torch.nn.functional.interpolate. */
export function interpolate(x: Value, options: ResizeOptions): Value {
  const { mode = "nearest", alignCorners = false } = options;
  const axes = rankOf(x) - 2;
  if (axes < 1) throw new ModelError(`interpolation takes [batch, channels, …], but got ${typeText(x.type)}`);
  if ((options.size === undefined) === (options.scale === undefined)) {
    throw new ModelError("interpolation needs either a size or a scale");
  }
  const scales = options.scale === undefined ? undefined : sizes(options.scale, axes, "scale");
  const wanted = options.size === undefined ? undefined : sizes(options.size, axes, "size");
  let y = x;
  for (let a = 0; a < axes; a++) {
    const axis = a + 2;
    const factor = scales?.[a];
    if (mode === "nearest" && factor !== undefined && Number.isInteger(factor)) {
      y = repeatElements(y, factor, axis);
      continue;
    }
    const size = staticSize(x, axis, "a spatial axis that is interpolated");
    const result = wanted?.[a] ?? Math.floor(size * factor!);
    y = resizeAxis(y, axis, size, result, factor === undefined ? size / result : 1 / factor, mode, alignCorners);
  }
  return y;
}

function resizeAxis(
  x: Value,
  axis: number,
  size: number,
  result: number,
  scale: number,
  mode: ResizeMode,
  align: boolean,
): Value {
  const weights = new Float64Array(size * result);
  for (let i = 0; i < result; i++) {
    for (const [k, w] of tapsAt(i, size, result, scale, mode, align)) weights[k * result + i]! += w;
  }
  const matrix = constant([], { value: tensorFrom(dtypeOf(x), [size, result], weights) });
  const product = dotGeneral([x, matrix], { batchA: [], batchB: [], contractA: [axis], contractB: [0] });
  return moveAxis(product, -1, axis);
}

/** [N, C·r², H, W] → [N, C, H·r, W·r], https://arxiv.org/abs/1609.05158. */
export function pixelShuffle(x: Value, factor: number): Value {
  const [n, , h, w] = shapeOf(x);
  const channels = staticSize(x, 1, "the channels");
  if (rankOf(x) !== 4 || channels % factor ** 2 !== 0) {
    throw new ModelError(
      `${typeText(x.type)} does not shuffle by ${factor}: its channels must divide by ${factor ** 2}`,
    );
  }
  const split = reshapeTo(x, [n!, channels / factor ** 2, factor, factor, h!, w!]);
  return reshapeTo(permute(split, [0, 1, 4, 2, 5, 3]), [
    n!,
    channels / factor ** 2,
    dimMul(h!, factor),
    dimMul(w!, factor),
  ]);
}
