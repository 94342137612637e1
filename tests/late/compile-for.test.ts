/** What feeds decide is fixed, nothing else, and the manifest says it. */
import { describe, expect, it } from "vitest";
import { compileFor, type LateArtifact } from "../../compiler/late/compile-for.js";
import type { ModelFeeds } from "../../compiler/late/feeds.js";
import type { GraphProto, NodeProto, ValueInfoProto } from "../../compiler/onnx/proto-types.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { ModelError } from "../../ir/errors.js";
import { attr, node, tensorInfo } from "../onnx/build.js";
import { bytesOf, f32, i64, iota, plain, runFor } from "./run.js";

const INT64 = 7;
const BOOL = 9;
const OPTIONS = { variants: ["simd128"] } as const;
const late = (graph: GraphProto, feeds: ModelFeeds, opset?: number): Promise<LateArtifact> =>
  compileFor(bytesOf(graph, opset), feeds, OPTIONS);
const sequenceInfo = (name: string): ValueInfoProto => ({
  name,
  type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } },
});
const ints = (name: string, ...values: number[]) =>
  encodeTensor({ dtype: "i64", shape: [values.length], data: BigInt64Array.from(values, BigInt) }, name);
const floats = (name: string, shape: number[], ...values: number[]) =>
  encodeTensor({ dtype: "f32", shape, data: Float32Array.from(values) }, name);
const inputsOf = ({ manifest }: LateArtifact) => manifest.entries.main!.inputs.map((i) => i.name);
const bool = (value: boolean) => ({ dtype: "bool" as const, shape: [], data: Uint8Array.of(Number(value)) });

