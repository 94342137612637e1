/**
 * Verifies a graph. Invariants:
 *
 *  1. Parameters are distinct values with distinct names; results and their names are equally many, the names distinct.
 *  2. A graph is closed: everything its results depend on is one of its parameters or a node. The same holds for each region.
 *  3. `node.results[i]` is result i of that node, and there are no cycles.
 *  4. A node's op is in the op table, and its types are those that the op's inference gives for its operands, attributes and regions.
 *  5. Attributes are those that the op declares; a constant's data has the array type of its dtype and the length of its shape.
 *  6. A size symbol means one thing (range and bound) in the whole graph. It is found in a parameter's shape, or is a bounded
 *     unknown that a node of this or an enclosing graph finds (its attribute `defines`).
 *  7. Donations give results to parameters of the same type, each parameter at most once.
 *
 * Throws VerifyError naming the graph, the node and what is wrong.
 */

import { type DimSymbol, dimEqual, dimSymbols } from "./dim.js";
import { dtypeInfo } from "./dtype.js";
import { InternalError, ModelError, VerifyError } from "./errors.js";
import {
  type Attr,
  type Attrs,
  countName,
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  paramName,
  sameType,
  type TensorType,
  typeText,
  type Value,
} from "./graph.js";
import { printNode, valueNames } from "./graph-print.js";
import { checkCount, inferTypes } from "./op.js";
import { isOpName, opOf } from "./ops/index.js";
import { elementCount, type Tensor } from "./tensor.js";

export function verifyGraph(g: Graph): void {
  const symbols = new Map<string, DimSymbol>();
  for (const p of g.params) for (const d of p.type.shape) dimSymbols(d, symbols);
  verify(g, { symbols, given: new Set(symbols.keys()) });
}

interface Scope {
  readonly symbols: Map<string, DimSymbol>;
  /** Symbols that the parameters' shapes give or nodes find. */
  readonly given: ReadonlySet<string>;
}

function verify(g: Graph, outer: Scope): void {
  const fail: Fail = (message) => {
    throw new VerifyError(`graph @${g.name}: ${message}`);
  };
  verifySignature(g, fail);
  for (const p of g.params) checkSymbols(p.type, outer, (m) => fail(`parameter %${paramName(p)}: ${m}`));
  const params = new Set(g.params);
  let names: ReadonlyMap<Value, string> | undefined;
  const nodes = nodesOf(g, fail);
  const given = new Set([...outer.given, ...g.params.flatMap((p) => countName(p) ?? [])]);
  for (const node of nodes) for (const s of definedSymbols(node)) given.add(s.name);
  const scope: Scope = { symbols: outer.symbols, given };
  for (const node of nodes) {
    const failNode: Fail = (message) => {
      names ??= valueNames(g);
      fail(`${message}\n  ${printNode(node, names, { elide: 8 })}`);
    };
    const outside = node.operands.find((v) => v.def.op === "param" && !params.has(v));
    if (outside !== undefined) failNode(`operand %${paramName(outside)} is a parameter of another graph`);
    verifyNode(node, failNode);
    for (const r of node.results) checkSymbols(r.type, scope, failNode);
    for (const a of Object.values(node.attrs as Attrs)) verifyAttr(a, scope, failNode);
    for (const region of node.regions) verify(region, scope);
  }
}

type Fail = (message: string) => never;

