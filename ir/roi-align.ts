/**
 * RoiAlign: each cell of a region takes the mean or the maximum of samples that are interpolated from the image.
 *
 * With a sampling ratio, all samples of all cells are taken at once. Without one, a cell has as many samples as pixels, rounded up:
 * they are taken one after the other, as many as any cell has inside the image, however large its region is.
 */
import {
  amax,
  asType,
  broadcastTo,
  clamp,
  dimScalar,
  expandDims,
  full,
  np,
  reshapeTo,
  sum,
  takeAt,
  where,
} from "./build.js";
import { scanOp } from "./control-build.js";
import { type Dim, type DimExpr, dimAdd, dimMul } from "./dim.js";
import type { Value } from "./graph.js";
import { iota } from "./ops/constant.js";
import { bindDim } from "./ops/dynamic.js";
import { ceil, floor } from "./ops/elementwise.js";
import { gather } from "./ops/indexing.js";
import { productOf, transpose } from "./ops/movement.js";

/** One axis of all regions. Values are floats [regions, 1]. */
interface Span {
  readonly start: Value;
  readonly cellSize: Value;
  /** Samples of each cell; 0 where a region has no size. */
  readonly samples: Value;
  readonly cells: number;
  /** Of the image. */
  readonly size: Dim;
}

/** What samples along one axis read. Values are [regions, samples]. */
interface Taps {
  readonly taps: readonly { readonly position: Value; readonly weight: Value }[];
  /** Samples further than a pixel outside the image are 0. */
  readonly inside: Value;
}

interface Images {
  /** Pixels as rows of channels: a sample reads neighbouring elements, and no region needs a copy of its image. */
  readonly pixels: Value;
  /** Row of the first pixel of each region's image, i32[regions, 1, 1]. */
  readonly first: Value;
  readonly width: Dim;
  readonly average: boolean;
}

const lengthOf = (s: Span): Value => dimScalar(s.size, s.start.type.dtype);

/** At least 1, for divisions whose result counts only where there are samples. */
const divisor = (samples: Value): Value => np.max(samples, 1);

/** Sample k of cell p. All are [regions, n]. */
function tapsAt(s: Span, p: Value, k: Value): Taps {
  const at = np.add(s.start, np.mul(s.cellSize, np.add(p, np.div(np.add(k, 0.5), divisor(s.samples)))));
  const last = np.sub(lengthOf(s), 1);
  const limited = clamp(at, 0, last);
  const base = floor([limited]);
  const t = np.sub(limited, base);
  return {
    taps: [
      { position: base, weight: np.sub(1, t) },
      { position: np.min(np.add(base, 1), last), weight: t },
    ],
    inside: np.and(np.ge(at, -1), np.le(at, broadcastTo(lengthOf(s), at.type.shape))),
  };
}

const onGrid = (v: Value, h: Value, op: (a: Value, b: Value) => Value) => op(expandDims(v, 2), expandDims(h, 1));

/** Interpolated values, 0 outside the image: [regions, vertical, horizontal, channels]. */
function interpolated({ pixels, first, width, average }: Images, vertical: Taps, horizontal: Taps): Value {
  const corners = vertical.taps.flatMap((v) =>
    horizontal.taps.map((h) => {
      const line = np.mul(asType(v.position, "i32"), dimScalar(width, "i32"));
      const index = np.add(onGrid(line, asType(h.position, "i32"), np.add), first);
      return np.mul(gather([pixels, index], { axis: 0 }), expandDims(onGrid(v.weight, h.weight, np.mul), 3));
    }),
  );
  // ONNX's max is over the weighted corner values of all samples, not over interpolated values.
  const value = corners.reduce((a, b) => (average ? np.add(a, b) : np.max(a, b)));
  return where(expandDims(onGrid(vertical.inside, horizontal.inside, np.and), 3), value, 0);
}

/** A fixed number of samples, all at once. */
function pooledAtOnce(images: Images, spans: readonly [Span, Span], ratio: number): Value {
  const [count] = spans[0].start.type.shape as [Dim, Dim];
  const [vertical, horizontal] = spans.map((s) => {
    const at = (axis: number) => {
      const index = iota([], { dtype: s.start.type.dtype, shape: [count, s.cells, ratio], axis });
      return reshapeTo(index, [count, s.cells * ratio]);
    };
    return tapsAt(s, at(1), at(2));
  }) as [Taps, Taps];
  const values = interpolated(images, vertical, horizontal);
  const channels = values.type.shape[3]!;
  const cells = reshapeTo(values, [count, spans[0].cells, ratio, spans[1].cells, ratio, channels]);
  return images.average ? np.div(sum(cells, [2, 4]), ratio * ratio) : amax(cells, [2, 4]);
}

/** The samples of each cell that may lie inside the image: floats [regions, cells]. */
interface Window {
  readonly cell: Value;
  readonly first: Value;
  readonly count: Value;
}

