/**
 * Phases of an image put side by side: the other half of a transposed convolution by sub-pixels.
 *
 *   y[image, i, j, c] = epilogue(x[image, (i + top) / sh, (j + left) / sw, (i + top) % sh, (j + left) % sw, c])
 */

import type { Expr } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, divS, eq, i32, load, mul, named, param, pointer, remS } from "../../ir/loop-build.js";
import { type Epilogue, identity } from "./epilogue.js";
import type { Kernel } from "./kernel.js";
import { int, ints, lanes } from "./tile.js";

export interface InterleaveSpec {
  readonly lane: "f32" | "f64";
  /** Phases along height and width. */
  readonly phases: readonly [number, number];
  /** Channels of a phase. */
  readonly channels: number;
  readonly epilogue?: Epilogue;
}

/**
 * The chunk axis has images · h values, rows of y. Parameters: begin, end, x, y, h, w (of y), blocksH, blocksW (of x), top, left, then
 * the epilogue's, whose rows are pixels of y.
 */
export function interleave({ lane: name, phases: [sh, sw], channels, epilogue = identity }: InterleaveSpec): Kernel {
  const lane = lanes[name];
  const bytes = elemBytes[lane.elem];
  const own = [
    int("begin"),
    int("end"),
    pointer("x", lane.elem),
    pointer("y", lane.elem),
    ...ints("h", "w", "blocksH", "blocksW", "top", "left"),
  ] as const;
  const extra = epilogue.params.map(param);
  const suffix = epilogue.name === "" ? "" : `_${epilogue.name}`;
  const stem = `${name}_interleave_${sh}x${sw}x${channels}${suffix}`;
  const block = sh * sw * channels;
  const fn = buildFunction(stem, [...own, ...epilogue.params], undefined, (f) => {
    const { begin, end, x, y, h, w, blocksH, blocksW, top, left } = named(own);
    f.for("r", begin, end, 1, (r) => {
      const line = f.let("line", add(remS(r, h), top));
      const first = mul(add(mul(divS(r, h), blocksH), divS(line, sh)), blocksW);
      const start = add(mul(add(first, divS(left, sw)), block), mul(remS(line, sh), sw * channels));
      const phase = f.mut("phase", remS(left, sw));
      const from = f.mut("from", add(x, mul(add(start, mul(phase, channels)), bytes)));
      const to = f.mut("to", add(y, mul(mul(r, w), channels * bytes)));
      f.for("j", i32(0), w, 1, (j) => {
        const row = f.let("row", add(mul(r, w), j));
        const store = (type: typeof lane.vector | typeof lane.scalar, column: Expr): void => {
          const value = f.let("value", load(type, lane.elem, from, column));
          f.store(lane.elem, to, column, epilogue.apply(f, value, { batch: i32(0), row, column }, extra));
        };
        const vectors = channels - (channels % lane.count);
        if (vectors > 0) f.for("c", i32(0), i32(vectors), lane.count, (c) => store(lane.vector, c));
        if (vectors < channels) {
          // What the last vector shares with the one before is stored twice.
          if (vectors > 0) store(lane.vector, i32(channels - lane.count));
          else f.for("c", i32(0), i32(channels), 1, (c) => store(lane.scalar, c));
        }
        f.assign(to, add(to, channels * bytes));
        f.assign(from, add(from, channels * bytes));
        f.assign(phase, add(phase, 1));
        f.if(eq(phase, sw), () => {
          f.assign(phase, 0);
          f.assign(from, add(from, (block - sw * channels) * bytes));
        });
      });
    });
  });
  return { fn, helpers: [] };
}
