/** exportOnnx: what every op's samples give after export and import; names, sizes, options, errors. */
import { describe, expect, it } from "vitest";
import { toGraph } from "../../compiler/dsl/index.js";
import * as nn from "../../compiler/dsl/nn.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { rows } from "../../compiler/onnx/export/rows/index.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import { full, np } from "../../ir/build.js";
import { dimAdd, dimMul, dimSymbol } from "../../ir/dim.js";
import type { ModelError } from "../../ir/errors.js";
import { type Graph, graph, param, paramName, typeText, withLoc } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { relu } from "../../ir/ops/activation.js";
import { conv } from "../../ir/ops/conv.js";
import { ops } from "../../ir/ops/index.js";
import { reshape } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { sameTensor, scalar, tensorFrom } from "../../ir/tensor.js";
import { disagreement } from "../ops/accuracy.js";
import { allOps, type DrawnSample, samplesOf, symbolicGraph } from "../ops/draw.js";

/** Ops that ONNX lacks and formulas stand for, or whose order of sums it leaves open: within the op's accuracy. */
const CLOSE: ReadonlySet<string> = new Set([
  "atan2",
  "expm1",
  "gru",
  "geluExact",
  "geluExactGrad",
  "log1p",
  "logSigmoid",
  "maxPoolGrad",
  "randomNormal",
  "softplus",
  "tiledAttention",
  "tiledAttentionGrad",
  "weightProduct",
]);

/** What ONNX can't express: op, whether this sample is of that kind, and the reason that is given. */
const IMPOSSIBLE: readonly (readonly [op: string, when: (s: DrawnSample) => boolean, reason: RegExp])[] = [
  ["conv", (s) => s.feeds[0]!.dtype === "i32", /ONNX has no convolution of i32/],
  ["convInputGrad", (s) => s.feeds[0]!.dtype === "i32", /ONNX has no transposed convolution of i32/],
  ["convWeightGrad", (s) => s.feeds[0]!.dtype === "i32", /ONNX has no convolution of i32/],
  ["maxPool", (s) => s.feeds[0]!.dtype === "i64", /ONNX has no max pool of i64/],
  [
    "maxPool",
    ({ sample: { attrs } }) => {
      const [window, pads] = [
        attrs.window as number[],
        [...(attrs.padLow as number[]), ...(attrs.padHigh as number[])],
      ];
      return pads.some((p, i) => p < 0 || p >= window[i % window.length]!);
    },
    /ONNX has no positions of a max pool/,
  ],
];

/** Symbolic only: files that wasmith itself does not import (a kernel whose size is a run's business). */
const NOT_IMPORTED: ReadonlySet<string> = new Set(["convWeightGrad"]);

function roundTrip(s: DrawnSample, g: Graph): void {
  const where = `sample ${s.index}, ${g.params.map((p) => typeText(p.type))}`;
  const impossible = IMPOSSIBLE.find(([op, when]) => op === s.op.name && when(s));
  if (impossible) {
    expect(() => exportOnnx(g), where).toThrow(impossible[2]);
    return;
  }
  const back = importOnnx(exportOnnx(g));
  const feeds = back.params.map((p) => s.feeds[g.params.findIndex((q) => paramName(q) === paramName(p))]!);
  const got = evaluate(back, feeds);
  evaluate(s.graph, s.feeds).forEach((want, i) => {
    const exact = !CLOSE.has(s.op.name);
    const wrong = exact
      ? sameTensor(got[i]!, want)
        ? undefined
        : `result ${i} differs`
      : disagreement(got[i]!, want, s.op.accuracy);
    expect(wrong, where).toBeUndefined();
  });
}

describe("what an op computes survives export and import", () => {
  it.each(allOps)("%s", (name, op) => {
    for (const s of samplesOf(op)) {
      roundTrip(s, s.graph);
      const open = NOT_IMPORTED.has(name) ? undefined : symbolicGraph(s);
      if (open) roundTrip(s, open);
    }
  });

  it("only composites are written as their definition", () => {
    const decomposed = Object.entries(rows).flatMap(([name, row]) => ((row as unknown) === "decompose" ? [name] : []));
    expect(decomposed.filter((name) => ops.get(name)!.kind !== "composite")).toEqual([]);
  });
});

const operators = (bytes: Uint8Array): readonly string[] =>
  readOnnx(bytes)
    .graph.nodes.map((n) => n.opType)
    .filter((op) => op !== "Constant");

const lenet = () =>
  nn.sequential({
    conv1: nn.Conv2d(1, 4, 3),
    relu1: nn.ReLU(),
    norm: nn.BatchNorm2d(4),
    flatten: nn.Flatten(),
    fc: nn.Linear(4 * 6 * 6, 3),
  });

