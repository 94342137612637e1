/** The loader for Python gives what the runtime gives, bit for bit, and says what is wrong in the same words. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F } from "../../index.js";
import { dimSymbol } from "../../ir/dim.js";
import { graph, param } from "../../ir/graph.js";
import { type Manifest, sections } from "../../runtime/format.js";
import { load, type Session, type Tensor, type TrainingSession } from "../../runtime/index.js";
import { readSafetensors, writeSafetensors } from "../../runtime/safetensors.js";
import { bytesOf } from "../../runtime/tensor.js";
import { f32, mixed, mixedFeeds, training } from "./models.js";
import { type Answer, type Call, callPython, hasNumpy, pythonObstacle, runPython } from "./python.js";

if (pythonObstacle) console.warn(`the loader for Python is not tested: ${pythonObstacle}`);
else if (!hasNumpy) console.warn("the loader for Python is tested without numpy alone: it is not installed");

const deterministic = { deterministic: true };
const loading = (path: string, named = {}): Call => ["load", [path], { ...deterministic, ...named }];
describe.skipIf(pythonObstacle)("the loader for Python", () => {
  let folder: string;
  const path = (...names: string[]): string => join(folder, ...names);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "wasmith-python-"));
    const variants = ["simd128", "simd128-threads", "relaxed"] as const;
    for (const singleFile of [false, true]) {
      const to = path(singleFile ? "single" : "parts");
      await (await compile(mixed(), { variants })).write(to, { singleFile });
      await (await compile(training(), { variants: ["simd128"], name: "training" })).write(to, { singleFile });
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const feedFile = (feeds: Readonly<Record<string, Tensor>>, name: string): { file: string } => {
    const stored = Object.entries(feeds).map(([n, t]) => ({ ...t, name: n, data: bytesOf(t.data) }));
    writeFileSync(path(name), writeSafetensors(stored));
    return { file: path(name) };
  };
  /** What Python wrote, as the runtime gives it. */
  const expectSame = (file: string, results: Readonly<Record<string, Tensor>>): void => {
    const { tensors } = readSafetensors(readFileSync(file));
    expect([...tensors.keys()].sort()).toEqual(Object.keys(results).sort());
    for (const [name, want] of Object.entries(results)) {
      const got = tensors.get(name)!;
      expect([name, got.shape, Buffer.from(got.data).toString("hex")]).toEqual([
        name,
        want.shape,
        Buffer.from(bytesOf(want.data)).toString("hex"),
      ]);
    }
  };
  it.each(hasNumpy ? [true, false] : [false])(
    "runs with other sizes each time, from parts and from one file (numpy: %s)",
    async (numpy) => {
      const session: Session = await load(path("single/mixed.wasm"), deterministic);
      const sizes = [1, 7, 2000, 0];
      const feeds = sizes.map((n) => feedFile(mixedFeeds(n), `mixed-${n}.safetensors`));
      const runs = feeds.map((feed): Call => ["run", [feed]]);
      const places = [path("parts/mixed.wasm"), path("single/mixed.wasm")];
      const jobs = await callPython(
        folder,
        places.map((p) => [loading(p), ...runs]),
        numpy,
      );
      for (const [loaded, ...results] of jobs) {
        expect(loaded!.variant).toBe("simd128");
        expect(loaded!.hash).toBe(session.report.hash);
        expect(loaded!.inputs).toEqual(session.inputs.map((i) => [i.name, i.dtype, i.shape]));
        expect(loaded!.outputs).toEqual(session.outputs.map((i) => [i.name, i.dtype, i.shape]));
        for (const [at, n] of sizes.entries()) expectSame(results[at]!.file, await session.run(mixedFeeds(n)));
      }
      session.dispose();
    },
  );

  it("takes lists and flat arrays, and the weights from elsewhere", async () => {
    const session: Session = await load(path("single/training.wasm"), deterministic);
    const bytes = f32([3, 4]).data;
    const want = await session.run({ x: bytes });
    session.dispose();
    const rows = [0, 1, 2].map((r) => Array.from(bytes.subarray(4 * r, 4 * r + 4)));
    cpSync(path("parts"), path("moved"), { recursive: true });
    const weights = path("moved", manifestOf(path("moved/training.wasm")).weights.file);
    cpSync(weights, path("elsewhere.weights"));
    rmSync(weights);
    const [[loaded, ...results]] = (await callPython(folder, [
      [
        loading(path("moved/training.wasm"), { weights: path("elsewhere.weights") }),
        ["run", [{ x: rows }]],
        ["run", [{ x: { buffer: ["f", ...bytes] } }]],
      ],
    ])) as [Answer[]];
    expect(loaded!.entries).toEqual(["step", "evaluate", "predict", "measure"]);
    for (const { file } of results) expectSame(file, want);
  });

  it("trains as the runtime does, and each goes on from what the other saved", async () => {
    const session = await load<TrainingSession>(path("parts/training.wasm"), deterministic);
    const batch = {
      x: f32([6, 4]),
      y: { dtype: "i64", shape: [6], data: BigInt64Array.of(0n, 1n, 2n, 0n, 1n, 2n) },
    } as const;
    const feed = feedFile(batch, "batch.safetensors");
    const want = [await session.step(batch), await session.step(batch)];
    await session.save(path("runtime.safetensors"));
    session.learningRate = 0.5;
    const third = await session.step(batch);
    const predicted = await session.run({ x: batch.x });
    const step: Call = ["step", [feed]];
    const [[, first, second, saved, , then, ran], [, , again], [, refused]] = (await callPython(folder, [
      [
        loading(path("parts/training.wasm")),
        step,
        step,
        ["save", [path("python.safetensors")]],
        ["set", [], { learning_rate: 0.5 }],
        step,
        ["run", [feedFile({ x: batch.x }, "x.safetensors")]],
      ],
      [loading(path("single/training.wasm")), ["restore", [path("runtime.safetensors")]], step],
      [loading(path("single/training.wasm")), ["restore", [path("batch.safetensors")]]],
    ])) as [Answer[], Answer[], Answer[]];
    expect([first, second, then]).toEqual([...want, third]);
    expect(saved!.bytes).toBeGreaterThan(100);
    expectSame(ran!.file, predicted);
    expect(refused!.message).toContain("not a checkpoint");
    // What Python saved is what the runtime saves: it goes on the same way from it.
    await session.restore(path("python.safetensors"));
    const next = await session.step(batch);
    expect(again).toEqual(next);
    // Weights under PyTorch's names, there and back.
    const [[, exported, taken, cleared]] = (await callPython(folder, [
      [
        loading(path("single/training.wasm")),
        ["export_safetensors", [path("weights.safetensors")]],
        ["load_safetensors", [path("weights.safetensors")]],
        ["load_safetensors", [path("weights.safetensors")], { prefix: "optimizer." }],
      ],
    ])) as [Answer[]];
    expect([exported!.bytes > 100, taken]).toEqual([true, null]);
    expect(cleared!.error).toBe("ModelError");
    await session.loadSafetensors(path("weights.safetensors"));
    session.dispose();
  });

  it("says what is wrong in the runtime's words", async () => {
    const bad = path("bad");
    mkdirSync(bad);
    const whole = readFileSync(path("single/mixed.wasm"));
    writeFileSync(join(bad, "short.wasm"), whole.subarray(0, whole.length - 10));
    const damaged = Uint8Array.from(whole);
    damaged[whole.length - 1]! ^= 1;
    writeFileSync(join(bad, "damaged.wasm"), damaged);
    writeFileSync(join(bad, "text.wasm"), "<html>");
    const broken: Record<string, Tensor> = { ...mixedFeeds(2), X: f32([2]), x: f32([2, 4]), mask: f32([5]) };
    const contradicting: Record<string, Tensor> = { ...mixedFeeds(2), x: f32([3, 3]) };
    const run = (feeds: Record<string, Tensor>, named = {}): Call => [
      "run",
      [feedFile(feeds, `${Math.random()}.safetensors`)],
      named,
    ];
    const [calls, ...files] = await callPython(folder, [
      [
        loading(path("parts/mixed.wasm"), { max_memory_bytes: 2 ** 21 }),
        run(mixedFeeds(2)),
        run(broken),
        run(contradicting),
        run(mixedFeeds(2), { entry: "mian" }),
        run(mixedFeeds(2), { outputs: ["z"] }),
        run(mixedFeeds(2), { max_seconds: 0 }),
        run(mixedFeeds(200_000)),
      ],
      ...["short", "damaged", "text", "missing"].map((name) => [loading(join(bad, `${name}.wasm`))] as const),
      [loading(path("parts/mixed.wasm"), { variant: "simd128-threads" })],
      [loading(path("parts/mixed.wasm"), { variant: "relaxed-64" })],
    ]);
    const [, , names, differ, entry, output, seconds, memory] = calls!;
    const session: Session = await load(path("parts/mixed.wasm"), { ...deterministic, maxMemoryBytes: 2 ** 21 });
    const words = (feeds: Record<string, Tensor>, options = {}) =>
      session.run(feeds, options).then(
        () => "",
        (error) => error.message as string,
      );
    expect(names!.message).toContain('input "X": the model has no such input');
    expect(names!.message).toContain('input "x": expected f32[n, 3], got f32[2, 4]');
    expect(names!.message).toContain('input "mask": expected bool[m], got dtype');
    expect(differ!.message).toBe(await words(contradicting));
    expect(entry!.message).toBe(await words(mixedFeeds(2), { entry: "mian" }));
    expect(output!.message).toContain('option outputs: no output "z"\n  → the outputs are: y, h2');
    expect(seconds!.message).toContain("option max_seconds: the run took longer than 0 s");
    expect(memory!.message).toBe((await words(mixedFeeds(200_000))).replaceAll("maxMemoryBytes", "max_memory_bytes"));
    session.dispose();
    expect(files.map(([refusal]) => refusal!.message.split("\n")[0])).toEqual([
      expect.stringMatching(/^artefact: (cut short|"mixed.*" has \d+ bytes)/),
      expect.stringMatching(/^artefact: ".*" does not match its hash/),
      "artefact: not a WebAssembly module",
      expect.stringMatching(/missing.wasm: can't be read/),
      `option variant: "simd128-threads" can't run: this loader has no threads`,
      `option variant: "relaxed-64" is not in the artefact`,
    ]);
  });

  it.skipIf(!hasNumpy)("runs what HOSTS.md shows", async () => {
    const page = readFileSync(new URL("../../docs/HOSTS.md", import.meta.url), "utf8");
    const [code] = Array.from(page.matchAll(/```python\n(.*?)```/gs), (m) => m[1]!);
    mkdirSync(path("page"));
    const x = param("x", { dtype: "f32", shape: [dimSymbol("n"), 3] });
    await (await compile(graph("affine", [x], [F.add(F.mul(x, 2), 1)], ["y"]))).write(path("page"));
    cpSync(path("parts"), path("page"), { recursive: true });
    const expected = Array.from(code!.matchAll(/^print\(.*# (.*)$/gm), (m) => m[1]!);
    expect((await runPython(code!, path("page"))).trim().split("\n")).toEqual(expected);
  });

  it("runs the fastest variant that wasmtime has, by default, and leaves no session behind", async () => {
    const code = `
import gc, wasmith, weakref
session = wasmith.load(${JSON.stringify(path("parts/mixed.wasm"))})
print(session.report.variant)
session = weakref.ref(session)
gc.collect()
print(session())`;
    expect((await runPython(code, folder)).split("\n")).toEqual(["relaxed", "None", ""]);
  });
});

function manifestOf(file: string): Manifest {
  const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(readFileSync(file)), sections.manifest);
  return JSON.parse(Buffer.from(section!).subarray(32).toString("utf8")) as Manifest;
}
