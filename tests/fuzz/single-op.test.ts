/**
 * Single ONNX ops against the reference evaluator, with fixed and dynamic sizes, and against ONNX Runtime where bench/node_modules
 * has it. WASMITH_SINGLE_OPS and WASMITH_FUZZ_SEED ask for more or other cases.
 */
import { describe, expect, it } from "vitest";
import type { Tensor } from "../../ir/tensor.js";
import { hasOnnxRuntime, howToGetIt, runOnnxRuntime } from "../onnx/onnxruntime.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";
import { describeSingle, generate, judge, type Oracle } from "./single-op/run.js";

const runs = fuzzRuns("WASMITH_SINGLE_OPS", process.env.CI ? 400 : 30);

/** ONNX Runtime has no kernel for some types and forms; then there is nothing to compare with. */
const byOnnxRuntime: Oracle = async (bytes, feeds) => {
  try {
    return await runOnnxRuntime(bytes, feeds);
  } catch {
    return undefined;
  }
};

describe("single ops", () => {
  it(`${runs} give what the reference gives${howToGetIt || ", and ONNX Runtime"}`, { timeout: 1_800_000 }, async () => {
    const seed = fuzzSeed("single ops");
    const problems: string[] = [];
    let judged = 0;
    for (let i = 0; i < runs; i++) {
      const own = seed * 1_000_000 + i;
      const outcome = await judge(own, hasOnnxRuntime ? byOnnxRuntime : undefined);
      if (outcome.judged) judged++;
      for (const problem of outcome.problems)
        problems.push(`seed ${own}: ${describeSingle(outcome.single)}: ${problem}`);
    }
    expect(problems).toEqual([]);
    // An oracle that refuses most cases is none.
    if (hasOnnxRuntime) expect(judged / runs).toBeGreaterThan(0.8);
  });

  it("are of more than a hundred ops, the same for a seed", () => {
    const singles = Array.from({ length: 2000 }, (_, i) => generate(i));
    expect(new Set(singles.map((s) => s.op)).size).toBeGreaterThan(140);
    const flat = (tensors: readonly ({ tensor: Tensor } | undefined)[]) =>
      tensors.map((g) => [...(g?.tensor.data ?? [])].join());
    for (const i of [0, 1, 2]) expect(flat(generate(i).inputs)).toEqual(flat(singles[i]!.inputs));
  });
});
