/**
 * Structure of an ONNX graph: every name defined once, every used name defined, nodes in topological order.
 * ONNX demands sorted nodes; unsorted ones are sorted here, cycles are an error.
 */
import type { Problem } from "../../ir/errors.js";
import { describeNode, type OnnxAttribute } from "./attributes.js";
import type { OnnxGraph, OnnxNode } from "./model.js";

/** Problems of one kind are reported at most this often; a damaged file can have millions. */
const MAX_PROBLEMS = 100;

export function subgraphsOf(node: OnnxNode): readonly OnnxGraph[] {
  const found: OnnxGraph[] = [];
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === "graph") found.push(attribute.value);
    else if (attribute.kind === "graphs") found.push(...attribute.value);
  }
  return found;
}

/** Names that a graph uses from outside, its own subgraphs included, in order of first use. */
export function capturedNames(graph: OnnxGraph): ReadonlySet<string> {
  const captured = new Set<string>();
  const own = new Set([...graph.inputs.map((i) => i.name), ...graph.initializers.keys()]);
  for (const node of graph.nodes) for (const name of node.outputs) own.add(name);
  const use = (name: string) => {
    if (name !== "" && !own.has(name)) captured.add(name);
  };
  for (const node of graph.nodes) {
    node.inputs.forEach(use);
    for (const sub of subgraphsOf(node)) capturedNames(sub).forEach(use);
  }
  for (const output of graph.outputs) use(output.name);
  return captured;
}

/** Stable topological sort (Kahn's algorithm). Returns the nodes of a cycle, in order, where there is one. */
function sortNodes(
  nodes: readonly OnnxNode[],
  uses: readonly ReadonlySet<string>[],
): { order: readonly number[]; cyclic: readonly number[] } {
  const producer = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of node.outputs) if (name !== "" && !producer.has(name)) producer.set(name, i);
  });
  const waiting = new Int32Array(nodes.length);
  const users: number[][] = nodes.map(() => []);
  let sorted = true;
  uses.forEach((names, i) => {
    for (const name of names) {
      const from = producer.get(name);
      if (from === undefined) continue;
      if (from >= i) sorted = false;
      users[from]!.push(i);
      waiting[i]!++;
    }
  });
  if (sorted) return { order: nodes.map((_, i) => i), cyclic: [] };
  const order: number[] = [];
  const ready = nodes.map((_, i) => i).filter((i) => waiting[i] === 0);
  for (let next = 0; next < ready.length; next++) {
    const i = ready[next]!;
    order.push(i);
    for (const user of users[i]!) if (--waiting[user]! === 0) ready.push(user);
  }
  return { order, cyclic: nodes.map((_, i) => i).filter((i) => waiting[i]! > 0) };
}

function checkAttribute(attribute: OnnxAttribute, scope: ReadonlySet<string>, problems: Problem[]): OnnxAttribute {
  if (attribute.kind === "graph") return { kind: "graph", value: checkGraph(attribute.value, problems, scope) };
  if (attribute.kind === "graphs")
    return { kind: "graphs", value: attribute.value.map((g) => checkGraph(g, problems, scope)) };
  return attribute;
}

/**
 * Checks a graph and its subgraphs, adding to `problems`; returns it with its nodes sorted.
 * @param outer names that are visible from the graphs around it
 */
export function checkGraph(graph: OnnxGraph, problems: Problem[], outer: ReadonlySet<string> = new Set()): OnnxGraph {
  const report = (problem: Problem) => {
    if (problems.length < MAX_PROBLEMS) problems.push(problem);
  };
  const where = `graph "${graph.name}"`;
  const defined = new Set<string>();
  const define = (name: string, by: string) => {
    if (name === "") return;
    if (defined.has(name))
      report({
        where: by,
        message: `the name "${name}" is defined a second time`,
        hint: "names must be unique in a graph",
      });
    defined.add(name);
  };
  for (const input of graph.inputs) define(input.name, where);
  const inputNames = new Set(defined);
  for (const name of graph.initializers.keys()) if (!inputNames.has(name)) define(name, where);
  for (const node of graph.nodes) for (const name of node.outputs) define(name, describeNode(node));

  const uses = graph.nodes.map((node) => {
    const names = new Set(node.inputs.filter((name) => name !== ""));
    for (const sub of subgraphsOf(node)) for (const name of capturedNames(sub)) names.add(name);
    return names;
  });
  const visible = outer.size === 0 ? defined : new Set([...outer, ...defined]);
  graph.nodes.forEach((node, i) => {
    if (node.opType === "") report({ where: describeNode(node), message: "the node has no op type" });
    for (const name of node.inputs)
      if (name !== "" && !visible.has(name))
        report({ where: describeNode(node), message: `its input "${name}" is not defined anywhere` });
    if (uses[i]!.size > 0 && node.outputs.length === 0 && subgraphsOf(node).length === 0)
      report({ where: describeNode(node), message: "the node has no output" });
  });
  for (const output of graph.outputs)
    if (!visible.has(output.name)) report({ where, message: `the output "${output.name}" is not defined anywhere` });

  const { order, cyclic } = sortNodes(graph.nodes, uses);
  if (cyclic.length > 0) {
    const names = cyclic.slice(0, 5).map((i) => describeNode(graph.nodes[i]!));
    report({
      where,
      message: `${cyclic.length} nodes depend on themselves or on a cycle: ${names.join(", ")}${cyclic.length > 5 ? ", …" : ""}`,
      hint: "an ONNX graph must be acyclic; export it again",
    });
    return graph;
  }
  const nodes = order.map((i) => {
    const node = graph.nodes[i]!;
    if (subgraphsOf(node).length === 0) return node;
    const attributes = new Map([...node.attributes].map(([name, a]) => [name, checkAttribute(a, visible, problems)]));
    return { ...node, attributes };
  });
  return { ...graph, nodes };
}
