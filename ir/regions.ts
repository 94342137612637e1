/** Making regions out of closures: what a closure uses from outside is captured through parameters. */

import { isFloat } from "./dtype.js";
import { ModelError } from "./errors.js";
import { definedSymbols, type Graph, type GraphNode, graph, makeValue, param, sameType, type Value } from "./graph.js";
import { recordNodes } from "./op.js";
import { reshape } from "./ops/movement.js";
import { inExactly, inScope, type RegionFrame, scope } from "./scope.js";

/** The frame of a branch: a region of its own that keeps nothing. */
export function regionFrame(): RegionFrame {
  const around = scope();
  return {
    ...(around.region ? { outer: around.region } : {}),
    outside: (build) => inExactly(around, build),
  };
}

/** A traced closure whose captures are not bound yet. */
export interface TracedRegion {
  readonly params: readonly Value[];
  readonly results: readonly Value[];
  /** Values from outside that the results depend on, in order of first use. */
  readonly captured: readonly Value[];
  readonly sizes: readonly Value[];
}

/**
 * Runs a closure over fresh parameters and finds what it captured: values made outside. Of those without operands only constants of
 * floats, which may be weights: a gradient reaches what a region uses through operands alone. Simplification puts them back.
 * The frame is what the closure's code may ask of the region; `more` are the parameters that it asked for.
 */
export function traceRegion(
  params: readonly Value[],
  body: (params: readonly Value[]) => readonly Value[],
  frame: RegionFrame = regionFrame(),
  more: () => readonly Value[] = () => [],
): TracedRegion {
  const { value: results, made, own } = recordNodes(() => inScope({ region: frame }, () => body(params)));
  const sizes = [...own].filter((n) => definedSymbols(n).length > 0).map((n) => n.results[0]!);
  return { params, results, captured: capturedBy([...sizes, ...results], made, [...params, ...more()]), sizes };
}

/** Values that were not made among these nodes and that the roots depend on, in order of first use. See `traceRegion`. */
export function capturedBy(
  roots: readonly Value[],
  made: ReadonlySet<GraphNode>,
  params: readonly Value[] = [],
): readonly Value[] {
  const inside = new Set(params);
  const captured = new Set<Value>();
  const done = new Set<GraphNode>();
  const stack = [...roots].reverse();
  while (stack.length > 0) {
    const v = stack.pop()!;
    if (inside.has(v)) continue;
    if (v.def.op === "param" || isCapture(v.def, made)) captured.add(v);
    else if (!done.has(v.def)) {
      done.add(v.def);
      stack.push(...[...v.def.operands].reverse());
    }
  }
  return [...captured];
}

function isCapture(node: GraphNode, made: ReadonlySet<GraphNode>): boolean {
  return !made.has(node) && (node.operands.length > 0 || (node.op === "constant" && isFloat(node.attrs.value.dtype)));
}

/** The region with its first results, and others, of which `passed` are made outside. */
export function withFurtherResults(
  region: TracedRegion,
  count: number,
  further: readonly Value[],
  passed: readonly Value[],
): TracedRegion {
  const captured = new Set([
    ...region.captured,
    ...passed.filter((v) => v.def.op === "param" || isCapture(v.def, new Set())),
  ]);
  return { ...region, results: [...region.results.slice(0, count), ...further], captured: [...captured] };
}

/** Closes a traced region: each of `captures`, which include all that it captured, becomes a trailing parameter. */
export function closeRegion(name: string, region: TracedRegion, captures: readonly Value[]): Graph {
  const trailing = captures.map((v, i) => param(`c${i}`, v.type));
  const replaced = new Map<Value, Value>(captures.map((v, i) => [v, trailing[i]!]));
  const roots = [...region.sizes, ...region.results];
  const copies = roots.map((v) => substitute(v, replaced));
  return graph(
    name,
    [...region.params, ...trailing],
    copies.slice(region.sizes.length),
    undefined,
    undefined,
    copies.slice(0, region.sizes.length),
  );
}

/** The value over replaced leaves of equal types. Nodes above no replaced leaf are shared. */
function substitute(root: Value, replaced: Map<Value, Value>): Value {
  const stack = [root];
  while (stack.length > 0) {
    const v = stack.at(-1)!;
    if (replaced.has(v) || v.def.op === "param") {
      stack.pop();
      continue;
    }
    const missing = v.def.operands.filter((o) => o.def.op !== "param" && !replaced.has(o));
    if (missing.length > 0) {
      stack.push(...missing);
      continue;
    }
    const { def } = v;
    const operands = def.operands.map((o) => replaced.get(o) ?? o);
    const results: Value[] = [];
    const changed = operands.some((o, i) => o !== def.operands[i]);
    const copy = changed ? ({ ...def, operands, results } as GraphNode) : def;
    def.results.forEach((r, index) => {
      if (changed) results.push(makeValue(r.type, copy, index));
      replaced.set(r, copy.results[index]!);
    });
    stack.pop();
  }
  return replaced.get(root) ?? root;
}

/** What the region's results are over arguments of its parameters' types; sizes that are taken as equal may be written otherwise. */
export function instantiate(region: Graph, args: readonly Value[]): readonly Value[] {
  const replaced = new Map(
    region.params.map((p, i) => {
      const given = args[i]!;
      return [p, sameType(p.type, given.type) ? given : reshape([given], { shape: p.type.shape })] as const;
    }),
  );
  return region.results.map((v) => substitute(v, replaced));
}

/** All captures of several regions, each once. */
export const unionOfCaptures = (...regions: readonly TracedRegion[]): readonly Value[] => [
  ...new Set(regions.flatMap((r) => r.captured)),
];

/** Checks what a closure gave back. */
export function requireCount(values: readonly Value[], count: number, what: string): readonly Value[] {
  if (values.length !== count) throw new ModelError(`${what} must give ${count} values, but gives ${values.length}`);
  return values;
}
