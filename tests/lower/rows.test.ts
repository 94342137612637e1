/** Products that read the rows of B where they lie. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { dimSymbol } from "../../ir/dim.js";
import { type Graph, graph, param, paramName } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { gather } from "../../ir/ops/indexing.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";

const random = seeded(5);
const drawn = (...shape: number[]): Tensor => {
  const length = shape.reduce((p, d) => p * d, 1);
  return tensorFrom(
    "f32",
    shape,
    Array.from({ length }, () => random() - 0.5),
  );
};
const byRows = { batchA: [], batchB: [], contractA: [1], contractB: [1] };
const f32 = (name: string, shape: Parameters<typeof param>[1]["shape"]) => param(name, { dtype: "f32", shape });

/** Runs the graph as compiled, compares with the reference, and gives the kernels and the bytes of weights. */
async function check(g: Graph, runs: readonly (readonly Tensor[])[]) {
  const artifact = await compile(g, { variants: ["simd128", "simd128-threads"] });
  for (const threads of [1, 2]) {
    const session = await load(artifact, { threads });
    for (const feeds of runs) {
      const want = evaluate(g, feeds);
      const named = Object.fromEntries(g.params.map((p, i) => [paramName(p), feeds[i]!]));
      const got = (await session.run(named as never)) as Readonly<Record<string, Tensor>>;
      g.resultNames.forEach((name, i) => {
        const [x, y] = [toNumbers(got[name]!), toNumbers(want[i]!)];
        expect(x.length).toBe(y.length);
        x.forEach((v, j) => {
          expect(Math.abs(v - y[j]!)).toBeLessThan(1e-5);
        });
      });
    }
    session.dispose();
  }
  const kernels = artifact.manifest.entries.main!.steps.map((s) => s.kernel);
  return { kernels, weights: artifact.weights.length };
}

const rowsUsed = (kernels: readonly string[]) => kernels.filter((k) => k.includes("rowproduct")).length;

describe("weights that are a table too", () => {
  const [words, width] = [301, 36];
  const table = constant([], { value: drawn(words, width) });
  const bytes = words * width * 4;
  const time = dimSymbol("t");
  const tokens = param("tokens", { dtype: "i64", shape: [time] });
  const ids = (...list: number[]) => tensorFrom("i64", [list.length], list);
  const many = Array.from({ length: 40 }, (_, i) => i * 7);

  it("are stored once", async () => {
    const x = gather([table, tokens], { axis: 0 });
    const g = graph("main", [tokens], [dotGeneral([x, table], byRows)]);
    const { kernels, weights } = await check(g, [[ids(3)], [ids(300, 0)], [ids(...many)]]);
    expect(rowsUsed(kernels)).toBe(1);
    expect(weights).toBeLessThan(1.05 * bytes);
  });

  it("are packed where nothing else reads them", async () => {
    const x = f32("x", [time, width]);
    const g = graph("main", [x], [dotGeneral([x, table], byRows)]);
    const { kernels, weights } = await check(g, [[drawn(1, width)], [drawn(40, width)]]);
    expect(rowsUsed(kernels)).toBe(0);
    expect(weights).toBeLessThan(1.05 * bytes);
  });
});

describe("a B that is no constant", () => {
  const keys = dimSymbol("keys");
  const batched = { batchA: [0], batchB: [0], contractA: [2], contractB: [2] };

  it("is read as it lies by few rows, of batches", async () => {
    const [q, k] = [f32("q", [3, 1, 20]), f32("k", [3, keys, 20])];
    const g = graph("main", [q, k], [dotGeneral([q, k], batched)]);
    const { kernels } = await check(
      g,
      [1, 5, 130].map((n) => [drawn(3, 1, 20), drawn(3, n, 20)]),
    );
    expect(rowsUsed(kernels)).toBe(1);
  });

  it("is packed for many rows", async () => {
    const [q, k] = [f32("q", [3, 64, 20]), f32("k", [3, keys, 20])];
    const g = graph("main", [q, k], [dotGeneral([q, k], batched)]);
    const { kernels } = await check(g, [[drawn(3, 64, 20), drawn(3, 7, 20)]]);
    expect(rowsUsed(kernels)).toBe(0);
  });

  it("is packed where K is shorter than a vector", async () => {
    const [q, k] = [f32("q", [1, 3]), f32("k", [keys, 3])];
    const g = graph("main", [q, k], [dotGeneral([q, k], byRows)]);
    expect(rowsUsed((await check(g, [[drawn(1, 3), drawn(9, 3)]])).kernels)).toBe(0);
  });

  it("may have an A that does not lie in rows", async () => {
    const [q, k] = [f32("q", [20, 2]), f32("k", [keys, 20])];
    const g = graph("main", [q, k], [dotGeneral([q, k], { ...byRows, contractA: [0] })]);
    expect(rowsUsed((await check(g, [[drawn(20, 2), drawn(9, 20)]])).kernels)).toBe(1);
  });
});
