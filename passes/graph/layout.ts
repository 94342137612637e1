/**
 * Channels-last inside: convolutions and pools read and write images as [N, spatial…, C], which is how their kernels run.
 * Transposes appear around each of them, sink towards the results (rules/sink-transposes.ts), and cancel where two meet.
 */

import type { Value } from "../../ir/graph.js";
import { transpose } from "../../ir/ops/movement.js";
import { node, type Rule, rule } from "../pattern.js";
import { type RewritePass, rewritePass } from "../rewrite.js";
import { variant } from "../rules/build.js";
import { transposeRules } from "../rules/movement.js";
import { sinkTransposes } from "../rules/sink-transposes.js";

const images = [
  "conv",
  "convInputGrad",
  "convWeightGrad",
  "maxPool",
  "maxPoolGrad",
  "maxPoolGather",
  "windowSum",
  "windowSumGrad",
] as const;

/** [N, C, spatial…] → [N, spatial…, C]; weights [O, C, k…] → [O, k…, C] alike. */
const toLast = (v: Value): Value => {
  const rank = v.type.shape.length;
  return transpose([v], { perm: [0, ...Array.from({ length: rank - 2 }, (_, a) => a + 2), 1] });
};

const toFirst = (v: Value): Value => {
  const rank = v.type.shape.length;
  return transpose([v], { perm: [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, a) => a + 1)] });
};

const wraps: readonly Rule[] = [
  // conv(x, w) → toFirst(conv(toLast(x), toLast(w))), and likewise for the others
  rule("channels-last", node(images, "n"), ({ n }) => {
    if (n.attrs.layout === "channelsLast") return undefined;
    return variant(n, n.operands.map(toLast), { layout: "channelsLast" }).map(toFirst);
  }),
];

export const layout: RewritePass = rewritePass("layout", [...wraps, ...transposeRules, ...sinkTransposes]);
