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

import { type Dim, dimAdd, dimBounds, dimFloorDiv, dimMul } from "../../../ir/dim.js";
import { type DType, isFloat } from "../../../ir/dtype.js";
import type { Value } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder, registerOf } from "../core/kernel-builder.js";
import type { Point } from "../core/point.js";
import { combine, neutral } from "../elementwise/elementwise.js";
import { inPlacePairs } from "../elementwise/in-place.js";
import { chunkPlan, freshLoop, type Loop, nest, variable } from "../elementwise/loops.js";
import { loadElement, PointEmitter, storeElement } from "../elementwise/point-emit.js";
import { isRecomputable } from "../elementwise/recompute.js";
import { settle } from "../elementwise/registers.js";
import {
  accumulatorType,
  contains,
  hasVectorForm,
  product,
  type ReduceGroup,
  type Reduction,
  unchunked,
  variesWith,
} from "./reduce-group.js";

/** Columns of a tile. */
export const tileColumns = 256;

/** Rounds of the outermost reduced loop in a block of a long sum. */
const blockRows = 32;

interface Blocks {
  readonly before: () => void;
  readonly after: () => void;
}

/** Tiles of the innermost kept axis. */
interface Tiling {
  readonly column: Loop;
  readonly outer: readonly Loop[];
  /** Counts the tiles; one round where a tile is the whole axis. */
  readonly tile: Loop;
  readonly width: Dim;
}

function tilingOf(g: ReduceGroup): Tiling {
  const column = g.kept.at(-1)!;
  const isWhole = dimBounds(column.size).max <= tileColumns;
  const tiles = isWhole ? 1 : dimFloorDiv(dimAdd(column.size, tileColumns - 1), tileColumns);
  return {
    column,
    outer: g.kept.slice(0, -1),
    tile: freshLoop("tile", tiles),
    width: isWhole ? column.size : tileColumns,
  };
}

export function emitColumns(ctx: LowerContext, g: ReduceGroup): void {
  const tiling = tilingOf(g);
  const { outer, tile, width } = tiling;
  const rows = product(g.reduced);
  const loops = tile.size === 1 ? outer : [...outer, tile];
  const plan = chunkPlan(loops, dimMul(rows === 0 ? 1 : rows, width));
  const kernel = new KernelBuilder({ chunks: plan.chunks });
  const e = new PointEmitter(kernel, g.substitution);
  const roots = [...g.reductions.map((r) => r.operand), ...g.outputs.map((o) => o.point)];
  e.plan(roots);
  const arrays = new Arrays(kernel, g, width);
  nest(e, loops, plan, { vectorize: false, roots }, () => new Tile(kernel, e, g, arrays, tiling).emit());
  // What is kept is stored last, and nobody else looks there.
  const kept = g.outputs.filter((o) => !o.full);
  ctx.add(kernel.step(ctx.pool, g.name, g.loc, inPlacePairs(kernel, kept, roots)));
}

/** Scratch of a tile's width for what a row kernel keeps in registers. */
class Arrays {
  readonly accs: ReadonlyMap<Reduction, Expr>;
  /** Long sums of floats are added up in blocks, so that errors grow with the number of blocks, not of rows. */
  readonly blocks: ReadonlyMap<Reduction, Expr>;
  /** Points saved for a later stage, one row of the tile for each reduced index. */
  readonly saved: ReadonlyMap<Point, Expr>;
  /** Points of a kept index. */
  readonly perColumn: ReadonlyMap<Point, Expr>;

