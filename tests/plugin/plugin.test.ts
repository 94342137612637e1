import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { losses, optim, trainStep } from "../../compiler/dsl/index.js";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import type { TensorProto } from "../../compiler/onnx/proto-types.js";
import { encodeModel } from "../../compiler/onnx/protobuf.js";
import { ModelBuilder } from "../../compiler/plugin/build.js";
import { modelRequest, optionsFor, type PluginOptions } from "../../compiler/plugin/request.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { load, type TrainingSession } from "../../runtime/index.js";
import { model, node, tensorInfo } from "../onnx/build.js";

const modelOf = (op: string): Uint8Array =>
  exportOnnx(parseGraph(`graph @g(%x: f32[3]) -> (y: f32[3]) {\n  %0: f32[3] = ${op} %x\n  return %0\n}`, "test"));

const matrix = (initializer: TensorProto): Uint8Array =>
  encodeModel(
    model({
      node: [node("MatMul", ["x", "w"], ["y"])],
      input: [tensorInfo("x", [2, 3])],
      output: [tensorInfo("y", [2, 2])],
      initializer: [{ name: "w", dims: [3, 2], dataType: 1, ...initializer }],
    }),
  );
const weights = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);

/** Only the baseline, which compiles in less time. */
const quick: PluginOptions = { compile: { variants: ["simd128"] } };

describe("a model that an application imports", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-plugin-"));
    await writeFile(join(folder, "package.json"), "{}");
    await mkdir(join(folder, "src"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const build = async (name: string, options: PluginOptions = quick) =>
    new ModelBuilder(options).build(modelRequest(join(folder, "src", name))!, join(folder, "src"));
  const write = (name: string, bytes: Uint8Array | string) => writeFile(join(folder, "src", name), bytes);

  it("is known by its name and query", () => {
    const cases: [string, ReturnType<typeof modelRequest>][] = [
      ["/a/net.onnx", { path: "/a/net.onnx", train: false }],
      ["/a/net.graph?wasmith", { path: "/a/net.graph", train: false }],
      ["/a/net.onnx?train", { path: "/a/net.onnx", train: true }],
      ["/a/net.onnx?import&t=123&train", { path: "/a/net.onnx", train: true }],
      ["/a/net.ts?wasmith", { path: "/a/net.ts", train: false }],
      ["/a/net.mjs?v=0a1b&wasmith", { path: "/a/net.mjs", train: false }],
      ["/a/net.ts", undefined],
      ["/a/net.onnx?url", undefined],
      ["/a/net.onnx?train&raw", undefined],
      ["/a/onnx", undefined],
    ];
    for (const [id, request] of cases) expect([id, modelRequest(id)]).toEqual([id, request]);
    const options: PluginOptions = { dims: { n: 1 }, models: { "b/net.onnx": { dims: { n: 2 } } } };
    expect(optionsFor("/a/b/net.onnx", options).dims).toEqual({ n: 2 });
    expect(optionsFor("/a/bb/net.onnx", options).dims).toEqual({ n: 1 });
  });

  it("is compiled once, into the cache of its package, with types beside it", async () => {
    await write("net.onnx", modelOf("neg"));
    const first = await build("net.onnx");
    expect(dirname(dirname(first.glue))).toBe(join(folder, "node_modules/.cache/wasmith"));
    expect(first.code).toContain(
      `export { load, load as default } from "${relative(join(folder, "src"), first.glue)}"`,
    );
    expect(first.report).toMatch(/^net\.onnx: simd128 .+ gzipped\), weights /);
    expect(await readFile(join(folder, "src/net.d.onnx.ts"), "utf8")).toContain("export default load;");
    const session = await load(first.glue.replace(/js$/, "wasm"));
    expect((await session.run({ x: Float32Array.of(1, 2, 3) })).y!.data).toEqual(Float32Array.of(-1, -2, -3));
    session.dispose();
    const written = await stat(first.glue);
    const again = await build("net.onnx");
    expect(again).toEqual(first);
    expect((await stat(again.glue)).mtimeMs).toBe(written.mtimeMs);
    // Of other options, and of another model of the same name.
    const others = [await build("net.onnx", { compile: { ...quick.compile, maxThreads: 2 } })];
    await write("net.onnx", modelOf("abs"));
    others.push(await build("net.onnx"));
    expect(new Set([first, ...others].map((m) => m.glue)).size).toBe(3);
  });

  it("is made anew when data beside it change", async () => {
    const data = weights.slice();
    await write("net.onnx", matrix({ dataLocation: 1, externalData: [{ key: "location", value: "net.data" }] }));
    await write("net.data", data);
    const first = await build("net.onnx");
    expect(first.watch.map((path) => basename(path))).toEqual(["net.onnx", "net.data"]);
    expect((await build("net.onnx")).glue).toBe(first.glue);
    data[0]! ^= 1;
    await write("net.data", data);
    expect((await build("net.onnx")).glue).not.toBe(first.glue);
  });

  it("makes room in the cache for what is used", async () => {
    const options = { ...quick, maxCacheBytes: 1 };
    const cache = join(folder, "node_modules/.cache/wasmith");
    const models = async () => (await readdir(cache)).filter((name) => !name.endsWith(".json"));
    await write("a.onnx", modelOf("neg"));
    await write("b.onnx", modelOf("abs"));
    await build("a.onnx", options);
    const [kept] = await models();
    const builder = new ModelBuilder(options);
    const request = (name: string) => modelRequest(join(folder, "src", name))!;
    await builder.build(request("b.onnx"), folder);
    expect(await models()).toHaveLength(1);
    expect(await models()).not.toContain(kept);
    // What one build uses stays.
    await builder.build(request("a.onnx"), folder);
    expect(await models()).toHaveLength(2);
  });

  it("trains, by what the option says", async () => {
    await write("net.onnx", matrix({ rawData: weights }));
    await expect(build("net.onnx?train")).rejects.toThrow(
      /net\.onnx\?train: how it is to be trained is not said\n {2}→ give the plugin the option train: \(graph\) => trainStep/,
    );
    const trained = await build("net.onnx?train", {
      ...quick,
      train: (graph) =>
        trainStep(graph, { targets: { t: [2, 2] }, loss: losses.mse(), optimizer: optim.SGD({ lr: 0.01 }) }),
    });
    expect(await readFile(trained.glue.replace(/js$/, "d.ts"), "utf8")).toContain("TrainingSession<");
    const session = await load<TrainingSession>(trained.glue.replace(/js$/, "wasm"));
    const { loss } = await session.step({ x: new Float32Array(6).fill(1), t: new Float32Array(4) });
    expect(loss).toBe((9 * 9 + 12 * 12) / 2);
    session.dispose();
  });

  it("tells the nodes that can't be compiled", async () => {
    const unknown = node("NoSuchOp", ["x"], ["y"], {}, { name: "second_layer" });
    const io = { input: [tensorInfo("x", [3])], output: [tensorInfo("y", [3])] };
    await write("net.onnx", encodeModel(model({ node: [unknown], ...io })));
    await expect(build("net.onnx")).rejects.toThrow(
      /NoSuchOp \(opset 21\): no op of this name exists; used by node second_layer/,
    );
    await expect(build("none.onnx")).rejects.toThrow(/ENOENT/);
    expect(() => new ModelBuilder({ ...quick, sizes: 1 } as never)).toThrow(/has no such option/);
  });
});
