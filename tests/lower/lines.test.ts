/** Arg-extrema, the first few, and gathers along lines, at lengths around the vector, with equal elements and NaNs. */
import { describe, expect, it } from "vitest";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { gather, gatherElements } from "../../ir/ops/indexing.js";
import { argMax, argMin } from "../../ir/ops/reduce.js";
import { topK } from "../../ir/ops/sort.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { randomNumbers } from "../kernels/run.js";
import { type Case, runCases } from "./run.js";

const f32 = (shape: readonly number[], element: (i: number) => number): Tensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => element(i)),
});

/** Few values, so that equals occur; with NaNs; and falling, so that each element leaves or enters a list. */
function lines(shape: readonly number[]): readonly Tensor[] {
  const next = randomNumbers(shape.reduce((h, d) => h * 31 + d, 7));
  const few = () => Math.round(next() * 3);
  return [
    f32(shape, few),
    f32(shape, () => (next() > 0.6 ? Number.NaN : few())),
    f32(shape, (i) => -i),
    f32(shape, (i) => i),
    f32(shape, () => Number.NEGATIVE_INFINITY),
  ];
}

const one = (feeds: readonly Tensor[], f: (...params: Value[]) => Value | readonly Value[]): Graph => {
  const params = feeds.map(({ dtype, shape }, i) => param(`p${i}`, { dtype, shape }));
  const results = [f(...params)].flat() as Value[];
  return graph(
    "g",
    params,
    results,
    results.map((_, i) => `r${i}`),
  );
};

async function check(cases: readonly Case[]): Promise<void> {
  for (const options of [{}, { optimize: (fn: Parameters<typeof loopPipeline>[0]) => loopPipeline(fn) }]) {
    const got = await runCases(cases, options);
    for (const [i, { graph: g, feeds }] of cases.entries()) {
      const want = evaluate(g, feeds);
      const what = `case ${i}: ${feeds.map((t) => `${t.dtype}[${t.shape}]`)}`;
      for (const [k, w] of want.entries())
        expect([...(got[i]![k]!.data as Float32Array)], what).toEqual([...(w.data as Float32Array)]);
    }
  }
}

describe("lines", () => {
  it("arg-extrema", async () => {
    const cases = [1, 2, 3, 4, 5, 7, 8, 11].flatMap((n) =>
      lines([3, n]).flatMap((x) =>
        [argMax, argMin].flatMap((op) =>
          [false, true].map((last) => ({
            graph: one([x], (v) => op([v!], { axis: 1, keepDims: false, last })),
            feeds: [x],
          })),
        ),
      ),
    );
    await check(cases);
  });

  it("the first few", async () => {
    const cases = [
      [1, 1],
      [3, 2],
      [7, 3],
      [9, 9],
      [21, 5],
      [130, 64],
    ].flatMap(([n, k]) =>
      [
        [2, n!],
        [2, n!, 3],
      ].flatMap((shape) =>
        lines(shape).flatMap((x) =>
          [true, false].map((largest) => ({
            graph: one([x], (v) => topK([v!], { axis: 1, k: k!, largest })),
            feeds: [x],
          })),
        ),
      ),
    );
    await check(cases);
  });

  it("gathers by indices from the front and the back", async () => {
    const x = f32([4, 5], (i) => i);
    const cases = (["i32", "i64"] as const).flatMap((dtype): Case[] => {
      const numbers = [0, 4, -1, -5, 2, -3, 1, 3];
      const data = dtype === "i32" ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt);
      const at = { dtype, shape: [4, 2], data } as Tensor;
      return [
        { graph: one([x, at], (v, i) => gatherElements([v!, i!], { axis: 1 })), feeds: [x, at] },
        { graph: one([x, at], (v, i) => gather([v!, i!], { axis: 1 })), feeds: [x, at] },
      ];
    });
    await check(cases);
  });

  it("gathers elements along and across lines of lengths around the group that is checked at once", async () => {
    const next = randomNumbers(11);
    const cases = [1, 7, 8, 9, 17].flatMap((n) =>
      (["i32", "i64"] as const).flatMap((dtype) =>
        // Groups with an index from the back in them are taken one by one.
        [0, 0.02].flatMap((fromBack) =>
          [0, 1, 2].map((axis): Case => {
            const shape = [3, 4, n + 2];
            const x = f32(shape, (i) => i);
            const size = shape[axis]!;
            const numbers = Array.from({ length: 2 * 3 * n }, () => {
              const index = Math.floor(((next() + 1) / 2) * size) % size;
              return next() < 2 * fromBack - 1 ? index - size : index;
            });
            const data = dtype === "i32" ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt);
            const at = { dtype, shape: [2, 3, n], data } as Tensor;
            return { graph: one([x, at], (v, i) => gatherElements([v!, i!], { axis })), feeds: [x, at] };
          }),
        ),
      ),
    );
    await check(cases);
  });
});
