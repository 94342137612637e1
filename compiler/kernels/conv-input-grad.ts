/**
 * Input gradient of the channels-last convolution of conv.ts (names as there), which is also the transposed convolution. Every
 * output pixel adds its contribution to the segments it was computed from, so that exactly the products of the forward pass
 * are computed, and any stride and dilation is served:
 *
 *   dx[image, pixel + segment + i] += Σ_co dy[image, pixel, co] · w[segment][co, i]        i < run
 *
 * A register tile takes MR *images* at one pixel: their outputs never overlap. The weights are packed per segment
 * (packInputGradientWeights). Every element adds up in one fixed order: rows of output pixels, segments, pixels of the row.
 */

import type { Elem, Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import {
  add,
  divS,
  fill,
  i32,
  leS,
  load,
  loadSplat,
  maxS,
  minS,
  mul,
  named,
  param,
  pointer,
  sub,
} from "../../ir/loop-build.js";
import { coverColumns, existing, Helpers, panelsOf, sharedWidth, type TileWidth, tileName } from "./columns.js";
import { segmentLoops, segmentParams } from "./conv.js";
import { identity } from "./epilogue.js";
import { type Kernel, rowTiles } from "./gemm.js";
import { int, type Lane, lanes, reduction, storeTile, tileStep, zeroTile } from "./tile.js";

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

/** One row of output pixels of MR images against one panel: dx[image, pixel, column …] += dy[image, pixel] · w. */
function inputGradientRow(lane: Lane, mr: number, nr: number, width: TileWidth): LoopFunction {
  const { elem } = lane;
  const { vectors: nv } = width;
  const bytes = elemBytes[elem];
  const L = lane.count;
  const params = [
    pointer("dy", elem),
    pointer("w", elem),
    pointer("dx", elem),
    int("pixels"),
    int("k"),
    int("dyPixel"),
    int("dxPixel"),
    int("dyImage"),
    int("dxImage"),
    int("columns"),
  ];
  const name = `${lane.name}_convinputgradrow_${tileName(lane, mr, nr, width)}`;
  return buildFunction(name, params, undefined, (f) => {
    const { dy, w, dx, pixels, k, dyPixel, dxPixel, dyImage, dxImage, columns } = named(params);
    const dyPitch = f.let("dyPitch", mul(dyPixel, bytes));
    const dxPitch = f.let("dxPitch", mul(dxPixel, bytes));
    const dyStep = f.let("dyStep", mul(dyImage, bytes));
    const dxStep = f.let("dxStep", mul(dxImage, bytes));
    const dyRow = f.mut("dyRow", dy);
    const dxRow = f.mut("dxRow", dx);
    f.for("i", 0, pixels, 1, () => {
      const acc = zeroTile(f, lane, mr, nv);
      const a: Expr[] = [];
      for (let r = 0; r < mr; r++) a.push(f.mut(`dy${r}`, r === 0 ? dyRow : add(a[r - 1]!, dyStep)));
      const wAt = f.mut("wAt", w);
      reduction(
        f,
        k,
        4,
        (u) =>
          tileStep(
            f,
            lane,
            acc,
            (r) => loadSplat(lane.vector, elem, a[r]!, 0, u),
            (v) => load(lane.vector, elem, wAt, 0, u * nr + v * L),
          ),
        (steps) => {
          for (const p of a) f.assign(p, add(p, steps * bytes));
          f.assign(wAt, add(wAt, steps * nr * bytes));
        },
      );
      const rows: Expr[] = [dxRow];
      for (let r = 1; r < mr; r++) rows.push(f.let(`dx${r}`, add(rows[r - 1]!, dxStep)));
      storeTile(f, lane, acc, {
        elem,
        rowPointer: (r) => rows[r]!,
        epilogue: identity,
        params: [],
        at: () => ({ batch: i32(0), row: i32(0), column: i32(0) }),
        accumulate: true,
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

/** Input gradient over chunks of images; entry parameters: `inputGradientParams`. Zeroes dx first. */
export function convInputGradient(spec: ConvGradSpec): InputGradientKernel {
  const lane = lanes[spec.lane];
  const { elem } = lane;
  const mr = spec.mr ?? 4;
  const nr = spec.nr ?? 2 * lane.count;
  const loops = spec.loops ?? 2;
  const bytes = elemBytes[elem];
  const panels = panelsOf(lane, nr, spec.n);
  const helpers = new Helpers();
  const name = `${lane.name}_convinputgrad_${loops}_${mr}x${nr}${panels.suffix}`;
  const fn = buildFunction(name, inputGradientParams(elem, loops), undefined, (f) => {
    const p = named(ownParams(elem));
    const { begin, end, dy, w, dx, images, k, groups, dyGroup, dxGroup, dyPixel, outW, outH, outD } = p;
    const { stepW, stepH, stepD, stepImage, run } = p;
    const segmentArgs = segmentParams(loops).map(param);
    const dyImage = f.let("dyImage", mul(mul(mul(outD, outH), outW), dyPixel));
    const panelCount = f.let("panels", divS(add(run, nr - 1), nr));
    const panelBytes = f.let("panelBytes", mul(k, nr * bytes));
    const first = f.let("first", mul(begin, mr));
    const last = f.let("last", minS(mul(end, mr), images));
    f.push(fill(add(dx, mul(mul(first, stepImage), bytes)), 0, mul(mul(maxS(sub(last, first), 0), stepImage), bytes)));
    const image = f.mut("image", first);
    for (const size of rowTiles(mr)) {
      f.while(leS(add(image, size), last), () => {
        const wAt = f.mut("wAt", w);
        f.for("group", 0, groups, 1, (group) => {
          const dyAt = f.let("dyAt", add(dy, mul(add(mul(image, dyImage), mul(group, dyGroup)), bytes)));
          const dxAt = f.let("dxAt", add(dx, mul(add(mul(image, stepImage), mul(group, dxGroup)), bytes)));
          const wGroup = f.let("wGroup", wAt);
          f.for("oz", 0, outD, 1, (oz) => {
            f.for("oy", 0, outH, 1, (oy) => {
              const dyRow = f.let("dyRow", add(dyAt, mul(mul(add(mul(oz, outH), oy), outW), mul(dyPixel, bytes))));
              const dxRow = f.let("dxRow", add(dxAt, mul(add(mul(oz, stepD), mul(oy, stepH)), bytes)));
              f.assign(wAt, wGroup);
              segmentLoops(f, segmentArgs, bytes, (offset) => {
                coverColumns(f, lane, panels, i32(0), run, (width, column, columns) => {
                  f.callNamed(helpers.use(inputGradientRow(lane, size, nr, sharedWidth(panels, width))), {
                    dy: dyRow,
                    w: wAt,
                    dx: add(add(dxRow, offset), mul(column, bytes)),
                    pixels: outW,
                    k,
                    dyPixel,
                    dxPixel: stepW,
                    dyImage,
                    dxImage: stepImage,
                    columns,
                  });
                  f.assign(wAt, add(wAt, panelBytes));
                });
              });
            });
          });
          // Also where there were no output pixels.
          const segmentsInAll = segmentArgs.filter((_, i) => i % 2 === 0).reduce((a, b) => mul(a, b), panelCount);
          f.assign(wAt, add(wGroup, mul(segmentsInAll, panelBytes)));
        });
        f.assign(image, add(image, size));
      });
    }
  });
  return { fn, helpers: helpers.list(), chunkImages: mr, nr };
}
