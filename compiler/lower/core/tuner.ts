/** What may decide among the kernels that serve a node, where it knows more than their estimated costs. */

import { type GraphNode, typeText } from "../../../ir/graph.js";
import { attrsText } from "../../../ir/graph-print.js";
import type { Tile } from "../../kernels/choose-tile.js";
import type { LowerContext } from "./context.js";

/** A kernel that computes a node, in one of its tiles. */
export interface Candidate {
  /** Op and name of its row: `conv/winograd`. */
  readonly kernel: string;
  readonly tile?: Tile;
}

export interface Tuner {
  /**
   * The one of the candidates that is to compute the nodes of a kind, by its index. The first is what is taken without a tuner.
   * @param kind what `kindOf` says of the node
   */
  choose(kind: string, candidates: readonly Candidate[]): number;
}

/**
 * What decides the code and the speed of a node's kernels: its op, the types of its operands and results, which operands are the same in every
 * run or round, and its attributes. Equal for equal layers of any model.
 */
export function kindOf(ctx: LowerContext, { op, operands, results, attrs }: GraphNode): string {
  const inputs = operands.map((v) => {
    const fixed = v.def.op === "constant" ? "constant " : ctx.isKept(v) || ctx.isCaptured(v) ? "kept " : "";
    return `${fixed}${typeText(v.type)}`;
  });
  return `${op}(${inputs.join(", ")}) -> ${results.map((r) => typeText(r.type)).join(", ")}${attrsText(attrs)}`;
}
