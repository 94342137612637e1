/** A cache serves feeds by artefacts that fit, compiles what is missing, keeps few, and finds its own again in a store. */
import { describe, expect, it } from "vitest";
import { type ArtifactStore, type CachedArtifact, ModelCache } from "../../compiler/late/cache.js";
import type { ModelFeeds } from "../../compiler/late/feeds.js";
import type { GraphProto } from "../../compiler/onnx/proto-types.js";
import { encodeTensor } from "../../compiler/onnx/tensor.js";
import { uniform } from "../../compiler/random-feeds.js";
import { type Tensor, toNumbers } from "../../ir/tensor.js";
import { node, tensorInfo } from "../onnx/build.js";
import { bytesOf, f32, i64, iota, plain, runFor } from "./run.js";

const INT64 = 7;
const variants = ["simd128"] as const;

/** Sums x of any rank over axes that are an input, scaled by an initializer that may be given. */
const sums: GraphProto = {
  input: [tensorInfo("x", undefined), tensorInfo("axes", ["k"], INT64), tensorInfo("scale", [])],
  output: [tensorInfo("y", undefined)],
  initializer: [encodeTensor({ dtype: "f32", shape: [], data: Float32Array.of(2) }, "scale")],
  node: [node("ReduceSum", ["x", "axes"], ["s"], { keepdims: 0 }), node("Mul", ["s", "scale"], ["y"])],
};

/** What `sums` computes, from its definition. */
function expected(x: Tensor, axes: readonly number[], scale: number) {
  const kept = x.shape.map((_, a) => a).filter((a) => !axes.includes(a));
  const shape = kept.map((a) => x.shape[a]!);
  const data = new Array<number>(shape.reduce((n, d) => n * d, 1)).fill(0);
  toNumbers(x).forEach((v, flat) => {
    let rest = flat;
    const index = x.shape.map(() => 0);
    for (let a = x.shape.length - 1; a >= 0; a--) {
      index[a] = rest % x.shape[a]!;
      rest = Math.floor(rest / x.shape[a]!);
    }
    const at = kept.reduce((p, a) => p * x.shape[a]! + index[a]!, 0);
    data[at]! += v * scale;
  });
  return { shape, data };
}

class MemoryStore implements ArtifactStore {
  readonly entries = new Map<string, Uint8Array>();
  async get(key: string) {
    return this.entries.get(key);
  }
  async set(key: string, bytes: Uint8Array) {
    this.entries.set(key, bytes);
  }
  async delete(key: string) {
    this.entries.delete(key);
  }
}

