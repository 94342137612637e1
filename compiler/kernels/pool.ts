/**
 * Reductions over sliding windows of channels-last tensors x[image, z, y, x, c], and their adjoints. Window, strides, dilations
 * and padding are part of the kernel; sizes come at run time. A channels-first tensor is served as images · channels images of
 * one channel each.
 *
 *   for each row of output pixels (chunk axis):
 *     for each pixel of the row: for each vector of channels: reduce over the taps
 *
 * The last vector of a pixel's channels is moved down so that it ends with them: its first lanes are computed twice, alike.
 */

import type { Elem, Expr, LoopParam, LoopType } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  broadcast,
  compare,
  constant,
  divS,
  eq,
  geS,
  gtS,
  i32,
  le,
  load,
  ltS,
  maxS,
  minS,
  mul,
  named,
  not,
  param,
  pointer,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import { elemKind } from "../../ir/loop-types.js";
import { type Epilogue, identity } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";

/** Depth, height, width; 1 (0 for padding) for axes that aren't there. */
export type Axes = readonly [number, number, number];

export interface PoolSpec {
  readonly elem: Elem;
  readonly window: Axes;
  readonly strides: Axes;
  readonly dilations: Axes;
  readonly padLow: Axes;
  readonly padHigh: Axes;
  /** Applied to the sums of `windowSum`: row is the output pixel counted through all images, column the channel. */
  readonly epilogue?: Epilogue;
}

/** Sizes every pooling kernel takes, after its pointers; the chunk axes are given with the kernels. */
export const sizes = ints("channels", "inD", "inH", "inW", "outD", "outH", "outW");

export interface Sizes {
  readonly channels: Expr;
  readonly input: readonly [Expr, Expr, Expr];
  readonly output: readonly [Expr, Expr, Expr];
}

/** The sizes of the kernel being built. */
export function sizeVariables(): Sizes {
  const { channels, inD, inH, inW, outD, outH, outW } = named(sizes);
  return { channels, input: [inD, inH, inW], output: [outD, outH, outW] };
}

/** What a call passes on of its own parameters. */
export const passedOn = (...lists: readonly (readonly LoopParam[])[]): Readonly<Record<string, Expr>> =>
  named(lists.flat());

export interface PoolLane {
  readonly scalar: "i32" | "i64" | "f32" | "f64";
  /** Vector of the same, where the operation has one. */
  readonly vector: "f32x4" | "f64x2" | "i32x4" | undefined;
  readonly count: number;
}

export function laneOf(elem: Elem, withIndices: boolean): PoolLane {
  const scalar = elemKind[elem];
  const vector =
    scalar === "f32" ? "f32x4" : scalar === "i32" ? "i32x4" : scalar === "f64" && !withIndices ? "f64x2" : undefined;
  return { scalar, vector, count: vector === undefined ? 1 : vector === "f64x2" ? 2 : 4 };
}

const axesName = (a: Axes): string => (a[0] === a[1] && a[1] === a[2] ? `${a[0]}` : a.join("x"));

export function nameOf(s: PoolSpec, what: string): string {
  const parts = [s.elem, what, axesName(s.window), `s${axesName(s.strides)}`];
  if (s.dilations.some((d) => d !== 1)) parts.push(`d${axesName(s.dilations)}`);
  if ([...s.padLow, ...s.padHigh].some((p) => p !== 0))
    parts.push(`p${axesName(s.padLow)}_${axesName(s.padHigh)}`.replaceAll("-", "m"));
  if (s.epilogue !== undefined && s.epilogue.name !== "") parts.push(s.epilogue.name);
  return parts.join("_");
}

/** Whether every tap of every window lies within x, along one axis or all. */
export function inBounds(s: PoolSpec, axis?: 0 | 1 | 2): boolean {
  const padding = axis === undefined ? [...s.padLow, ...s.padHigh] : [s.padLow[axis], s.padHigh[axis]];
  return padding.every((p) => p <= 0);
}

/** Windows of so many taps are written out. */
const unrolledTaps = 12;

const volume = (a: Axes): number => a[0] * a[1] * a[2];

/** Smallest k ≥ 0 with k·step ≥ distance. */
export function firstAtLeast(distance: Expr, step: number): Expr {
  return step === 1 ? maxS(distance, 0) : select(gtS(distance, 0), divS(add(distance, step - 1), step), 0);
}

/** Taps [from, to) of one axis that lie within the input, for an output at `position`. */
export function tapRange(
  f: Block,
  s: PoolSpec,
  axis: 0 | 1 | 2,
  position: Expr,
  inputSize: Expr,
): readonly [Expr, Expr] {
  if (inBounds(s, axis)) return [i32(0), i32(s.window[axis])];
  const start = f.let("start", sub(mul(position, s.strides[axis]), s.padLow[axis]));
  const d = s.dilations[axis];
  return [
    f.let("from", firstAtLeast(sub(0, start), d)),
    f.let("to", minS(firstAtLeast(sub(inputSize, start), d), s.window[axis])),
  ];
}

