/**
 * Weight gradient of the 3×3 convolution of winograd.ts (names as there), by the adjoints of its transforms:
 *
 *   dw = Gᵀ dU G,   dU[36] = Σ_tiles dM[36] ⊗ V[36],   V = Bᵀ x B,   dM = A dy Aᵀ
 *
 *   for each split of the tiles, into a dU of its own:                                          @…_winograd_grad
 *     for each block of tiles, in memory of the thread:
 *       for each tile: V[36][tile][cin] = Bᵀ x B, dM[36][tile][cout] = A dy Aᵀ
 *       dU[36] += dMᵀ[36] · V[36], 36 products of [cout × tiles] by [tiles × cin]
 *   dw[cout, 9, cin] = Gᵀ (Σ_splits dU) G                                                       @…_winograd_grad_weights
 *
 * Splits are of a fixed number of tiles, so that sums do not depend on the number of threads.
 */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { elemBytes } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import { add, divS, fill, fma, load, minS, mul, named, pointer, remS, sub } from "../../ir/loop-build.js";
import { gemm } from "./gemm.js";
import type { Kernel } from "./kernel.js";
import { int, ints } from "./tile.js";
import { bothWays, inputTransform, planeGap, rangeOf } from "./winograd.js";
import { type Six, winogradPoints } from "./winograd-forms.js";

const bytes = elemBytes.f32;
const sqrt2 = Math.SQRT2;
const lanes = 4;
const out = 4;
const points = winogradPoints(out);

export interface WinogradGradSpec {
  /** Channels, multiples of 4. */
  readonly cin: number;
  readonly cout: number;
  /** Tile of the products. */
  readonly mr: number;
  readonly nr: number;
}

/** Bytes of V and dM of a block of tiles, which stay in the L2 cache. */
const blockBytes = 640 * 1024;

/** Tiles of a block. */
const blockTiles = (cin: number, cout: number): number =>
  Math.min(64, Math.max(8, Math.floor(blockBytes / (points * bytes * (cin + cout) * 4)) * 4));

/** Tiles of a split; the chunk axis of `winogradGrad` has ceil(tiles / splitTiles) values. */
export const winogradSplitTiles = (cin: number, cout: number): number => {
  const block = blockTiles(cin, cout);
  return block * Math.ceil(256 / block);
};

/** Elements of the thread's memory. */
export const winogradGradScratch = (cin: number, cout: number): number =>
  points * (blockTiles(cin, cout) * (cin + cout) + 2 * planeGap);

/** Elements between the 36 matrices of dU. */
export const winogradGradPlane = (cin: number, cout: number): number => cin * cout + planeGap;

/** A·d of four vectors. */
function outputAdjoint(f: Block, d: readonly Expr[]): Expr[] {
  const [d0, d1, d2, d3] = d as [Expr, Expr, Expr, Expr];
  const even = f.let("even", fma(d2, 0.5, d0));
  const odd = f.let("odd", mul(fma(d3, 0.5, d1), sqrt2 / 2));
  const even2 = f.let("even", fma(d2, 2, d0));
  const odd2 = f.let("odd", mul(fma(d3, 2, d1), sqrt2));
  return [
    d0,
    f.let("t", add(even, odd)),
    f.let("t", sub(even, odd)),
    f.let("t", add(even2, odd2)),
    f.let("t", sub(even2, odd2)),
    d3,
  ];
}

/** Gᵀ·u of six vectors. */
function weightAdjoint(f: Block, u: Six): Expr[] {
  const near = f.let("near", add(u[1], u[2]));
  const far = f.let("far", add(u[3], u[4]));
  const nearOdd = f.let("nearOdd", sub(u[1], u[2]));
  const farOdd = f.let("farOdd", sub(u[3], u[4]));
  return [
    f.let("t", fma(far, 1 / 6, fma(near, -2 / 3, u[0]))),
    f.let("t", mul(fma(nearOdd, -2, farOdd), sqrt2 / 6)),
    f.let("t", fma(sub(far, near), 1 / 3, u[5])),
  ];
}

