/** Every conversion after a product, and a second one after it: in the product's epilogue where lanes have it, else behind it. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { asType } from "../../ir/build.js";
import type { DType } from "../../ir/dtype.js";
import { graph, param } from "../../ir/graph.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { type Feeds, load } from "../../runtime/index.js";
import { disagreement } from "../ops/accuracy.js";

const dtypes = ["f32", "f64", "f16", "bf16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool"] as const;
const attrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
const values = (dtype: DType, shape: readonly number[], scale: number): Tensor =>
  tensorFrom(
    dtype,
    shape,
    Array.from({ length: shape[0]! * shape[1]! }, (_, i) => (((i * 37) % 23) - (dtype === "u8" ? 0 : 11)) * scale),
  );

describe.each([
  ["f32", "f32", 0.5],
  ["u8", "i8", 5],
  ["i8", "i8", 5],
] as const)("after %s · %s", (left, right, scale) => {
  it.each(dtypes)("to %s and on", async (first) => {
    const feeds = [values(left, [5, 9], scale), values(right, [9, 7], scale)];
    const [a, b] = feeds.map((t, i) => param(`x${i}`, { dtype: t.dtype, shape: t.shape }));
    const results = dtypes.map((second) => asType(asType(dotGeneral([a!, b!], attrs), first), second));
    for (const [k, result] of results.entries()) {
      const g = graph("g", [a!, b!], [result], ["y"]);
      const session = await load(await compile(g, { variants: ["simd128"] }));
      const { y } = await session.run({ x0: feeds[0]!, x1: feeds[1]! } as Feeds);
      session.dispose();
      expect(disagreement(y as Tensor, evaluate(g, feeds)[0]!, { ulp: 1 }), dtypes[k]).toBeUndefined();
    }
  });
});
