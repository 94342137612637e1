/** Small files that ask for much: depth, doubling, sizes, names, paths. Each ends soon, in a result or a ModelError. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { readExternalDataFrom } from "../../compiler/onnx/external-data-node.js";
import { type ImportOptions, importOnnx } from "../../compiler/onnx/import.js";
import type { FunctionProto, GraphProto, ModelProto, NodeProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { load } from "../../runtime/index.js";
import { model, node, tensorInfo } from "./build.js";

const output = (name: string) => [tensorInfo(name, undefined)];
const ints = (name: string, ...values: number[]) => ({
  name,
  dims: [values.length],
  dataType: 7,
  int64Data: values,
});
const one = (nodes: NodeProto[], rest: Omit<GraphProto, "node" | "output"> = {}): ModelProto =>
  model({ input: [tensorInfo("x", [2])], node: nodes, output: output("y"), ...rest });

async function attempt(proto: ModelProto, options: ImportOptions = {}): Promise<string> {
  try {
    const artifact = await compile(importOnnx(encodeModel(proto), options), { variants: ["simd128"] });
    (await load(artifact, { threads: 1 })).dispose();
    return "compiled";
  } catch (error) {
    if ((error as Error).name !== "ModelError") throw error;
    return (error as Error).message;
  }
}

/** Ifs in Ifs, reading `x` from the outermost graph. */
function nested(depth: number): ModelProto {
  const leaf = (op: string): GraphProto => ({ name: op, node: [node(op, ["x"], ["o"])], output: output("o") });
  let graph = leaf("Neg");
  for (let i = 0; i < depth; i++) {
    const branches = { then_branch: { type: 5, g: graph }, else_branch: { type: 5, g: leaf("Abs") } };
    graph = { name: "g", node: [node("If", ["c"], ["o"], branches)], output: output("o") };
  }
  return model({ ...graph, input: [tensorInfo("x", [2]), tensorInfo("c", [], 9)] });
}

/** Functions of which each calls the one before `times` times. */
function calling(count: number, times: 1 | 2): ModelProto {
  const call = (i: number, from: string, to: string) => node(`f${i}`, [from], [to], {}, { domain: "f" });
  const functions = Array.from({ length: count }, (_, i): FunctionProto => {
    const inner = [call(i - 1, "a", "t"), times === 2 ? call(i - 1, "t", "b") : node("Neg", ["t"], ["b"])];
    const opsetImport = ["", "f"].map((domain) => ({ domain, version: domain === "" ? 21 : 1 }));
    return {
      domain: "f",
      name: `f${i}`,
      input: ["a"],
      output: ["b"],
      opsetImport,
      node: i === 0 ? [node("Neg", ["a"], ["b"])] : inner,
    };
  });
  return model({ input: [tensorInfo("x", [2])], node: [call(count - 1, "x", "y")], output: output("y") }, functions);
}

/** v(i+1) = op(v(i), …) from x to y. */
function chain(length: number, make: (from: string, to: string, i: number) => readonly NodeProto[]): NodeProto[] {
  const name = (i: number) => (i === 0 ? "x" : i === length ? "y" : `v${i}`);
  return Array.from({ length }, (_, i) => make(name(i), name(i + 1), i)).flat();
}

describe("depth", () => {
  it.each([
    ["Ifs in Ifs", nested(30), /compiled/],
    ["more Ifs in Ifs", nested(99), /nested deeper/],
    ["thousands of Ifs in Ifs", nested(1500), /nested deeper/],
    ["functions that call functions", calling(40, 1), /compiled/],
    ["thousands of functions", calling(5000, 1), /deeper than 64/],
    ["a long chain", one(chain(20_000, (a, b) => [node("Neg", [a], [b])])), /compiled/],
    [
      "shapes of shapes",
      one(chain(500, (a, b, i) => [node("Shape", [a], [`s${i}`]), node("Reshape", [a, `s${i}`], [b])])),
      /compiled/,
    ],
    [
      "hundreds of axes",
      one([node("Softmax", ["x"], ["y"])], {
        input: [
          tensorInfo(
            "x",
            Array.from({ length: 300 }, (_, i) => `d${i}`),
          ),
        ],
      }),
      /at most 64/,
    ],
  ])("%s", { timeout: 60_000 }, async (_, proto, expected) => {
    expect(await attempt(proto)).toMatch(expected);
  });
});

describe("doubling", () => {
  it("of function calls ends at maxNodes", async () => {
    expect(await attempt(calling(10, 2))).toBe("compiled");
    expect(await attempt(calling(60, 2), { maxNodes: 10_000 })).toMatch(/more than 10000 nodes/);
  });

  it("of a value joined with itself ends at the memory limit", { timeout: 60_000 }, async () => {
    const twice = chain(60, (a, b) => [node("Concat", [a, a], [b], { axis: 0 })]);
    expect(await attempt(one(twice))).toMatch(/bytes of memory, the limit is|too many elements/);
    expect(await attempt(one(twice, { input: [tensorInfo("x", ["n"])] }))).toMatch(
      /bytes of memory, the limit is|too many elements/,
    );
  });

  it("of work ends at maxSeconds", async () => {
    const started = performance.now();
    expect(await attempt(calling(60, 2), { maxSeconds: 0.2 })).toMatch(/importing the model took longer than 0.2 s/);
    expect(performance.now() - started).toBeLessThan(10_000);
    const graph = importOnnx(encodeModel(calling(12, 2)));
    await expect(compile(graph, { maxSeconds: 0 })).rejects.toThrow(/compiling the model took longer than 0 s/);
  });
});

