/** Loop nests over the axes of a result: adjacent axes collapse where all accesses allow it, and the outer range is cut into chunks. */

import {
  type Dim,
  dimAdd,
  dimBounds,
  dimEqual,
  dimFloorDiv,
  dimMax,
  dimMul,
  dimSubstitute,
  dimSymbol,
} from "../../../ir/dim.js";
import { splitDim } from "../../../ir/dim-read.js";
import { InternalError } from "../../../ir/errors.js";
import type { Shape } from "../../../ir/graph.js";
import type { Expr } from "../../../ir/loop.js";
import * as B from "../../../ir/loop-build.js";
import type { Point } from "../core/point.js";
import type { PointEmitter } from "./point-emit.js";

export interface Loop {
  readonly symbol: string;
  readonly size: Dim;
}

const prefix = "_i.";
export const isLoopSymbol = (name: string): boolean => name.startsWith(prefix);

/** A loop for each axis. `first` tells apart the loops of one kernel. */
export function loopsOf(shape: Shape, first = 0): readonly Loop[] {
  return shape.map((size, a) => ({ symbol: `${prefix}${first + a}`, size }));
}

/** A loop besides those over axes. Its name tells it apart from the kernel's others. */
export const freshLoop = (name: string, size: Dim): Loop => ({ symbol: `${prefix}${name}`, size });

/** The loop's variable as an index; 0 where there is only one round. */
export function variable({ symbol, size }: Loop): Dim {
  if (size === 1) return 0;
  return dimSymbol(symbol, { min: 0, max: Math.max(0, dimBounds(size).max - 1) });
}

export interface Collapsed {
  readonly loops: readonly Loop[];
  readonly substitution: ReadonlyMap<string, Dim>;
}

/**
 * Merges neighbouring loops whose two variables only occur together as outer·size + inner in every index expression, and
 * drops loops of one round.
 */
export function collapse(loops: readonly Loop[], indices: readonly Dim[]): Collapsed {
  const substitution = new Map<string, Dim>();
  const kept: Loop[] = [];
  for (const loop of loops) {
    if (loop.size === 1) continue;
    const outer = kept.at(-1);
    if (outer === undefined || !indices.every((d) => contiguous(d, outer, loop))) {
      kept.push(loop);
      continue;
    }
    kept[kept.length - 1] = { symbol: loop.symbol, size: dimMul(outer.size, loop.size) };
    substitution.set(outer.symbol, 0);
  }
  // The variable of a merged loop counts through all of its range.
  for (const loop of kept) substitution.set(loop.symbol, variable(loop));
  return { loops: kept, substitution };
}

function contiguous(d: Dim, outer: Loop, inner: Loop): boolean {
  const a = coefficient(d, outer.symbol);
  const b = coefficient(d, inner.symbol);
  return a !== undefined && b !== undefined && dimEqual(a, dimMul(b, inner.size));
}

/** The factor of a loop variable in an index expression; undefined where it occurs otherwise than linearly. */
export function coefficient(d: Dim, symbol: string): Dim | undefined {
  let found: Dim = 0;
  for (const p of splitDim(d, (s) => s.name === symbol).parts) {
    const [only] = p.factors;
    if (p.factors.length !== 1 || only?.kind !== "symbol") return undefined;
    if (splitDim(p.coefficient, (s) => isLoopSymbol(s.name)).parts.length > 0) return undefined;
    found = p.coefficient;
  }
  return found;
}

/** Elements of work in a chunk: less is not worth another thread. */
export const grain = 16384;

export interface ChunkPlan {
  /** Undefined: one thread does it all. */
  readonly chunks: Dim | undefined;
  /** How many of the outer loops are one range of rows. */
  readonly flat: number;
  /** Rows of a chunk. */
  readonly rows: Dim;
}

const product = (loops: readonly Loop[]): Dim => loops.reduce<Dim>((p, l) => dimMul(p, l.size), 1);

/**
 * Cuts the outer loops into chunks of about `grain` elements; `inner` is the work of one round of all loops. Depends on
 * sizes only, never on threads.
 */
export function chunkPlan(loops: readonly Loop[], inner: Dim = 1): ChunkPlan {
  const none: ChunkPlan = { chunks: undefined, flat: Math.min(1, loops.length), rows: 1 };
  const work = dimMul(product(loops), inner);
  if (loops.length === 0 || dimBounds(work).max <= grain) return none;
  const innermostCounts = inner !== 1 || loops.length === 1;
  const most = innermostCounts ? loops.length : loops.length - 1;
  let flat = 1;
  const rowWork = () => dimMul(product(loops.slice(flat)), inner);
  while (flat < most && dimBounds(product(loops.slice(0, flat))).min < 16 && !(dimBounds(rowWork()).max <= grain))
    flat++;
  const count = product(loops.slice(0, flat));
  const each = dimMax(rowWork(), 1);
  const rows = dimMax(dimFloorDiv(grain, each), 1);
  const chunks = dimFloorDiv(dimAdd(count, dimAdd(rows, -1)), rows);
  return chunks === 1 ? none : { chunks, flat, rows };
}

export interface NestOptions {
  readonly vectorize: boolean;
  /** What the body evaluates; invariant parts move out of the inner loops. */
  readonly roots: readonly Point[];
  /** Index expressions the body uses besides. */
  readonly indices?: readonly Dim[];
}

/** All loops, outermost first, around the body; the outer ones over the kernel's chunk range if it has one. */
export function nest(
  e: PointEmitter,
  loops: readonly Loop[],
  plan: ChunkPlan,
  options: NestOptions,
  body: () => void,
): void {
  const hoist = () => {
    e.hoist(options.roots);
    for (const d of options.indices ?? []) e.hoistIndex(d);
  };
  const inner = (from: number): void => {
    const loop = loops[from];
    if (loop === undefined) {
      body();
      return;
    }
    hoist();
    e.loop(loop.symbol, 0, e.kernel.size(loop.size), options.vectorize && from === loops.length - 1, () =>
      inner(from + 1),
    );
  };
  if (plan.chunks === undefined) {
    inner(0);
    return;
  }
  hoist();
  const { block, begin, end } = e.kernel;
  if (begin === undefined || end === undefined) throw new InternalError("a plan with chunks for a kernel without");
  const rows = e.kernel.size(plan.rows);
  const outer = loops.slice(0, plan.flat);
  const first = B.mul(begin, rows);
  const last = B.minS(B.mul(end, rows), e.kernel.size(product(outer)));
  if (outer.length === 1) {
    e.loop(outer[0]!.symbol, first, last, options.vectorize && loops.length === 1, () => inner(1));
    return;
  }
  block.for("row", first, last, 1, (row) => {
    const vars: [string, Expr][] = [];
    let left = row;
    for (let k = outer.length - 1; k >= 0; k--) {
      const { symbol, size } = outer[k]!;
      const n = e.kernel.size(size);
      vars.push([symbol, k === 0 ? left : block.let("i", B.remS(left, n))]);
      if (k > 0) left = block.let("left", B.divS(left, n));
    }
    e.scope(vars, () => inner(plan.flat));
  });
}

/** An index expression after collapsing. */
export const substituted = (d: Dim, by: ReadonlyMap<string, Dim>): Dim => dimSubstitute(d, (s) => by.get(s.name));
