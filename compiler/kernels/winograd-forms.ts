/**
 * Winograd's F(m×m, 3×3): tiles of m×m output pixels from (m + 2)² products for each pair of channels (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2016). Transforms of planes are transforms of lines, down the columns and along the rows.
 */

import type { Expr } from "../../ir/loop.js";
import type { Block } from "../../ir/loop-block.js";
import { add, fma, mul, sub } from "../../ir/loop-build.js";

/** Output pixels along an edge of a tile. */
export type WinogradEdge = 2 | 4;

export interface WinogradForm {
  /** How names of its kernels begin. */
  readonly name: string;
  /** Tiles of a chunk: enough to use each panel of U several times, and few enough that V and M stay in the cache. */
  readonly tiles: number;
  /** Bᵀ·d of m + 2 vectors. */
  readonly input: (f: Block, d: readonly Expr[]) => readonly Expr[];
  /** G·w of three vectors. */
  readonly weights: (f: Block, w: readonly Expr[]) => readonly Expr[];
  /** Aᵀ·m of m + 2 vectors. */
  readonly output: (f: Block, m: readonly Expr[]) => readonly Expr[];
}

/** 16 products for 4 pixels: 2.25 times fewer than by the definition. It interpolates at 0, ±1 and ∞. */
const two: WinogradForm = {
  name: "f32_winograd2",
  tiles: 32,
  input: (f, d) => {
    const [d0, d1, d2, d3] = d as readonly [Expr, Expr, Expr, Expr];
    return [f.let("t", sub(d0, d2)), f.let("t", add(d1, d2)), f.let("t", sub(d2, d1)), f.let("t", sub(d1, d3))];
  },
  weights: (f, w) => {
    const [w0, w1, w2] = w as readonly [Expr, Expr, Expr];
    const even = f.let("even", mul(add(w0, w2), 0.5));
    return [w0, f.let("t", fma(w1, 0.5, even)), f.let("t", fma(w1, -0.5, even)), w2];
  },
  output: (f, m) => {
    const [m0, m1, m2, m3] = m as readonly [Expr, Expr, Expr, Expr];
    return [f.let("t", add(add(m0, m1), m2)), f.let("t", sub(sub(m1, m2), m3))];
  },
};

/** b = √2; the other points are ±a, a = b/2. */
const b = Math.SQRT2;

export type Six = readonly [Expr, Expr, Expr, Expr, Expr, Expr];

/**
 * 36 products for 16 pixels: 4 times fewer. It interpolates at 0, ±√½, ±√2 and ∞. The usual points 0, ±1, ±2 give five times the rounding
 * error of the direct sum, these give twice, for four more multiplications a row.
 */
const four: WinogradForm = {
  name: "f32_winograd",
  tiles: 16,
  input: (f, line) => {
    const d = line as Six;
    const even = f.let("even", fma(d[2], -2, d[4]));
    const odd = f.let("odd", mul(fma(d[1], -2, d[3]), b / 2));
    const even2 = f.let("even", fma(d[2], -0.5, d[4]));
    const odd2 = f.let("odd", mul(fma(d[1], -0.5, d[3]), b));
    return [
      f.let("t", add(fma(d[2], -2.5, d[4]), d[0])),
      f.let("t", add(even, odd)),
      f.let("t", sub(even, odd)),
      f.let("t", add(even2, odd2)),
      f.let("t", sub(even2, odd2)),
      f.let("t", add(fma(d[3], -2.5, d[5]), d[1])),
    ];
  },
  weights: (f, w) => {
    const [w0, w1, w2] = w as readonly [Expr, Expr, Expr];
    const near = f.let("near", mul(fma(w2, 0.5, w0), -2 / 3));
    const nearOdd = f.let("nearOdd", mul(w1, -b / 3));
    const far = f.let("far", mul(fma(w2, 2, w0), 1 / 6));
    const farOdd = f.let("farOdd", mul(w1, b / 6));
    return [
      w0,
      f.let("t", add(near, nearOdd)),
      f.let("t", sub(near, nearOdd)),
      f.let("t", add(far, farOdd)),
      f.let("t", sub(far, farOdd)),
      w2,
    ];
  },
  output: (f, line) => {
    const m = line as Six;
    const sum = f.let("sum", add(m[1], m[2]));
    const difference = f.let("difference", sub(m[1], m[2]));
    const sum2 = f.let("sum", add(m[3], m[4]));
    const difference2 = f.let("difference", sub(m[3], m[4]));
    return [
      f.let("t", add(add(m[0], sum), sum2)),
      f.let("t", mul(fma(difference, 0.5, difference2), b)),
      f.let("t", fma(sum, 0.5, mul(sum2, 2))),
      f.let("t", add(fma(difference, b / 4, mul(difference2, 2 * b)), m[5])),
    ];
  },
};

export const winogradForms: Readonly<Record<WinogradEdge, WinogradForm>> = { 2: two, 4: four };

/** Pixels of input along an edge of a tile. */
export const winogradPatch = (edge: WinogradEdge): number => edge + 2;

/** Products for each pair of channels in a tile, and matrices of U, V and M. */
export const winogradPoints = (edge: WinogradEdge): number => winogradPatch(edge) ** 2;
