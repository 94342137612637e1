/** Op samples as graphs with seeded values: the corpus that every executor, pass and text form is tested on. */

import { type Attrs, type Graph, graph, param, type Value } from "../../ir/graph.js";
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

// So that samples of different ops draw different numbers.
function hash(name: string): number {
  let h = 0;
  for (const c of name) h = (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0;
  return h;
}