describe("vectors with an element for each axis", () => {
  it.each([
    ["Reshape", []],
    ["Expand", []],
    ["Tile", []],
    ["Pad", []],
    ["ConstantOfShape", []],
    ["Slice", ["v"]],
    ["Resize", ["", "v"]],
    ["CenterCropPad", []],
    ["ReduceSum", []],
    ["Squeeze", []],
    ["Unsqueeze", []],
    ["TopK", []],
    ["Split", []],
    ["SplitToSequence", []],
    ["Col2Im", ["v"]],
    ["AffineGrid", []],
    ["RandomNormal", []],
  ])("%s takes no billions of them", { timeout: 20_000 }, async (op, more) => {
    for (const length of [2 ** 31, 100_000]) {
      const inputs = op === "ConstantOfShape" ? ["v"] : op === "Resize" ? ["x", ...more] : ["x", "v", ...more];
      const input = [tensorInfo("x", [2, 3]), tensorInfo("v", [length], 7)];
      const result = await attempt(one([node(op, inputs, ["y"])], { input }), { maxSeconds: 5 });
      expect(result).not.toMatch(/longer than/);
    }
  });
});

describe("sizes", () => {
  const sized =
    (...nodes: NodeProto[]) =>
    (initializer: GraphProto["initializer"]) =>
      one(nodes, { initializer: initializer! });
  it.each([
    ["ConstantOfShape", sized(node("ConstantOfShape", ["s"], ["y"]))([ints("s", 1e6, 1e6)])],
    ["Tile", sized(node("Tile", ["x", "s"], ["y"]))([ints("s", 2 ** 40)])],
    ["Expand", sized(node("Expand", ["x", "s"], ["y"]))([ints("s", 2 ** 40, 2)])],
    ["Pad", sized(node("Pad", ["x", "s"], ["y"]))([ints("s", 2 ** 52, 2 ** 52)])],
    ["negative Pad", sized(node("Pad", ["x", "s"], ["y"]))([ints("s", -5, -5)])],
    ["Reshape", sized(node("Reshape", ["x", "s"], ["y"]))([ints("s", 2 ** 62, -1)])],
    ["OneHot", sized(node("OneHot", ["i", "s", "v"], ["y"]))([ints("i", 1, 2), ints("s", 2 ** 50), ints("v", 0, 1)])],
    [
      "an initializer without data",
      sized(node("Neg", ["w"], ["y"]))([{ name: "w", dims: [2 ** 30, 2 ** 20], dataType: 1 }]),
    ],
    ["an initializer of negative size", sized(node("Neg", ["w"], ["y"]))([{ name: "w", dims: [-1], dataType: 1 }])],
    [
      "Einsum",
      one([node("Einsum", ["x", "x", "x", "x", "x", "x"], ["y"], { equation: "a,b,c,d,e,f->abcdef" })], {
        input: [tensorInfo("x", [1e4])],
      }),
    ],
  ])("beyond all memory are refused: %s", async (_, proto) => {
    expect(await attempt(proto)).not.toBe("compiled");
  });
});

describe("names", () => {
  it.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("that objects have: %s", async (name) => {
    const proto = one([node("Neg", [name], ["y"])], { input: [tensorInfo(name, [2, "constructor", "__proto__"])] });
    expect(await attempt(proto, { dims: {}, shapes: {}, values: {}, structures: {} })).toBe("compiled");
    expect(await attempt(one([node(name, ["x"], ["y"])]))).toMatch(/no op of this name exists/);
    expect(await attempt(one([node("Neg", ["x"], ["y"], { [name]: 1 })]))).toBe("compiled");
    expect(await attempt(one([node("Neg", [name], ["y"])]))).toMatch(/is not defined anywhere/);
  });
});

describe("paths of external data", () => {
  const folder = mkdtempSync(join(tmpdir(), "wasmith-external-"));
  writeFileSync(join(folder, "weights"), new Uint8Array(16));
  mkdirSync(join(folder, "directory"));
  if (process.platform !== "win32") {
    symlinkSync("/dev/zero", join(folder, "zeros"));
    symlinkSync(tmpdir(), join(folder, "out"));
  }
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    [{ location: "/etc/passwd" }, /outside the model's folder/],
    [{ location: "../weights" }, /outside the model's folder/],
    [{ location: "directory/../../weights" }, /outside the model's folder/],
    [{ location: "C:\\weights" }, /outside the model's folder/],
    [{ location: "weights\0" }, /outside the model's folder/],
    [{ location: "zeros" }, /leads outside|missing/],
    [{ location: "out/x" }, /leads outside|missing/],
    [{ location: "directory" }, /not a regular file/],
    [{ location: "." }, /leads outside/],
    [{ location: "weights/x" }, /missing/],
    [{ location: "a".repeat(100_000) }, /missing/],
    [{ location: "weights", offset: "999999999999999" }, /which has 16/],
    [{ location: "weights", offset: "-4" }, /bad offset/],
    [{ location: "weights", offset: "1e1" }, /bad offset/],
    [{ location: "weights", length: "999999999999" }, /takes 16 bytes/],
    [{}, /no location/],
    [{ location: "weights" }, /^compiled$/],
  ] as const)("%j", async (entries, expected) => {
    const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
    const weights = { name: "w", dims: [4], dataType: 1, dataLocation: 1, externalData };
    const proto = model({ initializer: [weights], node: [node("Neg", ["w"], ["y"])], output: output("y") });
    expect(await attempt(proto, { externalData: readExternalDataFrom(folder) })).toMatch(expected);
  });
});
