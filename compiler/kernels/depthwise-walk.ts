/**
 * The walk of depthwise convolutions over channels-last tensors, whatever their sums are made of:
 *
 *   for each row of output pixels (chunk axis):
 *     for each PX neighbouring pixels whose windows lie within the row:   inner
 *     for each pixel left over at the row's ends:                         single
 *
 * Window, strides, dilations and padding are part of the kernel; x is not padded in memory. Weights lie tap by tap, channels innermost.
 */

import { type Elem, type Expr, elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  divS,
  i32,
  maxS,
  minS,
  mul,
  named,
  ne,
  param,
  pointer,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import { type Ahead, identity } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { firstAtLeast, inBounds, nameOf, type PoolSpec, passedOn, sizes, sizeVariables, tapRange } from "./pool.js";
import { int, ints, narrowed } from "./tile.js";

/** Columns of x, relative to the first pixel's first tap, that PX neighbouring windows see. */
export function columnsSeen(s: PoolSpec, px: number): readonly number[] {
  const seen = new Set<number>();
  for (let p = 0; p < px; p++)
    for (let kx = 0; kx < s.window[2]; kx++) seen.add(p * s.strides[2] + kx * s.dilations[2]);
  return [...seen].sort((a, b) => a - b);
}

/** What both kinds of pixels have in a row. */
export interface DepthwiseRow {
  readonly f: Block;
  readonly channels: Expr;
  /** Of the first tap row that exists; bytes from a tap to the next. */
  readonly w0: Expr;
  readonly tapBytes: Expr;
  /** Loops over the rows of taps that exist; the body gets the addresses of column 0 and of the weights. */
  readonly forRows: (atStart: Expr, wStart: Expr, body: (at: Expr, wAt: Expr) => void) => void;
  /** What the epilogue has of the four channels from c on before any pixel. */
  readonly aheadOf: (c: Expr) => Ahead | undefined;
  /** Stores a sum, or several of four channels each, with the epilogue; `ahead`: what the sums started with. */
  readonly finish: (pixel: Expr, c: Expr, sums: readonly Expr[], ahead?: readonly (Ahead | undefined)[]) => void;
}

/** Neighbouring pixels, all their taps within the row. */
export interface InnerPixels {
  readonly count: number;
  readonly columns: readonly number[];
  /** Bytes from the first pixel's first tap to each of `columns`, and from the first weight of a row to each. */
  readonly steps: ReadonlyMap<number, Expr>;
  readonly tapSteps: readonly Expr[];
  /** The column that a pixel's tap is in. */
  readonly columnOf: (p: number, kx: number) => number;
  /** Address of the first tap, and the first pixel counted through all images. */
  readonly at0: Expr;
  readonly pixel: Expr;
}

/** One pixel, of whose taps in a row those from k0 to k1 exist. */
export interface SinglePixel {
  readonly k0: Expr;
  readonly k1: Expr;
  readonly at0: Expr;
  readonly wAt0: Expr;
  /** Bytes from a tap's column to the next. */
  readonly nextColumn: Expr;
  readonly pixel: Expr;
}

export interface DepthwiseWalk {
  /** First words of the name, and what follows the window's. */
  readonly what: string;
  readonly suffix: string;
  readonly spec: PoolSpec;
  readonly wElem: Elem;
  readonly yElem: Elem;
  /** Weights of a tap for each channel; default 1. */
  readonly perTap?: number;
  /** Neighbouring pixels of a tile. */
  readonly px: number;
  readonly inner: (row: DepthwiseRow, pixels: InnerPixels) => void;
  readonly single: (row: DepthwiseRow, pixel: SinglePixel) => void;
}

/**
 * Parameters: begin, end (rows of output pixels: images · outD · outH), x, w ([taps][channels]), y, sizes as in pool.ts, then the
 * epilogue's, which sees the output pixel counted through all images as row and the channel as column.
 */
export function depthwiseWalk(walk: DepthwiseWalk): Kernel {
  const { what, suffix, spec: s, wElem, yElem, perTap = 1, px, inner, single } = walk;
  const epilogue = s.epilogue ?? identity;
  const [xBytes, wBytes] = [elemBytes[s.elem], perTap * elemBytes[wElem]];
  const [, kh, kw] = s.window;
  const [dz, dy, dx] = s.dilations;
  const name = `${nameOf(s, what)}${suffix}_${px}px`;
  const pointers = [pointer("x", s.elem), pointer("w", wElem), pointer("y", yElem)];
  const place = ints("image", "oz", "oy", "outPixel0");
  const rowFn = buildFunction(`${name}_row`, [...pointers, ...place, ...sizes, ...epilogue.params], undefined, (f) => {
    const { x, w, y } = named(pointers);
    const { image, oz, oy, outPixel0 } = named(place);
    const z = sizeVariables();
    const extra = epilogue.params.map(param);
    const { channels } = z;
    const [inD, inH, inW] = z.input;
    const outW = z.output[2];
    const pixelBytes = f.let("pixelBytes", mul(channels, xBytes));
    const tapBytes = wBytes === xBytes ? pixelBytes : f.let("tapBytes", mul(channels, wBytes));
    const [z0, z1] = tapRange(f, s, 0, oz, inD);
    const [y0, y1] = tapRange(f, s, 1, oy, inH);
    const originZ = add(sub(mul(oz, s.strides[0]), s.padLow[0]), mul(z0, dz));
    const originY = add(sub(mul(oy, s.strides[1]), s.padLow[1]), mul(y0, dy));
    // Of the first tap row that exists, at column 0 of x.
    const x0 = f.let("x0", add(x, mul(mul(add(mul(add(mul(image, inD), originZ), inH), originY), inW), pixelBytes)));
    const w0 = f.let("w0", add(w, mul(mul(add(mul(z0, kh), y0), kw), tapBytes)));
    const nextRow = f.let("nextRow", mul(mul(inW, dy), pixelBytes));
    const nextPlane = f.let("nextPlane", mul(mul(sub(mul(inH, dz), mul(sub(y1, y0), dy)), inW), pixelBytes));
    const nextTaps = f.let("nextTaps", mul(tapBytes, kw));
    const nextTapPlane = f.let("nextTapPlane", mul(mul(sub(kh, sub(y1, y0)), kw), tapBytes));

    /** Loops over the rows of taps that exist; the body gets the addresses of column 0 and of the weights. */
    const forRows = (atStart: Expr, wStart: Expr, body: (at: Expr, wAt: Expr) => void) => {
      const at = f.mut("at", atStart);
      const wAt = f.mut("wAt", wStart);
      const rows = () =>
        f.for("ky", y0, y1, 1, () => {
          body(at, wAt);
          f.assign(at, add(at, nextRow));
          f.assign(wAt, add(wAt, nextTaps));
        });
      if (s.window[0] === 1 && inBounds(s, 0)) rows();
      else
        f.for("kz", z0, z1, 1, () => {
          rows();
          f.assign(at, add(at, nextPlane));
          f.assign(wAt, add(wAt, nextTapPlane));
        });
    };
    const aheadOf = (c: Expr) => epilogue.ahead?.(f, c, extra);
    const finish = (pixel: Expr, c: Expr, sums: readonly Expr[], ahead: readonly (Ahead | undefined)[] = []) => {
      const values = sums.map((x, i) => {
        const at = { batch: i32(0), row: pixel, column: add(c, 4 * i) };
        return f.let("finished", epilogue.apply(f, x, at, extra, ahead[i]));
      });
      const [first, second] = values as [Expr, Expr?];
      const both = epilogue.fits && second !== undefined ? narrowed(yElem, first, second) : undefined;
      const at = f.let("at", add(mul(pixel, channels), c));
      if (both) f.store(yElem, y, at, both);
      else for (const [i, x] of values.entries()) f.store(yElem, y, at, x, 4 * i);
    };
    const row: DepthwiseRow = { f, channels, w0, tapBytes, forRows, aheadOf, finish };
    const innerAt = (ox: Expr) => {
      const columns = columnsSeen(s, px);
      const steps = new Map(columns.map((column) => [column, f.let("step", mul(pixelBytes, column))]));
      const tapSteps = Array.from({ length: kw }, (_, kx) => f.let("tapStep", mul(tapBytes, kx)));
      const at0 = f.let("at0", add(x0, mul(sub(mul(ox, s.strides[2]), s.padLow[2]), pixelBytes)));
      const pixel = f.let("pixel", add(outPixel0, ox));
      const columnOf = (p: number, kx: number) => p * s.strides[2] + kx * dx;
      inner(row, { count: px, columns, steps, tapSteps, columnOf, at0, pixel });
    };
    const singleAt = (ox: Expr) => {
      const column0 = f.let("column0", sub(mul(ox, s.strides[2]), s.padLow[2]));
      const [k0, k1] = tapRange(f, s, 2, ox, inW);
      const at0 = f.let("at0", add(x0, mul(add(column0, mul(k0, dx)), pixelBytes)));
      const wAt0 = f.let("wAt0", add(w0, mul(k0, tapBytes)));
      const nextColumn = f.let("nextColumn", mul(pixelBytes, dx));
      const pixel = f.let("pixel", add(outPixel0, ox));
      single(row, { k0, k1, at0, wAt0, nextColumn, pixel });
    };

    // Pixels [begin, end) have all their taps within the row.
    const begin = f.let("inner0", minS(firstAtLeast(i32(s.padLow[2]), s.strides[2]), outW));
    const free = sub(add(inW, s.padLow[2]), (kw - 1) * dx);
    const end = f.let("inner1", maxS(begin, minS(firstAtLeast(free, s.strides[2]), outW)));
    // Where pixels are multiples of half a page apart, the columns of several fall into the same sets of the L1 cache.
    const apart = ne(and(pixelBytes, 2047), 0);
    const tiles = f.let("tiles", select(apart, add(begin, mul(divS(sub(end, begin), px), px)), begin));
    f.for("left", 0, begin, 1, singleAt);
    f.for("ox", begin, tiles, px, innerAt);
    f.for("right", tiles, outW, 1, singleAt);
  });
  const range = [int("begin"), int("end")];
  const fn = buildFunction(name, [...range, ...pointers, ...sizes, ...epilogue.params], undefined, (f) => {
    const { begin, end } = named(range);
    const z = sizeVariables();
    f.for("r", begin, end, 1, (r) => {
      const planes = f.let("planes", divS(r, z.output[1]));
      f.callNamed(rowFn, {
        ...passedOn(pointers, sizes, epilogue.params),
        image: divS(planes, z.output[0]),
        oz: remS(planes, z.output[0]),
        oy: remS(r, z.output[1]),
        outPixel0: mul(r, z.output[2]),
      });
    });
  });
  return { fn, helpers: [rowFn] };
}
