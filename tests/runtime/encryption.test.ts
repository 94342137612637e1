import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeArtifact } from "../../compiler/write.js";
import { encryptSingleFile, gather } from "../../runtime/encode.js";
import { decrypted, encrypted } from "../../runtime/encryption.js";
import { modelError } from "../../runtime/errors.js";
import type { ArtifactParts } from "../../runtime/format.js";
import { type LoadOptions, load, type Source } from "../../runtime/index.js";
import { open } from "../../runtime/read.js";
import { streamOf } from "../../runtime/stream.js";
import { mainArtifact, mainExpected } from "./fixture.js";

const key = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1);
const otherKey = key.map((b) => b ^ 1);
const x = Float32Array.of(1, -2, 3, 4, 5, -6);

const importKey = (bytes: Uint8Array<ArrayBuffer>, usages: KeyUsage[] = ["decrypt"]) =>
  crypto.subtle.importKey("raw", bytes, "AES-GCM", false, usages);

async function expectToRun(source: Source, options: LoadOptions): Promise<void> {
  const session = await load(source, options);
  const { y } = await session.run({ x });
  expect(y?.data).toEqual(mainExpected(x).y);
  session.dispose();
}

const flipped = (bytes: Uint8Array, at: number, bit = 0): Uint8Array<ArrayBuffer> => {
  const copy = new Uint8Array(bytes);
  copy[at]! ^= 1 << bit;
  return copy;
};

