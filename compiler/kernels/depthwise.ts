/**
 * Depthwise convolution (groups = input channels = output channels) of channels-last tensors:
 *
 *   y[image, oz, oy, ox, c] = epilogue(Σ_{kz,ky,kx} x[image, oz·sz − pz + kz·dz, …, c] · w[kz, ky, kx, c])
 *
 * Weights lie tap by tap, channels innermost (`depthwiseWeights`).
 *
 *   for each row of output pixels (chunk axis):
 *     for each PX neighbouring pixels whose windows lie within the row: for each vector of channels:
 *       for each kz, ky in x:   load the columns the PX windows see, once each; acc[PX] += x · w
 *     for each pixel left over at the row's ends: for each four vectors of channels: the taps that exist
 */

import { type Elem, type Expr, elemBytes, type LoopType } from "../../ir/loop.js";
import { add, and, constant, load, ltS, mul } from "../../ir/loop-build.js";
import { columnsSeen, depthwiseWalk } from "./depthwise-walk.js";
import type { Kernel } from "./kernel.js";
import { forChannels, type PoolSpec } from "./pool.js";
import { lanes, multiplyAdd } from "./tile.js";

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

/** The most pixels, up to 4, whose accumulators, columns and weights (so many a tap) V8 can hold in 15 registers. */
export function pixelsOfTile(s: PoolSpec, perTap = 1): number {
  for (let px = 4; px > 1; px--) if (columnsSeen(s, px).length + perTap * s.window[2] + px + 1 <= 15) return px;
  return 1;
}

/** Parameters as of `depthwiseWalk`. */
export function depthwise(s: DepthwiseSpec): Kernel {
  const lane = lanes[s.elem];
  const bytes = elemBytes[s.elem];
  const yElem = s.yElem ?? s.elem;
  return depthwiseWalk({
    what: "depthwise",
    suffix: yElem === s.elem ? "" : `_${yElem}`,
    spec: s,
    wElem: s.elem,
    yElem,
    px: pixelsOfTile(s),
    inner({ f, channels, w0, forRows, finish }, { count, columns, steps, tapSteps, columnOf, at0, pixel }) {
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
              f.assign(sum, multiplyAdd(lane, loaded.get(columnOf(p, kx))!, weight, sum));
          }
        });
        for (const [p, sum] of acc.entries()) finish(add(pixel, p), c, [sum]);
      });
    },
    // Four vectors of channels at once, which are one cache line.
    single({ f, channels, tapBytes, forRows, finish }, { k0, k1, at0, wAt0, nextColumn, pixel }) {
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
            f.assign(b, add(b, tapBytes));
          });
        });
        for (const [i, sum] of acc.entries()) finish(pixel, add(c, i * lane.count), [sum]);
      };
      const line = 4 * lane.count;
      const whole = f.let("wholeLines", and(channels, -line));
      f.for("c", 0, whole, line, (c) => sums(lane.vector, c, 4));
      f.if(ltS(whole, channels), () => forChannels(f, lane, channels, (type, c) => sums(type, c, 1), whole));
    },
  });
}
