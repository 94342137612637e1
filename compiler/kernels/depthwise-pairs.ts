/**
 * Depthwise convolution of i16 by i8 or i16, summed in i32, in the manner of depthwise.ts:
 *
 *   y[image, oz, oy, ox, c] = epilogue(Σ_{kz,ky,kx} x[image, oz·sz − pz + kz·dz, …, c] · w[kz, ky, kx, c])
 *
 * Eight channels at once. Within a row, two neighbouring taps are interleaved channel by channel, so that one instruction multiplies both
 * and adds them; the last of an odd number comes with a weight of 0:
 *
 *   for each row of output pixels (chunk axis):
 *     for each PX neighbouring pixels whose windows lie within the row: for each eight channels:
 *       for each kz, ky in x:   for each two taps: acc[PX][2] += dot(interleave(x at one tap, x at the next), interleave(w, w))
 *     for each pixel left over at the row's ends: for each eight channels: the taps that exist, one by one
 */

import { type Elem, type Expr, elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  binary,
  constant,
  divS,
  i32,
  load,
  maxS,
  minS,
  mul,
  named,
  ne,
  param,
  pointer,
  remS,
  select,
  shuffle,
  sub,
} from "../../ir/loop-build.js";
import { type Epilogue, identity } from "./epilogue.js";
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
import { int, ints } from "./tile.js";

export type DepthwisePairsSpec = Omit<PoolSpec, "elem"> & {
  /** Storage of w; default i8. */
  readonly wElem?: "i8" | "i16";
  /** Storage of y; default i32. */
  readonly yElem?: Elem;
};

const lanes = { scalar: "i32", vector: "i16x8", count: 8 } as const;
const xElem = "i16";
const xBytes = elemBytes[xElem];

/** Channels of two taps, side by side: the first four, and the last. */
const interleaved = [
  [0, 8, 1, 9, 2, 10, 3, 11],
  [4, 12, 5, 13, 6, 14, 7, 15],
] as const;
const halves = [0, 1] as const;

/** Columns of x, relative to the first pixel's first tap, that PX neighbouring windows see. */
function columnsSeen(s: PoolSpec, px: number): readonly number[] {
  const seen = new Set<number>();
  for (let p = 0; p < px; p++)
    for (let kx = 0; kx < s.window[2]; kx++) seen.add(p * s.strides[2] + kx * s.dilations[2]);
  return [...seen].sort((a, b) => a - b);
}

/** The most pixels, up to 4, whose sums, columns, weights and two interleaved columns V8 can hold in 15 registers. */
function pixelsOfTile(s: PoolSpec): number {
  for (let px = 4; px > 1; px--) if (2 * px + columnsSeen(s, px).length + 4 <= 15) return px;
  return 1;
}

/**
 * Parameters: begin, end (rows of output pixels: images · outD · outH), x, w ([taps][channels]), y, sizes as in pool.ts, then the
 * epilogue's, which sees the output pixel counted through all images as row and the channel as column.
 */