describe("what is fixed", () => {
  it("nothing, where the model is a program as it is", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 3])],
      output: [tensorInfo("y", undefined)],
      node: [node("Neg", ["x"], ["y"])],
    };
    const artifact = await late(graph, { x: f32([1, 3], 1, 2, 3) });
    expect(artifact.fixed).toEqual([]);
    const other = { x: iota(4, 3) };
    expect(artifact.serves(other)).toBe(true);
    expect(plain((await runFor(artifact, other)).y)).toEqual({
      shape: [4, 3],
      data: [...iota(4, 3).data].map((v) => -v),
    });
  });

  it("values of axes, by way of the ops that make them, and not the batch", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 2, "t"]), tensorInfo("a", [1], INT64), tensorInfo("unused", ["k"])],
      output: [tensorInfo("y", undefined)],
      initializer: [ints("one", 1)],
      node: [node("Add", ["a", "one"], ["axes"]), node("ReduceSum", ["x", "axes"], ["y"], { keepdims: 0 })],
    };
    const feeds = { x: iota(1, 2, 2), a: i64(0), unused: f32([1], 0) };
    const artifact = await late(graph, feeds);
    expect(artifact.fixed).toEqual([{ input: "a", what: "value", value: { dtype: "i64", shape: [1], data: [0] } }]);
    expect(artifact.manifest.specialization?.fixed).toEqual(artifact.fixed);
    expect(inputsOf(artifact)).toEqual(["x", "unused"]);
    const other = { ...feeds, x: iota(2, 2, 3) };
    expect(artifact.serves(other)).toBe(true);
    expect(plain((await runFor(artifact, other)).y)).toEqual({ shape: [2, 3], data: [3, 5, 7, 15, 17, 19] });
    expect(artifact.serves({ ...other, a: i64(1) })).toBe(false);
  });

  it("ranks that the file leaves open", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", undefined)],
      output: [tensorInfo("y", undefined)],
      node: [node("Flatten", ["x"], ["y"])],
    };
    const artifact = await late(graph, { x: iota(2, 3, 4) });
    expect(artifact.fixed).toEqual([{ input: "x", what: "rank", value: 3 }]);
    expect(plain((await runFor(artifact, { x: iota(1, 1, 2) })).y)).toEqual({ shape: [1, 2], data: [0, 1] });
    expect(artifact.serves({ x: iota(2, 3) })).toBe(false);
  });

  it("sizes that shape what the model does, and their ranges where others do the same", async () => {
    // PyTorch's squeeze of an axis that may be 1.
    const branch = (name: string, nodes: NodeProto[]): GraphProto => ({
      name,
      input: [],
      output: [tensorInfo(`${name}_y`, undefined)],
      node: nodes,
    });
    const squeeze: GraphProto = {
      input: [tensorInfo("x", ["n", "w"])],
      output: [tensorInfo("y", undefined)],
      initializer: [ints("one", 1), ints("axis", 1)],
      node: [
        node("Shape", ["x"], ["s"], { start: 1 }),
        node("Equal", ["s", "one"], ["is1"]),
        node("If", ["is1"], ["y"], {
          then_branch: { type: 5, g: branch("yes", [node("Squeeze", ["x", "axis"], ["yes_y"])]) },
          else_branch: { type: 5, g: branch("no", [node("Identity", ["x"], ["no_y"])]) },
        }),
      ],
    };
    const size = (value: number) => [{ input: "x", what: "size", axis: 1, dim: "w", value }];
    const one = await late(squeeze, { x: iota(3, 1) });
    expect(one.fixed).toEqual(size(1));
    expect(plain((await runFor(one, { x: iota(2, 1) })).y)).toEqual({ shape: [2], data: [0, 1] });
    const two = await late(squeeze, { x: iota(3, 2) });
    expect(two.fixed).toEqual(size(2));
    expect(plain((await runFor(two, { x: iota(1, 2) })).y)).toEqual({ shape: [1, 2], data: [0, 1] });
  });

  it("what a condition depends on, where one of its branches is for other feeds", async () => {
    const branch = (name: string, perm: readonly number[]): GraphProto => ({
      name,
      input: [],
      output: [tensorInfo(`${name}_y`, undefined)],
      node: [node("Transpose", ["x"], [`${name}_y`], { perm })],
    });
    const graph: GraphProto = {
      input: [tensorInfo("x", undefined), tensorInfo("kind", [1], INT64)],
      output: [tensorInfo("y", undefined)],
      initializer: [ints("two", 2)],
      node: [
        node("Equal", ["kind", "two"], ["flat"]),
        node("If", ["flat"], ["y"], {
          then_branch: { type: 5, g: branch("yes", [1, 0]) },
          else_branch: { type: 5, g: branch("no", [2, 0, 1]) },
        }),
      ],
    };
    for (const [kind, x, shape] of [
      [2, iota(2, 3), [3, 2]],
      [3, iota(2, 3, 4), [4, 2, 3]],
    ] as const) {
      const feeds = { x, kind: i64(kind) };
      const artifact = await late(graph, feeds);
      expect(artifact.fixed.map((f) => [f.input, f.what])).toEqual([
        ["x", "rank"],
        ["kind", "value"],
      ]);
      expect((await runFor(artifact, feeds)).y).toMatchObject({ shape });
    }
    await expect(late(graph, { x: iota(2, 3), kind: i64(3) })).rejects.toThrow(/Transpose node of "no_y"/);
  });

  it("sizes that were taken to be equal and are not", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", "w"]), tensorInfo("mask", ["m", "w"])],
      output: [tensorInfo("y", undefined)],
      node: [node("Add", ["x", "mask"], ["y"])],
    };
    const feeds = { x: iota(2, 3), mask: f32([1, 3], 10, 20, 30) };
    const artifact = await late(graph, feeds);
    expect(plain((await runFor(artifact, feeds)).y)).toEqual({ shape: [2, 3], data: [10, 21, 32, 13, 24, 35] });
    const equal = await late(graph, { x: iota(2, 3), mask: iota(2, 3) });
    expect(equal.serves({ x: iota(3, 1), mask: iota(3, 1) })).toBe(true);
    await expect(late(graph, { x: iota(2, 3), mask: iota(3, 3) })).rejects.toThrow(/Add/);
  });

  it("an axis of size 0, as one that may be empty", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 2]), tensorInfo("z", ["n", 2])],
      output: [tensorInfo("y", undefined)],
      node: [node("Concat", ["x", "z"], ["y"], { axis: 0 })],
    };
    const artifact = await late(graph, { x: iota(0, 2), z: iota(0, 2) });
    expect(artifact.fixed).toEqual([]);
    expect(artifact.manifest.entries.main!.dims).toMatchObject([{ name: "n", min: 0, max: null }]);
    expect(plain((await runFor(artifact, { x: iota(0, 2), z: iota(0, 2) })).y)).toEqual({ shape: [0, 2], data: [] });
    const later = { x: iota(1, 2), z: iota(1, 2) };
    expect(plain((await runFor(artifact, later)).y)).toEqual({ shape: [2, 2], data: [0, 1, 0, 1] });
  });

  it("nothing where a name stands for two sizes", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 2]), tensorInfo("z", ["n", 2])],
      output: [tensorInfo("y", undefined)],
      node: [node("Concat", ["x", "z"], ["y"], { axis: 0 })],
    };
    const feeds = { x: iota(1, 2), z: iota(2, 2) };
    const artifact = await late(graph, feeds);
    expect(artifact.fixed).toEqual([]);
    expect(plain((await runFor(artifact, feeds)).y)).toEqual({ shape: [3, 2], data: [0, 1, 0, 1, 2, 3] });
  });

  it("the length of a sequence and the ranks of its items", async () => {
    const graph: GraphProto = {
      input: [sequenceInfo("s"), tensorInfo("i", [], INT64)],
      output: [tensorInfo("y", undefined), sequenceInfo("rest")],
      node: [node("SequenceAt", ["s", "i"], ["y"]), node("SequenceErase", ["s", "i"], ["rest"])],
    };
    const at = (i: number) => ({ dtype: "i64" as const, shape: [], data: BigInt64Array.of(BigInt(i)) });
    const feeds = { s: [iota(2), iota(3), iota(1)], i: at(1) };
    const artifact = await late(graph, feeds);
    expect(artifact.fixed.map((f) => [f.input, f.what])).toEqual([
      ["s", "length"],
      ["s.0", "rank"],
      ["s.1", "rank"],
      ["s.2", "rank"],
      ["i", "value"],
    ]);
    const { y, rest } = await runFor(artifact, feeds);
    expect(plain(y)).toEqual({ shape: [3], data: [0, 1, 2] });
    expect(plain(rest)).toEqual([
      { shape: [2], data: [0, 1] },
      { shape: [1], data: [0] },
    ]);
    expect(artifact.serves({ s: [iota(4), iota(5), iota(6)], i: at(1) })).toBe(true);
    expect(artifact.serves({ s: [iota(4), iota(5)], i: at(1) })).toBe(false);
  });

  it("whether an optional is there", async () => {
    const graph: GraphProto = {
      input: [
        {
          name: "o",
          type: { optionalType: { elemType: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 2 }] } } } } },
        },
      ],
      output: [tensorInfo("y", undefined, BOOL)],
      node: [node("OptionalHasElement", ["o"], ["y"])],
    };
    for (const o of [null, iota(2)]) {
      const artifact = await late(graph, { o });
      expect(artifact.fixed).toEqual([{ input: "o", what: "present", value: o !== null }]);
      expect(plain((await runFor(artifact, { o })).y)).toEqual({ shape: [], data: [o === null ? 0 : 1] });
      expect(artifact.serves({ o: o === null ? iota(2) : null })).toBe(false);
    }
  });

  it("that an initializer gets another value", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 2]), tensorInfo("w", [2])],
      output: [tensorInfo("y", undefined)],
      initializer: [floats("w", [2], 10, 20)],
      node: [node("Mul", ["x", "w"], ["y"])],
    };
    const x = iota(1, 2);
    const own = await late(graph, { x });
    expect(plain((await runFor(own, { x })).y)).toEqual({ shape: [1, 2], data: [0, 20] });
    const feeds = { x, w: f32([2], 3, 4) };
    expect(own.serves(feeds)).toBe(false);
    const other = await late(graph, feeds);
    expect(other.fixed).toEqual([{ input: "w", what: "present", value: true }]);
    expect(plain((await runFor(other, feeds)).y)).toEqual({ shape: [1, 2], data: [0, 4] });
  });

  it("how often a loop runs, where its carried value grows", async () => {
    const body: GraphProto = {
      name: "body",
      input: [tensorInfo("i", [], INT64), tensorInfo("going", [], BOOL), tensorInfo("a", undefined)],
      output: [tensorInfo("next", [], BOOL), tensorInfo("b", undefined)],
      node: [
        node("Identity", ["going"], ["next"]),
        node("Neg", ["a"], ["m"]),
        node("Concat", ["m", "a"], ["b"], { axis: 0 }),
      ],
    };
    const graph: GraphProto = {
      input: [tensorInfo("trips", [], INT64), tensorInfo("go", [], BOOL), tensorInfo("a0", [1])],
      output: [tensorInfo("y", undefined)],
      node: [node("Loop", ["trips", "go", "a0"], ["y"], { body: { type: 5, g: body } })],
    };
    const feeds = {
      trips: { dtype: "i64" as const, shape: [], data: BigInt64Array.of(2n) },
      go: bool(true),
      a0: f32([1], 5),
    };
    const artifact = await late(graph, feeds);
    expect(plain((await runFor(artifact, feeds)).y)).toEqual({ shape: [4], data: [5, -5, -5, 5] });
    expect(artifact.fixed.every((f) => f.input === "trips" || f.input === "go")).toBe(true);
    expect(artifact.serves({ ...feeds, a0: f32([1], 7) })).toBe(true);
  });

  it("the values that end a loop without a limit", async () => {
    // Doubles a scalar until it passes a limit, and grows a vector meanwhile.
    const body: GraphProto = {
      name: "body",
      input: [
        tensorInfo("i", [], INT64),
        tensorInfo("going", [], BOOL),
        tensorInfo("k", [], INT64),
        tensorInfo("a", undefined),
      ],
      output: [tensorInfo("next", [], BOOL), tensorInfo("k2", [], INT64), tensorInfo("b", undefined)],
      node: [
        node("Add", ["k", "k"], ["k2"]),
        node("Less", ["k2", "limit"], ["next"]),
        node("Neg", ["a"], ["m"]),
        node("Concat", ["m", "a"], ["b"], { axis: 0 }),
      ],
    };
    const graph: GraphProto = {
      input: [tensorInfo("limit", [], INT64), tensorInfo("k0", [], INT64), tensorInfo("a0", ["n"])],
      output: [tensorInfo("y", undefined)],
      node: [node("Loop", ["", "", "k0", "a0"], ["last", "y"], { body: { type: 5, g: body } })],
    };
    const scalar = (v: number) => ({ dtype: "i64" as const, shape: [], data: BigInt64Array.of(BigInt(v)) });
    const feeds = { limit: scalar(7), k0: scalar(2), a0: f32([1], 1) };
    const artifact = await late(graph, feeds);
    expect(plain((await runFor(artifact, feeds)).y)).toEqual({ shape: [4], data: [1, -1, -1, 1] });
    expect(artifact.fixed.map((f) => f.input).sort()).toEqual(["k0", "limit"]);
  });
});

