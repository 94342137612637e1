import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeFiles, sealArtifact } from "../../runtime/encode.js";
import { type Manifest, type ManifestDraft, pageBytes, type StateInfo, weightsPart } from "../../runtime/format.js";
import { load } from "../../runtime/index.js";
import { open } from "../../runtime/read.js";
import { writeSafetensors } from "../../runtime/safetensors.js";
import { type Stream, streamOf } from "../../runtime/stream.js";
import { fillMemory } from "../../runtime/weights.js";
import { mainArtifact } from "./fixture.js";

const { manifest: example, wasm } = await mainArtifact();

/** An artefact with so many bytes of weights, and so many in each tensor of state behind them. */
async function artifactOf(weightsBytes: number, states: readonly number[]) {
  const sizes = [weightsBytes, ...states];
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((n, s) => n + Math.ceil(s / 64) * 64, 0));
  const data = sizes.map((size, i) =>
    Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 11) + i * 31) & 255),
  );
  const weights = writeSafetensors(
    data.map((bytes, i) => ({ name: `t${i}`, dtype: "u8", shape: [bytes.length], data: bytes })),
    { align: 64 },
  );
  const weightsOffset = 1024;
  const stateOffset = weightsOffset + Math.ceil(weightsBytes / 64) * 64;
  const state = states.map(
    (size, i): StateInfo => ({
      name: `s${i}`,
      dtype: "u8",
      shape: [size],
      role: "param",
      // In another order than in the file.
      offset:
        stateOffset + starts.at(-1)! + Math.ceil(states.at(-1)! / 64) * 64 - starts[i + 1]! - Math.ceil(size / 64) * 64,
      init: starts[i + 1]!,
    }),
  );
  const end = Math.ceil((stateOffset + weights.length) / 64) * 64;
  const pages = Math.ceil(end / pageBytes);
  const memory = {
    ...example.memory,
    tableOffset: 256,
    tableSlots: 16,
    weightsOffset,
    weightsBytes,
    stateOffset,
    stateBytes: end - stateOffset,
    preparedOffset: end,
    preparedFlags: 0,
    arenaOffset: end,
    minPages: pages,
    maxPages: 65536,
  };
  const { variants: _, weights: __, format: ___, ...rest } = example;
  const draft: ManifestDraft = { ...rest, memory, state, sources: [] };
  const artifact = await sealArtifact(draft, wasm, weights);
  const expectFilled = ({ buffer }: WebAssembly.Memory) => {
    const bytes = new Uint8Array(buffer);
    const same = (i: number, at: number) => Buffer.compare(bytes.subarray(at, at + sizes[i]!), data[i]!) === 0;
    expect(same(0, weightsOffset)).toBe(true);
    for (const [i, { offset }] of state.entries()) expect(same(i + 1, offset), `state ${i}`).toBe(true);
  };
  return { artifact, expectFilled };
}

const memoryFor = ({ memory: { minPages } }: Manifest, shared = false) =>
  new WebAssembly.Memory({ initial: minPages, maximum: minPages, shared });

/** A response whose pieces have these lengths, again and again. */
function responseOf(bytes: Uint8Array, lengths: readonly number[]): Response {
  let [at, i] = [0, 0];
  const body = new ReadableStream({
    pull(controller) {
      const piece = bytes.slice(at, at + lengths[i++ % lengths.length]!);
      at += piece.length;
      controller.enqueue(piece);
      if (at === bytes.length) controller.close();
    },
  });
  return new Response(body);
}

