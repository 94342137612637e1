/**
 * Convolution as implicit GEMM over channels-last tensors: no im2col buffer.
 *
 *   x[image, z, y, x, cin]   (padded already, see pad.ts)      w packed from [K = taps·cin, cout] (packConvWeights)
 *   y[image, oz, oy, ox, cout] = epilogue(Σ_{kz,ky,kx,c} x[image, oz·sz + kz·dz, oy·sy + ky·dy, ox·sx + kx·dx, c] · w[kz,ky,kx,c, cout])
 *
 * With the input padded, the elements that one output pixel sums lie at the same offsets from that pixel's first element for
 * every pixel: a few runs of neighbouring elements ("segments"), kw·cin long where the width isn't dilated and there is one
 * group, cin long otherwise. So a register tile needs one pointer per pixel, and K is a loop over segments around a loop over
 * the run:
 *
 *   for each chunk of (group, block of pixels, block of output channels):
 *     for each panel of NR output channels:
 *       for each tile of MR pixels (counted through rows, planes and images):
 *         for each segment: for each element of the run: acc[MR][NR] += x[pixel + segment + i] · w[k++]
 *         y = epilogue(acc)
 *
 * 1-D convolution has outH = outD = 1; a 1×1 convolution without stride is a plain GEMM (gemm.ts).
 */

import { InternalError } from "../../ir/errors.js";
import type { Elem, Expr, LoopFunction, LoopParam } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, divS, geS, i32, maxS, minS, mul, named, param, pointer, remS, sub } from "../../ir/loop-build.js";
import {
  coverColumns,
  evenBlocks,
  existing,
  firstColumn,
  Helpers,
  panelsOf,
  sharedWidth,
  type TileWidth,
  tileName,
} from "./columns.js";
import { pixelWalk, segmentLoops, segmentParams, walkParams } from "./conv-walk.js";
import { type Epilogue, identity } from "./epilogue.js";
import { rowTiles } from "./gemm-spec.js";
import type { Kernel } from "./kernel.js";
import {
  aheadOfTile,
  columnVector,
  int,
  type Lane,
  lanes,
  reduction,
  splatStep,
  startTile,
  stepsOf,
  storeTile,
  tileStep,
} from "./tile.js";

export interface ConvSpec {
  /**
   * `i16pair`: x of i16, w packed in pairs along each run (pack-pairs.ts). Where the run is odd, one element beyond it is read
   * and multiplied by 0: x then has one element more in memory.
   */
  readonly lane: "f32" | "f64" | "i16pair";
  readonly epilogue?: Epilogue;
  /** Storage of w; default the lane's own operands. */
  readonly wElem?: Elem;
  /** Storage of y; default the lane's own element. The epilogue gives values of the lane's registers. */
  readonly yElem?: Elem;
  /** Pixels of a tile; default 4. */
  readonly mr?: number;
  /** Output channels of a tile and of a packed panel, a multiple of the lanes; default 2 vectors. */
  readonly nr?: number;
  /** Nested loops over segments: 1, 2 or 3; see `segments`. Default 2. */
  readonly loops?: 1 | 2 | 3;
  /** Steps of the run in one turn of the inner loop; best where it divides the run. Default 4. */
  readonly unroll?: number;
  /**
   * What is known of the run: `run`: it has `unroll` steps, so that the innermost loop over segments is the inner loop, a segment a turn;
   * `whole`: `unroll` divides it. Default: neither.
   */
  readonly turns?: "run" | "whole";
  /** Output channels of a group where known when compiling: tails that can't occur are left out. */
  readonly n?: number;
}

export interface ConvKernel extends Kernel {
  /** The chunk axis has groups · ceil(pixels/chunkPixels) · ceil(n/chunkColumns) values, pixels counted through all images. */
  readonly chunkPixels: number;
  readonly chunkColumns: number;
  readonly mr: number;
  readonly nr: number;
}

/** Parameters of a convolution entry before those of the epilogue; strides in elements. */
export const convParams = (
  xElem: Elem,
  loops: number,
  yElem: Elem = xElem,
  wElem: Elem = xElem,
): readonly LoopParam[] => [...ownParams(xElem, yElem, wElem), ...segmentParams(loops)];

/** Those that every convolution has. */
const ownParams = (xElem: Elem, yElem: Elem, wElem: Elem) => [
  int("begin"),
  int("end"),
  pointer("x", xElem),
  pointer("w", wElem),
  pointer("y", yElem),
  int("pixels"), // images · outD · outH · outW
  int("n"), // output channels of a group
  int("groups"),
  int("xGroup"), // from a group's first input channel to the next group's
  int("wGroup"), // packedLength of a group's weights
  int("yPixel"), // output channels in all: pixel pitch of y
  ...walkParams,
  int("run"),
];