describe("ModelCache", () => {
  it("gives the right results for any order of feeds, and compiles once for each kind of them", async () => {
    const seed = 20261126;
    const random = uniform(seed);
    const draw = (most: number) => Math.floor(random() * most);
    const cache = new ModelCache(bytesOf(sums), { variants, maxArtifacts: 100 });
    const kinds = new Set<string>();
    for (let k = 0; k < 60; k++) {
      const rank = 1 + draw(3);
      const x = iota(...Array.from({ length: rank }, () => draw(4)));
      const axes = Array.from({ length: rank }, (_, a) => a).filter(() => random() < 0.5);
      const scale = random() < 0.5 ? undefined : draw(5);
      const feeds: ModelFeeds = { x, axes: i64(...axes), ...(scale === undefined ? {} : { scale: f32([], scale) }) };
      const artifact = await cache.artifactFor(feeds);
      expect(artifact.serves(feeds)).toBe(true);
      // No axes: all of them.
      const summed = axes.length > 0 ? axes : x.shape.map((_, a) => a);
      const about = `seed ${seed}, case ${k}: x [${x.shape}], axes [${axes}], scale ${scale}`;
      expect(plain((await runFor(artifact, feeds)).y), about).toEqual(expected(x, summed, scale ?? 2));
      kinds.add(JSON.stringify([rank, axes, scale === undefined]));
    }
    // Sizes of 0 may need one more of a kind: the first is for sizes of at least 1.
    expect(cache.size).toBeGreaterThanOrEqual(kinds.size);
    expect(cache.size).toBeLessThanOrEqual(2 * kinds.size);
    cache.dispose();
  });

  const feedsOf = (rank: number): ModelFeeds => ({ x: iota(...Array<number>(rank).fill(2)), axes: i64(0) });

  it("compiles once for calls at the same time", async () => {
    const cache = new ModelCache(bytesOf(sums), { variants });
    const [a, b, c] = await Promise.all([1, 2, 1].map((rank) => cache.artifactFor(feedsOf(rank))));
    expect(a).toBe(c);
    expect(a).not.toBe(b);
    expect(cache.size).toBe(2);
  });

  it("keeps the last used ones", async () => {
    const gone: CachedArtifact[] = [];
    const cache = new ModelCache(bytesOf(sums), { variants, maxArtifacts: 2, onEvict: (a) => gone.push(a) });
    const [one, two] = [await cache.artifactFor(feedsOf(1)), await cache.artifactFor(feedsOf(2))];
    expect(await cache.artifactFor(feedsOf(1))).toBe(one);
    await cache.artifactFor(feedsOf(3));
    expect(gone).toEqual([two]);
    cache.dispose();
    expect(gone).toHaveLength(3);
    await expect(cache.artifactFor(feedsOf(1))).rejects.toThrow("the cache is disposed");
    expect(() => new ModelCache(bytesOf(sums), { maxArtifacts: 0 })).toThrow(/option maxArtifacts/);
  });

  it("goes on after feeds that are refused", async () => {
    const cache = new ModelCache(bytesOf(sums), { variants });
    const bad = cache.artifactFor({ x: iota(2), axes: i64(7) });
    const good = cache.artifactFor(feedsOf(1));
    await expect(bad).rejects.toThrow(/axis 7/);
    expect(plain((await runFor(await good, feedsOf(1))).y)).toEqual({ shape: [], data: [2] });
  });

  it("finds its artefacts in a store, of the same model and options only", async () => {
    const store = new MemoryStore();
    const first = new ModelCache(bytesOf(sums), { variants, store });
    const made = await first.artifactFor(feedsOf(2));
    expect(store.entries.size).toBe(2);

    const second = new ModelCache(bytesOf(sums), { variants, store });
    const found = await second.artifactFor(feedsOf(2));
    expect(found.graph).toBeUndefined();
    expect(found.manifest).toEqual(made.manifest);
    expect(plain((await runFor(found, feedsOf(2))).y)).toEqual(expected(iota(2, 2), [0], 2));
    expect(store.entries.size).toBe(2);

    for (const other of [
      new ModelCache(bytesOf(sums, 20), { variants, store }),
      new ModelCache(bytesOf(sums), { variants, store, maxThreads: 2 }),
    ])
      expect((await other.artifactFor(feedsOf(2))).graph).toBeDefined();
  });

  it("keeps few in a store", async () => {
    const store = new MemoryStore();
    const cache = new ModelCache(bytesOf(sums), { variants, store, maxArtifacts: 2 });
    for (const rank of [1, 2, 3]) await cache.artifactFor(feedsOf(rank));
    expect(store.entries.size).toBe(3);
  });

  it("compiles again where the store is damaged or fails", async () => {
    const store = new MemoryStore();
    await new ModelCache(bytesOf(sums), { variants, store }).artifactFor(feedsOf(2));
    const whole = new Map(store.entries);
    for (const [key, bytes] of whole)
      for (const damaged of [
        bytes.slice(0, bytes.length / 2),
        bytes.map((b, i) => (i === bytes.length >> 1 ? b ^ 1 : b)),
      ]) {
        for (const [k, v] of whole) store.entries.set(k, v);
        store.entries.set(key, damaged);
        const cache = new ModelCache(bytesOf(sums), { variants, store });
        const artifact = await cache.artifactFor(feedsOf(2));
        expect(plain((await runFor(artifact, feedsOf(2))).y)).toEqual(expected(iota(2, 2), [0], 2));
      }
    const failing: ArtifactStore = {
      get: () => Promise.reject(new Error("closed")),
      set: () => Promise.reject(new Error("full")),
    };
    const loud = new ModelCache(bytesOf(sums), { variants, store: failing });
    await expect(loud.artifactFor(feedsOf(1))).rejects.toThrow("closed");
    const told: unknown[] = [];
    const quiet = new ModelCache(bytesOf(sums), { variants, store: failing, onStoreError: (e) => told.push(e) });
    expect((await quiet.artifactFor(feedsOf(1))).graph).toBeDefined();
    expect(told.map(String)).toEqual(["Error: closed", "Error: full"]);
  });
});
