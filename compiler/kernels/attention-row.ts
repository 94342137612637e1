/**
 * Attention of single queries, as decoders have them: one row over a long cache. Keys and values are read as they lie, once, and
 * nothing is as large as queries × keys.
 */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { ints } from "./tile.js";

const bytes = 4;
/** Keys whose scores are summed side by side. */
const keysAtOnce = 4;
/** Vectors of a value that are summed side by side. */
const mostVectors = 8;

/** Whether there is such a kernel for heads of these sizes. */
export const hasRows = (d: number | undefined, e: number | undefined): boolean =>
  d !== undefined && e !== undefined && d % 4 === 0 && e % 4 === 0 && d > 0 && e > 0;

/**
 * y[e] = softmax(scale · q · kᵀ + mask) · v over `keys` keys. `work` has room for a number of each key;
 * `mask` is of the query's row, f32.
 */
export function attentionRow(d: number, e: number, masked: boolean): LoopFunction {
  const pointers = ["q", "k", "v", "y", "work", ...(masked ? ["mask"] : [])].map((n) => B.pointer(n, "f32"));
  const params = [...pointers, ...ints("keys"), { name: "scale", type: "f32" } as const];
  return buildFunction(`f32_attention_row_${d}x${e}${masked ? "_masked" : ""}`, params, undefined, (f, given) => {
    const p = Object.fromEntries(params.map((param, i) => [param.name, given[i]!])) as Record<string, Expr>;
    const { q, k, v, y, work, mask, keys, scale } = p as Record<
      "q" | "k" | "v" | "y" | "work" | "mask" | "keys" | "scale",
      Expr
    >;
    const top = f.mut("top", B.f32(-Infinity));
    const several = f.let("several", B.and(keys, -keysAtOnce));
    const scores = (count: number) => (key: Expr) => {
      const rows = f.let("rows", B.add(k, B.mul(key, d * bytes)));
      const sums = Array.from({ length: count }, () => f.mut("sum", B.constant("f32x4", 0)));
      f.for("c", 0, d, 4, (c) => {
        const x = f.let("x", B.load("f32x4", "f32", q, c));
        for (const [i, sum] of sums.entries()) f.assign(sum, B.fma(x, B.load("f32x4", "f32", rows, c, i * d), sum));
      });
      for (const [i, sum] of sums.entries()) {
        const product = B.mul(B.reduceLanes("add", sum), scale);
        const score = f.let("score", masked ? B.add(product, B.load("f32", "f32", mask, key, i)) : product);
        f.store("f32", work, key, score, i);
        f.assign(top, B.max(top, score));
      }
    };
    f.for("key", 0, several, keysAtOnce, scores(keysAtOnce));
    f.for("key", several, keys, 1, scores(1));
    const inverse = weights(f, work, several, keys, top);
    for (let first = 0; first < e / 4; first += mostVectors) {
      const count = Math.min(mostVectors, e / 4 - first);
      const sums = Array.from({ length: count }, () => f.mut("sum", B.constant("f32x4", 0)));
      const row = f.mut("row", v);
      f.for("key", 0, keys, 1, (key) => {
        const weight = f.let("weight", B.loadSplat("f32x4", "f32", work, key));
        for (const [i, sum] of sums.entries())
          f.assign(sum, B.fma(weight, B.load("f32x4", "f32", row, 0, (first + i) * 4), sum));
        f.assign(row, B.add(row, e * bytes));
      });
      const factor = f.let("factor", B.splat("f32x4", inverse));
      for (const [i, sum] of sums.entries()) f.store("f32", y, 0, B.mul(sum, factor), (first + i) * 4);
    }
  });
}

/** work = e^(work − top); gives 1 / Σ. */
function weights(f: Block, work: Expr, several: Expr, keys: Expr, top: Expr): Expr {
  const totals = f.mut("totals", B.constant("f32x4", 0));
  const tops = f.let("tops", B.splat("f32x4", top));
  f.for("key", 0, several, 4, (key) => {
    const x = f.let("x", B.math("exp", B.sub(B.load("f32x4", "f32", work, key), tops)));
    f.store("f32", work, key, x);
    f.assign(totals, B.add(totals, x));
  });
  const total = f.mut("total", B.reduceLanes("add", totals));
  f.for("key", several, keys, 1, (key) => {
    const x = f.let("x", B.math("exp", B.sub(B.load("f32", "f32", work, key), top)));
    f.store("f32", work, key, x);
    f.assign(total, B.add(total, x));
  });
  // Over no keys the sums are 0.
  return f.let("inverse", B.select(B.eq(keys, 0), B.f32(1), B.div(B.f32(1), total)));
}
