/** Sampling of images at computed positions, and images as columns of windows. */
import {
  asType,
  broadcastTo,
  clamp,
  dimScalar,
  dtypeOf,
  expandDims,
  full,
  np,
  rankOf,
  reshapeTo,
  shapeOf,
  stack,
  staticSize,
  takeAt,
  where,
} from "./build.js";
import { type Dim, dimAdd, dimFloorDiv } from "./dim.js";
import type { DType } from "./dtype.js";
import { ModelError } from "./errors.js";
import { typeText, type Value } from "./graph.js";
import { constant, iota } from "./ops/constant.js";
import { conv, convInputGrad } from "./ops/conv.js";
import { abs, floor, round } from "./ops/elementwise.js";
import { gatherElements } from "./ops/indexing.js";
import { logicalAnd } from "./ops/logic.js";
import { productOf } from "./ops/movement.js";
import { tensorFrom } from "./tensor.js";

export type GridPadding = "zeros" | "border" | "reflection";
export type GridMode = "linear" | "nearest" | "cubic";

const sizeF = (d: Dim, like: Value): Value => dimScalar(d, like.type.dtype);

/** Mirrors a coordinate into [low, high], as often as it takes. */
function reflect(x: Value, low: Value, high: Value): Value {
  const span = np.sub(high, low);
  const safe = where(np.eq(span, 0), 1, span);
  const offset = abs([np.sub(x, low)]);
  const turns = floor([np.div(offset, safe)]);
  const rest = np.sub(offset, np.mul(turns, safe));
  const odd = np.ne(np.sub(turns, np.mul(floor([np.div(turns, 2)]), 2)), 0);
  const mirrored = np.add(where(odd, np.sub(safe, rest), rest), low);
  return where(np.eq(span, 0), low, mirrored);
}

export interface Plane {
  /** [n, c, product of spatial axes] */
  readonly flat: Value;
  readonly spatial: readonly Dim[];
}

/** Values of [n, c, …] at whole positions (one value per axis, each [n, p], floats), 0 or limited outside. */
function fetch(plane: Plane, positions: readonly Value[], padding: GridPadding, align: boolean): Value {
  let index: Value | undefined;
  let inside: Value | undefined;
  positions.forEach((given, a) => {
    const size = sizeF(plane.spatial[a]!, given);
    const last = np.sub(size, 1);
    let position = given;
    if (padding === "reflection") {
      const low = align ? np.mul(size, 0) : np.sub(np.mul(size, 0), 0.5);
      position = round([reflect(given, low, align ? last : np.sub(size, 0.5))]);
    } else if (padding === "zeros") {
      const here = logicalAnd([np.ge(given, 0), np.le(given, last)]);
      inside = inside === undefined ? here : logicalAnd([inside, here]);
    }
    const limited = clamp(position, 0, last);
    index = index === undefined ? limited : np.add(np.mul(index, size), limited);
  });
  const at = expandDims(asType(index!, "i64"), 1);
  const [n, c] = plane.flat.type.shape as [Dim, Dim];
  const wide = broadcastTo(at, [n, c, at.type.shape[2]!]);
  const values = gatherElements([plane.flat, wide], { axis: 2 });
  return inside === undefined ? values : where(expandDims(inside, 1), values, 0);
}

function cubicWeights(t: Value, a: number): readonly Value[] {
  const near = (d: Value) => {
    const d2 = np.mul(d, d);
    return np.add(np.sub(np.mul(np.mul(d2, d), a + 2), np.mul(d2, a + 3)), 1);
  };
  const far = (d: Value) => {
    const d2 = np.mul(d, d);
    return np.sub(np.add(np.sub(np.mul(np.mul(d2, d), a), np.mul(d2, 5 * a)), np.mul(d, 8 * a)), 4 * a);
  };
  return [far(np.add(t, 1)), near(t), near(np.sub(1, t)), far(np.sub(2, t))];
}

