/** Sizes that data decides: order, liveness, text, and what the reference refuses. */

import { describe, expect, it } from "vitest";
import { dimAdd, dimSymbol } from "../../ir/dim.js";
import { ModelError, VerifyError } from "../../ir/errors.js";
import { type Graph, graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { dimSize, full, iota } from "../../ir/ops/constant.js";
import { bindDim, nonMaxSuppression, nonZero, range, unique, unknownSize } from "../../ir/ops/dynamic.js";
import { mul } from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import { reshape, slice } from "../../ir/ops/movement.js";
import { sum } from "../../ir/ops/reduce.js";
import { topK } from "../../ir/ops/sort.js";
import { evaluate } from "../../ir/reference.js";
import { scalar, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { disagreement } from "./accuracy.js";
import { executors } from "./executors.js";

const n = dimSymbol("n", { min: 0, max: 32 });
const x = param("x", { dtype: "f32", shape: [n] });
const k = param("k", { dtype: "i64", shape: [] });
const vector = (...values: number[]): Tensor => tensorFrom("f32", [values.length], values);
const count = (v: number): Tensor => scalar("i64", v);

interface Case {
  readonly name: string;
  readonly graph: Graph;
  readonly feeds: readonly Tensor[];
  readonly want: readonly (readonly number[])[];
}

/** The positive-looking half of masked indexing: x[x ≠ 0]. */
function compressed(): Graph {
  const size = unknownSize("count", n);
  const places = reshape([nonZero([x], { defines: size })], { shape: [size] });
  return graph("compress", [x], [gather([x, places], { axis: 0 }), dimSize([], { size: dimAdd(size, 1) })]);
}

/** A slice whose size is an operand. No result depends on the node that finds the size. */
function firstK(): Graph {
  const size = unknownSize("size", n);
  const head = slice([x], { starts: [0], sizes: [size], steps: [1] });
  return graph("first", [x, k], [head, iota([], { dtype: "i64", shape: [size], axis: 0 })], ["y", "i"], undefined, [
    bindDim([k], { defines: size }),
  ]);
}

function bestK(): Graph {
  const size = unknownSize("size", n);
  return graph("best", [x, k], topK([x], { k: size, axis: 0, largest: true }), ["v", "i"], undefined, [
    bindDim([k], { defines: size }),
  ]);
}

const threeOf = (dtype: "i64" | "f32"): readonly Value[] =>
  ["start", "limit", "delta"].map((name) => param(name, { dtype, shape: [] }));

function ranged(dtype: "i64" | "f32"): Graph {
  const params = threeOf(dtype);
  const size = unknownSize("size", 40);
  return graph("range", params, [range(params, { defines: size })]);
}

function distinct(): Graph {
  const size = unknownSize("size", n);
  return graph("unique", [x], unique([x], { defines: size, sorted: true }), ["y", "first", "inverse", "counts"]);
}

const cases: readonly Case[] = [
  { name: "compress", graph: compressed(), feeds: [vector(0, 3, 0, 5, -1)], want: [[3, 5, -1], [4]] },
  { name: "compress nothing", graph: compressed(), feeds: [vector(0, 0)], want: [[], [1]] },
  {
    name: "first k",
    graph: firstK(),
    feeds: [vector(4, 5, 6), count(2)],
    want: [
      [4, 5],
      [0, 1],
    ],
  },
  { name: "first none", graph: firstK(), feeds: [vector(4, 5, 6), count(0)], want: [[], []] },
  {
    name: "best k",
    graph: bestK(),
    feeds: [vector(4, 9, 6), count(2)],
    want: [
      [9, 6],
      [1, 2],
    ],
  },
  { name: "range up", graph: ranged("i64"), feeds: [2, 9, 3].map(count), want: [[2, 5, 8]] },
  { name: "range down", graph: ranged("i64"), feeds: [3, 0, -1].map(count), want: [[3, 2, 1]] },
  { name: "empty range", graph: ranged("i64"), feeds: [3, 3, 1].map(count), want: [[]] },
  {
    name: "range of floats",
    graph: ranged("f32"),
    feeds: [0, 1, 0.25].map((v) => scalar("f32", v)),
    want: [[0, 0.25, 0.5, 0.75]],
  },
  {
    name: "unique",
    graph: distinct(),
    feeds: [vector(2, 1, 1, 3, 4, 3)],
    want: [
      [1, 2, 3, 4],
      [1, 0, 3, 4],
      [1, 0, 0, 2, 3, 2],
      [2, 1, 2, 1],
    ],
  },
];

const reference = { name: "reference", run: async (g: Graph, feeds: readonly Tensor[]) => evaluate(g, feeds) };

describe.each([reference, ...executors])("$name", ({ run }) => {
  it.each(cases)("$name", async ({ graph: g, feeds, want }) => {
    const got = await run(g, feeds);
    expect(got.map(toNumbers)).toEqual(want);
  });
  it("suppresses overlapping boxes as ONNX's example does", async () => {
    const boxes = param("boxes", { dtype: "f32", shape: [1, 6, 4] });
    const scores = param("scores", { dtype: "f32", shape: [1, 1, 6] });
    const limits = [scalar("i64", 3), scalar("f32", 0.5), scalar("f32", 0)];
    const rest = limits.map((t, i) => param(`p${i}`, { dtype: t.dtype, shape: [] }));
    const kept = nonMaxSuppression([boxes, scores, ...rest], {
      defines: unknownSize("kept", 6),
      centerPointBox: false,
    });
    const corners = [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 0, 10.1, 1, 11.1, 0, 100, 1, 101];
    const feeds = [
      tensorFrom("f32", [1, 6, 4], corners),
      tensorFrom("f32", [1, 1, 6], [0.9, 0.75, 0.6, 0.95, 0.5, 0.3]),
      ...limits,
    ];
    const [got] = await run(graph("nms", [boxes, scores, ...rest], [kept]), feeds);
    const want = tensorFrom("i64", [3, 3], [0, 0, 3, 0, 0, 0, 0, 0, 5]);
    expect(disagreement(got!, want, "exact")).toBeUndefined();
  });
});

describe("in the IR", () => {
  it("a node that mentions a size comes after the node that finds it", () => {
    for (const { graph: g } of cases) {
      verifyGraph(g);
      const text = printGraph(g);
      expect(printGraph(parseGraph(text))).toBe(text);
    }
    expect(graphNodes(firstK()).map((node) => node.op)).toEqual(["bindDim", "slice", "iota"]);
  });
  it("a size that nothing finds is refused", () => {
    const g = firstK();
    expect(() => verifyGraph({ ...g, sizes: [] })).toThrow(VerifyError);
    expect(() => verifyGraph({ ...g, sizes: [] })).toThrow(/no node finds it/);
  });
  it("a value beyond the bound is an error of the input", () => {
    expect(() => evaluate(firstK(), [vector(1, 2), count(3)])).toThrow(ModelError);
    expect(() => evaluate(firstK(), [vector(1, 2), count(-1)])).toThrow(ModelError);
    expect(() => evaluate(ranged("i64"), [0, 3, 0].map(count))).toThrow(/delta other than 0/);
  });
  it("only one symbol can be found by a node", () => {
    const both = dimAdd(unknownSize("a", 3), unknownSize("b", 3));
    expect(() => nonZero([x], { defines: both as never })).toThrow(/one size symbol/);
  });
  it("gradients pass through shapes of unknown size", () => {
    const size = unknownSize("size", n);
    const head = slice([x], { starts: [0], sizes: [size], steps: [1] });
    const loss = sum([mul([head, full("f32", [size], 3)])], { axes: [0], keepDims: false });
    const g = graph("g", [x, k], gradients(loss, [x]), ["dx"], undefined, [bindDim([k], { defines: size })]);
    expect(toNumbers(evaluate(g, [vector(1, 2, 3), count(2)])[0]!)).toEqual([3, 3, 0]);
  });
});