const chunkPixels = 128;
const chunkColumns = 64;

interface Full {
  readonly lane: Lane;
  readonly epilogue: Epilogue;
  readonly wElem: Elem;
  readonly yElem: Elem;
  readonly mr: number;
  readonly nr: number;
  readonly loops: number;
  readonly unroll: number;
  readonly turns: "run" | "whole" | undefined;
}

function stem(s: Full, part: string): string {
  const epilogue = s.epilogue.name === "" ? "" : `_${s.epilogue.name}`;
  const weights = s.wElem === s.lane.operand ? "" : `_${s.wElem}`;
  const storage = `${weights}${s.yElem === s.lane.elem ? "" : `_${s.yElem}`}`;
  const turns = `${s.unroll}${s.turns ?? ""}`;
  return `${s.lane.name}_${part}_${s.loops}_${turns}${storage}${epilogue}`;
}

/** All tiles of MR pixels among `count` pixels from `first`, against one panel (or its first NV vectors). */
function strip(s: Full, mr: number, width: TileWidth): LoopFunction {
  const { lane } = s;
  const { vectors: nv } = width;
  const xBytes = elemBytes[lane.operand];
  const stepBytes = xBytes * lane.depth;
  const wBytes = elemBytes[s.wElem] * lane.depth;
  const columnOf = (v: number) => firstColumn(lane, width, v);
  const own = [
    pointer("x", lane.operand),
    pointer("w", s.wElem),
    pointer("y", s.yElem),
    int("first"),
    int("count"),
    int("yPixel"),
    ...walkParams,
    int("run"),
  ];
  const place = [int("column"), int("columns")];
  const params = [...own, ...segmentParams(s.loops), ...place, ...s.epilogue.params];
  return buildFunction(`${stem(s, "convstrip")}_${tileName(lane, mr, s.nr, width)}`, params, undefined, (f) => {
    const p = named(own);
    const { x, w, y, first, count, yPixel, run } = p;
    const { column, columns } = named(place);
    const extra = s.epilogue.params.map(param);
    const exist = existing(lane, width, columns);
    const walk = pixelWalk(f, x, first, p, xBytes);
    const yBytes = elemBytes[s.yElem];
    const yPitch = f.let("yPitch", mul(yPixel, yBytes));
    const steps = f.let("steps", stepsOf(lane, run));
    const segments = segmentParams(s.loops).map(param);
    const [innerCount, innerStep] = segments as [Expr, Expr];
    // What one round of the loops over segments takes: a run, or all runs of the innermost loop.
    const wholeRuns = s.turns === "run";
    const count0 = wholeRuns ? f.let("count0", mul(innerCount, s.unroll)) : steps;
    const runBytes = f.let("runBytes", mul(count0, s.nr * wBytes));
    const turnBytes = wholeRuns ? f.let("turnBytes", mul(innerStep, xBytes)) : undefined;
    const yAt = f.mut("yAt", add(y, mul(mul(first, yPixel), yBytes)));
    const finish = { epilogue: s.epilogue, params: extra, columns: exist, firstColumn: columnOf };
    const ahead = aheadOfTile(f, nv, finish, column);
    f.for("i", 0, sub(count, mr - 1), mr, (i) => {
      const pixels: Expr[] = [];
      for (let r = 0; r < mr; r++) {
        pixels.push(f.let(`pixel${r}`, walk.at));
        walk.next();
      }
      const acc = startTile(f, lane, mr, nv, ahead);
      const wSegment = f.mut("wSegment", w);
      segmentLoops(f, wholeRuns ? segments.slice(2) : segments, xBytes, (offset) => {
        const xAt = pixels.map((p, r) => f.mut(`x${r}`, add(p, offset)));
        const wAt = f.mut("wAt", wSegment);
        reduction(
          f,
          count0,
          s.unroll,
          (u) =>
            tileStep(
              f,
              lane,
              acc,
              (r) => splatStep(lane, lane.operand, xAt[r]!, u),
              (v) => columnVector(lane, s.wElem, wAt, u * s.nr + columnOf(v)),
            ),
          (turn) => {
            for (const p of xAt) f.assign(p, add(p, turnBytes ?? turn * stepBytes));
            f.assign(wAt, add(wAt, turn * s.nr * wBytes));
          },
          s.turns !== undefined,
        );
        f.assign(wSegment, add(wSegment, runBytes));
      });
      const rows: Expr[] = [yAt];
      for (let r = 1; r < mr; r++) rows.push(f.let(`y${r}`, add(rows[r - 1]!, yPitch)));
      storeTile(f, lane, acc, {
        elem: s.yElem,
        rowPointer: (r) => rows[r]!,
        ...finish,
        ahead,
        at: (r) => ({ batch: i32(0), row: add(add(first, i), r), column }),
      });
      f.assign(yAt, add(yAt, mul(yPitch, mr)));
    });
  });
}

