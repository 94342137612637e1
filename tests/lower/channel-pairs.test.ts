/** Convolutions in groups of two channels by constant weights, and others that the kernel leaves alone. */

import { describe, expect, it } from "vitest";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { graph, param } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { conv } from "../../ir/ops/conv.js";
import { evaluate } from "../../ir/reference.js";
import { expectClose, randomF32 } from "../kernels/run.js";
import { runCases } from "./run.js";

const attrs = { strides: [1, 2], padLow: [1, 0], padHigh: [0, 1], dilations: [1, 1], layout: "channelsLast" } as const;

describe("groups of two channels", () => {
  it.each([
    { groups: 3, from: 2, to: 2, given: false, served: true },
    { groups: 3, from: 2, to: 2, given: true, served: false },
    { groups: 1, from: 2, to: 2, given: false, served: false },
    { groups: 3, from: 2, to: 4, given: false, served: false },
    { groups: 2, from: 4, to: 2, given: false, served: false },
  ])("%j", async ({ groups, from, to, given, served }) => {
    const x = randomF32([2, 5, 6, groups * from], 1);
    const w = randomF32([groups * to, 3, 2, from], 2);
    const image = param("x", { dtype: "f32", shape: x.shape });
    const weights = given ? param("w", { dtype: "f32", shape: w.shape }) : constant([], { value: w });
    const params = given ? [image, weights] : [image];
    const g = graph("g", params, [conv([image, weights], { ...attrs, groups })], ["y"]);
    const feeds = given ? [x, w] : [x];
    const used = lowerGraph(g).steps.flatMap((k) => (k.kind === "kernel" ? [k.fn.name] : []));
    expect(used.some((name) => name.includes("channel_pairs"))).toBe(served);
    const [results] = await runCases([{ graph: g, feeds }]);
    expectClose(results![0]!.data as Float32Array, evaluate(g, feeds)[0]!.data as Float32Array, 1e-5);
  });
});
