/**
 * Depthwise convolution (groups = input channels = output channels) of channels-last tensors:
 *
 *   y[image, oz, oy, ox, c] = epilogue(Σ_{kz,ky,kx} x[image, oz·sz − pz + kz·dz, …, c] · w[kz, ky, kx, c])
 *
 * Window, strides, dilations and padding are part of the kernel; x is not padded in memory. Weights lie tap by tap, channels
 * innermost (`depthwiseWeights`).
 *
 *   for each row of output pixels (chunk axis):
 *     for each PX neighbouring pixels whose windows lie within the row: for each vector of channels:
 *       for each kz, ky in x:   load the columns the PX windows see, once each; acc[PX] += x · w
 *     for each pixel left over at the row's ends: for each four vectors of channels: the taps that exist
 */

import type { Elem, Expr, LoopType } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  constant,
  divS,
  i32,
  load,
  ltS,
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
import { identity } from "./epilogue.js";
import type { Kernel } from "./gemm.js";
import {
  firstAtLeast,
  forChannels,
  inBounds,
  nameOf,
  type PoolSpec,
  passedOn,
  sizes,
  sizeVariables,
  tapRange,
} from "./pool.js";
import { int, ints, lanes, multiplyAdd } from "./tile.js";

export type DepthwiseSpec = PoolSpec & {
  readonly elem: "f32" | "f64";
  /** Storage of y; default that of x. */
  readonly yElem?: Elem;
};

/** w[c, 1, …taps], as PyTorch and ONNX lay it, to [taps][c]. */
export function depthwiseWeights<T extends { readonly length: number; [i: number]: number }>(
  w: T,
  channels: number,
  taps: number,
  out: T,
): T {
  for (let c = 0; c < channels; c++) for (let t = 0; t < taps; t++) out[t * channels + c] = w[c * taps + t]!;
  return out;
}

/** Columns of x, relative to the first pixel's first tap, that PX neighbouring windows see. */
function columnsSeen(s: DepthwiseSpec, px: number): readonly number[] {
  const seen = new Set<number>();
  for (let p = 0; p < px; p++)
    for (let kx = 0; kx < s.window[2]; kx++) seen.add(p * s.strides[2] + kx * s.dilations[2]);
  return [...seen].sort((a, b) => a - b);
}

/** The most pixels, up to 4, whose accumulators, columns and weights V8 can hold in 15 registers. */
function pixelsOfTile(s: DepthwiseSpec): number {
  for (let px = 4; px > 1; px--) if (columnsSeen(s, px).length + s.window[2] + px + 1 <= 15) return px;
  return 1;
}

/**
 * Parameters: begin, end (rows of output pixels: images · outD · outH), x, w, y, sizes as in pool.ts, then the epilogue's,
 * which sees the output pixel counted through all images as row and the channel as column.
 */
