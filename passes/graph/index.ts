/** The graph passes by name, as `// RUN:` lines and the command line call them. */

import type { KernelFacts } from "../kernels.js";
import type { GraphPass } from "../pass.js";
import { canonicalizeNans } from "./canonicalize-nans.js";
import { decompose } from "./decompose.js";
import { eliminateCommonSubexpressions } from "./eliminate-common-subexpressions.js";
import { eliminateDeadCode } from "./eliminate-dead-code.js";
import { foldConstants } from "./fold-constants.js";
import { foldScales } from "./fold-scales.js";
import { fuse } from "./fuse.js";
import { hoistInvariants } from "./hoist-invariants.js";
import { layout } from "./layout.js";
import { mergeScans } from "./merge-scans.js";
import { narrowProducts } from "./narrow-products.js";
import { recognize } from "./recognize.js";
import { relaxedMath } from "./relaxed-math.js";
import { shareTransposes } from "./share-transposes.js";
import { simplify } from "./simplify.js";
import { sparseUpdates } from "./sparse-updates.js";
import { streamWeights } from "./stream-weights.js";
import { tabulate } from "./tabulate.js";
import { tileAttention } from "./tile-attention.js";
import { unwrapPools } from "./unwrap-pools.js";

const all = (kernels: KernelFacts): readonly GraphPass[] => [
  canonicalizeNans,
  decompose(kernels),
  eliminateCommonSubexpressions,
  eliminateDeadCode,
  foldConstants(),
  hoistInvariants,
  foldScales,
  fuse(kernels),
  layout,
  mergeScans,
  narrowProducts,
  recognize,
  relaxedMath,
  shareTransposes,
  simplify,
  sparseUpdates,
  streamWeights,
  tabulate,
  tileAttention,
  unwrapPools,
];

export const graphPassesFor = (kernels: KernelFacts): ReadonlyMap<string, GraphPass> =>
  new Map(all(kernels).map((p) => [p.name, p]));
