/**
 * 3×3 convolutions of stride 1 with a quarter of the multiplications, or half of them: Winograd's F(4×4, 3×3) and F(2×2, 3×3)
 * (`winograd-forms.ts`) over channels-last tensors. With tiles of 4×4:
 *
 *   y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A        x: 6×6 pixels of input, w: 3×3 taps, y: 4×4 pixels of output
 *
 *   once:  U[36][panels][cin][NR] = G w Gᵀ                                          @…_winograd_weights
 *   for each chunk of (TILES tiles of 4×4 output pixels, COLUMNS output channels), in memory of the thread:   @…_winograd
 *     for each tile: V[36][tile][cin] = Bᵀ x B                                      @…_winograd_input
 *     M[36] = V[36] · U[36], 36 products of [tiles × cin] by [cin × columns]        @…_gemm…
 *     for each tile: y = epilogue(Aᵀ M A)                                           @…_winograd_output
 *
 * With tiles of 2×2 it is 16 matrices for 36: U takes less than half of the memory, which is what small images wait for.
 */

import type { Elem, Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { buildFunction } from "../../ir/loop-block.js";
import { add, divS, geS, i32, load, maxS, minS, mul, named, param, pointer, remS, sub } from "../../ir/loop-build.js";
import { evenBlocks } from "./columns.js";
import { type Epilogue, identity } from "./epilogue.js";
import { gemm } from "./gemm.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";
import { type WinogradEdge, winogradForms, winogradPatch, winogradPoints } from "./winograd-forms.js";

export interface WinogradSpec {
  readonly edge: WinogradEdge;
  readonly epilogue?: Epilogue;
  /** Storage of y; default f32. */
  readonly yElem?: Elem;
  /** Output channels, a multiple of 4. */
  readonly n: number;
  /** Tile of the products; `nr` is the width of the panels of U. */
  readonly mr: number;
  readonly nr: number;
}

/**
 * Elements between the matrices of U, of V and of M. A transform touches all of them at the same place: at distances of a power of two
 * they would compete for one set of the L1 cache.
 */
export const planeGap = 16;
/**
 * Output channels of a chunk: images of 14 or 7 pixels have few tiles, so that threads share channels. A thread takes the chunks of the
 * same tiles that fall to it as one.
 */
function columnsOf(cout: number, nr: number): number {
  const blocks = cout < 64 || cout % nr !== 0 ? 1 : 2 * Math.ceil(cout / 128);
  return blocks === 1 ? cout : nr * Math.ceil(cout / nr / blocks);
}
/** Elements of the thread's memory. */
export const winogradScratch = (edge: WinogradEdge, cin: number, cout: number): number =>
  winogradPoints(edge) * (winogradForms[edge].tiles * (cin + cout) + 2 * planeGap);
/** Elements from one matrix of U to the next, of `length` elements each. */
export const winogradPlane = (length: number): number => length + planeGap;
/** Elements of U in a chunk of `winogradWeights`. */
export const winogradWeightChunk = 4096;

const bytes = elemBytes.f32;
const lanes = 4;

export const rangeOf = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);

/** M·N vectors through `columns` (down the columns) and `rows` (along the rows); `result` takes them row by row. */
export function bothWays(
  at: (row: number, column: number) => Expr,
  size: number,
  transform: (line: readonly Expr[]) => readonly Expr[],
  result: (row: number, values: readonly Expr[]) => void,
): void {
  const columns = rangeOf(size).map((j) => transform(rangeOf(size).map((i) => at(i, j))));
  for (const i of rangeOf(columns[0]!.length)) result(i, transform(columns.map((c) => c[i]!)));
}

/** V of one tile: x points to the tile's first pixel, v to its place in the first of the matrices. */
export function inputTransform(edge: WinogradEdge): LoopFunction {
  const form = winogradForms[edge];
  const patch = winogradPatch(edge);
  const params = [pointer("x", "f32"), pointer("v", "f32"), int("channels"), int("xRow"), int("vPlane")];
  return buildFunction(`${form.name}_input`, params, undefined, (f) => {
    const { x, v, channels, xRow, vPlane } = named(params);
    const rowBytes = f.let("rowBytes", mul(xRow, bytes));
    const pixelBytes = f.let("pixelBytes", mul(channels, bytes));
    const planeBytes = f.let("planeBytes", mul(vPlane, bytes));
    f.for("c", 0, channels, lanes, (c) => {
      const rows = [f.let("row", add(x, mul(c, bytes)))];
      for (let i = 1; i < patch; i++) rows.push(f.let("row", add(rows[i - 1]!, rowBytes)));
      const pixel = rangeOf(patch).map((j) => (j === 0 ? i32(0) : f.let("pixel", mul(pixelBytes, j))));
      const to = f.mut("to", add(v, mul(c, bytes)));
      bothWays(
        (i, j) => f.let("d", load("f32x4", "f32", j === 0 ? rows[i]! : add(rows[i]!, pixel[j]!), 0)),
        patch,
        (d) => form.input(f, d),
        (_, values) => {
          for (const t of values) {
            f.store("f32", to, 0, t);
            f.assign(to, add(to, planeBytes));
          }
        },
      );
    });
  });
}

