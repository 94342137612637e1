/** Products of narrow types with what follows them: integers exactly, half floats as the reference rounds them. */

import { describe, expect, it } from "vitest";
import { defaultPipeline } from "../../compiler/pipeline.js";
import type { DType } from "../../ir/dtype.js";
import { graph, param, type Shape, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { constant, constantLike } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { type ConvAttrs, conv } from "../../ir/ops/conv.js";
import { add, max, min, mul, round, sub } from "../../ir/ops/elementwise.js";
import { broadcast, pad, transpose } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";
import { runCases } from "./run.js";

const random = seeded(7);
const numbers = (dtype: DType, shape: readonly number[], low: number, high: number): Tensor => {
  const whole = !dtype.startsWith("f");
  const draw = () => low + random() * (high - low);
  const length = shape.reduce((a, b) => a * b, 1);
  return tensorFrom(
    dtype,
    shape,
    Array.from({ length }, () => (whole ? Math.round(draw()) : draw())),
  );
};
const known = (t: Tensor): Value => constant([], { value: t });
const to = (v: Value, dtype: DType): Value => cast([v], { to: dtype });
const spread = (v: Value, like: Value, axes: readonly number[]): Value =>
  broadcast([v], { shape: like.type.shape, axes });

/** round(acc · scale) + zero, limited to the type, with a scale for each channel. */
function requantised(acc: Value, axis: number, zero: number, dtype: "i8" | "u8"): Value {
  const channels = acc.type.shape[axis] as number;
  const scale = known(numbers("f32", [channels], 1e-4, 2e-3));
  const rounded = round([mul([to(acc, "f32"), spread(scale, acc, [axis])])]);
  const shifted = add([rounded, constantLike(rounded, zero)]);
  const [low, high] = dtype === "i8" ? [-128, 127] : [0, 255];
  const limited = min([max([shifted, constantLike(shifted, low)]), constantLike(shifted, high)]);
  return to(to(limited, "i32"), dtype);
}

const attrs = (padding: number, stride: number, groups: number): ConvAttrs => ({
  strides: [stride, stride],
  padLow: [padding, padding],
  padHigh: [padding, padding],
  dilations: [1, 1],
  groups,
  layout: "channelsFirst",
});

type Build = () => { readonly params: readonly Value[]; readonly result: Value; readonly feeds: readonly Tensor[] };

/** A convolution of bytes less a zero point known when running, in i32. */
const centredConv =
  (x: readonly number[], w: readonly number[], a: ConvAttrs, dtype: "i8" | "u8"): Build =>
  () => {
    const [value, zero] = [param("x", { dtype: "u8", shape: x }), param("zero", { dtype: "u8", shape: [] })];
    const wide = sub([to(value, "i32"), spread(to(zero, "i32"), value, [])]);
    const weights = to(known(numbers("i8", w, -128, 127)), "i32");
    const result = requantised(conv([wide, weights], a), 1, 7, dtype);
    return { params: [value, zero], result, feeds: [numbers("u8", x, 0, 255), numbers("u8", [], 100, 140)] };
  };

/** A convolution of bytes padded with their zero point, followed by another. */
const paddedConv = (): ReturnType<Build> => {
  const x = param("x", { dtype: "i8", shape: [2, 3, 9, 8] });
  const step = (v: Value, channels: number): Value => {
    const padded = pad([v], { low: [0, 0, 1, 1], high: [0, 0, 1, 2], interior: [0, 0, 0, 0], value: -9 });
    const weights = numbers("i8", [channels, v.type.shape[1] as number, 3, 3], -128, 127);
    return requantised(conv([padded, known(weights)], attrs(0, 1, 1)), 1, -9, "i8");
  };
  return { params: [x], result: step(step(x, 10), 5), feeds: [numbers("i8", [2, 3, 9, 8], -128, 127)] };
};

const plain = { batchA: [], batchB: [], contractA: [1], contractB: [0] };

const matrices =
  (m: number, k: number, n: number, constantB: boolean, swapped: boolean): Build =>
  () => {
    const [aShape, bShape] = [swapped ? [k, m] : [m, k], [k, n]];
    const a = param("a", { dtype: "u8", shape: aShape });
    const b = param("b", { dtype: "i8", shape: bShape });
    const right = numbers("i8", bShape, -128, 127);
    const left = swapped ? transpose([a], { perm: [1, 0] }) : a;
    const product = dotGeneral([left, constantB ? known(right) : b], { ...plain, result: "i32" });
    return {
      params: constantB ? [a] : [a, b],
      result: requantised(product, 1, 3, "u8"),
      feeds: [numbers("u8", aShape, 0, 255), ...(constantB ? [] : [right])],
    };
  };

/** A convolution in f32 whose result is limited and rounded to half floats. */
const halfConv =
  (x: readonly number[], w: readonly number[], a: ConvAttrs): Build =>
  () => {
    const value = param("x", { dtype: "f16", shape: x });
    const y = conv([to(value, "f32"), to(known(numbers("f16", w, -1, 1)), "f32")], a);
    const biased = add([y, spread(known(numbers("f32", [w[0]!], -1, 1)), y, [1])]);
    const rounded = to(biased, "f16");
    return { params: [value], result: max([rounded, constantLike(rounded, 0)]), feeds: [numbers("f16", x, -1, 1)] };
  };

const exact: Readonly<Record<string, Build>> = {
  "3×3": centredConv([2, 8, 9, 7], [12, 8, 3, 3], attrs(1, 1, 1), "u8"),
  "3×3, odd channels, stride 2": centredConv([1, 3, 11, 9], [5, 3, 3, 3], attrs(1, 2, 1), "i8"),
  "1×1": centredConv([1, 6, 5, 5], [17, 6, 1, 1], attrs(0, 1, 1), "u8"),
  "1×1, odd channels": centredConv([1, 7, 5, 5], [9, 7, 1, 1], attrs(0, 1, 1), "u8"),
  groups: centredConv([1, 9, 6, 5], [6, 3, 3, 3], attrs(1, 1, 3), "u8"),
  depthwise: centredConv([1, 6, 7, 7], [6, 1, 3, 3], attrs(1, 1, 6), "u8"),
  "padding with the zero point": paddedConv,
  "matrix by constants": matrices(5, 24, 19, true, false),
  "row by constants, odd": matrices(1, 33, 40, true, false),
  "transposed matrix by constants": matrices(7, 12, 9, true, true),
  "two matrices": matrices(6, 31, 21, false, false),
  "two matrices, many rows": matrices(40, 16, 9, false, false),
};

const halves: Readonly<Record<string, Build>> = {
  "1×1": halfConv([1, 5, 6, 6], [9, 5, 1, 1], attrs(0, 1, 1)),
  "3×3 with stride": halfConv([1, 3, 9, 9], [7, 3, 3, 3], attrs(1, 2, 1)),
  depthwise: halfConv([1, 6, 7, 7], [6, 1, 3, 3], attrs(1, 1, 6)),
  "3×3 by transforms": halfConv([1, 32, 16, 16], [32, 32, 3, 3], attrs(1, 1, 1)),
};

const shapes = (s: Shape): readonly number[] => s as readonly number[];

describe.each([1, 2])("on %i threads", (threads) => {
  const compiled = async (builds: Readonly<Record<string, Build>>) => {
    const made = Object.values(builds).map((build) => build());
    const graphs = made.map(({ params, result }) => graph("g", params, [result]));
    const cases = graphs.map((g, i) => ({
      graph: runPipeline(defaultPipeline, g, { verify: true }),
      feeds: made[i]!.feeds,
    }));
    const got = await runCases(cases, { optimize: loopPipeline, threads });
    return Object.keys(builds).map((name, i) => ({
      name,
      got: got[i]![0]!,
      want: evaluate(graphs[i]!, made[i]!.feeds)[0]!,
    }));
  };

  it("integers come out exactly", async () => {
    for (const { name, got, want } of await compiled(exact)) {
      expect(shapes(got.shape), name).toEqual(want.shape);
      expect([...got.data], name).toEqual([...want.data]);
    }
  }, 60_000);

  it("half floats come out within a last place", async () => {
    for (const { name, got, want } of await compiled(halves)) {
      expect(disagreement(got, want, { rtol: 2 ** -23, atol: 2.5e-9 }), name).toBeUndefined();
      // Tolerances are stated for f32: of halves, 2^-10 and 2e-5. Sums in another order rarely round to another half.
      const differing = [...want.data].filter((bits, i) => bits !== got.data[i]).length;
      expect(differing, name).toBeLessThan(want.data.length / 20);
    }
  }, 60_000);
});
