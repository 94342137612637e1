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
import type { Block } from "../../ir/loop-block.js";
import { add, binary, constant, i32, load, mul, shuffle } from "../../ir/loop-build.js";
import { columnsSeen, depthwiseWalk } from "./depthwise-walk.js";
import type { Ahead } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { forChannels, type PoolSpec } from "./pool.js";

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

/** The most pixels, up to 4, whose sums, columns, weights and two interleaved columns V8 can hold in 15 registers. */
function pixelsOfTile(s: PoolSpec): number {
  for (let px = 4; px > 1; px--) if (2 * px + columnsSeen(s, px).length + 4 <= 15) return px;
  return 1;
}

/** Sums of eight channels, four in each. */
const startSums = (f: Block, ahead: readonly (Ahead | undefined)[] = []): readonly Expr[] =>
  halves.map((h) => f.mut(`sum${h}`, ahead[h]?.start ?? constant("i32x4", 0)));

/** Parameters as of `depthwiseWalk`. */
export function depthwisePairs(spec: DepthwisePairsSpec): Kernel {
  const s: PoolSpec = { ...spec, elem: xElem };
  const yElem = spec.yElem ?? "i32";
  const wElem = spec.wElem ?? "i8";
  const wBytes = elemBytes[wElem];
  const kw = s.window[2];
  const dx = s.dilations[2];
  return depthwiseWalk({
    what: "depthwisepairs",
    suffix: `_${wElem}${yElem === "i32" ? "" : `_${yElem}`}`,
    spec: s,
    wElem,
    yElem,
    px: pixelsOfTile(s),
    inner(row, { count, columns, steps, tapSteps, columnOf, at0, pixel }) {
      const { f, channels, w0, forRows, finish } = row;
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
          for (const [p, sum] of acc.entries()) finish(add(pixel, p), c, [sum]);
          return;
        }
        const ahead = halves.map((h) => row.aheadOf(add(c, 4 * h)));
        const acc = Array.from({ length: count }, () => startSums(f, ahead));
        forRows(start, add(w0, mul(c, wBytes)), (at, wAt) => taps(at, wAt, acc));
        for (const [p, sums] of acc.entries()) finish(add(pixel, p), c, sums, ahead);
      });
    },
    single(row, { k0, k1, at0, wAt0, nextColumn, pixel }) {
      const { f, channels, tapBytes, forRows, finish } = row;
      forChannels(f, lanes, channels, (type, c) => {
        const sums = type === "i32" ? [f.mut("sum", i32(0))] : startSums(f);
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
        finish(pixel, c, sums);
      });
    },
  });
}
