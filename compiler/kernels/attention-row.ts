/**
 * Attention of single queries, as decoders have them: one row over a long cache. Keys and values are read as they lie, once, and
 * nothing is as large as queries × keys.
 */

import type { Expr, LoopFunction } from "../../ir/loop.js";
import { type Block, buildFunction } from "../../ir/loop-block.js";
import * as B from "../../ir/loop-build.js";
import { type AttentionMask, maskElem, maskedScore, maskSuffix } from "./attention-mask.js";
import { ints } from "./tile.js";

const bytes = 4;
/**
 * Keys are walked in as many runs side by side: each is a stream of its own to the processor, which reads several faster than one (10 and 20
 * GB/s). What is left behind them goes one by one.
 */
const streams = 4;
/** Vectors of a value that are summed side by side. */
const mostVectors = 8;

/** Whether there is such a kernel for heads of these sizes. */
export const hasRows = (d: number | undefined, e: number | undefined): boolean =>
  d !== undefined && e !== undefined && d % 4 === 0 && e % 4 === 0 && d > 0 && e > 0;

/**
 * y[e] = softmax(scale · q · kᵀ + mask) · v over `keys` keys. `work` has room for a number of each key;
 * `mask` is of the query's row.
 */
export function attentionRow(d: number, e: number, masked: AttentionMask | undefined): LoopFunction {
  const pointers = ["q", "k", "v", "y", "work"].map((n) => B.pointer(n, "f32"));
  const params = [
    ...pointers,
    ...(masked ? [B.pointer("mask", maskElem[masked])] : []),
    ...ints("keys"),
    { name: "scale", type: "f32" } as const,
  ];
  return buildFunction(`f32_attention_row_${d}x${e}${maskSuffix(masked)}`, params, undefined, (f, given) => {
    const p = Object.fromEntries(params.map((param, i) => [param.name, given[i]!])) as Record<string, Expr>;
    const { q, k, v, y, work, mask, keys, scale } = p as Record<
      "q" | "k" | "v" | "y" | "work" | "mask" | "keys" | "scale",
      Expr
    >;
    const top = f.mut("top", B.f32(-Infinity));
    const run = f.let("run", B.shrU(keys, Math.log2(streams)));
    const several = f.let("several", B.mul(run, streams));
    /** Elements from key to key of `count` that go side by side, from a key on. */
    const walk = (count: number, rowElements: number, base: Expr, from: Expr | number) =>
      Array.from({ length: count }, (_, i) =>
        f.mut("row", B.add(base, B.mul(B.mul(i === 0 ? B.add(B.i32(0), from) : B.mul(run, i), rowElements), bytes))),
      );
    const advance = (rows: readonly Expr[], rowElements: number) => {
      for (const row of rows) f.assign(row, B.add(row, rowElements * bytes));
    };
    const places = (count: number, key: Expr) =>
      Array.from({ length: count }, (_, i) => (i === 0 ? key : f.let("place", B.add(key, B.mul(run, i)))));
    const scores = (count: number, from: Expr | number, to: Expr) => {
      const rows = walk(count, d, k, from);
      f.for("key", from, to, 1, (key) => {
        const sums = rows.map(() => f.mut("sum", B.constant("f32x4", 0)));
        f.for("c", 0, d, 4, (c) => {
          const x = f.let("x", B.load("f32x4", "f32", q, c));
          for (const [i, sum] of sums.entries()) f.assign(sum, B.fma(x, B.load("f32x4", "f32", rows[i]!, c), sum));
        });
        for (const [i, at] of places(count, key).entries()) {
          const product = B.mul(B.reduceLanes("add", sums[i]!), scale);
          const score = f.let("score", maskedScore(product, mask, masked, at));
          f.store("f32", work, at, score);
          f.assign(top, B.max(top, score));
        }
        advance(rows, d);
      });
    };
    scores(streams, 0, run);
    scores(1, several, keys);
    const inverse = weights(f, work, B.and(keys, -4), keys, top);
    for (let first = 0; first < e / 4; first += mostVectors) {
      const count = Math.min(mostVectors, e / 4 - first);
      const sums = Array.from({ length: count }, () => f.mut("sum", B.constant("f32x4", 0)));
      const values = (side: number, from: Expr | number, to: Expr) => {
        const rows = walk(side, e, v, from);
        f.for("key", from, to, 1, (key) => {
          for (const [i, at] of places(side, key).entries()) {
            const weight = f.let("weight", B.loadSplat("f32x4", "f32", work, at));
            for (const [n, sum] of sums.entries())
              f.assign(sum, B.fma(weight, B.load("f32x4", "f32", rows[i]!, 0, (first + n) * 4), sum));
          }
          advance(rows, e);
        });
      };
      values(streams, 0, run);
      values(1, several, keys);
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
