/** Powers with constant exponents, which become products, at values whose powers overflow, vanish or are special. */

import { expect, it } from "vitest";
import { KernelPool } from "../../compiler/lower/core/kernel-builder.js";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { kernels } from "../../compiler/lower/table.js";
import { graph, param } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printStmts } from "../../ir/loop-print.js";
import { scalarConstant } from "../../ir/ops/constant.js";
import { pow } from "../../ir/ops/elementwise.js";
import { broadcast } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom } from "../../ir/tensor.js";
import { fuse } from "../../passes/graph/fuse.js";
import { disagreement } from "../ops/accuracy.js";
import { runCases } from "./run.js";

const special = [0, -0, 1, -1, Infinity, -Infinity, Number.NaN, 1e-40, -3e38, 1e13, -1e-13, 1e20, 2e-20];
const values = [...special, ...Array.from({ length: 54 }, (_, i) => Math.sin(i) * 2 ** (i - 27))];
const exponents = [-2, -1, 0, 0.5, 1, 2, 3, 4, 5];

it.each(["f32", "f64", "f16"] as const)("%s", async (dtype) => {
  const cases = exponents.map((c) => {
    const shape = [values.length];
    const x = param("x", { dtype, shape });
    const exponent = broadcast([scalarConstant(dtype, c)], { shape, axes: [] });
    return { graph: graph("power", [x], [pow([x, exponent])]), feeds: [tensorFrom(dtype, shape, values)] };
  });
  const results = await runCases(cases);
  cases.forEach(({ graph: g, feeds }, i) => {
    const [want] = evaluate(g, feeds);
    expect(disagreement(results[i]![0]!, want!, pow.accuracy), `exponent ${exponents[i]}`).toBeUndefined();
  });
});

it("is a product after a matrix product too", () => {
  const g = parseGraph(
    `graph @g(%x: f32[5,3], %w: f32[3,8]) -> f32[5,8] {
  %0: f32[5,8] = dotGeneral %x, %w {batchA=[], batchB=[], contractA=[1], contractB=[0]}
  %1: f32[] = constant {value=f32[](3)}
  %2: f32[5,8] = broadcast %1 {shape=[5,8], axes=[]}
  %3: f32[5,8] = pow %0, %2
  return %3
}`,
    "cube",
  );
  const { steps } = lowerGraph(fuse(kernels).run(g), { pool: new KernelPool() });
  const functions = steps.flatMap((s) => (s.kind === "kernel" ? [s.fn, ...s.helpers] : []));
  expect(functions.some((f) => f.name.includes("gemm") && f.name.includes("pow"))).toBe(true);
  expect(functions.map((f) => printStmts(f.body)).join()).not.toContain("pow(");
});
