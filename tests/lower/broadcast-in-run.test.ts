/** Axes of which only a run tells whether they broadcast. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { broadcastTo, np, sum, where } from "../../ir/build.js";
import { type Dim, dimSymbol, dimText } from "../../ir/dim.js";
import { matmul } from "../../ir/einsum.js";
import { type Graph, graph, param, type Shape, type Value } from "../../ir/graph.js";
import { exp, mul } from "../../ir/ops/elementwise.js";
import { softmax } from "../../ir/ops/softmax.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { load } from "../../runtime/index.js";

type Sizes = Readonly<Record<string, number>>;

const named = (name: string) => dimSymbol(name);
const [a, b, m, n, s] = ["a", "b", "m", "n", "s"].map(named) as [Dim, Dim, Dim, Dim, Dim];
const sized = (d: Dim, sizes: Sizes): number => (typeof d === "number" ? d : sizes[d.key]!);

function filled(shape: readonly number[], seed: number): Tensor {
  const count = shape.reduce((p, d) => p * d, 1);
  return tensorFrom(
    "f32",
    shape,
    Array.from({ length: count }, (_, i) => (((i + seed) * 7) % 23) / 8 - 1),
  );
}

interface Case {
  readonly shapes: readonly Shape[];
  readonly build: (...values: Value[]) => readonly Value[];
  readonly runs: readonly Sizes[];
  readonly refused: readonly Sizes[];
}

const pair = (f: (x: Value, y: Value) => Value) =>
  ({ build: (x: Value, y: Value) => [f(x!, y!)] }) as Pick<Case, "build">;

const CASES: Readonly<Record<string, Case>> = {
  "two vectors": {
    shapes: [[a], [b]],
    ...pair(np.add),
    runs: [
      { a: 1, b: 1 },
      { a: 1, b: 9 },
      { a: 9, b: 1 },
      { a: 37, b: 37 },
    ],
    refused: [
      { a: 2, b: 3 },
      { a: 3, b: 2 },
      { a: 8, b: 9 },
    ],
  },
  "a vector and a number": {
    shapes: [[2, a], [17]],
    ...pair(np.mul),
    runs: [{ a: 1 }, { a: 17 }],
    refused: [{ a: 2 }, { a: 16 }],
  },
  "outer axes": {
    shapes: [
      [a, 1, n, 5],
      [b, 4, n, 5],
    ],
    ...pair((x, y) => np.sub(exp([x]), y)),
    runs: [
      { a: 1, b: 3, n: 6 },
      { a: 3, b: 1, n: 6 },
      { a: 2, b: 2, n: 1 },
    ],
    refused: [{ a: 2, b: 3, n: 6 }],
  },
  "a mask under a softmax": {
    shapes: [
      [b, 4, s, s],
      [m, 1, s, n],
    ],
    ...pair((x, y) => softmax([np.add(x, y)], { axis: 3 })),
    runs: [
      { b: 2, m: 1, s: 3, n: 3 },
      { b: 2, m: 2, s: 9, n: 1 },
      { b: 1, m: 3, s: 5, n: 5 },
      { b: 2, m: 1, s: 1, n: 6 },
    ],
    refused: [
      { b: 2, m: 3, s: 3, n: 3 },
      { b: 2, m: 2, s: 3, n: 2 },
    ],
  },
  "three of a kind": {
    shapes: [
      [a, 6],
      [b, m],
      [n, 1],
    ],
    build: (x, y, z) => [np.add(np.mul(x!, y!), z!), sum(np.mul(z!, y!), 1)],
    runs: [
      { a: 1, b: 4, m: 6, n: 4 },
      { a: 4, b: 1, m: 1, n: 1 },
      { a: 1, b: 1, m: 6, n: 5 },
    ],
    refused: [
      { a: 1, b: 4, m: 5, n: 4 },
      { a: 2, b: 1, m: 6, n: 3 },
    ],
  },
  "where, and a later meeting": {
    shapes: [[a, n], [b, n], [n]],
    build: (x, y, z) => {
      const chosen = where(np.gt(x!, 0), y!, z!);
      return [chosen, np.add(chosen, x!), np.add(sum(chosen, 0), z!)];
    },
    runs: [
      { a: 1, b: 3, n: 7 },
      { a: 3, b: 1, n: 7 },
      { a: 2, b: 2, n: 1 },
    ],
    refused: [{ a: 2, b: 3, n: 7 }],
  },
  "batches of products": {
    shapes: [
      [a, 3, n],
      [b, n, 4],
    ],
    ...pair(matmul),
    runs: [
      { a: 1, b: 3, n: 7 },
      { a: 3, b: 1, n: 7 },
      { a: 2, b: 2, n: 1 },
    ],
    refused: [{ a: 2, b: 3, n: 7 }],
  },
};

const graphOf = ({ shapes, build }: Case): Graph => {
  const params = shapes.map((shape, i) => param(`x${i}`, { dtype: "f32", shape }));
  const results = build(...params);
  return graph(
    "g",
    params,
    results,
    results.map((_, i) => `y${i}`),
  );
};

const feedsOf = (g: Graph, sizes: Sizes): Record<string, Tensor> =>
  Object.fromEntries(
    g.params.map((p, i) => [
      `x${i}`,
      filled(
        p.type.shape.map((d) => sized(d, sizes)),
        i,
      ),
    ]),
  );

function expectNear(got: Tensor, want: Tensor, what: string): void {
  expect(got.shape, what).toEqual(want.shape);
  const values = toNumbers(want);
  for (const [i, v] of toNumbers(got).entries())
    expect(Math.abs(v - values[i]!), `${what}, element ${i}`).toBeLessThanOrEqual(1e-5 * (1 + Math.abs(values[i]!)));
}

describe.each(Object.entries(CASES))("%s", (_, c) => {
  it("runs with sizes of 1 and with equal ones, and refuses others", async () => {
    const g = graphOf(c);
    const artifact = await compile(g, { variants: ["simd128", "simd128-threads"] });
    for (const threads of [1, 2]) {
      const session = await load(artifact, { threads });
      for (const sizes of c.runs) {
        const feeds = feedsOf(g, sizes);
        const got = (await session.run(feeds as never)) as Record<string, Tensor>;
        evaluate(g, feeds).forEach((want, i) => {
          expectNear(got[`y${i}`]!, want, `${JSON.stringify(sizes)} y${i}`);
        });
      }
      for (const sizes of c.refused) {
        const feeds = feedsOf(g, sizes);
        await expect(session.run(feeds as never), JSON.stringify(sizes)).rejects.toThrow(/must (be 1 or|equal)/);
        expect(() => evaluate(g, feeds)).toThrow(/must (be 1 or|equal)/);
      }
      session.dispose();
    }
  });
});

it("sums gradients where a run has repeated elements", async () => {
  const x = param("x0", { dtype: "f32", shape: [a, n] });
  const y = param("x1", { dtype: "f32", shape: [b, m] });
  const loss = sum(mul([np.mul(x, y), np.mul(x, y)]));
  const [dx, dy] = gradients(loss, [x, y]);
  const g = graph("g", [x, y], [dx!, dy!], ["dx", "dy"]);
  const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
  for (const sizes of [
    { a: 1, n: 5, b: 3, m: 1 },
    { a: 2, n: 1, b: 2, m: 4 },
    { a: 2, n: 3, b: 2, m: 3 },
  ] satisfies Sizes[]) {
    const feeds = feedsOf(g, sizes);
    const got = (await session.run(feeds as never)) as Record<string, Tensor>;
    const [vx, vy] = [toNumbers(feeds.x0!), toNumbers(feeds.x1!)];
    const at = (v: readonly number[], rows: number, columns: number, i: number, j: number) =>
      v[(rows === 1 ? 0 : i) * columns + (columns === 1 ? 0 : j)]!;
    const want = { dx: vx.map(() => 0), dy: vy.map(() => 0) };
    for (let i = 0; i < Math.max(sizes.a, sizes.b); i++)
      for (let j = 0; j < Math.max(sizes.n, sizes.m); j++) {
        const [p, q] = [at(vx, sizes.a, sizes.n, i, j), at(vy, sizes.b, sizes.m, i, j)];
        want.dx[(sizes.a === 1 ? 0 : i) * sizes.n + (sizes.n === 1 ? 0 : j)]! += 2 * p * q * q;
        want.dy[(sizes.b === 1 ? 0 : i) * sizes.m + (sizes.m === 1 ? 0 : j)]! += 2 * p * p * q;
      }
    expectNear(got.dx!, tensorFrom("f32", feeds.x0!.shape, want.dx), `dx ${JSON.stringify(sizes)}`);
    expectNear(got.dy!, tensorFrom("f32", feeds.x1!.shape, want.dy), `dy ${JSON.stringify(sizes)}`);
  }
  session.dispose();
});

describe("when compiling", () => {
  const of = (...shape: Dim[]) => param("x", { dtype: "f32", shape });

  it("ranges decide", () => {
    const few = dimSymbol("few", { min: 1, max: 3 });
    expect(np.add(of(1, few), of(5)).type.shape).toEqual([1, 5]);
    const many = dimSymbol("many", { min: 2 });
    expect(np.add(of(n), of(many)).type.shape.map(dimText)).toEqual(["many"]);
    expect(() => np.add(of(dimSymbol("two", { min: 2, max: 3 })), of(5))).toThrow(/do not broadcast/);
  });

  it("sizes computed from one another are equal", () => {
    const other = dimSymbol("h");
    expect(np.add(of(other), of(other)).type.shape).toEqual([other]);
    expect(broadcastTo(of(1), [other]).type.shape).toEqual([other]);
    expect(() => np.add(of(n), of(dimSymbol("k", { min: 5, max: 4 + 5 })))).not.toThrow();
  });
});
