/**
 * A graph that was imported (or built with named weights) as a module, so that it trains as one of layers does.
 *
 * Its variables are the named float constants; running statistics of batch norms are buffers. When training, batch norms use and
 * update the batch's statistics and dropout drops.
 */

import { type Dim, type DimSymbol, dimBounds, dimDiffers, dimSubstitute, dimSymbols } from "../../ir/dim.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import {
  type Graph,
  type GraphNode,
  graph,
  graphNodes,
  type NodeOf,
  param,
  paramName,
  typeText,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { remake, sizeFinders, withDims, withResults } from "../../ir/graph-rebuild.js";
import { choices } from "../../ir/names.js";
import { dropout } from "../../ir/ops/dropout.js";
import type { AttrsOf, OpName } from "../../ir/ops/index.js";
import { batchNormTrain } from "../../ir/ops/normalize.js";
import type { Tensor } from "../../ir/tensor.js";
import { aBoolean, anything, aString, type Checks, checkOptions, either, listOf } from "../options.js";
import type { Context } from "./context.js";
import { Module, Variable } from "./module.js";

/**
 * Which weights are learnt: all of at least one axis (`true`), or those of these names. In names `*` stands for any text, and a
 * name that ends in a dot for all that begin with it.
 */
export type Trainable = true | Pattern | readonly Pattern[];
type Pattern = string | RegExp | ((name: string) => boolean);

function matcher(pattern: Pattern): (name: string) => boolean {
  if (typeof pattern === "function") return pattern;
  if (typeof pattern !== "string") return (name) => name.search(pattern) >= 0;
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  const whole = new RegExp(`^${escaped}${pattern.endsWith(".") ? ".*" : ""}$`, "s");
  return (name) => whole.test(name);
}

type Node<N extends OpName> = NodeOf<N, AttrsOf<N>>;

interface Weight {
  readonly tensor: Tensor;
  buffer: boolean;
}

/** Named float constants of the graph and its regions. */
function weightsOf(g: Graph): Map<string, Weight> {
  const found = new Map<string, Weight>();
  const visit = (graph: Graph) => {
    for (const node of graphNodes(graph)) {
      if (node.op === "constant" && node.attrs.name !== undefined && isFloat(node.attrs.value.dtype))
        found.set(node.attrs.name, { tensor: node.attrs.value, buffer: false });
      for (const region of node.regions) visit(region);
    }
  };
  visit(g);
  for (const node of graphNodes(g))
    if (node.op === "batchNorm")
      for (const name of statisticsOf(node)) if (name !== undefined) found.get(name)!.buffer = true;
  return found;
}

/** Names of the constants that are a batch norm's running mean and variance. */
const statisticsOf = (node: Node<"batchNorm">): readonly (string | undefined)[] =>
  node.operands.slice(1, 3).map((v) => (v.def.op === "constant" ? v.def.attrs.name : undefined));

/** Variables that a node's regions use as constants, in order. */
function variablesWithin(node: GraphNode, variables: ReadonlyMap<string, Variable>): readonly string[] {
  const found = new Set<string>();
  const visit = (g: Graph) => {
    for (const inner of graphNodes(g)) {
      if (inner.op === "constant" && inner.attrs.name !== undefined && variables.has(inner.attrs.name))
        found.add(inner.attrs.name);
      inner.regions.forEach(visit);
    }
  };
  node.regions.forEach(visit);
  return [...found];
}

/** The region with these variables as further parameters instead of constants. */
function lifted(g: Graph, names: readonly string[], variables: ReadonlyMap<string, Variable>): Graph {
  const params = names.map((name) => {
    const { dtype, shape } = variables.get(name)!;
    return param(name, { dtype, shape });
  });
  const byName = new Map(names.map((name, i) => [name, params[i]!]));
  const values = new Map<Value, Value>(g.params.map((p) => [p, p]));
  for (const node of graphNodes(g)) copyNode(node, values, (name) => byName.get(name), variables);
  const finders = sizeFinders(g).map((v) => values.get(v)!);
  const made = { ...g, params: [...g.params, ...params] };
  return withResults(
    made,
    g.results.map((v) => values.get(v)!),
    finders,
  );
}

/** Copies a node over mapped operands, with variables in place of the constants of their names. */
function copyNode(
  node: GraphNode,
  values: Map<Value, Value>,
  variable: (name: string) => Value | undefined,
  variables: ReadonlyMap<string, Variable>,
): void {
  if (node.op === "constant" && node.attrs.name !== undefined) {
    const value = variable(node.attrs.name);
    if (value !== undefined) {
      values.set(node.results[0]!, value);
      return;
    }
  }
  const names = variablesWithin(node, variables);
  const operands = node.operands.map((v) => values.get(v)!);
  const copy =
    names.length === 0
      ? remake(node, operands)
      : remake(
          node,
          [...operands, ...names.map((name) => variable(name)!)],
          node.regions.map((r) => lifted(r, names, variables)),
        );
  node.results.forEach((r, i) => {
    values.set(r, copy.results[i]!);
  });
}