  constructor(kernel: KernelBuilder, g: ReduceGroup, width: Dim) {
    const scratch = (dtype: DType, count: Dim) => kernel.scratch(elemOf[dtype], count, true);
    const accumulator = (r: Reduction) => [r, scratch(accumulatorType(r.operand.dtype), width)] as const;
    const isLong = g.reduced[0] !== undefined && dimBounds(g.reduced[0].size).max > blockRows;
    const inBlocks = (r: Reduction) => isLong && r.node.op === "sum" && isFloat(r.operand.dtype);
    this.accs = new Map(g.reductions.map(accumulator));
    this.blocks = new Map(g.reductions.filter(inBlocks).map(accumulator));
    this.saved = new Map(g.saved.map((p) => [p, scratch(p.dtype, dimMul(g.reducedSize, width))]));
    this.perColumn = new Map(keptPoints(g).map((p) => [p, scratch(p.dtype, width)]));
  }
}

/** The body of the loops over tiles. */
class Tile {
  readonly #kernel: KernelBuilder;
  readonly #e: PointEmitter;
  readonly #g: ReduceGroup;
  readonly #arrays: Arrays;
  readonly #tiling: Tiling;
  readonly #first: Expr;
  readonly #end: Expr;
  /** Points whose arrays are filled, and reductions that are finished. */
  readonly #ready = new Set<Point>();
  readonly #finished = new Set<Reduction>();

  constructor(kernel: KernelBuilder, e: PointEmitter, g: ReduceGroup, arrays: Arrays, tiling: Tiling) {
    this.#kernel = kernel;
    this.#e = e;
    this.#g = g;
    this.#arrays = arrays;
    this.#tiling = tiling;
    const { tile, column } = tiling;
    const { block } = kernel;
    const size = kernel.size(column.size);
    this.#first = tile.size === 1 ? B.i32(0) : block.let("first", B.mul(e.index(variable(tile)), tileColumns));
    this.#end = tile.size === 1 ? size : block.let("end", B.minS(B.add(this.#first, tileColumns), size));
  }

