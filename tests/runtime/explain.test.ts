/** What the runtime says to clumsy and hostile callers: a ModelError that says what was meant. */
import { describe, expect, it } from "vitest";
import { Complaint, explain } from "../../runtime/complaint.js";
import { ModelError } from "../../runtime/errors.js";
import { dtypeOf, nearest } from "../../runtime/explain.js";
import { load, type TrainingSession } from "../../runtime/index.js";
import { mainArtifact, trainArtifact } from "./fixture.js";

const x = Float32Array.of(1, 2, 3);
const data = x;

async function refused(work: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ModelError);
  expect((error as Error).message).toMatch(message);
}

describe("options", () => {
  it.each<[object, RegExp]>([
    [{ maxMemoryBytes: Number.NaN }, /option maxMemoryBytes: expected an integer of at least 0, got NaN/],
    [{ maxMemoryBytes: -1 }, /option maxMemoryBytes: .* got -1/],
    [{ maxMemoryBytes: 1.5 }, /option maxMemoryBytes/],
    [{ maxMemoryBytes: "1GB" }, /option maxMemoryBytes: .* got "1GB"/],
    [{ maxMemoryBytes: Infinity }, /option maxMemoryBytes/],
    [{ threads: Number.NaN }, /option threads: expected "auto" or an integer from 1 to 256, got NaN/],
    [{ threads: "2" }, /option threads: .* got "2"/],
    [{ threads: {} }, /option threads/],
    [{ background: 1 }, /option background: expected true or false, got 1/],
    [{ deterministic: "yes" }, /option deterministic/],
    [{ signal: {} }, /option signal: expected an AbortSignal/],
    [{ variant: "mmx" }, /option variant: "mmx" is not in the artefact/],
    [
      { thread: 2 },
      /option "thread": load has no such option\n {2}→ its options are: threads, .*; did you mean "threads"\?/,
    ],
    [{ max_memory_bytes: 5, Threads: 1 }, /2 problems:.*did you mean "maxMemoryBytes".*did you mean "threads"/s],
    [null as never, /load: expected an object of options, got null/],
    [7 as never, /load: expected an object of options, got 7/],
  ])("of load: %j", async (options, message) => {
    await refused(load(await mainArtifact(), options), message);
  });

  it("of run, profile, fit and evaluate", async () => {
    const session = await load(await mainArtifact());
    const run = (options: object) => session.run({ x }, options as never);
    await refused(run({ output: ["y"] }), /option "output": run has no such option\n.*did you mean "outputs"/);
    await refused(run({ outputs: "y" }), /option outputs: expected a list, got "y"/);
    await refused(run({ outputs: ["nope"] }), /no output "nope"/);
    await refused(run({ dims: { n: Number.NaN } }), /dim "n" is NaN, outside its range/);
    await refused(run({ dims: { m: 1 } }), /the model has no dim "m"/);
    await refused(run({ maxSeconds: -1 }), /option maxSeconds: expected seconds, more than 0, got -1/);
    await refused(run({ maxSeconds: "1" }), /option maxSeconds/);
    await refused(run({ reuse: 0 }), /option reuse: expected true or false, got 0/);
    await refused(session.profile({ x }, { repeat: 0 }), /option repeat: expected a positive integer, got 0/);
    expect((await session.run({ x })).y!.data[0]).toBe(3);
    session.dispose();

    const trained = await load<TrainingSession>(await trainArtifact());
    const set = { x: new Float32Array(8), y: new Float32Array(4) };
    const train = (options: object, dataset: unknown = set) => trained.fit(dataset as never, options);
    await refused(train({ epochs: -1 }), /option epochs: expected an integer of at least 0, got -1/);
    await refused(train({ epochs: 1.5 }), /option epochs/);
    await refused(train({ epoch: 2 }), /option "epoch": fit has no such option\n.*did you mean "epochs"/);
    await refused(train({ shuffle: true }), /option shuffle: expected an integer \(the seed\), or false, got true/);
    await refused(train({ batchSize: Number.NaN }), /option batchSize/);
    await refused(trained.evaluate(set, { batchsize: 2 } as never), /did you mean "batchSize"/);
    await refused(train({}, null), /dataset: expected arrays or batches, got null/);
    await refused(train({}, 5), /dataset: expected arrays or batches, got 5/);
    await refused(train({}, Promise.resolve(set)), /dataset: expected arrays or batches, got Promise/);
    await refused(train({}, { ...set, x: [1, 2] }), /input "x": .*Float32Array\.from/s);
    await refused(train(new Float32Array(4)), /fit: expected an object of options, got Float32Array of length 4/);
    await refused(
      train({ callbacks: { onEpochEnd: () => {} } }),
      /no callback onEpochEnd\n.*onBegin, onBatch, onEpoch/,
    );
    await refused(train({ callbacks: [() => {}] }), /callback 0: it is no object with callbacks/);
    await refused(train({ callbacks: [{ onEpoch() {} }, {}] }), /callback 1: it is no object with callbacks/);
    for (const rate of ["0.1", Number.NaN, undefined, null])
      expect(() => {
        trained.learningRate = rate as never;
      }).toThrow(/learningRate: expected a number, got/);
    expect(await train({ epochs: 0 })).toEqual([]);
    trained.dispose();
  });

  it("passes on what a callback or a data set throws as it is", async () => {
    const session = await load<TrainingSession>(await trainArtifact());
    const own = new TypeError("mine");
    const set = { x: new Float32Array(8), y: new Float32Array(4) };
    const fail = (): never => {
      throw own;
    };
    await expect(session.fit(set, { callbacks: { onBatch: fail } })).rejects.toBe(own);
    await expect(session.fit(set, { callbacks: { onEpoch: fail } })).rejects.toBe(own);
    await expect(session.fit(fail)).rejects.toBe(own);
    await expect(session.fit({ [Symbol.iterator]: fail })).rejects.toBe(own);
    session.dispose();
  });
});