describe("what it refuses", () => {
  const graph: GraphProto = {
    input: [tensorInfo("x", ["n", 2]), tensorInfo("a", [1], INT64)],
    output: [tensorInfo("y", undefined)],
    node: [node("ReduceSum", ["x", "a"], ["y"])],
  };
  const refused = async (feeds: unknown): Promise<string> => {
    const error: unknown = await late(graph, feeds as ModelFeeds).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ModelError);
    return (error as ModelError).message;
  };
  const a = i64(1);

  it("feeds that do not fit the model, all at once", async () => {
    expect(await refused(null)).toMatch(/expected an object of inputs by name, got null/);
    const all = await refused({ a: { dtype: "int64", shape: [1], data: a.data }, z: iota(1) });
    expect(all).toMatch(/"x": missing; expected f32\[n, 2\]/);
    expect(all).toMatch(/"a": expected i64\[1\], got dtype "int64"\n {2}→ its dtype is called "i64"/);
    expect(all).toMatch(/"z": the model has no such input\n {2}→ its inputs are: x, a/);
    expect(await refused({ x: iota(3, 3), a })).toMatch(/expected f32\[n, 2\], got f32\[3, 3\]/);
    expect(await refused({ x: { dtype: "f32", shape: [3, 2], data: iota(4).data }, a })).toMatch(/with 4 elements/);
    expect(await refused({ x: [1, 2], a })).toMatch(/got an array of 2\n {2}→ pass \{ dtype, shape, data \}/);
    expect(await refused({ x: iota(1, 2), a: Int32Array.of(1) })).toMatch(/i64 elements come in a BigInt64Array/);
    expect(await refused({ x: { dtype: "string", shape: [1], data: ["a"] }, a })).toMatch(/strings are not supported/);
  });

  it("a value that the op does not allow, with the node", async () => {
    expect(await refused({ x: iota(1, 2), a: i64(5) })).toMatch(/ReduceSum node of "y": axis 5/);
  });

  it("data too large to compile for", async () => {
    const large: GraphProto = {
      input: [tensorInfo("x", ["n"])],
      output: [tensorInfo("y", undefined)],
      initializer: [ints("axes", 0)],
      node: [
        node("ReduceSum", ["x", "axes"], ["s"], { keepdims: 1 }),
        node("Cast", ["s"], ["k"], { to: INT64 }),
        node("ReduceSum", ["x", "k"], ["y"]),
      ],
    };
    await expect(late(large, { x: iota(70_000) })).rejects.toThrow(/"x": its values decide what the program is/);
  });
});

