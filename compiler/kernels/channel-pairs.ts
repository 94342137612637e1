/**
 * Convolution in groups of two channels that give two: a depthwise convolution whose taps see the other channel of the pair as well.
 *
 *   y[image, oz, oy, ox, c] = epilogue(Σ_{taps} x[…, c] · w[tap, 0, c] + x[…, c ^ 1] · w[tap, 1, c])
 *
 * Channels change places in registers, once for each column of x that a tile of pixels sees.
 */

import { type Expr, elemBytes, type LoopType } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, constant, load, mul, shuffle, sub, xor } from "../../ir/loop-build.js";
import { isVector } from "../../ir/loop-types.js";
import { type DepthwiseSpec, pixelsOfTile } from "./depthwise.js";
import { depthwiseWalk } from "./depthwise-walk.js";
import type { Kernel } from "./kernel.js";
import { forChannels } from "./pool.js";
import { lanes, multiplyAdd } from "./tile.js";

/** w[c, …taps, 2], channels-last, to [taps][2][c]: of a channel itself, and of the other one of its pair. */
export function channelPairWeights<T extends { readonly length: number; [i: number]: number }>(
  w: T,
  channels: number,
  taps: number,
  out: T,
): T {
  for (let c = 0; c < channels; c++)
    for (let t = 0; t < taps; t++)
      for (let other = 0; other < 2; other++)
        out[(2 * t + other) * channels + c] = w[2 * (c * taps + t) + ((c + other) % 2)]!;
  return out;
}

/** Parameters as of `depthwiseWalk`. */
export function channelPairs(s: DepthwiseSpec): Kernel {
  const lane = lanes[s.elem];
  const bytes = elemBytes[s.elem];
  const yElem = s.yElem ?? s.elem;
  const changed = Array.from({ length: lane.count }, (_, l) => l ^ 1);
  /** What `v`, loaded from `at` for channel c, is of the other channels. */
  const otherOf = (f: Block, type: LoopType, v: Expr, at: Expr, c: Expr) =>
    f.let("other", isVector(type) ? shuffle(v, v, changed) : load(type, s.elem, at, sub(xor(c, 1), c)));
  return depthwiseWalk({
    what: "channel_pairs",
    suffix: yElem === s.elem ? "" : `_${yElem}`,
    spec: s,
    wElem: s.elem,
    yElem,
    perTap: 2,
    px: pixelsOfTile(s, 2),
    inner({ f, channels, w0, forRows, finish }, { count, columns, steps, tapSteps, columnOf, at0, pixel }) {
      const others = f.let("others", mul(channels, bytes));
      forChannels(f, lane, channels, (type, c) => {
        const acc = Array.from({ length: count }, (_, p) => f.mut(`acc${p}`, constant(type, 0)));
        const channelBytes = f.let("channelBytes", mul(c, bytes));
        forRows(add(at0, channelBytes), add(w0, channelBytes), (at, wAt) => {
          const places = new Map(columns.map((column) => [column, f.let("place", add(at, steps.get(column)!))]));
          const own = new Map(
            columns.map((column) => [column, f.let("v", load(type, s.elem, places.get(column)!, 0))]),
          );
          const products = (seen: ReadonlyMap<number, Expr>, weights: Expr) => {
            for (const [kx, tapStep] of tapSteps.entries()) {
              const weight = f.let("weight", load(type, s.elem, add(weights, tapStep), 0));
              for (const [p, sum] of acc.entries())
                f.assign(sum, multiplyAdd(lane, seen.get(columnOf(p, kx))!, weight, sum));
            }
          };
          products(own, wAt);
          const other = columns.map((k) => [k, otherOf(f, type, own.get(k)!, places.get(k)!, c)] as const);
          products(new Map(other), f.let("otherWeights", add(wAt, others)));
        });
        for (const [p, sum] of acc.entries()) finish(add(pixel, p), c, [sum]);
      });
    },
    single({ f, channels, tapBytes, forRows, finish }, { k0, k1, at0, wAt0, nextColumn, pixel }) {
      const others = f.let("others", mul(channels, bytes));
      forChannels(f, lane, channels, (type, c) => {
        const sum = f.mut("sum", constant(type, 0));
        const channelBytes = f.let("channelBytes", mul(c, bytes));
        forRows(add(at0, channelBytes), add(wAt0, channelBytes), (at, wAt) => {
          const a = f.mut("a", at);
          const b = f.mut("b", wAt);
          f.for("kx", k0, k1, 1, () => {
            const v = f.let("v", load(type, s.elem, a, 0));
            f.assign(sum, multiplyAdd(lane, v, load(type, s.elem, b, 0), sum));
            const weight = load(type, s.elem, add(b, others), 0);
            f.assign(sum, multiplyAdd(lane, otherOf(f, type, v, a, c), weight, sum));
            f.assign(a, add(a, nextColumn));
            f.assign(b, add(b, tapBytes));
          });
        });
        finish(pixel, c, [sum]);
      });
    },
  });
}
