/**
 * Groups with reductions over one set of axes: a single sum, or a whole softmax or layer norm. Each reduction is a stage, a loop
 * over the reduced axes; elementwise producers and consumers are computed inside the stages.
 *
 *   for each kept index:                                  (chunks)
 *     for each stage:  for each reduced index:  acc = acc ∘ operand
 *     for each reduced index:  store the full-sized results
 *
 * Where memory runs along a kept axis instead (sums over leading axes), a tile of that axis takes the place of the kept
 * index, and each register becomes an array: see reduce-columns.ts.
 */

import { type Dim, dimBounds, dimEqual, dimMul } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import { type GraphNode, type NodeOf, sameShape, type Value } from "../../../ir/graph.js";
import * as B from "../../../ir/loop-build.js";
import { isReduce, type ReduceName } from "../../../ir/ops/classes.js";
import type { ReduceAttrs } from "../../../ir/ops/reduce.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { elemOf, KernelBuilder, registerOf } from "../core/kernel-builder.js";
import { Place, sizeOf } from "../core/place.js";
import { type Leaf, type Point, Points, visitPoints } from "../core/point.js";
import { combine, neutral, settle } from "../elementwise/elementwise.js";
import { chunkPlan, coefficient, collapse, type Loop, nest, substituted } from "../elementwise/loops.js";
import { iterate } from "../elementwise/map.js";
import { loadElement, PointEmitter } from "../elementwise/point-emit.js";
import { isRecomputable } from "../elementwise/recompute.js";
import { emitColumns } from "./reduce-columns.js";
import { inPlaceKept, inPlaceRows } from "./reduce-in-place.js";
import { emitSplit, splitFactor } from "./reduce-split.js";

export type ReduceNode = NodeOf<ReduceName, ReduceAttrs>;

export interface Reduction {
  readonly node: ReduceNode;
  readonly value: Value;
  /** The operand at the full index. */
  readonly operand: Point;
  /** Round of loops over the reduced axes in which it is computed. */
  readonly stage: number;
}

export interface Output {
  readonly to: View;
  readonly point: Point;
  /** Flat index in the result. */
  readonly at: Dim;
  /** One element for each full index, not just for each kept one. */
  readonly full: boolean;
}

/** A group, analysed. Loops are collapsed; dims are as before collapsing, with `substitution` to apply. */
export interface ReduceGroup {
  readonly name: string;
  readonly loc: string | undefined;
  readonly reductions: readonly Reduction[];
  readonly outputs: readonly Output[];
  readonly kept: readonly Loop[];
  readonly reduced: readonly Loop[];
  readonly substitution: ReadonlyMap<string, Dim>;
  /** Variables of the reduced axes, before collapsing. */
  readonly reducedSymbols: ReadonlySet<string>;
  /** Values computed in one stage and used in a later one, kept in scratch between. */
  readonly saved: readonly Point[];
  /** Flat index over the reduced axes, and their number of elements. */
  readonly reducedFlat: Dim;
  readonly reducedSize: Dim;
  readonly stages: number;
}

/** Reduction nodes between the outputs and the leaves, operands first. */
export function reductionsOf(outputs: readonly Value[], isLeaf: (v: Value) => boolean): readonly ReduceNode[] {
  const found: ReduceNode[] = [];
  const seen = new Set<GraphNode>();
  const walk = (v: Value): void => {
    if (v.def.op === "param" || isLeaf(v) || seen.has(v.def)) return;
    seen.add(v.def);
    for (const o of v.def.operands) walk(o);
    if (isReduce(v.def.op)) found.push(v.def as ReduceNode);
  };
  for (const v of outputs) walk(v);
  return found;
}

