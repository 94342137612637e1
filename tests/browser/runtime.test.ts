import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportOnnx } from "../../compiler/onnx/export/export.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { encodeFiles, encodeSingleFile, encryptFiles, gather } from "../../runtime/encode.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { load, type Report, type Results, type TrainingSession } from "../../runtime/index.js";
import { mainArtifact, trainArtifact } from "../runtime/fixture.js";
import { browserObstacle, runInPage, type Site, serve, startBrowser } from "./harness.js";

if (browserObstacle) console.warn(`browser tests are skipped: ${browserObstacle}`);

interface Answer {
  readonly report: Report;
  readonly bits: Record<string, number[]>;
}

const x = Array.from({ length: 3 * 777 }, (_, i) => Math.fround(Math.sin(i) * 9));
const bitsOf = (results: Results): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(results).map(([name, t]) => [name, Array.from(new Uint32Array((t.data as Float32Array).buffer))]),
  );

/** Loads an artefact in the page, runs it, and returns the bits of its outputs. */
const inference = `
  const { load } = await import("/dist/runtime.js");
  const session = await load(arg.url, { threads: arg.threads });
  const results = await session.run({ x: Float32Array.from(arg.x) });
  const bits = Object.fromEntries(Object.entries(results).map(([name, t]) => [name, Array.from(new Uint32Array(t.data.buffer))]));
  const { report } = session;
  session.dispose();
  return { report, bits };`;

const training = `
  const { load } = await import("/dist/runtime.js");
  const session = await load("/model/regression.wasm", { threads: arg.threads });
  const dataset = { x: Float32Array.from(arg.x), y: Float32Array.from(arg.y) };
  const history = await session.fit(dataset, { epochs: 4, batchSize: 8 });
  const saved = Array.from(await session.save());
  session.dispose();
  return { losses: history.map((h) => h.loss), saved };`;

