/** Weights of integer convolutions, packed in pairs when compiling. */

import { type Dim, dimMul } from "../../../ir/dim.js";
import { InternalError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { packedPairsLength, packPairs } from "../../kernels/pack-pairs.js";
import type { View } from "../../schedule.js";
import type { LowerContext } from "../core/context.js";
import { ceilDiv } from "../core/micro-kernel.js";
import type { Bytes } from "../product/pairs.js";
import { type Geometry, taps } from "./conv-geometry.js";

/** Elements along K of a group's packed weights: every run is rounded up to pairs. */
export const pairedDepth = (g: Geometry): Dim => dimMul(taps(g) / g.runTaps, dimMul(2, ceilDiv(g.run, 2)));

/** Constant weights [O, …taps, C/g] as pairs for each group, in the order of the kernel's segments. */
export function pairedConvWeights(ctx: LowerContext, w: Value, g: Geometry, nr: number): View {
  const { groups, run, runTaps, oPer: n } = g;
  if (w.def.op !== "constant" || typeof run !== "number" || typeof n !== "number") {
    throw new InternalError("weights to be packed in pairs are not constant");
  }
  const { value } = w.def.attrs;
  const runs = taps(g) / runTaps;
  const length = packedPairsLength(runs, run, n, nr);
  return ctx.derived(value, `conv pairs ${groups} ${run} ${nr}`, [value.dtype, [groups, length]], (out) => {
    for (let group = 0; group < groups; group++) {
      const at = (r: number, i: number, j: number) => ((group * n + j) * runs + r) * run + i;
      const target = (out.data as Bytes).subarray(group * length, (group + 1) * length);
      packPairs(value.data as Bytes, [runs, run, n], nr, at, target);
    }
  });
}
