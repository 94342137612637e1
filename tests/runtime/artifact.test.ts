import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModule } from "../../runtime/container.js";
import { contentHash, encodeFiles, encodeSingleFile, sealArtifact } from "../../runtime/encode.js";
import { type ArtifactParts, formatVersion, type Manifest } from "../../runtime/format.js";
import { glueModule } from "../../runtime/glue.js";
import { load, type Source } from "../../runtime/index.js";
import { streamOf } from "../../runtime/stream.js";
import { validateManifest } from "../../runtime/validate.js";
import { mainArtifact, mainExpected } from "./fixture.js";

const x = Float32Array.of(1, -2, 3, 4, 5, -6);
const want = mainExpected(x);

async function expectToRun(
  source: Source | Promise<Response>,
  options: Parameters<typeof load>[1] = {},
): Promise<void> {
  const session = await load(source, options);
  const { y, z } = await session.run({ x });
  expect(y?.data).toEqual(want.y);
  expect(z?.data).toEqual(want.z);
  session.dispose();
}

describe("an artefact", () => {
  let folder: string;
  let artifact: ArtifactParts;
  let single: Uint8Array<ArrayBuffer>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-"));
    artifact = await mainArtifact();
    single = await encodeSingleFile(artifact);
    for (const [name, bytes] of await encodeFiles(artifact)) await writeFile(join(folder, name), bytes);
    await writeFile(join(folder, "single.wasm"), single);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("loads from paths, file URLs, bytes, responses, compiled modules and its parts", async () => {
    const path = join(folder, "affine.wasm");
    await expectToRun(artifact);
    await expectToRun(path);
    await expectToRun(relative(process.cwd(), path));
    await expectToRun(pathToFileURL(path));
    await expectToRun(pathToFileURL(path), { threads: 2 });
    await expectToRun(join(folder, "single.wasm"), { threads: 2 });
    await expectToRun(single, { threads: 2 });
    await expectToRun(single.buffer);
    await expectToRun(new Response(single));
    await expectToRun(Promise.resolve(new Response(single)));
    await expectToRun(await WebAssembly.compile(single));
    await expectToRun(await readFile(path), { weights: join(folder, artifact.manifest.weights.file) });
    await expectToRun(await WebAssembly.compile(await readFile(path)), { weights: artifact.weights });
    await expectToRun(join(folder, artifact.manifest.variants[1]!.file), { threads: 2 });
  });

  it("loads over HTTP, with its files beside it", async () => {
    const server = createServer((request, response) => {
      readFile(join(folder, request.url ?? "")).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await expectToRun(`${base}/affine.wasm`);
      await expectToRun(new URL(`${base}/affine.wasm`), { threads: 2 });
      await expectToRun(fetch(`${base}/affine.wasm`));
      await expect(load(`${base}/nothing.wasm`)).rejects.toThrow(/nothing\.wasm: the server answered 404 Not Found/);
    } finally {
      server.close();
    }
    await expect(load(`${base}/affine.wasm`)).rejects.toThrow(/affine\.wasm: can't be fetched/);
  });

  it("fetches the variant that it runs and the weights, at once, where it is told all files", async () => {
    const [narrow, team] = artifact.manifest.variants.map((v) => join(folder, v.file));
    const weights = join(folder, artifact.manifest.weights.file);
    const asked: string[] = [];
    const waiting: (() => void)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!.slice(1));
      // No answer comes before both are asked for.
      waiting.push(() => readFile(join(folder, request.url!)).then((bytes) => response.end(bytes)));
      if (waiting.length === 2) for (const answer of waiting) answer();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const urlOf = (path: string): URL => new URL(base + relative(folder, path));
    try {
      const files = { simd128: urlOf(narrow!), "simd128-threads": urlOf(team!), weights: urlOf(weights) };
      await expectToRun({ files }, { threads: 2 });
      expect(asked.sort()).toEqual([relative(folder, weights), relative(folder, team!)].sort());
    } finally {
      server.close();
    }
    await expectToRun({ files: { simd128: await readFile(narrow!), weights: artifact.weights } });
    await expectToRun({ files: { simd128: narrow, weights: "nothing" } }, { weights });
    await expectToRun({ files: { "simd128-threads": single } }, { threads: 1 });
    const session = await load({ files: { simd128: narrow, weights } }, { threads: 2 });
    expect(session.report.notes[0]).toMatch(/"simd128-threads" is not used: its file is not part of what was loaded/);
    session.dispose();
    await expect(load({ files: { weights } })).rejects.toThrow(/no variant can run here/);
    await expect(load({ files: { simd128: weights, weights } })).rejects.toThrow(/but a file of weights/);
    await expect(load({ files: { simd128: narrow, weights: "nothing" } })).rejects.toThrow(/nothing: can't be read/);
  });

  it("says what is missing", async () => {
    await expect(load(join(folder, "no.wasm"))).rejects.toThrow(/no\.wasm: can't be read: ENOENT/);
    const bytes = await readFile(join(folder, "affine.wasm"));
    await expect(load(bytes)).rejects.toThrow(
      /"affine\.[0-9a-f]{16}\.weights" is not part of it\n {2}→ compile with --single-file/,
    );
    await expect(load(bytes, { variant: "simd128-threads" })).rejects.toThrow(
      /"simd128-threads" is not in the artefact\n {2}→ it has: simd128/,
    );
    const session = await load(bytes, { threads: 2, weights: artifact.weights });
    expect(session.report.notes).toEqual([
      `variant "simd128-threads" is not used: its file is not part of what was loaded`,
      "1 thread instead of 2: its threaded variants can't be had",
    ]);
    session.dispose();
    await expect(load(42 as never)).rejects.toThrow(
      /source: expected a path, URL, Response, bytes, module or artefact, got 42/,
    );
    await expect(load(single, { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
  });

  it("is the same bytes for the same input", async () => {
    const again = await mainArtifact();
    expect(await encodeSingleFile(again)).toEqual(single);
    expect(await contentHash(again.manifest)).toBe((await openModule(streamOf(single))).hash);
    expect([...(await encodeFiles(again)).keys()]).toEqual([
      expect.stringMatching(/^affine\.[0-9a-f]{16}\.weights$/),
      "affine.d.ts",
      "affine.js",
      expect.stringMatching(/^affine\.[0-9a-f]{16}\.simd128-threads\.wasm$/),
      "affine.wasm",
    ]);
  });

  it("ends in a clear error wherever a single file is cut", async () => {
    for (let length = 0; length < single.length; length++) {
      await expect(load(single.subarray(0, length))).rejects.toThrow(
        /^artefact: .*\n {2}→ the file is damaged or incomplete|not a WebAssembly module/s,
      );
    }
  });

  it("ends in a clear error, or in the same numbers, whatever bit is flipped", async () => {
    // Of what a session does not use (another variant), nothing is read.
    const used = await mainArtifact({ variants: ["simd128"] });
    const clean = await encodeSingleFile(used);
    let seed = 1;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 2 ** 32) * n);
    };
    for (let i = 0; i < 2000; i++) {
      const bytes = clean.slice();
      const at = random(bytes.length);
      bytes[at]! ^= 1 << random(8);
      await expect(load(bytes), `byte ${at}`).rejects.toThrow(/^artefact: /);
    }
    const lucky = single.slice();
    lucky[single.length >> 1]! ^= 1;
    await expectToRun(lucky).catch((error) => expect(String(error)).toMatch(/^ModelError: artefact: /));
  });

  it("ends in a clear error when files of two artefacts are mixed", async () => {
    const other = await mainArtifact({ idleSteps: 1, spin: 7 });
    const { file } = other.manifest.variants[1]!;
    await expect(load(join(folder, "affine.wasm"), { weights: other.weights })).rejects.toThrow(
      /"affine\.[0-9a-f]{16}\.weights" does not match its hash/,
    );
    await expect(load(join(folder, "affine.wasm"), { weights: other.weights.subarray(0, -1) })).rejects.toThrow(
      /has \d+ bytes, \d+ were written/,
    );
    const mixed = join(folder, "mixed");
    await writeFile(`${mixed}.wasm`, (await encodeFiles(other)).get("affine.wasm")!);
    await writeFile(join(folder, file), (await encodeFiles(artifact)).get(artifact.manifest.variants[1]!.file)!);
    await expect(load(`${mixed}.wasm`, { threads: 2, weights: other.weights })).rejects.toThrow(
      /"affine\.[0-9a-f]{16}\.simd128-threads\.wasm" belongs to another artefact/,
    );
  });

  it("refuses a module that is not its own, and a newer format", async () => {
    await expect(load(artifact.wasm.simd128!)).rejects.toThrow(
      /no section "wasmith": not compiled by wasmith, or incomplete/,
    );
    const newer = { ...artifact, manifest: { ...artifact.manifest, format: formatVersion + 1 } };
    await expect(load(newer)).rejects.toThrow(
      /format version (\d), this runtime reads version \d\n {2}→ use a newer wasmith runtime/,
    );
  });

  it("refuses a name that is no file name", async () => {
    const { variants: _, weights: __, format: ___, ...rest } = artifact.manifest;
    await expect(sealArtifact({ ...rest, name: "../x", sources: [] }, artifact.wasm, artifact.weights)).rejects.toThrow(
      /can't be a file name/,
    );
  });

  it("has glue that loads it and types that say what goes in", async () => {
    const files = await encodeFiles(artifact);
    const text = (name: string): string => new TextDecoder().decode(files.get(name));
    // Each file as bundlers look for it.
    const { variants, weights } = artifact.manifest;
    for (const [id, file] of [...variants.map((v) => [v.id, v.file]), ["weights", weights.file]])
      expect(text("affine.js")).toMatch(new RegExp(`"?${id}"?: new URL\\("./${file}", import.meta.url\\)`));
    const single = glueModule(artifact.manifest, { singleFile: true, runtime: "./runtime.js" });
    expect(single).toMatch(
      /from "\.\/runtime\.js";[\s\S]*loadArtifact\(new URL\("\.\/affine\.wasm", import\.meta\.url\), options\)/,
    );
    const compiled = glueModule(artifact.manifest, { singleFile: true, importModule: true });
    expect(compiled).toMatch(/import module from "\.\/affine\.wasm\?module";[\s\S]*loadArtifact\(module, options\)/);
    expect(text("affine.d.ts")).toContain(
      `/** f32[n, 3] */\n  readonly "x": Tensor<"f32", Float32Array, readonly [number, 3]> | Float32Array;`,
    );
  });
});

describe("a manifest", () => {
  it("is checked field by field", async () => {
    const { manifest } = await mainArtifact();
    const with_ = (
      change: (m: Record<string, unknown> & { memory: Record<string, number>; entries: Record<string, never> }) => void,
    ): unknown => {
      const copy = structuredClone(manifest) as never;
      change(copy);
      return copy;
    };
    const cases: [unknown, RegExp][] = [
      [null, /manifest: expected an object, got null/],
      [{}, /manifest\.format: expected size, got undefined/],
      [with_((m) => delete m.producer), /manifest\.producer: expected string, got undefined/],
      [with_((m) => Object.assign(m, { variants: [] })), /manifest: no variant or no entry/],
      [
        with_((m) => Object.assign(m, { variants: [{ id: "mmx", file: "a", hash: "" }] })),
        /variants\[0\]\.id: expected variant, got "mmx"/,
      ],
      [
        with_((m) => Object.assign(m.weights as object, { file: "../../etc/passwd" })),
        /weights\.file: expected file name/,
      ],
      [with_((m) => Object.assign(m.memory, { arenaOffset: 64 })), /region 4 can't start at 64/],
      [with_((m) => Object.assign(m.memory, { tableOffset: 260 })), /region 0 can't start at 260/],
      [with_((m) => Object.assign(m.memory, { minPages: 0 })), /page limits/],
      [with_((m) => Object.assign(m.memory, { tableSlots: 3 })), /no slot/],
      [with_((m) => Object.assign(m, { entries: { "a-b": m.entries.main } })), /expected identifier, got "a-b"/],
      [
        with_((m) =>
          Object.assign(m, {
            state: [{ name: "w", dtype: "f32", shape: [1e9], role: "param", offset: 1024, init: null }],
          }),
        ),
        /"w" lies outside its region/,
      ],
      [
        with_((m) => Object.assign(m, { training: { objectives: [], fit: { step: "nope" }, rng: null } })),
        /manifest\.training\.fit\.evaluate: expected string/,
      ],
    ];
    for (const [value, message] of cases) expect(() => validateManifest(value)).toThrow(message);
    expect(validateManifest(structuredClone(manifest) as Manifest)).toEqual(manifest);
  });
});
