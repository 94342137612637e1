/** Groups without reductions: one loop nest that computes each result element from its index. */

import type { Dim } from "../../../ir/dim.js";
import type { Shape } from "../../../ir/graph.js";
import { opOf } from "../../../ir/ops/index.js";
import type { LowerContext } from "../core/context.js";
import { KernelBuilder } from "../core/kernel-builder.js";
import { type Point, pointDims, visitPoints } from "../core/point.js";
import { inPlacePairs } from "./in-place.js";
import { chunkPlan, coefficient, collapse, type Loop, loopsOf, nest, substituted, variable } from "./loops.js";
import { PointEmitter, type Store } from "./point-emit.js";
import { emitTransposition } from "./transpose.js";

/** Every index expression of the points. */
export function dimsOf(points: readonly Point[]): readonly Dim[] {
  const dims: Dim[] = [];
  visitPoints(points, (p) => {
    dims.push(...pointDims(p));
  });
  return dims;
}

function hasExpensive(points: readonly Point[]): boolean {
  let found = false;
  visitPoints(points, (p) => {
    if (p.kind === "apply" && opOf(p.node).cost === "expensive") found = true;
  });
  return found;
}

/** Index variables over a shape, with the loops they belong to. */
export function iterate(shape: Shape, first = 0): { readonly loops: readonly Loop[]; readonly index: readonly Dim[] } {
  const loops = loopsOf(shape, first);
  return { loops, index: loops.map(variable) };
}

/** Adds the kernel that makes all stores over the loops. */
export function emitMap(
  ctx: LowerContext,
  name: string,
  rawLoops: readonly Loop[],
  stores: readonly Store[],
  loc: string | undefined,
): void {
  const points = stores.map((s) => s.point);
  const indices = [...dimsOf(points), ...stores.map((s) => s.at)];
  const { loops, substitution } = collapse(rawLoops, indices);
  const [only, ...others] = stores;
  const moves = only !== undefined && others.length === 0;
  if (moves && emitTransposition(ctx, loops, only, (d) => substituted(d, substitution), loc)) return;
  const plan = chunkPlan(loops);
  const kernel = new KernelBuilder({ chunks: plan.chunks });
  const e = new PointEmitter(kernel, substitution);
  e.plan(points);
  const innermost = loops.at(-1);
  const strideOf = (d: Dim) => innermost && coefficient(substituted(d, substitution), innermost.symbol);
  const isUnit = (d: Dim) => [0, 1].includes(strideOf(d) as number);
  // Loads of other strides are gathered, which pays where lanes then do what costs more than the gathering.
  const vectorize =
    indices.every(isUnit) ||
    (stores.every((s) => isUnit(s.at)) && indices.every((d) => strideOf(d) !== undefined) && hasExpensive(points));
  nest(e, loops, plan, { vectorize, roots: points, indices: stores.map((s) => s.at) }, () => {
    e.storeAll(stores);
  });
  ctx.add(kernel.step(ctx.pool, name, loc, inPlacePairs(kernel, stores, points)));
}
