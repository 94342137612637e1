/**
 * Input gradient of the channels-last convolution of conv.ts (names as there), which is also the transposed convolution. Every
 * output pixel adds its contribution to the segments it was computed from, so that exactly the products of the forward pass
 * are computed, and any stride and dilation is served:
 *
 *   dx[image, pixel + segment + i] += Σ_co dy[image, pixel, co] · w[segment][co, i]        i < run
 *
 * What rows of output pixels add to one row of dx through the rows of the kernel is summed in registers first:
 *
 *   for each row of dx: for each ox: dx[row, ox …] += Σ_{oy, ky: oy·stride + ky·dilation = row} Σ_co dy[oy, ox, co] · w[ky][co, …]
 *
 * A register tile takes MR *images* at one pixel: their outputs never overlap. The weights are packed per segment
 * (packInputGradientWeights). Every element adds up in one fixed order: planes of output pixels, rows of dx, the other segments, pixels of
 * the row, rows of the kernel.
 */

import type { Elem, Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  binary,
  divS,
  fill,
  geS,
  i32,
  leS,
  load,
  loadSplat,
  ltS,
  maxS,
  minS,
  mul,
  named,
  ne,
  param,
  pointer,
  remS,
  sub,
} from "../../ir/loop-build.js";
import {
  coverColumns,
  existing,
  firstColumn,
  Helpers,
  panelsOf,
  sharedWidth,
  type TileWidth,
  tileName,
} from "./columns.js";
import { segmentParams } from "./conv-walk.js";
import { identity } from "./epilogue.js";
import { rowTiles } from "./gemm-spec.js";
import type { Kernel } from "./kernel.js";
import { int, ints, type Lane, lanes, reduction, startTile, storeTile, tileStep } from "./tile.js";

export interface ConvGradSpec {
  readonly lane: "f32" | "f64";
  /** Rows of a tile: images (input gradient) or elements of K (weight gradient). Default 4. */
  readonly mr?: number;
  /** Columns of a tile, a multiple of the lanes; default 2 vectors. */
  readonly nr?: number;
  /** Nested loops over segments, default 2. */
  readonly loops?: 1 | 2 | 3;
  /** Columns where known when compiling: the run (input gradient) or output channels of a group (weight gradient). */
  readonly n?: number;
}

/** How rows of output pixels and of the kernel meet in rows of dx. */
export interface KernelRows {
  /** Which of the loops over segments is that over the kernel's height; undefined where it has one row. */
  readonly loop: number | undefined;
  readonly stride: number;
  readonly dilation: number;
}

export interface InputGradSpec extends ConvGradSpec {
  readonly rows: KernelRows;
}

/** Parameters of `convInputGradient`; strides in elements. */
export const inputGradientParams = (elem: Elem, loops: number): readonly LoopParam[] => [
  ...ownParams(elem),
  ...segmentParams(loops),
];

const ownParams = (elem: Elem) => [
  int("begin"),
  int("end"),
  pointer("dy", elem),
  pointer("w", elem), // packed, [group][segment][panel of the run][cout of the group][NR]
  pointer("dx", elem), // padded
  int("images"),
  int("k"), // output channels of a group
  int("groups"),
  int("dyGroup"), // k
  int("dxGroup"), // input channels of a group
  int("dyPixel"), // output channels in all
  int("outW"),
  int("outH"),
  int("outD"),
  int("stepW"), // as in conv.ts, on dx
  int("stepH"),
  int("stepD"),
  int("stepImage"), // elements of an image of dx
  int("run"),
];

/**
 * One row of MR images of dx against one panel, from `taps` rows of the kernel, each with its row of output pixels:
 *
 *   dx[image, pixel, column …] += Σ_tap dy[image, tap, pixel] · w[tap]
 */