describe("feeds", () => {
  it("of typed arrays, whose shapes follow from the model and from one another", async () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 2]), tensorInfo("m", ["n", "k"]), tensorInfo("c", [])],
      output: [tensorInfo("y", undefined)],
      node: [node("Concat", ["x", "m"], ["j"], { axis: 1 }), node("Mul", ["j", "c"], ["y"])],
    };
    const feeds = { x: Float32Array.of(1, 2, 3, 4), m: iota(2, 1), c: f32([1], 2) };
    const artifact = await late(graph, feeds);
    expect(plain((await runFor(artifact, feeds)).y)).toEqual({ shape: [2, 3], data: [2, 4, 0, 6, 8, 2] });
  });

  it.each([
    ["f16", 10, Uint16Array, 0x3c00],
    ["bf16", 16, Uint16Array, 0x3f80],
    ["f8e4m3fn", 17, Uint8Array, 0x38],
    ["f8e5m2", 19, Uint8Array, 0x3c],
    ["u4", 21, Uint8Array, 1],
    ["i4", 22, Int8Array, 1],
    ["f4e2m1", 23, Uint8Array, 2],
    ["u2", 25, Uint8Array, 1],
    ["i2", 26, Int8Array, 1],
  ] as const)("of %s, in and out", async (dtype, code, array, one) => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n"], code)],
      output: [tensorInfo("y", undefined), tensorInfo("z", undefined, code)],
      node: [
        { ...node("Cast", ["x"], ["y"]), attribute: [attr("to", 1)] },
        { ...node("Cast", ["y"], ["z"]), attribute: [attr("to", code)] },
      ],
    };
    const feeds = { x: { dtype, shape: [3], data: array.of(one, 0, one) } };
    const { y, z } = await runFor(await late(graph, feeds, 25), feeds);
    expect(plain(y)).toEqual({ shape: [3], data: [1, 0, 1] });
    expect(z).toEqual(feeds.x);
  });
});