/** For every vector of a pixel's channels from `first`, then for single ones where there are less than a vector in all. */
export function forChannels(
  f: Block,
  lane: Pick<PoolLane, "scalar" | "count"> & { readonly vector: LoopType | undefined },
  channels: Expr,
  body: (type: LoopType, c: Expr) => void,
  first: Expr = i32(0),
): void {
  const { vector, count } = lane;
  if (vector === undefined) {
    f.for("c", first, channels, 1, (c) => body(lane.scalar, c));
    return;
  }
  f.if(
    geS(channels, count),
    () => {
      const last = f.let("lastVector", sub(channels, count));
      f.for("c", first, channels, count, (c) => body(vector, f.let("channel", minS(c, last))));
    },
    () => f.for("c", first, channels, 1, (c) => body(lane.scalar, c)),
  );
}

interface Tap {
  /** Address of the tap's first channel. */
  readonly at: Expr;
  /** Flat index of the tap in the image's spatial axes. */
  readonly plane: Expr;
}

/**
 * The taps of one window in order. `origin` and `plane0` belong to the tap (0, 0, 0), in or out of x; `ranges` say which taps
 * are in it.
 */
export function forTaps(
  f: Block,
  s: PoolSpec,
  z: Sizes,
  pixelBytes: Expr,
  origin: Expr,
  plane0: Expr,
  ranges: readonly (readonly [Expr, Expr])[],
  visit: (tap: Tap) => void,
): void {
  const [, inH, inW] = z.input;
  const [dz, dy, dx] = s.dilations;
  if (inBounds(s) && volume(s.window) <= unrolledTaps) {
    for (let kz = 0; kz < s.window[0]; kz++)
      for (let ky = 0; ky < s.window[1]; ky++)
        for (let kx = 0; kx < s.window[2]; kx++) {
          const step = add(mul(add(mul(i32(kz * dz), inH), ky * dy), inW), kx * dx);
          visit({ at: add(origin, mul(step, pixelBytes)), plane: add(plane0, step) });
        }
    return;
  }
  const [rz, ry, rx] = ranges as [readonly [Expr, Expr], readonly [Expr, Expr], readonly [Expr, Expr]];
  f.for("kz", rz[0], rz[1], 1, (kz) =>
    f.for("ky", ry[0], ry[1], 1, (ky) => {
      const row = f.let("tapRow", mul(add(mul(mul(kz, dz), inH), mul(ky, dy)), inW));
      f.for("kx", rx[0], rx[1], 1, (kx) => {
        const step = f.let("step", add(row, mul(kx, dx)));
        visit({ at: add(origin, mul(step, pixelBytes)), plane: add(plane0, step) });
      });
    }),
  );
}

/** Walks over the output pixels of one row; `visit` gets the origin of each window. */
function rowKernel(
  s: PoolSpec,
  name: string,
  pointers: readonly LoopParam[],
  extra: readonly LoopParam[],
  pixel: (
    f: Block,
    z: Sizes,
    args: {
      readonly pointers: readonly Expr[];
      readonly extra: readonly Expr[];
      /** Output pixel, counted through all images, and its bytes' pitch. */
      readonly row: Expr;
      readonly outPixel: Expr;
      readonly pixelBytes: Expr;
      readonly origin: Expr;
      readonly plane0: Expr;
      readonly ranges: readonly (readonly [Expr, Expr])[];
    },
  ) => void,
): Kernel {
  const bytes = elemBytes[s.elem];
  const place = ints("image", "oz", "oy", "outPixel0");
  const helper = buildFunction(`${name}_row`, [...pointers, ...place, ...sizes, ...extra], undefined, (f) => {
    const pointerArgs = pointers.map(param);
    const { image, oz, oy, outPixel0 } = named(place);
    const z = sizeVariables();
    const [inD, inH, inW] = z.input;
    const pixelBytes = f.let("pixelBytes", mul(z.channels, bytes));
    const rangeZ = tapRange(f, s, 0, oz, inD);
    const rangeY = tapRange(f, s, 1, oy, inH);
    const y0 = sub(mul(oy, s.strides[1]), s.padLow[1]);
    const z0 = sub(mul(oz, s.strides[0]), s.padLow[0]);
    const planeRow = f.let("planeRow", mul(add(mul(z0, inH), y0), inW));
    const imageAt = f.let("imageAt", add(pointerArgs[0]!, mul(mul(image, mul(mul(inD, inH), inW)), pixelBytes)));
    f.for("ox", 0, z.output[2], 1, (ox) => {
      const plane0 = f.let("plane0", add(planeRow, sub(mul(ox, s.strides[2]), s.padLow[2])));
      const origin = f.let("origin", add(imageAt, mul(plane0, pixelBytes)));
      pixel(f, z, {
        pointers: pointerArgs,
        extra: extra.map(param),
        row: add(outPixel0, ox),
        outPixel: f.let("outPixel", mul(add(outPixel0, ox), z.channels)),
        pixelBytes,
        origin,
        plane0,
        ranges: [rangeZ, rangeY, tapRange(f, s, 2, ox, inW)],
      });
    });
  });
  const range = [int("begin"), int("end")];
  const fn = buildFunction(name, [...range, ...pointers, ...sizes, ...extra], undefined, (f) => {
    const { begin, end } = named(range);
    const z = sizeVariables();
    f.for("r", begin, end, 1, (r) => {
      const planes = f.let("planes", divS(r, z.output[1]));
      f.callNamed(helper, {
        ...passedOn(pointers, sizes, extra),
        image: divS(planes, z.output[0]),
        oz: remS(planes, z.output[0]),
        oy: remS(r, z.output[1]),
        outPixel0: mul(r, z.output[2]),
      });
    });
  });
  return { fn, helpers: [helper] };
}

