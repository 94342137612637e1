import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EpochEvent, type Feeds, load, TrainingSession } from "../../runtime/index.js";
import { permutation } from "../../runtime/order.js";
import { readSafetensors, writeSafetensors } from "../../runtime/safetensors.js";
import { bytesOf } from "../../runtime/tensor.js";
import { trainArtifact } from "./fixture.js";

const samples = 50;
const x = Float32Array.from({ length: samples * 2 }, (_, i) => Math.fround(Math.sin(i * 1.7)));
const y = Float32Array.from({ length: samples }, (_, i) => Math.fround(2 * x[2 * i]! - 3 * x[2 * i + 1]!));
const dataset = { x, y };

const train = async (threads = 1): Promise<TrainingSession> =>
  load<TrainingSession>(await trainArtifact(), { threads });

/** One step of the fixture, in f32. */
function reference(
  w: [number, number],
  lr: number,
  xs: Float32Array,
  ys: Float32Array,
): { loss: number; w: [number, number] } {
  const f = Math.fround;
  let [se, g0, g1] = [0, 0, 0];
  ys.forEach((target, i) => {
    const [a, b] = [xs[2 * i]!, xs[2 * i + 1]!];
    const e = f(f(f(a * w[0]) + f(b * w[1])) - target);
    se = f(se + f(e * e));
    g0 = f(g0 + f(e * a));
    g1 = f(g1 + f(e * b));
  });
  const rate = f(f(f(lr) * 2) / ys.length);
  return { loss: f(se / ys.length), w: [f(w[0] - f(rate * g0)), f(w[1] - f(rate * g1))] };
}