function windowOf(s: Span): Window {
  const shape = [s.start.type.shape[0]!, s.cells];
  const cell = iota([], { dtype: s.start.type.dtype, shape, axis: 1 });
  const from = np.add(s.start, np.mul(s.cellSize, cell));
  const step = np.div(s.cellSize, divisor(s.samples));
  const indexAt = (edge: Value | number) => np.sub(np.div(np.sub(edge, from), where(np.gt(step, 0), step, 1)), 0.5);
  // Rounded outwards: what lies outside adds 0.
  const first = np.max(floor([indexAt(-1)]), 0);
  const last = np.min(ceil([indexAt(lengthOf(s))]), np.sub(s.samples, 1));
  return { cell, first, count: np.max(np.sub(np.add(last, 1), first), 0) };
}

/** The largest count, a size that the run finds. Samples are more than half a pixel apart, or one in a cell. */
function mostOf(find: FindSize, { count }: Window, size: Dim): Dim {
  const most = asType(np.max(amax(count), 0), "i64");
  return find("samples", dimAdd(dimMul(size, 2), 5), (defines) => bindDim([most], { defines }));
}

/** As many samples as each region asks for, one after the other. */
function pooledInTurn(find: FindSize, images: Images, spans: readonly [Span, Span]): Value {
  const windows = spans.map(windowOf) as [Window, Window];
  const [rows, columns] = spans.map((s, i) => mostOf(find, windows[i]!, s.size)) as [Dim, Dim];
  const { dtype } = images.pixels.type;
  const lowest = images.average ? 0 : Number.NEGATIVE_INFINITY;
  const [count] = spans[0].start.type.shape as [Dim, Dim];
  const start = full(dtype, [count, spans[0].cells, spans[1].cells, images.pixels.type.shape[1]!], lowest);
  const length = dimMul(rows, columns);
  const turns = iota([], { dtype: "i64", shape: [length], axis: 0 });
  const { carried } = scanOp({ carried: [start], inputs: [turns], length }, ([before], [turn]) => {
    const wide = dimScalar(columns, "i64");
    const taken = [np.div(turn!, wide), np.rem(turn!, wide)].map((k, i) => {
      const { cell, first, count: own } = windows[i]!;
      const step = asType(k, cell.type.dtype);
      return { taps: tapsAt(spans[i]!, cell, np.add(first, step)), used: np.lt(step, own) };
    });
    const [v, h] = taken as [(typeof taken)[number], (typeof taken)[number]];
    const used = expandDims(onGrid(v.used, h.used, np.and), 3);
    const value = where(used, interpolated(images, v.taps, h.taps), lowest);
    return { carried: [images.average ? np.add(before!, value) : np.max(before!, value)] };
  });
  const onCells = (v: Value, h: Value, op: (a: Value, b: Value) => Value) => expandDims(onGrid(v, h, op), 3);
  if (images.average)
    return np.div(
      carried[0]!,
      onCells(spans[0].samples, spans[1].samples, (a, b) => divisor(np.mul(a, b))),
    );
  // Samples outside the image were left out, and are 0; so is a cell without samples.
  const whole = spans.map((s, i) => np.and(np.ge(windows[i]!.count, s.samples), np.gt(s.samples, 0)));
  return where(onCells(whole[0]!, whole[1]!, np.and), carried[0]!, np.max(carried[0]!, 0));
}

export interface RoiAlign {
  /** Rows and columns of the result. */
  readonly output: readonly [height: number, width: number];
  /** From coordinates of regions to pixels. */
  readonly scale: number;
  /** Samples of a cell along each axis; 0: as many as the cell has pixels, rounded up. */
  readonly ratio: number;
  /** Pixels have their centres at halves. */
  readonly half: boolean;
  readonly average: boolean;
}

/** Makes a size that a run finds: `make` is given its symbol and gives the value that finds it. */
export type FindSize = (name: string, bound: Dim, make: (defines: DimExpr) => Value) => Dim;

/** Regions (x1, y1, x2, y2) [count, 4] of images x [n, c, h, w], each of the image of index batch [count]: [count, c, …output]. */
export function roiAlign(x: Value, rois: Value, batch: Value, options: RoiAlign, find: FindSize): Value {
  const { output, scale, ratio, half, average } = options;
  const [images, channels, height, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  const count = rois.type.shape[0]!;
  const dtype = x.type.dtype === "f64" ? "f64" : "f32";
  const corner = (i: number) => {
    const at = np.mul(expandDims(takeAt(asType(rois, dtype), 1, i), 1), scale);
    return half ? np.sub(at, 0.5) : at;
  };
  const span = (low: number, cells: number, size: Dim): Span => {
    const start = corner(low);
    const extent = np.sub(corner(low + 2), start);
    const cellSize = np.div(half ? extent : np.max(extent, 1), cells);
    const samples = ratio > 0 ? full(dtype, [count, 1], ratio) : np.max(ceil([cellSize]), 0);
    return { start, cellSize, samples, cells, size };
  };
  const spans = [span(1, output[0], height), span(0, output[1], width)] as const;
  const flat = reshapeTo(transpose([x], { perm: [0, 2, 3, 1] }), [productOf([images, height, width]), channels]);
  const made: Images = {
    pixels: asType(flat, dtype),
    first: reshapeTo(np.mul(asType(batch, "i32"), dimScalar(dimMul(height, width), "i32")), [count, 1, 1]),
    width,
    average,
  };
  const pooled = ratio > 0 ? pooledAtOnce(made, spans, ratio) : pooledInTurn(find, made, spans);
  return asType(transpose([pooled], { perm: [0, 3, 1, 2] }), x.type.dtype);
}