/** Part of a name: what is stored, and how. */
const suffixOf = (epilogue: Epilogue, yElem: Elem): string =>
  `${yElem === "f32" ? "" : `_${yElem}`}${epilogue.name === "" ? "" : `_${epilogue.name}`}`;

/** Some channels of the pixels of one tile: y points to its first pixel; `rows` and `columns` of the result are left from there. */
function outputTransform(edge: WinogradEdge, epilogue: Epilogue, yElem: Elem): LoopFunction {
  const form = winogradForms[edge];
  const patch = winogradPatch(edge);
  const name = `${form.name}_output${suffixOf(epilogue, yElem)}`;
  const yBytes = elemBytes[yElem];
  const sizes = ints(
    "channel0",
    "channelEnd",
    "yRow",
    "mPlane",
    "pixel",
    "pixelRow",
    "pixelChannels",
    "rows",
    "columns",
  );
  const own = [pointer("m", "f32"), pointer("y", yElem), ...sizes];
  return buildFunction(name, [...own, ...epilogue.params], undefined, (f) => {
    const { m, y, channel0, channelEnd, yRow, mPlane, pixel, pixelRow, pixelChannels, rows, columns } = named(own);
    const extra = epilogue.params.map(param);
    const planeBytes = f.let("planeBytes", mul(mPlane, bytes));
    const pixelBytes = f.let("pixelBytes", mul(pixelChannels, yBytes));
    const rowBytes = f.let("rowBytes", mul(yRow, yBytes));
    f.for("c", channel0, channelEnd, lanes, (c) => {
      const from = f.mut("from", add(m, mul(c, bytes)));
      const all = rangeOf(winogradPoints(edge)).map(() => {
        const vector = f.let("m", load("f32x4", "f32", from, 0));
        f.assign(from, add(from, planeBytes));
        return vector;
      });
      const first = f.let("first", add(y, mul(c, yBytes)));
      bothWays(
        (i, j) => all[i * patch + j]!,
        patch,
        (line) => form.output(f, line),
        (i, values) => {
          const put = (j: number) => {
            const row = add(add(pixel, mul(pixelRow, i)), j);
            const value = epilogue.apply(f, values[j]!, { batch: i32(0), row, column: c }, extra);
            f.store(yElem, add(add(first, mul(rowBytes, i)), mul(pixelBytes, j)), 0, value);
          };
          f.if(geS(rows, i + 1), () => {
            put(0);
            // The first pixel of a row is there, others may lie beyond the result.
            const next = (j: number): void => {
              if (j < values.length)
                f.if(geS(columns, j + 1), () => {
                  put(j);
                  next(j + 1);
                });
            };
            next(1);
          });
        },
      );
    });
  });
}

export interface WinogradWeightsSpec {
  readonly edge: WinogradEdge;
  readonly flipped?: boolean;
}

/**
 * U from w[9][length], element by element: both hold panels [panels][cin][NR]; `flipped`: of the taps in reverse. The matrices of U are
 * `winogradPlane(length)` elements apart. Parameters: begin, end, w, u, length (a multiple of 4). The chunk axis has ceil(length / winogradWeightChunk) values.
 */
export function winogradWeights({ edge, flipped = false }: WinogradWeightsSpec): Kernel {
  const form = winogradForms[edge];
  const params = [int("begin"), int("end"), pointer("w", "f32"), pointer("u", "f32"), int("length")];
  const fn = buildFunction(`${form.name}_weights${flipped ? "_flipped" : ""}`, params, undefined, (f) => {
    const { begin, end, w, u, length } = named(params);
    const last = f.let("last", minS(length, mul(end, winogradWeightChunk)));
    const tapBytes = f.let("tapBytes", mul(length, bytes));
    const planeBytes = f.let("planeBytes", mul(add(length, planeGap), bytes));
    f.for("i", mul(begin, winogradWeightChunk), last, lanes, (i) => {
      const from = f.mut("from", add(w, mul(i, bytes)));
      const taps = rangeOf(9).map(() => {
        const tap = f.let("w", load("f32x4", "f32", from, 0));
        f.assign(from, add(from, tapBytes));
        return tap;
      });
      const to = f.mut("to", add(u, mul(i, bytes)));
      bothWays(
        (y, x) => taps[flipped ? 8 - y * 3 - x : y * 3 + x]!,
        3,
        (line) => form.weights(f, line),
        (_, values) => {
          for (const t of values) {
            f.store("f32", to, 0, t);
            f.assign(to, add(to, planeBytes));
          }
        },
      );
    });
  });
  return { fn, helpers: [] };
}

