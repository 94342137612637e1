/**
 * Graph IR: what a program IS. Immutable, purely functional, typed SSA.
 *
 * A `Graph` has parameters and results. A `Value` is a parameter or a result of a `Node`; a node reaches its operands
 * directly (`value.def.operands[0]`), so patterns walk the values; order is a topological sort. There is no memory, no
 * in-place update and no hidden randomness. Regions (the sub-graphs of control flow) are Graphs too and are isolated:
 * what they use from outside is passed through operands.
 */

import type { Dim, DimExpr } from "./dim.js";
import { type DimSymbol, dimEqual, dimSymbols, dimText } from "./dim.js";
import type { DType } from "./dtype.js";
import { InternalError } from "./errors.js";
import type { AttrsOf, OpName } from "./ops/index.js";
import { inScope, scope } from "./scope.js";
import type { Tensor } from "./tensor.js";

export type Shape = readonly Dim[];

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** What an attribute may hold. Everything prints and parses. */
export type Attr = number | boolean | string | DimExpr | Tensor | readonly Attr[];
export type Attrs = { readonly [name: string]: Attr };
export type NoAttrs = { readonly [name in never]: Attr };

/** Where the user wrote it: a DSL layer path or an ONNX node name. */
export type Loc = string;

export interface Param {
  readonly op: "param";
  readonly name: string;
}

/**
 * What the DSL adds to values, by declaration merging: `x.mul(2).add(b)`. The IR and its passes use none of it, and values have it once
 * the DSL is loaded.
 */
// biome-ignore lint/suspicious/noEmptyInterface: others declare its members
export interface ValueMethods {}

export interface Value extends ValueMethods {
  readonly type: TensorType;
  readonly def: GraphNode | Param;
  /** Which result of `def` this is (0 for parameters). */
  readonly index: number;
}

export interface NodeOf<N extends string, A> {
  readonly op: N;
  readonly operands: readonly Value[];
  readonly attrs: A;
  readonly regions: readonly Graph[];
  readonly results: readonly Value[];
  readonly loc: Loc | undefined;
}

/** Discriminated union of all ops: `switch (node.op)` narrows `attrs`. */
export type GraphNode = { [N in OpName]: NodeOf<N, AttrsOf<N>> }[OpName];

export interface Graph {
  readonly name: string;
  readonly params: readonly Value[];
  readonly results: readonly Value[];
  /** Names of the results, as the user sees them. */
  readonly resultNames: readonly string[];
  /**
   * Donations for training: result i is written over parameter `donations.get(i)`'s memory (an updated weight over the old).
   * Absent for inference.
   */
  readonly donations?: ReadonlyMap<number, number>;
  /**
   * Values that must be computed although no result may depend on them, because their nodes find a data-dependent size
   * (attribute `defines`) that shapes of this graph mention.
   */
  readonly sizes?: readonly Value[];
  /** Names that the source lists as inputs, but which are constants here: for words to whoever feeds them. */
  readonly fixedInputs?: readonly string[];
}

export function paramName(v: Value): string {
  if (v.def.op !== "param") throw new InternalError("not a parameter");
  return v.def.name;
}

class ValueRecord {
  readonly type: TensorType;
  readonly def: GraphNode | Param;
  readonly index: number;

  constructor(type: TensorType, def: GraphNode | Param, index: number) {
    this.type = type;
    this.def = def;
    this.index = index;
  }
}

/** A new value. All are made here. */
export const makeValue = (type: TensorType, def: GraphNode | Param, index: number): Value =>
  new ValueRecord(type, def, index) as Value;

/** Gives all values these members. */
export function addValueMethods(members: PropertyDescriptorMap): void {
  Object.defineProperties(ValueRecord.prototype, members);
}

/** A new parameter value. */
export const param = (name: string, type: TensorType): Value => makeValue(type, { op: "param", name }, 0);

export function graph(
  name: string,
  params: readonly Value[],
  results: readonly Value[],
  resultNames: readonly string[] = results.map((_, i) => `out${i}`),
  donations?: ReadonlyMap<number, number>,
  sizes: readonly Value[] = [],
): Graph {
  return {
    name,
    params,
    results,
    resultNames,
    ...(donations ? { donations } : {}),
    ...(sizes.length ? { sizes } : {}),
  };
}

/** The same signature over other roots, in the order of `graphRoots`: how a pass returns what it made of a graph. */
export function withRoots(g: Graph, roots: readonly Value[]): Graph {
  const sizes = g.sizes?.length ?? 0;
  return graph(g.name, g.params, roots.slice(sizes), g.resultNames, g.donations, roots.slice(0, sizes));
}

/** What a graph computes: nodes are those that these depend on. */
export const graphRoots = (g: Graph): readonly Value[] => (g.sizes ? [...g.sizes, ...g.results] : g.results);

export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => dimEqual(d, b[i]!));
}

export function shapeText(shape: Shape): string {
  return `[${shape.map(dimText).join(",")}]`;
}

/** `f32[n,3,32,32]` */
export function typeText(t: TensorType): string {
  return `${t.dtype}${shapeText(t.shape)}`;
}

/** The shape as numbers. Throws InternalError where a dim is symbolic. */
export function staticShape(shape: Shape): readonly number[] {
  return shape.map((d) => {
    if (typeof d !== "number") throw new InternalError(`shape ${shapeText(shape)} is not static`);
    return d;
  });
}

