/** Transposes of every size of element, in one module: kernels of equal code are shared. */
import { describe, expect, it } from "vitest";
import { dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { transpose } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, zeros } from "../../ir/tensor.js";
import { runAll } from "./run.js";

const dtypes = ["f32", "i32", "u32", "f64", "i64", "f16", "i16", "u8", "i8", "bool"] as const;

function numbered(dtype: (typeof dtypes)[number], shape: readonly number[]): Tensor {
  const t = zeros(dtype, shape);
  for (let i = 0; i < t.data.length; i++) {
    const v = dtype === "bool" ? i % 2 : i % 100;
    (t.data as unknown as (number | bigint)[])[i] = dtype === "i64" ? BigInt(v) : v;
  }
  return t;
}

describe("transposes", () => {
  it.each([1, 2])("with %i threads", async (threads) => {
    const moves: readonly (readonly [readonly number[], readonly number[]])[] = [
      [
        [3, 50],
        [1, 0],
      ],
      [
        [50, 3],
        [1, 0],
      ],
      [
        [37, 41],
        [1, 0],
      ],
      [
        [2, 9, 10, 4],
        [0, 3, 1, 2],
      ],
      [
        [2, 4, 9, 10],
        [0, 2, 3, 1],
      ],
      [
        [3, 4, 5, 6],
        [3, 1, 2, 0],
      ],
      [
        [200, 130],
        [1, 0],
      ],
    ];
    const cases = dtypes.flatMap((dtype) =>
      moves.flatMap(([shape, perm]) =>
        [shape, shape.map((d, a) => (a === 0 ? dimSymbol("n") : d))].map((type) => {
          const x = param("x", { dtype, shape: type });
          return { graph: graph("g", [x], [transpose([x], { perm })], ["y"]), feed: numbered(dtype, shape) };
        }),
      ),
    );
    const got = await runAll(
      cases.map(({ graph: g, feed }) => ({ graph: g, runs: [[feed]] })),
      { threads },
    );
    for (const [i, { graph: g, feed }] of cases.entries()) {
      const [want] = evaluate(g, [feed]);
      expect([...(got[i]![0]![0]!.data as Int32Array)], `${feed.dtype}[${feed.shape}]`).toEqual([
        ...(want!.data as Int32Array),
      ]);
    }
  });
});
