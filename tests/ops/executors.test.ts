import { describe, expect, it } from "vitest";
import { evaluate } from "../../ir/reference.js";
import { disagreement } from "./accuracy.js";
import { allOps, samplesOf } from "./draw.js";
import { executors } from "./executors.js";

describe.each(executors)("$name", ({ run }) => {
  it.each(allOps)("%s", async (_, op) => {
    for (const { graph, feeds, index } of samplesOf(op)) {
      const want = evaluate(graph, feeds);
      const got = await run(graph, feeds);
      want.forEach((t, k) => {
        expect(disagreement(got[k]!, t, op.accuracy), `sample ${index}, result ${k}`).toBeUndefined();
      });
    }
  });
});

describe("accuracy", () => {
  const { f32 } = {
    f32: (...v: number[]) => ({ dtype: "f32" as const, shape: [v.length], data: Float32Array.from(v) }),
  };
  it("tells what agrees from what does not", () => {
    expect(disagreement(f32(1), f32(1), "exact")).toBeUndefined();
    expect(disagreement(f32(-0), f32(0), "exact")).toBeDefined();
    expect(disagreement(f32(Number.NaN), f32(Number.NaN), "exact")).toBeUndefined();
    expect(disagreement(f32(1 + 2 ** -23), f32(1), { ulp: 1 })).toBeUndefined();
    expect(disagreement(f32(1 + 2 ** -22), f32(1), { ulp: 1 })).toBeDefined();
    expect(disagreement(f32(Infinity), f32(3e38), { rtol: 1, atol: 1 })).toBeDefined();
    expect(disagreement(f32(1, 2), f32(1), "exact")).toBeDefined();
  });
});