/** dM of one tile: dy points to the tile's first pixel, m to its place in the first of the 36 matrices. */
function gradientTransform(): LoopFunction {
  const params = [pointer("dy", "f32"), pointer("m", "f32"), int("channels"), int("dyRow"), int("mPlane")];
  return buildFunction("f32_winograd_gradient", params, undefined, (f) => {
    const { dy, m, channels, dyRow, mPlane } = named(params);
    const rowBytes = f.let("rowBytes", mul(dyRow, bytes));
    const pixelBytes = f.let("pixelBytes", mul(channels, bytes));
    const planeBytes = f.let("planeBytes", mul(mPlane, bytes));
    f.for("c", 0, channels, lanes, (c) => {
      const rows = [f.let("row", add(dy, mul(c, bytes)))];
      for (let i = 1; i < out; i++) rows.push(f.let("row", add(rows[i - 1]!, rowBytes)));
      const to = f.mut("to", add(m, mul(c, bytes)));
      bothWays(
        (i, j) => f.let("d", load("f32x4", "f32", j === 0 ? rows[i]! : add(rows[i]!, mul(pixelBytes, j)), 0)),
        out,
        (d) => outputAdjoint(f, d),
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

/**
 * dU[split][36][cout][cin] (planes `winogradGradPlane` elements apart) over chunks of splits. x is padded as for `winograd`, dy to whole tiles
 * of 4×4 pixels. `s` is memory of the thread for `winogradGradScratch` elements.
 */
export function winogradGrad({ cin, cout, mr, nr }: WinogradGradSpec): Kernel {
  const product = gemm({ lane: "f32", a: "columns", b: "rows", mr, nr, n: cin, accumulate: true });
  const input = inputTransform(out);
  const gradient = gradientTransform();
  const block = blockTiles(cin, cout);
  const split = winogradSplitTiles(cin, cout);
  const uPlane = winogradGradPlane(cin, cout);
  const vPlane = block * cin + planeGap;
  const mPlane = block * cout + planeGap;
  const ceil = (size: number, chunk: number) => Math.ceil(size / chunk);
  const products = points * ceil(cout, product.chunkRows) * ceil(cin, product.chunkColumns);
  const pointers = [pointer("x", "f32"), pointer("dy", "f32"), pointer("u", "f32"), pointer("s", "f32")];
  const sizes = ints("tiles", "tilesH", "tilesW", "xRow", "xImage");
  const params = [int("begin"), int("end"), ...pointers, ...sizes];
  const fn = buildFunction(`f32_winograd_grad_${cin}_${cout}_${mr}x${nr}`, params, undefined, (f) => {
    const { begin, end, x, dy, u, s: v, tiles, tilesH, tilesW, xRow, xImage } = named(params);
    const m = f.let("m", add(v, vPlane * points * bytes));
    const dyRow = f.let("dyRow", mul(tilesW, out * cout));
    f.for("chunk", begin, end, 1, (chunk) => {
      const sums = f.let("sums", add(u, mul(chunk, points * uPlane * bytes)));
      f.push(fill(sums, 0, points * uPlane * bytes));
      const last = f.let("last", minS(tiles, mul(add(chunk, 1), split)));
      f.for("first", mul(chunk, split), last, block, (first) => {
        const count = f.let("count", minS(sub(last, first), block));
        f.for("t", 0, count, 1, (t) => {
          const tile = f.let("tile", add(first, t));
          const line = f.let("line", divS(tile, tilesW));
          const column = f.let("column", mul(remS(tile, tilesW), out));
          const row = f.let("row", mul(remS(line, tilesH), out));
          const at = add(add(mul(divS(line, tilesH), xImage), mul(row, xRow)), mul(column, cin));
          f.callNamed(input, {
            x: add(x, mul(at, bytes)),
            v: add(v, mul(t, cin * bytes)),
            channels: cin,
            xRow,
            vPlane,
          });
          // Rows of pixels of dy run on through images.
          const pixel = add(mul(mul(line, out), dyRow), mul(column, cout));
          f.callNamed(gradient, {
            dy: add(dy, mul(pixel, bytes)),
            m: add(m, mul(t, cout * bytes)),
            channels: cout,
            dyRow,
            mPlane,
          });
        });
        f.callNamed(product.fn, {
          begin: 0,
          end: products,
          a: m,
          b: v,
          c: sums,
          m: cout,
          n: cin,
          k: count,
          aRow: 1,
          aColumn: cout,
          bRow: cin,
          cRow: cin,
          aBatch: mPlane,
          bBatch: vPlane,
          cBatch: uPlane,
        });
      });
    });
  });
  return { fn, helpers: [input, gradient, ...product.helpers, product.fn] };
}

/**
 * dw[cout, 9, cin] of dU. Parameters: begin, end, u, dw, splits, cin, plane (elements between the matrices of dU). The chunk axis has
 * cout values.
 */
export function winogradGradWeights(): Kernel {
  const params = [
    int("begin"),
    int("end"),
    pointer("u", "f32"),
    pointer("dw", "f32"),
    ...ints("splits", "cin", "plane"),
  ];
  const fn = buildFunction("f32_winograd_grad_weights", params, undefined, (f) => {
    const { begin, end, u, dw, splits, cin, plane } = named(params);
    const planeBytes = f.let("planeBytes", mul(plane, bytes));
    const splitBytes = f.let("splitBytes", mul(planeBytes, points));
    f.for("row", begin, end, 1, (row) => {
      const to = f.let("to", add(dw, mul(mul(row, cin), 9 * bytes)));
      f.for("c", 0, cin, lanes, (c) => {
        const from = f.mut("from", add(u, mul(add(mul(row, cin), c), bytes)));
        const point = (): Expr => {
          const sum = f.mut("sum", load("f32x4", "f32", from, 0));
          const at = f.mut("at", from);
          f.for("split", 1, splits, 1, () => {
            f.assign(at, add(at, splitBytes));
            f.assign(sum, add(sum, load("f32x4", "f32", at, 0)));
          });
          f.assign(from, add(from, planeBytes));
          return sum;
        };
        const all = rangeOf(points).map(point);
        bothWays(
          (i, j) => all[i * 6 + j]!,
          6,
          (line) => weightAdjoint(f, line as Six),
          (i, values) => {
            for (const [j, t] of values.entries())
              f.store("f32", add(to, mul(add(mul(cin, 3 * i + j), c), bytes)), 0, t);
          },
        );
      });
    });
  });
  return { fn, helpers: [] };
}
