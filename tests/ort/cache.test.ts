/** Compiled models that are kept: found again, bounded, and of no harm when they are damaged. */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { cacheFolder } from "../../compiler/env.js";
import { env, InferenceSession, type SessionOptions, Tensor } from "../../ort/index.js";
import { evicted } from "../../ort/store.js";
import { negated, reshape, twoOutputs, weighted } from "./models.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wasmith-ort-cache-"));
  env.wasmith.worker = false;
  env.wasmith.cache = join(folder, "cache");
  env.wasmith.maxCacheBytes = 2 ** 30;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a model on x = [1 … 6] in two rows; what it gives, and whether something was compiled for it. */
async function run(model: Uint8Array | string, options: SessionOptions = {}, output = "sum") {
  const stages: string[] = [];
  const onProgress = ({ stage }: { stage: string }): void => void stages.push(stage);
  const session = await InferenceSession.create(model as string, {
    ...options,
    wasmith: { ...options.wasmith, onProgress },
  });
  const results = await session.run({ x: new Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]) });
  await session.release();
  return { values: [...(results[output] as Tensor<"float32">).data], compiled: stages.includes("emit") };
}

const files = (): string[] =>
  readdirSync(join(folder, "cache"), { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(folder, "cache", name)).isFile())
    .map((name) => join(folder, "cache", name));
const artifacts = (): string[] => files().filter((name) => name.endsWith(".wasm"));

describe("a model", () => {
  it("is compiled once", async () => {
    expect(await run(twoOutputs())).toEqual({ values: [6, 15], compiled: true });
    expect(await run(twoOutputs())).toEqual({ values: [6, 15], compiled: false });
    const path = join(folder, "model.onnx");
    writeFileSync(path, twoOutputs());
    expect(await run(path)).toEqual({ values: [6, 15], compiled: false });
    expect(files()).toHaveLength(2);
  });

  it("is compiled for other options, and where nothing is kept", async () => {
    await run(twoOutputs());
    expect((await run(twoOutputs(), { freeDimensionOverrides: { batch: 2 } })).compiled).toBe(true);
    expect((await run(twoOutputs(), { freeDimensionOverrides: { batch: 2 } })).compiled).toBe(false);
    expect((await run(twoOutputs(), { wasmith: { cache: false } })).compiled).toBe(true);
    expect((await run(twoOutputs(), { wasmith: { cache: join(folder, "other") } })).compiled).toBe(true);
    // What does not change the artefact changes no key.
    expect((await run(twoOutputs(), { executionProviders: ["wasm"], logId: "id" })).compiled).toBe(false);
  });

  it("is compiled again where weights beside it changed", async () => {
    const path = join(folder, "model.onnx");
    const weights = (...w: number[]): void => writeFileSync(join(folder, "w.bin"), Float32Array.from(w));
    writeFileSync(path, weighted("outside"));
    weights(1, 2, 3);
    expect(await run(path, {}, "y")).toEqual({ values: [2, 4, 6, 5, 7, 9], compiled: true });
    expect(await run(path, {}, "y")).toEqual({ values: [2, 4, 6, 5, 7, 9], compiled: false });
    weights(10, 20, 30);
    expect((await run(path, {}, "y")).values).toEqual([11, 22, 33, 14, 25, 36]);
    weights(1, 2, 3);
    expect(await run(path, {}, "y")).toEqual({ values: [2, 4, 6, 5, 7, 9], compiled: false });
  });

  it("is not read where its file is as it was, and read where it is not", async () => {
    const path = join(folder, "model.onnx");
    const old = new Date(2020, 1, 1);
    writeFileSync(path, twoOutputs());
    utimesSync(path, old, old);
    await run(path);
    const remembered = files().filter((name) => name.includes("digests"));
    expect(remembered).toHaveLength(1);
    expect(await run(path)).toEqual({ values: [6, 15], compiled: false });
    // As long and as old, but another one: ReduceSum has become ReduceMax.
    const bytes = Buffer.from(twoOutputs());
    bytes.write("ReduceMax", bytes.indexOf("ReduceSum"));
    writeFileSync(path, bytes);
    utimesSync(path, old, old);
    expect(await run(path)).toEqual({ values: [3, 6], compiled: true });
    writeFileSync(remembered[0]!, "{");
    expect(await run(path)).toEqual({ values: [3, 6], compiled: false });
  });

  it("whose file changes under a session is refused", async () => {
    const path = join(folder, "model.onnx");
    writeFileSync(path, reshape());
    const session = await InferenceSession.create(path);
    writeFileSync(path, twoOutputs());
    const feeds = { x: new Tensor("float32", [1, 2], [2]), shape: new Tensor("int64", [2n, 1n], [2]) };
    await expect(session.run(feeds)).rejects.toThrow("the file has changed since the session was created");
    await session.release();
  });

  it("that feeds decide is kept for each of them", async () => {
    const dims = async (...shape: number[]) => {
      let compiled = false;
      const onProgress = ({ stage }: { stage: string }): void => {
        compiled ||= stage === "emit";
      };
      const session = await InferenceSession.create(reshape(), { wasmith: { onProgress } });
      const x = new Tensor("float32", [1, 2, 3, 4, 5, 6], [6]);
      const { y } = await session.run({ x, shape: new Tensor("int64", shape.map(BigInt), [shape.length]) });
      await session.release();
      return [(y as Tensor).dims, compiled];
    };
    expect(await dims(2, 3)).toEqual([[2, 3], true]);
    expect(await dims(2, 3, 1)).toEqual([[2, 3, 1], true]);
    expect(await dims(3, 2)).toEqual([[3, 2], false]);
    expect(await dims(1, 3, 2)).toEqual([[1, 3, 2], false]);
  });
});

