/** Lists in place of functions of bytes: every byte, behind a product and alone, in vectors and their rests. */

import { describe, expect, it } from "vitest";
import { defaultPipeline } from "../../compiler/pipeline.js";
import type { DType } from "../../ir/dtype.js";
import { graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { gelu } from "../../ir/ops/activation.js";
import { cast } from "../../ir/ops/cast.js";
import { constant, constantLike } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { add, div, max, min, mul, round, sigmoid, sub, tanh } from "../../ir/ops/elementwise.js";
import { softmax } from "../../ir/ops/softmax.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { disagreement } from "../ops/accuracy.js";
import { runCases } from "./run.js";

const to = (v: Value, dtype: DType): Value => cast([v], { to: dtype });
const dequantised = (q: Value, scale: number, zero: number): Value => {
  const wide = to(q, "i32");
  const real = to(sub([wide, constantLike(wide, zero)]), "f32");
  return mul([real, constantLike(real, scale)]);
};
const quantised = (x: Value, scale: number, zero: number, dtype: "i8" | "u8"): Value => {
  const moved = add([round([div([x, constantLike(x, scale)])]), constantLike(x, zero)]);
  const [low, high] = dtype === "i8" ? [-128, 127] : [0, 255];
  return to(to(min([max([moved, constantLike(x, low)]), constantLike(x, high)]), "i32"), dtype);
};
const functions: Readonly<Record<string, (x: Value) => Value>> = {
  gelu: (x) => gelu([x], { approximate: "none" }),
  sigmoid: (x) => sigmoid([x]),
  "tanh of a sigmoid": (x) => tanh([mul([sigmoid([x]), constantLike(x, 2.5)])]),
};

async function run(result: (x: Value) => Value, feed: Tensor): Promise<void> {
  const x = param("x", { dtype: feed.dtype, shape: feed.shape });
  const g = graph("g", [x], [result(x)], ["y"]);
  const passed = runPipeline(defaultPipeline, g, { verify: true });
  const regions = graphNodes(passed).flatMap((n) => [n, ...n.regions.flatMap((r) => graphNodes(r))]);
  expect(regions.some((n) => n.op === "gather")).toBe(true);
  const [got] = await runCases([{ graph: passed, feeds: [feed] }], { optimize: loopPipeline });
  expect(disagreement(got![0]!, evaluate(g, [feed])[0]!, { ulp: 4 })).toBeUndefined();
}

describe.each(["i8", "u8"] as const)("of %s", (dtype) => {
  const low = dtype === "i8" ? -128 : 0;
  const zero = dtype === "i8" ? 3 : 131;
  const bytes = (shape: readonly number[]) =>
    tensorFrom(
      dtype,
      shape,
      Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => low + ((i * 37) % 256)),
    );

  it.each(Object.entries(functions))("%s, to bytes and to floats", async (_, f) => {
    for (const n of [259, 3]) {
      await run((q) => quantised(f(dequantised(q, 0.03, zero)), 0.01, zero, dtype), bytes([n]));
      await run((q) => f(dequantised(q, 0.03, zero)), bytes([n]));
    }
  });

  it("behind a product, whose epilogue it joins", async () => {
    const w = constant([], {
      value: tensorFrom(
        "i8",
        [6, 11],
        Array.from({ length: 66 }, (_, i) => ((i * 29) % 200) - 100),
      ),
    });
    await run(
      (q) => {
        const x = to(q, "i32");
        const acc = dotGeneral([sub([x, constantLike(x, zero)]), to(w, "i32")], {
          batchA: [],
          batchB: [],
          contractA: [1],
          contractB: [0],
        });
        const real = mul([to(acc, "f32"), constantLike(to(acc, "f32"), 3e-4)]);
        const hidden = quantised(real, 0.05, zero, dtype);
        return quantised(gelu([dequantised(hidden, 0.05, zero)], { approximate: "none" }), 0.04, zero, dtype);
      },
      bytes([9, 6]),
    );
  });

  it("before a reduction", async () => {
    await run((q) => softmax([sigmoid([dequantised(q, 0.03, zero)])], { axis: 1 }), bytes([5, 37]));
  });
});
