/**
 * Kernels of a group of reductions.
 *
 *   for each kept index:                                  (chunks)
 *     for each stage:  for each reduced index:  acc = acc ∘ operand
 *     for each reduced index:  store the full-sized results
 *
 * Where memory runs along a kept axis instead (sums over leading axes), a tile of that axis takes the place of the kept index,
 * and each register becomes an array (reduce-columns.ts). Few results of much data come about in two steps (reduce-split.ts).
 */

import type { Value } from "../../../ir/graph.js";
import type { LowerContext } from "../core/context.js";
import type { GroupOutput, Leaf } from "../core/point.js";
import { emitColumns } from "./reduce-columns.js";
import { analyseReductions, runsAlongColumns } from "./reduce-group.js";
import { emitRows } from "./reduce-rows.js";
import { emitSplit, type FollowingGroup, splitFactor } from "./reduce-split.js";

/**
 * Adds the kernels of a group with reductions, and gives the groups that are still to be lowered after them. Undefined, and nothing
 * added, where the group is not of a form they can compute.
 */
export function lowerReduceGroup(
  ctx: LowerContext,
  name: string,
  outputs: readonly GroupOutput[],
  leaf: (v: Value) => Leaf | undefined,
  loc: string | undefined,
  options: { readonly split: boolean } = { split: true },
): readonly FollowingGroup[] | undefined {
  const group = analyseReductions(name, outputs, leaf, loc);
  if (group === undefined) return undefined;
  const columns = runsAlongColumns(group);
  const split = options.split ? splitFactor(group, columns) : undefined;
  if (split !== undefined) return emitSplit(ctx, group, split, outputs, leaf);
  if (columns) emitColumns(ctx, group);
  else emitRows(ctx, group);
  return [];
}
