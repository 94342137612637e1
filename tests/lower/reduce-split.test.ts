/** Reductions whose partial results a second kernel combines, over any axes and with sizes that only a run knows. */

import { expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { np } from "../../ir/build.js";
import { type Dim, dimSymbol, dimText } from "../../ir/dim.js";
import { type Graph, graph, param } from "../../ir/graph.js";
import { prod, reduceMax, sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";

const [k, m] = [dimSymbol("k"), dimSymbol("m")];
const shapes: readonly (readonly Dim[])[] = [
  [4, k, m, 2, 3, 5],
  [4, k, 2, m, 3],
  [k, 3, m],
  [k, m, 6],
  [2, k, 3, m, 2, 2],
];

function subsets(rank: number): readonly (readonly number[])[] {
  const all = Array.from({ length: 2 ** rank - 1 }, (_, bits) =>
    Array.from({ length: rank }, (__, a) => a).filter((a) => ((bits + 1) >> a) & 1),
  );
  return all.filter((axes) => axes.length <= 3);
}

/** One result for each set of axes, with and without the axes reduced. */
function reductions(shape: readonly Dim[]): Graph {
  const x = param("x", { dtype: "f32", shape });
  const results = subsets(shape.length).flatMap((axes, i) => {
    const op = [sum, reduceMax, prod][i % 3]!;
    return [op([x], { axes, keepDims: false }), op([x], { axes, keepDims: true })];
  });
  return graph(
    "g",
    [x],
    results,
    results.map((_, i) => `y${i}`),
  );
}

it.each(shapes.map((s) => [s.map(dimText).join(), s] as const))("%s", async (_, shape) => {
  const g = reductions(shape);
  const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
  for (const sizes of [
    { k: 7, m: 9 },
    { k: 31, m: 1 },
  ]) {
    const actual = shape.map((d) => (typeof d === "number" ? d : sizes[d.key as "k" | "m"]));
    const count = actual.reduce((p, d) => p * d, 1);
    const x = tensorFrom(
      "f32",
      actual,
      Array.from({ length: count }, (_, i) => 1 + ((i * 7) % 11) / 512),
    );
    const got = await session.run({ x: x as never });
    evaluate(g, { x }).forEach((want, i) => {
      expect(got[`y${i}`]!.shape).toEqual(want.shape);
      const [a, b] = [Array.from(got[`y${i}`]!.data as Float32Array), toNumbers(want)];
      for (const [j, v] of b.entries()) expect(Math.abs(a[j]! - v)).toBeLessThanOrEqual(1e-4 * Math.abs(v));
    });
  }
  session.dispose();
});

it("short rows, taken together where what they read follows from row to row, alike on any number of threads", async () => {
  const x = param("x", { dtype: "f32", shape: [k, m, 6] });
  const others = [[k, m, 6], [6], [k, m, 1]].map((shape, i) => param(`p${i}`, { dtype: "f32", shape }));
  const results = [x, ...others.map((p) => np.mul(x, p))].map((v) => sum([v], { axes: [0, 1], keepDims: false }));
  const g = graph(
    "g",
    [x, ...others],
    results,
    results.map((_, i) => `y${i}`),
  );
  const artifact = await compile(g, { variants: ["simd128", "simd128-threads"] });
  for (const [rows, columns] of [
    [61, 97],
    [8, 2],
    [200, 103],
  ] as const) {
    const filled = (shape: readonly number[], seed: number) => {
      const count = shape.reduce((p, d) => p * d, 1);
      return tensorFrom(
        "f32",
        shape,
        Array.from({ length: count }, (_, i) => 1 + ((i * seed) % 11) / 512),
      );
    };
    const feeds = {
      x: filled([rows, columns, 6], 7),
      p0: filled([rows, columns, 6], 5),
      p1: filled([6], 3),
      p2: filled([rows, columns, 1], 4),
    };
    const runs: number[][][] = [];
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      const got = await session.run(feeds as never);
      runs.push(results.map((_, i) => Array.from(got[`y${i}`]!.data as Float32Array)));
      session.dispose();
    }
    expect(runs[1]).toEqual(runs[0]);
    evaluate(g, feeds).forEach((want, i) => {
      for (const [j, v] of toNumbers(want).entries())
        expect(Math.abs(runs[0]![i]![j]! - v)).toBeLessThanOrEqual(1e-4 * Math.abs(v));
    });
  }
});