function inputGradientRow(lane: Lane, mr: number, nr: number, width: TileWidth): LoopFunction {
  const { elem } = lane;
  const { vectors: nv } = width;
  const bytes = elemBytes[elem];
  const params = [
    pointer("dy", elem),
    pointer("w", elem),
    pointer("dx", elem),
    ...ints("pixels", "k", "taps", "dyPixel", "dxPixel", "dyImage", "dxImage", "dyTap", "wTap", "columns"),
  ];
  const name = `${lane.name}_convinputgradrow_${tileName(lane, mr, nr, width)}`;
  return buildFunction(name, params, undefined, (f) => {
    const { dy, w, dx, pixels, k, taps, dyPixel, dxPixel, dyImage, dxImage, dyTap, wTap, columns } = named(params);
    const [dyPitch, dxPitch, dyStep, dxStep] = [dyPixel, dxPixel, dyImage, dxImage].map((n) =>
      f.let("pitch", mul(n, bytes)),
    ) as [Expr, Expr, Expr, Expr];
    // From the end of one tap to the next.
    const dyNext = f.let("dyNext", mul(sub(dyTap, k), bytes));
    const wNext = f.let("wNext", mul(sub(wTap, mul(k, nr)), bytes));
    const dyRow = f.mut("dyRow", dy);
    const dxRow = f.mut("dxRow", dx);
    f.for("i", 0, pixels, 1, () => {
      const acc = startTile(f, lane, mr, nv);
      const a: Expr[] = [];
      for (let r = 0; r < mr; r++) a.push(f.mut(`dy${r}`, r === 0 ? dyRow : add(a[r - 1]!, dyStep)));
      const wAt = f.mut("wAt", w);
      f.for("tap", 0, taps, 1, () => {
        reduction(
          f,
          k,
          8,
          (u) =>
            tileStep(
              f,
              lane,
              acc,
              (r) => loadSplat(lane.vector, elem, a[r]!, 0, u),
              (v) => load(lane.vector, elem, wAt, 0, u * nr + firstColumn(lane, width, v)),
            ),
          (steps) => {
            for (const p of a) f.assign(p, add(p, steps * bytes));
            f.assign(wAt, add(wAt, steps * nr * bytes));
          },
        );
        for (const p of a) f.assign(p, add(p, dyNext));
        f.assign(wAt, add(wAt, wNext));
      });
      const rows: Expr[] = [dxRow];
      for (let r = 1; r < mr; r++) rows.push(f.let(`dx${r}`, add(rows[r - 1]!, dxStep)));
      storeTile(f, lane, acc, {
        elem,
        rowPointer: (r) => rows[r]!,
        epilogue: identity,
        params: [],
        at: () => ({ batch: i32(0), row: i32(0), column: i32(0) }),
        accumulate: true,
        firstColumn: (v) => firstColumn(lane, width, v),
        columns: existing(lane, width, columns),
      });
      f.assign(dyRow, add(dyRow, dyPitch));
      f.assign(dxRow, add(dxRow, dxPitch));
    });
  });
}

