/** Transposed convolutions with strides, whose phases are the channels of one convolution, wherever the kernel serves them. */

import { describe, expect, it } from "vitest";
import { lowerGraph } from "../../compiler/lower/lower.js";
import { kernels } from "../../compiler/lower/table.js";
import { phasesKernel } from "../../compiler/lower/window/conv-phases.js";
import { np } from "../../ir/build.js";
import { dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { constant } from "../../ir/ops/constant.js";
import { convInputGrad } from "../../ir/ops/conv.js";
import { max } from "../../ir/ops/elementwise.js";
import { evaluate } from "../../ir/reference.js";
import { toNumbers } from "../../ir/tensor.js";
import { pipelineFor, runPipeline } from "../../passes/pipeline.js";
import { randomF32 } from "../kernels/run.js";
import { runAll } from "./run.js";

interface Case {
  /** Of dy. */
  readonly size: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padLow?: readonly number[];
  readonly padHigh?: readonly number[];
  /** Rows and columns of the result that no window sees. */
  readonly more?: readonly number[];
  readonly served?: boolean;
}

const cases: readonly Case[] = [
  { size: [5, 7], from: 8, to: 8, kernel: [4, 4], stride: [2, 2], padLow: [1, 1], padHigh: [1, 1] },
  { size: [4, 4], from: 5, to: 3, kernel: [4, 4], stride: [2, 2], padLow: [1, 1], padHigh: [1, 1] },
  { size: [3, 6], from: 4, to: 6, kernel: [3, 3], stride: [2, 2], padLow: [1, 1], padHigh: [0, 1], more: [0, 1] },
  { size: [6, 3], from: 3, to: 5, kernel: [2, 2], stride: [2, 2] },
  { size: [3, 4], from: 4, to: 9, kernel: [2, 3], stride: [3, 2], more: [2, 1] },
  { size: [4, 5], from: 6, to: 4, kernel: [5, 5], stride: [2, 3], padLow: [2, 4], padHigh: [4, 0] },
  { size: [1, 9], from: 4, to: 4, kernel: [1, 4], stride: [1, 2], padLow: [0, 1], padHigh: [0, 1] },
  { size: [4, 4], from: 4, to: 4, kernel: [2, 2], stride: [2, 2], padLow: [0, 0], padHigh: [2, 0] },
  { size: [5, 4], from: 4, to: 12, kernel: [4, 4], stride: [2, 2], padLow: [1, 1], padHigh: [1, 1] },
  { size: [4, 5], from: 3, to: 14, kernel: [3, 3], stride: [2, 2], padLow: [1, 0], padHigh: [1, 1], more: [1, 0] },
  { size: [4, 6], from: 4, to: 16, kernel: [5, 1], stride: [3, 2], padLow: [4, 0], padHigh: [1, 0], more: [0, 1] },
  { size: [5, 6], from: 4, to: 4, kernel: [5, 1], stride: [3, 2], padLow: [4, 0], padHigh: [5, 0] },
  { size: [4, 4], from: 4, to: 4, kernel: [3, 3], stride: [1, 1], served: false },
];

/** Whatever it costs. */
const always = kernels.with("convInputGrad", { ...phasesKernel, name: "always", cost: () => 0 });

describe.each(["channelsLast", "channelsFirst"] as const)("phases, %s", (layout) => {
  it.each(cases)("%j", async (c) => {
    // Parts write side by side.
    const threads = layout === "channelsLast" ? 1 : 2;
    const { size, from, to, kernel, stride, padLow = [0, 0], padHigh = [0, 0], more = [0, 0] } = c;
    const inputSize = size.map((n, a) => (n - 1) * stride[a]! + kernel[a]! - padLow[a]! - padHigh[a]! + more[a]!);
    const image = <T>(n: T, channels: number, plane: readonly number[]) =>
      layout === "channelsLast" ? [n, ...plane, channels] : [n, channels, ...plane];
    const dy = param("dy", { dtype: "f32", shape: image(dimSymbol("n"), from, size) });
    const w = constant([], { value: randomF32(image(from, to, kernel), 2) });
    const bias = randomF32(layout === "channelsLast" ? [to] : [to, 1, 1], 3);
    const attrs = { strides: stride, dilations: [1, 1], padLow, padHigh, groups: 1, layout, inputSize };
    const sums = convInputGrad([dy, w], attrs);
    const y = max([np.add(sums, constant([], { value: bias })), np.mul(sums, 0.1)]);
    const g = graph("g", [dy], [y], ["y"]);
    const prepared = runPipeline(pipelineFor(always), g, { verify: true });
    const used = lowerGraph(prepared, { kernels: always }).steps.flatMap((k) =>
      k.kind === "kernel" ? [k.fn.name] : [],
    );
    expect(used.some((k) => k.includes("interleave"))).toBe(c.served ?? true);
    const runs = [1, 3].map((n) => [randomF32(image(n, from, size), 1)]);
    const [got] = await runAll([{ graph: prepared, runs }], { kernels: always, threads });
    for (const [r, feeds] of runs.entries()) {
      const expected = toNumbers(evaluate(g, feeds)[0]!);
      const actual = toNumbers(got![r]![0]!);
      expect(actual.length).toBe(expected.length);
      const worst = Math.max(...expected.map((e, k) => Math.abs(e - actual[k]!)));
      expect(worst, `run ${r}`).toBeLessThan(2e-5);
    }
  });
});
