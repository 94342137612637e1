/** wasmith/ort in Chromium: compiles in a worker, keeps what it compiled in Cache Storage, finds what lies beside a model. Needs `npm run build`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "../browser/harness.js";
import { reshape, twoOutputs } from "./models.js";

if (browserObstacle) console.warn(`wasmith/ort is not tested in a browser: ${browserObstacle}`);
const root = fileURLToPath(new URL("../..", import.meta.url));
const common = join(root, "tests/ort/node_modules/onnxruntime-common/dist/esm/index.js");

/** A package in one file. */
async function bundled(entry: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    logLevel: "error",
  });
  return outputFiles[0]!.contents;
}

describe.skipIf(browserObstacle !== null)("in Chromium", () => {
  let site: Site;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  beforeAll(async () => {
    const ahead = await compile(importOnnx(twoOutputs()), { name: "ahead", variants: ["simd128"] });
    const files = new Map<string, Uint8Array | string>([
      ["/two.onnx", twoOutputs()],
      ["/reshape.onnx", reshape()],
      ["/ahead.wasmith/ahead.wasm", await ahead.toBytes()],
    ]);
    if (existsSync(common)) files.set("/common.js", await bundled(common));
    site = await serve({ files });
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    site?.close();
  });

  const begin = `
    const ort = await import("/dist/ort.js");
    const stages = [];
    ort.env.wasmith.onProgress = ({ stage }) => stages.push(stage);
    const x = () => new ort.Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]);`;

  it("compiles in a worker while the page goes on, and once", async () => {
    const visit = async () => {
      const page = await browser.newPage();
      await page.goto(site.url);
      return runInPage<{ sum: number[]; stages: string[]; turns: number }>(
        page,
        `${begin}
        let turns = 0;
        const timer = setInterval(() => turns++, 5);
        const session = await ort.InferenceSession.create("/two.onnx");
        const { sum } = await session.run({ x: x() });
        clearInterval(timer);
        await session.release();
        return { sum: [...sum.data], stages, turns };`,
      );
    };
    const page = await browser.newPage();
    await page.goto(site.url);
    const both = await runInPage<{ sum: number[]; stages: string[] }[]>(
      page,
      `${begin}
      const results = [];
      for (let i = 0; i < 2; i++) {
        stages.length = 0;
        const session = await ort.InferenceSession.create("/two.onnx");
        const { sum } = await session.run({ x: x() });
        await session.release();
        results.push({ sum: [...sum.data], stages: [...stages] });
      }
      const bytes = new Uint8Array(await (await fetch("/two.onnx")).arrayBuffer());
      stages.length = 0;
      const session = await ort.InferenceSession.create(bytes);
      results.push({ sum: [...(await session.run({ x: x() })).sum.data], stages: [...stages] });
      return results;`,
    );
    expect(both.map((r) => r.sum)).toEqual([
      [6, 15],
      [6, 15],
      [6, 15],
    ]);
    expect(both.map((r) => r.stages.includes("emit"))).toEqual([true, false, false]);
    const { sum, turns, stages } = await visit();
    expect(sum).toEqual([6, 15]);
    expect(turns).toBeGreaterThan(stages.includes("emit") ? 3 : -1);
  });

  it("compiles for feeds, and holds no more than its limit", async () => {
    const page = await browser.newPage();
    await page.goto(site.url);
    const kept = await runInPage<{ dims: number[][]; first: number; last: number }>(
      page,
      `${begin}
      const dims = [];
      const names = async () => (await (await caches.open("wasmith-ort")).keys()).filter(({ url }) => url.endsWith(".wasm"));
      const session = await ort.InferenceSession.create("/reshape.onnx");
      for (const shape of [[2n, 3n], [6n], [1n, 2n, 3n]]) {
        const feeds = { x: new ort.Tensor("float32", [1, 2, 3, 4, 5, 6], [6]), shape: new ort.Tensor("int64", shape, [shape.length]) };
        dims.push((await session.run(feeds)).y.dims);
      }
      await session.release();
      const first = (await names()).length;
      ort.env.wasmith.maxCacheBytes = 1;
      await (await ort.InferenceSession.create("/two.onnx", { freeDimensionOverrides: { batch: 2 } })).release();
      return { dims, first, last: (await names()).length };`,
    );
    expect(kept.dims).toEqual([[2, 3], [6], [1, 2, 3]]);
    expect(kept.first).toBeGreaterThanOrEqual(3);
    // Its own.
    expect(kept.last).toBe(1);
  });

  it("takes what was compiled ahead of time, and no compiler", async () => {
    const page = await browser.newPage();
    const asked: string[] = [];
    page.on("request", (request) => asked.push(new URL(request.url()).pathname));
    await page.goto(site.url);
    const sum = await runInPage<number[]>(
      page,
      `${begin}
      const session = await ort.InferenceSession.create("/ahead.onnx");
      return [...(await session.run({ x: x() }, ["sum"])).sum.data];`,
    );
    expect(sum).toEqual([6, 15]);
    expect(asked.filter((path) => /compiler|worker|\.onnx/.test(path))).toEqual([]);
  });

  it.skipIf(!existsSync(common))(
    "makes tensors of pictures, and pictures of tensors, as onnxruntime-common",
    async () => {
      const page = await browser.newPage();
      await page.goto(site.url);
      const results = await runInPage<unknown[]>(
        page,
        `const modules = [await import("/dist/ort.js"), await import("/common.js")];
      const pixels = () => new ImageData(Uint8ClampedArray.from({ length: 4 * 6 }, (_, i) => (i % 4 === 3 ? 255 : (i * 37) % 256)), 3, 2);
      const results = [];
      for (const { Tensor } of modules) {
        const tensors = [
          await Tensor.fromImage(pixels()),
          await Tensor.fromImage(pixels(), { tensorFormat: "BGR" }),
          await Tensor.fromImage(pixels(), { tensorFormat: "RGBA", norm: { mean: 127.5, bias: -127.5 } }),
          await Tensor.fromImage(pixels(), { norm: { mean: [1, 2, 3], bias: [4, 5, 6] } }),
        ];
        const image = tensors[0].toImageData();
        const normed = tensors[2].toImageData({ format: "RGBA", norm: { mean: 127.5, bias: -127.5 } });
        results.push({
          tensors: tensors.map(({ dims, data }) => [dims, [...data]]),
          image: [image.width, image.height, [...image.data]],
          normed: normed && normed.width,
          url: tensors[0].toDataURL(),
        });
      }
      return results;`,
      );
      expect(results[0]).toEqual(results[1]);
    },
  );
});
