/** Grouped convolutions whose channels a run does not divide evenly among the groups: refused, forwards and backwards. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { type Dim, dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { conv, convInputGrad, convWeightGrad } from "../../ir/ops/conv.js";
import { load } from "../../runtime/index.js";

const attrs = { strides: [1], dilations: [1], padLow: [0], padHigh: [0], groups: 4, layout: "channelsFirst" } as const;
const f32 = (name: string, shape: readonly Dim[]) => param(name, { dtype: "f32", shape });
const n = dimSymbol("n");

const x = f32("x", [2, 4, 8]);
const w = f32("w", [n, 1, 3]);
const dy = f32("dy", [2, n, 6]);

describe.each([
  ["conv", graph("conv", [x, w], [conv([x, w], attrs)], ["y"])],
  ["convInputGrad", graph("dx", [w, dy], [convInputGrad([dy, w], { ...attrs, inputSize: [8] })], ["y"])],
  ["convWeightGrad", graph("dw", [x, dy], [convWeightGrad([x, dy], { ...attrs, kernelSize: [3] })], ["y"])],
])("%s in four groups", (_, g) => {
  it("takes multiples of four, and nothing else", async () => {
    const session = await load(await compile(g, { variants: ["simd128"] }));
    const run = (size: number) =>
      session.run(
        Object.fromEntries(
          session.inputs.map(({ name, shape }) => {
            const sizes = shape.map((d) => (typeof d === "number" ? d : size));
            const data = new Float32Array(sizes.reduce((a, b) => a * b, 1)).fill(1);
            return [name, { dtype: "f32" as const, shape: sizes, data }];
          }),
        ),
      );
    await run(8);
    for (const size of [1, 2, 3, 5, 6, 7]) await expect(run(size), `${size}`).rejects.toThrow(/4 groups/);
    await run(4);
    session.dispose();
  });
});
