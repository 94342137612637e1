/** 3×3 convolutions whose weights change, and their gradients, through the whole compiler. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { sum } from "../../ir/build.js";
import { dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { conv } from "../../ir/ops/conv.js";
import { mul } from "../../ir/ops/elementwise.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { load } from "../../runtime/index.js";
import { randomF32 } from "../kernels/run.js";

interface Case {
  readonly size: readonly [number, number];
  readonly cin: number;
  readonly cout: number;
  readonly padLow: readonly [number, number];
  readonly padHigh: readonly [number, number];
  readonly stride?: number;
  /** Planes, each convolved by itself. */
  readonly depth?: number;
  /** Which of forward, dx and dw (kernels of that name) there must be. */
  readonly winograd: readonly [boolean, boolean, boolean];
}

const all = [true, true, true] as const;
const cases: readonly Case[] = [
  { size: [24, 24], cin: 16, cout: 16, padLow: [1, 1], padHigh: [1, 1], winograd: all },
  { size: [19, 30], cin: 20, cout: 12, padLow: [0, 0], padHigh: [0, 0], winograd: all },
  { size: [21, 17], cin: 16, cout: 24, padLow: [2, 0], padHigh: [1, 2], winograd: all },
  // The adjoint would crop.
  { size: [24, 24], cin: 16, cout: 16, padLow: [1, 1], padHigh: [1, 1], depth: 3, winograd: all },
  { size: [20, 20], cin: 16, cout: 16, padLow: [3, 1], padHigh: [1, 1], winograd: [true, false, true] },
  { size: [24, 24], cin: 6, cout: 16, padLow: [1, 1], padHigh: [1, 1], winograd: [false, false, false] },
  { size: [24, 24], cin: 16, cout: 16, padLow: [1, 1], padHigh: [1, 1], stride: 2, winograd: [false, false, false] },
];

describe("Winograd in training", () => {
  for (const c of cases)
    it(JSON.stringify(c), async () => {
      const { cin, cout, stride = 1 } = c;
      const solid = <T>(plane: readonly T[], by: T) => (c.depth === undefined ? plane : [by, ...plane]);
      const [size, window] = [solid(c.size, c.depth!), solid([3, 3], 1)];
      const [padLow, padHigh] = [solid(c.padLow, 0), solid(c.padHigh, 0)];
      const x = param("x", { dtype: "f32", shape: [dimSymbol("n"), cin, ...size] });
      const w = param("w", { dtype: "f32", shape: [cout, cin, ...window] });
      const out = size.map((s, a) => Math.floor((s + padLow[a]! + padHigh[a]! - window[a]!) / stride) + 1);
      const dy = param("dy", { dtype: "f32", shape: [dimSymbol("n"), cout, ...out] });
      const [strides, dilations] = [size.map(() => stride), size.map(() => 1)];
      const attrs = { strides, dilations, padLow, padHigh, groups: 1 };
      const y = conv([x, w], { ...attrs, layout: "channelsFirst" });
      const g = graph("g", [x, w, dy], [y, ...gradients(sum(mul([y, dy])), [x, w])], ["y", "dx", "dw"]);
      const artifact = await compile(g, { variants: ["simd128"] });
      const kernels = artifact.manifest.entries.main!.steps.map((s) => s.kernel);
      const [forward, dx, dw] = c.winograd;
      const has = (prefix: string) => kernels.some((k) => k.startsWith(prefix));
      expect(has("f32_winograd_weights")).toBe(forward || dx);
      expect(has("f32_winograd_weights_flipped")).toBe(dx);
      expect(has("f32_winograd_grad_weights")).toBe(dw);
      const session = await load(artifact);
      for (const n of [1, 5]) {
        const feeds = [
          randomF32([n, cin, ...size], 1),
          randomF32([cout, cin, ...window], 2),
          randomF32([n, cout, ...out], 3),
        ];
        const want = evaluate(g, feeds);
        const got = await session.run({ x: feeds[0]!, w: feeds[1]!, dy: feeds[2]! } as never);
        for (const [i, name] of g.resultNames.entries()) {
          const expected = toNumbers(want[i]!);
          const actual = toNumbers(got[name] as Tensor);
          const scale = Math.max(...expected.map(Math.abs));
          expect(actual.length).toBe(expected.length);
          const worst = Math.max(...expected.map((e, k) => Math.abs(e - actual[k]!)));
          expect(worst, `${name} of ${n}`).toBeLessThan(2e-5 * scale);
        }
      }
      session.dispose();
    });
});