describe("weights", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const layouts: readonly (readonly [number, readonly number[]])[] = [
    [0, [5]],
    [100, []],
    [weightsPart, []],
    [weightsPart + 1, [3, 0, 70]],
    [weightsPart - 64, [10, weightsPart * 2 + 5, 17]],
    [10, [weightsPart, 1]],
    [weightsPart * 2 + 77, [weightsPart - 1, 200]],
  ];
  it.each(layouts)("of %i bytes and state of %j come to their places from all sources", async (size, states) => {
    const { artifact, expectFilled } = await artifactOf(size, states);
    const { manifest, weights } = artifact;
    const path = join(folder, "weights");
    await writeFile(path, weights);
    const sources: readonly (() => Promise<Stream>)[] = [
      async () => streamOf(weights),
      () => open(path),
      () => open(responseOf(weights, [1, 7, 100_000, 0, 65_536])),
      () => open(responseOf(weights, [weights.length])),
    ];
    for (const source of sources) {
      for (const shared of [false, true]) {
        const memory = memoryFor(manifest, shared);
        await fillMemory(memory, manifest, { stream: await source(), isTrusted: false });
        expectFilled(memory);
      }
    }
  });

  it("have the same hashes in whatever parts they are sealed", async () => {
    const { artifact } = await artifactOf(weightsPart * 2 + 77, [30]);
    const { variants: _, weights: __, format: ___, ...draft } = artifact.manifest;
    for (const step of [5, 1000, 8, weightsPart - 1, weightsPart * 3]) {
      const parts = {
        length: artifact.weights.length,
        *parts() {
          for (let at = 0; at < artifact.weights.length; at += at < 100_000 ? step : weightsPart)
            yield artifact.weights.subarray(at, at + (at < 100_000 ? step : weightsPart));
        },
      };
      expect((await sealArtifact({ ...draft, sources: [] }, wasm, parts)).manifest).toEqual(artifact.manifest);
    }
  });

  it("are refused where a byte of them differs, or one is missing or too much", async () => {
    const { artifact } = await artifactOf(weightsPart + 100, [weightsPart, 9]);
    const { manifest, weights } = artifact;
    const fill = (bytes: Uint8Array) =>
      fillMemory(memoryFor(manifest), manifest, { stream: streamOf(bytes), isTrusted: false });
    for (const at of [0, 3, 9, 700, weightsPart, weightsPart + 2000, 2 * weightsPart + 50, weights.length - 1]) {
      const bytes = weights.slice();
      bytes[at]! ^= 16;
      await expect(fill(bytes), `byte ${at}`).rejects.toThrow(/does not match its hash/);
    }
    for (const length of [0, 4, 8, 100, weightsPart, weights.length - 1])
      await expect(fill(weights.subarray(0, length)), `${length} bytes`).rejects.toThrow(/^artefact: /);
    await expect(fill(Buffer.concat([weights, Uint8Array.of(0)]))).rejects.toThrow(/has more than \d+ bytes/);
  });

  it("are asked for as soon as the manifest is there, and no other variant is", async () => {
    const { artifact } = await artifactOf(weightsPart + 5, []);
    const files = await encodeFiles(artifact);
    const asked: string[] = [];
    let finish: (() => void) | undefined;
    const answer = (name: string, response: ServerResponse): void => {
      const bytes = files.get(name)!;
      if (name !== artifact.manifest.variants[0]!.file) {
        finish?.();
        response.end(bytes);
        return;
      }
      // Its last bytes come when the weights have been asked for.
      response.write(bytes.subarray(0, -10));
      finish = () => response.end(bytes.subarray(-10));
    };
    const server = createServer((request, response) => {
      const name = decodeURIComponent(request.url!.slice(1));
      asked.push(name);
      answer(name, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { variants, weights, name } = artifact.manifest;
      (await load(`${base}/${name}.wasm`)).dispose();
      expect(asked).toEqual([`${name}.wasm`, weights.file]);
      asked.length = 0;
      (await load(`${base}/${name}.wasm`, { threads: 2 })).dispose();
      expect(new Set(asked)).toEqual(new Set([`${name}.wasm`, variants[1]!.file, weights.file]));
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("leave no file open, also where they are refused", async () => {
    const { artifact } = await artifactOf(5000, [7]);
    for (const [name, bytes] of await encodeFiles(artifact)) await writeFile(join(folder, name), bytes);
    const { readdir } = await import("node:fs/promises");
    const count = async () => (await readdir("/proc/self/fd")).length;
    const path = join(folder, artifact.manifest.variants[0]!.file);
    const before = await count();
    for (const threads of [1, 2]) (await load(path, { threads })).dispose();
    await writeFile(join(folder, artifact.manifest.weights.file), artifact.weights.fill(1, 200));
    for (const threads of [1, 2]) await expect(load(path, { threads })).rejects.toThrow(/does not match its hash/);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await count()).toBeLessThanOrEqual(before + 2);
  });
});
