import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import { broadcastTo } from "../../ir/build.js";
import { dimBounds, dimEqual, dimFloorDiv, dimMul, dimScaled, dimSymbol, dimText, evaluateDim } from "../../ir/dim.js";
import { parseDim } from "../../ir/dim-parse.js";
import { graph as makeGraph, param } from "../../ir/graph.js";
import { load } from "../../runtime/index.js";

const n = dimSymbol("n", { min: 0 });
const f32 = Math.fround;
/** As ONNX says: both factors and the product are f32. */
const want = (size: number, factor: number) => Math.floor(f32(f32(size) * f32(factor)));
const FACTORS = [0.7, 1.3, 1 / 3, 2.2, 0.6667, 0.0117, Math.PI, 1.5].map(f32);

describe("a scaled size", () => {
  it("is rounded to f32 before its fraction is cut", () => {
    expect(dimScaled(10, f32(0.7))).toBe(7);
    expect(dimScaled(90, f32(1.3))).toBe(116);
    for (const factor of FACTORS)
      for (let size = 0; size < 5000; size++)
        expect(evaluateDim(dimScaled(n, factor), new Map([["n", size]]))).toBe(want(size, factor));
  });

  it("by a whole number or a power of two is a product or a quotient", () => {
    expect(dimEqual(dimScaled(n, 3), dimMul(n, 3))).toBe(true);
    expect(dimEqual(dimScaled(n, 0.25), dimFloorDiv(n, 4))).toBe(true);
  });

  it("has a text, bounds and values of its own", () => {
    const d = dimScaled(dimSymbol("n", { min: 10, max: 20 }), f32(0.7));
    expect(dimText(d)).toBe("scaled(n, 0.699999988079071)");
    expect(
      dimEqual(
        parseDim(dimText(d), () => n),
        d,
      ),
    ).toBe(true);
    expect(dimBounds(d)).toEqual({ min: 7, max: 14 });
    expect(() => parseDim("scaled(n, 0.7)", () => n)).toThrow(/expected an f32/);
  });

  it("is computed by compiled programs as it is when compiling", async () => {
    const x = param("x", { dtype: "f32", shape: [n] });
    const row = param("row", { dtype: "f32", shape: [1] });
    const results = FACTORS.map((factor) => broadcastTo(row, [dimScaled(n, factor)]));
    const graph = makeGraph(
      "sizes",
      [x, row],
      results,
      FACTORS.map((_, i) => `y${i}`),
    );
    const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
    for (const size of [0, 1, 7, 10, 90, 1234, 100_003]) {
      const got = await session.run({ x: new Float32Array(size), row: new Float32Array([1]) });
      for (const [i, factor] of FACTORS.entries()) expect(got[`y${i}`]!.shape).toEqual([want(size, factor)]);
    }
    session.dispose();
  });

  it("is exported as f32 arithmetic", () => {
    const x = param("x", { dtype: "f32", shape: [n] });
    const row = param("row", { dtype: "f32", shape: [1] });
    const bytes = exportOnnx(makeGraph("sizes", [x, row], [broadcastTo(row, [dimScaled(n, f32(0.7))])], ["y"]));
    const ops = readOnnx(bytes).graph.nodes.map((node) => node.opType);
    expect(ops.filter((op) => ["Cast", "Mul", "Floor"].includes(op))).toEqual(["Cast", "Mul", "Floor", "Cast"]);
  });
});