function verifySignature(g: Graph, fail: Fail): void {
  for (const p of g.params) if (p.def.op !== "param") fail(`a parameter is a result of ${p.def.op}`);
  const duplicate = firstDuplicate(g.params.map(paramName));
  if (duplicate !== undefined) fail(`two parameters are called ${duplicate}`);
  if (g.results.length !== g.resultNames.length) fail(`${g.results.length} results, ${g.resultNames.length} names`);
  const twice = firstDuplicate(g.resultNames);
  if (twice !== undefined) fail(`two results are called ${twice}`);
  for (const r of g.results) {
    if (r.def.op === "param" && !g.params.includes(r)) fail(`result %${r.def.name} is a parameter of another graph`);
  }
  const taken = [...(g.donations?.values() ?? [])];
  if (new Set(taken).size !== taken.length) fail("a parameter is donated twice");
  for (const [r, p] of g.donations ?? []) {
    const result = g.results[r];
    const from = g.params[p];
    if (result === undefined || from === undefined) fail(`donation ${r} <- ${p} is out of range`);
    if (!sameType(result.type, from.type)) {
      fail(`%${paramName(from)}: ${typeText(from.type)} is donated to ${g.resultNames[r]}: ${typeText(result.type)}`);
    }
  }
}

function firstDuplicate(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((n) => seen.has(n) || !seen.add(n));
}

function nodesOf(g: Graph, fail: Fail): GraphNode[] {
  try {
    return graphNodes(g);
  } catch (error) {
    if (error instanceof InternalError) return fail(error.message);
    throw error;
  }
}

function verifyNode(node: GraphNode, fail: Fail): void {
  if (!isOpName(node.op)) fail(`no op is called ${(node as { op: string }).op}`);
  node.results.forEach((r, i) => {
    if (r.def !== node || r.index !== i) fail(`result ${i} does not belong to its node`);
  });
  for (const v of node.operands) {
    if (v.def.op !== "param" && v.def.results[v.index] !== v) fail(`an operand is no result of its ${v.def.op}`);
  }
  const facts = opOf(node);
  for (const [name, value] of Object.entries(node.attrs as Attrs)) {
    if (value !== undefined && !Object.hasOwn(facts.attrs ?? {}, name)) fail(`${node.op} has no attribute ${name}`);
  }
  let types: readonly TensorType[];
  try {
    checkCount(facts, node.operands.length);
    types = inferTypes(facts, node.operands, node.attrs as Attrs, node.regions);
  } catch (error) {
    if (error instanceof ModelError) fail(error.message);
    throw error;
  }
  if (types.length !== node.results.length) fail(`${types.length} results are inferred`);
  types.forEach((t, i) => {
    const actual = node.results[i]!.type;
    if (!sameType(t, actual)) fail(`result ${i} is ${typeText(actual)}, but ${typeText(t)} is inferred`);
  });
}

function verifyAttr(a: Attr, scope: Scope, fail: Fail): void {
  if (Array.isArray(a)) for (const item of a as readonly Attr[]) verifyAttr(item, scope, fail);
  else if (typeof a === "object" && "kind" in a) checkSymbols({ dtype: "i64", shape: [a] }, scope, fail);
  else if (typeof a === "object") verifyTensor(a as Tensor, fail);
}

function verifyTensor(t: Tensor, fail: Fail): void {
  const info = dtypeInfo[t.dtype];
  if (!(t.data instanceof info.array)) fail(`a ${t.dtype} constant is held in ${t.data.constructor.name}`);
  if (t.data.length !== elementCount(t.shape)) fail(`a constant [${t.shape}] has ${t.data.length} elements`);
}

function checkSymbols(t: TensorType, scope: Scope, fail: Fail): void {
  for (const d of t.shape)
    if (typeof d !== "number") for (const s of dimSymbols(d).values()) checkSymbol(s, scope, fail);
}

function checkSymbol(s: DimSymbol, scope: Scope, fail: Fail): void {
  const known = scope.symbols.get(s.name);
  if (known === s) return;
  if (known === undefined) {
    scope.symbols.set(s.name, s);
    if (!scope.given.has(s.name)) fail(`no parameter's shape gives the size ${s.name}, and no node finds it`);
    if (s.bound !== undefined) checkSymbols({ dtype: "i64", shape: [s.bound] }, scope, fail);
    return;
  }
  const sameBound =
    known.bound === undefined ? s.bound === undefined : s.bound !== undefined && dimEqual(known.bound, s.bound);
  if (known.min !== s.min || known.max !== s.max || !sameBound) fail(`size ${s.name} has two meanings`);
}
