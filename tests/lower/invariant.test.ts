/** What loops read unchanged in every round is packed before them. */

import { describe, expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { forEachStep, type Step } from "../../compiler/schedule.js";
import type { Graph } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { evaluate } from "../../ir/reference.js";
import { randomTensor, seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";
import { runCases } from "./run.js";

const product = (a: string, b: string) => `dotGeneral ${a}, ${b} {batchA=[], batchB=[], contractA=[1], contractB=[1]}`;

const cell = parseGraph(
  `graph @g(%h: f32[2,5], %xs: f32[7,2,5], %w: f32[5,5]) -> f32[7,2,5] {
  %0: f32[2,5], %1: f32[7,2,5] = scan %h, %xs, %w {carried=1, inputs=1, length=7, reverse=false}
    graph @body(%h: f32[2,5], %x: f32[2,5], %w: f32[5,5]) -> (f32[2,5], f32[2,5]) {
      %0: f32[2,5] = ${product("%h", "%w")}
      %1: f32[2,5] = add %0, %x
      %2: f32[2,5] = tanh %1
      return %2, %2
    }
  return %1
}`,
  "cell",
);

// The inner loop captures a weight that the outer one captures, and one that changes with the outer round.
const nested = parseGraph(
  `graph @g(%h: f32[1,5], %ws: f32[3,5,5], %w: f32[5,5]) -> f32[1,5] {
  %0: f32[1,5] = scan %h, %ws, %w {carried=1, inputs=1, length=3, reverse=false}
    graph @outer(%h: f32[1,5], %v: f32[5,5], %w: f32[5,5]) -> f32[1,5] {
      %0: f32[1,5] = scan %h, %v, %w {carried=1, inputs=0, length=2, reverse=false}
        graph @inner(%h: f32[1,5], %v: f32[5,5], %w: f32[5,5]) -> f32[1,5] {
          %0: f32[1,5] = ${product("%h", "%v")}
          %1: f32[1,5] = ${product("%0", "%w")}
          %2: f32[1,5] = tanh %1
          return %2
        }
      return %0
    }
  return %0
}`,
  "nested",
);

const packs = (steps: readonly Step[]): number =>
  steps.filter((s) => s.kind === "kernel" && s.fn.name.includes("pack_panels")).length;
const loopsOf = (steps: readonly Step[]) => steps.flatMap((s) => (s.kind === "for" ? [s.body] : []));

async function agrees(g: Graph): Promise<void> {
  const random = seeded(3);
  const feeds = g.params.map((p) => randomTensor(random, p.type.dtype, p.type.shape as number[], [-1, 1]));
  const [got] = await runCases([{ graph: g, feeds }]);
  evaluate(g, feeds).forEach((want, i) => {
    expect(disagreement(got![i]!, want, { rtol: 1e-5, atol: 1e-6 })).toBeUndefined();
  });
}

describe("a captured operand of a product", () => {
  it("is packed before the loop", async () => {
    const { steps } = lowerGraph(cell, { pool: new KernelPool() });
    expect(packs(steps)).toBe(1);
    expect(packs(loopsOf(steps)[0]!)).toBe(0);
    await agrees(cell);
  });

  it("is packed before all loops in which it does not change, and no others", async () => {
    const { steps } = lowerGraph(nested, { pool: new KernelPool() });
    const [outer] = loopsOf(steps);
    const [inner] = loopsOf(outer!);
    expect([packs(steps), packs(outer!), packs(inner!)]).toEqual([1, 1, 0]);
    let all = 0;
    forEachStep(steps, (s) => {
      all += packs([s]);
    });
    expect(all).toBe(2);
    await agrees(nested);
  });
});
