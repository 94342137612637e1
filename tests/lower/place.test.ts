/** The same element under another shape, with sizes that are known only in the run. */

import { expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { Place } from "../../compiler/lower/core/place.js";
import { loopsOf, variable } from "../../compiler/lower/elementwise/loops.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { kernels } from "../../compiler/lower/table.js";
import { type Dim, dimMul, dimSymbol, dimText, evaluateDim } from "../../ir/dim.js";
import type { Shape } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { fuse } from "../../passes/graph/fuse.js";

const s = dimSymbol("s", { min: 1, max: 64 });
const b = dimSymbol("b", { min: 1, max: 64 });
const cases: readonly (readonly [Shape, Shape])[] = [
  [
    [1, dimMul(s, b), 5],
    [s, b, 5],
  ],
  [
    [s, b, 5],
    [dimMul(s, b), 5],
  ],
  [
    [b, dimMul(s, 6)],
    [b, s, 2, 3],
  ],
  [
    [dimMul(b, s), 6],
    [b, s, 2, 3],
  ],
];

const textOf = (shape: Shape) => shape.map(dimText).join();

it.each(cases.map(([from, to]) => [textOf(from), textOf(to), from, to] as const))("%s as %s", (_, __, from, to) => {
  const loops = loopsOf(from, 7);
  const index = loops.map((l, a) => variable({ ...l, size: from[a]! }));
  const place = Place.at(from, index).reshaped(to);
  for (const sizes of [
    [1, 1],
    [1, 4],
    [3, 1],
    [3, 4],
  ] as const) {
    const values = new Map<string, number>([
      ["s", sizes[0]],
      ["b", sizes[1]],
    ]);
    const at = (d: Dim) => evaluateDim(d, values);
    const shape = from.map(at);
    const count = shape.reduce((p, d) => p * d, 1);
    for (let flat = 0; flat < count; flat++) {
      let left = flat;
      for (let a = shape.length - 1; a >= 0; a--) {
        values.set(loops[a]!.symbol, left % shape[a]!);
        left = Math.floor(left / shape[a]!);
      }
      const found = place.index.map(at).reduce((sum, i, a) => sum * at(to[a]!) + i, 0);
      expect(found).toBe(flat);
    }
  }
});

it("lets a bias join a product over steps and batch", () => {
  const g = parseGraph(
    `dim s
dim b
graph @g(%x: f32[s,b,3], %w: f32[3,8], %c: f32[8]) -> f32[s,b,8] {
  %0: f32[s,b,8] = dotGeneral %x, %w {batchA=[], batchB=[], contractA=[2], contractB=[0]}
  %1: f32[s,b,8] = broadcast %c {shape=[s,b,8], axes=[2]}
  %2: f32[s,b,8] = add %0, %1
  return %2
}`,
    "bias",
  );
  const { steps } = lowerGraph(fuse(kernels).run(g), { pool: new KernelPool() });
  const names = steps.flatMap((step) => (step.kind === "kernel" ? [step.fn.name] : [step.kind]));
  expect(names.filter((n) => !n.includes("pack"))).toEqual([expect.stringContaining("gemm")]);
});
