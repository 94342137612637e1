/** Op samples as graphs with seeded values: the corpus that every executor, pass and text form is tested on. */

import { type Dim, dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Attrs, type Graph, graph, param, paramName, type Shape, type Value } from "../../ir/graph.js";
import { inline } from "../../ir/graph-rebuild.js";
import { makeNode, type OpFacts, type Sample } from "../../ir/op.js";
import { ops } from "../../ir/ops/index.js";
import type { Tensor } from "../../ir/tensor.js";
import { sampleTensor, seeded } from "../graph/random.js";

export interface DrawnSample {
  readonly op: OpFacts<string, Attrs>;
  readonly sample: Sample<Attrs>;
  readonly index: number;
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
}

export interface DrawOptions {
  /** Take f32 operands as f64, for finite differences. Samples with regions keep their types, which the regions fix. */
  readonly wide?: boolean;
}

/** The graph of one op over a sample's operands, and values for its parameters: the same on every call. */
export function drawSample(op: OpFacts<string, Attrs>, index: number, { wide = false }: DrawOptions = {}): DrawnSample {
  const sample = op.samples[index]!;
  const random = seeded(hash(op.name) + index);
  const feeds = sample.operands.map((o) =>
    sampleTensor(random, wide && !sample.regions && o.dtype === "f32" ? { ...o, dtype: "f64" } : o),
  );
  const params = feeds.map((t, i) => param(`x${i}`, { dtype: t.dtype, shape: t.shape }));
  return { op, sample, index, feeds, graph: graph(op.name, params, applyOp(op, sample, params)) };
}

export const applyOp = (
  op: OpFacts<string, Attrs>,
  sample: Sample<Attrs>,
  operands: readonly Value[],
): readonly Value[] => makeNode(op, operands, sample.attrs, sample.regions?.() ?? []).results;

/** All ops, by family order. */
export const allOps: readonly (readonly [string, OpFacts<string, Attrs>])[] = [...ops];

export function samplesOf(op: OpFacts<string, Attrs>, options: DrawOptions = {}): readonly DrawnSample[] {
  return op.samples.map((_, i) => drawSample(op, i, options));
}

/** The sample's graph with every size above 1 made symbolic, where inference accepts that. Equal sizes share a symbol. */
export function symbolicGraph({ op, sample }: DrawnSample): Graph | undefined {
  const open = (shape: readonly number[]): Shape => shape.map((d): Dim => (d < 2 ? d : dimSymbol(`s${d}`)));
  const params = sample.operands.map((o, i) => param(`x${i}`, { dtype: o.dtype, shape: open(o.shape) }));
  try {
    return graph(op.name, params, applyOp(op, sample, params));
  } catch (error) {
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}

/** Several graphs as one, so that they are compiled together. Results come in the order of the graphs. */
export function joinGraphs(name: string, parts: readonly Graph[]): Graph {
  const params = parts.flatMap((g, k) => g.params.map((p) => param(`${paramName(p)}_${k}`, p.type)));
  let at = 0;
  const results = parts.flatMap((g) => {
    at += g.params.length;
    return inline(g, params.slice(at - g.params.length, at));
  });
  return graph(name, params, results);
}

// So that samples of different ops draw different numbers.
function hash(name: string): number {
  let h = 0;
  for (const c of name) h = (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0;
  return h;
}
