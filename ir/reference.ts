/**
 * The reference evaluator: interprets any graph with each op's `reference`. Slow and obvious; this is the definition of what a
 * graph computes, and every kernel and pass is tested against it.
 */

import { assumptionsOf } from "./assumptions.js";
import { type Dim, dimSymbols, dimText, evaluateDim } from "./dim.js";
import { InternalError, ModelError } from "./errors.js";
import type { Attrs } from "./graph.js";
import {
  countName,
  type Graph,
  type GraphNode,
  graphRoots,
  paramName,
  type Shape,
  shapeText,
  topologicalOrder,
  type Value,
  withLoc,
} from "./graph.js";
import type { ReferenceContext } from "./op.js";
import { opOf } from "./ops/index.js";
import type { Tensor } from "./tensor.js";

/** Values of dim symbols, found from the feeds and, for data-dependent sizes, while running. */
export type DimBindings = Map<string, number>;

/** Matches a shape of numbers against a symbolic one, binding symbols. Returns what is wrong, if anything. */
export function bindShape(symbolic: Shape, actual: readonly number[], dims: DimBindings): string | undefined {
  if (symbolic.length !== actual.length) return `rank ${actual.length} instead of ${symbolic.length}`;
  for (const [axis, d] of symbolic.entries()) {
    const got = actual[axis]!;
    if (typeof d === "number") {
      if (d !== got) return `size ${got} instead of ${d} at axis ${axis}`;
      continue;
    }
    const unbound = [...dimSymbols(d).values()].filter((s) => !dims.has(s.name));
    if (unbound.length === 0) {
      const want = evaluateDim(d, dims);
      if (want !== got) return `size ${got} instead of ${dimText(d)} = ${want} at axis ${axis}`;
      continue;
    }
    const [symbol] = unbound;
    if (unbound.length > 1 || symbol === undefined) continue;
    const value = solve(d, symbol.name, got, dims);
    if (value === undefined) return `size ${got} does not fit ${dimText(d)} at axis ${axis}`;
    const max = symbol.bound === undefined ? symbol.max : Math.min(symbol.max, evaluateDim(symbol.bound, dims));
    if (value < symbol.min || value > max) return `${symbol.name} = ${value} is outside [${symbol.min}, ${max}]`;
    dims.set(symbol.name, value);
  }
  return undefined;
}

/** Solves k·s + c = got for the symbol, when the expression is linear in it. */
function solve(d: Dim, name: string, got: number, dims: DimBindings): number | undefined {
  const at = (value: number) => evaluateDim(d, new Map([...dims, [name, value]]));
  const c = at(0);
  const k = at(1) - c;
  const value = (got - c) / k;
  return k !== 0 && Number.isInteger(value) && value >= 0 && at(value) === got ? value : undefined;
}

/**
 * Runs the graph. `feeds` holds one tensor per parameter, in order or by name. Throws ModelError when a feed does not fit its
 * parameter.
 */
export function evaluate(
  g: Graph,
  feeds: readonly Tensor[] | Readonly<Record<string, Tensor>>,
  dims: DimBindings = new Map(),
): readonly Tensor[] {
  const values = new Map<Value, Tensor>();
  g.params.forEach((p, i) => {
    const name = paramName(p);
    const given = Array.isArray(feeds)
      ? (feeds as readonly Tensor[])[i]
      : (feeds as Readonly<Record<string, Tensor>>)[name];
    if (given === undefined) throw new ModelError({ where: name, message: "no value was given for this input" });
    // A scalar also takes a tensor of one element.
    const t = p.type.shape.length === 0 && given.data.length === 1 ? { ...given, shape: [] } : given;
    if (t.dtype !== p.type.dtype)
      throw new ModelError({ where: name, message: `expected ${p.type.dtype}, got ${t.dtype}` });
    const wrong = bindShape(p.type.shape, t.shape, dims);
    if (wrong !== undefined) {
      throw new ModelError({ where: name, message: `expected ${shapeText(p.type.shape)}, got [${t.shape}]: ${wrong}` });
    }
    values.set(p, t);
  });
  for (const p of g.params) {
    const name = countName(p);
    if (name !== undefined && !dims.has(name)) dims.set(name, Number(values.get(p)!.data[0]));
  }
  return evaluateValues(graphRoots(g), values, dims).slice(g.sizes?.length ?? 0);
}

/** Computes values whose leaves are known. Adds everything it computes to `known`. */
export function evaluateValues(
  wanted: readonly Value[],
  known: Map<Value, Tensor>,
  dims: DimBindings,
  onNode?: (node: GraphNode, results: readonly Tensor[]) => void,
): readonly Tensor[] {
  for (const node of topologicalOrder(wanted, (v) => known.has(v))) {
    checkSizes(node, dims);
    const results = evaluateNode(node, known, dims);
    results.forEach((t, i) => {
      const value = node.results[i]!;
      const wrong = t.dtype === value.type.dtype ? bindShape(value.type.shape, t.shape, dims) : `dtype ${t.dtype}`;
      if (wrong !== undefined) {
        // A size that the data decide is an error of the input where nothing was planned for it.
        if ("defines" in node.attrs) throw new ModelError({ where: node.loc ?? node.op, message: wrong });
        throw new InternalError(
          `reference of ${node.op} gave ${t.dtype}[${t.shape}] where ${value.type.dtype}${shapeText(value.type.shape)} was inferred: ${wrong}`,
        );
      }
      known.set(value, t);
    });
    onNode?.(node, results);
  }
  return wanted.map((v) => {
    const t = known.get(v);
    if (t === undefined) throw new InternalError("a wanted value is a parameter without a feed");
    return t;
  });
}

/** Throws ModelError where sizes are not as the node's inference took them to be. */
function checkSizes(node: GraphNode, dims: DimBindings): void {
  for (const { value, must, text } of assumptionsOf(node)) {
    if ([...dimSymbols(value).values()].some((s) => !dims.has(s.name))) continue;
    const actual = evaluateDim(value, dims);
    if (must === "be zero" ? actual !== 0 : actual < 0)
      throw new ModelError({ where: node.loc ?? node.op, message: `the sizes do not fit: ${text}` });
  }
}

function evaluateNode(node: GraphNode, known: Map<Value, Tensor>, dims: DimBindings): readonly Tensor[] {
  const facts = opOf(node);
  const attrs = node.attrs as Attrs;
  if (facts.kind === "composite") {
    const parts = withLoc(node.loc, () => facts.decompose(node.operands, attrs, node.regions));
    return evaluateValues(Array.isArray(parts) ? parts : [parts as Value], known, dims);
  }
  const operands = node.operands.map((v) => {
    const t = known.get(v);
    if (t === undefined) throw new InternalError(`operand of ${node.op} has no value`);
    return t;
  });
  const context: ReferenceContext<Attrs> = {
    attrs,
    types: node.results.map((r) => ({ dtype: r.type.dtype, shape: r.type.shape.map((d) => knownDim(d, dims)) })),
    regions: node.regions,
    run: (region, feeds) => evaluate(region, feeds, new Map(dims)),
    dim: (d) => evaluateDim(d, dims),
    bind: (d, size) => {
      const wrong = bindShape([d], [size], dims);
      if (wrong !== undefined) throw new ModelError({ where: node.loc ?? node.op, message: wrong });
    },
  };
  const results = facts.reference(operands, context);
  return Array.isArray(results) ? results : [results as Tensor];
}

function knownDim(d: Dim, dims: DimBindings): Dim {
  const bound = [...dimSymbols(d).values()].every((s) => dims.has(s.name));
  return bound ? evaluateDim(d, dims) : d;
}