export interface InputGradientKernel extends Kernel {
  /** The chunk axis has ceil(images / chunkImages) values. */
  readonly chunkImages: number;
  readonly nr: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Input gradient over chunks of images; entry parameters: `inputGradientParams`. Zeroes dx first. */
export function convInputGradient(spec: InputGradSpec): InputGradientKernel {
  const lane = lanes[spec.lane];
  const { elem } = lane;
  const mr = spec.mr ?? 4;
  const nr = spec.nr ?? 2 * lane.count;
  const loops = spec.loops ?? 2;
  const { loop, stride, dilation } = spec.rows;
  const bytes = elemBytes[elem];
  const panels = panelsOf(lane, nr, spec.n);
  const helpers = new Helpers();
  const rowsName = `${loop === undefined ? "" : `rows${loop}`}s${stride}d${dilation}`;
  const name = `${lane.name}_convinputgrad_${loops}_${rowsName}_${mr}x${nr}${panels.suffix}`;
  const fn = buildFunction(name, inputGradientParams(elem, loops), undefined, (f) => {
    const p = named(ownParams(elem));
    const { begin, end, dy, w, dx, images, k, groups, dyGroup, dxGroup, dyPixel, outW, outH, outD } = p;
    const { stepW, stepH, stepD, stepImage, run } = p;
    const segmentArgs = segmentParams(loops).map(param);
    const [counts, steps] = [0, 1].map((which) => segmentArgs.filter((_, i) => i % 2 === which)) as [Expr[], Expr[]];
    const dyImage = f.let("dyImage", mul(mul(mul(outD, outH), outW), dyPixel));
    const panelCount = f.let("panels", divS(add(run, nr - 1), nr));
    const panel = f.let("panel", mul(k, nr));
    // From one round of each loop over segments to the next, in the weights.
    const wSteps = [f.let("wStep", mul(panelCount, panel))];
    for (const count of counts) wSteps.push(f.let("wStep", mul(wSteps.at(-1)!, count)));
    const kernelRows = loop === undefined ? i32(1) : counts[loop]!;
    const wRow = loop === undefined ? i32(0) : wSteps[loop]!;
    // Rows of the kernel that meet one row of dx lie so far apart, and the rows of output pixels that go with them.
    const [tapStep, rowStep] = [stride, dilation].map((x) => x / gcd(stride, dilation)) as [number, number];
    const pitch = f.let("pitch", divS(stepH, stride));
    const dxRows = f.let("dxRows", add(mul(sub(outH, 1), stride), add(mul(sub(kernelRows, 1), dilation), 1)));
    const dyRowSize = f.let("dyRowSize", mul(outW, dyPixel));
    const first = f.let("first", mul(begin, mr));
    const last = f.let("last", minS(mul(end, mr), images));
    f.push(fill(add(dx, mul(mul(first, stepImage), bytes)), 0, mul(mul(maxS(sub(last, first), 0), stepImage), bytes)));

    /** Row `y` of dx: the first row of the kernel that some row of output pixels meets it with, that row, and their number. */
    const meeting = (y: Expr, body: (ky: Expr, oy: Expr, taps: Expr) => void) => {
      const ky = f.mut("ky", i32(0));
      const rest = f.mut("rest", y);
      const misses = binary("or", ne(remS(rest, stride), 0), geS(rest, mul(outH, stride)));
      f.while(binary("and", ltS(ky, kernelRows), misses), () => {
        f.assign(ky, add(ky, 1));
        f.assign(rest, sub(rest, dilation));
      });
      f.if(binary("and", ltS(ky, kernelRows), geS(rest, 0)), () => {
        const oy = f.let("oy", divS(rest, stride));
        const more = minS(divS(sub(sub(kernelRows, 1), ky), tapStep), divS(oy, rowStep));
        body(ky, oy, f.let("taps", add(more, 1)));
      });
    };
    /** All segments but those of the kernel's rows, with their places in dx and in the weights. */
    const otherSegments = (i: number, at: Expr, wAt: Expr, body: (at: Expr, wAt: Expr) => void): void => {
      if (i < 0) body(at, wAt);
      else if (i === loop) otherSegments(i - 1, at, wAt, body);
      else
        f.for(`s${i}`, 0, counts[i]!, 1, (s) => {
          const next = f.let("segment", add(at, mul(s, steps[i]!)));
          otherSegments(i - 1, next, f.let("wSegment", add(wAt, mul(s, wSteps[i]!))), body);
        });
    };
    const image = f.mut("image", first);
    for (const size of rowTiles(mr)) {
      f.while(leS(add(image, size), last), () => {
        f.for("group", 0, groups, 1, (group) => {
          const wGroup = f.let("wGroup", mul(group, wSteps.at(-1)!));
          f.for("oz", 0, outD, 1, (oz) => {
            f.for("y", 0, dxRows, 1, (y) => {
              meeting(y, (ky, oy, taps) => {
                const dyRow = add(
                  mul(add(mul(oz, outH), oy), dyRowSize),
                  add(mul(image, dyImage), mul(group, dyGroup)),
                );
                const dyAt = f.let("dyAt", add(dy, mul(dyRow, bytes)));
                const dxPlane = add(add(mul(image, stepImage), mul(group, dxGroup)), mul(oz, stepD));
                const dxRow = f.let("dxRow", add(dxPlane, mul(y, pitch)));
                const wTap = f.let("wTap", add(wGroup, mul(ky, wRow)));
                otherSegments(loops - 1, dxRow, wTap, (at, wSegment) =>
                  coverColumns(f, lane, panels, i32(0), run, (width, column, columns) =>
                    f.callNamed(helpers.use(inputGradientRow(lane, size, nr, sharedWidth(panels, width))), {
                      dy: dyAt,
                      w: add(w, mul(add(wSegment, mul(column, k)), bytes)),
                      dx: add(dx, mul(add(at, column), bytes)),
                      pixels: outW,
                      k,
                      taps,
                      dyPixel,
                      dxPixel: stepW,
                      dyImage,
                      dxImage: stepImage,
                      dyTap: mul(dyRowSize, -rowStep),
                      wTap: mul(wRow, tapStep),
                      columns,
                    }),
                  ),
                );
              });
            });
          });
        });
        f.assign(image, add(image, size));
      });
    }
  });
  return { fn, helpers: helpers.list(), chunkImages: mr, nr };
}