export interface FromGraphOptions {
  /**
   * What the module gives: names of the graph's results, or of nodes inside (an ONNX node's name). One name gives one value, a list
   * gives values by name. What these do not depend on is left out, its weights too. Default: all results.
   */
  readonly outputs?: string | readonly string[];
  /** The weights stay as they are, and the module is always in evaluation mode. Default false. */
  readonly frozen?: boolean;
  /** Which weights are learnt, if not frozen. Default: all. */
  readonly trainable?: Trainable;
}

const fromGraphChecks: Checks<FromGraphOptions> = {
  outputs: either(aString, listOf(aString)),
  frozen: aBoolean,
  trainable: anything,
};

/**
 * A graph as a module inside other models: an imported trunk under a new head, a teacher, a perceptual loss. It takes the graph's
 * inputs in their order; sizes that the graph names fit what they are given.
 *
 * ```ts
 * const trunk = nn.fromGraph(importOnnx(bytes), { outputs: "features", frozen: true });
 * const model = nn.sequential(trunk, nn.Linear(512, 10));
 * ```
 *
 * @throws ModelError where a name is not in the graph; says which there are
 */
export function fromGraph(
  g: Graph,
  options: FromGraphOptions & { readonly outputs: readonly string[] },
): GraphModel<Readonly<Record<string, Value>>>;
export function fromGraph<O extends GraphOutput = Value>(g: Graph, options?: FromGraphOptions): GraphModel<O>;
export function fromGraph(g: Graph, options: FromGraphOptions = {}): GraphModel<GraphOutput> {
  checkOptions("fromGraph", options, fromGraphChecks);
  return new GraphModel(g, options.trainable ?? true, options);
}

/** The graph with these results: of its own, or the first results of nodes inside that have this name. */
function withOutputs(g: Graph, names: readonly string[]): Graph {
  const own = new Map(g.resultNames.map((name, i) => [name, g.results[i]!]));
  const inner = new Map<string, Value>();
  // An ONNX node becomes several of the graph; its last one gives what it gives.
  for (const node of graphNodes(g)) if (node.loc !== undefined) inner.set(node.loc, node.results[0]!);
  const results = names.map((name) => {
    const found = own.get(name) ?? inner.get(name);
    if (found) return found;
    throw new ModelError({
      where: "option outputs",
      message: `the graph has no result and no node called "${name}"`,
      hint: choices(name, [...own.keys(), ...inner.keys()], "there are"),
    });
  });
  return withResults(graph(g.name, g.params, results, names), results, sizeFinders(g));
}

/** The graph with the sizes of these inputs in place of its own symbols; `again`: in the same context as before. */
function fitted(g: Graph, inputs: readonly Value[], ctx: Context, again: boolean): Graph {
  if (inputs.length !== g.params.length)
    throw new ModelError(
      `the graph takes ${g.params.length} inputs (${g.params.map(paramName).join(", ")}), not ${inputs.length}`,
    );
  const bound = new Map<string, Dim>();
  g.params.forEach((p, i) => {
    const { dtype, shape } = p.type;
    const { type } = inputs[i]!;
    const misfit = (why: string) =>
      new ModelError({
        message: `input "${paramName(p)}" is ${typeText(p.type)}, but is given ${typeText(type)}: ${why}`,
      });
    if (dtype !== type.dtype || shape.length !== type.shape.length) throw misfit("another dtype or rank");
    shape.forEach((d, axis) => {
      const given = type.shape[axis]!;
      if (typeof d === "number") {
        if (dimDiffers(d, given)) throw misfit(`axis ${axis} differs`);
        return;
      }
      const [symbol] = dimSymbols(d).values();
      if (symbol === undefined || symbol.name !== d.key) return;
      const before = bound.get(symbol.name);
      if (before !== undefined && dimDiffers(before, given)) throw misfit(`two sizes for ${symbol.name}`);
      const { min, max } = dimBounds(given);
      if (max < symbol.min || min > symbol.max)
        throw misfit(`${symbol.name} must be from ${symbol.min} to ${symbol.max}`);
      bound.set(symbol.name, before ?? given);
    });
  });
  const unchanged = [...bound].every(([name, d]) => typeof d !== "number" && d.key === name);
  // Applied twice, it finds its sizes twice.
  if (unchanged && !(again && sizeFinders(g).length > 0)) return g;
  const renamed = new Map<string, Dim>();
  const replace = (s: DimSymbol): Dim | undefined => {
    if (s.bound === undefined) return bound.get(s.name);
    if (!renamed.has(s.name)) renamed.set(s.name, ctx.freshSize(s.name, dimSubstitute(s.bound, replace)));
    return renamed.get(s.name);
  };
  return withDims(g, replace);
}

/** What a graph gives: its result, or its results by name where it has several. */
export type GraphOutput = Value | Readonly<Record<string, Value>>;

