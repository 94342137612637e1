import { describe, expect, it } from "vitest";
import { disagreement } from "./accuracy.js";
import { allOps } from "./draw.js";
import { disagreements, executors } from "./executors.js";

describe.each(executors)("$name", (executor) => {
  it.each(allOps)("%s", async (_, op) => {
    expect(await disagreements(executor, op)).toEqual([]);
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
