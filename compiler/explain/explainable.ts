/** Graphs that explain what a model saw: the model with the gradient of one of its scores, and with values from within. */

import { asType, np, rankOf, shapeOf, sum } from "../../ir/build.js";
import { isFloat } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import {
  type Graph,
  graph,
  param,
  paramName,
  sameShape,
  topologicalOrder,
  typeText,
  type Value,
} from "../../ir/graph.js";
import { copyGraph } from "../../ir/graph-rebuild.js";
import { normalizeAxis } from "../../ir/infer.js";
import { type AttentionAttrs, attentionWeights } from "../../ir/ops/attention.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { aString, type Checks, checked } from "../options.js";

export interface ExplainableOptions {
  /** The input whose elements are explained. Default: the first of floats; a model that has none (as those of texts) has no gradients. */
  readonly input?: string;
  /** The output that holds scores of classes, along its last axis that is not 1. Default: the first of floats. */
  readonly output?: string;
  /** The output that Grad-CAM weighs: [batch, channels, height, width] of some layer. Default: what the last convolution gives, after its
   * activation. */
  readonly layer?: string;
}

const checks: Checks<ExplainableOptions> = { input: aString, output: aString, layer: aString };

/** A graph for `Explainer`: compile `graph`, and load it. */
export interface Explainable {
  readonly graph: Graph;
  /** The input that is explained, in f32 whatever the model computes in; undefined where the model has none of floats. */
  readonly input: string | undefined;
  /** Where the channels of the layer that Grad-CAM weighs lie; undefined where there is none. */
  readonly channels: "first" | "last" | undefined;
  /** How many attention maps it gives. */
  readonly attentions: number;
}

/** Names of what the graph takes and gives beside the model's own inputs. */
export const names = {
  target: "explain.target",
  scores: "explain.scores",
  gradient: "explain.gradient",
  layer: "explain.layer",
  layerGradient: "explain.layerGradient",
  attention: (i: number) => `explain.attention.${i}`,
} as const;

/**
 * The model with what explains it: scores before a softmax at the end (which saturates, so that gradients behind it vanish), the
 * gradient of their product with `target`, the layer that Grad-CAM weighs and its gradient, and weights of attention.
 *
 * @throws ModelError where there is no such input or output, or what leads from one to the other has no gradient
 */
export function explainable(g: Graph, options: ExplainableOptions = {}): Explainable {
  const { input, output, layer } = checked("explainable", options, checks);
  const given = g.params.map((p) => [paramName(p), p] as const);
  const hasNone = input === undefined && !g.params.some((p) => isFloat(p.type.dtype));
  const at = hasNone ? -1 : indexOf("input", given, input);
  const inputs = given.map(([name, p], i) => param(name, i === at ? { dtype: "f32", shape: p.type.shape } : p.type));
  const x = inputs[at];
  const { results, sizes = [] } = copyGraph(
    g,
    inputs.map((p, i) => (p === x ? asType(p, g.params[i]!.type.dtype) : p)),
  );
  const named = results.map((r, i) => [g.resultNames[i]!, r] as const);
  const scores = beforeSoftmax(results[indexOf("output", named, output)]!);
  if (rankOf(scores) === 0)
    throw new ModelError({ message: `scores of classes have an axis, but they are ${typeText(scores.type)}` });
  const target = param(names.target, { dtype: "f32", shape: shapeOf(scores) });
  const score = sum(np.mul(asType(scores, "f32"), target));
  const inner = topologicalOrder([scores]);
  const weighed: Layer | undefined =
    layer === undefined
      ? lastConvolution(inner)
      : { value: results[indexOf("output", named, layer)]!, channels: "first" };
  const attentions = inner.flatMap(attentionOf).filter((v) => v !== scores);
  const sources = [
    ...(x ? [[names.gradient, x] as const] : []),
    ...(weighed ? [[names.layerGradient, weighed.value] as const] : []),
  ];
  const found = gradients(
    score,
    sources.map(([, v]) => v),
  );
  const outputs: (readonly [string, Value])[] = [
    [names.scores, scores],
    ...sources.map(([name], i) => [name, found[i]!] as const),
    ...(weighed ? [[names.layer, weighed.value] as const] : []),
    ...attentions.map((v, i) => [names.attention(i), v] as const),
  ];
  return {
    graph: graph(
      g.name,
      [...inputs, target],
      outputs.map(([, v]) => asType(v, "f32")),
      outputs.map(([name]) => name),
      undefined,
      sizes,
    ),
    input: x && paramName(x),
    channels: weighed?.channels,
    attentions: attentions.length,
  };
}

/** Of the value of this name, or of the first float. */
function indexOf(kind: "input" | "output", all: readonly (readonly [string, Value])[], name?: string): number {
  const found = all.findIndex(([n, v]) => (name === undefined ? isFloat(v.type.dtype) : n === name));
  const value = all[found]?.[1];
  if (value && isFloat(value.type.dtype)) return found;
  const wanted = name === undefined ? "of floats" : JSON.stringify(name);
  throw new ModelError({
    where: `option ${kind}`,
    message: value ? `${JSON.stringify(name)} is ${typeText(value.type)}, not of floats` : `no ${kind} ${wanted}`,
    hint: `there are: ${all.map(([n, v]) => `${n}: ${typeText(v.type)}`).join(", ")}`,
  });
}

/** What keeps elements and their order, or is one of them. */
const movesNothing = new Set<string>(["reshape", "cast", "flatten"]);

/** What a softmax at the end is computed from. */
function beforeSoftmax(output: Value): Value {
  for (let v = output; v.def.op !== "param"; v = v.def.operands[0]!) {
    if (v.def.op === "softmax" || v.def.op === "logSoftmax") return v.def.operands[0]!;
    if (!movesNothing.has(v.def.op)) return output;
  }
  return output;
}

type Node = ReturnType<typeof topologicalOrder>[number];

interface Layer {
  readonly value: Value;
  readonly channels: "first" | "last";
}

/** What the last convolution over two axes gives, with what follows it element by element: bias, normalisation, shortcut, activation. */
function lastConvolution(nodes: readonly Node[]): Layer | undefined {
  const conv = nodes.findLast((node) => node.op === "conv" && rankOf(node.results[0]!) === 4);
  if (conv?.op !== "conv") return undefined;
  let value = conv.results[0]!;
  for (;;) {
    const users = nodes.filter((node) => node.operands.includes(value));
    const [next] = users;
    const after = next?.results[0];
    if (users.length !== 1 || next!.op === "conv" || !after || !sameShape(after.type.shape, value.type.shape)) break;
    if (movesElements.has(next!.op)) break;
    value = after;
  }
  return { value, channels: conv.attrs.layout === "channelsLast" ? "last" : "first" };
}

/** What may keep a shape though an element is computed from others of its place. */
const movesElements = new Set<string>(["softmax", "logSoftmax", "transpose", "reverse", "maxPool", "averagePool"]);

/** Weights of attention: softmax over the keys of each query. */
function attentionOf(node: Node): readonly Value[] {
  if (node.op === "attention") {
    const [query, key, , mask] = node.operands;
    return [attentionWeights(query!, key!, mask, node.attrs as AttentionAttrs)];
  }
  const [y] = node.results;
  const isOne =
    node.op === "softmax" && rankOf(y!) >= 3 && normalizeAxis(node.attrs.axis, rankOf(y!)) === rankOf(y!) - 1;
  return isOne ? [y!] : [];
}
