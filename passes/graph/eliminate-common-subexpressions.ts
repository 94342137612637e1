/**
 * Computes equal things once: of nodes with equal op, operands, attributes and regions the first stays. All ops are pure, so equal
 * nodes have equal results. Constants are compared bit for bit. Regions are graphs of their own and share nothing with outside.
 */

import { dimText } from "../../ir/dim.js";
import {
  type Attr,
  type Attrs,
  type Graph,
  type GraphNode,
  graphNodes,
  graphRoots,
  typeText,
  type Value,
} from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { numberText } from "../../ir/literal.js";
import { bytesOf, sameTensor, type Tensor } from "../../ir/tensor.js";
import type { GraphPass } from "../pass.js";

export const eliminateCommonSubexpressions: GraphPass = {
  name: "eliminate-common-subexpressions",
  run: (g) => eliminate(g),
};

function eliminate(g: Graph): Graph {
  const keys = new Keys();
  const first = new Map<string, readonly Value[]>();
  const visit = (n: GraphNode): readonly Value[] | undefined => {
    const key = keys.node(n);
    const values = first.get(key);
    if (values === undefined) first.set(key, n.results);
    return values;
  };
  return mapGraph(g, visit, eliminate);
}

/** Texts that are equal for what computes equal things, within one graph. */
export class Keys {
  readonly #ids = new Map<Value, number>();
  readonly #tensors: TensorTable;

  constructor(tensors: TensorTable = new TensorTable()) {
    this.#tensors = tensors;
  }

  #id(v: Value): number {
    const known = this.#ids.get(v) ?? this.#ids.size;
    this.#ids.set(v, known);
    return known;
  }

  /** A node but for its regions: op, operands and all attributes. */
  head(n: GraphNode): string {
    const attrs = Object.entries(n.attrs as Attrs)
      // The name of a weight says nothing about its value.
      .filter(([name, a]) => a !== undefined && !(n.op === "constant" && name === "name"))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, a]) => `${name}=${attrKey(a, this.#tensors)}`);
    return `${n.op}(${n.operands.map((v) => this.#id(v))}) ${attrs.join(" ")}`;
  }

  node(n: GraphNode): string {
    const regions = n.regions.map((r) => new Keys(this.#tensors).graph(r));
    return `${this.head(n)} ${regions.join(" ")}`;
  }

  graph(g: Graph): string {
    const params = g.params.map((p) => `${this.#id(p)}:${typeText(p.type)}`);
    const nodes = graphNodes(g).map((n) => `${this.node(n)} -> ${n.results.map((r) => this.#id(r))}`);
    return `{${params} | ${nodes.join("; ")} | ${graphRoots(g).map((r) => this.#id(r))}}`;
  }
}

function attrKey(a: Attr, tensors: TensorTable): string {
  if (typeof a === "number") return numberText(a);
  if (typeof a === "boolean") return String(a);
  if (typeof a === "string") return JSON.stringify(a);
  if (Array.isArray(a)) return `[${(a as readonly Attr[]).map((x) => attrKey(x, tensors)).join()}]`;
  const object = a as Exclude<Attr, number | boolean | string | readonly Attr[]>;
  return "kind" in object ? `(${dimText(object)})` : `#${tensors.id(object)}`;
}

/** Numbers equal tensors equally. */
class TensorTable {
  readonly #byHash = new Map<string, { readonly tensor: Tensor; readonly id: number }[]>();
  #next = 0;

  id(t: Tensor): number {
    const hash = `${t.dtype}[${t.shape}]${hashOf(bytesOf(t))}`;
    const bucket = this.#byHash.get(hash) ?? [];
    this.#byHash.set(hash, bucket);
    const known = bucket.find((e) => sameTensor(e.tensor, t));
    if (known !== undefined) return known.id;
    bucket.push({ tensor: t, id: this.#next });
    return this.#next++;
  }
}

// Some thousand bytes, spread over the data, tell weights apart.
function hashOf(bytes: Uint8Array): number {
  const step = Math.max(1, Math.floor(bytes.length / 4096));
  let h = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i += step) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return h >>> 0;
}
