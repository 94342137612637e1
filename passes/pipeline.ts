/** Runs passes in order, verifies what they make, and tells hooks what happened. */

import { ModelError, VerifyError } from "../ir/errors.js";
import { type Graph, graphNodes, type TensorType, typeText } from "../ir/graph.js";
import { printGraph } from "../ir/graph-print.js";
import { verifyGraph } from "../ir/graph-verify.js";
import { canonicalizeNans } from "./graph/canonicalize-nans.js";
import { decompose } from "./graph/decompose.js";
import { eliminateCommonSubexpressions } from "./graph/eliminate-common-subexpressions.js";
import { eliminateDeadCode } from "./graph/eliminate-dead-code.js";
import { foldConstants } from "./graph/fold-constants.js";
import { foldScales } from "./graph/fold-scales.js";
import { fuse } from "./graph/fuse.js";
import { hoistInvariants } from "./graph/hoist-invariants.js";
import { layout } from "./graph/layout.js";
import { mergeScans } from "./graph/merge-scans.js";
import { narrowProducts } from "./graph/narrow-products.js";
import { recognize } from "./graph/recognize.js";
import { shareTransposes } from "./graph/share-transposes.js";
import { simplify } from "./graph/simplify.js";
import { sparseUpdates } from "./graph/sparse-updates.js";
import { streamWeights } from "./graph/stream-weights.js";
import { tabulate } from "./graph/tabulate.js";
import { tileAttention } from "./graph/tile-attention.js";
import { unwrapPools } from "./graph/unwrap-pools.js";
import type { KernelFacts } from "./kernels.js";
import type { GraphPass, Trace } from "./pass.js";

/** What every graph goes through before it is lowered to these kernels. A pass that stands here again says why. */
export const pipelineFor = (kernels: KernelFacts): readonly GraphPass[] => [
  // Before anything else, as it looks for loops that are equal but for their results.
  mergeScans,
  // Before transposes of constants are folded into constants again.
  shareTransposes,
  simplify,
  foldConstants(),
  // Composites are recognised by the identity of shared operands.
  eliminateCommonSubexpressions,
  recognize,
  tileAttention,
  streamWeights,
  decompose(kernels),
  // Decompositions compute the same things side by side: sizes, masks, the parts of a gate.
  eliminateCommonSubexpressions,
  // Recurrent layers are scans now.
  mergeScans,
  // They also leave axes of size 1, dropped dims and neutral factors that are nothing here but something in general.
  simplify,
  sparseUpdates,
  layout,
  // Weights whose axes `layout` changed are stored as they are read, and are single constants again for `fold-scales`.
  foldConstants(),
  foldScales,
  // Reshapes and transposes that layout and scales left beside products merge with them.
  simplify,
  narrowProducts,
  // Sums of zero points, now outside of integer products, associate with biases.
  simplify,
  // What those sums make of weights is constant.
  foldConstants(),
  tabulate,
  hoistInvariants,
  // Layout, scales and hoisting made equal nodes: transposes of one value for several readers, what several loops share.
  eliminateCommonSubexpressions,
  eliminateDeadCode,
  // Transposes that could cancel have, and readers are known.
  unwrapPools,
  canonicalizeNans,
  fuse(kernels),
];

/** What one pass did. */
export interface PassEvent {
  readonly pass: string;
  /** Position in the pipeline, from 0. */
  readonly index: number;
  readonly before: Graph;
  readonly after: Graph;
  readonly changed: boolean;
  readonly milliseconds: number;
  /** How often each rule fired, in order of first firing. */
  readonly rules: ReadonlyMap<string, number>;
}

/** A pass that threw, or broke the graph. */
export interface PassFailure {
  readonly pass: string;
  readonly index: number;
  readonly before: Graph;
  /** What the pass made, when it is the verifier that failed. */
  readonly after: Graph | undefined;
  readonly error: unknown;
  /** A `.graph` file that reproduces the failure: the graph before the pass under its `// RUN:` line. */
  readonly repro: string;
}

/** Told the graph before the first pass ("input") and after each pass that changed it. */
export type TraceGraph = (name: string, g: Graph) => void;

export interface PipelineOptions {
  /** Verify the graph before the first and after every pass. Default false. */
  readonly verify?: boolean;
  readonly onGraph?: TraceGraph;
  readonly onPass?: (event: PassEvent) => void;
  readonly onFailure?: (failure: PassFailure) => void;
  readonly trace?: Trace;
}

/**
 * Runs the passes. Throws VerifyError naming the pass that broke the graph; ModelErrors of passes go through as they are, other
 * errors too, after `onFailure` has been told.
 */
export function runPipeline(passes: readonly GraphPass[], input: Graph, options: PipelineOptions = {}): Graph {
  const { verify = false, onGraph, onPass, onFailure, trace } = options;
  let g = input;
  if (verify) verifyGraph(g);
  onGraph?.("input", g);
  passes.forEach((pass, index) => {
    const before = g;
    const rules = new Map<string, number>();
    const counting: Trace = {
      ...trace,
      fired: (rule, node) => {
        rules.set(rule, (rules.get(rule) ?? 0) + 1);
        trace?.fired?.(rule, node);
      },
    };
    const start = performance.now();
    let after: Graph | undefined;
    try {
      after = pass.run(before, counting);
      if (verify && after !== before) verifyAfter(pass.name, before, after);
    } catch (error) {
      if (!(error instanceof ModelError)) {
        onFailure?.({ pass: pass.name, index, before, after, error, repro: reproOf(pass.name, before) });
      }
      throw error;
    }
    const milliseconds = performance.now() - start;
    if (after !== before) onGraph?.(pass.name, after);
    onPass?.({ pass: pass.name, index, before, after, changed: after !== before, milliseconds, rules });
    g = after;
  });
  return g;
}

function verifyAfter(pass: string, before: Graph, after: Graph): void {
  try {
    verifyGraph(after);
    verifyResults(before, after);
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    throw new VerifyError(`pass ${pass} broke the graph: ${error.message}`, { cause: error });
  }
}

/** Passes keep what a graph gives: as many results of the same dtypes and ranks, and sizes that are numbers. Others may become known. */
function verifyResults(before: Graph, after: Graph): void {
  const isKept = ({ dtype, shape }: TensorType, now: TensorType | undefined): boolean =>
    now?.dtype === dtype &&
    now.shape.length === shape.length &&
    shape.every((d, axis) => typeof d !== "number" || d === now.shape[axis]);
  before.results.forEach(({ type }, i) => {
    const now = after.results[i]?.type;
    if (isKept(type, now)) return;
    const name = before.resultNames[i];
    throw new VerifyError(`result ${name} was ${typeText(type)} and is ${now ? typeText(now) : "gone"}`);
  });
}

/** A golden test that runs the pass on the graph. */
export const reproOf = (pass: string, g: Graph): string => `// RUN: ${pass}\n${printGraph(g)}`;

/** One line on a pass: name, nodes before and after, time, rules. */
export function passSummary(e: PassEvent): string {
  const rules = [...e.rules].map(([name, count]) => `${name} ×${count}`).join(", ");
  const size = `${graphNodes(e.before).length} → ${graphNodes(e.after).length} nodes`;
  return `${e.pass}: ${e.changed ? size : "no change"}, ${e.milliseconds.toFixed(1)} ms${rules && `; ${rules}`}`;
}
