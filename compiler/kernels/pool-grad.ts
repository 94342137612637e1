/**
 * The adjoints of the window reductions of pool.ts. Nothing is added up in memory: where windows are disjoint, each window
 * writes the elements it sees; otherwise every element of x gathers from the windows that see it, in order of the output.
 * The chunk axis are the images.
 */

import type { Expr, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import {
  add,
  and,
  broadcast,
  constant,
  eq,
  fill,
  load,
  minS,
  mul,
  named,
  param,
  pointer,
  remS,
  select,
  sub,
} from "../../ir/loop-build.js";
import type { Kernel } from "./kernel.js";
import {
  firstAtLeast,
  forChannels,
  forTaps,
  inBounds,
  laneOf,
  nameOf,
  type PoolSpec,
  passedOn,
  sizes,
  sizeVariables,
} from "./pool.js";
import { int, ints } from "./tile.js";

/** Whether no element of x is seen by two windows. */
const disjoint = (s: PoolSpec): boolean =>
  s.window.every((w, axis) => (w - 1) * s.dilations[axis]! + 1 <= s.strides[axis]!);

/**
 * The adjoint of `maxPool`: dx[index] += dy, and dx is zero elsewhere. Parameters: begin, end (images), dy, indices (i32), dx,
 * sizes (those of the forward pass).
 */
export function maxPoolGradient(s: PoolSpec): Kernel {
  return disjoint(s) && inBounds(s) ? scatter(s, true) : gather(s, true);
}

/** The adjoint of `windowSum`: dx is the sum of dy over the windows that see it. Parameters as above, without indices. */
export function windowSumGradient(s: PoolSpec): Kernel {
  return disjoint(s) && inBounds(s) ? scatter(s, false) : gather(s, false);
}

interface Pointers {
  readonly dy: LoopParam;
  /** Of the largest elements. */
  readonly indices: LoopParam | undefined;
  readonly dx: LoopParam;
  readonly list: readonly LoopParam[];
}

function pointersOf(s: PoolSpec, max: boolean): Pointers {
  const [dy, dx] = [pointer("dy", s.elem), pointer("dx", s.elem)];
  const indices = max ? pointer("indices", "i32") : undefined;
  return { dy, indices, dx, list: indices === undefined ? [dy, dx] : [dy, indices, dx] };
}

const range = [int("begin"), int("end")];

/** Windows that don't overlap: every output pixel writes all elements it sees. */
function scatter(s: PoolSpec, max: boolean): Kernel {
  const name = nameOf(s, max ? "maxpoolgrad" : "windowsumgrad");
  const lane = laneOf(s.elem, max);
  const bytes = elemBytes[s.elem];
  const pointers = pointersOf(s, max);
  const place = ints("oz", "oy", "outPixel0");
  const row = buildFunction(`${name}_row`, [...pointers.list, ...place, ...sizes], undefined, (f) => {
    const { oz, oy, outPixel0 } = named(place);
    const z = sizeVariables();
    const pixelBytes = f.let("pixelBytes", mul(z.channels, bytes));
    const y0 = sub(mul(oy, s.strides[1]), s.padLow[1]);
    const z0 = sub(mul(oz, s.strides[0]), s.padLow[0]);
    const planeRow = f.let("planeRow", mul(add(mul(z0, z.input[1]), y0), z.input[2]));
    f.for("ox", 0, z.output[2], 1, (ox) => {
      const plane0 = f.let("plane0", add(planeRow, sub(mul(ox, s.strides[2]), s.padLow[2])));
      const origin = f.let("origin", add(param(pointers.dx), mul(plane0, pixelBytes)));
      const out = f.let("outPixel", mul(add(outPixel0, ox), z.channels));
      const ranges = s.window.map((w) => [constant("i32", 0), constant("i32", w)] as const);
      forChannels(f, lane, z.channels, (type, c) => {
        const at = f.let("outAt", add(out, c));
        const dy = f.let("dy_", load(type, s.elem, param(pointers.dy), at));
        const indexType = type === lane.scalar ? "i32" : "i32x4";
        const { indices } = pointers;
        const where = indices && f.let("where", load(indexType, "i32", param(indices), at));
        const zero = constant(type, 0);
        forTaps(f, s, z, pixelBytes, origin, plane0, ranges, (tap) => {
          const value = where === undefined ? dy : select(eq(where, broadcast(indexType, tap.plane)), dy, zero);
          f.store(s.elem, tap.at, c, value);
        });
      });
    });
  });
  const fn = buildFunction(name, [...range, ...pointers.list, ...sizes], undefined, (f) => {
    const { begin, end } = named(range);
    const z = sizeVariables();
    const imageBytes = f.let("imageBytes", mul(mul(mul(z.input[0], z.input[1]), z.input[2]), mul(z.channels, bytes)));
    f.for("image", begin, end, 1, (image) => {
      const dx = f.let("dxImage", add(param(pointers.dx), mul(image, imageBytes)));
      // Elements that no window sees.
      f.push(fill(dx, 0, imageBytes));
      f.for("oz", 0, z.output[0], 1, (oz) =>
        f.for("oy", 0, z.output[1], 1, (oy) => {
          const outRow = add(mul(add(mul(image, z.output[0]), oz), z.output[1]), oy);
          const outPixel0 = mul(outRow, z.output[2]);
          f.callNamed(row, { ...passedOn(pointers.list, sizes), dx, oz, oy, outPixel0 });
        }),
      );
    });
  });
  return { fn, helpers: [row] };
}

/** Windows that overlap or reach into padding: every element of x looks at the windows that may see it. */
function gather(s: PoolSpec, max: boolean): Kernel {
  const name = nameOf(s, max ? "maxpoolgrad" : "windowsumgrad");
  const lane = laneOf(s.elem, max);
  const pointers = pointersOf(s, max);

  /** Output positions [from, to) of one axis whose windows may see an input position. */
  const windows = (f: Block, axis: 0 | 1 | 2, position: Expr, count: Expr): readonly [Expr, Expr] => {
    const at = f.let("at", add(position, s.padLow[axis]));
    const reach = (s.window[axis] - 1) * s.dilations[axis];
    return [
      f.let("from", firstAtLeast(sub(at, reach), s.strides[axis])),
      f.let("to", minS(firstAtLeast(add(at, 1), s.strides[axis]), count)),
    ];
  };
  /** Whether that window has a tap exactly there; undefined for always. An index says so by itself. */
  const seen = (axis: 0 | 1 | 2, position: Expr, out: Expr): Expr[] =>
    max || s.dilations[axis] === 1
      ? []
      : [eq(remS(sub(add(position, s.padLow[axis]), mul(out, s.strides[axis])), s.dilations[axis]), 0)];

  const place = ints("image", "iz", "iy");
  const row = buildFunction(`${name}_row`, [...pointers.list, ...place, ...sizes], undefined, (f) => {
    const { image, iz, iy } = named(place);
    const z = sizeVariables();
    const [inD, inH, inW] = z.input;
    const [outD, outH, outW] = z.output;
    const rangeZ = windows(f, 0, iz, outD);
    const rangeY = windows(f, 1, iy, outH);
    const imageOut = f.let("imageOut", mul(image, outD));
    const planeRow = f.let("planeRow", mul(add(mul(iz, inH), iy), inW));
    const imageIn = f.let("imageIn", mul(mul(mul(image, inD), inH), inW));
    f.for("ix", 0, inW, 1, (ix) => {
      const rangeX = windows(f, 2, ix, outW);
      const plane = f.let("plane", add(planeRow, ix));
      const to = f.let("to", mul(add(imageIn, plane), z.channels));
      forChannels(f, lane, z.channels, (type, c) => {
        const sum = f.mut("sum", constant(type, 0));
        const indexType = type === lane.scalar ? "i32" : "i32x4";
        f.for("oz", rangeZ[0], rangeZ[1], 1, (oz) =>
          f.for("oy", rangeY[0], rangeY[1], 1, (oy) => {
            const outRow = f.let("outRow", mul(add(mul(add(imageOut, oz), outH), oy), outW));
            f.for("ox", rangeX[0], rangeX[1], 1, (ox) => {
              const put = () => {
                const at = f.let("outAt", add(mul(add(outRow, ox), z.channels), c));
                const dy = load(type, s.elem, param(pointers.dy), at);
                const { indices } = pointers;
                const part =
                  indices === undefined
                    ? dy
                    : select(
                        eq(load(indexType, "i32", param(indices), at), broadcast(indexType, plane)),
                        dy,
                        constant(type, 0),
                      );
                f.assign(sum, add(sum, part));
              };
              const conditions = [...seen(0, iz, oz), ...seen(1, iy, oy), ...seen(2, ix, ox)];
              if (conditions.length === 0) put();
              else
                f.if(
                  conditions.reduce((a, b) => and(a, b)),
                  put,
                );
            });
          }),
        );
        f.store(s.elem, param(pointers.dx), add(to, c), sum);
      });
    });
  });
  const fn = buildFunction(name, [...range, ...pointers.list, ...sizes], undefined, (f) => {
    const { begin, end } = named(range);
    const z = sizeVariables();
    f.for("image", begin, end, 1, (image) =>
      f.for("iz", 0, z.input[0], 1, (iz) =>
        f.for("iy", 0, z.input[1], 1, (iy) => f.callNamed(row, { ...passedOn(pointers.list, sizes), image, iz, iy })),
      ),
    );
  });
  return { fn, helpers: [row] };
}
