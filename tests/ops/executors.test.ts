import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { graph, param } from "../../ir/graph.js";
import { neg, sqrt } from "../../ir/ops/elementwise.js";
import { slice } from "../../ir/ops/movement.js";
import { element, type Tensor, zeros } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { disagreement } from "./accuracy.js";
import { allOps } from "./draw.js";
import { disagreements, executors } from "./executors.js";
import { strangeNans, withNans } from "./nan-feeds.js";

describe.each(executors)("$name", (executor) => {
  it.each(allOps)("%s", async (_, op) => {
    expect(await disagreements(executor, op)).toEqual([]);
  });
});

describe("NaNs", () => {
  it.each(["f32", "f64", "f16", "bf16"] as const)("of other bits are found: %s", async (dtype) => {
    const x = param("x", { dtype, shape: [8] });
    const g = graph("g", [x], [sqrt([x]), slice([neg([x])], { starts: [0], sizes: [8], steps: [1] })]);
    const fed = withNans(zeros(dtype, [8]));
    expect(strangeNans(fed)).toEqual([]);
    const opened = await executors[0]!.open(g);
    const [roots, negated] = await opened.run([fed]);
    opened.dispose();
    // √−∞ and √−1 are NaNs of the other sign on x86, if nothing is done about it; −NaN everywhere.
    expect(Array.from({ length: 8 }, (_, i) => element(roots!, i)).filter(Number.isNaN)).toHaveLength(2);
    expect([...strangeNans(roots!), ...strangeNans(negated!)]).toEqual([]);
    const raw = await load(await compile(g, { variants: ["simd128"], skipPasses: ["canonicalize-nans"] }));
    const results = (await raw.run({ x: fed } as never)) as Record<string, Tensor>;
    raw.dispose();
    expect(strangeNans(results.out1!)).toHaveLength(1);
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
