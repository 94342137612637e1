/** Random kernels: the interpreter and emitted wasm agree, before and after every pass. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inlinableMath, mathFunctions } from "../../compiler/wasm/math.js";
import type { LoopFunction } from "../../ir/loop.js";
import { interpretLoop } from "../../ir/loop-interpret.js";
import { parseLoopFunction } from "../../ir/loop-parse.js";
import { printLoopFunction } from "../../ir/loop-print.js";
import { verifyLoop } from "../../ir/loop-verify.js";
import { hoist } from "../../passes/loop/hoist.js";
import { inlineMath } from "../../passes/loop/inline-math.js";
import { loopPassesWith, loopPipeline } from "../../passes/loop/pipeline.js";
import { pseudoExtrema } from "../../passes/loop/pseudo-extrema.js";
import { simplify } from "../../passes/loop/simplify.js";
import { unroll } from "../../passes/loop/unroll.js";
import { vectorize } from "../../passes/loop/vectorize.js";
import { instantiate } from "../wasm/run.js";
import { arrays, fillArrays, memoryBytes, randomKernel } from "./arbitrary.js";

const runs = Number(process.env.WASMITH_FUZZ_RUNS ?? 60);
const sizes: readonly (readonly [number, number])[] = [
  [0, 0],
  [1, 1],
  [3, 0],
  [4, 1],
  [5, 5],
  [21, 2],
  [66, 3],
];

const passes = loopPassesWith(inlinableMath);

function argumentsFor(n: number, m: number): number[] {
  return [n, m, arrays.x, arrays.y, arrays.u, arrays.out, arrays.sums];
}

function byInterpreter(f: LoopFunction, n: number, m: number): ArrayBuffer {
  const memory = new ArrayBuffer(memoryBytes);
  fillArrays(memory, n + 1);
  interpretLoop({ functions: [f] }, "f", argumentsFor(n, m), { memory, math: mathFunctions });
  return memory;
}

function byWasm(f: LoopFunction): (n: number, m: number) => ArrayBuffer {
  const run = instantiate([f], ["f"]);
  return (n, m) => {
    new Uint8Array(run.memory.buffer).fill(0);
    fillArrays(run.memory.buffer, n + 1);
    run.call("f", ...argumentsFor(n, m));
    return run.memory.buffer;
  };
}

/** Bytes agree, or the float that covers them is NaN on both sides. */
function expectSameMemory(got: ArrayBuffer, want: ArrayBuffer, text: () => string): void {
  const [a, b] = [new Uint32Array(got, arrays.out), new Uint32Array(want, arrays.out)];
  for (let k = 0; k < a.length; k++) {
    if (a[k] === b[k]) continue;
    const nan = [got, want].map((m) => {
      const view = new DataView(m, arrays.out + k * 4 - (k % 2 === 0 ? 0 : 4), 8);
      const half = (h: number, e: number) => (h & e) === e && (h & 0x7fff) !== e;
      const halves = [0, 2].map((o) => new DataView(m, arrays.out + k * 4).getUint16(o, true));
      const single = new DataView(m, arrays.out + k * 4).getFloat32(0, true);
      return (
        Number.isNaN(single) ||
        Number.isNaN(view.getFloat64(0, true)) ||
        halves.some((h) => half(h, 0x7c00) || half(h, 0x7f80))
      );
    });
    if (!(nan[0] && nan[1])) expect(a[k], `word ${k} of\n${text()}`).toBe(b[k]);
  }
}

function property(check: (f: LoopFunction) => void): void {
  fc.assert(
    fc.property(fc.gen(), (g) => {
      const f = randomKernel(g);
      verifyLoop({ functions: [f] });
      check(f);
    }),
    { numRuns: runs, seed: Number(process.env.WASMITH_FUZZ_SEED ?? 20260101) },
  );
}

describe("random kernels", { timeout: 180_000 }, () => {
  it("round-trip through text", () => {
    property((f) => expect(parseLoopFunction(printLoopFunction(f))).toEqual(f));
  });

  it("run in wasm as in the interpreter", () => {
    property((f) => {
      const run = byWasm(f);
      for (const [n, m] of sizes) expectSameMemory(run(n, m), byInterpreter(f, n, m), () => printLoopFunction(f));
    });
  });

  const inline = inlineMath(inlinableMath);

  it.each([simplify, vectorize, pseudoExtrema, unroll, hoist, inline])("are the same after $name", (pass) => {
    property((f) => {
      const input = pass === unroll || pass === inline || pass === pseudoExtrema ? vectorize.run(f) : f;
      const before = byWasm(input);
      const changed = pass.run(input);
      verifyLoop({ functions: [changed] }, pass.name);
      const optimised = byWasm(changed);
      for (const [n, m] of sizes) {
        const want = before(n, m).slice(0);
        expectSameMemory(optimised(n, m), want, () => `${printLoopFunction(f)}after:\n${printLoopFunction(changed)}`);
      }
    });
  });

  it("are the same after the pipeline, in the interpreter too", () => {
    property((f) => {
      const changed = loopPipeline(f, { verifyWith: [], passes });
      const optimised = byWasm(changed);
      for (const [n, m] of sizes) {
        const want = byInterpreter(f, n, m);
        const text = () => `${printLoopFunction(f)}after:\n${printLoopFunction(changed)}`;
        expectSameMemory(byInterpreter(changed, n, m), want, text);
        expectSameMemory(optimised(n, m), want, text);
      }
    });
  });

  it("reach a form that the passes leave alone", () => {
    property((f) => {
      const once = loopPipeline(f, { passes });
      const again = loopPipeline(once, { passes: passes.filter((p) => p !== unroll) });
      expect(printLoopFunction(again)).toBe(printLoopFunction(once));
    });
  });
});
