/** Whole graphs through the default passes, fused and laid out, against the reference of what they came from. */

import { describe, expect, it } from "vitest";
import { kernels } from "../../compiler/lower/table.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { dimSymbol } from "../../ir/dim.js";
import { type Graph, graph, graphNodes, param, type Shape, type Value } from "../../ir/graph.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { constantLike, scalarConstant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv } from "../../ir/ops/conv.js";
import { add, div, exp, max, mul, neg, sigmoid, sqrt, sub, tanh } from "../../ir/ops/elementwise.js";
import { gt, select } from "../../ir/ops/logic.js";
import { broadcast, concat, pad, reshape, slice, transpose } from "../../ir/ops/movement.js";
import { reduceMax, spread, sum } from "../../ir/ops/reduce.js";
import { maxPool } from "../../ir/ops/window.js";
import { evaluate } from "../../ir/reference.js";
import type { Tensor } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { fuse } from "../../passes/graph/fuse.js";
import { layout } from "../../passes/graph/layout.js";
import { loopPipeline } from "../../passes/loop/pipeline.js";
import { runPipeline } from "../../passes/pipeline.js";
import { randomTensor, seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";
import { runCases } from "./run.js";

const batch = dimSymbol("batch");
const f32 = (name: string, ...shape: Shape): Value => param(name, { dtype: "f32", shape });
const relu = (x: Value): Value => max([x, constantLike(x, 0)]);
const last = (x: Value) => ({ axes: [x.type.shape.length - 1], keepDims: true });
const along = (v: Value, x: Value, axes: readonly number[]): Value => broadcast([v], { shape: x.type.shape, axes });

function softmax(x: Value, axis: number): Value {
  const attrs = { axes: [axis], keepDims: true };
  const e = exp([sub([x, spread(reduceMax([x], attrs), x, [axis], true)])]);
  return div([e, spread(sum([e], attrs), e, [axis], true)]);
}

function normalized(x: Value): Value {
  const axis = x.type.shape.length - 1;
  const n = constantLike(sum([x], last(x)), 1 / (x.type.shape[axis] as number));
  const mean = mul([sum([x], last(x)), n]);
  const centred = sub([x, spread(mean, x, [axis], true)]);
  const variance = mul([sum([mul([centred, centred])], last(x)), n]);
  return div([centred, spread(sqrt([add([variance, constantLike(variance, 1e-5)])]), x, [axis], true)]);
}

const convAttrs = (padding: number, stride = 1, groups = 1) => ({
  strides: [stride, stride],
  padLow: [padding, padding],
  padHigh: [padding, padding],
  dilations: [1, 1],
  groups,
  layout: "channelsFirst" as const,
});
const dot = { batchA: [], batchB: [], contractA: [1], contractB: [0] };

/** Graphs and the sizes to run them at. */
const cases: Readonly<Record<string, () => { readonly params: readonly Value[]; readonly results: readonly Value[] }>> =
  {
    "softmax of rows": () => {
      const x = f32("x", batch, 37);
      return { params: [x], results: [softmax(x, 1)] };
    },
    "softmax of long rows, more than a chunk": () => {
      const x = f32("x", 50, 1000);
      return { params: [x], results: [softmax(x, 1)] };
    },
    "softmax over channels": () => {
      const x = f32("x", 3, 21, 300);
      return { params: [x], results: [softmax(x, 1)] };
    },
    "layer norm with scale and shift": () => {
      const [x, g, b] = [f32("x", batch, 5, 48), f32("g", 48), f32("b", 48)];
      return { params: [x, g, b], results: [add([mul([normalized(x), along(g, x, [2])]), along(b, x, [2])])] };
    },
    "gradient of layer norm": () => {
      const [x, g] = [f32("x", 6, 48), f32("g", 48)];
      const y = mul([normalized(x), along(g, x, [1])]);
      const loss = sum([mul([y, sigmoid([y])])], { axes: [0, 1], keepDims: false });
      return { params: [x, g], results: [loss, ...gradients(loss, [x, g])] };
    },
    "sums of much data to few elements": () => {
      const x = f32("x", 300, 700);
      const square = mul([x, x]);
      return {
        params: [x],
        results: [
          sum([square], { axes: [0, 1], keepDims: false }),
          neg([sum([x], { axes: [0], keepDims: false })]),
          reduceMax([x], { axes: [0], keepDims: true }),
        ],
      };
    },
    "an update with two results, momentum and weight": () => {
      const [w, m, g, lr] = [f32("w", 40, 9), f32("m", 40, 9), f32("g", 40, 9), f32("lr")];
      const next = add([mul([m, constantLike(m, 0.9)]), g]);
      return { params: [w, m, g, lr], results: [next, sub([w, mul([next, along(lr, next, [])])])] };
    },
    "a node that leads out of its group and back": () => {
      const [x, w] = [f32("x", 12, 12), f32("w", 12, 12)];
      const a = tanh([x]);
      const product = dotGeneral([a, w], dot);
      return { params: [x, w], results: [add([a, product]), exp([a])] };
    },
    "linear layer with bias, activation and residual": () => {
      const [x, w, b, r] = [f32("x", batch, 33), f32("w", 33, 19), f32("b", 19), f32("r", batch, 19)];
      const y = dotGeneral([x, w], dot);
      const z = add([y, along(b, y, [1])]);
      return { params: [x, w, b, r], results: [add([mul([z, sigmoid([z])]), r])] };
    },
    attention: () => {
      const [q, k, v] = ["q", "k", "v"].map((n) => f32(n, batch, 7, 2, 8)) as [Value, Value, Value];
      const scores = dotGeneral([q, k], { batchA: [0, 2], batchB: [0, 2], contractA: [3], contractB: [3] });
      const p = softmax(mul([scores, constantLike(scores, 0.35)]), 3);
      const out = dotGeneral([p, v], { batchA: [0, 1], batchB: [0, 2], contractA: [3], contractB: [1] });
      return {
        params: [q, k, v],
        results: [reshape([transpose([out], { perm: [0, 2, 1, 3] })], { shape: [batch, 7, 16] })],
      };
    },
    "convolution, bias, activation, pool, skip connection": () => {
      const [x, w1, b1, w2] = [f32("x", batch, 3, 10, 10), f32("w1", 8, 3, 3, 3), f32("b1", 8), f32("w2", 8, 8, 3, 3)];
      const y1 = conv([x, w1], convAttrs(1));
      const a1 = relu(add([y1, along(b1, y1, [1])]));
      const y2 = relu(add([conv([a1, w2], convAttrs(1)), a1]));
      const { groups: _, ...window } = convAttrs(0, 2);
      const pooled = maxPool([y2], { window: [2, 2], ...window })[0]!;
      return { params: [x, w1, b1, w2], results: [sum([pooled], { axes: [2, 3], keepDims: false })] };
    },
    "depthwise and pointwise convolution, concatenation": () => {
      const [x, w1, w2] = [f32("x", 2, 6, 9, 9), f32("w1", 6, 1, 3, 3), f32("w2", 5, 6, 1, 1)];
      const y = sigmoid([conv([x, w1], convAttrs(1, 2, 6))]);
      const z = conv([y, w2], convAttrs(0));
      return { params: [x, w1, w2], results: [concat([relu(z), y], { axis: 1 })] };
    },
    "training step of a convolution": () => {
      const [x, w, b] = [f32("x", batch, 3, 8, 8), f32("w", 6, 3, 3, 3), f32("b", 6)];
      const y = conv([x, w], convAttrs(1, 2));
      const a = tanh([add([y, along(b, y, [1])])]);
      const loss = sum([mul([a, a])], { axes: [0, 1, 2, 3], keepDims: false });
      return { params: [x, w, b], results: [loss, ...gradients(loss, [x, w, b])] };
    },
    "slices, transposes and pads between elementwise ops": () => {
      const x = f32("x", 6, 10);
      const half = (start: number) => slice([exp([x])], { starts: [0, start], sizes: [6, 5], steps: [1, 1] });
      const turned = mul([transpose([half(0)], { perm: [1, 0] }), transpose([half(5)], { perm: [1, 0] })]);
      const padded = pad([neg([turned])], { low: [1, 0], high: [0, 2], interior: [0, 0], value: 3 });
      return { params: [x], results: [add([padded, scalarLike(padded, 1)])] };
    },
    "a reduction used at another index than its own": () => {
      const x = f32("x", 9, 9);
      const s = sum([x], { axes: [1], keepDims: false });
      return { params: [x], results: [sub([x, broadcast([s], { shape: [9, 9], axes: [1] })])] };
    },
    conditions: () => {
      const [x, y] = [f32("x", 31, 7), f32("y", 7)];
      const wide = along(y, x, [1]);
      return { params: [x, y], results: [select([gt([x, wide]), x, neg([wide])]), gt([wide, x])] };
    },
  };

const scalarLike = (like: Value, v: number): Value =>
  broadcast([scalarConstant("f32", v)], { shape: like.type.shape, axes: [] });

const made = Object.entries(cases).map(([name, make]) => {
  const { params, results } = make();
  return [name, graph("g", params, results)] as const;
});

function feedsOf(g: Graph, seed: number): readonly Tensor[] {
  const random = seeded(seed);
  return g.params.map((p) =>
    randomTensor(
      random,
      p.type.dtype,
      p.type.shape.map((d) => (typeof d === "number" ? d : 5)),
    ),
  );
}

describe("passes keep what a graph means", () => {
  it.each(made)("%s", async (_, g) => {
    const feeds = feedsOf(g, 7);
    const optimized = runPipeline(defaultPipeline, g, { verify: true });
    verifyGraph(optimized);
    const want = evaluate(g, feeds);
    evaluate(optimized, feeds).forEach((t, k) => {
      expect(disagreement(t, want[k]!, { rtol: 1e-4, atol: 1e-5 }), `reference, result ${k}`).toBeUndefined();
    });
    for (const optimize of [
      (fn: Parameters<typeof loopPipeline>[0]) => fn,
      (fn: Parameters<typeof loopPipeline>[0]) => loopPipeline(fn),
    ]) {
      const [got] = await runCases([{ graph: optimized, feeds }], { optimize });
      want.forEach((t, k) => {
        expect(disagreement(got![k]!, t, { rtol: 2e-4, atol: 2e-4 }), `compiled, result ${k}`).toBeUndefined();
      });
    }
  });
});

const named = (name: string): Graph => made.find(([n]) => n === name)![1];
const opsAfter = (g: Graph): readonly string[] =>
  graphNodes(g)
    .map((n) => n.op)
    .filter((op) => op !== "constant");

describe("fuse", () => {
  it.each([
    ["softmax of rows", 1],
    ["layer norm with scale and shift", 1],
    ["linear layer with bias, activation and residual", 1],
    ["an update with two results, momentum and weight", 1],
  ] as const)("makes %s %i kernel", (name, count) => {
    expect(opsAfter(fuse(kernels).run(named(name))).filter((op) => op === "fusion")).toHaveLength(count);
  });
});

describe("layout", () => {
  it("leaves transpositions at the graph's edges only", () => {
    const g = layout.run(named("convolution, bias, activation, pool, skip connection"));
    const moved = graphNodes(g).filter((n) => n.op === "transpose");
    // One for the input, one for each weight.
    expect(moved.map((n) => n.operands[0]!.def.op)).toEqual(["param", "param", "param"]);
  });
});