export class GraphModel<O extends GraphOutput = GraphOutput> extends Module<readonly Value[], O> {
  readonly #graph: Graph;
  readonly #variables: ReadonlyMap<string, Variable>;
  readonly #frozen: boolean;
  readonly #byName: boolean;
  readonly #built = new WeakSet<Context>();

  /** @throws ModelError where `trainable` or `outputs` names nothing */
  constructor(whole: Graph, trainable: Trainable, { frozen = false, outputs }: FromGraphOptions = {}) {
    super();
    const g = outputs === undefined ? whole : withOutputs(whole, [outputs].flat() as readonly string[]);
    this.#graph = g;
    this.#frozen = frozen;
    this.#byName = Array.isArray(outputs);
    const patterns = trainable === true ? [] : [trainable].flat().map(matcher);
    const wanted = (name: string) => patterns.some((matches) => matches(name));
    const variables = new Map<string, Variable>();
    for (const [name, { tensor, buffer }] of weightsOf(g)) {
      // Scalars are settings more often than weights.
      if (tensor.shape.length === 0 && !wanted(name)) continue;
      const v = new Variable(
        buffer ? "buffer" : "param",
        tensor.shape,
        () => {
          throw new ModelError({ where: name, message: "the weights of an imported graph can't be drawn anew" });
        },
        tensor.dtype,
      );
      v.value = tensor;
      if (!buffer) v.trainable = !frozen && (trainable === true || wanted(name));
      variables.set(name, v);
    }
    this.#variables = variables;
    [trainable].flat().forEach((pattern, i) => {
      if (pattern !== true && ![...variables].some(([name, v]) => v.role === "param" && patterns[i]!(name)))
        throw new ModelError({
          where: "trainable",
          message: `no weight of the graph matches ${typeof pattern === "string" ? `"${pattern}"` : String(pattern)}`,
          hint: `there are: ${[...variables].flatMap(([name, v]) => (v.role === "param" ? name : [])).join(", ")}`,
        });
    });
  }

  protected override members(): Iterable<readonly [string, unknown]> {
    return this.#variables;
  }

  forward(ctx: Context, ...inputs: readonly Value[]): O {
    return (this.#frozen ? ctx.eval(() => this.#build(ctx, inputs)) : this.#build(ctx, inputs)) as O;
  }

  #build(ctx: Context, inputs: readonly Value[]): GraphOutput {
    const g = fitted(this.#graph, inputs, ctx, this.#built.has(ctx));
    this.#built.add(ctx);
    const values = new Map<Value, Value>(g.params.map((p, i) => [p, inputs[i]!]));
    const variable = (name: string) => {
      const v = this.#variables.get(name);
      return v && ctx.value(v);
    };
    for (const node of graphNodes(g)) {
      if (ctx.training && this.#train(ctx, node, values)) continue;
      copyNode(node, values, variable, this.#variables);
    }
    for (const v of sizeFinders(g)) ctx.keepSize(values.get(v)!);
    const results = g.results.map((v) => values.get(v)!);
    return results.length === 1 && !this.#byName
      ? results[0]!
      : Object.fromEntries(results.map((v, i) => [g.resultNames[i]!, v]));
  }

  /** Builds the training form of a node that has one. */
  #train(ctx: Context, node: GraphNode, values: Map<Value, Value>): boolean {
    for (const region of node.regions) refuseInside(region);
    return withLoc(node.loc, () => {
      if (node.op === "idleDropout") {
        const { probability } = node.attrs;
        values.set(
          node.results[0]!,
          dropout([values.get(node.operands[0]!)!, ...ctx.random()], { probability, sharedAxes: [] }),
        );
        return true;
      }
      if (node.op !== "batchNorm") return false;
      const statistics = statisticsOf(node).map((name) => (name === undefined ? undefined : this.#variables.get(name)));
      const [mean, variance] = statistics;
      // Statistics that are computed belong to the model, not to its training.
      if (!mean || !variance) return false;
      const [x, , , ...affine] = node.operands.map((v) => values.get(v)!);
      const { axis, epsilon, momentum = 0.1 } = node.attrs;
      const [y, nextMean, nextVariance] = batchNormTrain([x!, ctx.value(mean), ctx.value(variance), ...affine], {
        axis,
        epsilon,
        momentum,
        correction: 1,
      });
      ctx.update(mean, nextMean!);
      ctx.update(variance, nextVariance!);
      values.set(node.results[0]!, y!);
      return true;
    });
  }
}

/** Layers that behave differently when they train can't do so in a branch or a loop, where state does not change. */
function refuseInside(region: Graph): void {
  for (const node of graphNodes(region)) {
    if (node.op === "batchNorm" || node.op === "idleDropout")
      throw new ModelError({
        where: node.loc ?? node.op,
        message: `a ${node.op === "batchNorm" ? "batch norm" : "dropout"} inside a branch or loop can't be trained`,
        hint: "export the model for inference, where it is folded or left out",
      });
    node.regions.forEach(refuseInside);
  }
}
