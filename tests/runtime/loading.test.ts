/** Loading as the web wants it: progress, ways to fetch, aborts, views. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeFiles, encodeSingleFile, sealArtifact } from "../../runtime/encode.js";
import { resumingFetch } from "../../runtime/fetch.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { type LoadOptions, type LoadProgress, load } from "../../runtime/index.js";
import { readSafetensors, writeSafetensors } from "../../runtime/safetensors.js";
import { holds } from "../../runtime/tensor.js";
import { mainArtifact, mainExpected } from "./fixture.js";

const x = Float32Array.of(1, -2, 3, 0, 5, -6);

async function expectToRun(source: Parameters<typeof load>[0], options: LoadOptions = {}): Promise<void> {
  await using session = await load(source, options);
  expect((await session.run({ x })).y!.data).toEqual(mainExpected(x).y);
}

/** Serves by a function on a free port. */
async function served<T>(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (base: string) => Promise<T>,
): Promise<T> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe("loading", () => {
  let folder: string;
  let artifact: ArtifactParts;
  let single: Uint8Array<ArrayBuffer>;
  let files: Map<string, Uint8Array>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-"));
    artifact = await mainArtifact();
    single = await encodeSingleFile(artifact);
    files = await encodeFiles(artifact);
    for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const giveFile = (request: IncomingMessage, response: ServerResponse): void => {
    const bytes = files.get(request.url!.slice(1));
    response.writeHead(bytes ? 200 : 404, bytes ? { "content-length": bytes.length } : {}).end(bytes);
  };

  it("tells how far it is, of files, responses and bytes", async () => {
    const heard: LoadProgress[] = [];
    const onProgress = (progress: LoadProgress): void => void heard.push(progress);
    const lastOf = (end: string) => heard.findLast((p) => p.file.endsWith(end));
    const { file, bytes } = artifact.manifest.weights;
    const expectAll = (module: string): void => {
      expect(lastOf(file)).toMatchObject({ loaded: bytes, total: bytes });
      expect(lastOf(module)).toMatchObject({ loaded: files.get(module)!.length, total: files.get(module)!.length });
      for (const each of heard) expect(each.loaded).toBeLessThanOrEqual(each.total!);
      heard.length = 0;
    };
    await expectToRun(join(folder, "affine.wasm"), { onProgress });
    expectAll("affine.wasm");
    await served(giveFile, async (base) => {
      await expectToRun(`${base}affine.wasm`, { onProgress });
      expectAll("affine.wasm");
      const urls = { simd128: new URL(`${base}affine.wasm`), weights: `${base}${file}` };
      await expectToRun({ files: urls }, { onProgress });
      expectAll("affine.wasm");
    });
    await expectToRun(single, { onProgress });
    expect(heard.at(-1)).toEqual({ file: "", loaded: single.length, total: single.length });
    await expect(load(single, { onProgress: "yes" as never })).rejects.toThrow(/onProgress: expected a function/);
  });

  it("fetches by the function that it is given, siblings too", async () => {
    const asked: string[] = [];
    const options: LoadOptions = {
      fetch: (url, init) => {
        asked.push(url.pathname.slice(1));
        return fetch(url, { ...init, headers: { authorization: "me" } });
      },
    };
    await served(
      (request, response) => {
        if (request.headers.authorization === "me") giveFile(request, response);
        else response.writeHead(403).end();
      },
      async (base) => {
        await expectToRun(`${base}affine.wasm`, options);
        expect(asked).toEqual(["affine.wasm", artifact.manifest.weights.file]);
        await expect(load(`${base}affine.wasm`)).rejects.toThrow(/the server answered 403/);
        const failing: LoadOptions = { fetch: () => Promise.reject(new Error("no network")) };
        await expect(load(`${base}affine.wasm`, failing)).rejects.toThrow(/affine\.wasm: can't be fetched: no network/);
      },
    );
    await expectToRun(join(folder, "affine.wasm"), options);
  });

  it("ends where its signal says, also while bytes come", async () => {
    await served(
      (request, response) => {
        if (request.url === "/affine.wasm") return giveFile(request, response);
        response.writeHead(200, { "content-length": artifact.manifest.weights.bytes }).write("part");
      },
      async (base) => {
        for (const onProgress of [undefined, () => {}]) {
          const abort = new AbortController();
          const loading = load(`${base}affine.wasm`, { signal: abort.signal, onProgress });
          setTimeout(() => abort.abort(new Error("enough")), 100);
          await expect(loading).rejects.toThrow("enough");
        }
      },
    );
  });

  it("goes on where a download broke off", async () => {
    const more = { name: "more", dtype: "u8", shape: [1_200_000], data: new Uint8Array(1_200_000).fill(7) } as const;
    const tensors = [...readSafetensors(artifact.weights).tensors.values(), more];
    const { variants: _, weights: __, format: ___, ...draft } = artifact.manifest;
    const large = await sealArtifact(
      { ...draft, sources: [] },
      artifact.wasm,
      writeSafetensors(tensors, { align: 64 }),
    );
    const whole = await encodeSingleFile(large);
    let pieces = 0;
    let tag = '"1"';
    const broken = (request: IncomingMessage, response: ServerResponse): void => {
      const [, from = "0"] = /bytes=(\d+)-/.exec(request.headers.range ?? "") ?? [];
      const isSame = request.headers["if-range"] === tag;
      const at = isSame ? Number(from) : 0;
      pieces++;
      response.writeHead(isSame ? 206 : 200, {
        "content-length": whole.length - at,
        "accept-ranges": "bytes",
        etag: tag,
      });
      const part = whole.subarray(at, at + 500_000);
      if (at + part.length === whole.length) response.end(part);
      else response.write(part, () => setTimeout(() => response.destroy(), 20));
    };
    await served(broken, async (base) => {
      await expect(load(`${base}x.wasm`)).rejects.toThrow(/can't be read/);
      pieces = 0;
      await expectToRun(`${base}x.wasm`, { fetch: resumingFetch({ waitSeconds: 0.01 }) });
      expect(pieces).toBeGreaterThan(2);
      const few = load(`${base}x.wasm`, { fetch: resumingFetch({ waitSeconds: 0.01, retries: 1 }) });
      await expect(few).rejects.toThrow(/can't be read/);
      // Another file since.
      const changing = resumingFetch({
        waitSeconds: 0.01,
        fetch: (url, init) => fetch(url, init).finally(() => (tag = '"2"')),
      });
      await expect(load(`${base}x.wasm`, { fetch: changing })).rejects.toThrow(/can't be read/);
    });
  });
});

it("a session that is disposed at the end of a block finishes what it runs", async () => {
  const session = await load(await mainArtifact());
  const running = session.run({ x });
  await session[Symbol.asyncDispose]();
  expect((await running).y!.data).toEqual(mainExpected(x).y);
  await expect(session.run({ x })).rejects.toThrow(/it was disposed/);
});

it("views are feeds as they are: of any offset, of pictures and of half floats", async () => {
  const wide = new Float32Array(x.length + 3);
  wide.set(x, 3);
  await using session = await load(await mainArtifact());
  expect((await session.run({ x: wide.subarray(3) })).y!.data).toEqual(mainExpected(x).y);
  expect(holds("u8", new Uint8ClampedArray(1))).toBe(true);
  expect(holds("i8", new Uint8ClampedArray(1))).toBe(false);
  expect(holds("u8", Buffer.from("a"))).toBe(true);
  class Float16Array extends Uint16Array {}
  expect(holds("f16", new Float16Array(1))).toBe(true);
  await expect(session.run({ x }, { float16: 1 as never })).rejects.toThrow(/float16: expected true or false/);
  const has = "Float16Array" in globalThis;
  if (has) expect((await session.run({ x }, { float16: true })).y!.data).toEqual(mainExpected(x).y);
  else await expect(session.run({ x }, { float16: true })).rejects.toThrow(/this engine has no Float16Array/);
});