export function depthwisePairs(spec: DepthwisePairsSpec): Kernel {
  const s: PoolSpec = { ...spec, elem: xElem };
  const epilogue: Epilogue = s.epilogue ?? identity;
  const yElem = spec.yElem ?? "i32";
  const wElem = spec.wElem ?? "i8";
  const wBytes = elemBytes[wElem];
  const px = pixelsOfTile(s);
  const [, kh, kw] = s.window;
  const [dz, dy, dx] = s.dilations;
  const name = `${nameOf(s, "depthwisepairs")}_${wElem}${yElem === "i32" ? "" : `_${yElem}`}_${px}px`;
  const pointers = [pointer("x", xElem), pointer("w", wElem), pointer("y", yElem)];
  const place = ints("image", "oz", "oy", "outPixel0");
  const row = buildFunction(`${name}_row`, [...pointers, ...place, ...sizes, ...epilogue.params], undefined, (f) => {
    const { x, w, y } = named(pointers);
    const { image, oz, oy, outPixel0 } = named(place);
    const z = sizeVariables();
    const extra = epilogue.params.map(param);
    const { channels } = z;
    const [inD, inH, inW] = z.input;
    const outW = z.output[2];
    const pixelBytes = f.let("pixelBytes", mul(channels, xBytes));
    const tapBytes = f.let("tapBytes", mul(channels, wBytes));
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
    const finish = (pixel: Expr, c: Expr, acc: Expr) => {
      const value = epilogue.apply(f, acc, { batch: i32(0), row: pixel, column: c }, extra);
      f.store(yElem, y, add(mul(pixel, channels), c), value);
    };
    const finishBoth = (pixel: Expr, c: Expr, sums: readonly Expr[]) => {
      for (const h of halves) finish(pixel, add(c, 4 * h), sums[h]!);
    };
    const zeros = () => halves.map((h) => f.mut(`sum${h}`, constant("i32x4", 0)));

    /** `count` pixels from ox, all their taps within the row. */
    const inner = (ox: Expr, count: number) => {
      const columns = columnsSeen(s, count);
      const steps = new Map(columns.map((column) => [column, f.let("step", mul(pixelBytes, column))]));
      const tapSteps = Array.from({ length: kw }, (_, kx) => f.let("tapStep", mul(tapBytes, kx)));
      const at0 = f.let("at0", add(x0, mul(sub(mul(ox, s.strides[2]), s.padLow[2]), pixelBytes)));
      const pixel = f.let("pixel", add(outPixel0, ox));
      const columnOf = (p: number, kx: number) => p * s.strides[2] + kx * dx;
      /** A row of taps of eight channels. */
      const taps = (at: Expr, wAt: Expr, acc: readonly (readonly Expr[])[]) => {
        const loaded = new Map(columns.map((c) => [c, f.let("v", load("i16x8", xElem, add(at, steps.get(c)!), 0))]));
        const pairs = new Map<number, readonly Expr[]>();
        // The next column, or where there is none, any: its weight is 0.
        const pairAt = (column: number): readonly Expr[] => {
          const known = pairs.get(column);
          if (known !== undefined) return known;
          const [a, b] = [loaded.get(column)!, loaded.get(column + dx) ?? loaded.get(column)!];
          const made = interleaved.map((order) => f.let("pair", shuffle(a, b, order)));
          pairs.set(column, made);
          return made;
        };
        for (let kx = 0; kx < kw; kx += 2) {
          const one = f.let("one", load("i16x8", wElem, add(wAt, tapSteps[kx]!), 0));
          const other = kx + 1 < kw ? load("i16x8", wElem, add(wAt, tapSteps[kx + 1]!), 0) : constant("i16x8", 0);
          const two = f.let("two", other);
          const weights = interleaved.map((order) => f.let("weights", shuffle(one, two, order)));
          for (const [p, sums] of acc.entries()) {
            const pair = pairAt(columnOf(p, kx));
            for (const h of halves) f.assign(sums[h]!, add(binary("dotI16", pair[h]!, weights[h]!), sums[h]!));
          }
        }
      };
      forChannels(f, lanes, channels, (type, c) => {
        const start = f.let("start", add(at0, mul(c, xBytes)));
        if (type === "i32") {
          const acc = Array.from({ length: count }, (_, p) => f.mut(`acc${p}`, i32(0)));
          forRows(start, add(w0, mul(c, wBytes)), (at, wAt) => {
            for (const [kx, tapStep] of tapSteps.entries()) {
              const weight = f.let("weight", load("i32", wElem, add(wAt, tapStep), 0));
              for (const [p, sum] of acc.entries()) {
                const v = load("i32", xElem, add(at, steps.get(columnOf(p, kx))!), 0);
                f.assign(sum, add(mul(v, weight), sum));
              }
            }
          });
          for (const [p, sum] of acc.entries()) finish(add(pixel, p), c, sum);
          return;
        }
        const acc = Array.from({ length: count }, zeros);
        forRows(start, add(w0, mul(c, wBytes)), (at, wAt) => taps(at, wAt, acc));
        for (const [p, sums] of acc.entries()) finishBoth(add(pixel, p), c, sums);
      });
    };

    /** One pixel, with the taps that exist. */
    const single = (ox: Expr) => {
      const column0 = f.let("column0", sub(mul(ox, s.strides[2]), s.padLow[2]));
      const [k0, k1] = tapRange(f, s, 2, ox, inW);
      const at0 = f.let("at0", add(x0, mul(add(column0, mul(k0, dx)), pixelBytes)));
      const wAt0 = f.let("wAt0", add(w0, mul(k0, tapBytes)));
      const nextColumn = f.let("nextColumn", mul(pixelBytes, dx));
      const pixel = f.let("pixel", add(outPixel0, ox));
      forChannels(f, lanes, channels, (type, c) => {
        const sums = type === "i32" ? [f.mut("sum", i32(0))] : zeros();
        forRows(add(at0, mul(c, xBytes)), add(wAt0, mul(c, wBytes)), (at, wAt) => {
          const a = f.mut("a", at);
          const b = f.mut("b", wAt);
          f.for("kx", k0, k1, 1, () => {
            const v = f.let("v", load(type, xElem, a, 0));
            const weight = f.let("weight", load(type, wElem, b, 0));
            const products =
              type === "i32" ? [mul(v, weight)] : [binary("extmulLowS", v, weight), binary("extmulHighS", v, weight)];
            for (const [i, sum] of sums.entries()) f.assign(sum, add(products[i]!, sum));
            f.assign(a, add(a, nextColumn));
            f.assign(b, add(b, tapBytes));
          });
        });
        if (type === "i32") finish(pixel, c, sums[0]!);
        else finishBoth(pixel, c, sums);
      });
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
