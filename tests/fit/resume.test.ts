/** A run that is cut anywhere, and goes on from its checkpoint, ends as one that was not cut: with the same bytes. */
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, metrics, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { earlyStopping, reduceOnPlateau } from "../../runtime/callbacks/index.js";
import { dataset } from "../../runtime/data/index.js";
import { type Callbacks, load, type TrainingArtifact, type TrainingSession } from "../../runtime/index.js";

const count = 42;
const x = Float32Array.from({ length: count * 3 }, (_, i) => Math.sin(i * 1.7));
const y = BigInt64Array.from({ length: count }, (_, i) => BigInt(x[3 * i]! > x[3 * i + 1]! ? 1 : 0));
const arrays = { x, y };
const options = { progress: false, batchSize: 8, epochs: 4, validation: arrays } as const;
/** Of an epoch. */
const batches = 6;

let artifact: TrainingArtifact;
beforeAll(async () => {
  const net = nn.sequential({
    fc1: nn.Linear(3, 8),
    norm: nn.BatchNorm1d(8),
    drop: nn.Dropout(0.3),
    act: nn.ReLU(),
    fc2: nn.Linear(8, 2),
  });
  const step = trainStep(net, {
    inputs: { x: ["batch", 3] },
    targets: { y: { dtype: "i64", shape: ["batch"] } },
    loss: losses.crossEntropy(),
    optimizer: optim.Adam({ lr: 0.05 }),
    metrics: { accuracy: metrics.accuracy() },
  });
  artifact = (await compile(step, { variants: ["simd128"] })) as unknown as TrainingArtifact;
});

/** Callbacks with a memory, which end the training too: of the measures, and of all they were told. */
function watching(): { readonly list: readonly Callbacks[]; readonly seen: () => string } {
  let told: unknown[] = [];
  const memory: Callbacks = {
    name: "memory",
    state: () => ({ values: told }),
    onBegin: ({ state }) => {
      told = [...((state?.values as unknown[]) ?? [])];
    },
    onBatch: ({ epoch, batch, loss }) => void told.push([epoch, batch, loss]),
    onEpoch: ({ epoch, loss, metrics: m, validation, learningRate }) =>
      void told.push([epoch, loss, m, validation, learningRate]),
  };
  const plateau = reduceOnPlateau({ monitor: "loss", patience: 0, factor: 0.5, minDelta: 0.02 });
  const stopping = earlyStopping({ monitor: "validation.loss", patience: 3, restoreBest: true });
  return { list: [plateau, stopping, memory], seen: () => JSON.stringify(told) };
}

class Cut extends Error {}

