/**
 * Attention of single queries, as decoders have them: one row over a long cache. Keys and values are read as they lie, once for all heads of a
 * group, and nothing is as large as queries × keys.
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

/** Keys of each run that several queries are multiplied by in turn: those of all runs, and their values, stay in the L1 cache. */
const tileKeys = 24;

/**
 * y[g] = softmax(scale · q[g] · kᵀ + mask) · v over `keys` keys, for `group` queries that share keys, values and mask: the heads of a group. These are
 * read from memory once. Rows of q and y are `qStep` and `yStep` elements apart; `work` has room for a number of each query and key, `inverses` for
 * one of each query. A query has the same bits in any group.
 */
export function attentionRows(d: number, e: number, masked: AttentionMask | undefined): LoopFunction {
  const pointers = ["q", "k", "v", "y", "work", "inverses"].map((n) => B.pointer(n, "f32"));
  const params = [
    ...pointers,
    ...(masked ? [B.pointer("mask", maskElem[masked])] : []),
    ...ints("keys", "group", "qStep", "yStep"),
    { name: "scale", type: "f32" } as const,
  ];
  return buildFunction(`f32_attention_rows_${d}x${e}${maskSuffix(masked)}`, params, undefined, (f, given) => {
    const p = Object.fromEntries(params.map((param, i) => [param.name, given[i]!])) as Record<string, Expr>;
    type Name = "q" | "k" | "v" | "y" | "inverses" | "keys" | "group" | "qStep" | "yStep" | "scale";
    const { q, k, v, y, inverses, keys, group, qStep, yStep, scale } = p as Record<Name, Expr>;
    const run = f.let("run", B.shrU(keys, Math.log2(streams)));
    const several = f.let("several", B.mul(run, streams));
    // Alone, a query takes all keys at once.
    const tile = f.let("tile", B.select(B.eq(group, 1), run, tileKeys));
    const elementsOn = (base: Expr, elements: Expr): Expr => B.add(base, B.mul(elements, bytes));
    const workOf = (g: Expr) => f.let("weights", elementsOn(p.work!, B.mul(g, keys)));
    const forQueries = (body: (g: Expr) => void) => f.for("g", 0, group, 1, body);
    /** Places of `count` keys that go side by side, a run apart. */
    const places = (count: number, key: Expr) =>
      Array.from({ length: count }, (_, i) => (i === 0 ? key : f.let("place", B.add(key, B.mul(run, i)))));
    /** Walks keys in `count` runs; the body gets pointers to their rows. */
    const walk = (
      count: number,
      base: Expr,
      width: number,
      from: Expr,
      to: Expr,
      body: (rows: readonly Expr[], places: readonly Expr[]) => void,
    ) => {
      const rows = places(count, from).map((at) => f.mut("row", elementsOn(base, B.mul(at, width))));
      f.for("key", from, to, 1, (key) => {
        body(rows, places(count, key));
        for (const row of rows) f.assign(row, B.add(row, width * bytes));
      });
    };
    /** The keys that go side by side, in tiles, and then those behind them. */
    const overTiles = (body: (count: number, from: Expr, to: Expr) => void) => {
      const from = f.mut("from", B.i32(0));
      f.while(B.ltS(from, run), () => {
        const to = f.let("to", B.minS(run, B.add(from, tile)));
        body(streams, from, to);
        f.assign(from, to);
      });
      body(1, several, keys);
    };
    overTiles((count, from, to) =>
      forQueries((g) => {
        const [own, work] = [f.let("query", elementsOn(q, B.mul(g, qStep))), workOf(g)];
        walk(count, k, d, from, to, (rows, at) => {
          const sums = rows.map(() => f.mut("sum", B.constant("f32x4", 0)));
          f.for("c", 0, d, 4, (c) => {
            const x = f.let("x", B.load("f32x4", "f32", own, c));
            for (const [i, sum] of sums.entries()) f.assign(sum, B.fma(x, B.load("f32x4", "f32", rows[i]!, c), sum));
          });
          for (const [i, sum] of sums.entries()) {
            const score = B.mul(B.reduceLanes("add", sum), scale);
            f.store("f32", work, at[i]!, maskedScore(score, p.mask!, masked, at[i]!));
          }
        });
      }),
    );
    forQueries((g) => {
      f.push(B.fill(elementsOn(y, B.mul(g, yStep)), 0, B.i32(e * bytes)));
      f.store("f32", inverses, g, softmaxRow(f, workOf(g), keys));
    });
    /** Columns of the result that are summed side by side, as vectors. */
    const slices = Array.from({ length: Math.ceil(e / 4 / mostVectors) }, (_, i) => {
      const first = i * mostVectors;
      return Array.from({ length: Math.min(mostVectors, e / 4 - first) }, (_, n) => 4 * (first + n));
    });
    overTiles((count, from, to) =>
      forQueries((g) => {
        const [own, work] = [f.let("result", elementsOn(y, B.mul(g, yStep))), workOf(g)];
        for (const columns of slices) {
          const sums = columns.map((c) => f.mut("sum", B.load("f32x4", "f32", own, 0, c)));
          walk(count, v, e, from, to, (rows, at) => {
            for (const [i, row] of rows.entries()) {
              const weight = f.let("weight", B.loadSplat("f32x4", "f32", work, at[i]!));
              for (const [n, sum] of sums.entries())
                f.assign(sum, B.fma(weight, B.load("f32x4", "f32", row, 0, columns[n]!), sum));
            }
          });
          for (const [n, sum] of sums.entries()) f.store("f32", own, 0, sum, columns[n]!);
        }
      }),
    );
    forQueries((g) => {
      const own = f.let("result", elementsOn(y, B.mul(g, yStep)));
      const factor = f.let("factor", B.loadSplat("f32x4", "f32", inverses, g));
      f.for("c", 0, e, 4, (c) => f.store("f32", own, c, B.mul(B.load("f32x4", "f32", own, c), factor)));
    });
  });
}

/** work = e^(work − its greatest); gives 1 / Σ. */
function softmaxRow(f: Block, work: Expr, keys: Expr): Expr {
  const several = f.let("whole", B.and(keys, -4));
  const tops = f.mut("tops", B.constant("f32x4", -Infinity));
  f.for("key", 0, several, 4, (key) => f.assign(tops, B.pmax(tops, B.load("f32x4", "f32", work, key))));
  const top = f.mut("top", B.reduceLanes("max", tops));
  f.for("key", several, keys, 1, (key) => f.assign(top, B.max(top, B.load("f32", "f32", work, key))));
  const all = f.let("all", B.splat("f32x4", top));
  const totals = f.mut("totals", B.constant("f32x4", 0));
  f.for("key", 0, several, 4, (key) => {
    const x = f.let("x", B.math("exp", B.sub(B.load("f32x4", "f32", work, key), all)));
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
