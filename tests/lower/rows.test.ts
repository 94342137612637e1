/** Products that read the rows of B where they lie. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { dimSymbol } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
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

describe("a B of every kind of float", () => {
  // Multiples of 1/4 whose products sum to numbers that f16 holds: no order of sums rounds.
  const quarters = (dtype: DType, ...shape: number[]): Tensor => {
    const length = shape.reduce((p, d) => p * d, 1);
    return tensorFrom(
      dtype,
      shape,
      Array.from({ length }, () => Math.floor(random() * 9 - 4) / 4),
    );
  };
  const few = dimSymbol("few", { max: 8 });
  const columns = dimSymbol("columns");

  for (const dtype of ["f32", "f16", "bf16"] as const) {
    for (const result of dtype === "f32" ? (["f32"] as const) : (["f32", dtype] as const)) {
      it(`${dtype} to ${result}, known and open rows and columns, with and without a batch`, async () => {
        for (const m of [1, 2, 3, 4, 5, 8, few]) {
          for (const n of [1, 7, 64, 70, columns]) {
            for (const batch of [[], [2]]) {
              const axis = batch.length;
              const lead = batch.map((_, i) => i);
              const a = param("a", { dtype, shape: [...batch, m, 20] });
              const b = param("b", { dtype, shape: [...batch, n, 20] });
              const roles = { batchA: lead, batchB: lead, contractA: [axis + 1], contractB: [axis + 1], result };
              const g = graph("main", [a, b], [dotGeneral([a, b], roles)]);
              const artifact = await compile(g, { variants: ["simd128"] });
              expect(rowsUsed(artifact.manifest.entries.main!.steps.map((s) => s.kernel))).toBe(1);
              const session = await load(artifact);
              for (const rows of m === few ? [1, 4, 5, 8] : [m as number]) {
                for (const count of n === columns ? [1, 33, 130] : [n as number]) {
                  const feeds = [quarters(dtype, ...batch, rows, 20), quarters(dtype, ...batch, count, 20)];
                  const got = (await session.run({ a: feeds[0]!, b: feeds[1]! } as never)) as Readonly<
                    Record<string, Tensor>
                  >;
                  expect(toNumbers(got[g.resultNames[0]!]!)).toEqual(toNumbers(evaluate(g, feeds)[0]!));
                }
              }
              session.dispose();
            }
          }
        }
      });
    }
  }
});
