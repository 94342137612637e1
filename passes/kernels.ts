/** What passes ask of the kernels that a graph is lowered to. Their registry answers (compiler/lower/registry.ts). */

import type { GraphNode } from "../ir/graph.js";

export interface KernelFacts {
  /** Whether a kernel computes the node as it is: then a composite needs no decomposition. */
  readonly serves: (node: GraphNode) => boolean;
  /** Whether kernels of the op take an epilogue: what follows element by element is computed before a sum is stored. */
  readonly takesEpilogue: (op: string) => boolean;
}
