/**
 * Reductions where memory runs along a kept axis: a tile of that axis is reduced at once.
 *
 *   for each tile of the innermost kept axis (and each index of the outer ones):      (chunks)
 *     for each stage:
 *       acc[0 … T] = neutral
 *       for each reduced index:  for j in tile:  acc[j] = acc[j] ∘ operand      (vectors along j)
 *     store results, again along j
 *
 * What a row kernel keeps in a register lies in an array of the tile's length here.
 */

import { dimAdd, dimBounds, dimFloorDiv, dimMul } from "../../../ir/dim.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder, registerOf } from "../core/kernel-builder.js";
import type { Point } from "../core/point.js";
import { combine, neutral, settle } from "../elementwise/elementwise.js";
import { chunkPlan, type Loop, loopsOf, nest, variable } from "../elementwise/loops.js";
import { loadElement, PointEmitter, storeElement } from "../elementwise/point-emit.js";
import { isRecomputable } from "../elementwise/recompute.js";
import { contains, hasVectorForm, product, type ReduceGroup, type Reduction, variesWith } from "./reduce.js";
import { inPlaceKept } from "./reduce-in-place.js";

/** Columns of a tile. */
export const tileColumns = 256;

/** Rounds of the outermost reduced loop in a block of a long sum. */
const blockRows = 32;

interface Blocks {
  readonly before: () => void;
  readonly after: () => void;
}

/** The dtype whose register is the accumulator's. */
export function accumulatorType(dtype: DType): DType {
  const register = registerOf(dtype);
  return register === "mask" ? "bool" : register;
}

