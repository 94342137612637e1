/** Which axis of an input runs over samples is part of the signature: `fit` cuts arrays along it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchDim } from "../../compiler/dsl/batch-dim.js";
import type { Inputs } from "../../compiler/dsl/graph.js";
import { inputTypes } from "../../compiler/dsl/graph.js";
import { build, compile, losses, nn, optim, trainStep } from "../../index.js";
import { Complaint } from "../../runtime/complaint.js";
import { batchesOf } from "../../runtime/dataset.js";
import { modelError } from "../../runtime/errors.js";
import { type Feeds, readFeed } from "../../runtime/feeds.js";
import type { EntryInfo } from "../../runtime/format.js";
import { load, type Tensor, type TrainingArtifact } from "../../runtime/index.js";
import { epochSeed, permutation } from "../../runtime/order.js";

const tools = { modelError, readFeed, Complaint };

const dim = (name: string) => ({ dim: name, slot: 0 });
const entry = (inputs: Readonly<Record<string, readonly (string | number)[]>>): EntryInfo => ({
  dims: [{ name: "batch", min: 1, max: null, slot: 0 }],
  inputs: Object.entries(inputs).map(([name, shape]) => ({
    name,
    dtype: "f32",
    shape: shape.map((d) => (typeof d === "number" ? d : dim(d))),
    offset: 0,
  })),
  outputs: [],
  steps: [],
  mutatesFrom: 0,
  maxBytes: null,
  limits: [],
});

const numbered = (shape: readonly number[]): Tensor<"f32"> => ({
  dtype: "f32",
  shape,
  data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => i),
});

async function collect(batches: AsyncIterable<Feeds>): Promise<Feeds[]> {
  const all: Feeds[] = [];
  for await (const batch of batches) all.push(structuredClone(batch) as Feeds);
  return all;
}

describe("arrays", () => {
  it("are cut along the batch's axis, in the epoch's order, from any batch on", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          outer: fc.integer({ min: 1, max: 3 }),
          samples: fc.integer({ min: 1, max: 9 }),
          inner: fc.integer({ min: 1, max: 3 }),
          batchSize: fc.integer({ min: 1, max: 10 }),
          seed: fc.option(fc.integer({ min: 0, max: 99 })),
          epoch: fc.integer({ min: 0, max: 3 }),
        }),
        async ({ outer, samples, inner, batchSize, seed, epoch }) => {
          const x = numbered([outer, samples, inner]);
          const weights = numbered([4]);
          const info = entry({ x: ["steps", "batch", "width"], weights: [4] });
          const from = (at: number) =>
            batchesOf(tools, { x, weights }, info, "batch", { batchSize, seed, epoch, from: at, asked: [] });
          const batches = await from(0);
          const order = seed === null ? [...Array(samples).keys()] : [...permutation(samples, epochSeed(seed, epoch))];
          const all = await collect(batches);
          expect(all).toHaveLength(Math.ceil(samples / batchSize));
          expect(batches.count).toBe(all.length);
          all.forEach((batch, b) => {
            const picked = order.slice(b * batchSize, (b + 1) * batchSize);
            const got = batch.x as Tensor;
            expect(got.shape).toEqual([outer, picked.length, inner]);
            const want = [...Array(outer).keys()].flatMap((o) =>
              picked.flatMap((s) => [...Array(inner).keys()].map((i) => (o * samples + s) * inner + i)),
            );
            expect([...(got.data as Float32Array)]).toEqual(want);
            expect(batch.weights).toEqual(weights);
          });
          for (let at = 0; at <= all.length; at++) expect(await collect(await from(at))).toEqual(all.slice(at));
        },
      ),
    );
  });

  it("that can't be cut are refused", async () => {
    const options = { batchSize: 2, seed: null, epoch: 0, from: 0, asked: [] };
    const cut = (inputs: Readonly<Record<string, readonly (string | number)[]>>, feeds: Feeds) =>
      batchesOf(tools, feeds, entry(inputs), "batch", options);
    await expect(cut({ x: ["batch*2"] }, { x: new Float32Array(4) })).rejects.toThrow(
      /input "x": its size batch\*2 can't be cut into batches/,
    );
    await expect(
      cut({ x: [2, "batch"], y: ["batch"] }, { x: numbered([2, 3]), y: new Float32Array(4) }),
    ).rejects.toThrow(/input "y": 4 samples, but "x" has 3/);
    await expect(cut({ x: [2, "batch"] }, { x: new Float32Array(5) })).rejects.toThrow(
      /input "x": expected f32\[2, samples\], got 5 elements/,
    );
    await expect(
      cut({ x: ["batch"], w: [3] }, { x: new Float32Array(4), w: new Float64Array(3) }),
    ).rejects.toMatchObject({
      about: "feeds",
    });
  });
});

describe("the batch of a signature", () => {
  const of = (inputs: Inputs, given?: string) => batchDim(inputTypes(inputs), given);
  it("is the size of that name, the leading one, the common one, or what is asked for", () => {
    expect(of({ x: ["steps", "batch", 3], y: ["batch"] })).toBe("batch");
    expect(of({ x: ["steps", "batch", 3], y: ["steps", "batch"] })).toBe("batch");
    expect(of({ x: ["batch", 3], weights: [3] })).toBe("batch");
    expect(of({ x: ["n", 3], y: ["n"] })).toBe("n");
    expect(of({ x: ["n", "t"], y: ["n", "t"] })).toBe("n");
    expect(of({ x: ["t", "n", 3], y: ["n"] })).toBe("n");
    expect(of({ x: ["t", "n"], y: ["n", "t"] })).toBe(null);
    expect(of({ x: ["t", "n"], y: ["n", "t"] }, "t")).toBe("t");
    expect(of({ x: [8, 3], y: [8] })).toBe(null);
    expect(() => of({ x: [8, "t"] }, "n")).toThrow(
      /option batch: no input has the size "n"\n {2}→ the inputs are x: f32/,
    );
  });
});

it("fit trains on [steps, batch] arrays as on batches cut by hand", async () => {
  const [steps, samples, width] = [3, 10, 2];
  const program = trainStep(nn.Linear(width, 1), {
    inputs: { x: ["steps", "batch", width] },
    targets: { y: ["steps", "batch", 1], scale: [1] },
    loss: (p, y, scale) => losses.mse()(build.np.mul(p, scale!), y!),
    optimizer: optim.SGD({ lr: 0.1 }),
  });
  const artifact = (await compile(program)) as unknown as TrainingArtifact;
  expect(artifact.manifest.training.fit.batch).toBe("batch");
  const random = (shape: readonly number[], k: number): Tensor<"f32"> => {
    const { data } = numbered(shape);
    return { dtype: "f32", shape, data: data.map((i) => Math.sin(i * k)) };
  };
  const x = random([steps, samples, width], 1.7);
  const y = random([steps, samples, 1], 0.3);
  const scale = Float32Array.of(0.5);
  const whole = await load(artifact);
  const history = await whole.fit({ x, y, scale }, { epochs: 3, batchSize: 4, shuffle: 5, progress: false });

  const cut = (t: Tensor<"f32">, picked: readonly number[]): Tensor<"f32"> => {
    const inner = t.shape[2]!;
    const at = Array.from({ length: steps }, (_, o) =>
      picked.flatMap((s) => [...Array(inner).keys()].map((i) => (o * samples + s) * inner + i)),
    );
    return {
      dtype: "f32",
      shape: [steps, picked.length, inner],
      data: Float32Array.from(at.flat(), (i) => t.data[i]!),
    };
  };
  const byHand = await load(artifact);
  const losses2 = await byHand.fit(
    (epoch) => {
      const order = [...permutation(samples, epochSeed(5, epoch))];
      return [0, 4, 8]
        .map((b) => order.slice(b, b + 4))
        .map((picked) => ({ x: cut(x, picked), y: cut(y, picked), scale }));
    },
    { epochs: 3, progress: false },
  );
  expect(await byHand.save()).toEqual(await whole.save());
  expect(losses2.map((h) => h.loss)).toEqual(history.map((h) => h.loss));
  expect(history[2]!.loss).toBeLessThan(history[0]!.loss);
});
