/**
 * Model-local functions: every call is replaced by the function's body.
 *
 * A function takes precedence over an op of the same domain and name. Values of the body get names that occur nowhere
 * else; node names become `caller/inner`, so that messages name the user's own layer. Calls inside functions and subgraphs
 * are expanded too; recursion is an error.
 */
import { checkTime } from "../../ir/deadline.js";
import { ModelError } from "../../ir/errors.js";
import { describeNode, type OnnxAttribute } from "./attributes.js";
import { capturedNames, subgraphsOf } from "./check.js";
import type { OnnxFunction, OnnxGraph, OnnxModel, OnnxNode } from "./model.js";

export interface InlineLimits {
  /** Nodes after inlining; nested functions can multiply them without bound. */
  readonly maxNodes: number;
}

export const DEFAULT_INLINE_LIMITS: InlineLimits = { maxNodes: 1_000_000 };

/** Functions in functions. */
const MAX_DEPTH = 64;

const keyOf = (domain: string, name: string, overload: string): string => JSON.stringify([domain, name, overload]);

function collectNames(graph: OnnxGraph, into: Set<string>): void {
  for (const input of graph.inputs) into.add(input.name);
  for (const name of graph.initializers.keys()) into.add(name);
  for (const node of graph.nodes) {
    for (const name of node.outputs) into.add(name);
    for (const sub of subgraphsOf(node)) collectNames(sub, into);
  }
}

/** Names of a scope's outside world → names that they become. Names that aren't listed stay. */
type Renaming = ReadonlyMap<string, string>;

const rename = (names: Renaming, name: string): string => names.get(name) ?? name;

/** Replaces references to the caller's attributes; a reference to an absent attribute without default disappears. */
function bindAttributes(
  attributes: ReadonlyMap<string, OnnxAttribute>,
  bound: ReadonlyMap<string, OnnxAttribute>,
  names: Renaming,
): ReadonlyMap<string, OnnxAttribute> {
  const result = new Map<string, OnnxAttribute>();
  for (const [name, attribute] of attributes) {
    if (attribute.kind === "reference") {
      const value = bound.get(attribute.name);
      if (value) result.set(name, value);
    } else if (attribute.kind === "graph")
      result.set(name, { kind: "graph", value: bindGraph(attribute.value, bound, names) });
    else if (attribute.kind === "graphs")
      result.set(name, { kind: "graphs", value: attribute.value.map((g) => bindGraph(g, bound, names)) });
    else result.set(name, attribute);
  }
  return result;
}

/** A subgraph of a function's body: outer names are renamed except where the subgraph defines them itself. */
function bindGraph(graph: OnnxGraph, bound: ReadonlyMap<string, OnnxAttribute>, outer: Renaming): OnnxGraph {
  const captured = capturedNames(graph);
  const names = new Map([...outer].filter(([name]) => captured.has(name)));
  return {
    ...graph,
    outputs: graph.outputs.map((output) => ({ ...output, name: rename(names, output.name) })),
    nodes: graph.nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map((name) => rename(names, name)),
      attributes: bindAttributes(node.attributes, bound, names),
    })),
  };
}

class Inliner {
  readonly functions: ReadonlyMap<string, OnnxFunction>;
  readonly limits: InlineLimits;
  readonly taken = new Set<string>();
  /** Functions being expanded, outermost first. */
  readonly stack: string[] = [];
  nodes = 0;
  private counter = 0;

  constructor(model: OnnxModel, limits: InlineLimits) {
    this.functions = new Map(model.functions.map((f) => [keyOf(f.domain, f.name, f.overload), f]));
    this.limits = limits;
    collectNames(model.graph, this.taken);
    for (const f of model.functions)
      for (const node of f.nodes) for (const g of subgraphsOf(node)) collectNames(g, this.taken);
  }

  private fresh(prefix: string, name: string): string {
    let candidate = `${prefix}/${name}`;
    while (this.taken.has(candidate)) candidate = `${prefix}/${name}.${++this.counter}`;
    this.taken.add(candidate);
    return candidate;
  }