  emit(): void {
    for (let stage = 0; stage < this.#g.stages; stage++) this.#stage(stage);
    this.#results();
  }

  #stage(stage: number): void {
    const { accs, blocks } = this.#arrays;
    const own = this.#g.reductions.filter((r) => r.stage === stage);
    const sums = own.filter((r) => blocks.has(r));
    const addBlocks = () =>
      this.#along([], true, (j) => {
        for (const r of sums)
          this.#into(accs.get(r)!, r, j, loadElement(accumulatorType(r.operand.dtype), blocks.get(r)!, j));
      });
    this.#reset(own, accs);
    this.#round(
      own.map((r) => r.operand),
      (j) => {
        for (const r of own) this.#into(blocks.get(r) ?? accs.get(r)!, r, j, this.#e.value(r.operand));
      },
      sums.length > 0 ? { before: () => this.#reset(sums, blocks), after: addBlocks } : undefined,
    );
    for (const r of own) this.#finished.add(r);
  }

  #results(): void {
    const full = this.#g.outputs.filter((o) => o.full);
    const points = (list: ReduceGroup["outputs"]) => list.map((o) => o.point);
    if (full.length > 0) this.#round(points(full), () => this.#e.storeAll(full));
    const kept = this.#g.outputs.filter((o) => !o.full);
    if (kept.length > 0)
      this.#along(points(kept), hasVectorForm(this.#g, this.#tiling.column, points(kept)), () =>
        this.#e.storeAll(kept),
      );
  }

  /** The neutral element in the whole array of each reduction. */
  #reset(list: readonly Reduction[], arrays: ReadonlyMap<Reduction, Expr>): void {
    this.#along([], true, (j) => {
      for (const r of list) {
        const type = accumulatorType(r.operand.dtype);
        const start = B.constant(registerOf(type), neutral(r.node.op, r.operand.dtype));
        storeElement(this.#kernel, type, arrays.get(r)!, j, start);
      }
    });
  }

  #into(at: Expr, r: Reduction, j: Expr, value: Expr): void {
    const type = accumulatorType(r.operand.dtype);
    storeElement(this.#kernel, type, at, j, combine(r.node.op, r.operand.dtype, loadElement(type, at, j), value));
  }

  /** One pass along the tile; what was finished before is read from its arrays. `j` counts from the tile's start. */
  #along(roots: readonly Point[], vectorize: boolean, body: (j: Expr) => void): void {
    const { block } = this.#kernel;
    const e = this.#e;
    const { column, tile } = this.#tiling;
    e.hoist(roots);
    e.loop(column.symbol, this.#first, this.#end, vectorize, () => {
      const at = e.index(variable(column));
      const j = tile.size === 1 ? at : B.sub(at, this.#first);
      for (const [p, array] of this.#arrays.perColumn)
        if (this.#ready.has(p) && contains(roots, p)) e.set(p, block.let("c", loadElement(p.dtype, array, j)));
      for (const r of this.#finished) {
        if (!usesGiven(roots, r.value, this.#ready)) continue;
        const type = accumulatorType(r.operand.dtype);
        const acc = loadElement(type, this.#arrays.accs.get(r)!, j);
        e.give(r.value, block.let("r", settle(r.operand.dtype, acc)));
      }
      body(j);
    });
  }

  /** All reduced indices, and for each of them the tile. */
  #round(roots: readonly Point[], body: (j: Expr) => void, blocks?: Blocks): void {
    const { block } = this.#kernel;
    const g = this.#g;
    const e = this.#e;
    this.#fillColumns(roots);
    const computes = g.saved.filter((p) => !this.#ready.has(p) && contains(roots, p));
    const vectorize = hasVectorForm(g, this.#tiling.column, roots);
    this.#rows(roots, blocks, () => {
      const width = this.#kernel.size(this.#tiling.width);
      const row = g.saved.length > 0 ? block.let("line", B.mul(e.index(g.reducedFlat), width)) : B.i32(0);
      this.#along(roots, vectorize, (j) => {
        for (const [p, array] of this.#arrays.saved) {
          if (this.#ready.has(p) && contains(roots, p))
            e.set(p, block.let("saved", loadElement(p.dtype, array, B.add(row, j))));
        }
        for (const p of computes) {
          const value = block.let("saved", e.value(p));
          e.set(p, value);
          storeElement(this.#kernel, p.dtype, this.#arrays.saved.get(p)!, B.add(row, j), value);
        }
        body(j);
      });
    });
    for (const p of computes) this.#ready.add(p);
  }

  /** Points of a kept index that the roots need. */
  #fillColumns(roots: readonly Point[]): void {
    for (const [p, array] of this.#arrays.perColumn) {
      if (this.#ready.has(p) || !contains(roots, p)) continue;
      this.#along([p], hasVectorForm(this.#g, this.#tiling.column, [p]), (j) =>
        storeElement(this.#kernel, p.dtype, array, j, this.#e.value(p)),
      );
      this.#ready.add(p);
    }
  }

  /** The loops over the reduced axes; the outermost in blocks, if there is something to do for each. */
  #rows(roots: readonly Point[], blocks: Blocks | undefined, inner: () => void): void {
    const { block } = this.#kernel;
    const e = this.#e;
    const options = { vectorize: false, roots, indices: this.#g.saved.length > 0 ? [this.#g.reducedFlat] : [] };
    const [outermost, ...others] = this.#g.reduced;
    if (blocks === undefined || outermost === undefined) {
      nest(e, this.#g.reduced, unchunked, options, inner);
      return;
    }
    const rows = this.#kernel.size(outermost.size);
    block.for("from", 0, rows, blockRows, (from) =>
      e.scope([], () => {
        blocks.before();
        const to = block.let("to", B.minS(B.add(from, blockRows), rows));
        e.loop(outermost.symbol, from, to, false, () => nest(e, others, unchunked, options, inner));
        blocks.after();
      }),
    );
  }
}

/** Whether the roots reach a reduction's result other than through arrays that are ready. */
function usesGiven(roots: readonly Point[], value: Value, ready: ReadonlySet<Point>): boolean {
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
