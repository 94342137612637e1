/**
 * A group of reductions over one set of axes, with what is computed of them and before them, as a plan for a kernel: a single sum,
 * or a whole softmax or layer norm. Each reduction belongs to a stage, a loop over the reduced axes; elementwise producers and
 * consumers are computed inside the stages.
 */

import { type Dim, dimBounds, dimEqual, dimMul } from "../../../ir/dim.js";
import type { DType } from "../../../ir/dtype.js";
import { InternalError } from "../../../ir/errors.js";
import { type GraphNode, type NodeOf, sameShape, type Value } from "../../../ir/graph.js";
import { isReduce, type ReduceName } from "../../../ir/ops/classes.js";
import type { ReduceAttrs } from "../../../ir/ops/reduce.js";
import type { View } from "../../schedule.js";
import { registerOf } from "../core/kernel-builder.js";
import { Place, sizeOf } from "../core/place.js";
import { type GroupOutput, type Leaf, type Point, Points, visitPoints } from "../core/point.js";
import { type ChunkPlan, coefficient, collapse, type Loop, substituted } from "../elementwise/loops.js";
import { iterate } from "../elementwise/map.js";
import { isRecomputable } from "../elementwise/recompute.js";

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

/** The plan; undefined where one kernel can't compute the group. */
export function analyseReductions(
  name: string,
  outputs: readonly GroupOutput[],
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
  const sizes = { kept: sizeOf(keptShape), full: sizeOf(shape) };
  const stored: Output[] = [];
  for (const { value, to } of outputs) {
    const extent = extentOf(sizeOf(value.type.shape), sizes);
    if (extent === undefined) return undefined;
    const own = extent === "full" ? fullPlace : keptPlace;
    const point = points.at(value, own.reshaped(value.type.shape));
    stored.push({ to, point, at: own.flat, full: extent === "full" });
  }
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

/** Whether a result has one element for each kept index or for each full one; undefined where it has neither, or may have. */
function extentOf(size: Dim, { kept, full }: { readonly kept: Dim; readonly full: Dim }): "kept" | "full" | undefined {
  if (dimEqual(size, kept)) return "kept";
  return dimEqual(size, full) ? "full" : undefined;
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
export function runsAlongColumns(g: ReduceGroup): boolean {
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

/** Columns of the longest row that is short: loops over one would be mostly beginning and end. */
const shortRow = 16;
/** Elements that short rows are taken together for. */
const togetherElements = 64;

/**
 * How many rows can be walked as one: where rows are short and what is read of each follows what is read of the row before, so that an index
 * beyond the row's last column finds the next row.
 */
export function rowsTogether(g: ReduceGroup, roots: readonly Point[]): number {
  const [row, ...more] = g.reduced;
  const column = g.kept.at(-1);
  if (row === undefined || more.length > 0 || column === undefined) return 1;
  const { size } = column;
  if (typeof size !== "number" || size === 0 || size > shortRow) return 1;
  const follows = loadDims(roots).every((d) => {
    const at = substituted(d, g.substitution);
    const [byRow, byColumn] = [coefficient(at, row.symbol), coefficient(at, column.symbol)];
    return (byRow === 0 && byColumn === 0) || (byRow === size && byColumn === 1);
  });
  return follows ? Math.floor(togetherElements / size) : 1;
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

/** Loops that one thread runs through. */
export const unchunked: ChunkPlan = { chunks: undefined, flat: 0, rows: 1 };

/** The dtype whose register is the accumulator's. */
export function accumulatorType(dtype: DType): DType {
  const register = registerOf(dtype);
  return register === "mask" ? "bool" : register;
}
