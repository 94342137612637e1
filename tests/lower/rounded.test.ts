/** Rounded and limited floats as integers: to the even one in the middle, NaN to 0, whatever the limits, in vectors and their rests. */

import { describe, expect, it } from "vitest";
import { defaultPipeline } from "../../compiler/pipeline.js";
import type { DType } from "../../ir/dtype.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { constantLike } from "../../ir/ops/constant.js";
import { add, max, min, mul, round } from "../../ir/ops/elementwise.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom } from "../../ir/tensor.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { runCases } from "./run.js";

const limited = (x: Value, shift: number, low: number, high: number): Value => {
  const rounded = round([x]);
  const moved = shift === 0 ? rounded : add([rounded, constantLike(x, shift)]);
  return min([max([moved, constantLike(x, low)]), constantLike(x, high)]);
};

const special = [NaN, Infinity, -Infinity, -0, 0, 3e38, -3e38, 2 ** 22, -(2 ** 22) - 1, 2 ** 31, 8388608.5, 1e-40];
const halves = Array.from({ length: 1201 }, (_, i) => (i - 600) / 2);
const near = halves.flatMap((x) => [Math.fround(x - 2e-5), Math.fround(x + 2e-5)]);
const floats = [...special, ...halves, ...near];

const cases: readonly (readonly [DType, number, number, number])[] = [
  ["u8", 128, 0, 255],
  ["u8", 0, 0, 255],
  ["i8", -3, -128, 127],
  ["i8", 0, -7, 6],
  ["i16", 17, -255, 255],
  ["i32", -5, -300, 300],
  ["i32", 0, -(2 ** 21), 2 ** 21],
  ["i64", 1, -128, 127],
];

describe.each(cases)("to %s, moved by %i, within %i and %i", (dtype, shift, low, high) => {
  it.each([floats.length, 1, 7])("%i numbers", async (count) => {
    const x = param("x", { dtype: "f32", shape: [count] });
    const to = (v: Value) => cast([cast([v], { to: "i32" })], { to: dtype });
    const y = limited(x, shift, low, high);
    // As a float too, and of integers, which are never NaN.
    const whole = limited(
      mul([cast([cast([x], { to: "i32" })], { to: "f32" }), constantLike(x, 0.3)]),
      shift,
      low,
      high,
    );
    const g = graph("g", [x], [to(y), y, to(whole), cast([to(y)], { to: "f32" })]);
    const feeds = [tensorFrom("f32", [count], floats.slice(0, count))];
    const want = evaluate(g, feeds);
    const lowered = runPipeline(defaultPipeline, g);
    const [got] = await runCases([{ graph: lowered, feeds }], { optimize: loopPipeline });
    expect(got!.map((t) => [...t.data])).toEqual(want.map((t) => [...t.data]));
  });
});