export function emitColumns(ctx: LowerContext, g: ReduceGroup): void {
  const column = g.kept.at(-1)!;
  const outer = g.kept.slice(0, -1);
  const width = dimBounds(column.size).max <= tileColumns ? column.size : tileColumns;
  const tile: Loop = {
    symbol: loopsOf([1], 900)[0]!.symbol,
    size: width === column.size ? 1 : dimFloorDiv(dimAdd(column.size, tileColumns - 1), tileColumns),
  };
  const rows = product(g.reduced);
  const outerLoops = tile.size === 1 ? outer : [...outer, tile];
  const plan = chunkPlan(outerLoops, dimMul(rows === 0 ? 1 : rows, width));
  const kernel = new KernelBuilder({ chunks: plan.chunks });
  const e = new PointEmitter(kernel, g.substitution);
  const { block } = kernel;
  const operands = g.reductions.map((r) => r.operand);
  const results = g.outputs.map((o) => o.point);
  e.plan([...operands, ...results]);
  const accAt = new Map(
    g.reductions.map((r) => [r, kernel.scratch(elemOf[accumulatorType(r.operand.dtype)], width, true)]),
  );
  // Long sums of floats are added up in blocks, so that errors grow with the number of blocks, not of rows.
  const isLong = g.reduced[0] !== undefined && dimBounds(g.reduced[0].size).max > blockRows;
  const blockAt = new Map(
    g.reductions
      .filter((r) => isLong && r.node.op === "sum" && isFloat(r.operand.dtype))
      .map((r) => [r, kernel.scratch(elemOf[accumulatorType(r.operand.dtype)], width, true)]),
  );
  const savedAt = new Map(g.saved.map((p) => [p, kernel.scratch(elemOf[p.dtype], dimMul(g.reducedSize, width), true)]));
  const perColumn = keptPoints(g);
  const columnAt = new Map(perColumn.map((p) => [p, kernel.scratch(elemOf[p.dtype], width, true)]));
  const none = { chunks: undefined, flat: 0, rows: 1 };
  const ready = new Set<Point>();
  const finished = new Set<ReduceGroup["reductions"][number]>();

  nest(e, outerLoops, plan, { vectorize: false, roots: [...operands, ...results] }, () => {
    const first = tile.size === 1 ? B.i32(0) : block.let("first", B.mul(e.index(variable(tile)), tileColumns));
    const end =
      tile.size === 1
        ? kernel.size(column.size)
        : block.let("end", B.minS(B.add(first, tileColumns), kernel.size(column.size)));
    const here = () => {
      const j = e.index(variable(column));
      return tile.size === 1 ? j : B.sub(j, first);
    };

    /** One pass along the tile; what was finished before is read from its arrays. */
    const along = (roots: readonly Point[], vectorize: boolean, body: (j: Expr) => void) => {
      e.hoist(roots);
      e.loop(column.symbol, first, end, vectorize, () => {
        const j = here();
        for (const [p, at] of columnAt)
          if (ready.has(p) && contains(roots, p)) e.set(p, block.let("c", loadElement(p.dtype, at, j)));
        for (const r of finished) {
          if (!usesGiven(roots, r.value, ready)) continue;
          const type = accumulatorType(r.operand.dtype);
          e.give(r.value, block.let("r", settle(r.operand.dtype, loadElement(type, accAt.get(r)!, j))));
        }
        body(j);
      });
    };

    /** All reduced indices, and for each of them the tile. */
    const round = (roots: readonly Point[], body: (j: Expr) => void, blocks?: Blocks) => {
      for (const p of perColumn) {
        if (ready.has(p) || !contains(roots, p)) continue;
        along([p], hasVectorForm(g, column, [p]), (j) =>
          storeElement(kernel, p.dtype, columnAt.get(p)!, j, e.value(p)),
        );
        ready.add(p);
      }
      const computes = g.saved.filter((p) => !ready.has(p) && contains(roots, p));
      const vectorize = hasVectorForm(g, column, roots);
      const options = { vectorize: false, roots, indices: g.saved.length > 0 ? [g.reducedFlat] : [] };
      const rounds = (inner: () => void) => {
        const [outermost, ...others] = g.reduced;
        if (blocks === undefined || outermost === undefined) {
          nest(e, g.reduced, none, options, inner);
          return;
        }
        const rows = kernel.size(outermost.size);
        block.for("from", 0, rows, blockRows, (from) =>
          e.scope([], () => {
            blocks.before();
            const to = block.let("to", B.minS(B.add(from, blockRows), rows));
            e.loop(outermost.symbol, from, to, false, () => nest(e, others, none, options, inner));
            blocks.after();
          }),
        );
      };
      rounds(() => {
        const row =
          g.saved.length > 0 ? block.let("line", B.mul(e.index(g.reducedFlat), kernel.size(width))) : B.i32(0);
        along(roots, vectorize, (j) => {
          for (const p of g.saved) {
            if (ready.has(p) && contains(roots, p))
              e.set(p, block.let("saved", loadElement(p.dtype, savedAt.get(p)!, B.add(row, j))));
          }
          for (const p of computes) {
            const value = block.let("saved", e.value(p));
            e.set(p, value);
            storeElement(kernel, p.dtype, savedAt.get(p)!, B.add(row, j), value);
          }
          body(j);
        });
      });
      for (const p of computes) ready.add(p);
    };

    for (let stage = 0; stage < g.stages; stage++) {
      const own = g.reductions.filter((r) => r.stage === stage);
      const reset = (list: readonly Reduction[], at: (r: Reduction) => Expr) =>
        along([], true, (j) => {
          for (const r of list) {
            const type = accumulatorType(r.operand.dtype);
            const start = B.constant(registerOf(type), neutral(r.node.op, r.operand.dtype));
            storeElement(kernel, type, at(r), j, start);
          }
        });
      const into = (at: Expr, r: Reduction, j: Expr, value: Expr) => {
        const type = accumulatorType(r.operand.dtype);
        storeElement(kernel, type, at, j, combine(r.node.op, r.operand.dtype, loadElement(type, at, j), value));
      };
      const sums = own.filter((r) => blockAt.has(r));
      const blocks: Blocks = {
        before: () => reset(sums, (r) => blockAt.get(r)!),
        after: () =>
          along([], true, (j) => {
            for (const r of sums) {
              const part = loadElement(accumulatorType(r.operand.dtype), blockAt.get(r)!, j);
              into(accAt.get(r)!, r, j, part);
            }
          }),
      };
      reset(own, (r) => accAt.get(r)!);
      round(
        own.map((r) => r.operand),
        (j) => {
          for (const r of own) into(blockAt.get(r) ?? accAt.get(r)!, r, j, e.value(r.operand));
        },
        sums.length > 0 ? blocks : undefined,
      );
      for (const r of own) finished.add(r);
    }
    const full = g.outputs.filter((o) => o.full);
    const store = (o: ReduceGroup["outputs"][number], value: Expr) =>
      e.store(o.point.dtype, kernel.pointer(o.to, "write"), o.at, value);
    if (full.length > 0) {
      round(
        full.map((o) => o.point),
        () => {
          const values = full.map((o) => e.value(o.point));
          full.forEach((o, k) => {
            store(o, values[k]!);
          });
        },
      );
    }
    const kept = g.outputs.filter((o) => !o.full);
    if (kept.length > 0) {
      const roots = kept.map((o) => o.point);
      along(roots, hasVectorForm(g, column, roots), () => {
        const values = kept.map((o) => e.value(o.point));
        kept.forEach((o, k) => {
          store(o, values[k]!);
        });
      });
    }
    ready.clear();
    finished.clear();
  });
  ctx.add(kernel.step(ctx.pool, g.name, g.loc, inPlaceKept(kernel, g)));
}

/** Whether the roots reach a reduction's result other than through arrays that are ready. */
function usesGiven(roots: readonly Point[], value: unknown, ready: ReadonlySet<Point>): boolean {
  const seen = new Set<Point>();
  const walk = (p: Point): boolean => {
    if (seen.has(p) || ready.has(p)) return false;
    seen.add(p);
    if (p.kind === "given") return p.value === value;
    return p.kind === "apply" && p.args.some(walk);
  };
  return roots.some(walk);
}

/** Points of a kept index that are worth an array: expensive, and needed for every reduced index. */
function keptPoints(g: ReduceGroup): readonly Point[] {
  const found = new Set<Point>();
  const walk = (p: Point): void => {
    if (p.kind !== "apply" || found.has(p)) return;
    if (!variesWith(p, g.reducedSymbols) && !isRecomputable(p)) found.add(p);
    else for (const a of p.args) walk(a);
  };
  for (const r of g.reductions) walk(r.operand);
  for (const o of g.outputs) if (o.full) walk(o.point);
  return [...found];
}
