/** onnxruntime's API, as its documentation shows it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import * as ort from "../../ort/index.js";
import { negated, ofSequence, product, reshape, twoOutputs, unknownOp, weighted } from "./models.js";

const { InferenceSession, Tensor } = ort;
let folder: string;
const inFolder = (name: string, bytes: Uint8Array): string => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "wasmith-ort-"));
  ort.env.wasmith.worker = false;
  ort.env.wasmith.cache = false;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const x = () => new Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]);

describe("the quick start", () => {
  it("multiplies two matrices", async () => {
    const session = await InferenceSession.create(inFolder("model.onnx", product()));
    const dataA = Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const dataB = Float32Array.from([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
    const tensorA = new Tensor("float32", dataA, [3, 4]);
    const tensorB = new Tensor("float32", dataB, [4, 3]);
    const feeds = { a: tensorA, b: tensorB };
    const results = await session.run(feeds);
    const c = results.c as ort.Tensor;
    expect(c).toBeInstanceOf(Tensor);
    expect([c.type, c.dims, [...c.data]]).toEqual([
      "float32",
      [3, 3],
      [700, 800, 900, 1580, 1840, 2100, 2460, 2880, 3300],
    ]);
    await session.release();
    await expect(session.run(feeds)).rejects.toThrow("it was released");
  });
});

describe("InferenceSession.create", () => {
  it("takes paths, URLs, bytes, buffers and parts of buffers", async () => {
    const bytes = twoOutputs();
    const path = inFolder("two.onnx", bytes);
    const padded = new Uint8Array(bytes.length + 10);
    padded.set(bytes, 4);
    const sessions = await Promise.all([
      InferenceSession.create(path),
      InferenceSession.create(pathToFileURL(path)),
      InferenceSession.create(pathToFileURL(path).href),
      InferenceSession.create(bytes),
      InferenceSession.create(new Blob([bytes as Uint8Array<ArrayBuffer>])),
      InferenceSession.create(padded.buffer, 4, bytes.length),
      InferenceSession.create(padded.buffer, 4, bytes.length, { executionProviders: ["wasm"] }),
      InferenceSession.create(padded.slice(4, 4 + bytes.length).buffer, { graphOptimizationLevel: "all" }),
    ]);
    for (const session of sessions) {
      expect([...((await session.run({ x: x() })).sum as ort.Tensor).data]).toEqual([6, 15]);
      await session.release();
    }
  });

  it("refuses arguments as onnxruntime does", async () => {
    const { buffer } = product();
    await expect(InferenceSession.create(buffer, -1)).rejects.toThrow("'byteOffset' is out of range");
    await expect(InferenceSession.create(buffer, 0, 0)).rejects.toThrow("'byteLength' is out of range");
    await expect(InferenceSession.create(product(), 3 as never)).rejects.toThrow("'options' must be an object.");
    await expect(InferenceSession.create(3 as never)).rejects.toThrow("expected a path, URL, bytes or a Blob, got 3");
  });

  it("takes onnxruntime's options, and refuses what there is none of", async () => {
    const session = await InferenceSession.create(product(), {
      executionProviders: [{ name: "webgpu" }, "wasm"],
      graphOptimizationLevel: "extended",
      enableCpuMemArena: true,
      enableMemPattern: true,
      executionMode: "sequential",
      logId: "id",
      logSeverityLevel: 3,
      preferredOutputLocation: "cpu",
      extra: { session: { set_denormal_as_zero: "1" } },
    });
    await session.release();
    const wrong = InferenceSession.create(product(), { graphOptimisationLevel: "all" } as never);
    await expect(wrong).rejects.toThrow(/no such option\n.*graphOptimizationLevel/);
    await expect(InferenceSession.create(product(), { preferredOutputLocation: "gpu-buffer" })).rejects.toThrow(
      "option preferredOutputLocation",
    );
  });

  it("names the node of what is not supported", async () => {
    await expect(InferenceSession.create(unknownOp())).rejects.toThrow(/Frobnicate/);
    await expect(InferenceSession.create(new Uint8Array(40))).rejects.toThrow();
    await expect(InferenceSession.create(join(folder, "nothing.onnx"))).rejects.toThrow(/nothing\.onnx.*ENOENT/);
  });

  it("tells names, types and shapes of inputs and outputs", async () => {
    const session = await InferenceSession.create(twoOutputs());
    expect(session.inputNames).toEqual(["x"]);
    expect(session.outputNames).toEqual(["double", "sum"]);
    expect(session.inputMetadata).toEqual([{ name: "x", isTensor: true, type: "float32", shape: ["batch", 3] }]);
    expect(session.outputMetadata).toEqual([
      { name: "double", isTensor: true, type: "float32", shape: ["batch", 3] },
      { name: "sum", isTensor: true, type: "float32", shape: ["batch"] },
    ]);
    await session.release();
  });

  it("fixes sizes", async () => {
    const session = await InferenceSession.create(twoOutputs(), { freeDimensionOverrides: { batch: 2, other: 5 } });
    expect(session.inputMetadata[0]).toMatchObject({ shape: [2, 3] });
    expect([...((await session.run({ x: x() })).sum as ort.Tensor).data]).toEqual([6, 15]);
    await expect(session.run({ x: new Tensor("float32", [1, 2, 3], [1, 3]) })).rejects.toThrow('input "x"');
    await session.release();
  });
});

describe("run", () => {
  it("gives the outputs that are wanted", async () => {
    const session = await InferenceSession.create(twoOutputs());
    expect(Object.keys(await session.run({ x: x() }))).toEqual(["double", "sum"]);
    expect(Object.keys(await session.run({ x: x() }, ["sum"]))).toEqual(["sum"]);
    expect(Object.keys(await session.run({ x: x() }, { double: null }))).toEqual(["double"]);
    expect(Object.keys(await session.run({ x: x() }, { tag: "a run" }))).toEqual(["double", "sum"]);
    const into = new Tensor("float32", new Float32Array(2), [2]);
    const { sum } = await session.run({ x: x() }, { sum: into }, { logSeverityLevel: 0 });
    expect(sum).toBe(into);
    expect([...into.data]).toEqual([6, 15]);
    await expect(session.run({ x: x() }, { sum: new Tensor("float32", [1], [1]) })).rejects.toThrow(
      'output "sum": the result is float32[2], the tensor given for it float32[1]',
    );
    await session.release();
  });

  it("refuses arguments as onnxruntime does", async () => {
    const session = await InferenceSession.create(twoOutputs());
    await expect(session.run({})).rejects.toThrow("input 'x' is missing in 'feeds'.");
    await expect(session.run(x() as never)).rejects.toThrow("'feeds' must be an object");
    await expect(session.run({ x: x() }, [])).rejects.toThrow("'fetches' cannot be an empty array.");
    await expect(session.run({ x: x() }, ["y"])).rejects.toThrow("'fetches' contains invalid output name: y.");
    await expect(session.run({ x: x() }, x() as never)).rejects.toThrow("'fetches' cannot be a Tensor");
    await expect(session.run({ x: x() }, { terminate: true })).rejects.toThrow("the run was asked to end");
    await expect(session.run({ x: x(), y: x() })).rejects.toThrow('input "y": the model has no such input');
    await expect(session.run({ x: [1, 2] as never })).rejects.toThrow('input "x.0": expected a Tensor, got 1');
    const gone = x();
    gone.dispose();
    await expect(session.run({ x: gone })).rejects.toThrow("the tensor is disposed");
    await expect(session.run({ x: new Tensor("int32", [1, 2, 3], [1, 3]) })).rejects.toThrow(/input "x".*f32/);
    await expect(session.run({ x: new Tensor("float32", [1, 2], [1, 2]) })).rejects.toThrow(/input "x".*\[1, 2\]/);
    await expect(session.run({ x: new Tensor(["a"], [1, 1]) })).rejects.toThrow("strings are not supported");
    await session.release();
  });

  it("takes and gives each type in onnxruntime's arrays", async () => {
    const run = async (elemType: number, given: ort.Tensor): Promise<ort.Tensor> => {
      const session = await InferenceSession.create(negated(elemType));
      const { y } = await session.run({ x: given });
      await session.release();
      return y as ort.Tensor;
    };
    expect((await run(7, new Tensor("int64", [1n, -2n]))).data).toEqual(BigInt64Array.of(-1n, 2n));
    expect((await run(6, new Tensor("int32", [1, -2]))).data).toEqual(Int32Array.of(-1, 2));
    expect((await run(11, new Tensor("float64", [1, -2]))).data).toEqual(Float64Array.of(-1, 2));
    // 1 and −2 as bits.
    const halves = (await run(10, new Tensor("float16", Uint16Array.of(0x3c00, 0xc000), [2]))) as ort.Tensor<"float16">;
    const { buffer, byteOffset } = halves.data;
    expect(halves.type).toBe("float16");
    expect([...new Uint16Array(buffer, byteOffset, 2)]).toEqual([0xbc00, 0x4000]);
  });

  it("compiles what feeds decide for these, and for others again", async () => {
    const session = await InferenceSession.create(reshape());
    expect(session.inputMetadata[0]).toMatchObject({ name: "x", shape: ["n"] });
    const reshaped = async (...shape: number[]): Promise<readonly number[]> => {
      const shapeTensor = new Tensor("int64", shape.map(BigInt), [shape.length]);
      const feeds = { x: new Tensor("float32", [1, 2, 3, 4, 5, 6], [6]), shape: shapeTensor };
      return ((await session.run(feeds)).y as ort.Tensor).dims;
    };
    expect(await reshaped(2, 3)).toEqual([2, 3]);
    expect(await reshaped(3, 2)).toEqual([3, 2]);
    expect(await reshaped(1, 1, 6)).toEqual([1, 1, 6]);
    expect(await Promise.all([reshaped(2, 3), reshaped(6), reshaped(3, 2), reshaped(6, 1), reshaped(2, -1)])).toEqual([
      [2, 3],
      [6],
      [3, 2],
      [6, 1],
      [2, 3],
    ]);
    await session.release();
  });

  it("takes sizes that were taken to be at least 1, and initializers that are inputs", async () => {
    const two = await InferenceSession.create(twoOutputs());
    const { sum } = await two.run({ x: new Tensor("float32", [], [0, 3]) });
    expect((sum as ort.Tensor).dims).toEqual([0]);
    await two.release();
    const session = await InferenceSession.create(weighted("input"));
    expect(session.inputNames).toEqual(["x"]);
    expect([...((await session.run({ x: x() })).y as ort.Tensor).data]).toEqual([2, 4, 6, 5, 7, 9]);
    const fed = await session.run({ x: x(), w: new Tensor("float32", [10, 20, 30], [3]) });
    expect([...(fed.y as ort.Tensor).data]).toEqual([11, 22, 33, 14, 25, 36]);
    await session.release();
  });

  it("has the threads that are asked for", async () => {
    const stages: string[] = [];
    const onProgress = ({ stage }: { stage: string }): void => void stages.push(stage);
    const session = await InferenceSession.create(twoOutputs(), { wasmith: { threads: 2, onProgress } });
    expect([...((await session.run({ x: x() })).sum as ort.Tensor).data]).toEqual([6, 15]);
    await session.release();
    expect(stages).toContain("load");
  });

  it("takes sequences as arrays", async () => {
    const session = await InferenceSession.create(ofSequence());
    expect(session.inputMetadata).toEqual([{ name: "xs", isTensor: false }]);
    const { y } = await session.run({ xs: [new Tensor("float32", [1, 2]), new Tensor("float32", [3])] });
    expect([...(y as ort.Tensor).data]).toEqual([1, 2, 3]);
    await session.release();
  });

  it("tells what steps take", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const session = await InferenceSession.create(product());
    session.startProfiling();
    await session.run({
      a: new Tensor("float32", new Float32Array(12), [3, 4]),
      b: new Tensor("float32", new Float32Array(12), [4, 3]),
    });
    session.endProfiling();
    expect(log.mock.calls.join()).toMatch(/ms in \d+ steps?\n.*product/);
    log.mockRestore();
    await session.release();
  });
});

describe("weights in other files", () => {
  const w = Float32Array.of(1, 2, 3);

  it("are read beside the model", async () => {
    inFolder("w.bin", new Uint8Array(w.buffer));
    const session = await InferenceSession.create(inFolder("outside.onnx", weighted("outside")));
    expect([...((await session.run({ x: x() })).y as ort.Tensor).data]).toEqual([2, 4, 6, 5, 7, 9]);
    await session.release();
  });

  it("are given", async () => {
    for (const data of [new Uint8Array(w.buffer), w.buffer, inFolder("elsewhere.bin", new Uint8Array(w.buffer))]) {
      const session = await InferenceSession.create(weighted("outside"), { externalData: [{ path: "./w.bin", data }] });
      expect([...((await session.run({ x: x() })).y as ort.Tensor).data]).toEqual([2, 4, 6, 5, 7, 9]);
      await session.release();
    }
    await expect(InferenceSession.create(weighted("outside"))).rejects.toThrow(
      'its data are in the file "w.bin", which was not given',
    );
  });
});

describe("an artefact that was compiled ahead of time", () => {
  it("is taken where it lies beside the model, and where it is named", async () => {
    const path = inFolder("ahead.onnx", twoOutputs());
    const artifact = await compile(importOnnx(twoOutputs()), { name: "ahead", variants: ["simd128"] });
    await artifact.write(join(folder, "ahead.wasmith"));
    // What is taken is not the model, which is no model now.
    writeFileSync(path, "");
    const session = await InferenceSession.create(path);
    expect(session.inputMetadata).toEqual([{ name: "x", isTensor: true, type: "float32", shape: ["batch", 3] }]);
    expect([...((await session.run({ x: x() }, ["sum"])).sum as ort.Tensor).data]).toEqual([6, 15]);
    await expect(session.run({ x: new Tensor("float32", [1, 2], [1, 2]) })).rejects.toThrow('input "x"');
    await session.release();
    await expect(InferenceSession.create(path, { wasmith: { artifact: false } })).rejects.toThrow();
    const named = await InferenceSession.create(twoOutputs(), {
      wasmith: { artifact: join(folder, "ahead.wasmith/ahead.wasm") },
    });
    await named.release();
  });
});

describe("registration", () => {
  it("offers itself to transformers.js", () => {
    const offered = (globalThis as never)[Symbol.for("onnxruntime")];
    expect(offered).toMatchObject({ InferenceSession, Tensor, env: ort.env });
  });

  it("has onnxruntime's flags", () => {
    expect(ort.env.versions.common).toMatch(/^\d+\.\d+\.\d+$/);
    ort.env.logLevel = "error";
    expect(ort.env.logLevel).toBe("error");
    expect(() => {
      ort.env.logLevel = "loud" as never;
    }).toThrow("Unsupported logging level: loud");
    ort.env.logLevel = "warning";
  });
});
