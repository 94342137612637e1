/**
 * Patterns over values, and rules that rewrite what they match.
 *
 *     // transpose(transpose(x, p), q) → transpose(x, p∘q)
 *     rule("transpose-of-transpose", op("transpose", [op("transpose", [any("x")], "p")], "q"),
 *       ({ x, p, q }) => transpose([x], { perm: q.attrs.perm.map((i) => p.attrs.perm[i]!) }))
 *
 * The bindings are typed by the pattern: `any("x")` binds a Value, `op(…, "p")` the node with its attributes, `splat("c")` a
 * scalar. A name that stands twice must match one value twice. Commutative ops keep constants on the right (rule
 * `constant-right` of canonicalize), so patterns look for them there only.
 */

import type { GraphNode, Value } from "../ir/graph.js";
import type { OpName } from "../ir/ops/index.js";
import { element, type Tensor } from "../ir/tensor.js";

type Bindings = Map<string, unknown>;

/** Matches values; `B` is what it binds. */
export interface Pattern<B> {
  readonly match: (v: Value, into: Bindings) => boolean;
  /** Carries the type only. */
  readonly bound?: B;
}

/** Matches results of nodes of certain ops. */
export interface NodePattern<B> extends Pattern<B> {
  readonly ops: readonly OpName[];
  readonly matchNode: (node: GraphNode, into: Bindings) => boolean;
}

export type NodeNamed<N extends OpName> = Extract<GraphNode, { readonly op: N }>;

type BoundBy<P> = P extends Pattern<infer B> ? B : never;
type Merged<P extends readonly Pattern<unknown>[]> = P extends readonly [
  infer Head,
  ...infer Tail extends readonly Pattern<unknown>[],
]
  ? BoundBy<Head> & Merged<Tail>
  : unknown;

function bind(into: Bindings, name: string | undefined, what: unknown): boolean {
  if (name === undefined) return true;
  if (into.has(name)) return into.get(name) === what;
  into.set(name, what);
  return true;
}

/** Any value; with a predicate, only those that fulfil it. */
export function any<K extends string = never>(
  name?: K,
  predicate: (v: Value) => boolean = () => true,
): Pattern<{ readonly [k in K]: Value }> {
  return { match: (v, into) => predicate(v) && bind(into, name, v) };
}

/** The first result of an op (of one of several ops) whose operands match. Binds the node. */
export function op<const N extends OpName, const P extends readonly Pattern<unknown>[], K extends string = never>(
  names: N | readonly N[],
  operands: P,
  name?: K,
): NodePattern<Merged<P> & { readonly [k in K]: NodeNamed<N> }> {
  return nodePattern(names, name, (n, into) => {
    return n.operands.length === operands.length && operands.every((p, i) => p.match(n.operands[i]!, into));
  });
}

/** The first result of an op, whatever its operands. */
export function node<const N extends OpName, K extends string = never>(
  names: N | readonly N[],
  name?: K,
): NodePattern<{ readonly [k in K]: NodeNamed<N> }> {
  return nodePattern(names, name, () => true);
}

function nodePattern<B>(
  names: OpName | readonly OpName[],
  name: string | undefined,
  operands: (n: GraphNode, into: Bindings) => boolean,
): NodePattern<B> {
  const list: readonly OpName[] = typeof names === "string" ? [names] : names;
  const matchNode = (n: GraphNode, into: Bindings) => list.includes(n.op) && operands(n, into) && bind(into, name, n);
  return {
    ops: list,
    matchNode,
    match: (v, into) => v.def.op !== "param" && v.index === 0 && matchNode(v.def, into),
  };
}

/** A tensor whose elements are all one value. */
export interface Splat {
  /** The element as a double. */
  readonly value: number;
  /** The element as a rank-0 tensor. */
  readonly tensor: Tensor;
}

/** A constant whose elements are all equal, directly or spread, reshaped or moved. With `want`, of that value (−0 is not 0). */
export function splat<K extends string = never>(name?: K, want?: number): Pattern<{ readonly [k in K]: Splat }> {
  return {
    match: (v, into) => {
      const found = splatOf(v);
      return found !== undefined && (want === undefined || Object.is(found.value, want)) && bind(into, name, found);
    },
  };
}

const uniform = new WeakMap<Tensor, Splat | null>();

/** The one element of a value that is a splat. */
export function splatOf(v: Value): Splat | undefined {
  for (let at = v; ; ) {
    const { def } = at;
    switch (def.op) {
      case "constant":
        return splatOfTensor(def.attrs.value);
      case "broadcast":
      case "reshape":
      case "transpose":
      case "slice":
        at = def.operands[0]!;
        continue;
      default:
        return undefined;
    }
  }
}

function splatOfTensor(t: Tensor): Splat | undefined {
  let found = uniform.get(t);
  if (found === undefined) {
    const { data } = t;
    let same = data.length > 0;
    // Object.is tells −0 from 0 and takes NaN for NaN.
    for (let i = 1; same && i < data.length; i++) same = Object.is(data[i], data[0]);
    const tensor: Tensor = { dtype: t.dtype, shape: [], data: data.slice(0, 1) };
    found = same ? { value: element(tensor, 0), tensor } : null;
    uniform.set(t, found);
  }
  return found ?? undefined;
}

/** A named rewrite of the nodes of some ops. */
export interface Rule {
  readonly name: string;
  readonly ops: readonly OpName[];
  /** Values for the node's results, or undefined where the rule does not apply. */
  readonly apply: (n: GraphNode) => Value | readonly Value[] | undefined;
}

/**
 * A rule: where the pattern matches a node, `build` makes its replacement, of the same type; undefined leaves the node. A
 * replacement may not be worse than what it replaces even if the matched inner values have other uses.
 */
export function rule<B>(
  name: string,
  pattern: NodePattern<B>,
  build: (bound: B, root: GraphNode) => Value | readonly Value[] | undefined,
): Rule {
  return {
    name,
    ops: pattern.ops,
    apply: (n) => {
      const into: Bindings = new Map();
      // The pattern has bound exactly the names in B.
      return pattern.matchNode(n, into) ? build(Object.fromEntries(into) as B, n) : undefined;
    },
  };
}