describe.skipIf(browserObstacle !== null)("the runtime in Chromium", () => {
  let artifact: ArtifactParts;
  let isolated: Site;
  let plain: Site;
  let browser: Awaited<ReturnType<typeof startBrowser>>;
  let expected: Record<string, number[]>;

  beforeAll(async () => {
    artifact = await mainArtifact();
    const files = new Map<string, Uint8Array>([["/model/single.wasm", await encodeSingleFile(artifact)]]);
    for (const each of [artifact, await trainArtifact()]) {
      for (const [name, bytes] of await encodeFiles(each)) files.set(`/model/${name}`, bytes);
    }
    isolated = await serve({ files });
    plain = await serve({ files, isolated: false });
    browser = await startBrowser();
    const session = await load(artifact);
    expected = bitsOf(await session.run({ x: Float32Array.from(x) }));
    session.dispose();
  });
  afterAll(async () => {
    isolated?.close();
    plain?.close();
    await browser?.close();
  });

  it.each([1, 2, 3])("gives the bits that Node gives, with %i threads", async (threads) => {
    const page = await browser.newPage();
    await page.goto(isolated.url);
    for (const url of ["/model/affine.wasm", "/model/single.wasm"]) {
      const { report, bits } = await runInPage<Answer>(page, inference, { url, threads, x });
      expect(report).toMatchObject({ threads, variant: threads > 1 ? "simd128-threads" : "simd128", notes: [] });
      expect(bits).toEqual(expected);
    }
    await page.close();
  });

  it("decrypts an artefact, and refuses it without its key", async () => {
    const key = Array.from({ length: 32 }, (_, i) => i);
    const files = new Map<string, Uint8Array>();
    for (const [name, file] of await encryptFiles(artifact, Uint8Array.from(key)))
      files.set(`/model/${name}`, await gather(file));
    const site = await serve({ files });
    const page = await browser.newPage();
    await page.goto(site.url);
    const told = await runInPage<{ bits: number[]; errors: string[] }>(
      page,
      `
      const { load } = await import("/dist/runtime.js");
      const bytes = Uint8Array.from(arg.key);
      const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["decrypt"]);
      const session = await load("/model/affine.wasm", { key, threads: 2 });
      const { y } = await session.run({ x: Float32Array.from(arg.x) });
      session.dispose();
      const errors = [];
      // Several chunks, of which one is changed.
      const { encrypted, decrypted } = await import("/dist/encryption.js");
      const plain = Uint8Array.from({ length: 5 * 2 ** 19 + 3 }, (_, i) => i >> 9);
      const problem = (where, message) => new Error(message);
      const parts = [];
      for await (const part of (await encrypted(plain, bytes, "", problem)).parts()) parts.push(part.slice());
      const file = new Uint8Array(await new Blob(parts).arrayBuffer());
      const streamOf = (bytes) => {
        let at = 0;
        return {
          base: null,
          async fill(target) {
            const part = bytes.subarray(at, (at += target.length));
            target.set(part);
            return part.length;
          },
          close() {},
        };
      };
      const rest = async () => (await decrypted(streamOf(file), bytes, "", problem)).rest();
      const again = await rest();
      if (again.length !== plain.length || again.some((b, i) => b !== plain[i])) errors.push("other bytes");
      file[file.length - 2] ^= 1;
      await rest().catch((error) => errors.push(error.message));
      for (const options of [{}, { key: bytes.map((b) => b ^ 1) }])
        await load("/model/affine.wasm", options).catch((error) => errors.push(error.message));
      return { bits: Array.from(new Uint32Array(y.data.buffer)), errors };`,
      { key, x },
    );
    expect(told.bits).toEqual(expected.y);
    expect(told.errors).toEqual([
      "encrypted, and changed since, in chunk 5 of 6",
      expect.stringContaining("but an encrypted artefact"),
      expect.stringContaining("the key is not that of this file"),
    ]);
    await page.close();
    site.close();
  });

  it("loads from Cache Storage when the server is gone", async () => {
    const files = new Map<string, Uint8Array>();
    for (const [name, bytes] of await encodeFiles(artifact)) files.set(`/model/${name}`, bytes);
    const site = await serve({ files });
    const page = await browser.newPage();
    await page.goto(site.url);
    const run = `
      const { load } = await import("/dist/runtime.js");
      const { cachedFetch } = await import("/dist/fetch.js");
      const heard = [];
      const session = await load("/model/affine.wasm", { fetch: cachedFetch(), onProgress: (p) => heard.push(p) });
      const { y } = await session.run({ x: Float32Array.from(arg.x) });
      session.dispose();
      // What is kept is written beside.
      for (let i = 0; i < 100 && (await (await caches.open("wasmith")).keys()).length < 2; i++)
        await new Promise((resolve) => setTimeout(resolve, 20));
      return { bits: Array.from(new Uint32Array(y.data.buffer)), last: heard.findLast((p) => p.file.endsWith(".weights")) };`;
    const first = await runInPage<{ bits: number[]; last: unknown }>(page, run, { x });
    expect(first.bits).toEqual(expected.y);
    site.close();
    const { weights } = artifact.manifest;
    const second = await runInPage<{ bits: number[]; last: { file: string; loaded: number } }>(page, run, { x });
    expect(second.bits).toEqual(expected.y);
    expect(second.last).toMatchObject({ file: expect.stringMatching(weights.file), loaded: weights.bytes });
    await page.close();
  });

  it.each([1, 2])("warms up, with %i threads", async (threads) => {
    const page = await browser.newPage();
    await page.goto(isolated.url);
    const { took, bits } = await runInPage<{ took: number; bits: Answer["bits"] }>(
      page,
      `const { load } = await import("/dist/runtime.js");
       const session = await load("/model/affine.wasm", { threads: arg.threads });
       const took = await session.warmUp({ dims: { n: arg.x.length / 3 }, maxSeconds: 0.3 });
       const results = await session.run({ x: Float32Array.from(arg.x) });
       const bits = Object.fromEntries(Object.entries(results).map(([name, t]) => [name, Array.from(new Uint32Array(t.data.buffer))]));
       return { took, bits };`,
      { threads, x },
    );
    expect(took).toBeGreaterThan(0);
    expect(bits).toEqual(expected);
    await page.close();
  });

  it("runs on one thread where the page is not isolated, and says why", async () => {
    const page = await browser.newPage();
    await page.goto(plain.url);
    const { report, bits } = await runInPage<Answer>(page, inference, { url: "/model/affine.wasm", threads: 2, x });
    expect(report.threads).toBe(1);
    expect(report.notes.join("\n")).toMatch(
      /1 thread instead of 2: SharedArrayBuffer is missing, because the page is not cross-origin isolated \(serve it with the headers/,
    );
    expect(bits).toEqual(expected);
    await page.close();
  });

  it.each([1, 2])("trains on the page as in Node, with %i threads", async (threads) => {
    const xs = Array.from({ length: 100 }, (_, i) => Math.fround(Math.cos(i * 1.3)));
    const ys = Array.from({ length: 50 }, (_, i) => Math.fround(xs[2 * i]! - 2 * xs[2 * i + 1]!));
    const session = await load<TrainingSession>(await trainArtifact());
    const history = await session.fit(
      { x: Float32Array.from(xs), y: Float32Array.from(ys) },
      { epochs: 4, batchSize: 8 },
    );
    const saved = Array.from(await session.save());
    session.dispose();
    const page = await browser.newPage();
    await page.goto(isolated.url);
    const got = await runInPage<{ losses: number[]; saved: number[] }>(page, training, { threads, x: xs, y: ys });
    expect(got.losses).toEqual(history.map((h) => h.loss));
    expect(got.saved).toEqual(saved);
    await page.close();
  });

  it("aborts, keeps the page alive meanwhile, and reports failures", async () => {
    const slow = await encodeSingleFile(await mainArtifact({ idleSteps: 300, spin: 3_000_000 }));
    const site = await serve({ files: new Map([["/slow.wasm", slow]]) });
    const page = await browser.newPage();
    await page.goto(site.url);
    const answer = await runInPage<{
      error: string;
      ticks: number;
      backgroundTicks: number;
      z: number;
      missing: string;
      worker: string;
    }>(
      page,
      `const { load } = await import("/dist/runtime.js");
       const session = await load("/slow.wasm");
       let ticks = 0;
       const timer = setInterval(() => ticks++, 10);
       const failure = (promise) => promise.then(() => "none", (e) => String(e));
       const error = await failure(session.run({ x: new Float32Array(3) }, { signal: AbortSignal.timeout(300) }));
       clearInterval(timer);
       // On a thread of its own, the page goes on even without slices.
       const aside = await load("/slow.wasm", { background: true });
       let backgroundTicks = 0;
       const second = setInterval(() => backgroundTicks++, 10);
       await aside.run({ x: new Float32Array(3) });
       clearInterval(second);
       aside.dispose();
       const { z } = await session.run({ x: new Float32Array(3) }, { outputs: ["z"] });
       const missing = await failure(load("/none.wasm"));
       const worker = await failure(load("/slow.wasm", { threads: 2, workerUrl: "/none.js" }));
       return { error, ticks, backgroundTicks, z: z.data[0], missing, worker };`,
    );
    expect(answer.error).toMatch(/^TimeoutError/);
    expect(answer.ticks).toBeGreaterThan(1);
    expect(answer.backgroundTicks).toBeGreaterThan(1);
    expect(answer.z).toBe(2);
    expect(answer.missing).toMatch(/none\.wasm: the server answered 404/);
    expect(answer.worker).toMatch(
      /threads: a worker did not start: its script could not be loaded\n {2}→ say where worker\.js lies/,
    );
    await page.close();
    site.close();
  });

  /** What the page is told when it loads `url`. */
  const refusal = (page: Page, url: string, threads = 1): Promise<{ name: string; message: string }> =>
    runInPage(
      page,
      `const { load, ModelError } = await import("/dist/runtime.js");
       return load(arg.url, { threads: arg.threads }).then(
         () => ({ name: "none", message: "" }),
         (e) => ({ name: e instanceof ModelError ? "ModelError" : String(e), message: e.message }));`,
      { url, threads },
    );

  it("says what a page's policy lacks where it forbids WebAssembly", async () => {
    const single = await encodeSingleFile(artifact);
    for (const policy of ["default-src 'self'", "default-src 'self'; script-src 'self'; worker-src 'self'"]) {
      const site = await serve({ files: new Map([["/single.wasm", single]]), policy });
      const page = await browser.newPage();
      await page.goto(site.url);
      for (const threads of [1, 2]) {
        const { name, message } = await refusal(page, "/single.wasm", threads);
        expect(name).toBe("ModelError");
        expect(message).toMatch(
          /^page: its content security policy forbids WebAssembly \(.+\)\n {2}→ serve the page with script-src 'self' 'wasm-unsafe-eval'$/,
        );
      }
      await page.close();
      site.close();
    }
  });

  it("says what was loaded by mistake", async () => {
    const graph = parseGraph("graph @g(%x: f32[2]) -> (y: f32[2]) {\n  %0: f32[2] = neg %x\n  return %0\n}", "test");
    const index = "<!DOCTYPE html>\n<html><title>shop</title></html>";
    const files = new Map<string, Uint8Array | string>([
      ["/model.onnx", exportOnnx(graph)],
      // A server that answers with its front page to everything it does not know.
      ["/models/net.wasm", index],
      ["/empty.wasm", ""],
      ["/cut.wasm", (await encodeSingleFile(artifact)).subarray(0, -100)],
    ]);
    const site = await serve({ files });
    const page = await browser.newPage();
    await page.goto(site.url);
    for (const [url, message] of [
      [
        "/model.onnx",
        /not a WebAssembly module, but an ONNX model\n {2}→ compile it first: wasmith compile model\.onnx/,
      ],
      ["/models/net.wasm", /but an HTML or XML page\n {2}→ the address is wrong/],
      ["/empty.wasm", /but an empty file/],
      ["/cut.wasm", /damaged|incomplete|cut short/],
      ["/nowhere.wasm", /nowhere\.wasm: the server answered 404/],
      ["http://127.0.0.1:9/x.wasm", /127\.0\.0\.1:9\/x\.wasm: can't be fetched/],
    ] as const) {
      const told = await refusal(page, url);
      expect([url, told.name]).toEqual([url, "ModelError"]);
      expect(told.message).toMatch(message);
    }
    await page.close();
    site.close();
  });
});
