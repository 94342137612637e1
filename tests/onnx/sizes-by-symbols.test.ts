/**
 * Ops whose attributes come of sizes or data, imported with named sizes and at each size by itself: both give the same numbers, by
 * the reference and compiled.
 */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { compileFor } from "../../compiler/late/compile-for.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import type { GraphProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { encodeMessage } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { model, node, tensorInfo } from "./build.js";
import { compareTensors } from "./compare.js";

const ints = (name: string, ...values: number[]) =>
  encodeTensor({ dtype: "i64", shape: [values.length], data: BigInt64Array.from(values.map(BigInt)) }, name);
const single = (name: string, value: number) =>
  encodeTensor({ dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(value)) }, name);
interface Case {
  readonly name: string;
  readonly shape: readonly (number | string)[];
  readonly nodes: readonly NodeProto[];
  readonly constants?: readonly ReturnType<typeof ints>[];
  readonly sizes: readonly Readonly<Record<string, number>>[];
  /** A second input of integers, whose values only a run knows. */
  readonly data?: (sizes: Readonly<Record<string, number>>) => readonly number[];
  readonly opset?: number;
}

const square = [{ n: 1 }, { n: 2 }, { n: 5 }, { n: 11 }];
const images = [
  { h: 5, w: 7 },
  { h: 8, w: 6 },
  { h: 16, w: 9 },
];
/** y's [1, c, h′, w′] of x's: sizes computed as exporters do. */
const half = [
  node("Shape", ["x"], ["s"]),
  node("Slice", ["s", "two", "four"], ["hw"]),
  node("Slice", ["s", "zero", "two"], ["nc"]),
  node("Div", ["hw", "two"], ["halved"]),
  node("Concat", ["nc", "halved"], ["size"], { axis: 0 }),
];
const few = [ints("zero", 0), ints("two", 2), ints("four", 4), ints("one", 1)];

const cases: readonly Case[] = [
  { name: "Det of any size", shape: [3, "n", "n"], nodes: [node("Det", ["x"], ["y"])], sizes: square },
  {
    name: "Resize, antialiased, to half",
    shape: [1, 2, "h", "w"],
    nodes: [...half, node("Resize", ["x", "", "", "size"], ["y"], { mode: "linear", antialias: 1 })],
    constants: few,
    sizes: images,
  },
  {
    name: "Resize, antialiased cubic, weights inside only",
    shape: [1, 2, "h", "w"],
    nodes: [...half, node("Resize", ["x", "", "", "size"], ["y"], { mode: "cubic", antialias: 1, exclude_outside: 1 })],
    constants: few,
    sizes: images,
  },
  {
    name: "Resize that keeps the ratio",
    shape: [1, 2, "h", "w"],
    nodes: [
      node("Resize", ["x", "", "", "size"], ["y"], {
        mode: "linear",
        keep_aspect_ratio_policy: "not_larger",
        axes: [2, 3],
      }),
    ],
    constants: [ints("size", 6, 12)],
    sizes: images,
  },
  ...(["reflect", "edge", "wrap"] as const).map(
    (mode): Case => ({
      name: `Pad by sizes, ${mode}`,
      shape: ["n"],
      nodes: [
        node("Shape", ["x"], ["s"]),
        node("Div", ["s", "two"], ["low"]),
        node("Mod", ["s", "four"], ["high"]),
        node("Concat", ["low", "high"], ["pads"], { axis: 0 }),
        node("Pad", ["x", "pads"], ["y"], { mode }),
      ],
      constants: few,
      sizes: [{ n: 5 }, { n: 8 }, { n: 11 }],
    }),
  ),
  {
    name: "CenterCropPad",
    shape: ["n", 4],
    nodes: [node("CenterCropPad", ["x", "size"], ["y"], { axes: [0] })],
    constants: [ints("size", 6)],
    sizes: [{ n: 3 }, { n: 6 }, { n: 9 }, { n: 12 }],
  },
  {
    name: "TopK of as many as there are, at most 4",
    shape: [2, "n"],
    nodes: [
      node("Shape", ["x"], ["s"]),
      node("Slice", ["s", "one", "two"], ["n"]),
      node("Min", ["n", "four"], ["k"]),
      node("TopK", ["x", "k"], ["y", "i"], { axis: 1 }),
    ],
    constants: few,
    sizes: [{ n: 3 }, { n: 4 }, { n: 9 }],
  },
  {
    name: "Col2Im of an image of any size",
    shape: [1, 8, "l"],
    nodes: [node("Col2Im", ["x", "image", "block"], ["y"], { strides: [2, 2] })],
    constants: [ints("block", 2, 2)],
    sizes: [{ l: 6 }, { l: 12 }],
    data: ({ l }) => [4, l!],
  },
  {
    name: "Slice backwards from what the data say",
    shape: ["n"],
    nodes: [node("Slice", ["x", "start", "end", "zero", "minus"], ["y"])],
    constants: [ints("end", -100), ints("zero", 0), ints("minus", -2)],
    sizes: [{ n: 5 }, { n: 8 }],
    data: () => [3],
  },
  {
    name: "a slice from a size less a constant counts from the end where that is negative",
    shape: ["n"],
    nodes: [
      node("Shape", ["x"], ["s"]),
      node("Sub", ["s", "four"], ["start"]),
      node("Slice", ["x", "start", "end"], ["y"]),
    ],
    constants: [...few, ints("end", 100)],
    sizes: [{ n: 2 }, { n: 4 }, { n: 9 }],
  },
  {
    name: "Range by a fraction",
    shape: ["n"],
    nodes: [
      node("Shape", ["x"], ["s"]),
      node("Squeeze", ["s"], ["n"]),
      node("Cast", ["n"], ["f"], { to: 1 }),
      node("Range", ["start", "f", "step"], ["y"]),
    ],
    constants: [
      encodeTensor({ dtype: "f32", shape: [], data: Float32Array.of(0.25) }, "start"),
      encodeTensor({ dtype: "f32", shape: [], data: Float32Array.of(0.1) }, "step"),
    ],
    sizes: [{ n: 1 }, { n: 2 }, { n: 7 }],
  },
  {
    name: "ConstantOfShape by data within a size",
    shape: ["n"],
    nodes: [
      node("Shape", ["x"], ["s"]),
      node("Min", ["s", "count"], ["k"]),
      node("ConstantOfShape", ["k"], ["ones"]),
      node("Shape", ["ones"], ["y"]),
    ],
    sizes: [{ n: 2 }, { n: 9 }],
    data: () => [4],
  },
  {
    name: "SplitToSequence of a dynamic axis",
    shape: ["n", 3],
    nodes: [
      node("SplitToSequence", ["x"], ["parts"], { axis: 0, keepdims: 0 }),
      node("SequenceAt", ["parts", "last"], ["y"]),
    ],
    constants: [single("last", 1)],
    sizes: [{ n: 2 }, { n: 5 }],
  },
];