describe("feeds", () => {
  it.each<[unknown, RegExp]>([
    [{ dtype: "float32", shape: [1, 3], data }, /dtype "float32"\n {2}→ wasmith calls this dtype "f32"/],
    [{ dtype: "torch.float32", shape: [1, 3], data }, /calls this dtype "f32"/],
    [{ type: "float32", dims: [1, 3], data }, /ONNX Runtime\): pass \{ dtype: "f32", shape: t\.dims, data: t\.data \}/],
    [{ dtype: "f32", data }, /a tensor is \{ dtype, shape, data \}/],
    [[1, 2, 3], /or a typed array, as Float32Array\.from/],
    [Promise.resolve(x), /this is a promise: await it/],
    [x.buffer, /pass a typed array over it/],
    [new Float64Array(3), /f32 elements come in a Float32Array/],
    ["x", /expected f32\[n, 3\], got "x"/],
    [null, /expected f32\[n, 3\], got null/],
  ])("%j say what was probably meant", async (feed, message) => {
    const session = await load(await mainArtifact());
    await refused(session.run({ x: feed } as never), message);
    session.dispose();
  });

  it("knows other libraries' names of dtypes, and the name that was meant", () => {
    const names = {
      float32: "f32",
      Float64: "f64",
      "tf.int8": "i8",
      uint16: "u16",
      long: "i64",
      bfloat16: "bf16",
      half: "f16",
      int64_t: "i64",
      boolean: "bool",
    };
    for (const [name, ours] of Object.entries(names)) expect(dtypeOf(name)).toBe(ours);
    for (const name of ["f32", "string", "", 5, undefined, "constructor"]) expect(dtypeOf(name)).toBeUndefined();
    expect(nearest("max_Threads", ["maxMemoryBytes", "maxThreads"])).toBe("maxThreads");
    expect(nearest("colour", ["maxThreads"])).toBeUndefined();
    expect(nearest("x".repeat(1e6), ["maxThreads"])).toBeUndefined();
  });
});

