/** Weights that are narrower than f32 stay so in the artefact, and what is made of them is made once. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { NodeProto, TensorProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";
import { model, node, tensorInfo } from "./build.js";

const size = 256;
const block = 32;
const [F32, I8] = [1, 3];

interface Layer {
  readonly weights: readonly TensorProto[];
  readonly nodes: (x: string, y: string) => readonly NodeProto[];
}

const random = seeded(17);
const many = (n: number, f: () => number) => Array.from({ length: n }, f);
const byte = () => Math.floor(random() * 256);
const scale = (least: number) => () => least * (0.5 + random());
const stored = (name: string, dtype: "f32" | "f16" | "i8" | "u8", shape: number[], values: number[]): TensorProto =>
  encodeTensor(tensorFrom(dtype, shape, values) as Parameters<typeof encodeTensor>[0], name);
const contrib = { domain: "com.microsoft" };

const halves = (l: number): TensorProto =>
  stored(
    `w${l}`,
    "f16",
    [size, size],
    many(size * size, () => (random() - 0.5) / 8),
  );
/** Weights of 4 bits and a scale for each block. */
const nibbles = (l: number): readonly TensorProto[] => [
  stored(`w${l}`, "u8", [size, size / block, block / 2], many((size * size) / 2, byte)),
  stored(`s${l}`, "f32", [(size * size) / block], many((size * size) / block, scale(2 ** -7))),
];

/** Layers of `size` by `size`, by how their weights are stored. */
const layers: Readonly<Record<string, (l: number) => Layer>> = {
  "f16 that is cast": (l) => ({
    weights: [halves(l)],
    nodes: (x, y) => [node("Cast", [`w${l}`], [`f${l}`], { to: F32 }), node("MatMul", [x, `f${l}`], [y])],
  }),
  "f16 that is transposed": (l) => ({
    weights: [halves(l)],
    nodes: (x, y) => [node("Cast", [`w${l}`], [`f${l}`], { to: F32 }), node("Gemm", [x, `f${l}`], [y], { transB: 1 })],
  }),
  "i8 with a scale for each column": (l) => ({
    weights: [
      stored(
        `w${l}`,
        "i8",
        [size, size],
        many(size * size, () => byte() - 128),
      ),
      stored(`s${l}`, "f32", [size], many(size, scale(2 ** -11))),
      stored(
        `z${l}`,
        "i8",
        [size],
        many(size, () => byte() % 8),
      ),
    ],
    nodes: (x, y) => [
      node("DequantizeLinear", [`w${l}`, `s${l}`, `z${l}`], [`f${l}`], { axis: 1 }),
      node("MatMul", [x, `f${l}`], [y]),
    ],
  }),
  "4 bits in blocks": (l) => ({
    weights: [...nibbles(l), stored(`z${l}`, "u8", [(size * size) / block / 2], many((size * size) / block / 2, byte))],
    nodes: (x, y) => [
      node(
        "MatMulNBits",
        [x, `w${l}`, `s${l}`, `z${l}`],
        [y],
        { K: size, N: size, bits: 4, block_size: block },
        contrib,
      ),
    ],
  }),
  "4 bits by group indices": (l) => ({
    weights: [
      ...nibbles(l),
      encodeTensor(
        tensorFrom(
          "i32",
          [size],
          many(size, () => Math.floor((random() * size) / block)),
        ) as never,
        `g${l}`,
      ),
    ],
    nodes: (x, y) => [
      node(
        "MatMulNBits",
        [x, `w${l}`, `s${l}`, "", `g${l}`],
        [y],
        { K: size, N: size, bits: 4, block_size: block },
        contrib,
      ),
    ],
  }),
  NF4: (l) => ({
    weights: [
      stored(`w${l}`, "u8", [(size * size) / 2], many((size * size) / 2, byte)),
      stored(`s${l}`, "f32", [(size * size) / 64], many((size * size) / 64, scale(2 ** -4))),
    ],
    nodes: (x, y) => [
      node("MatMulBnb4", [x, `w${l}`, `s${l}`], [y], { K: size, N: size, block_size: 64, quant_type: 1 }, contrib),
    ],
  }),
};

describe.each(Object.entries(layers))("weights of %s", (_, layer) => {
  const list = [0, 1, 2].map(layer);
  const nodes = list.flatMap((l, i) => [
    ...l.nodes(i === 0 ? "x" : `r${i - 1}`, `y${i}`),
    node("Relu", [`y${i}`], [`r${i}`]),
  ]);
  const proto = model({
    input: [tensorInfo("x", ["n", size])],
    output: [tensorInfo("r2", undefined)],
    initializer: list.flatMap((l) => l.weights),
    node: nodes,
  });
  const file = encodeModel({
    ...proto,
    opsetImport: [...proto.opsetImport!, { domain: "com.microsoft", version: 1 }],
  });

  it("take no more than in the file, are widened once or by the product itself, and give what they stand for", async () => {
    const graph = importOnnx(file);
    const artifact = await compile(graph, { variants: ["simd128"] });
    expect(artifact.weights.length).toBeLessThan(1.05 * file.length);
    const { steps } = artifact.manifest.entries.main!;
    const isProduct = (k: string) => k.includes("gemm") || k.includes("rowproduct");
    expect(steps.filter((s) => isProduct(s.kernel)).length).toBe(3);
    // Nothing but products, the arrangement of their other operand, and what has been made once, in a run.
    expect(
      steps.map((s) => s.kernel).filter((k) => k !== "once" && !isProduct(k) && !k.includes("rowarrange")),
    ).toEqual([]);
    const session = await load(artifact);
    for (const n of [1, 5, 40]) {
      const x = Float32Array.from(many(n * size, () => random() - 0.5));
      const feed = tensorFrom("f32", [n, size], x);
      const want = toNumbers(evaluate(graph, [feed])[0]!);
      const got = (await session.run({ x: feed } as never)) as Record<string, { data: Float32Array }>;
      const largest = Math.max(...want.map(Math.abs));
      expect(largest).toBeGreaterThan(0);
      Object.values(got)[0]!.data.forEach((v, i) => {
        expect(Math.abs(v - want[i]!)).toBeLessThan(2e-5 * largest);
      });
    }
    session.dispose();
  });
});

it("of bytes that are products' own stay bytes", async () => {
  const file = encodeModel(
    model({
      input: [tensorInfo("x", ["n", size], I8)],
      output: [tensorInfo("y", undefined)],
      initializer: [
        stored(
          "w",
          "i8",
          [size, size],
          many(size * size, () => byte() - 128),
        ),
      ],
      node: [node("MatMulInteger", ["x", "w"], ["y"])],
    }),
  );
  const artifact = await compile(importOnnx(file), { variants: ["simd128"] });
  expect(artifact.weights.length).toBeLessThan(1.05 * file.length);
});
