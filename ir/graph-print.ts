/**
 * Text of a graph; `parseGraph` reads it back to an equal graph. The grammar is in docs/IR.md.
 *
 *     dim n in 1..64
 *     graph @mlp(%x: f32[n,3], %w: f32[3]) -> (y: f32[n,3]) {
 *       %0: f32[n,3] = broadcast %w {shape=[n,3], axes=[1]} loc "layer1"
 *       %1: f32[n,3] = mul %x, %0
 *       return %1
 *     }
 */

import { type Dim, type DimSymbol, dimSymbols, dimText } from "./dim.js";
import {
  type Attr,
  type Attrs,
  type Graph,
  type GraphNode,
  graphNodes,
  graphSymbols,
  paramName,
  typeText,
  type Value,
} from "./graph.js";
import { elementTexts, hex, numberText } from "./literal.js";
import { bytesOf, type Tensor } from "./tensor.js";

export interface PrintOptions {
  /** Elements of a constant to show before it is cut short, for human eyes: the text then does not parse. Default: all. */
  readonly elide?: number;
  /** Print `loc "…"`. Default true. */
  readonly locs?: boolean;
}

export function printGraph(g: Graph, options: PrintOptions = {}): string {
  return `${symbolLines(g)}${graphText(g, options, "")}\n`;
}

/** One node as a line, its values numbered by `names`. */
export function printNode(node: GraphNode, names: ReadonlyMap<Value, string>, options: PrintOptions = {}): string {
  return nodeText(node, names, options, "");
}

/** How the printer calls each value of a graph: `%x` for parameters, `%0`, `%1` … for results of nodes. */
export function valueNames(g: Graph): Map<Value, string> {
  const names = new Map<Value, string>();
  for (const p of g.params) names.set(p, `%${nameText(paramName(p))}`);
  let next = 0;
  for (const node of graphNodes(g)) for (const r of node.results) names.set(r, `%${next++}`);
  return names;
}

/** An identifier as it is, other names quoted. */
export const nameText = (name: string): string => (/^[A-Za-z_][\w.]*$/.test(name) ? name : JSON.stringify(name));

function symbolLines(g: Graph): string {
  const lines: string[] = [];
  const done = new Set<string>();
  const visit = (s: DimSymbol): void => {
    if (done.has(s.name)) return;
    done.add(s.name);
    if (s.bound !== undefined) for (const inner of dimSymbols(s.bound).values()) visit(inner);
    const range = s.min === 1 && s.max === Infinity ? "" : ` in ${s.min}..${s.max === Infinity ? "" : s.max}`;
    lines.push(`dim ${s.name}${range}${s.bound === undefined ? "" : ` bound ${dimText(s.bound)}`}\n`);
  };
  for (const s of graphSymbols(g).values()) visit(s);
  return lines.join("");
}

function graphText(g: Graph, options: PrintOptions, indent: string): string {
  const names = valueNames(g);
  const params = g.params.map((p) => `${names.get(p)!}: ${typeText(p.type)}`).join(", ");
  const lines = graphNodes(g).map((n) => `${indent}  ${nodeText(n, names, options, `${indent}  `)}\n`);
  const returned = g.results.map((r) => names.get(r) ?? "%?").join(", ");
  const sizes = (g.sizes ?? []).map((r) => names.get(r) ?? "%?").join(", ");
  return (
    `${indent}graph @${nameText(g.name)}(${params}) -> ${resultsText(g)}${donationsText(g)} {\n` +
    `${lines.join("")}${indent}  return${returned && ` ${returned}`}${sizes && ` sizes ${sizes}`}\n${indent}}`
  );
}

function resultsText(g: Graph): string {
  const types = g.results.map((r, i) => {
    const name = g.resultNames[i]!;
    return name === `out${i}` ? typeText(r.type) : `${nameText(name)}: ${typeText(r.type)}`;
  });
  return types.length === 1 && g.resultNames[0] === "out0" ? types[0]! : `(${types.join(", ")})`;
}

function donationsText(g: Graph): string {
  if (g.donations === undefined) return "";
  const pairs = [...g.donations].map(
    ([r, p]) => `${nameText(g.resultNames[r]!)} <- %${nameText(paramName(g.params[p]!))}`,
  );
  return ` donates (${pairs.join(", ")})`;
}

function nodeText(node: GraphNode, names: ReadonlyMap<Value, string>, options: PrintOptions, indent: string): string {
  const results = node.results.map((r) => `${names.get(r) ?? "%?"}: ${typeText(r.type)}`).join(", ");
  const operands = node.operands.map((v) => names.get(v) ?? "%?").join(", ");
  const loc = node.loc === undefined || options.locs === false ? "" : ` loc ${JSON.stringify(node.loc)}`;
  const regions = node.regions.map((r) => `\n${graphText(r, options, `${indent}  `)}`).join("");
  return `${results} = ${node.op}${operands && ` ${operands}`}${attrsText(node.attrs, options)}${loc}${regions}`;
}

/** ` {name=value, …}`, or nothing where there are none. */
export function attrsText(attrs: object, options: PrintOptions = {}): string {
  const text = Object.entries(attrs as Attrs)
    .filter(([, v]) => v !== undefined)
    .map(([k, v]) => `${k}=${attrText(v, options)}`)
    .join(", ");
  return text && ` {${text}}`;
}

// A size called like a word of the grammar is set in parentheses.
const words = new Set(["true", "false", "inf", "nan"]);

function attrText(a: Attr, options: PrintOptions): string {
  if (typeof a === "number") return numberText(a);
  if (typeof a === "boolean") return String(a);
  if (typeof a === "string") return JSON.stringify(a);
  if (Array.isArray(a)) return `[${(a as readonly Attr[]).map((x) => attrText(x, options)).join(",")}]`;
  const object = a as Exclude<Dim, number> | Tensor;
  if ("kind" in object) return words.has(object.key) ? `(${object.key})` : object.key;
  return tensorText(object, options);
}

/** `f32[2,3](1,2,3,4,5,6)`, `f32[64](all 0)`, or the bytes in hexadecimal when there are many: `f32[999](hex "0000803f…")`. */
export function tensorText(t: Tensor, { elide = Infinity }: PrintOptions = {}): string {
  const type = `${t.dtype}[${t.shape.join(",")}]`;
  const n = t.data.length;
  if (n > 1 && allEqual(t)) return `${type}(all ${elementTexts({ ...t, shape: [1], data: t.data.slice(0, 1) })[0]!})`;
  if (n > elide) {
    const first = elementTexts({ ...t, shape: [elide], data: t.data.slice(0, elide) });
    return `${type}(${[...first, `… ${n - elide} more`].join(",")})`;
  }
  return n > 256 ? `${type}(hex "${hex(bytesOf(t))}")` : `${type}(${elementTexts(t).join(",")})`;
}

function allEqual(t: Tensor): boolean {
  const bytes = bytesOf(t);
  const width = t.data.BYTES_PER_ELEMENT;
  for (let i = width; i < bytes.length; i++) if (bytes[i] !== bytes[i - width]) return false;
  return true;
}