describe("what is no artefact", () => {
  const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
  it.each<[string, RegExp]>([
    ["\x08\x08\x12\x07pytorch", /an ONNX model\n {2}→ compile it first/],
    ["\x08\x0a:\x05", /an ONNX model/],
    ["<!DOCTYPE html><html>", /an HTML or XML page\n {2}→ the address is wrong/],
    ["\n  <html>", /an HTML or XML page/],
    ["\xef\xbb\xbf<html>", /an HTML or XML page/],
    ['\x40\0\0\0\0\0\0\0{"a":', /a file of weights \(safetensors\)\n {2}→ load the \.wasm file/],
    ['{"format":1}', /a JSON file/],
    ["// Written by wasmith", /a JavaScript module/],
    ["version https://git-lfs.github.com/spec/v1", /git lfs pull/],
    ["PK\x03\x04", /a zip archive/],
    ["\x1f\x8b\x08", /a gzip archive/],
    ["\0asm\x0d\0\x01\0", /a WebAssembly file of another kind/],
    ["", /an empty file/],
    ["hello", /not a WebAssembly module\n {2}→ the file is damaged or incomplete/],
  ])("%j is named", async (text, message) => {
    await refused(load(bytes(text)), message);
    await refused(load(new Response(bytes(text))), message);
  });

  it.each(["https://%", "http://", "\0", "no such file", "file:///%", "file://host/a.wasm"])(
    "%j is refused",
    async (source) => {
      await refused(load(source), /./);
      if (URL.canParse(source)) await refused(load(new URL(source)), /./);
    },
  );

  it("tells a page's policy from a module that the engine does not know", async () => {
    const policy = new WebAssembly.CompileError(
      "WebAssembly.compile(): Refused to compile or instantiate WebAssembly module because 'unsafe-eval' is not an allowed source of script in the following Content Security Policy directive",
    );
    await refused(
      explain(new Complaint("engine", ["a.wasm", policy], policy)),
      /content security policy forbids.*\n {2}→ .*'wasm-unsafe-eval'/,
    );
    await refused(explain(new Complaint("engine", ["a.wasm", new EvalError("no")])), /content security policy/);
    const other = new WebAssembly.CompileError("invalid opcode 0xfe");
    await refused(explain(new Complaint("engine", ["a.wasm", other])), /this engine rejects "a\.wasm": invalid opcode/);
    await expect(explain(other)).rejects.toBe(other);
  });

  it("gives ModelErrors for offsets that lead anywhere", async () => {
    const artifact = await mainArtifact({ variants: ["simd128"] });
    const wild = [-64, 1, 3, 2 ** 31, 2 ** 32 - 4, 2 ** 32, 2 ** 53, Number.NaN, 0.5, null, "0"];
    const change = (path: readonly (string | number)[], value: unknown) => {
      const manifest = structuredClone(artifact.manifest) as never;
      const parent = path.slice(0, -1).reduce<never>((at, key) => at[key], manifest) as Record<
        string | number,
        unknown
      >;
      parent[path.at(-1)!] = value;
      return { ...artifact, manifest } as typeof artifact;
    };
    const main = ["entries", "main"];
    const places = [
      ...[
        "tableOffset",
        "tableSlots",
        "weightsOffset",
        "weightsBytes",
        "stateOffset",
        "stateBytes",
        "arenaOffset",
        "minPages",
        "maxPages",
        "maxThreads",
      ].map((f) => ["memory", f]),
      [...main, "inputs", 0, "offset"],
      [...main, "outputs", 0, "offset"],
      [...main, "inputs", 0, "shape", 1],
      [...main, "outputs", 0, "shape", 1],
      [...main, "outputs", 1, "offset", "slot"],
      [...main, "dims", 0, "slot"],
      [...main, "maxBytes"],
      ["weights", "bytes"],
    ];
    for (const path of places) {
      for (const value of wild) {
        try {
          const session = await load(change(path, value));
          await session.run({ x: { dtype: "f32", shape: [1, 3], data: x } });
          session.dispose();
        } catch (error) {
          expect(error, `${path.join(".")} = ${value}`).toBeInstanceOf(ModelError);
        }
      }
    }
  });
});