/** The value nothing is smaller than. */
export function lowest(elem: Elem, type: LoopType): Expr {
  const values: Readonly<Record<Elem, number | bigint>> = {
    i8: -128,
    u8: 0,
    i16: -32768,
    u16: 0,
    i32: -(2 ** 31),
    u32: 0,
    i64: -(2n ** 63n),
    u64: 0n,
    f16: Number.NEGATIVE_INFINITY,
    bf16: Number.NEGATIVE_INFINITY,
    f32: Number.NEGATIVE_INFINITY,
    f64: Number.NEGATIVE_INFINITY,
  };
  return constant(type, values[elem]);
}

/**
 * Largest element of each window and its flat index in the spatial axes: the first of equals, a NaN counts as the largest, −1
 * and the lowest value where a window sees only padding.
 * Parameters: begin, end (rows of output pixels: images · outD · outH), x, y, indices (i32), sizes. `indices: false` leaves
 * that pointer out.
 */
export function maxPool(s: PoolSpec, options: { readonly indices: boolean }): Kernel {
  const lane = laneOf(s.elem, options.indices);
  const indexPointer = options.indices ? [pointer("indices", "i32")] : [];
  const pointers = [pointer("x", s.elem), pointer("y", s.elem), ...indexPointer];
  const float = lane.scalar === "f32" || lane.scalar === "f64";
  const unsigned = s.elem === "u32" || s.elem === "u64";
  return rowKernel(s, nameOf(s, options.indices ? "maxpool_indices" : "maxpool"), pointers, [], (f, z, p) => {
    const [, y, indices] = p.pointers;
    // Where there are taps at all, the first one is the index until a larger element comes.
    let firstTap = f.let("firstTap", p.plane0);
    if (!inBounds(s) && options.indices) {
      const [rz, ry, rx] = p.ranges as [readonly [Expr, Expr], readonly [Expr, Expr], readonly [Expr, Expr]];
      const [dz, dy, dx] = s.dilations;
      const step = add(mul(add(mul(mul(rz[0], dz), z.input[1]), mul(ry[0], dy)), z.input[2]), mul(rx[0], dx));
      const any = and(and(ltS(rz[0], rz[1]), ltS(ry[0], ry[1])), ltS(rx[0], rx[1]));
      firstTap = f.let("firstIndex", select(any, add(p.plane0, step), i32(-1)));
    }
    forChannels(f, lane, z.channels, (type, c) => {
      const indexType = type === lane.scalar ? "i32" : "i32x4";
      const best = f.mut("best", lowest(s.elem, type));
      const where = options.indices ? f.mut("where", broadcast(indexType, firstTap)) : undefined;
      forTaps(f, s, z, p.pixelBytes, p.origin, p.plane0, p.ranges, ({ at, plane }) => {
        const v = f.let("v", load(type, s.elem, at, c));
        const larger = f.let(
          "larger",
          float ? and(not(le(v, best)), eq(best, best)) : compare(unsigned ? "gtU" : "gtS", v, best),
        );
        f.assign(best, select(larger, v, best));
        if (where !== undefined) f.assign(where, select(larger, broadcast(indexType, plane), where));
      });
      const out = add(p.outPixel, c);
      f.store(s.elem, y!, out, best);
      if (where !== undefined) f.store("i32", indices!, out, where);
    });
  });
}

/**
 * Sum of each window (padding counts as 0), in tap order; f16 and bf16 add up in f32. Elements: f32, f64, f16, bf16, i32.
 * Parameters: begin, end (rows of output pixels: images · outD · outH), x, y, sizes, then the epilogue's.
 */
export function windowSum(s: PoolSpec): Kernel {
  const lane = laneOf(s.elem, false);
  const epilogue = s.epilogue ?? identity;
  const pointers = [pointer("x", s.elem), pointer("y", s.elem)];
  return rowKernel(s, nameOf(s, "windowsum"), pointers, epilogue.params, (f, z, p) => {
    forChannels(f, lane, z.channels, (type, c) => {
      const sum = f.mut("sum", constant(type, 0));
      forTaps(f, s, z, p.pixelBytes, p.origin, p.plane0, p.ranges, ({ at }) => {
        f.assign(sum, add(sum, load(type, s.elem, at, c)));
      });
      const value = epilogue.apply(f, sum, { batch: i32(0), row: p.row, column: c }, p.extra);
      f.store(s.elem, p.pointers[1]!, add(p.outPixel, c), value);
    });
  });
}