/** The convolution as a kernel over chunks. Entry parameters: `convParams`, then the epilogue's. */
export function conv(spec: ConvSpec): ConvKernel {
  const lane = lanes[spec.lane];
  const s: Full = {
    lane,
    epilogue: spec.epilogue ?? identity,
    wElem: spec.wElem ?? lane.operand,
    yElem: spec.yElem ?? lane.elem,
    mr: spec.mr ?? 4,
    nr: spec.nr ?? 2 * lane.count,
    loops: spec.loops ?? 2,
    unroll: spec.unroll ?? 4,
    turns: spec.turns,
  };
  const { mr, nr, loops } = s;
  const L = lane.count;
  if (nr % L !== 0) throw new InternalError(`no convolution tile of ${nr} columns`);
  const xBytes = elemBytes[lane.operand];
  const wBytes = elemBytes[s.wElem];
  const panels = panelsOf(lane, nr, spec.n);
  const helpers = new Helpers();
  const name = `${stem(s, "conv")}_${mr}x${nr}${panels.suffix}`;
  const own = ownParams(lane.operand, s.yElem, s.wElem);
  const params = [...own, ...segmentParams(loops), ...s.epilogue.params];
  const fn = buildFunction(name, params, undefined, (f) => {
    const p = named(own);
    const { begin, end, x, w, y, pixels, n, groups, xGroup, wGroup, run } = p;
    const segmentArgs = segmentParams(loops).map(param);
    const passed = { ...p, ...named(segmentParams(loops)), ...named(s.epilogue.params) };
    const [, pixelBlock] = evenBlocks(f, "pixel", pixels, chunkPixels, mr);
    const [columnBlocks, columnBlock] = evenBlocks(f, "column", n, chunkColumns, nr);
    const k = f.mut("k", mul(stepsOf(lane, run), lane.depth));
    for (let i = 0; i < loops; i++) f.assign(k, mul(k, segmentArgs[2 * i]!));
    f.for("chunk", begin, end, 1, (chunk) => {
      const outer = f.let("outer", divS(chunk, columnBlocks));
      const column0 = f.let("column0", mul(remS(chunk, columnBlocks), columnBlock));
      // Pixels run slowest, so that the groups of a pixel share cache lines.
      const group = f.let("group", remS(outer, groups));
      const first = f.let("first", mul(divS(outer, groups), pixelBlock));
      // The last blocks of a dimension may be empty.
      const count = f.let("count", maxS(minS(sub(pixels, first), pixelBlock), 0));
      const columnEnd = f.let("columnEnd", minS(n, add(column0, columnBlock)));
      const xAt = f.let("xAt", add(x, mul(mul(group, xGroup), xBytes)));
      const wAt = f.let("wAt", add(w, mul(mul(group, wGroup), wBytes)));
      const channel0 = f.let("channel0", mul(group, n));
      coverColumns(f, lane, panels, column0, columnEnd, (width, column, columns) => {
        const wPanel = f.let("wPanel", add(wAt, mul(mul(column, k), wBytes)));
        const channel = f.let("channel", add(channel0, column));
        let done: Expr = i32(0);
        for (const size of rowTiles(mr)) {
          const tileFn = helpers.use(strip(s, size, size < mr ? sharedWidth(panels, width) : width));
          const at = done;
          const left = f.let("left", sub(count, at));
          f.if(geS(left, size), () =>
            f.callNamed(tileFn, {
              ...passed,
              x: xAt,
              w: wPanel,
              y: add(y, mul(channel, elemBytes[s.yElem])),
              first: add(first, at),
              count: left,
              column: channel,
              columns,
            }),
          );
          if (size > 1) done = f.let("done", sub(count, remS(left, size)));
        }
      });
    });
  });
  return { fn, helpers: helpers.list(), chunkPixels, chunkColumns, mr, nr };
}
