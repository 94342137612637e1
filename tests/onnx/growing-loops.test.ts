/** Loops whose carried values change their sizes from round to round, at trip counts that only the run knows. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { GraphProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { type Feeds, load, type Tensor } from "../../runtime/index.js";
import { model, node, tensorInfo } from "./build.js";

const constants = [
  { name: "zero", dims: [1], dataType: 7, int64Data: [0] },
  { name: "one", dims: [1], dataType: 7, int64Data: [1] },
  { name: "yes", dims: [], dataType: 9, int32Data: [1] },
];

/** `y` is what the carried value `past` becomes, which starts as `x`. */
function looping(nodes: readonly NodeProto[], x: readonly number[], more: GraphProto["input"] = []): Uint8Array {
  const body: GraphProto = {
    name: "body",
    input: [tensorInfo("i", [], 7), tensorInfo("going", [], 9), tensorInfo("past", undefined)],
    node: [...nodes],
    output: [tensorInfo("go", [], 9), tensorInfo("next", undefined)],
  };
  const loop = node("Loop", ["n", "yes", "x"], ["y"], { body: { type: 5, g: body } });
  const input = [tensorInfo("n", [], 7), tensorInfo("x", [...x]), ...(more ?? [])];
  return encodeModel(
    model({ name: "g", input, initializer: constants, node: [loop], output: [tensorInfo("y", undefined)] }),
  );
}

async function runs(bytes: Uint8Array, feeds: readonly Feeds[]): Promise<readonly Tensor[]> {
  const artifact = await compile(importOnnx(bytes), { variants: ["simd128", "simd128-threads"] });
  const all: (readonly Tensor[])[] = [];
  for (const threads of [1, 2]) {
    const session = await load(artifact, { threads });
    const results: Tensor[] = [];
    for (const f of feeds) results.push((await session.run(f)).y as Tensor);
    session.dispose();
    all.push(results);
  }
  expect(all[1]).toEqual(all[0]);
  return all[0]!;
}

const count = (n: number) => BigInt64Array.of(BigInt(n));
const empty = { dtype: "f32", shape: [0, 3], data: new Float32Array(0) } as const;

describe("carried values that grow", () => {
  const row = [
    node("Cast", ["i"], ["f"], { to: 1 }),
    node("Add", ["f", "k"], ["t"]),
    node("Unsqueeze", ["t", "zero"], ["row"]),
  ];

  it("by a row in every round, until the data say so", async () => {
    const nodes = [
      ...row,
      node("Concat", ["past", "row"], ["next"], { axis: 0 }),
      node("ReduceSum", ["next"], ["s"], { keepdims: 0 }),
      node("Less", ["s", "limit"], ["go"]),
    ];
    const bytes = looping(nodes, [0, 3], [tensorInfo("k", [3]), tensorInfo("limit", [])]);
    const k = Float32Array.of(1, 2, 3);
    const feeds = [
      [3, 1e9],
      [0, 1e9],
      [10, 30],
      [300, 1e9],
      [1, 1e9],
    ].map(([n, limit]) => ({ n: count(n!), x: empty, k, limit: Float32Array.of(limit!) }));
    const results = await runs(bytes, feeds as never);
    [3, 0, 4, 300, 1].forEach((rounds, r) => {
      const want = Array.from({ length: rounds }, (_, i) => [i + 1, i + 2, i + 3]).flat();
      expect(results[r]!.shape).toEqual([rounds, 3]);
      expect(Array.from(results[r]!.data as Float32Array)).toEqual(want);
    });
  });

  it("in front, along an inner axis", async () => {
    const nodes = [
      node("Cast", ["i"], ["f"], { to: 1 }),
      node("Slice", ["past", "zero", "one", "one"], ["first"]),
      node("Add", ["first", "f"], ["fresh"]),
      node("Concat", ["fresh", "past"], ["next"], { axis: 1 }),
      node("Identity", ["going"], ["go"]),
    ];
    const x = { dtype: "f32", shape: [2, 1], data: Float32Array.of(1, 10) } as const;
    const [at0, at5] = await runs(looping(nodes, [2, 1]), [0, 5].map((n) => ({ n: count(n), x })) as never);
    expect(at0!.shape).toEqual([2, 1]);
    expect(at5!.shape).toEqual([2, 6]);
    expect(Array.from(at5!.data as Float32Array)).toEqual([11, 7, 4, 2, 1, 1, 20, 16, 13, 11, 10, 10]);
  });

  it("or shrink as the data have it", async () => {
    const nodes = [
      node("Cast", ["i"], ["f"], { to: 1 }),
      node("Greater", ["past", "f"], ["large"]),
      node("Compress", ["past", "large"], ["next"], { axis: 0 }),
      node("Identity", ["going"], ["go"]),
    ];
    const x = { dtype: "f32", shape: [6], data: Float32Array.of(3, 0, 2, 5, 1, 4) } as const;
    const results = await runs(looping(nodes, [6]), [0, 1, 3, 9].map((n) => ({ n: count(n), x })) as never);
    expect(results.map((r) => Array.from(r.data as Float32Array))).toEqual([
      [3, 0, 2, 5, 1, 4],
      [3, 2, 5, 1, 4],
      [3, 5, 4],
      [],
    ]);
  });
});
