/**
 * Computes at compile time what depends on constants only, by the reference evaluator.
 *
 * A value is computed where something that is not constant needs it. `broadcast` and `iota` stay as they are: they are smaller than
 * what they make, and kernels read them in place. What would take more bytes than the constants that it is made of stays too, such as
 * weights that are dequantised, but for small tensors: files stay as small as the model's, and the module computes it once
 * (compiler/plan/prepare.ts). Operands of integer products are made whatever they take: `narrow-products` needs their values, to store
 * them narrower again. So does what takes long to compute, beyond a budget of work.
 */

import { dtypeInfo, isInt } from "../../ir/dtype.js";
import { ModelError } from "../../ir/errors.js";
import {
  type Attr,
  type Attrs,
  definedSymbols,
  type Graph,
  type GraphNode,
  graphNodes,
  graphSymbols,
  isStaticShape,
  type Value,
  withLoc,
} from "../../ir/graph.js";
import { mapGraph } from "../../ir/graph-rebuild.js";
import { isElementwise, isIndexOp, isReduce } from "../../ir/ops/classes.js";
import { constant } from "../../ir/ops/constant.js";
import { evaluateValues } from "../../ir/reference.js";
import { elementCount, type Tensor } from "../../ir/tensor.js";
import type { GraphPass } from "../pass.js";

export interface FoldBudget {
  /** Most bytes of a result that takes more than the constants it is computed from. Default 1,024. */
  readonly bytes?: number;
  /** Most elements to touch in the whole graph, an estimate of time. Default 2²². */
  readonly work?: number;
}

export function foldConstants({ bytes = 1 << 10, work = 1 << 22 }: FoldBudget = {}): GraphPass {
  return {
    name: "fold-constants",
    run: (g) => fold(g, bytes, { left: work }),
  };
}

/** Ops whose results are described by less than their elements. */
const compact: ReadonlySet<string> = new Set(["constant", "broadcast", "iota"]);

function fold(g: Graph, limit: number, work: { left: number }): Graph {
  const known = new Map<Value, Tensor>();
  const ofProducts = madeForProducts(g);
  const visit = (n: GraphNode): readonly Value[] | undefined => {
    if (n.op === "constant" || definedSymbols(n).length > 0) return undefined;
    if (
      compact.has(n.op) ||
      !n.operands.every(isKnown) ||
      dependsOnSizes(n) ||
      !affordable(n, ofProducts.has(n) ? Infinity : limit, work)
    )
      return undefined;
    const tensors = compute(n, known);
    return tensors && withLoc(n.loc, () => tensors.map((value) => constant([], { value })));
  };
  return mapGraph(g, visit, (r) => fold(r, limit, work));
}

/** Constants, and what stays of them in compact form. */
function isKnown(v: Value): boolean {
  if (v.def.op === "param" || !isStaticShape(v.type.shape)) return false;
  return compact.has(v.def.op) && v.def.operands.every(isKnown);
}

/** Nodes over constants that make the operands of integer products. */
function madeForProducts(g: Graph): ReadonlySet<GraphNode> {
  const nodes = graphNodes(g);
  const isMade = new Set<GraphNode>();
  for (const n of nodes) if (n.operands.every((v) => v.def.op !== "param" && isMade.has(v.def))) isMade.add(n);
  const found = new Set<GraphNode>();
  const visit = (v: Value): void => {
    if (v.def.op === "param" || found.has(v.def) || !isMade.has(v.def)) return;
    found.add(v.def);
    v.def.operands.forEach(visit);
  };
  for (const n of nodes)
    if ((n.op === "conv" || n.op === "dotGeneral") && isInt(n.operands[0]!.type.dtype)) n.operands.forEach(visit);
  return found;
}

/** Attributes or regions that name a symbol: its value is known at run time only. */
function dependsOnSizes(n: GraphNode): boolean {
  const symbolic = (a: Attr): boolean =>
    Array.isArray(a) ? (a as readonly Attr[]).some(symbolic) : typeof a === "object" && "kind" in a;
  return Object.values(n.attrs as Attrs).some(symbolic) || n.regions.some((r) => graphSymbols(r).size > 0);
}

const sizeOf = (v: Value): number => (isStaticShape(v.type.shape) ? elementCount(v.type.shape) : Infinity);

const bytesOf = (v: Value): number => sizeOf(v) * dtypeInfo[v.type.dtype].bytes;

/** Bytes that a known value takes in the module. */
function storedBytes(v: Value): number {
  if (v.def.op === "param") return 0;
  return v.def.op === "constant" ? bytesOf(v) : v.def.operands.reduce((n, o) => n + storedBytes(o), 0);
}

function affordable(n: GraphNode, limit: number, work: { left: number }): boolean {
  const made = n.results.reduce((sum, r) => sum + bytesOf(r), 0);
  const from = n.operands.reduce((sum, o) => sum + storedBytes(o), 0);
  if (made > limit && made > from) return false;
  const cost = costOf(
    n,
    n.results.reduce((sum, r) => sum + sizeOf(r), 0),
  );
  if (cost > work.left) return false;
  work.left -= cost;
  return true;
}

/** Elements touched, from above: structured ops read up to a whole operand for each result element. */
function costOf(n: GraphNode, made: number): number {
  // Moving data is cheap beside arithmetic, and weights must be constants for kernels to pack them when compiling.
  if (n.op === "reshape") return 0;
  if (n.op === "transpose") return made / 32;
  const read = n.operands.reduce((sum, o) => sum + sizeOf(o), 0);
  return linear(n.op) ? made + read : made * Math.max(1, ...n.operands.map(sizeOf));
}

const linear = (op: string): boolean =>
  isElementwise(op) || isIndexOp(op) || isReduce(op) || op === "concat" || op === "pad" || op === "updateSlice";

function compute(n: GraphNode, known: Map<Value, Tensor>): readonly Tensor[] | undefined {
  try {
    return evaluateValues(n.results, known, new Map());
  } catch (error) {
    // The op refuses these values (an index out of range): that is for the run to report, if it gets there.
    if (error instanceof ModelError) return undefined;
    throw error;
  }
}