const dataName = (c: Case): string | undefined =>
  c.data && c.nodes.flatMap((n) => n.input ?? []).find((name) => ["image", "start", "count"].includes(name));

function proto(c: Case): Uint8Array {
  const extra = dataName(c);
  const graph: GraphProto = {
    input: [
      tensorInfo("x", c.shape),
      ...(extra === undefined ? [] : [tensorInfo(extra, [c.data!(c.sizes[0]!).length], 7)]),
    ],
    output: [tensorInfo("y", undefined)],
    initializer: [...(c.constants ?? [])],
    node: [...c.nodes],
  };
  return encodeMessage("ModelProto", model(graph, [], c.opset ?? 21));
}

function feedsOf(c: Case, sizes: Readonly<Record<string, number>>): Record<string, Tensor> {
  const shape = c.shape.map((d) => (typeof d === "number" ? d : sizes[d]!));
  const count = shape.reduce((p, d) => p * d, 1);
  const x = tensorFrom(
    "f32",
    shape,
    Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * 3 + (i % 5)),
  );
  const extra = dataName(c);
  if (extra === undefined) return { x };
  const values = c.data!(sizes);
  return { x, [extra]: tensorFrom("i64", [values.length], values.map(BigInt)) };
}

describe("attributes that come of sizes", () => {
  for (const c of cases)
    it(c.name, async () => {
      const bytes = proto(c);
      const dynamic = importOnnx(bytes);
      const session = await load(await compile(dynamic, { variants: ["simd128"] }), { threads: 1 });
      try {
        for (const sizes of c.sizes) {
          const feeds = feedsOf(c, sizes);
          const extra = dataName(c);
          const values = extra === undefined ? {} : { values: { [extra]: feeds[extra]! } };
          const fixed = importOnnx(bytes, { dims: sizes, ...values });
          const own = Object.fromEntries(
            fixed.params.map((p) => (p.def.op === "param" ? [p.def.name, feeds[p.def.name]!] : [])),
          );
          const [want] = evaluate(fixed, own);
          const used = Object.fromEntries(
            dynamic.params.map((p) => (p.def.op === "param" ? [p.def.name, feeds[p.def.name]!] : [])),
          );
          const [reference] = evaluate(dynamic, used);
          const how = { rtol: 1e-4, atol: 1e-4 };
          expect(compareTensors(reference!, want!, how), JSON.stringify(sizes)).toBeUndefined();
          const got = await session.run(used as Parameters<typeof session.run>[0]);
          expect(compareTensors(got.y as Tensor, want!, how), `compiled ${JSON.stringify(sizes)}`).toBeUndefined();
        }
      } finally {
        session.dispose();
      }
    });
});

