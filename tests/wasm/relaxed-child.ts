/**
 * Run by relaxed.test.ts in an engine with relaxed SIMD. `errors FNS STRIDE` prints the errors of math functions as JSON;
 * `kernels RUNS` compares random kernels with the baseline variant and prints how many ran.
 */

import fc from "fast-check";
import { inlinableMath } from "../../compiler/wasm/math.js";
import type { MathFn } from "../../ir/loop.js";
import { printLoopFunction } from "../../ir/loop-print.js";
import { loopPassesWith, loopPipeline } from "../../passes/loop/pipeline.js";
import { arrays, fillArrays, randomKernel } from "../loop/arbitrary.js";
import { measureErrors } from "./f32-accuracy.js";
import { instantiate } from "./run.js";

const passes = loopPassesWith(inlinableMath);

function compareKernels(runs: number): number {
  let count = 0;
  fc.assert(
    fc.property(fc.gen(), (g) => {
      const f = randomKernel(g, { math: false });
      const [baseline, relaxed] = [
        instantiate([f], ["f"]),
        instantiate([loopPipeline(f, { passes })], ["f"], { variant: { simd: "relaxed", threads: false } }),
      ];
      for (const n of [0, 3, 37]) {
        const words = [baseline, relaxed].map((run) => {
          fillArrays(run.memory.buffer, n);
          run.call("f", n, 2, arrays.x, arrays.y, arrays.u, arrays.out, arrays.sums);
          return new Uint32Array(run.memory.buffer, arrays.out).slice();
        }) as [Uint32Array, Uint32Array];
        const floats = words.map((w) => new Float32Array(w.buffer));
        const doubles = words.map((w) => new Float64Array(w.buffer));
        for (let k = 0; k < words[0].length; k++) {
          if (words[0][k] === words[1][k]) continue;
          const nan = [0, 1].every((v) => Number.isNaN(floats[v]![k]) || Number.isNaN(doubles[v]![k >> 1]));
          // Halves of NaN, too, may differ in sign.
          if (!nan && ((words[0][k]! ^ words[1][k]!) & 0x7fff7fff) !== 0)
            throw new Error(`word ${k} differs, n = ${n}:\n${printLoopFunction(f)}`);
        }
      }
      count++;
    }),
    { numRuns: runs, seed: 20260102 },
  );
  return count;
}

const [mode, first, second] = process.argv.slice(2) as [string, string, string?];
if (mode === "kernels") console.log(compareKernels(Number(first)));
else console.log(JSON.stringify(measureErrors("relaxed", first.split(",") as MathFn[], Number(second))));
