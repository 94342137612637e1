/** What the compiler's functions say to options, files and names that are not what they are to be. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { compileFor } from "../../compiler/late/compile-for.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { ModelError } from "../../ir/errors.js";
import { choices, dtypeCalled, nearest } from "../../ir/names.js";
import { tensor, zeros } from "../../ir/tensor.js";
import { dtypeOf, nearest as nearestOfRuntime } from "../../runtime/explain.js";
import { model, node, tensorInfo } from "./build.js";

const bytes = encodeModel(
  model({
    input: [tensorInfo("x", ["batch", 3]), tensorInfo("past", ["past_length", 3])],
    output: [tensorInfo("y", ["batch", 3]), tensorInfo("z", ["past_length", 3])],
    node: [node("Neg", ["x"], ["y"]), node("Abs", ["past"], ["z"])],
  }),
);
const graph = importOnnx(bytes);

async function refused(work: () => unknown, message: RegExp): Promise<void> {
  let error: unknown;
  try {
    await work();
  } catch (caught) {
    error = caught;
  }
  expect(error, String(message)).toBeInstanceOf(ModelError);
  expect((error as Error).message).toMatch(message);
}

describe("a file for importOnnx", () => {
  it("is bytes of any kind", () => {
    const buffer = bytes.slice().buffer as ArrayBuffer;
    for (const file of [buffer, Buffer.from(bytes), new DataView(buffer), new Uint8Array(buffer)])
      expect(importOnnx(file).resultNames).toEqual(["y", "z"]);
  });

  it.each<[unknown, RegExp]>([
    [
      "model.onnx",
      /got "model\.onnx"\n {2}→ importOnnx takes the file's bytes: importOnnx\(readFileSync\(path\), \{ path \}\)/,
    ],
    [new URL("file:///model.onnx"), /got URL\n {2}→ importOnnx takes the file's bytes/],
    [Promise.resolve(bytes), /got Promise\n {2}→ await it first/],
    [new Response(bytes as BodyInit), /got Response\n {2}→ pass await it\.arrayBuffer\(\)/],
    [new Blob([]), /pass await it\.arrayBuffer/],
    [[1, 2], /got \[1, 2\]/],
    [null, /got null/],
    [undefined, /got undefined/],
  ])("is not %s", async (file, message) => {
    await refused(() => importOnnx(file as never), message);
    await refused(() => compileFor(file as never, {}), message);
  });
});

describe("options", () => {
  it.each<[object, RegExp]>([
    [
      { dim: { batch: 4 } },
      /option "dim": importOnnx has no such option\n {2}→ its options are: .*did you mean "dims"/,
    ],
    [{ dims: { batch: [4, 2] } }, /option dims: expected .*low ≤ high/],
    [{ dims: { batch: [1, 2, 3] } }, /option dims/],
    [{ dims: { batch: Number.NaN } }, /option dims/],
    [{ dims: { batch: -1 } }, /option dims/],
    [{ dims: { batch: 1.5 } }, /option dims/],
    [{ dims: { batch: "4" } }, /option dims/],
    [{ dims: { batch: 0 } }, /"batch" is 0: nothing is left to compute/],
    [{ dims: { batch: [0, 0] } }, /"batch" is 0/],
    [{ dims: { bach: 4 } }, /the model has no dim "bach"\n {2}→ its dims are: .*did you mean "batch"/],
    [
      { shapes: { X: [1, 3] } },
      /option shapes: the model has no input "X"\n {2}→ its inputs are: x, past; did you mean "x"/,
    ],
    [{ values: { q: tensor("f32", [1], Float32Array.of(1)) } }, /option values: the model has no input "q"/],
    [{ structures: { q: 1 } }, /option structures: the model has no input "q"/],
    [{ shapes: { x: [Number.NaN] } }, /option shapes/],
    [
      { values: { x: { type: "int64", dims: [1], data: 0 } } },
      /values, input "x": expected a tensor .*\n {2}→ .*ONNX Runtime\): pass \{ dtype: "i64", shape: t\.dims/,
    ],
    [
      { values: { x: { dtype: "float32", shape: [1], data: 0 } } },
      /there is no dtype "float32"\n {2}→ wasmith calls it "f32"/,
    ],
    [
      { values: { x: { dtype: "f32", shape: [2], data: new Float32Array(1) } } },
      /shape \[2\] has 2 elements, the data 1/,
    ],
    [{ values: { x: { dtype: "f32", shape: [1], data: [1] } } }, /f32 elements come in a Float32Array, got \[1\]/],
    [{ values: { x: 5 } }, /option values/],
    [{ maxNodes: Number.NaN }, /option maxNodes: expected an integer of at least 1, got NaN/],
    [{ maxSeconds: "1" }, /option maxSeconds: expected seconds, got "1"/],
    [{ maxUnknownSize: -4 }, /option maxUnknownSize/],
    [{ externalData: 5 }, /option externalData: expected a function, or an object/],
    [{ path: 5 }, /option path: expected a path or file URL, got 5/],
    [5 as never, /importOnnx: expected an object of options, got 5/],
    [null as never, /importOnnx: expected an object of options, got null/],
  ])("of importOnnx: %j", async (options, message) => {
    await refused(() => importOnnx(bytes, options), message);
  });

  it("may leave a cache empty, and be undefined", () => {
    const made = importOnnx(bytes, { dims: { past_length: 0, batch: [1, 8] }, shapes: undefined } as never);
    expect(made.params[1]!.type.shape[0]).toBe(0);
    expect(importOnnx(bytes, { dims: { batch: [0, 8] } }).params).toHaveLength(2);
  });

  it.each<[object, RegExp]>([
    [{ variants: [] }, /option variants: expected a list of at least one of simd128, .* got \[\]/],
    [{ variants: ["simd"] }, /option variants/],
    [{ variants: ["simd128", "simd128"] }, /option variants/],
    [{ variants: "simd128" }, /option variants/],
    [{ variants: ["relaxed"], deterministic: true }, /"relaxed" contradicts deterministic: true/],
    [{ maxThreads: 0 }, /option maxThreads: expected an integer from 1 to 256, got 0/],
    [{ maxThreads: Number.NaN }, /option maxThreads/],
    [{ maxMemoryBytes: Number.NaN }, /option maxMemoryBytes: .* got NaN/],
    [{ maxMemoryBytes: "1 GB" }, /option maxMemoryBytes/],
    [{ maxSeconds: Number.NaN }, /option maxSeconds/],
    [{ skipPasses: ["fusing"] }, /option skipPasses/],
    [{ deterministic: 1 }, /option deterministic: expected true or false, got 1/],
    [{ onPass: 1 }, /option onPass: expected a function, got 1/],
    [{ threads: 4 }, /option "threads": compile has no such option\n.*did you mean "maxThreads"/],
    [{ name: "a/b" }, /name: "a\/b" can't be a file name/],
    [{ name: "x".repeat(4000) }, /name: "x+"… has 4000 bytes\n {2}→ choose one of at most 200/],
  ])("of compile: %j", async (options, message) => {
    await refused(() => compile(graph, options), message);
    await refused(
      () => compileFor(bytes, {}, options),
      message.source.includes("compile has") ? /compileFor has no such option/ : message,
    );
  });

  it("of compile are checked before what is to be compiled", async () => {
    for (const input of [bytes, null, "model.onnx", {}])
      await refused(
        () => compile(input as never),
        /expected a graph or a program to compile, got .*\n {2}→ pass what importOnnx/,
      );
  });

  it("of exportOnnx, toGraph, trainStep and optimisers", async () => {
    await refused(() => exportOnnx(graph, { opsets: 20 } as never), /did you mean "opset"/);
    await refused(() => exportOnnx(graph, { opset: Number.NaN }), /option opset/);
    const layer = nn.Linear(3, 2);
    const inputs = { x: ["batch", 3] };
    await refused(() => toGraph(layer, { inputs, output: ["y"] } as never), /did you mean "outputs"/);
    await refused(() => toGraph(layer, { inputs, dims: { batch: [8, 1] } }), /option dims/);
    await refused(() => toGraph(layer, { inputs, dims: { bach: [1, 8] } }), /no input has a size of that name/);
    await refused(
      () => toGraph(layer, { inputs: { x: { dtype: "float32" as never, shape: ["batch", 3] } } }),
      /there is no dtype "float32"\n {2}→ wasmith calls it "f32"/,
    );
    await refused(
      () => toGraph(layer, { inputs: { x: 3 as never } }),
      /an input is a shape, \{ dtype, shape \} or a type as text, not 3/,
    );
    expect(toGraph(layer, { inputs, dims: { batch: 4 } }).params[0]!.type.shape[0]).toBe(4);
    const step = (more: object) =>
      trainStep(layer, {
        inputs,
        targets: { y: ["batch", 2] },
        loss: losses.mse(),
        optimizer: optim.SGD(),
        ...more,
      } as never);
    await refused(() => step({ accumulate: 0 }), /option accumulate: expected an integer of at least 1, got 0/);
    await refused(() => step({ optimiser: 1 }), /did you mean "optimizer"/);
    await refused(() => step({ seed: Number.NaN }), /option seed/);
    await refused(
      () => optim.Adam({ learningRate: 0.1 } as never),
      /option "learningRate": optim\.Adam has no such option\n {2}→ its options are: lr/,
    );
    await refused(() => optim.Adam({ lr: "0.1" as never }), /option lr: expected a number ≥ 0, got "0\.1"/);
    await refused(() => optim.SGD({ lr: Number.NaN }), /option lr/);
    await refused(() => optim.SGD({ nesterov: 1 as never }), /option nesterov: expected true or false, got 1/);
    expect(optim.SGD({ lr: undefined as never }).lr).toBe(1e-3);
  });

  it("of layers", async () => {
    await refused(
      () => nn.Conv2d(1, 6, 5, { strides: 2 } as never),
      /Conv2d has no such option\n {2}→ .*did you mean "stride"/,
    );
    await refused(() => nn.Conv2d(1, 6, 5, { bias: 1 } as never), /option bias: expected true or false, got 1/);
    await refused(() => nn.Linear(3, 2, { Bias: false } as never), /Linear has no such option.*did you mean "bias"/s);
    await refused(() => nn.LSTM(3, 2, { numLayers: 2 } as never), /LSTM has no such option.*did you mean "layers"/s);
    await refused(() => nn.LSTM(3, 2, { layers: Number.NaN }), /option layers: expected an integer of at least 1/);
    await refused(
      () => nn.BatchNorm2d(3, { eps: 1e-3 } as never),
      /nn\.BatchNorm2d has no such option\n {2}→ its options are: epsilon/,
    );
    await refused(
      () => nn.TransformerEncoderLayer(8, 2, { activation: "silu" } as never),
      /option activation: expected "relu" or "gelu"/,
    );
    await refused(
      () => nn.MaxPool2d(2, { strides: 2 } as never),
      /nn\.MaxPool2d has no such option.*did you mean "stride"/s,
    );
  });

  it("pass on what the caller's own functions throw", async () => {
    const own = new TypeError("mine");
    const fail = (): never => {
      throw own;
    };
    await expect(compile(graph, { onPass: fail })).rejects.toBe(own);
    await expect(compile(graph, { onStage: fail })).rejects.toBe(own);
    class Mine extends nn.Module<readonly never[], never> {
      override forward(): never {
        return fail();
      }
    }
    expect(() => toGraph(new Mine(), { inputs: { x: [1] } })).toThrow(own);
  });
});

describe("names", () => {
  it("are explained alike by the compiler and the runtime", () => {
    const names = [
      "float32",
      "torch.float16",
      "Double",
      "int8",
      "uint64",
      "long",
      "f32",
      "string",
      "",
      "constructor",
      5,
      null,
    ];
    for (const name of names) expect(dtypeOf(name)).toBe(dtypeCalled(name));
    const options = ["maxThreads", "maxMemoryBytes", "dims"];
    for (const name of ["threads", "dim", "max_threads", "memory", "x", "toString"])
      expect(nearestOfRuntime(name, options)).toBe(nearest(name, options));
    expect(choices("x", [], "its inputs are")).toBe("its inputs are: none");
  });

  it("of dtypes that other libraries have are named", () => {
    expect(() => zeros("float32" as never, [1])).toThrow(/there is no dtype "float32"\n {2}→ wasmith calls it "f32"/);
    expect(() => tensor("int64" as never, [1], new BigInt64Array(1))).toThrow(/wasmith calls it "i64"/);
    expect(() => zeros("text" as never, [1])).toThrow(/the dtypes are: f32/);
    expect(() => zeros(undefined as never, [1])).toThrow(/there is no dtype undefined/);
  });
});

describe("weights in other files", () => {
  let folder: string;
  const weights = Float32Array.of(1, 2, 3);
  const outside = (entries: Record<string, string>, dims = [3]) =>
    encodeModel(
      model({
        input: [tensorInfo("x", [3])],
        output: [tensorInfo("y", [3])],
        initializer: [
          {
            name: "w",
            dims,
            dataType: 1,
            dataLocation: 1,
            externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
          },
        ],
        node: [node("Add", ["x", "w"], ["y"])],
      }),
    );
  const file = outside({ location: "w.data" });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-weights-"));
    writeFileSync(join(folder, "w.data"), new Uint8Array(weights.buffer));
    execFileSync("mkfifo", [join(folder, "pipe")]);
    writeFileSync(join(folder, "huge"), "");
    truncateSync(join(folder, "huge"), 2 ** 36);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are read beside the path, or given by name, or read by a function", () => {
    const path = join(folder, "model.onnx");
    for (const options of [
      { path },
      { path: pathToFileURL(path) },
      { path: pathToFileURL(path).href },
      { externalData: { "w.data": weights } },
      { externalData: { "w.data": weights.buffer as ArrayBuffer } },
      { externalData: () => new Uint8Array(weights.buffer) },
    ])
      expect(importOnnx(file, options).resultNames).toEqual(["y"]);
  });

  it("that are not given say how to give them", async () => {
    await refused(
      () => importOnnx(file),
      /"w\.data", which was not given\n {2}→ pass importOnnx the option `path`.*or `externalData`/,
    );
    await refused(() => importOnnx(file, { externalData: {} }), /was not given/);
    await refused(() => importOnnx(file, { path: join(folder, "none/model.onnx") }), /file "w\.data" is missing/);
  });

  it.each([
    ["pipe", {}, /"pipe" is not a regular file/],
    ["/dev/zero", {}, /outside the model's folder/],
    ["w.data", { offset: "8" }, /needs bytes 8 to 20 of "w\.data", which has 12/],
    ["w.data", { offset: "-1" }, /bad offset "-1"/],
    ["w.data", { length: "68719476736" }, /takes 12 bytes, but its external data has 68719476736/],
    ["w.data", { length: "-4" }, /bad length/],
    ["w.data", { offset: "1e3" }, /bad offset/],
    ["w.data", { offset: "999999999999999" }, /which has 12/],
    ["x".repeat(5000), {}, /is missing/],
  ])("at %s with %j end in a ModelError at once", async (location, entries, message) => {
    const begin = performance.now();
    await refused(() => importOnnx(outside({ location, ...entries }), { path: join(folder, "m.onnx") }), message);
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  it("are held to a budget of bytes", async () => {
    const path = join(folder, "model.onnx");
    await refused(
      () => importOnnx(outside({ location: "huge" }, [2 ** 34]), { path }),
      /its 68719476736 bytes exceed what may be read .*\n {2}→ raise maxExternalBytes/,
    );
    await refused(
      () => importOnnx(outside({ location: "huge" }, [2 ** 34]), { path, maxExternalBytes: 2 ** 40 }),
      /ModelError|can't be read|exceed|larger|initializer/,
    );
    await refused(() => importOnnx(file, { path, maxExternalBytes: 11 }), /its 12 bytes exceed/);
    expect(importOnnx(file, { path, maxExternalBytes: 12 }).resultNames).toEqual(["y"]);
  });
});