it("ScatterND takes the depth of its tuples from the ranks", () => {
  const graph: GraphProto = {
    input: [tensorInfo("x", [3, 4]), tensorInfo("at", ["m", "d"], 7), tensorInfo("v", ["m"])],
    output: [tensorInfo("y", undefined)],
    node: [node("ScatterND", ["x", "at", "v"], ["y"])],
  };
  const g = importOnnx(encodeMessage("ModelProto", model(graph)));
  const x = tensorFrom("f32", [3, 4], new Array(12).fill(0));
  const [y] = evaluate(g, { x, at: tensorFrom("i64", [2, 2], [0n, 1n, 2n, 3n]), v: tensorFrom("f32", [2], [5, 7]) });
  expect([...y!.data]).toEqual([0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
  const wrong = { x, at: tensorFrom("i64", [2, 1], [0n, 1n]), v: tensorFrom("f32", [2], [5, 7]) };
  expect(() => evaluate(g, wrong)).toThrow(/sizes do not fit/);
});

describe("GatherND takes the depth of its tuples", () => {
  const gathering = (x: number[], at: (number | string)[], y: (number | string)[] | undefined, batch = 0) =>
    encodeMessage(
      "ModelProto",
      model({
        input: [tensorInfo("x", x), tensorInfo("at", at, 7)],
        output: [tensorInfo("y", y)],
        node: [node("GatherND", ["x", "at"], ["y"], { batch_dims: batch })],
      }),
    );
  const counted = (...shape: number[]) =>
    tensorFrom(
      "f32",
      shape,
      Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => i),
    );
  const indices = (shape: number[], values: number[]) => tensorFrom("i64", shape, values.map(BigInt));

  it.each([
    // x[i, j] = 4i + j
    ["elements", [3, 4], ["m", "d"], ["m"], 0, indices([2, 2], [0, 1, 2, -1]), [1, 11]],
    ["rows", [3, 4], ["m", "d"], ["m", 4], 0, indices([2, 1], [2, 0]), [8, 9, 10, 11, 0, 1, 2, 3]],
    // x[b, i] = 3b + i
    ["elements of a batch", [2, 3], [2, "d"], [2], 1, indices([2, 1], [1, -1]), [1, 5]],
    [
      "elements of an axis, which is all there is",
      [5],
      ["m", "d"],
      undefined,
      0,
      indices([3, 1], [4, 0, 2]),
      [4, 0, 2],
    ],
  ] as const)("from the ranks: %s", async (_, shape, at, y, batch, given, want) => {
    const graph = importOnnx(gathering([...shape], [...at], y && [...y], batch));
    const feeds = { x: counted(...shape), at: given };
    expect([...evaluate(graph, feeds)[0]!.data]).toEqual(want);
    const session = await load(await compile(graph, { variants: ["simd128"] }), { threads: 1 });
    const { y: got } = (await session.run(feeds as never)) as Record<string, Tensor>;
    expect([...got!.data]).toEqual(want);
    // Three indices for an axis of which there are two at most.
    const wrong = indices([...given.shape.slice(0, -1), 3], new Array(given.shape[0]! * 3).fill(0));
    await expect(session.run({ ...feeds, at: wrong } as never)).rejects.toThrow(/sizes do not fit|should/);
    session.dispose();
  });

  it("from feeds where nothing says it, and fixes nothing else", async () => {
    const bytes = gathering([3, 4], ["m", "d"], undefined);
    expect(() => importOnnx(bytes)).toThrow(
      /the size d of its index tuples.*decides how many axes the result has.*dims/s,
    );
    expect(importOnnx(bytes, { dims: { d: 1 } }).results[0]!.type.shape).toHaveLength(2);
    const feeds = { x: counted(3, 4), at: indices([2, 2], [0, 1, 2, -1]) };
    const artifact = await compileFor(bytes, feeds, { variants: ["simd128"] });
    expect(artifact.fixed).toEqual([{ input: "at", what: "size", axis: 1, dim: "d", value: 2 }]);
  });

  it("and says where the file states what can't be", () => {
    expect(() => importOnnx(gathering([3, 4], ["m", "d"], ["m", 1, 1, 1]))).toThrow(
      /the file says that its result has 4 axes/,
    );
  });
});
