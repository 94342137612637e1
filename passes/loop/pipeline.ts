/** The default pipeline of loop passes, for one kernel. */

import type { LoopFunction } from "../../ir/loop.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { hoist } from "./hoist.js";
import { inlineMath, type MathSource } from "./inline-math.js";
import type { LoopPass, Note } from "./pass.js";
import { pseudoExtrema } from "./pseudo-extrema.js";
import { simplify } from "./simplify.js";
import { unroll } from "./unroll.js";
import { vectorize } from "./vectorize.js";

/** `math` gives the library's functions that may be inlined. */
export function loopPassesWith(math?: MathSource): readonly LoopPass[] {
  return [
    simplify,
    vectorize,
    pseudoExtrema,
    ...(math === undefined ? [] : [inlineMath(math)]),
    unroll,
    hoist,
    simplify,
  ];
}

export const loopPasses: readonly LoopPass[] = loopPassesWith();

export interface LoopPipelineOptions {
  readonly passes?: readonly LoopPass[];
  /** Other functions that the kernel calls; given, the kernel is verified after every pass. */
  readonly verifyWith?: readonly LoopFunction[];
  readonly note?: Note;
}

/** Runs the passes over one function. @throws VerifyError naming the pass that broke it */
export function loopPipeline(f: LoopFunction, options: LoopPipelineOptions = {}): LoopFunction {
  let current = f;
  for (const pass of options.passes ?? loopPasses) {
    const next = pass.run(current, options.note);
    if (next !== current && options.verifyWith !== undefined)
      verifyLoop({ functions: [next, ...options.verifyWith] }, pass.name);
    current = next;
  }
  return current;
}