export interface WinogradKernel extends Kernel {
  /** Parts of the output channels: the chunk axis has ceil(tiles / tiles of a chunk) times as many values. */
  readonly columnBlocks: number;
}

/**
 * The convolution over chunks of tiles, counted through all images, and of output channels. The padded input reaches to the end of the last
 * tile: edge·tilesH + 2 rows of edge·tilesW + 2 pixels; channels are multiples of 4. `s` is memory of the thread for `winogradScratch` elements.
 */
export function winograd(spec: WinogradSpec): WinogradKernel {
  const { edge, epilogue = identity, yElem = "f32" } = spec;
  const form = winogradForms[edge];
  const points = winogradPoints(edge);
  const product = gemm({ lane: "f32", a: "rows", b: "packed", mr: spec.mr, nr: spec.nr, n: spec.n });
  const input = inputTransform(edge);
  const output = outputTransform(edge, epilogue, yElem);
  const blockColumns = columnsOf(spec.n, spec.nr);
  const columnBlocks = Math.ceil(spec.n / blockColumns);
  const name = `${form.name}${suffixOf(epilogue, yElem)}_${spec.mr}x${spec.nr}_n${spec.n}`;
  const pointers = [pointer("x", "f32"), pointer("u", "f32"), pointer("y", yElem), pointer("s", "f32")];
  const sizes = ints("tiles", "tilesH", "tilesW", "cin", "outH", "outW", "xRow", "xImage", "uPlane");
  const own = [int("begin"), int("end"), ...pointers, ...sizes];
  const fn = buildFunction(name, [...own, ...epilogue.params], undefined, (f) => {
    const { begin, end, x, u, y, s: v, tiles, tilesH, tilesW, cin, outH, outW, xRow, xImage, uPlane } = named(own);
    const extra = named(epilogue.params);
    const vPlane = f.let("vPlane", add(mul(cin, form.tiles), planeGap));
    const mPlane = form.tiles * spec.n + planeGap;
    const m = f.let("m", add(v, mul(vPlane, points * bytes)));
    const [, block] = evenBlocks(f, "tile", tiles, form.tiles, 1);
    const blocksEnd = f.let("blocksEnd", divS(add(end, columnBlocks - 1), columnBlocks));
    f.for("tileBlock", divS(begin, columnBlocks), blocksEnd, 1, (tileBlock) => {
      const chunk0 = f.let("chunk0", mul(tileBlock, columnBlocks));
      const column0 = f.let("column0", mul(maxS(sub(begin, chunk0), 0), blockColumns));
      const channelEnd = f.let("channelEnd", minS(mul(sub(end, chunk0), blockColumns), spec.n));
      const columns = f.let("columns", sub(channelEnd, column0));
      const first = f.let("first", mul(tileBlock, block));
      const count = f.let("count", minS(sub(tiles, first), block));
      const eachTile = (body: (t: Expr, image: Expr, row: Expr, column: Expr) => void) =>
        f.for("t", 0, count, 1, (t) => {
          const tile = f.let("tile", add(first, t));
          const line = f.let("line", divS(tile, tilesW));
          const column = f.let("column", mul(remS(tile, tilesW), edge));
          const row = f.let("row", mul(remS(line, tilesH), edge));
          body(t, f.let("image", divS(line, tilesH)), row, column);
        });
      eachTile((t, image, row, column) => {
        const at = add(add(mul(image, xImage), mul(row, xRow)), mul(column, cin));
        f.callNamed(input, {
          x: add(x, mul(at, bytes)),
          v: add(v, mul(mul(t, cin), bytes)),
          channels: cin,
          xRow,
          vPlane,
        });
      });
      const ofColumns = divS(add(columns, product.chunkColumns - 1), product.chunkColumns);
      f.callNamed(product.fn, {
        begin: 0,
        end: mul(ofColumns, points),
        a: v,
        b: add(u, mul(mul(column0, cin), bytes)),
        c: add(m, mul(column0, bytes)),
        m: count,
        n: columns,
        k: cin,
        aRow: cin,
        aColumn: 1,
        bRow: spec.nr,
        cRow: spec.n,
        aBatch: vPlane,
        bBatch: uPlane,
        cBatch: mPlane,
      });
      eachTile((t, image, row, column) => {
        const pixel = f.let("pixel", add(mul(add(mul(image, outH), row), outW), column));
        const to = add(y, mul(pixel, spec.n * elemBytes[yElem]));
        f.callNamed(output, {
          m: add(m, mul(t, spec.n * bytes)),
          y: to,
          channel0: column0,
          channelEnd,
          yRow: mul(outW, spec.n),
          mPlane,
          pixel,
          pixelRow: outW,
          pixelChannels: spec.n,
          rows: sub(outH, row),
          columns: sub(outW, column),
          ...extra,
        });
      });
    });
  });
  return { fn, helpers: [input, output, ...product.helpers, product.fn], columnBlocks };
}
