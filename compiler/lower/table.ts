/**
 * How each op is lowered: fusible ops through `lowerGroup`, others by the kernels of their row, of which the best that serves a node is
 * taken (registry.ts). The table is total over the primitives: one without a row is a type error. A composite that has a row is
 * kept whole where one of its kernels serves it.
 */

import type { ElementwiseName, IndexName, ReduceName } from "../../ir/ops/classes.js";
import { elementwiseNames, indexNames, reduceNames } from "../../ir/ops/classes.js";
import type { OpName, PrimitiveName } from "../../ir/ops/index.js";
import { lowerIf, lowerLoop, lowerScan } from "./control/control.js";
import type { LowerContext } from "./core/context.js";
import type { KernelRow, RowNode } from "./core/kernel-row.js";
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
import { attentionGradKernels, attentionKernels } from "./product/attention.js";
import { dotKernels } from "./product/contraction.js";
import { weightProductKernels } from "./product/weights.js";
import { lowerArg, lowerCumulative, lowerSort, lowerTopK } from "./reduce/lines.js";
import { KernelRegistry } from "./registry.js";
import { convKernels } from "./window/conv.js";
import { convInputGradKernels, convWeightGradKernels } from "./window/conv-grad.js";
import { maxPoolGradKernels, maxPoolKernels, windowSumGradKernels, windowSumKernels } from "./window/window.js";
import { lowerMaxPoolGather } from "./window/window-simple.js";

/** "group": a function of the index, see group.ts. "weight": placed in the weights region. "region": see fusion.ts. */
type Lowering<N extends OpName> = "group" | "weight" | "region" | readonly KernelRow<N>[];

const grouped = <const N extends string>(names: readonly N[]): { readonly [K in N]: "group" } =>
  Object.fromEntries(names.map((n) => [n, "group"])) as { readonly [K in N]: "group" };

/** The kernels of an op that has but one way. */
const only = <N extends OpName>(lower: (ctx: LowerContext, node: RowNode<N>) => void): readonly KernelRow<N>[] => [
  { name: "only", lower },
];

const table = {
  ...grouped<ElementwiseName>(elementwiseNames),
  ...grouped<IndexName>(indexNames),
  ...grouped<ReduceName>(reduceNames),
  constant: "weight",
  iota: "group",
  dimSize: "group",
  concat: "group",
  pad: "group",
  updateSlice: "group",
  dotGeneral: dotKernels,
  weightProduct: weightProductKernels,
  tiledAttention: attentionKernels,
  tiledAttentionGrad: attentionGradKernels,
  conv: convKernels,
  convInputGrad: convInputGradKernels,
  convWeightGrad: convWeightGradKernels,
  maxPool: maxPoolKernels,
  maxPoolGrad: maxPoolGradKernels,
  maxPoolGather: only(lowerMaxPoolGather),
  windowSum: windowSumKernels,
  windowSumGrad: windowSumGradKernels,
  argMax: only<"argMax">(lowerArg),
  argMin: only<"argMin">(lowerArg),
  cumSum: only<"cumSum">(lowerCumulative),
  cumProd: only<"cumProd">(lowerCumulative),
  sort: only(lowerSort),
  topK: only(lowerTopK),
  checkIndices: only(lowerCheckIndices),
  gather: only(lowerGather),
  gatherElements: only(lowerGatherElements),
  gatherND: only(lowerGatherND),
  scatterElements: only(lowerScatterElements),
  scatterND: only(lowerScatterND),
  randomBits: only(lowerRandomBits),
  bindDim: only(lowerBindDim),
  nonZero: only(lowerNonZero),
  range: only(lowerRange),
  unique: only(lowerUnique),
  nonMaxSuppression: only(lowerNms),
  fusion: "region",
  after: only<"after">((ctx, node) => ctx.define(node.results[0]!, ctx.view(node.operands[0]!))),
  if: only(lowerIf),
  loop: only(lowerLoop),
  scan: only(lowerScan),
} satisfies { readonly [N in PrimitiveName]: Lowering<N> } & { readonly [N in OpName]?: Lowering<N> };

/** Whether the op goes through `lowerGroup`. */
export const isGrouped = (op: string): boolean => (table as { readonly [name: string]: unknown })[op] === "group";

/** The kernels that there are. */
export const kernels: KernelRegistry = new KernelRegistry(table);