describe.each([1, 2])("a training session with %i threads", (threads) => {
  it("profiles the step, which learns", async () => {
    const session = await train(threads);
    const rows = await session.profile({ x, y }, { entry: "step", repeat: 3 });
    expect(rows.length).toBeGreaterThan(0);
    expect(session.getState("steps").data).toEqual(BigInt64Array.of(3n));
    await expect(session.profile({ x }, { entry: "nope" })).rejects.toThrow('no entry "nope"');
    session.dispose();
  });

  it("warms up its step and its prediction, and learns nothing from it", async () => {
    const session = await train(threads);
    const before = session.state.map(({ name }) => session.getState(name));
    await session.warmUp({ entry: "step", maxSeconds: 0.05 });
    await session.warmUp({ entry: "step", feeds: { x, y }, maxSeconds: 0.05 });
    await session.warmUp({ maxSeconds: 0.05 });
    expect(session.state.map(({ name }) => session.getState(name))).toEqual(before);
    const want = await train(threads);
    expect(await session.step({ x, y })).toEqual(await want.step({ x, y }));
    expect(await session.predict({ x })).toEqual(await want.predict({ x }));
    session.dispose();
    want.dispose();
  });

  it("steps, and shows and takes state", async () => {
    const session = await train(threads);
    expect(session).toBeInstanceOf(TrainingSession);
    expect(session.state.map((s) => `${s.role} ${s.name}`)).toEqual([
      "param linear.weight",
      "hyper lr",
      "counter steps",
    ]);
    let w: [number, number] = [0.5, -0.5];
    for (let i = 0; i < 5; i++) {
      const [bx, by] = [x.subarray(i * 16, i * 16 + 16), y.subarray(i * 8, i * 8 + 8)];
      const want = reference(w, 0.1, bx, by);
      const got = await session.step({ x: { dtype: "f32", shape: [8, 2], data: bx }, y: by });
      expect(got.loss).toBe(want.loss);
      expect(Object.keys(got.metrics)).toEqual(["mae"]);
      w = want.w;
      expect(Array.from(session.getState("linear.weight").data as Float32Array)).toEqual(w);
    }
    expect(session.getState("steps")).toEqual({ dtype: "i64", shape: [], data: BigInt64Array.of(5n) });
    expect(session.learningRate).toBe(Math.fround(0.1));
    session.learningRate = 0;
    session.setState("linear.weight", Float32Array.of(2, -3));
    expect((await session.step({ x, y })).loss).toBeLessThan(1e-12);
    expect(Array.from(session.getState("linear.weight").data as Float32Array)).toEqual([2, -3]);
    const { p } = await session.predict({ x });
    expect(Array.from(p?.data as Float32Array)).toEqual(Array.from(y, (v) => expect.closeTo(v, 5)));
    expect(await session.run({ x })).toEqual({ p });
    const { mae } = await session.run({ x, y }, { entry: "evaluate" });
    expect(mae?.shape).toEqual([]);
    await expect(session.run({ x }, { entry: "nope" })).rejects.toThrow(
      /no entry "nope"\n {2}→ there are: step, evaluate, predict/,
    );
    session.dispose();
  });

  it("fits, and resumes bit for bit from what it saved", async () => {
    const whole = await train(threads);
    const history = await whole.fit(dataset, { epochs: 6, batchSize: 8 });
    expect(history.map((h) => h.epoch)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(history.at(-1)!.loss).toBeLessThan(history[0]!.loss / 10);
    expect(history.at(-1)!.metrics.mae).toBeLessThan(history[0]!.metrics.mae!);
    // 50 samples in batches of 8: six whole ones and a rest of 2.
    expect((whole.getState("steps").data as BigInt64Array)[0]).toBe(42n);

    const first = await train(1);
    await first.fit(dataset, { epochs: 3, batchSize: 8 });
    const saved = await first.save();
    const second = await train(2);
    await second.restore(saved);
    const rest = await second.fit(dataset, { epochs: 3, firstEpoch: 3, batchSize: 8 });
    expect(await second.save()).toEqual(await whole.save());
    expect(rest.map(({ seconds: _, ...h }) => h)).toEqual(history.slice(3).map(({ seconds: _, ...h }) => h));
    for (const s of [whole, first, second]) s.dispose();
  });
});

describe("fit", () => {
  it("takes iterables of batches, and says how it goes", async () => {
    const session = await train();
    const batch = (i: number): Feeds => ({
      x: { dtype: "f32", shape: [10, 2], data: x.subarray(i * 20, i * 20 + 20) },
      y: y.subarray(i * 10, i * 10 + 10),
    });
    async function* generate(): AsyncGenerator<Feeds> {
      for (let i = 0; i < 5; i++) yield batch(i);
    }
    const events: string[] = [];
    const epochs: EpochEvent[] = [];
    const history = await session.fit(generate, {
      epochs: 2,
      validation: dataset,
      callbacks: [
        {
          onBatch: (e) => events.push(`${e.epoch}.${e.batch}/${e.batches}`),
          onEpoch: async (e) => epochs.push((await session.save()) && e),
        },
        { onBatch: () => undefined },
      ],
    });
    expect(events).toEqual([
      "0.0/null",
      "0.1/null",
      "0.2/null",
      "0.3/null",
      "0.4/null",
      "1.0/null",
      "1.1/null",
      "1.2/null",
      "1.3/null",
      "1.4/null",
    ]);
    expect(epochs).toEqual(history);
    expect(history[1]!.validation).toEqual(await session.evaluate(dataset));
    await session.fit([batch(0), batch(1)], { epochs: 2 });
    await expect(session.fit(generate(), { epochs: 2 })).rejects.toThrow(/a generator can be used for one epoch only/);
    session.dispose();
  });

  it("stops when a callback says so or the signal aborts, and the session can be used again", async () => {
    const session = await train();
    const stopped = await session.fit(dataset, {
      epochs: 10,
      batchSize: 10,
      callbacks: { onBatch: (e) => e.batch < 2 },
    });
    expect(stopped).toHaveLength(1);
    expect((session.getState("steps").data as BigInt64Array)[0]).toBe(3n);
    const controller = new AbortController();
    const reason = new Error("enough");
    setTimeout(() => controller.abort(reason), 50);
    await expect(session.fit(dataset, { epochs: 1e9, batchSize: 1, signal: controller.signal })).rejects.toBe(reason);
    expect((await session.step(dataset)).loss).toBeGreaterThan(0);
    session.dispose();
  });

  it("averages over samples, not batches", async () => {
    const session = await train();
    const whole = await session.evaluate(dataset, { batchSize: 50 });
    const parts = await session.evaluate(dataset, { batchSize: 16 });
    expect(parts.loss).toBeCloseTo(whole.loss, 5);
    const bare = [0, 40].map((at) => ({ x: x.subarray(2 * at, 2 * at + 80), y: y.subarray(at, at + 40) }));
    expect((await session.evaluate(bare)).loss).toBeCloseTo(whole.loss, 5);
    session.dispose();
  });

  it("shuffles each epoch in its own order, the same for the same seed", () => {
    expect(permutation(5, 7)).toEqual(permutation(5, 7));
    expect([...permutation(1000, 7)].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(permutation(1000, 7)).not.toEqual(permutation(1000, 8));
    expect(permutation(0, 1)).toHaveLength(0);
  });

  it("names what is wrong with a data set", async () => {
    const session = await train();
    const cases: [unknown, RegExp][] = [
      [{ x }, /input "y": missing; expected f32\[samples\]/],
      [{ x, y, z: y }, /input "z": the model has no such input/],
      [{ x, y: y.subarray(1) }, /input "y": 49 samples, but "x" has 50/],
      [{ x: x.subarray(1), y }, /input "x": expected f32\[samples, 2\], got 99 elements/],
      [{ x: new Float64Array(100), y }, /input "x": expected f32\[samples, 2\], got Float64Array of length 100/],
    ];
    for (const [data, message] of cases) await expect(session.fit(data as never)).rejects.toThrow(message);
    await expect(session.fit({ x: new Float32Array(), y: new Float32Array() })).rejects.toThrow(
      /dataset: 0 samples make no batch of 32/,
    );
    await expect(session.fit(dataset, { batchSize: 0 })).rejects.toThrow(
      /option batchSize: expected a positive integer, got 0/,
    );
    await expect(session.fit(dataset, { batchSize: 2000 })).resolves.toHaveLength(1);
    await expect(session.step({ x })).rejects.toThrow(/input "y": missing/);
    session.dispose();
  });
});

describe("checkpoints", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasmith-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("are written whole under their name", async () => {
    const session = await train();
    const path = join(folder, "a.safetensors");
    await writeFile(path, "old");
    const bytes = await session.save(path);
    expect(new Uint8Array(await readFile(path))).toEqual(bytes);
    expect(await readdir(folder)).toEqual(["a.safetensors"]);
    await session.restore(path);
    await expect(session.save(join(folder, "none", "a"))).rejects.toThrow(/can't be written: ENOENT/);
    session.dispose();
  });

  it("hold parameters as PyTorch has them, which load again", async () => {
    const session = await train();
    const exported = readSafetensors(await session.exportSafetensors());
    expect([...exported.tensors.keys()]).toEqual(["linear.weight"]);
    const other = await train();
    other.setState("linear.weight", Float32Array.of(9, 9));
    await other.loadSafetensors(await session.exportSafetensors());
    expect(other.getState("linear.weight")).toEqual(session.getState("linear.weight"));
    session.dispose();
    other.dispose();
  });

  it("are refused with all that does not fit, and nothing is changed then", async () => {
    const session = await train();
    const before = await session.save();
    const wrong = writeSafetensors(
      [
        { name: "linear.weight", dtype: "f32", shape: [3], data: new Uint8Array(12) },
        { name: "lr", dtype: "f32", shape: [], data: bytesOf(Float32Array.of(7)) },
        { name: "bias", dtype: "f32", shape: [], data: new Uint8Array(4) },
      ],
      { metadata: { wasmith_checkpoint: "2" } },
    );
    await expect(session.restore(wrong)).rejects.toThrow(
      /3 problems:\n- checkpoint: "linear\.weight" is f32\[3\], the model has f32\[2\]\n- checkpoint: "steps" \(i64\[\]\) is missing\n- checkpoint: the model has no "bias"/,
    );
    await expect(session.restore(await session.exportSafetensors())).rejects.toThrow(
      /not a checkpoint \(a file of weights alone\?\)\n {2}→ use loadSafetensors/,
    );
    for (let length = 0; length < before.length; length++) {
      await expect(session.restore(before.subarray(0, length))).rejects.toThrow(/^(checkpoint|2 problems)/);
    }
    expect(await session.save()).toEqual(before);
    expect(() => session.getState("nope")).toThrow(
      /state "nope": the model has no such state\n {2}→ there are: linear\.weight, lr, steps/,
    );
    expect(() => session.setState("linear.weight", new Float32Array(3))).toThrow(
      /expected f32\[2\], got f32\[2\] in Float32Array of length 3/,
    );
    session.dispose();
  });
});
