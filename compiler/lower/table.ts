/**
 * How each primitive is lowered: fusible ops through `lowerGroup`, structured ops by a function of their own. The table is
 * total: a primitive without a row, or a row for anything else, is a type error.
 */

import { InternalError } from "../../ir/errors.js";
import type { GraphNode } from "../../ir/graph.js";
import type { ElementwiseName, IndexName, ReduceName } from "../../ir/ops/classes.js";
import { elementwiseNames, indexNames, reduceNames } from "../../ir/ops/classes.js";
import type { PrimitiveName } from "../../ir/ops/index.js";
import { lowerIf, lowerLoop, lowerScan } from "./control/control.js";
import type { LowerContext } from "./core/context.js";
import { lowerBindDim, lowerNonZero, lowerRange } from "./dynamic/dynamic.js";
import {
  lowerCheckIndices,
  lowerGather,
  lowerGatherElements,
  lowerGatherND,
  lowerScatterElements,
  lowerScatterND,
} from "./dynamic/indexing.js";
import { lowerNms } from "./dynamic/nms.js";
import { lowerUnique } from "./dynamic/unique.js";
import { lowerRandomBits } from "./elementwise/random.js";
import type { Node } from "./elementwise/structured.js";
import { lowerFusion } from "./fusion.js";
import { lowerTiledAttention, lowerTiledAttentionGrad } from "./product/attention.js";
import { lowerDot } from "./product/contraction.js";
import { lowerWeightProduct } from "./product/weights.js";
import { lowerArg, lowerCumulative, lowerSort, lowerTopK } from "./reduce/lines.js";
import { lowerConv } from "./window/conv.js";
import { lowerConvInputGrad, lowerConvWeightGrad } from "./window/conv-grad.js";
import { lowerMaxPool, lowerMaxPoolGrad, lowerWindowSum, lowerWindowSumGrad } from "./window/window.js";
import { lowerMaxPoolGather } from "./window/window-simple.js";

/** "group": a function of the index, see group.ts. "weight": placed in the weights region. */
type Lowering<N extends PrimitiveName> = "group" | "weight" | ((ctx: LowerContext, node: Node<N>) => void);

const grouped = <const N extends string>(names: readonly N[]): { readonly [K in N]: "group" } =>
  Object.fromEntries(names.map((n) => [n, "group"])) as { readonly [K in N]: "group" };

const rows = {
  ...grouped<ElementwiseName>(elementwiseNames),
  ...grouped<IndexName>(indexNames),
  ...grouped<ReduceName>(reduceNames),
  constant: "weight",
  iota: "group",
  dimSize: "group",
  concat: "group",
  pad: "group",
  dotGeneral: lowerDot,
  weightProduct: lowerWeightProduct,
  tiledAttention: lowerTiledAttention,
  tiledAttentionGrad: lowerTiledAttentionGrad,
  conv: lowerConv,
  convInputGrad: lowerConvInputGrad,
  convWeightGrad: lowerConvWeightGrad,
  maxPool: lowerMaxPool,
  maxPoolGrad: lowerMaxPoolGrad,
  maxPoolGather: lowerMaxPoolGather,
  windowSum: lowerWindowSum,
  windowSumGrad: lowerWindowSumGrad,
  argMax: lowerArg,
  argMin: lowerArg,
  cumSum: lowerCumulative,
  cumProd: lowerCumulative,
  sort: lowerSort,
  topK: lowerTopK,
  checkIndices: lowerCheckIndices,
  gather: lowerGather,
  gatherElements: lowerGatherElements,
  gatherND: lowerGatherND,
  scatterElements: lowerScatterElements,
  scatterND: lowerScatterND,
  randomBits: lowerRandomBits,
  bindDim: lowerBindDim,
  nonZero: lowerNonZero,
  range: lowerRange,
  unique: lowerUnique,
  nonMaxSuppression: lowerNms,
  fusion: lowerFusion,
  after: (ctx, node) => ctx.define(node.results[0]!, ctx.view(node.operands[0]!)),
  if: lowerIf,
  loop: lowerLoop,
  scan: lowerScan,
} satisfies { readonly [N in PrimitiveName]: Lowering<N> };

/** Lowers a node that has a row of its own. Composites must have been decomposed before. */
export function lowerStructured(ctx: LowerContext, node: GraphNode): void {
  const row = (rows as { readonly [name: string]: Lowering<never> | undefined })[node.op];
  if (typeof row !== "function") throw new InternalError(`${node.op} has no lowering of its own`);
  row(ctx, node as never);
}

/** Whether the op goes through `lowerGroup`. */
export const isGrouped = (op: string): boolean => (rows as { readonly [name: string]: unknown })[op] === "group";
