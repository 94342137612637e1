/** What a pass is: a named function from graph to graph, and the trace it may keep. */

import type { Graph, GraphNode } from "../ir/graph.js";

/** Told what happens inside passes. */
export interface Trace {
  /** A rule has replaced the node. */
  readonly fired?: (rule: string, node: GraphNode) => void;
  /** Asked before each firing; false keeps the node as it is. `bisect` limits firings with it. */
  readonly mayFire?: (rule: string, node: GraphNode) => boolean;
}

export interface GraphPass {
  /** A verb, the file's name, as it stands in dumps and `// RUN:` lines. */
  readonly name: string;
  /** Results may differ in rounding from those of the graph as given. Other passes keep every bit. */
  readonly rounds?: boolean;
  /** The same function of its parameters as the graph given, with the same signature. Returns the graph itself where nothing changes. */
  readonly run: (g: Graph, trace?: Trace) => Graph;
}
