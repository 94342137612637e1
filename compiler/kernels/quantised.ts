/**
 * Integer products: operands of 8 bits become i16 with their zero points taken off, two to an i32 along K, and the `i16pair`
 * lane of gemm.ts and conv.ts multiplies and adds two of them a lane. Exact: |sums| stay below 2³¹ for K < 2¹⁵ (255² · K < 2³¹).
 *
 *   activations [rows, c] u8/i8  ──widenKernel──►  i16 [rows, c rounded up to even], read as i32 [rows, ceil(c/2)]
 *   weights     [K, N] i8        ──packPairs────►  panels [ceil(N/NR)][K/2][NR] of pairs (k, k+1)
 *
 * A convolution widens and pads with `widenPadKernel`, so that padding is the zero point's value, and pads each tap's channels
 * to an even number.
 */

import type { Elem, Expr } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import { add, and, divS, fill, geS, i32, load, ltS, mul, pointer, remS, splat, sub } from "../../ir/loop-build.js";
import type { Kernel } from "./gemm.js";
import { packBy } from "./pack.js";
import { int } from "./tile.js";

/** Pairs that `count` channels make. */
export const pairsOf = (count: number): number => Math.ceil(count / 2);

/**
 * Packs pairs of B[k, n] = b[at(k, n)] − zero(n) for taps · channels rows, where every tap's channels are rounded up to even:
 * taps = 1 for a matrix. `out` holds packedLength(taps · pairsOf(channels), n, nr) zeros.
 */
export function packPairs(
  b: ArrayLike<number>,
  taps: number,
  channels: number,
  n: number,
  nr: number,
  at: (tap: number, channel: number, n: number) => number,
  zero: (n: number) => number,
  out: Int32Array,
): Int32Array {
  const pairs = pairsOf(channels);
  const value = (tap: number, channel: number, column: number): number =>
    channel < channels ? (b[at(tap, channel, column)] as number) - zero(column) : 0;
  const wide = new Int32Array(taps * pairs * n);
  for (let tap = 0; tap < taps; tap++)
    for (let pair = 0; pair < pairs; pair++)
      for (let column = 0; column < n; column++)
        wide[(tap * pairs + pair) * n + column] =
          (value(tap, 2 * pair, column) & 0xffff) | (value(tap, 2 * pair + 1, column) << 16);
  return packBy(wide, taps * pairs, n, nr, (k, column) => k * n + column, out);
}

/** to[i] = from[i] − zero for a run of elements, eight at a time. */
function widenRun(f: Block, elem: "u8" | "i8", from: Expr, to: Expr, count: Expr, zero: Expr): void {
  const zeros = f.let("zeros", splat("i16x8", zero));
  const whole = f.let("whole", and(count, -8));
  f.for("i", 0, whole, 8, (i) => f.store("i16", to, i, sub(load("i16x8", elem, from, i), zeros)));
  f.for("i", whole, count, 1, (i) => f.store("i16", to, i, sub(load("i32", elem, from, i), zero)));
}

const geometry = ["d", "h", "w", "channels", "padFront", "padTop", "padLeft", "paddedD", "paddedH", "paddedW"].map(int);

/**
 * padded[image, z, y, x, c] = x[…] − zero as i16 inside, 0 in the padding and in the last channel where channels are odd.
 * The chunk axis has images · paddedD · paddedH values. Parameters: begin, end, x, padded, zero, d, h, w, channels, padFront,
 * padTop, padLeft, paddedD, paddedH, paddedW (pixels). A matrix [rows, channels] is one image of rows × 1.
 */
export function widenPadKernel(elem: "u8" | "i8"): Kernel {
  const row = buildFunction(
    `${elem}_widen_row`,
    [pointer("from", elem), pointer("to", "i16"), int("w"), int("channels"), int("zero")],
    undefined,
    (f, [from, to, w, channels, zero]) => {
      f.if(
        geS(and(channels, 1), 1),
        () =>
          f.for("x", 0, w, 1, (x) => {
            const at = f.let("at", add(to, mul(mul(x, add(channels, 1)), 2)));
            widenRun(f, elem, f.let("pixel", add(from, mul(x, channels))), at, channels, zero);
            f.store("i16", at, channels, i32(0));
          }),
        () => widenRun(f, elem, from, to, mul(w, channels), zero),
      );
    },
  );
  const params = [
    int("begin"),
    int("end"),
    pointer("x", elem),
    pointer("padded", "i16" satisfies Elem),
    int("zero"),
    ...geometry,
  ];
  const fn = buildFunction(`${elem}_widen_pad`, params, undefined, (f, args) => {
    const [begin, end, x, padded, zero, d, h, w, channels, front, top, left, paddedD, paddedH, paddedW] =
      args as readonly Expr[];
    const pixelBytes = f.let("pixelBytes", mul(add(channels!, and(channels!, 1)), 2));
    const pitch = f.let("pitch", mul(paddedW!, pixelBytes));
    f.for("r", begin!, end!, 1, (r) => {
      const to = f.let("to", add(padded!, mul(r, pitch)));
      const y = f.let("y", sub(remS(r, paddedH!), top!));
      const planes = f.let("planes", divS(r, paddedH!));
      const z = f.let("z", sub(remS(planes, paddedD!), front!));
      const image = f.let("image", divS(planes, paddedD!));
      f.push(fill(to, 0, pitch));
      f.if(and(and(geS(y, 0), ltS(y, h!)), and(geS(z, 0), ltS(z, d!))), () => {
        const from = add(x!, mul(mul(add(mul(add(mul(image, d!), z), h!), y), w!), channels!));
        f.call(row.name, [from, add(to, mul(left!, pixelBytes)), w!, channels!, zero!]);
      });
    });
  });
  return { fn, helpers: [row] };
}
