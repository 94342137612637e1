/**
 * Decoders that keep their caches in the session: random texts in random pieces, tokens taken back in between, against the model that gets
 * the whole text anew each time. Threads change no bit.
 */

import { afterAll, describe, expect, it } from "vitest";
import { type LlamaSize, llama, llamaTiny } from "../../bench/models/llama.js";
import { type CacheOptions, withCache } from "../../compiler/cache.js";
import { compile } from "../../compiler/compile.js";
import { importOnnx } from "../../compiler/onnx/import.js";
import { type ArtifactParts, type Feeds, load, type Session } from "../../runtime/index.js";
import { seeded } from "../graph/random.js";
import { fuzzRuns, fuzzSeed } from "./seed.js";

const runs = fuzzRuns("WASMITH_FUZZ_CACHE", 8, 60);
const base = fuzzSeed("caches");
const counter = "past_sequence_length";

const i64 = (shape: readonly number[], values: readonly number[]) =>
  ({ dtype: "i64", shape, data: BigInt64Array.from(values, BigInt) }) as const;

/** Feeds for the last tokens of a text. */
function feedsOf(text: readonly number[], now: number): Feeds {
  const first = text.length - now;
  const steps = Array.from({ length: now }, (_, i) => first + i);
  return {
    input_ids: i64([1, now], text.slice(first)),
    attention_mask: i64(
      [1, text.length],
      text.map(() => 1),
    ),
    position_ids: i64([1, now], steps),
  };
}

/** The same for the model as it was exported, which has no tokens from before. */
function wholeFeeds(text: readonly number[], { layers, keyValueHeads, width, heads }: LlamaSize): Feeds {
  const none = { dtype: "f32", shape: [1, keyValueHeads, 0, width / heads], data: new Float32Array() } as const;
  const names = Array.from({ length: layers }, (_, i) => [
    `past_key_values.${i}.key`,
    `past_key_values.${i}.value`,
  ]).flat();
  return { ...feedsOf(text, text.length), ...Object.fromEntries(names.map((n) => [n, none])) };
}

const setCount = (session: Session, count: number) => session.setState(counter, BigInt64Array.of(BigInt(count)));

async function logitsOf(session: Session, feeds: Feeds): Promise<Float32Array> {
  const { logits } = await session.run(feeds, { outputs: ["logits"] });
  return logits!.data as Float32Array;
}

/** Largest distance, relative to the largest number. */
function distance(a: Float32Array, b: Float32Array): number {
  const top = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0) / top;
}

const opened: Session[] = [];
const open = async (artifact: ArtifactParts, threads = 1): Promise<Session> => {
  const session = (await load(artifact, { threads })) as Session;
  opened.push(session);
  return session;
};
const variants = ["simd128", "simd128-threads"] as const;
const compiled = (size: LlamaSize, seed: number, options: CacheOptions) =>
  compile(withCache(importOnnx(llama(size, seed)), options), { variants });

afterAll(() => {
  for (const s of opened) s.dispose();
});