describe("the folder", () => {
  it("is mended where files are damaged or gone", async () => {
    await run(twoOutputs());
    const damages: readonly ((path: string) => void)[] = [
      (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
      (path) => truncateSync(path, 0),
      (path) => writeFileSync(path, "not this"),
      (path) => rmSync(path),
      (path) => {
        const bytes = readFileSync(path);
        bytes[bytes.length >> 1]! ^= 1;
        writeFileSync(path, bytes);
      },
    ];
    const session = async (): Promise<readonly string[]> => {
      const stages: string[] = [];
      const onProgress = ({ stage }: { stage: string }): void => void stages.push(stage);
      await (await InferenceSession.create(twoOutputs(), { wasmith: { onProgress } })).release();
      return stages;
    };
    for (const damage of damages)
      for (const kind of [".wasm", ".json"]) {
        damage(files().find((name) => name.endsWith(kind))!);
        // When it is created, as a session without anything kept.
        expect(await session()).toContain("emit");
        expect(await run(twoOutputs())).toEqual({ values: [6, 15], compiled: false });
      }
  });

  it("is shared by sessions that write at once", async () => {
    const all = await Promise.all(
      Array.from({ length: 8 }, (_, i) => run(i % 2 ? twoOutputs() : weighted("inside"), {}, i % 2 ? "sum" : "y")),
    );
    for (const [i, { values }] of all.entries()) expect(values).toEqual(i % 2 ? [6, 15] : [2, 4, 6, 5, 7, 9]);
    expect((await run(twoOutputs())).compiled).toBe(false);
    expect((await run(weighted("inside"), {}, "y")).compiled).toBe(false);
    expect(files().filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("holds what was used last", async () => {
    await run(twoOutputs());
    await run(weighted("inside"), {}, "y");
    const bytes = files().reduce((sum, path) => sum + statSync(path).size, 0);
    // Times of files may be no finer than a second.
    for (const path of files()) utimesSync(path, 1000, 1000);
    await run(twoOutputs());
    env.wasmith.maxCacheBytes = bytes + 1000;
    const session = await InferenceSession.create(negated(6));
    await session.release();
    expect(artifacts()).toHaveLength(2);
    env.wasmith.maxCacheBytes = 2 ** 30;
    expect((await run(twoOutputs())).compiled).toBe(false);
    expect((await run(weighted("inside"), {}, "y")).compiled).toBe(true);
  });

  it("that can't be used costs a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    writeFileSync(join(folder, "cache"), "a file");
    expect(await run(twoOutputs())).toEqual({ values: [6, 15], compiled: true });
    expect(warn.mock.calls.join()).toMatch(/compiled models can't be kept/);
    warn.mockRestore();
  });

  it("is where the operating system has caches", () => {
    const home = "/home/user";
    expect(cacheFolder("darwin", home)).toBe("/home/user/Library/Caches");
    expect(cacheFolder("linux", home)).toBe(process.env.XDG_CACHE_HOME || "/home/user/.cache");
  });
});

describe("eviction", () => {
  const file = (name: string, bytes: number, used: number) => ({ name, bytes, used });
  it("removes models that were not used for longest, whole", () => {
    // The index of a model is older than what is loaded by it.
    const all = [
      file("a/index", 1, 1),
      file("a/wasm", 3, 2),
      file("b/index", 1, 0),
      file("b/wasm", 3, 4),
      file("c/wasm", 4, 3),
    ];
    expect(evicted(all, 12, "a/wasm")).toEqual([]);
    expect(evicted(all, 8, "b/wasm")).toEqual(["a/index", "a/wasm"]);
    expect(evicted(all, 4, "b/wasm")).toEqual(["a/index", "a/wasm", "c/wasm"]);
    // What was just written stays, however large.
    expect(evicted(all, 1, "a/wasm")).toEqual(["b/index", "b/wasm", "c/wasm"]);
  });
});