export const isStaticShape = (shape: Shape): shape is readonly number[] => shape.every((d) => typeof d === "number");

/**
 * Nodes reachable from the results, each after its operands and after the nodes that find the data-dependent sizes it
 * mentions. Deterministic: depth-first from the first result. Does not go beyond values that are `known`.
 */
export function topologicalOrder(results: readonly Value[], known: (v: Value) => boolean = () => false): GraphNode[] {
  const order = depthFirst(results, known, (node) => node.operands);
  if (!order.some((node) => mentions(node).length > 0)) return order;
  const finders = new Map<string, Value>();
  for (const node of order) for (const s of definedSymbols(node)) finders.set(s.name, node.results[0]!);
  if (finders.size === 0) return order;
  return depthFirst(results, known, (node) => [
    ...mentions(node).flatMap((name) => finders.get(name) ?? []),
    ...node.operands,
  ]);
}

function depthFirst(
  results: readonly Value[],
  known: (v: Value) => boolean,
  needs: (node: GraphNode) => readonly Value[],
): GraphNode[] {
  const order: GraphNode[] = [];
  const done = new Set<GraphNode>();
  for (const root of results) {
    if (root.def.op === "param" || done.has(root.def) || known(root)) continue;
    const stack = [{ node: root.def, needs: needs(root.def), next: 0 }];
    const open = new Set<GraphNode>([root.def]);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const operand = top.needs[top.next++];
      if (operand === undefined) {
        stack.pop();
        open.delete(top.node);
        done.add(top.node);
        order.push(top.node);
      } else if (operand.def.op !== "param" && !done.has(operand.def) && !known(operand)) {
        if (open.has(operand.def)) throw new InternalError(`cycle through ${operand.def.op}`);
        open.add(operand.def);
        stack.push({ node: operand.def, needs: needs(operand.def), next: 0 });
      }
    }
  }
  return order;
}

/** Data-dependent sizes that the node finds: its attribute `defines`, one symbol or a list. */
export function definedSymbols(node: GraphNode): readonly DimSymbol[] {
  const { defines } = node.attrs as Attrs;
  if (defines === undefined) return [];
  const found = new Map<string, DimSymbol>();
  for (const d of Array.isArray(defines) ? (defines as readonly Dim[]) : [defines as Dim]) dimSymbols(d, found);
  return [...found.values()];
}

const mentioned = new WeakMap<GraphNode, readonly string[]>();

/** Names of the data-dependent sizes in the node's types and attributes, other than those it finds itself. */
export function mentions(node: GraphNode): readonly string[] {
  const cached = mentioned.get(node);
  if (cached !== undefined) return cached;
  const found = new Map<string, DimSymbol>();
  for (const r of node.results) for (const d of r.type.shape) dimSymbols(d, found);
  for (const a of Object.values(node.attrs as Attrs)) attrSymbols(a, found);
  for (const r of node.regions) for (const [name, s] of graphSymbols(r)) found.set(name, s);
  // A bound may name further sizes; the list grows while it is walked.
  for (const s of found.values()) if (s.bound !== undefined) dimSymbols(s.bound, found);
  const own = new Set(definedSymbols(node).map((s) => s.name));
  const names = [...found.values()].filter((s) => s.bound !== undefined && !own.has(s.name)).map((s) => s.name);
  mentioned.set(node, names);
  return names;
}

function attrSymbols(a: Attr | undefined, found: Map<string, DimSymbol>): void {
  if (Array.isArray(a)) for (const x of a as readonly Attr[]) attrSymbols(x, found);
  else if (typeof a === "object" && "kind" in a) dimSymbols(a, found);
}

/** Name of the size that a parameter may hold: one without axes, i64, gives the size of its name where no shape does. */
export const countName = (p: Value): string | undefined =>
  p.type.dtype === "i64" && p.type.shape.length === 0 ? paramName(p) : undefined;

export const graphNodes = (g: Graph): GraphNode[] => topologicalOrder(graphRoots(g));

/** How often each value is used, by nodes and as a result of the graph. */
export function useCounts(g: Graph): Map<Value, number> {
  const uses = new Map<Value, number>();
  const count = (v: Value) => uses.set(v, (uses.get(v) ?? 0) + 1);
  for (const n of graphNodes(g)) for (const v of n.operands) count(v);
  for (const v of graphRoots(g)) count(v);
  return uses;
}

/** All dim symbols of the graph in order of first appearance (parameters, then nodes). */
export function graphSymbols(g: Graph): Map<string, DimSymbol> {
  const found = new Map<string, DimSymbol>();
  const shape = (s: Shape) => {
    for (const d of s) dimSymbols(d, found);
  };
  for (const p of g.params) shape(p.type.shape);
  for (const n of graphNodes(g)) {
    for (const a of Object.values(n.attrs as Attrs)) attrSymbols(a, found);
    for (const r of n.results) shape(r.type.shape);
    for (const r of n.regions) for (const [name, s] of graphSymbols(r)) if (!found.has(name)) found.set(name, s);
  }
  // The bound of an unknown may name further symbols; the map grows while it is walked.
  for (const s of found.values()) if (s.bound !== undefined) dimSymbols(s.bound, found);
  return found;
}

/** Nodes made by `body` get this location. Rewrites use it so that a decomposed layer keeps its name. */
export const withLoc = <T>(loc: Loc | undefined, body: () => T): T =>
  loc === undefined ? body() : inScope({ loc }, body);

export const activeLoc = (): Loc | undefined => scope().loc;
