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
 *     for each pixel at the row's ends: the same with PX = 1 and the taps that exist
 */

import type { Expr, LoopType } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import { add, constant, divS, i32, load, maxS, minS, mul, pointer, remS, sub } from "../../ir/loop-build.js";
import { identity } from "./epilogue.js";
import type { Kernel } from "./gemm.js";
import { firstAtLeast, forChannels, nameOf, type PoolSpec, sizes, sizesOf, tapRange } from "./pool.js";
import { int, lanes, multiplyAdd } from "./tile.js";

export type DepthwiseSpec = PoolSpec & { readonly elem: "f32" | "f64" };

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
  const name = `${nameOf(s, "depthwise")}_${px}px`;
  const pointers = [pointer("x", s.elem), pointer("w", s.elem), pointer("y", s.elem)];
  const n = pointers.length;
  const row = buildFunction(
    `${name}_row`,
    [...pointers, int("image"), int("oz"), int("oy"), int("outPixel0"), ...sizes, ...epilogue.params],
    undefined,
    (f, all) => {
      const args = all as readonly Expr[];
      const [x, w, y, image, oz, oy, outPixel0] = args as readonly Expr[] as Expr[];
      const z = sizesOf(args.slice(n + 4));
      const extra = args.slice(n + 4 + sizes.length);
      const { channels } = z;
      const [inD, inH, inW] = z.input;
      const outW = z.output[2];
      const pixelBytes = f.let("pixelBytes", mul(channels, bytes));
      const [z0, z1] = tapRange(f, s, 0, oz!, inD);
      const [y0, y1] = tapRange(f, s, 1, oy!, inH);
      const originZ = sub(mul(oz!, s.strides[0]), s.padLow[0]);
      const originY = sub(mul(oy!, s.strides[1]), s.padLow[1]);
      const rowPixel = f.let("rowPixel", mul(add(mul(add(mul(image!, inD), originZ), inH), originY), inW));

      /** Loops over kz and ky; the body gets the pixel number of x at column 0 and the tap number of kx = 0. */
      const forRows = (body: (pixel: Expr, tap: Expr) => void) =>
        f.for("kz", z0, z1, 1, (kz) =>
          f.for("ky", y0, y1, 1, (ky) =>
            body(
              f.let("tapPixel", add(rowPixel, mul(add(mul(mul(kz, dz), inH), mul(ky, dy)), inW))),
              f.let("tap", mul(add(mul(kz, kh), ky), kw)),
            ),
          ),
        );
      const finish = (ox: Expr, c: Expr, acc: Expr) => {
        const pixel = f.let("pixel", add(outPixel0!, ox));
        const value = epilogue.apply(f, acc, { batch: i32(0), row: pixel, column: c }, extra);
        f.store(s.elem, y!, add(mul(pixel, channels), c), value);
      };

      /** `count` pixels from ox, all taps within the row. */
      const inner = (ox: Expr, count: number) => {
        const columns = columnsSeen(s, count);
        const column0 = f.let("column0", sub(mul(ox, s.strides[2]), s.padLow[2]));
        forChannels(f, lane, channels, (type, c) => {
          const acc = Array.from({ length: count }, (_, p) => f.mut(`acc${p}`, constant(type, 0)));
          const channelBytes = f.let("channelBytes", mul(c, bytes));
          forRows((pixel, tap) => {
            const at = f.let("at", add(add(x!, channelBytes), mul(add(pixel, column0), pixelBytes)));
            const loaded = new Map(
              columns.map((column) => [column, f.let("v", load(type, s.elem, add(at, mul(pixelBytes, column)), 0))]),
            );
            const wAt = f.let("wAt", add(add(w!, channelBytes), mul(tap, pixelBytes)));
            for (let kx = 0; kx < kw; kx++) {
              const weight = f.let("weight", load(type, s.elem, add(wAt, mul(pixelBytes, kx)), 0));
              for (const [p, sum] of acc.entries())
                f.assign(sum, multiplyAdd(lane, loaded.get(p * s.strides[2] + kx * dx)!, weight, sum));
            }
          });
          for (const [p, sum] of acc.entries()) finish(add(ox, p), c, sum);
        });
      };

      /** One pixel at the end of a row: some of its taps lie outside. */
      const edge = (ox: Expr) => {
        const column0 = f.let("edge0", sub(mul(ox, s.strides[2]), s.padLow[2]));
        const [x0, x1] = tapRange(f, s, 2, ox, inW);
        forChannels(f, lane, channels, (type: LoopType, c) => {
          const acc = f.mut("acc", constant(type, 0));
          forRows((pixel, tap) =>
            f.for("kx", x0, x1, 1, (kx) => {
              const from = mul(add(add(pixel, column0), mul(kx, dx)), channels);
              const v = load(type, s.elem, x!, add(from, c));
              f.assign(acc, multiplyAdd(lane, v, load(type, s.elem, w!, add(mul(add(tap, kx), channels), c)), acc));
            }),
          );
          finish(ox, c, acc);
        });
      };

      // Pixels [begin, end) have all their taps within the row.
      const begin = f.let("inner0", minS(firstAtLeast(i32(s.padLow[2]), s.strides[2]), outW));
      const free = sub(add(inW, s.padLow[2]), (kw - 1) * dx);
      const end = f.let("inner1", maxS(begin, minS(firstAtLeast(free, s.strides[2]), outW)));
      f.for("left", 0, begin, 1, edge);
      const tiles = f.let("tiles", add(begin, mul(divS(sub(end, begin), px), px)));
      f.for("ox", begin, tiles, px, (ox) => inner(ox, px));
      if (px > 1) f.for("ox", tiles, end, 1, (ox) => inner(ox, 1));
      f.for("right", end, outW, 1, edge);
    },
  );
  const fn = buildFunction(
    name,
    [int("begin"), int("end"), ...pointers, ...sizes, ...epilogue.params],
    undefined,
    (f: Block, all) => {
      const args = all as readonly Expr[];
      const z = sizesOf(args.slice(2 + n));
      f.for("r", args[0]!, args[1]!, 1, (r) => {
        const planes = f.let("planes", divS(r, z.output[1]));
        f.call(row.name, [
          ...args.slice(2, 2 + n),
          divS(planes, z.output[0]),
          remS(planes, z.output[0]),
          remS(r, z.output[1]),
          mul(r, z.output[2]),
          ...args.slice(2 + n),
        ]);
      });
    },
  );

  return { fn, helpers: [row] };
}