describe("an encrypted artefact", () => {
  let artifact: ArtifactParts;
  let folder: string;
  let path: string;
  let single: Uint8Array<ArrayBuffer>;

  beforeAll(async () => {
    artifact = await mainArtifact();
    folder = await mkdtemp(join(tmpdir(), "wasmith-"));
    path = join(folder, "affine.wasm");
    await writeArtifact(artifact, folder, { key });
    single = await gather(await encryptSingleFile(artifact, key));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("runs with its key: bytes or a CryptoKey, from files and memory", async () => {
    await expectToRun(path, { key });
    await expectToRun(path, { key, threads: 2 });
    await expectToRun(path, { key: key.buffer });
    await expectToRun(path, { key: await importKey(key) });
    await expectToRun(single, { key });
    await expectToRun(single, { key, threads: 2 });
    const short = key.slice(0, 16);
    await expectToRun(await gather(await encryptSingleFile(artifact, short)), { key: short });
  });

  it("reveals neither the graph nor weights, nor what a hash of them would tell", async () => {
    const { manifest } = artifact;
    const secrets = [
      ...["affine.step", "plan_main", "run_main", "simd128", "__metadata__", "\0asm", '"dtype"', "manifest"],
      ...Object.values(manifest.entries).flatMap((e) => e.steps.flatMap((s) => [s.name, s.kernel])),
      manifest.weights.file,
      ...manifest.weights.hashes,
      ...manifest.variants.slice(1).map((v) => v.file),
    ].filter((text) => text.length > 3);
    const weights = Buffer.from(artifact.weights.subarray(-16));
    const names = await readdir(folder);
    expect(names.filter((name) => !name.endsWith(".wasm") && !name.endsWith(".weights"))).toEqual([]);
    for (const name of names) expect(secrets).not.toContain(name);
    for (const bytes of [single, ...(await Promise.all(names.map((name) => readFile(join(folder, name)))))]) {
      const file = Buffer.from(bytes);
      for (const secret of secrets) expect(file.includes(secret), secret).toBe(false);
      expect(file.includes(weights)).toBe(false);
    }
  });

  it("has other bytes each time", async () => {
    const again = await gather(await encryptSingleFile(artifact, key));
    expect(again.length).toBe(single.length);
    const same = again.reduce((n, b, i) => n + (b === single[i] ? 1 : 0), 0);
    // The magic, and what is equal by chance.
    expect(same).toBeLessThan(8 + single.length / 64);
  });

  it("is refused without a key, with another, and with what is none", async () => {
    await expect(load(path)).rejects.toThrow(/not a WebAssembly module, but an encrypted artefact\n {2}→ give its key/);
    await expect(load(path, { key: otherKey })).rejects.toThrow("artefact: the key is not that of this file, or the");
    await expect(load(path, { key: key.slice(0, 16) })).rejects.toThrow("the key is not that of this file");
    await expect(load(path, { key: key.slice(1) })).rejects.toThrow("16 or 32 bytes, got Uint8Array of length 31");
    await expect(load(path, { key: "secret word" as never })).rejects.toThrow(/got a string$/);
    await expect(load(path, { key: await importKey(key, ["encrypt"]) })).rejects.toThrow(
      "a CryptoKey for AES-GCM (enc",
    );
  });

  it("is not taken for one that is not encrypted, nor this for it", async () => {
    const other = await mkdtemp(join(tmpdir(), "wasmith-"));
    await writeArtifact(artifact, other, {});
    await expect(load(join(other, "affine.wasm"), { key })).rejects.toThrow("it is not encrypted, and a key was given");
    await expect(load(artifact, { key })).rejects.toThrow("what is loaded is not encrypted");
    await expect(load(path, { key, weights: artifact.weights })).rejects.toThrow("it is not encrypted");
    await rm(other, { recursive: true });
  });

  it("is refused where a bit of any byte differs, or one is missing or too much", async () => {
    // Where regions begin and end, and all over the file.
    const places = new Set([0, 7, 8, 19, 20, 75, 76, single.length - 17, single.length - 16, single.length - 1]);
    for (let i = 1; i < 40; i++) places.add(Math.floor((single.length * i) / 40));
    for (const at of places)
      await expect(load(flipped(single, at, at % 8), { key }), `byte ${at}`).rejects.toThrow(/artefact: .*\n {2}→ /);
    for (const length of [1, 8, 40, 76, 100, single.length - 1])
      await expect(load(single.slice(0, length), { key })).rejects.toThrow(/artefact: /);
    await expect(load(Buffer.concat([single, Buffer.of(0)]), { key })).rejects.toThrow("bytes behind its end");
  });

  it("takes weights of itself alone, though the same key encrypted others", async () => {
    const other = await mkdtemp(join(tmpdir(), "wasmith-"));
    await writeArtifact(artifact, other, { key });
    const weightsIn = async (where: string) =>
      join(where, (await readdir(where)).find((name) => name.endsWith(".weights"))!);
    await expectToRun(await readFile(path), { key, weights: await weightsIn(folder) });
    await expect(load(path, { key, weights: await weightsIn(other) })).rejects.toThrow("the key is not that of this");
    await rm(other, { recursive: true });
  });

  it("replaces one that is not encrypted, of which nothing is left", async () => {
    const other = await mkdtemp(join(tmpdir(), "wasmith-"));
    await writeArtifact(artifact, other, {});
    await writeArtifact(artifact, other, { key });
    for (const name of (await readdir(other)).filter((n) => n.endsWith(".weights") || n.endsWith(".wasm")))
      expect((await readFile(join(other, name))).subarray(0, 7).toString()).toBe("wasmith");
    await rm(other, { recursive: true });
  });
});

describe("files in chunks", () => {
  const chunk = 2 ** 19;
  const bytesOf = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 11)) & 255);
  const encrypt = async (file: Parameters<typeof encrypted>[0]) =>
    gather(await encrypted(file, key, "label", modelError));
  const decrypt = async (file: Uint8Array, label = "label") =>
    (await decrypted(streamOf(file), key, label, modelError)).rest();

  it.each([0, 1, chunk - 1, chunk, chunk + 1, chunk * 6 + 5])("of %i bytes are the same again", async (length) => {
    const plain = bytesOf(length);
    const parts = {
      length,
      *parts() {
        for (let at = 0; at < length; at += 100_003) yield plain.subarray(at, at + 100_003);
      },
    };
    const file = await encrypt(parts);
    expect(file.length).toBe(8 + 12 + 56 + length + Math.ceil(length / chunk) * 16);
    expect(Buffer.compare(await decrypt(file), plain)).toBe(0);
    const path = join(await mkdtemp(join(tmpdir(), "wasmith-")), "file");
    await writeFile(path, file);
    const stored = await decrypted(await open(path), key, "label", modelError);
    expect(Buffer.compare(await stored.rest(), plain)).toBe(0);
    await rm(path);
  });

  it("are refused under another label, with chunks in another order, twice, or missing", async () => {
    const file = await encrypt(bytesOf(chunk * 3));
    const [head, ...chunks] = [0, 1, 2, 3].map((i) =>
      file.subarray(i && 76 + (i - 1) * (chunk + 16), 76 + i * (chunk + 16)),
    );
    const of = (...order: number[]) => Buffer.concat([head!, ...order.map((i) => chunks[i]!)]);
    expect(await decrypt(of(0, 1, 2))).toHaveLength(chunk * 3);
    await expect(decrypt(file, "other")).rejects.toThrow("the key is not that of this file");
    await expect(decrypt(of(1, 0, 2))).rejects.toThrow("changed since, in chunk 0 of 3");
    await expect(decrypt(of(0, 0, 2))).rejects.toThrow("changed since, in chunk 1 of 3");
    await expect(decrypt(of(0, 2, 2))).rejects.toThrow("changed since, in chunk 1 of 3");
    await expect(decrypt(of(0, 1))).rejects.toThrow("cut short");
    await expect(decrypt(of(0, 1, 2, 2))).rejects.toThrow("bytes behind its end");
  });
});
