/** What inputs of imported models take: sizes without names, scalars. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { compileFor } from "../../compiler/late/compile-for.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { load } from "../../runtime/index.js";
import { model, node, tensorInfo } from "./build.js";

const imported = (graph: GraphProto) => importOnnx(encodeModel(model(graph)));

describe("sizes without names", () => {
  it.each(["?", "", "*", "-1", "None", "-"])("%j stands for as many sizes as it is written", (name) => {
    const g = imported({
      input: [tensorInfo("x", [name, name, name])],
      output: [tensorInfo("y", undefined)],
      node: [node("Relu", ["x"], ["y"])],
    });
    expect(g.params[0]!.type.shape.map((d) => typeof d !== "number" && d.key)).toEqual(["x_0", "x_1", "x_2"]);
  });

  it("are fixed by input and axis", () => {
    const bytes = encodeModel(
      model({
        input: [tensorInfo("x", ["?", "n"])],
        output: [tensorInfo("y", undefined)],
        node: [node("Relu", ["x"], ["y"])],
      }),
    );
    expect(importOnnx(bytes, { dims: { x_0: 3 } }).params[0]!.type.shape[0]).toBe(3);
  });
});

describe("a scalar input", () => {
  const g = imported({
    input: [tensorInfo("x", []), tensorInfo("v", [2])],
    output: [tensorInfo("y", undefined)],
    node: [node("Mul", ["x", "v"], ["y"])],
  });
  const v = tensorFrom("f32", [2], [3, 4]);

  it.each([[[]], [[1]], [[1, 1]]])("takes one element of shape %j", async (shape) => {
    const x = tensorFrom("f32", shape, [2]);
    expect([...evaluate(g, { x, v })[0]!.data]).toEqual([6, 8]);
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    const { y } = await session.run({ x, v } as never);
    expect([...y!.data]).toEqual([6, 8]);
    await expect(session.run({ x: tensorFrom("f32", [2], [1, 2]), v } as never)).rejects.toThrow(/expected f32\[\]/);
    session.dispose();
  });
});

describe("a slice", () => {
  it.each([
    [2147483647, 0],
    [2147483648, 1],
    [-9223372036854776000, 3],
    [5, 2],
  ])("by a step of %d beyond the axis takes one element", async (step, start) => {
    const ints = (name: string, value: number) => ({ name, dataType: 7, dims: [1], int64Data: [BigInt(value)] });
    const bytes = encodeModel(
      model({
        input: [tensorInfo("x", ["n"])],
        output: [tensorInfo("y", undefined)],
        initializer: [
          ints("s", start),
          ints("e", step > 0 ? 2147483647 : -2147483648),
          ints("a", 0),
          { name: "t", dataType: 7, dims: [1], int64Data: [step < -1e18 ? -(2n ** 63n) : BigInt(step)] },
        ] as never,
        node: [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
      }),
    );
    const g = importOnnx(bytes, { dims: { n: [0, 5] } });
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    for (const n of [0, 1, 4, 5]) {
      const x = tensorFrom(
        "f32",
        [n],
        Array.from({ length: n }, (_, i) => i),
      );
      const want = step > 0 ? (start < n ? [start] : []) : n > 0 ? [Math.min(start, n - 1)] : [];
      expect([...evaluate(g, { x })[0]!.data]).toEqual(want);
      expect([...(await session.run({ x } as never)).y!.data]).toEqual(want);
    }
    session.dispose();
  });

  it.each([1, 2, -1, -3, 2147483647, -2147483648])("by %d whose ends come with the run is NumPy's", async (step) => {
    const ints = (name: string, value: number) => ({ name, dataType: 7, dims: [1], int64Data: [BigInt(value)] });
    const bytes = encodeModel(
      model({
        input: [tensorInfo("x", ["n"]), tensorInfo("s", [1], 7), tensorInfo("e", [1], 7)],
        output: [tensorInfo("y", undefined)],
        initializer: [ints("a", 0), ints("t", step)] as never,
        node: [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
      }),
    );
    const g = importOnnx(bytes, { dims: { n: [0, 6] } });
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    for (const n of [0, 1, 6])
      for (const [start, end] of [
        [0, 6],
        [-1, -9],
        [4, 1],
        [1, -1],
        [9, -2147483648],
      ] as const) {
        const bound = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + n : v, low), high);
        const want: number[] = [];
        if (step > 0) for (let i = bound(start, 0, n); i < bound(end, 0, n); i += step) want.push(i);
        else for (let i = bound(start, 0, n - 1); i > bound(end, -1, n - 1); i += step) want.push(i);
        const x = tensorFrom(
          "f32",
          [n],
          Array.from({ length: n }, (_, i) => i),
        );
        const feeds = { x, s: tensorFrom("i64", [1], [start]), e: tensorFrom("i64", [1], [end]) };
        expect([...evaluate(g, feeds)[0]!.data]).toEqual(want);
        expect([...(await session.run(feeds as never)).y!.data]).toEqual(want);
      }
    session.dispose();
  });
});

describe("an input to which the file gives a value", () => {
  const x = tensorFrom("f32", [2], [5, 7]);
  const w = tensorFrom("f32", [2], [10, 20]);
  const bytes = encodeModel(
    model({
      input: [tensorInfo("x", [2]), tensorInfo("w", [2])],
      output: [tensorInfo("y", undefined)],
      initializer: [encodeTensor(tensorFrom("f32", [2], [3, 4]) as never, "w")],
      node: [node("Mul", ["x", "w"], ["y"])],
    }),
  );
  const run = async (artifact: ArtifactParts, feeds: object) => {
    const session = await load(artifact, { threads: 1 });
    try {
      return [...((await session.run(feeds as never)) as Record<string, Tensor>).y!.data];
    } finally {
      session.dispose();
    }
  };
  const variants = ["simd128"] as const;

  it("is a constant; who feeds it is told of the option overrides", async () => {
    const artifact = await compile(importOnnx(bytes), { variants });
    expect(await run(artifact, { x })).toEqual([15, 28]);
    await expect(run(artifact, { x, w })).rejects.toThrow(
      /input "w": this input is a constant of the compiled program.*\n {2}→ to feed it, import with the option overrides: \["w"\]/,
    );
    const session = await load(await artifact.toBytes());
    await expect(session.run({ x, w } as never)).rejects.toThrow(/overrides/);
    session.dispose();
    await expect(run(artifact, { x, v: w })).rejects.toThrow(/the model has no such input\n {2}→ its inputs are: x/);
  });

  it("is an input with overrides, takes another value with values, and both by compileFor", async () => {
    const overridden = await compile(importOnnx(bytes, { overrides: ["w"] }), { variants });
    expect(await run(overridden, { x, w })).toEqual([50, 140]);
    expect(await run(await compile(importOnnx(bytes, { values: { w } }), { variants }), { x })).toEqual([50, 140]);
    const late = await compileFor(bytes, { x, w }, { variants });
    expect(await run(late, late.inputsOf({ x, w }))).toEqual([50, 140]);
  });

  it("and names that the file does not list are refused", () => {
    expect(() => importOnnx(bytes, { overrides: ["weight"] })).toThrow(
      /option overrides: the file lists no initializer "weight" as an input\n {2}→ it lists: w/,
    );
  });
});