/** Interpolates over the axes one after the other: all combinations of each axis's taps. */
function interpolate(
  plane: Plane,
  taps: readonly (readonly { position: Value; weight: Value | undefined }[])[],
  padding: GridPadding,
  align: boolean,
): Value {
  let combinations: { positions: Value[]; weight: Value | undefined }[] = [{ positions: [], weight: undefined }];
  for (const axis of taps)
    combinations = combinations.flatMap(({ positions, weight }) =>
      axis.map((t) => ({
        positions: [...positions, t.position],
        weight: weight && t.weight ? np.mul(weight, t.weight) : (weight ?? t.weight),
      })),
    );
  return combinations
    .map(({ positions, weight }) => {
      const v = fetch(plane, positions, padding, align);
      return weight ? np.mul(v, asType(expandDims(weight, 1), v.type.dtype)) : v;
    })
    .reduce((a, b) => np.add(a, b));
}

/** Bilinear interpolation of [n, c, …] at coordinates, one value [n, p] per axis; what lies outside is 0. */
export function fetchInterpolated(plane: Plane, at: readonly Value[]): Value {
  const taps = at.map((a) => {
    const base = floor([a]);
    const t = np.sub(a, base);
    return [
      { position: base, weight: np.sub(1, t) },
      { position: np.add(base, 1), weight: t },
    ];
  });
  return interpolate(plane, taps, "zeros", true);
}

/**
 * Values of x [n, c, …] at the points of a grid [n, …, axes], whose last axis is x, y, z from −1 to 1 (the innermost axis first):
 * [n, c, …]. `align`: −1 and 1 are the centres of the corner pixels, not their outer edges.
 */
export function gridSample(x: Value, grid: Value, mode: GridMode, padding: GridPadding, align: boolean): Value {
  const axes = rankOf(x) - 2;
  if (rankOf(grid) !== axes + 2 || axes < 1)
    throw new ModelError(`${typeText(x.type)} and the grid ${typeText(grid.type)} don't fit together`);
  const [n, channels, ...spatial] = x.type.shape as [Dim, Dim, ...Dim[]];
  const outer = grid.type.shape.slice(1, -1);
  const points = reshapeTo(grid, [n, productOf(outer), axes]);
  const plane: Plane = { flat: reshapeTo(x, [n, channels, productOf(spatial)]), spatial };
  const taps = spatial.map((d, a) => {
    // The grid's last axis is x, y, z: the innermost axis first.
    const g = takeAt(points, 2, axes - 1 - a);
    const size = sizeF(d, g);
    const last = np.sub(size, 1);
    let at = align ? np.mul(np.div(np.add(g, 1), 2), last) : np.div(np.sub(np.mul(np.add(g, 1), size), 1), 2);
    // Cubic taps are limited one by one; other modes limit the coordinate.
    if (mode !== "cubic") {
      if (padding === "border") at = clamp(at, 0, last);
      if (padding === "reflection")
        at = reflect(at, align ? np.mul(size, 0) : np.sub(np.mul(size, 0), 0.5), align ? last : np.sub(size, 0.5));
    }
    if (mode === "nearest") return [{ position: round([at]), weight: undefined }];
    const base = floor([at]);
    const t = np.sub(at, base);
    if (mode === "cubic") return cubicWeights(t, -0.75).map((weight, k) => ({ position: np.add(base, k - 1), weight }));
    return [
      { position: base, weight: np.sub(1, t) },
      { position: np.add(base, 1), weight: t },
    ];
  });
  const tapPadding = mode === "cubic" || padding === "zeros" ? padding : "border";
  return reshapeTo(interpolate(plane, taps, tapPadding, align), [n, channels, ...outer]);
}