/** Adds the kernels of a group with reductions. False, and nothing added, where the group is not of a form they can compute. */
export function lowerReduceGroup(
  ctx: LowerContext,
  name: string,
  outputs: readonly { readonly value: Value; readonly to: View }[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
  options: { readonly split: boolean } = { split: true },
): boolean {
  const group = analyse(name, outputs, leaf, loc);
  if (group === undefined) return false;
  const split = options.split ? splitFactor(group, runsAlongColumns(group)) : undefined;
  if (split !== undefined) emitSplit(ctx, group, split, outputs, leaf);
  else if (runsAlongColumns(group)) emitColumns(ctx, group);
  else emitRows(ctx, group);
  return true;
}

function analyse(
  name: string,
  outputs: readonly { readonly value: Value; readonly to: View }[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
): ReduceGroup | undefined {
  const isLeaf = (v: Value) => leaf(v) !== undefined;
  const nodes = reductionsOf(
    outputs.map((o) => o.value),
    isLeaf,
  );
  const first = nodes[0];
  if (first === undefined) throw new InternalError("a group of reductions without any");
  const { axes } = first.attrs;
  const shape = first.operands[0]!.type.shape;
  for (const n of nodes) {
    if (!sameShape(n.operands[0]!.type.shape, shape) || n.attrs.axes.join() !== axes.join()) {
      return undefined;
    }
  }
  const full = iterate(shape);
  const isKept = (a: number) => !axes.includes(a);
  const values = new Set<Value>(nodes.map((n) => n.results[0]!));
  const points = new Points((v) => leaf(v) ?? (values.has(v) ? { kind: "given" } : undefined));
  const fullPlace = Place.at(shape, full.index);
  const keptShape = shape.filter((_, a) => isKept(a));
  const keptIndex = full.index.filter((_, a) => isKept(a));
  const keptPlace = Place.at(keptShape, keptIndex);
  const reducedShape = shape.filter((_, a) => !isKept(a));
  const reducedPlace = Place.at(
    reducedShape,
    full.index.filter((_, a) => !isKept(a)),
  );

  const stageOf = new Map<Value, number>();
  const reductions = nodes.map((node): Reduction => {
    const value = node.results[0]!;
    const operand = points.at(node.operands[0]!, fullPlace);
    let stage = 0;
    visitPoints([operand], (p) => {
      if (p.kind === "given") stage = Math.max(stage, (stageOf.get(p.value) ?? 0) + 1);
    });
    stageOf.set(value, stage);
    return { node, value, operand, stage };
  });
  const keptSize = sizeOf(keptShape);
  const stored = outputs.map(({ value, to }): Output => {
    const isFull = !dimEqual(sizeOf(value.type.shape), keptSize);
    const place = (isFull ? fullPlace : keptPlace).reshaped(value.type.shape);
    return { to, point: points.at(value, place), at: (isFull ? fullPlace : keptPlace).flat, full: isFull };
  });
  if (!atOwnIndex([...reductions.map((r) => r.operand), ...stored.map((s) => s.point)], keptPlace)) return undefined;

  const stages = Math.max(...reductions.map((r) => r.stage)) + 1;
  const reducedSymbols = new Set(full.loops.filter((_, a) => !isKept(a)).map((l) => l.symbol));
  const saved = findSaved(reductions, stored, stages, reducedSymbols);
  const roots = [...reductions.map((r) => r.operand), ...stored.map((s) => s.point)];
  const dims = [...loadDims(roots), ...stored.map((s) => s.at), ...(saved.length > 0 ? [reducedPlace.flat] : [])];
  const kept = collapse(
    full.loops.filter((_, a) => isKept(a)),
    dims,
  );
  const reduced = collapse(
    full.loops.filter((_, a) => !isKept(a)),
    dims,
  );
  return {
    name,
    loc,
    reductions,
    outputs: stored,
    kept: kept.loops,
    reduced: reduced.loops,
    substitution: new Map([...kept.substitution, ...reduced.substitution]),
    reducedSymbols,
    saved,
    reducedFlat: reducedPlace.flat,
    reducedSize: sizeOf(reducedShape),
    stages,
  };
}

/** Index expressions that reach memory or arithmetic; those of given values only say which row they belong to. */
function loadDims(roots: readonly Point[]): readonly Dim[] {
  const dims: Dim[] = [];
  visitPoints(roots, (p) => {
    if (p.kind === "load" || p.kind === "index") dims.push(p.at);
  });
  return dims;
}

/** Whether finished reductions are used at their own kept index only, where they are at hand. */
function atOwnIndex(roots: readonly Point[], kept: Place): boolean {
  let own = true;
  visitPoints(roots, (p) => {
    if (p.kind !== "given") return;
    const here = kept.reshaped(p.place.shape).index;
    if (!here.every((d, a) => dimEqual(d, p.place.index[a]!))) own = false;
  });
  return own;
}

/**
 * Points that vary along the reduced axes and are needed in two stages. Those with rounding that a compiler may contract must
 * be computed once: recomputing them differently would break identities such as x − max(x) ≤ 0.
 */
function findSaved(
  reductions: readonly Reduction[],
  outputs: readonly Output[],
  stages: number,
  reducedSymbols: ReadonlySet<string>,
): readonly Point[] {
  const roots = (stage: number) =>
    stage < stages
      ? reductions.filter((r) => r.stage === stage).map((r) => r.operand)
      : outputs.filter((o) => o.full).map((o) => o.point);
  const varies = (p: Point): boolean => variesWith(p, reducedSymbols);
  const earlier = new Set<Point>();
  const saved = new Set<Point>();
  for (let stage = 0; stage <= stages; stage++) {
    const own = roots(stage);
    const walk = (p: Point): void => {
      if (p.kind !== "apply" || saved.has(p) || !varies(p)) return;
      if (earlier.has(p) && !isRecomputable(p)) saved.add(p);
      else for (const a of p.args) walk(a);
    };
    for (const r of own) walk(r);
    visitPoints(own, (p) => {
      earlier.add(p);
    });
  }
  return [...saved];
}

/** Whether what a point reads depends on a loop variable. Reductions in hand do not, whatever they stand for. */
export function variesWith(p: Point, symbols: ReadonlySet<string>): boolean {
  return loadDims([p]).some((d) => [...symbols].some((s) => coefficient(d, s) !== 0));
}

/** Whether most operands have their neighbouring elements along the innermost kept axis. */
function runsAlongColumns(g: ReduceGroup): boolean {
  const row = g.reduced.at(-1);
  const column = g.kept.at(-1);
  if (column === undefined || row === undefined) return false;
  let votes = 0;
  visitPoints([...g.reductions.map((r) => r.operand), ...g.outputs.map((o) => o.point)], (p) => {
    if (p.kind !== "load") return;
    const at = substituted(p.at, g.substitution);
    if (coefficient(at, column.symbol) === 1) votes++;
    if (coefficient(at, row.symbol) === 1) votes--;
  });
  return votes > 0;
}

export const product = (loops: readonly Loop[]): Dim => loops.reduce<Dim>((p, l) => dimMul(p, l.size), 1);

/** Whether every access along the loop is at stride 0 or 1, which vectors need. */
export function hasVectorForm(g: ReduceGroup, loop: Loop | undefined, roots: readonly Point[]): boolean {
  if (loop === undefined) return false;
  return loadDims(roots).every((d) => {
    const stride = coefficient(substituted(d, g.substitution), loop.symbol);
    return stride === 0 || stride === 1;
  });
}

function emitRows(ctx: LowerContext, g: ReduceGroup): void {
  const plan = chunkPlan(g.kept, g.reducedSize === 0 ? 1 : g.reducedSize);
  const kernel = new KernelBuilder({ chunks: plan.chunks });
  const e = new PointEmitter(kernel, g.substitution);
  const { block } = kernel;
  const savedAt = new Map(g.saved.map((p) => [p, kernel.scratch(elemOf[p.dtype], g.reducedSize, true)]));
  const kept = g.outputs.filter((o) => !o.full);
  const full = g.outputs.filter((o) => o.full);
  const operands = g.reductions.map((r) => r.operand);
  e.plan([...operands, ...g.outputs.map((o) => o.point)]);
  const none = { chunks: undefined, flat: 0, rows: 1 };
  const innermost = g.reduced.at(-1);
  const ready = new Set<Point>();

  /** A round over the reduced axes. Saved points are stored in the first round that computes them. */
  const round = (roots: readonly Point[], indices: readonly Dim[], body: () => void) => {
    const computes = g.saved.filter((p) => !ready.has(p) && contains(roots, p));
    const vectorize = hasVectorForm(g, innermost, roots);
    nest(
      e,
      g.reduced,
      none,
      { vectorize, roots, indices: [...indices, ...(g.saved.length > 0 ? [g.reducedFlat] : [])] },
      () => {
        for (const p of ready)
          if (contains(roots, p))
            e.set(p, block.let("saved", loadElement(p.dtype, savedAt.get(p)!, e.index(g.reducedFlat))));
        for (const p of computes) {
          const value = block.let("saved", e.value(p));
          e.set(p, value);
          e.store(p.dtype, savedAt.get(p)!, g.reducedFlat, value);
        }
        body();
      },
    );
    for (const p of computes) ready.add(p);
  };

  nest(
    e,
    g.kept,
    plan,
    { vectorize: false, roots: [...operands, ...g.outputs.map((o) => o.point)], indices: kept.map((o) => o.at) },
    () => {
      e.hoist(operands);
      for (let stage = 0; stage < g.stages; stage++) {
        const own = g.reductions.filter((r) => r.stage === stage);
        const accs = own.map((r) =>
          block.mut("acc", B.constant(registerOf(r.operand.dtype), neutral(r.node.op, r.operand.dtype))),
        );
        round(
          own.map((r) => r.operand),
          [],
          () => {
            own.forEach((r, k) => {
              block.assign(accs[k]!, combine(r.node.op, r.operand.dtype, accs[k]!, e.value(r.operand)));
            });
          },
        );
        own.forEach((r, k) => {
          e.give(r.value, block.let(r.node.op, settle(r.operand.dtype, accs[k]!)));
        });
      }
      if (full.length > 0) {
        round(
          full.map((o) => o.point),
          full.map((o) => o.at),
          () => {
            const values = full.map((o) => e.value(o.point));
            full.forEach((o, k) => {
              e.store(o.point.dtype, kernel.pointer(o.to, "write"), o.at, values[k]!);
            });
          },
        );
      }
      const values = kept.map((o) => e.value(o.point));
      kept.forEach((o, k) => {
        e.store(o.point.dtype, kernel.pointer(o.to, "write"), o.at, values[k]!);
      });
    },
  );
  ctx.add(kernel.step(ctx.pool, g.name, g.loc, [...inPlaceRows(kernel, g), ...inPlaceKept(kernel, g)]));
}

export function contains(roots: readonly Point[], p: Point): boolean {
  let found = false;
  visitPoints(roots, (q) => {
    if (q === p) found = true;
  });
  return found;
}

/** Upper bound of a number of elements. */
export const most = (d: Dim): number => dimBounds(d).max;
