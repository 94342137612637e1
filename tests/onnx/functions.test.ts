import { describe, expect, it } from "vitest";
import { inlineFunctions } from "../../compiler/onnx/functions.js";
import type { OnnxModel } from "../../compiler/onnx/model.js";
import { readModel } from "../../compiler/onnx/model.js";
import type { FunctionProto, GraphProto } from "../../compiler/onnx/proto-types.js";
import { attr, model, node, tensorInfo } from "./build.js";

function inlined(graph: GraphProto, functions: FunctionProto[]): OnnxModel {
  return inlineFunctions(readModel(model(graph, functions)));
}

const lines = (m: OnnxModel) => m.graph.nodes.map((n) => `${n.outputs.join(",")} = ${n.opType}(${n.inputs.join(",")})`);

const call = (op: string, input: string[], output: string[], rest = {}) =>
  node(op, input, output, {}, { domain: "d", ...rest });
const io = (names: string[]) => names.map((n) => tensorInfo(n, undefined));

describe("inlining of functions", () => {
  const scale: FunctionProto = {
    name: "scale",
    domain: "d",
    input: ["x"],
    output: ["y"],
    attribute: ["k"],
    attributeProto: [attr("m", 0.5)],
    opsetImport: [{ domain: "", version: 18 }],
    node: [
      node("Constant", [], ["k"], { value_float: { refAttrName: "k", type: 1 } }),
      node("Constant", [], ["t"], { value_float: { refAttrName: "m", type: 1 } }),
      node("Mul", ["x", "k"], ["h"]),
      node("Mul", ["h", "t"], ["y"]),
    ],
  };

  it("binds inputs, outputs, attributes and defaults, with names of its own", () => {
    const m = inlined(
      {
        input: io(["x"]),
        output: io(["h"]),
        node: [
          node("scale", ["x"], ["a"], { k: 2.5 }, { domain: "d", name: "one" }),
          node("scale", ["a"], ["h"], { k: 3.5, m: 4.5 }, { domain: "d" }),
        ],
      },
      [scale],
    );
    expect(lines(m)).toEqual([
      "one/k = Constant()",
      "one/t = Constant()",
      "one/h = Mul(x,one/k)",
      "a = Mul(one/h,one/t)",
      "h/k = Constant()",
      "h/t = Constant()",
      "h/h = Mul(a,h/k)",
      "h = Mul(h/h,h/t)",
    ]);
    const values = m.graph.nodes.flatMap((n) => n.attributes.get("value_float") ?? []);
    expect(values.map((v) => "value" in v && v.value)).toEqual([2.5, 0.5, 3.5, 4.5]);
    expect(m.graph.nodes.map((n) => n.version)).toEqual(Array(8).fill(18));
    expect(m.graph.nodes[2]!.name).toBe("one/Mul_2");
  });

  it("tells overloads apart and expands functions in functions", () => {
    const f = (overload: string, body: FunctionProto["node"]): FunctionProto => ({
      name: "f",
      domain: "d",
      overload,
      input: ["x"],
      output: ["y"],
      node: body!,
    });
    const m = inlined({ input: io(["x"]), output: io(["y"]), node: [call("f", ["x"], ["y"], { overload: "2" })] }, [
      f("", [node("Neg", ["x"], ["y"])]),
      f("2", [call("f", ["x"], ["m"]), node("Abs", ["m"], ["y"])]),
    ]);
    expect(lines(m)).toEqual(["y/m = Neg(x)", "y = Abs(y/m)"]);
  });

  it("renames what subgraphs capture, and leaves what they define", () => {
    const branch = (name: string): GraphProto => ({
      name,
      node: [node("Add", ["x", "h"], ["r"]), node("Neg", ["r"], ["o"])],
      output: io(["o"]),
    });
    const f: FunctionProto = {
      name: "f",
      domain: "d",
      input: ["c", "x"],
      output: ["y"],
      node: [
        node("Abs", ["x"], ["h"]),
        node("If", ["c"], ["y"], {
          then_branch: { type: 5, g: branch("t") },
          else_branch: { type: 5, g: branch("e") },
        }),
      ],
    };
    const m = inlined({ input: io(["p", "q"]), output: io(["z"]), node: [call("f", ["p", "q"], ["z"])] }, [f]);
    const then = m.graph.nodes[1]!.attributes.get("then_branch");
    if (then?.kind !== "graph") throw new Error("no graph");
    expect(then.value.nodes.map((n) => n.inputs)).toEqual([["q", "z/h"], ["r"]]);
  });

  it("passes absent inputs on and copies an input that is an output", () => {
    const f: FunctionProto = {
      name: "f",
      domain: "d",
      input: ["x", "lo"],
      output: ["y", "x"],
      node: [node("Clip", ["x", "lo"], ["y"])],
    };
    const m = inlined({ input: io(["a"]), output: io(["b", "c"]), node: [call("f", ["a"], ["b", "c"])] }, [f]);
    expect(lines(m)).toEqual(["b = Clip(a,)", "c = Identity(a)"]);
  });

  it("refuses recursion, wrong counts and explosions", () => {
    const loop: FunctionProto = {
      name: "f",
      domain: "d",
      input: ["x"],
      output: ["y"],
      node: [call("f", ["x"], ["y"])],
    };
    const graph = { input: io(["x"]), output: io(["y"]), node: [call("f", ["x"], ["y"])] };
    expect(() => inlined(graph, [loop])).toThrow(/calls itself/);
    const two = { ...graph, node: [call("f", ["x", "x"], ["y"])] };
    expect(() => inlined(two, [{ ...loop, node: [node("Neg", ["x"], ["y"])] }])).toThrow(
      /1 inputs and 1 outputs, but the call has 2 and 1/,
    );
    const bombs = Array.from(
      { length: 40 },
      (_, i): FunctionProto => ({
        name: `f${i}`,
        domain: "d",
        input: ["x"],
        output: ["y"],
        node:
          i === 39 ? [node("Neg", ["x"], ["y"])] : [call(`f${i + 1}`, ["x"], ["m"]), call(`f${i + 1}`, ["m"], ["y"])],
      }),
    );
    const bomb = { ...graph, node: [call("f0", ["x"], ["y"])] };
    expect(() => inlineFunctions(readModel(model(bomb, bombs)), { maxNodes: 10_000 })).toThrow(/more than 10000 nodes/);
  });
});