describe.each([
  ["arrays", arrays],
  [
    "a data set that is shuffled",
    dataset({ x: { dtype: "f32", shape: [count, 3], data: x }, y } as never)
      .shuffle({ seed: 3 })
      .batch(8),
  ],
] as const)("training on %s", (_, data) => {
  const batchSize = data === arrays ? 8 : undefined;
  const run = { ...options, batchSize } as const;

  async function whole(): Promise<{ readonly state: Uint8Array; readonly seen: string }> {
    const session = await load<TrainingSession>(artifact);
    const { list, seen } = watching();
    await session.fit(data as never, { ...run, callbacks: list });
    const state = await session.save();
    session.dispose();
    return { state, seen: seen() };
  }

  /** Saved by a callback after so many batches, or epochs, before or behind those with a memory; what comes after it is lost. */
  async function inParts(cut: { readonly batch?: number; readonly epoch?: number; readonly first?: boolean }) {
    const session = await load<TrainingSession>(artifact);
    let saved: Uint8Array<ArrayBuffer> | undefined;
    const save = async () => {
      saved = await session.save();
    };
    let done = 0;
    const saver: Callbacks = {
      onBatch: () => (done++ === cut.batch ? save() : undefined),
      onEpoch: ({ epoch }) => (epoch === cut.epoch ? save() : undefined),
    };
    // Dies a while after.
    const crash: Callbacks = {
      onBatch: () => {
        if (saved && done > (cut.batch ?? batches * (cut.epoch! + 1)) + 3) throw new Cut();
      },
    };
    const { list } = watching();
    const callbacks = cut.first ? [saver, ...list, crash] : [...list, saver, crash];
    await expect(session.fit(data as never, { ...run, callbacks })).rejects.toBeInstanceOf(Cut);
    session.dispose();

    const second = await load<TrainingSession>(artifact);
    await second.restore(saved!);
    const again = watching();
    const others = cut.first ? [{ onBatch() {} }, ...again.list] : again.list;
    await second.fit(data as never, { ...run, batchSize: undefined, callbacks: others });
    const state = await second.save();
    second.dispose();
    return { state, seen: again.seen() };
  }

  it.each([
    { batch: 0 },
    { batch: 2 },
    { batch: 2, first: true },
    { batch: batches - 1 },
    { batch: batches - 1, first: true },
    { batch: 2 * batches + 3 },
    { epoch: 0 },
    { epoch: 1 },
    { epoch: 1, first: true },
    { epoch: 2 },
  ])("goes on bit for bit from %j", async (cut) => {
    const [want, got] = [await whole(), await inParts(cut)];
    expect(got.seen).toBe(want.seen);
    expect(got.state).toEqual(want.state);
  });

  it("of 2 epochs and 2 more is training of 4", async () => {
    const want = await whole();
    const session = await load<TrainingSession>(artifact);
    let saved: Uint8Array<ArrayBuffer> | undefined;
    // At the end, before the best weights are put back.
    const saver: Callbacks = {
      onEnd: async () => {
        saved = await session.save();
      },
    };
    await session.fit(data as never, { ...run, epochs: 2, callbacks: [saver, ...watching().list] });
    await session.restore(saved!);
    const { list, seen } = watching();
    await session.fit(data as never, { ...run, batchSize: undefined, callbacks: list });
    expect(seen()).toBe(want.seen);
    expect(await session.save()).toEqual(want.state);
    session.dispose();
  });

  it("goes on where only the validation was left", async () => {
    const want = await whole();
    const session = await load<TrainingSession>(artifact);
    const controller = new AbortController();
    let left = 2;
    const validation = function* () {
      for (let i = 0; i < 2; i++) {
        if (--left === 0) controller.abort(new Cut());
        yield { x, y };
      }
    } as never;
    let saved: Uint8Array<ArrayBuffer> | undefined;
    const saver: Callbacks = {
      onEnd: async () => {
        saved = await session.save();
      },
    };
    const callbacks = [saver, ...watching().list];
    const cut = session.fit(data as never, { ...run, validation, callbacks, signal: controller.signal });
    await expect(cut).rejects.toBeInstanceOf(Cut);
    session.dispose();
    const second = await load<TrainingSession>(artifact);
    await second.restore(saved!);
    const { list, seen } = watching();
    await second.fit(data as never, { ...run, batchSize: undefined, callbacks: list });
    expect(seen()).toBe(want.seen);
    expect(await second.save()).toEqual(want.state);
    second.dispose();
  });
});

it("what a callback ends at a batch ends with the epoch, also when it is told after going on", async () => {
  const session = await load<TrainingSession>(artifact);
  let saved: Uint8Array<ArrayBuffer> | undefined;
  const save: Callbacks = {
    onBatch: async ({ epoch, batch }) => {
      if (epoch === 1 && batch === 2) saved = await session.save();
    },
  };
  const end: Callbacks = {
    name: "end",
    state: () => ({ values: null }),
    onBatch: ({ epoch, batch }) => !(epoch === 1 && batch === 2),
  };
  const run = { ...options, callbacks: [save, end] };
  const want = await session.fit(arrays, run);
  expect(want.map((e) => e.epoch)).toEqual([0, 1]);
  const state = await session.save();
  await session.restore(saved!);
  const got = await session.fit(arrays, { ...run, batchSize: undefined });
  const { seconds: _, ...last } = got[0]!;
  expect(got).toHaveLength(1);
  expect(want[1]).toMatchObject(last);
  expect(await session.save()).toEqual(state);
  session.dispose();
});
