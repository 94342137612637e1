/**
 * Everything that can run a graph and must give what the reference gives. Each variant of the compiler adds itself here; the
 * op suite, and whoever else compares with the reference, goes through the list.
 */

import type { Graph } from "../../ir/graph.js";
import type { Tensor } from "../../ir/tensor.js";

export interface Executor {
  readonly name: string;
  /** Results of the graph. Throws where it cannot run it. */
  readonly run: (g: Graph, feeds: readonly Tensor[]) => Promise<readonly Tensor[]>;
}

export const executors: readonly Executor[] = [];
