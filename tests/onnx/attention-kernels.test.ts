/** ONNX's attention operators, in all their forms, come to the kernel that does without the matrix of weights, and read shared heads where they are. */

import { describe, expect, it } from "vitest";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { NodeProto, ValueInfoProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { graphNodes } from "../../ir/graph.js";
import { runPipeline } from "../../passes/pipeline.js";
import { model, node, tensorInfo } from "./build.js";

const microsoft = "com.microsoft";
const [float, bool, int32] = [1, 9, 6];
const input = (name: string, type: number, ...shape: readonly number[]): ValueInfoProto =>
  tensorInfo(name, shape, type);
const flat = ["q", "k", "v"].map((name) => input(name, float, 1, 32, 96));
const heads = [input("q", float, 1, 6, 32, 16), input("k", float, 1, 2, 64, 16), input("v", float, 1, 2, 64, 16)];
const multi = (names: string[], attributes = {}): NodeProto =>
  node("MultiHeadAttention", names, ["y"], { num_heads: 6, ...attributes }, { domain: microsoft });
const grouped = (attributes = {}): NodeProto =>
  node(
    "GroupQueryAttention",
    ["q", "k", "v", "pk", "pv", "last", "total"],
    ["y", "nk", "nv"],
    { num_heads: 6, kv_num_heads: 2, ...attributes },
    { domain: microsoft },
  );
const groupedInputs = [
  input("q", float, 1, 32, 96),
  ...["k", "v"].map((name) => input(name, float, 1, 32, 32)),
  ...["pk", "pv"].map((name) => input(name, float, 1, 2, 64, 16)),
];
const int = (name: string, ...values: readonly number[]) =>
  encodeTensor({ dtype: "i32", shape: name === "last" ? [1] : [], data: Int32Array.from(values) }, name);

interface Form {
  readonly name: string;
  readonly node: NodeProto;
  readonly inputs: readonly ValueInfoProto[];
  /** Heads of keys and values that the kernel reads. */
  readonly keyHeads: number;
}

const forms: readonly Form[] = [
  { name: "MultiHeadAttention", node: multi(["q", "k", "v"]), inputs: flat, keyHeads: 6 },
  {
    name: "MultiHeadAttention with padding",
    node: multi(["q", "k", "v", "", "m"]),
    inputs: [...flat, input("m", int32, 1, 32)],
    keyHeads: 6,
  },
  {
    name: "MultiHeadAttention, causal, with positions",
    node: multi(["q", "k", "v", "", "", "b"], { unidirectional: 1 }),
    inputs: [...flat, input("b", float, 1, 6, 32, 32)],
    keyHeads: 6,
  },
  { name: "GroupQueryAttention", node: grouped(), inputs: groupedInputs, keyHeads: 2 },
  {
    name: "GroupQueryAttention under a window",
    node: grouped({ local_window_size: 16 }),
    inputs: groupedInputs,
    keyHeads: 2,
  },
  { name: "Attention", node: node("Attention", ["q", "k", "v"], ["y"]), inputs: heads, keyHeads: 2 },
  {
    name: "Attention, causal",
    node: node("Attention", ["q", "k", "v"], ["y"], { is_causal: 1 }),
    inputs: heads,
    keyHeads: 2,
  },
  {
    name: "Attention, causal, with a mask",
    node: node("Attention", ["q", "k", "v", "m"], ["y"], { is_causal: 1 }),
    inputs: [...heads, input("m", bool, 32, 64)],
    keyHeads: 2,
  },
];

describe("attention operators", () => {
  it.each(forms)("$name", ({ node: n, inputs, keyHeads }) => {
    const output = n.output!.map((name) => tensorInfo(name, undefined, float));
    const initializer = inputs === groupedInputs ? [int("last", 95), int("total", 96)] : [];
    const file = model(
      { node: [n], input: [...inputs], output, initializer },
      [{ name: "unused", domain: microsoft }],
      23,
    );
    const g = runPipeline(defaultPipeline, importOnnx(encodeModel(file)));
    const found = graphNodes(g).filter(({ op }) => op === "tiledAttention");
    expect(found.length).toBe(1);
    const { shape } = found[0]!.operands[1]!.type;
    expect(shape.slice(0, -2).reduce((count: number, d) => count * (d as number), 1)).toBe(keyHeads);
  });
});