describe("the file", () => {
  const g = toGraph(lenet(), { inputs: { x: ["batch", 1, 8, 8] }, dims: { batch: [1, 64] }, outputs: ["logits"] });

  it("has the names of weights, inputs, outputs, layers and sizes, and nothing that a reader does not need", () => {
    const model = readOnnx(exportOnnx(g));
    expect([...model.graph.initializers.keys()]).toEqual(
      expect.arrayContaining([
        "conv1.weight",
        "conv1.bias",
        "norm.running_mean",
        "norm.weight",
        "fc.weight",
        "fc.bias",
      ]),
    );
    expect(model.graph.inputs.map((i) => [i.name, i.type])).toEqual([
      ["x", { kind: "tensor", dtype: "f32", shape: ["batch", 1, 8, 8] }],
    ]);
    expect(model.graph.outputs.map((o) => [o.name, o.type])).toEqual([
      ["logits", { kind: "tensor", dtype: "f32", shape: ["batch", 3] }],
    ]);
    expect(model.graph.nodes.map((n) => `${n.name}: ${n.opType}`)).toEqual([
      "Constant: Constant",
      "conv1: Conv",
      "relu1: Relu",
      "norm: BatchNormalization",
      "flatten: Reshape",
      "fc: Gemm",
    ]);
    expect(model.opsets).toEqual(new Map([["", 20]]));
    expect(model.metadata.get("producer_name")).toBe("wasmith");
  });

  it("is the same for the same input, and keeps the ranges of sizes", () => {
    const bytes = exportOnnx(g);
    expect(exportOnnx(g)).toEqual(bytes);
    const { shape } = importOnnx(bytes).params[0]!.type;
    expect(shape[0]).toEqual(dimSymbol("batch", { min: 1, max: 64 }));
    expect(importOnnx(bytes, { dims: { batch: 4 } }).params[0]!.type.shape[0]).toBe(4);
  });

  it("takes other weights, and says what does not fit", () => {
    const bias = tensorFrom("f32", [3], [1, 2, 3]);
    const model = readOnnx(exportOnnx(g, { weights: { "fc.bias": bias } }));
    expect(model.graph.initializers.get("fc.bias")!.data).toEqual(bias.data);
    expect(() => exportOnnx(g, { weights: { "fc.bais": bias, "fc.weight": bias } })).toThrow(
      /fc.weight: its new value is f32\[3\], but the weight is f32\[3,144\][\s\S]*fc.bais: .*no weight of this name/,
    );
  });

  it("has newer ops only where they are asked for or needed", () => {
    const norm = toGraph(nn.GroupNorm(2, 4), { inputs: { x: [1, 4, 3, 3] } });
    expect(operators(exportOnnx(norm))).not.toContain("GroupNormalization");
    expect(operators(exportOnnx(norm, { opset: 21 }))).toEqual(["GroupNormalization"]);
    const product = parseGraph("graph @g(%x: f32[4]) -> f32[4] {\n  %0: f32[4] = cumProd %x {axis=0}\n  return %0 }");
    expect(readOnnx(exportOnnx(product)).opsets.get("")).toBe(26);
    expect(() => exportOnnx(product, { opset: 20 })).toThrow(
      /the op CumProd needs opset 26, but opset 20 was asked for/,
    );
    expect(() => exportOnnx(product, { opset: 17 })).toThrow(/opset 17 can't be written/);
  });

  it("has metadata, producer and documentation", () => {
    const options = { metadata: { licence: "CC0" }, producerName: "me", producerVersion: "3", docString: "a model" };
    const { metadata } = readOnnx(exportOnnx(g, options));
    expect([metadata.get("licence"), metadata.get("producer_name"), metadata.get("doc_string")]).toEqual([
      "CC0",
      "me",
      "a model",
    ]);
  });
});

describe("sizes", () => {
  it("are read off shapes where an op needs their value", () => {
    const n = dimSymbol("n");
    const x = param("x", { dtype: "f32", shape: [n, 3] });
    const g = graph("g", [x], [np.mul(x, 2)], ["y"]);
    expect(operators(exportOnnx(g))).toEqual(["Mul"]);
    const m = dimSymbol("m");
    const z = param("z", { dtype: "f32", shape: [n, m] });
    const back = importOnnx(exportOnnx(graph("g", [z], [full("f32", [dimAdd(dimMul(n, 2), m)], 1)], ["y"])));
    expect(evaluate(back, [tensorFrom("f32", [2, 3], [0, 0, 0, 0, 0, 0])])[0]!.shape).toEqual([7]);
  });

  it("of which no input tells are an error that names them", () => {
    const x = param("x", { dtype: "f32", shape: [dimMul(dimSymbol("a"), dimSymbol("b"))] });
    const y = withLoc("spread", () => reshape([x], { shape: [dimSymbol("a"), dimSymbol("b")] }));
    expect(() => exportOnnx(graph("g", [x], [y], ["y"]))).toThrow(/spread: the size a can't be computed/);
  });
});

describe("errors", () => {
  it("come all at once, with the layers", () => {
    const x = param("x", { dtype: "i32", shape: [1, 1, 4] });
    const w = param("w", { dtype: "i32", shape: [1, 1, 2] });
    const attrs = {
      strides: [1],
      padLow: [0],
      padHigh: [0],
      dilations: [1],
      groups: 1,
      layout: "channelsFirst",
    } as const;
    const first = withLoc("first", () => conv([x, w], attrs));
    const second = withLoc("second", () => conv([first, w], attrs));
    let problems: readonly string[] = [];
    try {
      exportOnnx(graph("g", [x, w], [second], ["y"]));
    } catch (error) {
      problems = (error as ModelError).problems.map((p) => `${p.where}: ${p.message}`);
    }
    expect(problems).toEqual([
      "first: ONNX has no convolution of i32 and i32",
      "second: ONNX has no convolution of i32 and i32",
    ]);
  });

  it("an output that is named like an input", () => {
    const x = param("x", { dtype: "f32", shape: [2] });
    expect(() => exportOnnx(graph("g", [x], [relu([x])], ["x"]))).toThrow(
      /x: an output has the name of another output or of an input/,
    );
  });

  it("outputs that are inputs, constants or equal have nodes of their own", () => {
    const x = param("x", { dtype: "f32", shape: [] });
    const y = relu([x]);
    const g = graph("g", [x], [x, y, y, np.mul(x, 0)], ["same", "y", "again", "zero"]);
    const back = importOnnx(exportOnnx(g));
    expect(back.resultNames).toEqual(g.resultNames);
    expect(evaluate(back, [scalar("f32", 2)]).map((t) => t.data[0])).toEqual([2, 2, 2, 0]);
  });
});