describe("caches in the session", () => {
  for (let run = 0; run < runs; run++) {
    const seed = base + run;
    it(`give what the whole text gives, seed ${seed}`, { timeout: 120_000 }, async () => {
      const random = seeded(seed);
      const upTo = (n: number) => 1 + Math.floor(random() * n);
      const keyValueHeads = upTo(3);
      const heads = keyValueHeads * upTo(3);
      const size: LlamaSize = {
        ...llamaTiny,
        layers: upTo(2),
        heads,
        keyValueHeads,
        width: heads * 2 * upTo(9),
        tied: random() < 0.5 ? "once" : "twice",
      };
      const length = 20 + upTo(80);
      const half = random() < 0.4;
      const artifact = await compiled(size, seed, { length, ...(half ? { dtype: "f16" } : {}) });
      const [one, two] = [await open(artifact), await open(artifact, 2)];
      const whole = await open(await compile(importOnnx(llama(size, seed)), { variants: ["simd128"] }));
      let text: readonly number[] = [];
      for (let step = 0; step < 12; step++) {
        if (random() < 0.2) {
          text = text.slice(0, Math.floor(random() * (text.length + 1)));
          for (const s of [one, two]) setCount(s, text.length);
        }
        const room = length - text.length;
        if (room === 0) break;
        const now = random() < 0.6 ? 1 : upTo(random() < 0.2 ? room : Math.min(room, 40));
        text = [...text, ...Array.from({ length: now }, () => Math.floor(random() * size.vocabulary))];
        const got = await logitsOf(one, feedsOf(text, now));
        const want = (await logitsOf(whole, wholeFeeds(text, size))).subarray(-now * size.vocabulary);
        expect(distance(got, want), `${now} tokens of ${text.length}, ${JSON.stringify(size)}`).toBeLessThan(
          half ? 0.01 : 1e-4,
        );
        expect(await logitsOf(two, feedsOf(text, now))).toEqual(got);
      }
      expect(one.getState(counter).data).toEqual(BigInt64Array.of(BigInt(text.length)));
    });
  }

  it("are each session's own, can be saved, and say when they are full", { timeout: 60_000 }, async () => {
    const artifact = await compiled(llamaTiny, 1, { length: 8 });
    const [a, b] = [await open(artifact), await open(artifact)];
    await logitsOf(a, feedsOf([1, 2, 3], 3));
    await logitsOf(b, feedsOf([4, 5], 2));
    const [c, saved] = [await open(artifact), await a.save()];
    await c.restore(saved);
    const next = feedsOf([1, 2, 3, 6], 1);
    expect(await logitsOf(c, next)).toEqual(await logitsOf(a, next));
    expect(await logitsOf(b, feedsOf([4, 5, 6], 1))).not.toEqual(await logitsOf(b, feedsOf([4, 5, 6, 6], 1)));
    const tooMany = feedsOf([1, 2, 3, 6, 7, 8, 9, 10, 11], 5);
    await expect(logitsOf(a, tooMany)).rejects.toThrow(
      /past_sequence_length \+ sequence_length must be at most 8.*\n.*holds 8 tokens: set the state "past_sequence_length" to 0/s,
    );
    // A run that is refused leaves what there was.
    expect(a.getState(counter).data).toEqual(BigInt64Array.of(4n));
    for (const wild of [-1n, 9n, 2n ** 40n, -(2n ** 40n)]) {
      a.setState(counter, BigInt64Array.of(wild));
      await expect(logitsOf(a, next)).rejects.toThrow(
        /state "past_sequence_length": it is out of its range\n.*from 0 to 8/,
      );
    }
    expect(() => a.setState(counter, new Float32Array(1))).toThrow(/expected i64/);
    setCount(a, 3);
    const profile = await a.profile(next, { repeat: 3 });
    expect(profile.length).toBeGreaterThan(20);
    expect(a.getState(counter).data).toEqual(BigInt64Array.of(3n));
    setCount(c, 3);
    expect(await logitsOf(a, next)).toEqual(await logitsOf(c, next));
  });

  it("are asked for by names that a model has", () => {
    const model = importOnnx(llama(llamaTiny));
    const caching = (options: CacheOptions) => () => withCache(model, options);
    expect(caching({ length: 0 })).toThrow(/option length: expected an integer from 1/);
    expect(caching({} as CacheOptions)).toThrow(/option length: it is missing/);
    expect(caching({ length: 9, carry: { past: "logits" } })).toThrow(/no input "past"/);
    expect(caching({ length: 9, carry: { input_ids: "logits" } })).toThrow(
      /input "input_ids" and output "logits": the output is not what the input holds with rows of now behind it/,
    );
    expect(caching({ length: 9, carry: {} })).toThrow(/no output of the model is an input of the next run/);
    const one = withCache(model, { length: 9, carry: { "past_key_values.0.key": "present.0.key" } });
    expect(one.state.map((s) => s.name)).toEqual(["past_key_values.0.key", counter]);
  });
});