export function depthwise(s: DepthwiseSpec): Kernel {
  const lane = lanes[s.elem];
  const bytes = elemBytes[s.elem];
  const epilogue = s.epilogue ?? identity;
  const px = pixelsOfTile(s);
  const [, kh, kw] = s.window;
  const [dz, dy, dx] = s.dilations;
  const yElem = s.yElem ?? s.elem;
  const name = `${nameOf(s, "depthwise")}${yElem === s.elem ? "" : `_${yElem}`}_${px}px`;
  const pointers = [pointer("x", s.elem), pointer("w", s.elem), pointer("y", yElem)];
  const place = ints("image", "oz", "oy", "outPixel0");
  const row = buildFunction(`${name}_row`, [...pointers, ...place, ...sizes, ...epilogue.params], undefined, (f) => {
    const { x, w, y } = named(pointers);
    const { image, oz, oy, outPixel0 } = named(place);
    const z = sizeVariables();
    const extra = epilogue.params.map(param);
    const { channels } = z;
    const [inD, inH, inW] = z.input;
    const outW = z.output[2];
    const pixelBytes = f.let("pixelBytes", mul(channels, bytes));
    const [z0, z1] = tapRange(f, s, 0, oz, inD);
    const [y0, y1] = tapRange(f, s, 1, oy, inH);
    const originZ = add(sub(mul(oz, s.strides[0]), s.padLow[0]), mul(z0, dz));
    const originY = add(sub(mul(oy, s.strides[1]), s.padLow[1]), mul(y0, dy));
    // Of the first tap row that exists, at column 0 of x.
    const x0 = f.let("x0", add(x, mul(mul(add(mul(add(mul(image, inD), originZ), inH), originY), inW), pixelBytes)));
    const w0 = f.let("w0", add(w, mul(mul(add(mul(z0, kh), y0), kw), pixelBytes)));
    const nextRow = f.let("nextRow", mul(mul(inW, dy), pixelBytes));
    const nextPlane = f.let("nextPlane", mul(mul(sub(mul(inH, dz), mul(sub(y1, y0), dy)), inW), pixelBytes));
    const nextTaps = f.let("nextTaps", mul(pixelBytes, kw));
    const nextTapPlane = f.let("nextTapPlane", mul(mul(sub(kh, sub(y1, y0)), kw), pixelBytes));

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
    const finish = (pixel: Expr, c: Expr, acc: Expr) => {
      const value = epilogue.apply(f, acc, { batch: i32(0), row: pixel, column: c }, extra);
      f.store(yElem, y, add(mul(pixel, channels), c), value);
    };

    /** `count` pixels from ox, all their taps within the row. */
    const inner = (ox: Expr, count: number) => {
      const columns = columnsSeen(s, count);
      const steps = new Map(columns.map((column) => [column, f.let("step", mul(pixelBytes, column))]));
      const tapSteps = Array.from({ length: kw }, (_, kx) => f.let("tapStep", mul(pixelBytes, kx)));
      const at0 = f.let("at0", add(x0, mul(sub(mul(ox, s.strides[2]), s.padLow[2]), pixelBytes)));
      const pixel = f.let("pixel", add(outPixel0, ox));
      forChannels(f, lane, channels, (type, c) => {
        const acc = Array.from({ length: count }, (_, p) => f.mut(`acc${p}`, constant(type, 0)));
        const channelBytes = f.let("channelBytes", mul(c, bytes));
        forRows(add(at0, channelBytes), add(w0, channelBytes), (at, wAt) => {
          const loaded = new Map(
            columns.map((column) => [column, f.let("v", load(type, s.elem, add(at, steps.get(column)!), 0))]),
          );
          for (const [kx, tapStep] of tapSteps.entries()) {
            const weight = f.let("weight", load(type, s.elem, add(wAt, tapStep), 0));
            for (const [p, sum] of acc.entries())
              f.assign(sum, multiplyAdd(lane, loaded.get(p * s.strides[2] + kx * dx)!, weight, sum));
          }
        });
        for (const [p, sum] of acc.entries()) finish(add(pixel, p), c, sum);
      });
    };

    /** One pixel, with the taps that exist: four vectors of channels at once, which are one cache line. */
    const single = (ox: Expr) => {
      const column0 = f.let("column0", sub(mul(ox, s.strides[2]), s.padLow[2]));
      const [k0, k1] = tapRange(f, s, 2, ox, inW);
      const at0 = f.let("at0", add(x0, mul(add(column0, mul(k0, dx)), pixelBytes)));
      const wAt0 = f.let("wAt0", add(w0, mul(k0, pixelBytes)));
      const nextColumn = f.let("nextColumn", mul(pixelBytes, dx));
      const pixel = f.let("pixel", add(outPixel0, ox));
      const sums = (type: LoopType, c: Expr, vectors: number) => {
        const acc = Array.from({ length: vectors }, (_, i) => f.mut(`sum${i}`, constant(type, 0)));
        const channelBytes = f.let("channelBytes", mul(c, bytes));
        forRows(add(at0, channelBytes), add(wAt0, channelBytes), (at, wAt) => {
          const a = f.mut("a", at);
          const b = f.mut("b", wAt);
          f.for("kx", k0, k1, 1, () => {
            for (const [i, sum] of acc.entries()) {
              const offset = i * lane.count;
              const v = load(type, s.elem, a, 0, offset);
              f.assign(sum, multiplyAdd(lane, v, load(type, s.elem, b, 0, offset), sum));
            }
            f.assign(a, add(a, nextColumn));
            f.assign(b, add(b, pixelBytes));
          });
        });
        for (const [i, sum] of acc.entries()) finish(pixel, add(c, i * lane.count), sum);
      };
      const line = 4 * lane.count;
      const whole = f.let("wholeLines", and(channels, -line));
      f.for("c", 0, whole, line, (c) => sums(lane.vector, c, 4));
      f.if(ltS(whole, channels), () => forChannels(f, lane, channels, (type, c) => sums(type, c, 1), whole));
    };

    // Pixels [begin, end) have all their taps within the row.
    const begin = f.let("inner0", minS(firstAtLeast(i32(s.padLow[2]), s.strides[2]), outW));
    const free = sub(add(inW, s.padLow[2]), (kw - 1) * dx);
    const end = f.let("inner1", maxS(begin, minS(firstAtLeast(free, s.strides[2]), outW)));
    // Where pixels are multiples of half a page apart, the columns of several fall into the same sets of the L1 cache.
    const apart = ne(and(pixelBytes, 2047), 0);
    const tiles = f.let("tiles", select(apart, add(begin, mul(divS(sub(end, begin), px), px)), begin));
    f.for("left", 0, begin, 1, single);
    f.for("ox", begin, tiles, px, (ox) => inner(ox, px));
    f.for("right", tiles, outW, 1, single);
  });
  const range = [int("begin"), int("end")];
  const fn = buildFunction(name, [...range, ...pointers, ...sizes, ...epilogue.params], undefined, (f) => {
    const { begin, end } = named(range);
    const z = sizeVariables();
    f.for("r", begin, end, 1, (r) => {
      const planes = f.let("planes", divS(r, z.output[1]));
      f.callNamed(row, {
        ...passedOn(pointers, sizes, epilogue.params),
        image: divS(planes, z.output[0]),
        oz: remS(planes, z.output[0]),
        oy: remS(r, z.output[1]),
        outPixel0: mul(r, z.output[2]),
      });
    });
  });

  return { fn, helpers: [row] };
}