  private count(node: OnnxNode): void {
    checkTime(node.name);
    if (++this.nodes > this.limits.maxNodes)
      throw new ModelError({
        where: describeNode(node),
        message: `inlining functions makes more than ${this.limits.maxNodes} nodes`,
        hint: "raise the limit if the model is really this large",
      });
  }

  graph(graph: OnnxGraph): OnnxGraph {
    return { ...graph, nodes: graph.nodes.flatMap((node) => this.node(node)) };
  }

  node(node: OnnxNode): readonly OnnxNode[] {
    const fn = this.functions.get(keyOf(node.domain, node.opType, node.overload));
    if (fn) return this.call(node, fn);
    this.count(node);
    if (subgraphsOf(node).length === 0) return [node];
    const attributes = new Map<string, OnnxAttribute>();
    for (const [name, a] of node.attributes)
      if (a.kind === "graph") attributes.set(name, { kind: "graph", value: this.graph(a.value) });
      else if (a.kind === "graphs") attributes.set(name, { kind: "graphs", value: a.value.map((g) => this.graph(g)) });
      else attributes.set(name, a);
    return [{ ...node, attributes }];
  }

  private call(caller: OnnxNode, fn: OnnxFunction): readonly OnnxNode[] {
    const where = describeNode(caller);
    const key = keyOf(fn.domain, fn.name, fn.overload);
    if (this.stack.includes(key))
      throw new ModelError({
        where,
        message: `the function "${fn.name}" calls itself`,
        hint: "recursion is not allowed in ONNX",
      });
    if (this.stack.length >= MAX_DEPTH)
      throw new ModelError({ where: caller.opType, message: `functions call one another deeper than ${MAX_DEPTH}` });
    if (caller.inputs.length > fn.inputs.length || caller.outputs.length > fn.outputs.length)
      throw new ModelError({
        where,
        message:
          `the function "${fn.name}" has ${fn.inputs.length} inputs and ${fn.outputs.length} outputs, ` +
          `but the call has ${caller.inputs.length} and ${caller.outputs.length}`,
      });
    const prefix = caller.name || caller.outputs.find((name) => name !== "") || fn.name;
    const names = new Map<string, string>();
    for (const [i, formal] of fn.inputs.entries()) names.set(formal, caller.inputs[i] ?? "");
    // An output that is also an input, or twice an output, needs an Identity of its own.
    const copies: OnnxNode[] = [];
    fn.outputs.forEach((formal, i) => {
      const actual = caller.outputs[i] ?? "";
      if (actual === "") return;
      if (names.has(formal)) copies.push(identity(caller, names.get(formal)!, actual));
      else names.set(formal, actual);
    });
    const bound = new Map([...fn.attributeDefaults, ...caller.attributes]);
    for (const name of fn.nodes.flatMap((node) => node.outputs))
      if (name !== "" && !names.has(name)) names.set(name, this.fresh(prefix, name));
    this.stack.push(key);
    const body = fn.nodes.flatMap((node, i) =>
      this.node({
        ...node,
        name: `${prefix}/${node.name || `${node.opType}_${i}`}`,
        inputs: node.inputs.map((name) => rename(names, name)),
        outputs: node.outputs.map((name) => rename(names, name)),
        attributes: bindAttributes(node.attributes, bound, names),
      }),
    );
    this.stack.pop();
    return [...body, ...copies];
  }
}

function identity(caller: OnnxNode, from: string, to: string): OnnxNode {
  return {
    name: caller.name,
    domain: "",
    opType: "Identity",
    overload: "",
    version: 1,
    inputs: [from],
    outputs: [to],
    attributes: new Map(),
  };
}

/**
 * The model without functions.
 * @throws ModelError on recursion, calls that don't fit, or too many nodes
 */
export function inlineFunctions(model: OnnxModel, limits: InlineLimits = DEFAULT_INLINE_LIMITS): OnnxModel {
  if (model.functions.length === 0) return model;
  return { ...model, graph: new Inliner(model, limits).graph(model.graph), functions: [] };
}
