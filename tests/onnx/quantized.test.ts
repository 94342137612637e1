/** Quantised products reach the integers, and what only moves elements stays on them. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { GraphProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { type Graph, type GraphNode, graphNodes } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { foldConstants } from "../../passes/graph/fold-constants.js";
import { narrowProducts } from "../../passes/graph/narrow-products.js";
import { simplify } from "../../passes/graph/simplify.js";
import { randomTensor, seeded } from "../graph/random.js";
import { model, node, tensorInfo } from "./build.js";

const F32 = 1;
const U8 = 2;
const I8 = 3;

const imported = (graph: GraphProto): Graph => simplify.run(importOnnx(encodeModel(model(graph, [], 21))));

const stored = (name: string, dtype: "f32" | "u8" | "i8", shape: number[], values: number[]): TensorProto =>
  encodeTensor(tensorFrom(dtype, shape, values) as Parameters<typeof encodeTensor>[0], name);

/** dtypes of the operands of every convolution and contraction. */
const products = (g: Graph): string[] =>
  graphNodes(g)
    .filter((n) => n.op === "conv" || n.op === "dotGeneral")
    .map((n: GraphNode) => n.operands.map((v) => v.type.dtype).join("·"));

/** The graph with its products in the types that their kernels take. */
const narrowed = (g: Graph): Graph =>
  [foldConstants(), simplify, narrowProducts].reduce((graph, pass) => pass.run(graph), g);

const range = (n: number, f: (i: number) => number): number[] => Array.from({ length: n }, (_, i) => f(i));

const padded = { pads: [1, 0, 2, 1] };

describe("products of integers", () => {
  const weights: readonly (readonly [string, "u8" | "i8", number[], string])[] = [
    ["i8 without zero point", "i8", [0], "i16·i8"],
    ["u8 around 128", "u8", [128], "i16·i8"],
    ["i8 with a zero point for each channel", "i8", [1, -2, 0], "i16·i8"],
    ["u8 that is no i8 when centred", "u8", [7], "i16·i16"],
  ];
  // The same product twice: of integers, and of the floats that they stand for. Both are exact.
  const both = (w: (typeof weights)[number], op: "Conv" | "MatMul"): Graph => {
    const [, dtype, zeros] = w;
    const low = dtype === "u8" ? (zeros[0] === 128 ? 1 : 0) : -127;
    const shape = op === "Conv" ? [3, 2, 2, 3] : [4, 3];
    const values = range(
      shape.reduce((n, d) => n * d),
      (i) => low + ((i * 37) % 255),
    );
    const perChannel = op === "Conv" ? [zeros.length, 1, 1, 1] : [zeros.length];
    const zeroShape = zeros.length === 1 ? [] : [zeros.length];
    const inputs = op === "Conv" ? tensorInfo("x", [2, 2, 5, 6], U8) : tensorInfo("x", [5, 4], U8);
    return imported({
      input: [inputs, tensorInfo("zx", [], U8)],
      output: [tensorInfo("y", undefined), tensorInfo("z", undefined)],
      initializer: [
        stored("w", dtype, shape, values),
        stored("zw", dtype, zeroShape, zeros),
        stored("zf", "f32", zeros.length === 1 ? [] : perChannel, zeros),
        stored("wf", "f32", shape, values),
      ],
      node: [
        node(`${op}Integer`, ["x", "w", "zx", "zw"], ["i"], op === "Conv" ? padded : {}),
        node("Cast", ["i"], ["y"], { to: F32 }),
        node("Cast", ["x"], ["xf"], { to: F32 }),
        node("Cast", ["zx"], ["zxf"], { to: F32 }),
        node("Sub", ["xf", "zxf"], ["xc"]),
        node("Sub", ["wf", "zf"], ["wc"]),
        node(op, ["xc", "wc"], ["z"], op === "Conv" ? padded : {}),
      ],
    });
  };
  describe.each(["Conv", "MatMul"] as const)("%sInteger, the zero point of x known when it runs", (op) => {
    it.each(weights)("%s", (...w) => {
      const g = both(w, op);
      expect(products(narrowed(g))).toContain(w[3]);
      const random = seeded(3);
      for (const zero of [0, 3, 255]) {
        const x = randomTensor(random, "u8", g.params[0]!.type.shape as number[], [0, 255]);
        const [y, z] = evaluate(g, [x, tensorFrom("u8", [], [zero])]);
        expect(toNumbers(y!)).toEqual(toNumbers(z!));
      }
    });
  });
});

