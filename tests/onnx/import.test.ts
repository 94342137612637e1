import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { coverage } from "../../compiler/onnx/coverage.js";
import { type ImportOptions, importOnnx } from "../../compiler/onnx/import.js";
import { readOnnx } from "../../compiler/onnx/model.js";
import type { AttributeProto, GraphProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { ModelError } from "../../ir/errors.js";
import { typeText } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { model, node, tensorInfo } from "./build.js";

const ints = (name: string, ...values: number[]) =>
  encodeTensor({ dtype: "i64", shape: [values.length], data: BigInt64Array.from(values, BigInt) }, name);

const imported = (graph: GraphProto, options: ImportOptions = {}, opset = 21) =>
  importOnnx(encodeModel(model(graph, [], opset)), options);

const resultTypes = (graph: GraphProto, options: ImportOptions = {}) =>
  imported(graph, options).results.map((r) => typeText(r.type));

describe("shape arithmetic", () => {
  // PyTorch's x.view(x.size(0), -1, x.size(2) * 2): Shape → Gather → Mul → Concat → Reshape.
  const view: GraphProto = {
    input: [tensorInfo("x", ["n", 4, "t", 6])],
    output: [tensorInfo("y", undefined)],
    initializer: [ints("zero", 0), ints("two", 2), ints("minus", -1)],
    node: [
      node("Shape", ["x"], ["s"]),
      node("Gather", ["s", "zero"], ["n"]),
      node("Gather", ["s", "two"], ["t"]),
      node("Mul", ["t", "two"], ["t2"]),
      node("Concat", ["n", "minus", "t2"], ["shape"], { axis: 0 }),
      node("Reshape", ["x", "shape"], ["y"]),
    ],
  };

  it("evaluates when compiling, with symbols", () => {
    expect(resultTypes(view)).toEqual(["f32[n,12,2*t]"]);
  });

  it("takes fixed and bounded dims", () => {
    expect(resultTypes(view, { dims: { n: 3, t: [1, 8] } })).toEqual(["f32[3,12,2*t]"]);
    const [t] = imported(view, { dims: { t: [1, 8] } }).params[0]!.type.shape.slice(2);
    expect(t).toMatchObject({ terms: [{ atoms: [{ name: "t", min: 1, max: 8 }] }] });
  });

  it("follows floats that came of sizes", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", ["n", 8])],
      output: [tensorInfo("y", undefined)],
      initializer: [
        encodeTensor({ dtype: "f32", shape: [1], data: Float32Array.of(0.5) }, "half"),
        ints("zero", 0),
        ints("one", 1),
        ints("minus", -1),
      ],
      node: [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Cast", ["n"], ["f"], { to: 1 }),
        node("Mul", ["f", "half"], ["h"]),
        node("Floor", ["h"], ["floor"]),
        node("Cast", ["floor"], ["count"], { to: 7 }),
        node("Slice", ["x", "zero", "count", "zero"], ["y"]),
      ],
    };
    expect(resultTypes(graph)).toEqual(["f32[floordiv(n, 2),8]"]);
  });

  it("makes sizes that only the data decide known when running", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", [2, 3]), tensorInfo("shape", [2], 7)],
      output: [tensorInfo("y", undefined)],
      node: [node("Reshape", ["x", "shape"], ["y"])],
    };
    const g = imported(graph);
    const x = tensorFrom("f32", [2, 3], [1, 2, 3, 4, 5, 6]);
    expect(evaluate(g, { x, shape: tensorFrom("i64", [2], [-1, 1]) })[0]!.shape).toEqual([6, 1]);
    const fixed = imported(graph, { values: { shape: tensorFrom("i64", [2], [3, 0 + 2]) } });
    expect(fixed.params).toHaveLength(1);
    expect(fixed.results.map((r) => typeText(r.type))).toEqual(["f32[3,2]"]);
  });
});

describe("errors", () => {
  it("list everything at once, an op once with all its nodes, and no follow-ups", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", [2, 3])],
      output: [tensorInfo("z", undefined)],
      node: [
        node("ImageDecoder", ["x"], ["a"], {}, { name: "first" }),
        node("ImageDecoder", ["x"], ["b"], {}, { name: "second" }),
        node("Add", ["a", "b"], ["c"]),
        node("Transpose", ["x"], ["d"], { perm: [0, 0] }, { name: "turn" }),
        node("Nonsense", ["d"], ["e"]),
        node("Concat", ["c", "e"], ["z"], { axis: 0 }),
      ],
    };
    try {
      imported(graph);
      expect.unreachable();
    } catch (error) {
      const { problems } = error as ModelError;
      expect(problems.map((p) => p.where)).toEqual([
        "ai.onnx ImageDecoder (opset 21)",
        "ai.onnx Nonsense (opset 21)",
        "turn",
      ]);
      expect(problems[0]!.message).toContain("used by 2 nodes first, second");
      expect(problems[0]!.hint).toContain("decode the image in the application");
    }
  });

  it("name the inputs that decide what must be constant", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", [2, 3]), tensorInfo("axes", [1], 7)],
      output: [tensorInfo("y", undefined)],
      node: [node("ReduceSum", ["x", "axes"], ["y"], {}, { name: "total" })],
    };
    expect(() => imported(graph)).toThrow(/ReduceSum node "total": the axes .* values: \{ "axes": … \}/s);
  });

  it("say when an op is newer or older than the opset", () => {
    const graph = (op: string): GraphProto => ({
      input: [tensorInfo("x", [2, 3])],
      output: [tensorInfo("y", undefined)],
      node: [node(op, ["x"], ["y"])],
    });
    expect(() => imported(graph("Gelu"), {}, 17)).toThrow(/exists only since opset 20/);
    expect(() => imported(graph("Upsample"), {}, 17)).toThrow(/removed in favour of Resize/);
    expect(() => imported(graph("Relu"), {}, 99)).toThrow(/opset 99 is newer than/);
  });

  it("are also listed by coverage, without importing", () => {
    const graph: GraphProto = {
      input: [tensorInfo("x", [2, 3])],
      output: [tensorInfo("y", undefined)],
      node: [node("Relu", ["x"], ["r"]), node("Foo", ["r"], ["y"], {}, { domain: "com.example", name: "f" })],
    };
    const uses = coverage(readOnnx(encodeModel(model(graph))));
    expect(uses.map((u) => [u.op, u.problem?.reason])).toEqual([
      ["Foo", 'the model does not import the domain "com.example"'],
      ["Relu", undefined],
    ]);
  });
});

