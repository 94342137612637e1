/** Products whose inner size one operand states as a number and the other only by a name. */

import { expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { dimSymbol } from "../../ir/dim.js";
import type { DType } from "../../ir/dtype.js";
import { type Graph, graph, param, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv } from "../../ir/ops/conv.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";

const sizes = [1, 3, 10];
const pairs: readonly (readonly [DType, DType])[] = [
  ["f32", "f32"],
  ["u8", "i8"],
  ["i8", "i8"],
  ["u8", "u8"],
  ["i16", "i8"],
  ["i16", "i16"],
  ["i32", "i32"],
];

/** Whole numbers that every dtype holds, none of them alike. */
function filled(dtype: DType, shape: readonly number[], seed: number): Tensor {
  const count = shape.reduce((p, d) => p * d, 1);
  const low = dtype === "u8" ? 0 : -60;
  return tensorFrom(
    dtype,
    shape,
    Array.from({ length: count }, (_, i) => low + ((i * 37 + seed * 11) % 119)),
  );
}

const product = (a: Value, b: Value, contractA: number, contractB: number): Value =>
  dotGeneral([a, b], { batchA: [], batchB: [], contractA: [contractA], contractB: [contractB] });

/** Graphs of x with a named inner size, and constant or fed weights with a number there; and the other way round. */
function graphs([left, right]: readonly [DType, DType], k: number): Record<string, Graph> {
  const inner = dimSymbol("k");
  const n = dimSymbol("n");
  const x = param("x", { dtype: left, shape: [n, inner] });
  const w = constant([], { value: filled(right, [k, 5], 2) });
  const transposed = constant([], { value: filled(right, [5, k], 3) });
  const fed = param("w", { dtype: right, shape: [k, 5] });
  const known = param("x", { dtype: left, shape: [n, k] });
  const open = param("w", { dtype: right, shape: [inner, 5] });
  return {
    constant: graph("g", [x], [product(x, w, 1, 0)], ["y"]),
    transposed: graph("g", [x], [product(x, transposed, 1, 1)], ["y"]),
    columns: graph("g", [x], [product(x, constant([], { value: filled(right, [k], 4) }), 1, 0)], ["y"]),
    fed: graph("g", [x, fed], [product(x, fed, 1, 0)], ["y"]),
    other: graph("g", [known, open], [product(known, open, 1, 0)], ["y"]),
    convolution: convolution(left, right, k),
  };
}

function convolution(left: DType, right: DType, k: number): Graph {
  const x = param("x", { dtype: left, shape: [dimSymbol("n"), 4, 4, dimSymbol("k")] });
  const w = constant([], { value: filled(right, [6, 3, 3, k], 5) });
  const attrs = {
    strides: [1, 1],
    padLow: [1, 1],
    padHigh: [1, 1],
    dilations: [1, 1],
    layout: "channelsLast" as const,
  };
  const wide = (v: Value) => (left === "i8" ? cast([v], { to: "i16" }) : v);
  return graph("g", [x], [conv([wide(x), wide(w)], { ...attrs, groups: 1 })], ["y"]);
}

it.each(pairs)("%s · %s", async (left, right) => {
  for (const k of sizes) {
    for (const [name, g] of Object.entries(graphs([left, right], k))) {
      const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
      for (const n of [1, 20]) {
        const shapes: Record<string, number[]> = {
          x: name === "convolution" ? [n, 4, 4, k] : [n, k],
          w: [k, 5],
        };
        const feeds = Object.fromEntries(
          g.params.map((p, i) => {
            const key = i === 0 ? "x" : "w";
            return [key, filled(p.type.dtype, shapes[key]!, i)];
          }),
        );
        const got = (await session.run(feeds as never)).y!;
        const [want] = evaluate(g, feeds);
        expect(got.shape, `${name} k=${k}`).toEqual(want!.shape);
        expect(Array.from(got.data as Float32Array), `${name} k=${k} n=${n}`).toEqual(toNumbers(want!));
      }
      session.dispose();
    }
  }
});