/** The grid that `gridSample` takes for affine maps theta [n, axes, axes + 1] of an image with these spatial sizes. */
export function affineGrid(theta: Value, spatial: readonly Dim[], align: boolean): Value {
  const dtype = dtypeOf(theta);
  const axes = spatial.length;
  /** Coordinates −1 … 1 along one axis, on the whole grid. */
  const coordinate = (a: number): Value => {
    const i = iota([], { dtype, shape: spatial, axis: a });
    const d = dimScalar(spatial[a]!, dtype);
    if (!align) return np.sub(np.div(np.add(np.mul(i, 2), 1), d), 1);
    return spatial[a] === 1 ? np.mul(i, 0) : np.sub(np.div(np.mul(i, 2), np.sub(d, 1)), 1);
  };
  const parts = Array.from({ length: axes }, (_, k) => coordinate(axes - 1 - k));
  const homogeneous = [...parts, full(dtype, spatial, 1)];
  const [n] = theta.type.shape as [Dim];
  // Row r of theta: Σ_k theta[n, r, k] · coordinate_k.
  const rows = Array.from({ length: axes }, (_, r) =>
    homogeneous
      .map((h, k) => {
        const factor = reshapeTo(takeAt(takeAt(theta, 1, r), 1, k), [n, ...spatial.map(() => 1)]);
        return np.mul(factor, expandDims(h, 0));
      })
      .reduce((a, b) => np.add(a, b)),
  );
  return stack(rows, -1);
}

/** Windows over an image, as they are taken and put back: sizes and distances of each spatial axis. */
export interface Blocks {
  readonly block: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padLow: readonly number[];
  readonly padHigh: readonly number[];
}

const tapsOf = ({ block }: Blocks): number => block.reduce((p, k) => p * k, 1);

/** One-hot weights [channels · taps, 1, …block]: output channel o reads tap o mod taps. */
function oneHotWeights(channels: number, b: Blocks, dtype: DType): Value {
  const taps = tapsOf(b);
  const weight = new Float32Array(channels * taps * taps);
  for (let o = 0; o < channels * taps; o++) weight[o * taps + (o % taps)] = 1;
  return asType(constant([], { value: tensorFrom("f32", [channels * taps, 1, ...b.block], weight) }), dtype);
}

/** The windows of x [n, c, …] as columns: [n, c · taps, positions]. A convolution with one-hot weights. */
export function unfoldBlocks(x: Value, b: Blocks): Value {
  const channels = staticSize(x, 1, "the channels");
  const columns = conv([x, oneHotWeights(channels, b, x.type.dtype)], {
    strides: b.strides,
    dilations: b.dilations,
    padLow: b.padLow,
    padHigh: b.padHigh,
    groups: channels,
    layout: "channelsFirst",
  });
  const [n, rows, ...positions] = columns.type.shape as [Dim, Dim, ...Dim[]];
  return reshapeTo(columns, [n, rows, productOf(positions)]);
}

/** Columns [n, c · taps, positions] added back into an image [n, c, …size]: the adjoint of `unfoldBlocks`. */
export function foldBlocks(x: Value, imageSize: readonly Dim[], b: Blocks): Value {
  const taps = tapsOf(b);
  const [n, rows] = shapeOf(x) as [Dim, Dim, Dim];
  if (rankOf(x) !== 3 || typeof rows !== "number" || rows % taps !== 0)
    throw new ModelError(`${typeText(x.type)} does not consist of blocks of ${taps}`);
  const channels = rows / taps;
  const positions = imageSize.map((d, a): Dim => {
    const room = dimAdd(d, b.padLow[a]! + b.padHigh[a]! - b.dilations[a]! * (b.block[a]! - 1) - 1);
    return dimAdd(dimFloorDiv(room, b.strides[a]!), 1);
  });
  return convInputGrad([reshapeTo(x, [n, rows, ...positions]), oneHotWeights(channels, b, x.type.dtype)], {
    strides: b.strides,
    dilations: b.dilations,
    padLow: b.padLow,
    padHigh: b.padHigh,
    groups: channels,
    layout: "channelsFirst",
    inputSize: imageSize,
  });
}