describe("control flow", () => {
  const branch = (op: string): GraphProto => ({
    name: op,
    node: [node(op, ["x"], ["r"])],
    output: [tensorInfo("r", undefined)],
  });
  const graph: GraphProto = {
    input: [tensorInfo("c", [], 9), tensorInfo("x", [2])],
    output: [tensorInfo("y", undefined)],
    node: [
      node("If", ["c"], ["y"], {
        then_branch: { type: 5, g: branch("Neg") },
        else_branch: { type: 5, g: branch("Abs") },
      }),
    ],
  };

  it("captures values from outside", () => {
    const g = imported(graph);
    const run = (c: number) =>
      Array.from(evaluate(g, { c: tensorFrom("bool", [], [c]), x: tensorFrom("f32", [2], [1, -2]) })[0]!.data, Number);
    expect(run(1)).toEqual([-1, 2]);
    expect(run(0)).toEqual([1, 2]);
  });

  it("is decided when compiling where the condition is known", () => {
    const g = imported(graph, { values: { c: tensorFrom("bool", [], [1]) } });
    expect(g.results[0]!.def.op).toBe("neg");
  });
});

describe("a squeeze of an axis that may be 1, inside a branch", () => {
  const branch = (output: string, ...nodes: NodeProto[]): AttributeProto => ({
    type: 5,
    g: { name: output, node: nodes, output: [tensorInfo(output, undefined)] },
  });
  const graph: GraphProto = {
    input: [tensorInfo("x", ["n"]), tensorInfo("single", [], 9)],
    output: [tensorInfo("y", undefined)],
    initializer: [ints("zero", 0), ints("one", 1)],
    node: [
      node("If", ["single"], ["y"], {
        then_branch: branch(
          "doubled",
          node("Shape", ["x"], ["s"]),
          node("Gather", ["s", "zero"], ["n"]),
          node("Equal", ["n", "one"], ["is_one"]),
          node(
            "If",
            ["is_one"],
            ["squeezed"],
            {
              then_branch: branch("a", node("Squeeze", ["x", "zero"], ["a"])),
              else_branch: branch("b", node("Identity", ["x"], ["b"])),
            },
            { name: "inner" },
          ),
          node("Add", ["squeezed", "squeezed"], ["doubled"]),
        ),
        else_branch: branch("mean", node("ReduceMean", ["x", "zero"], ["mean"], { keepdims: 0 })),
      }),
    ],
  };

  it("is checked when that branch runs, and leaves the other its sizes", async () => {
    const g = imported(graph);
    expect(g.params.map((p) => typeText(p.type))).toEqual(["f32[n]", "bool[]"]);
    const session = await load(await compile(g, { variants: ["simd128"] }), { threads: 1 });
    const runs = [
      (x: number[], single: number) =>
        session.run({ x: Float32Array.from(x), single: Uint8Array.of(single) }).then((r) => r.y as Tensor),
      async (x: number[], single: number) =>
        evaluate(g, { x: tensorFrom("f32", [x.length], x), single: tensorFrom("bool", [], [single]) })[0]!,
    ];
    for (const run of runs) {
      expect(toNumbers(await run([3], 1))).toEqual([6]);
      expect(toNumbers(await run([3, 5], 0))).toEqual([4]);
      await expect(run([3, 5], 1)).rejects.toThrow(/inner/);
      await expect(run([3, 5], 1)).rejects.toMatchObject({ name: "ModelError" });
    }
    session.dispose();
  });
});

describe("the error class", () => {
  it("is ModelError for everything that the user can cause", () => {
    expect(() => importOnnx(new Uint8Array([1, 2, 3]))).toThrow(ModelError);
  });
});

describe("outputs by names of values", () => {
  const graph: GraphProto = {
    input: [tensorInfo("x", ["n", 4])],
    output: [tensorInfo("y", undefined)],
    node: [node("Relu", ["x"], ["h"]), node("Exp", ["h"], ["e"]), node("Neg", ["e"], ["y"])],
  };

  it("gives any values of the file instead of its outputs, in their order", () => {
    const g = imported(graph, { outputs: ["e", "h"] });
    expect(g.resultNames).toEqual(["e", "h"]);
    const [e, h] = evaluate(g, [tensorFrom("f32", [1, 4], [-1, 0, 1, 2])]);
    expect(toNumbers(h!)).toEqual([0, 0, 1, 2]);
    expect(toNumbers(e!)).toEqual([1, 1, Math.E, Math.E ** 2].map((v) => expect.closeTo(v, 5)));
    expect(imported(graph).resultNames).toEqual(["y"]);
  });

  it("names what is not there", () => {
    expect(() => imported(graph, { outputs: ["hh"] })).toThrow(
      /option outputs: no node of the model gives "hh"\n.*"?h"?/,
    );
    expect(() => imported(graph, { outputs: "h" as never })).toThrow(/outputs/);
  });
});