describe("between DequantizeLinear and QuantizeLinear", () => {
  const scale = stored("s", "f32", [], [0.0371]);
  const other = stored("t", "f32", [], [0.05]);
  const zero = stored("z", "i8", [], [-5]);
  const shapes = encodeTensor({ dtype: "i64", shape: [2], data: BigInt64Array.of(2n, -1n) }, "shape");
  const chain = (middle: GraphProto["node"], out: string, by = "s"): GraphProto => ({
    input: [tensorInfo("q", [2, 3, 4, 6], I8), tensorInfo("p", [2, 3, 4, 6], I8)],
    output: [tensorInfo("r", undefined)],
    initializer: [scale, other, zero, shapes, stored("nothing", "f32", [], [0])],
    node: [
      node("DequantizeLinear", ["q", "s", "z"], ["d"]),
      node("DequantizeLinear", ["p", "s", "z"], ["e"]),
      ...(middle ?? []),
      node("QuantizeLinear", [out, by, "z"], ["r"]),
    ],
  });
  const cases: Readonly<Record<string, GraphProto["node"]>> = {
    nothing: [],
    MaxPool: [node("MaxPool", ["d"], ["m"], { kernel_shape: [2, 2], strides: [2, 2], pads: [1, 0, 1, 0] })],
    Relu: [node("Relu", ["d"], ["m"])],
    Concat: [node("Concat", ["d", "e"], ["m"], { axis: 1 })],
    "Transpose and Reshape": [
      node("Transpose", ["d"], ["a"], { perm: [0, 2, 3, 1] }),
      node("Reshape", ["a", "shape"], ["m"]),
    ],
  };
  const feeds = [1, 2].map((k) => randomTensor(seeded(k), "i8", [2, 3, 4, 6], [-128, 127]));

  it.each(Object.entries(cases))("%s works on the bytes", (name, middle) => {
    const out = name === "nothing" ? "d" : "m";
    const g = imported(chain(middle, out));
    expect(graphNodes(g).flatMap((n) => n.results.map((r) => r.type.dtype))).not.toContain("f32");
    // An addition of 0 in the way keeps everything on floats.
    const apart = (middle ?? []).map((n) => ({
      ...n,
      input: n.input?.map((i) => ({ d: "d0", e: "e0" })[i] ?? i) ?? [],
    }));
    const adding = [node("Add", ["d", "nothing"], ["d0"]), node("Add", ["e", "nothing"], ["e0"])];
    const floats = imported(chain([...adding, ...apart], out === "d" ? "d0" : "m"));
    expect(graphNodes(floats).flatMap((n) => n.results.map((r) => r.type.dtype))).toContain("f32");
    expect(toNumbers(evaluate(g, feeds)[0]!)).toEqual(toNumbers(evaluate(floats, feeds)[0]!));
  });

  it("products of two activations are of integers", () => {
    const product = (before: GraphProto["node"], a: string, b: string): Graph =>
      imported({
        input: [tensorInfo("q", [2, 3, 4, 6], I8), tensorInfo("p", [2, 3, 6, 5], I8)],
        output: [tensorInfo("r", undefined)],
        // Powers of two, so that floats are exact too.
        initializer: [
          stored("s", "f32", [], [1 / 32]),
          stored("t", "f32", [], [1 / 4]),
          zero,
          stored("nothing", "f32", [], [0]),
        ],
        node: [
          node("DequantizeLinear", ["q", "s", "z"], ["d"]),
          node("DequantizeLinear", ["p", "t"], ["e"]),
          ...(before ?? []),
          node("MatMul", [a, b], ["r"]),
        ],
      });
    const g = product([], "d", "e");
    expect(products(narrowed(g))).toEqual(["i16·i16"]);
    const floats = product([node("Add", ["d", "nothing"], ["d0"])], "d0", "e");
    expect(products(floats)).toEqual(["f32·f32"]);
    const two = [feeds[0]!, randomTensor(seeded(3), "i8", [2, 3, 6, 5], [-128, 127])];
    expect(toNumbers(evaluate(g, two)[0]!)).toEqual(toNumbers(evaluate(floats, two)[0]!));
  });

  it("other scales are not the same", () => {
    const g = imported(chain([], "d", "t"));
    expect(graphNodes(g).map((n) => n.op)).toContain("round");
  });

  it("every byte comes back", () => {
    const all = tensorFrom(
      "i8",
      [256],
      range(256, (i) => i - 128),
    );
    const random = seeded(9);
    for (let k = 0; k < 300; k++) {
      const s = Math.fround(2 ** (-60 + 120 * random()));
      for (const q of toNumbers(all)) {
        const centred = q + 5;
        expect(Math.round(Math.fround(Math.fround(centred * s) / s))).toBe(centred);
      }
    }
  });
});

describe("weights of layers as large as they are in models", () => {
  it.each(["Conv", "MatMul"])("of a %s of dequantised bytes are narrow constants", (op) => {
    const isConv = op === "Conv";
    const shape = isConv ? [32, 32, 3, 3] : [96, 96];
    const count = shape.reduce((n, d) => n * d);
    const g = imported({
      input: [tensorInfo("x", isConv ? [1, 32, 8, 8] : ["n", 96], U8)],
      output: [tensorInfo("y", undefined)],
      initializer: [
        stored(
          "w",
          "u8",
          shape,
          range(count, (i) => (i * 37) % 255),
        ),
        stored("sw", "f32", [], [1 / 128]),
        stored("zw", "u8", [], [121]),
        stored("sx", "f32", [], [0.1]),
        stored("zx", "u8", [], [3]),
      ],
      node: [
        node("DequantizeLinear", ["x", "sx", "zx"], ["dx"]),
        node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
        node(op, ["dx", "dw"], ["y"]),
      ],
    });
    const made = narrowed(g);
    expect(products(made)).toEqual([expect.stringMatching(/^i16·i(8|16)$/)]);
    const product = graphNodes(made).find((n) => n.op === "conv" || n.op === "dotGeneral")!;
    expect(product.operands[1]!.def.op).toBe("constant");
  });
});
