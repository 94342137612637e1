/**
 * Reverse-mode differentiation, graph to graph.
 *
 * Nodes on a path from `wrt` to the differentiated value are visited in reverse topological order. Each hands the cotangent of its
 * results to its operands by its op's vjp; a composite without one is differentiated through its decomposition. Cotangents that
 * meet at a value are added in order of arrival, so the result does not depend on anything but the graph. Only floats have
 * cotangents: nothing flows through an integer or a bool.
 */

import { type Dim, dimDiffers } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { InternalError, ModelError } from "../../ir/errors.js";
import {
  type Attrs,
  type Graph,
  type GraphNode,
  graph,
  param,
  paramName,
  sameShape,
  topologicalOrder,
  typeText,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { copyGraph, copyWith, inline } from "../../ir/graph-rebuild.js";
import { type RegionGradients, requireValue, type Vjp, type VjpContext } from "../../ir/op.js";
import { constantLike } from "../../ir/ops/constant.js";
import { add } from "../../ir/ops/elementwise.js";
import { after } from "../../ir/ops/gradient.js";
import { opOf } from "../../ir/ops/index.js";
import { productOf, reshape } from "../../ir/ops/movement.js";
import { differentiateLoop } from "./differentiate-loop.js";
import { differentiateScan } from "./differentiate-scan.js";

export interface GradientOptions {
  /**
   * What is given for a value that the loss does not depend on, or only through stopGradient: an error, since it is mostly a
   * mistake, or zeros. Default "error". A value that it depends on through steps and comparisons has a gradient of zeros.
   */
  readonly unused?: "error" | "zero";
}

/**
 * Gradients of a loss of one element with respect to values it depends on, parameters or intermediate; each has its value's
 * type. Throws ModelError where the loss is not a float of one element, a value is not a float, an op on the way has no gradient,
 * or the loss does not depend on a value.
 */
export function gradients(
  loss: Value,
  wrt: readonly Value[],
  options: { readonly unused: "undefined" },
): readonly (Value | undefined)[];
export function gradients(loss: Value, wrt: readonly Value[], options?: GradientOptions): readonly Value[];
export function gradients(
  loss: Value,
  wrt: readonly Value[],
  { unused = "error" }: { readonly unused?: "error" | "zero" | "undefined" } = {},
): readonly (Value | undefined)[] {
  requireValue(loss, "a loss");
  if (!isFloat(loss.type.dtype) || productOf(loss.type.shape) !== 1) {
    throw new ModelError({
      where: placeOf(loss),
      message: `a loss is a float of one element, not ${typeText(loss.type)}`,
      hint: "reduce it with a sum or a mean",
    });
  }
  const found = pullback([loss], [constantLike(loss, 1)], wrt);
  return unused === "undefined" ? found : withoutGaps([loss], found, wrt, unused);
}

/** Cotangents of the values, zeros for those where none arrived. Throws ModelError as `unused` says. */
export function withoutGaps(
  results: readonly Value[],
  found: readonly (Value | undefined)[],
  wrt: readonly Value[],
  unused: "error" | "zero",
): readonly Value[] {
  const missing = wrt.filter((_, i) => found[i] === undefined);
  if (unused === "error" && missing.length > 0) {
    const used = usedBy(results);
    const problems = missing.flatMap((v) => {
      if (used.has(v)) return [];
      const message = `${typeText(v.type)} has no gradient: what is differentiated does not depend on it`;
      const hint = 'use it, and not behind stopGradient only; or ask for zeros by { unused: "zero" }';
      return [{ where: placeOf(v), message, hint }];
    });
    if (problems.length > 0) throw new ModelError(problems);
  }
  return found.map((d, i) => d ?? constantLike(wrt[i]!, 0));
}

/** Everything that the values are computed from, but for what lies behind stopGradient. */
function usedBy(results: readonly Value[]): ReadonlySet<Value> {
  const used = new Set(results);
  for (const v of used) {
    if (v.def.op !== "param" && v.def.op !== "stopGradient") for (const o of v.def.operands) used.add(o);
  }
  return used;
}

/**
 * Vector-Jacobian product: cotangents of `wrt` from cotangents of `results` (undefined where nothing flows back). An entry is
 * undefined where nothing arrives.
 */
export function pullback(
  results: readonly Value[],
  cotangents: readonly (Value | undefined)[],
  wrt: readonly Value[],
): readonly (Value | undefined)[] {
  for (const v of wrt) {
    if (!isFloat(requireValue(v, "what gradients are taken of").type.dtype)) {
      throw new ModelError({ where: placeOf(v), message: `${typeText(v.type)} has no gradient: only floats do` });
    }
  }
  const tape = new Tape(wrt);
  results.forEach((r, i) => {
    const d = cotangents[i];
    if (d !== undefined) tape.give(r, d);
  });
  tape.run(results);
  return wrt.map((v) => tape.cotangent(v));
}

/** What to differentiate in a graph, by name. */
export interface Differentiation {
  /** Result that is the loss. */
  readonly of: string;
  /** Parameters whose gradients are wanted. */
  readonly wrt: readonly string[];
  readonly unused?: GradientOptions["unused"];
}

/** The graph with gradients as further results, named `d_<parameter>`, in the order of `wrt`. */
export function differentiate(g: Graph, { of, wrt, unused }: Differentiation): Graph {
  const loss = g.results[g.resultNames.indexOf(of)];
  if (loss === undefined) {
    throw new ModelError(`graph ${g.name} has no result "${of}", only ${g.resultNames.join(", ")}`);
  }
  const values = wrt.map((name) => {
    const found = g.params.find((p) => paramName(p) === name);
    if (found === undefined) throw new ModelError(`graph ${g.name} has no parameter "${name}"`);
    return found;
  });
  return graph(
    g.name,
    g.params,
    [...g.results, ...gradients(loss, values, unused === undefined ? {} : { unused })],
    [...g.resultNames, ...wrt.map((name) => `d_${name}`)],
    g.donations,
    g.sizes,
  );
}

/** A region and its gradient in one graph over fresh parameters. */
export interface DifferentiatedRegion {
  readonly params: readonly Value[];
  /** The region's results, and the cotangents that they are given: parameters too, undefined where none is. */
  readonly results: readonly Value[];
  readonly cotangents: readonly (Value | undefined)[];
  /** Cotangents of the parameters, undefined where nothing arrives or none was asked for. */
  readonly gradients: readonly (Value | undefined)[];
  readonly sizes: readonly Value[];
}

/** `wrt` says of which parameters cotangents are wanted, `given` which float results have one (default: all). */
export function differentiateRegion(
  region: Graph,
  wrt: readonly boolean[],
  given: readonly boolean[] = region.results.map(() => true),
): DifferentiatedRegion {
  const params = region.params.map((p) => param(paramName(p), p.type));
  const { results, sizes = [] } = copyGraph(region, params);
  const cotangents = results.map((r, i) =>
    given[i] && isFloat(r.type.dtype) ? param(`d_${region.resultNames[i]!}`, r.type) : undefined,
  );
  const wanted = params.filter((_, i) => wrt[i]);
  const found = new Map(pullback(results, cotangents, wanted).map((d, i) => [wanted[i]!, d]));
  return { params, results, cotangents, gradients: params.map((p) => found.get(p)), sizes };
}

/** What rules of control flow differentiate regions by. */
const regions: RegionGradients = {
  differentiate: (region, wrt) => {
    const { params, cotangents, gradients, sizes } = differentiateRegion(region, wrt);
    const wanted = [...params.keys()].filter((i) => wrt[i]);
    return graph(
      `${region.name}_vjp`,
      [...params, ...cotangents.filter((d) => d !== undefined)],
      wanted.map((i) => gradients[i] ?? constantLike(params[i]!, 0)),
      wanted.map((i) => `d_${paramName(params[i]!)}`),
      undefined,
      sizes,
    );
  },
  inline,
  scan: (context) => differentiateScan(context, differentiateRegion),
  loop: (context) => differentiateLoop(context, pullback),
  recompute: ({ operands, attrs, dys, needs }) => {
    const outputs = operands.slice(0, attrs.results);
    const inputs = operands.slice(attrs.results);
    const given = dys.filter((d) => d !== undefined);
    const late = inputs.map((v) => after([v, ...given]));
    const again = copyWith(outputs, new Map(inputs.map((v, i) => [v, late[i]!])));
    const wanted = late.filter((v, i) => needs[attrs.results + i]! && isFloat(v.type.dtype));
    const found = new Map(pullback(again, dys, wanted).map((d, i) => [wanted[i]!, d]));
    return [...outputs.map(() => undefined), ...late.map((v) => found.get(v))];
  },
};

function placeOf(v: Value): string {
  return v.def.op === "param" ? v.def.name : (v.def.loc ?? v.def.op);
}

/** Cotangents on their way back. */
class Tape {
  readonly #cotangents = new Map<Value, Value>();
  /** Values that depend on `wrt` through floats. */
  readonly #active: Set<Value>;

  constructor(wrt: readonly Value[]) {
    this.#active = new Set(wrt);
  }

  cotangent(v: Value): Value | undefined {
    return this.#cotangents.get(v);
  }

  /** Adds a cotangent to what has arrived at the value. */
  give(v: Value, d: Value): void {
    if (d.type.dtype !== v.type.dtype || !mayEqual(d.type.shape, v.type.shape)) {
      throw new InternalError(`the cotangent ${typeText(d.type)} came to a value of type ${typeText(v.type)}`);
    }
    // Sizes that inference took to be equal are written here as the value has them.
    const fitting = sameShape(d.type.shape, v.type.shape) ? d : reshape([d], { shape: v.type.shape });
    const before = this.#cotangents.get(v);
    this.#cotangents.set(v, before === undefined ? fitting : add([before, fitting]));
  }

  /** Propagates from the results back, not beyond `leaves`. */
  run(results: readonly Value[], leaves: (v: Value) => boolean = () => false): void {
    const path = topologicalOrder(results, leaves).filter((node) => this.#reach(node));
    for (const node of path.reverse()) {
      const dys = node.results.map((r) => this.#cotangents.get(r));
      if (dys.some((d) => d !== undefined)) withLoc(node.loc, () => this.#step(node, dys));
    }
  }

  /** Whether the node passes gradients on; marks its results. */
  #reach(node: GraphNode): boolean {
    if (opOf(node).vjp === "zero" || !node.operands.some((v) => this.#active.has(v))) return false;
    for (const r of node.results) if (isFloat(r.type.dtype)) this.#active.add(r);
    return true;
  }

  #step(node: GraphNode, dys: readonly (Value | undefined)[]): void {
    const facts = opOf(node);
    const { vjp } = facts;
    if (vjp === "none") {
      throw new ModelError({
        where: node.loc ?? node.op,
        message: `${node.op}(${node.operands.map((v) => typeText(v.type)).join(", ")}) has no gradient`,
        hint: "put a stopGradient where no gradient should flow, or compute it differently",
      });
    }
    if (typeof vjp === "function") this.#apply(node, vjp, dys);
    else if (facts.kind === "composite") this.#descend(node, dys);
    else throw new InternalError(`the gradient of ${node.op} is "${vjp}"`);
  }

  #apply(node: GraphNode, vjp: Exclude<Vjp<Attrs>, string>, dys: readonly (Value | undefined)[]): void {
    const needs = node.operands.map((v) => this.#active.has(v));
    const context: VjpContext<Attrs> = {
      node,
      operands: node.operands,
      attrs: node.attrs as Attrs,
      results: node.results,
      y: node.results[0]!,
      get dy() {
        return dys[0] ?? constantLike(node.results[0]!, 0);
      },
      dys,
      needs,
      regions,
    };
    const found = vjp(context);
    node.operands.forEach((v, i) => {
      const d = found[i];
      if (d !== undefined && needs[i]) this.give(v, d);
    });
  }

  /** Through the decomposition. Its inner values join this tape, so that an operand used twice gets both cotangents. */
  #descend(node: GraphNode, dys: readonly (Value | undefined)[]): void {
    const facts = opOf(node);
    if (facts.kind !== "composite") throw new InternalError(`${node.op} does not decompose`);
    const made = facts.decompose(node.operands, node.attrs as Attrs, node.regions);
    const parts: readonly Value[] = Array.isArray(made) ? made : [made as Value];
    parts.forEach((part, i) => {
      const d = dys[i];
      if (d !== undefined) this.give(part, d);
    });
    const operands = new Set(node.operands);
    this.run(parts, (v) => operands.has(v));
  }
}

function mayEqual(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => !dimDiffers(d, b[i]!));
}
