/** wasmith/callbacks, and the history that draws itself. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import protobuf from "protobufjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  checkpoints,
  csvLogger,
  earlyStopping,
  findLearningRate,
  jsonLinesLogger,
  reduceOnPlateau,
  tensorBoard,
} from "../../runtime/callbacks/index.js";
import { maskedCrc } from "../../runtime/callbacks/tensorboard.js";
import { History } from "../../runtime/history.js";
import { type BatchEvent, type EpochEvent, load, type TrainingSession } from "../../runtime/index.js";
import { trainArtifact } from "../runtime/fixture.js";

const count = 50;
const x = Float32Array.from({ length: count * 2 }, (_, i) => Math.fround(Math.sin(i * 1.7)));
const y = Float32Array.from({ length: count }, (_, i) => Math.fround(2 * x[2 * i]! - 3 * x[2 * i + 1]!));
const dataset = { x, y };
const train = async (): Promise<TrainingSession> => load<TrainingSession>(await trainArtifact());
const quiet = { progress: false, batchSize: 8 } as const;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "wasmith-callbacks-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const weight = (s: TrainingSession): number[] => Array.from(s.getState("linear.weight").data as Float32Array);

/** Sets the weight at the end of each epoch, so that the next validation has a known loss. */
const steered = (session: TrainingSession, errors: readonly number[]) => ({
  onBatch({ epoch, batch }: BatchEvent): void {
    if (batch === 6) session.setState("linear.weight", Float32Array.of(2 + errors[epoch]!, -3));
  },
});

describe("earlyStopping", () => {
  it("counts epochs that are no better, and restores the best weights", async () => {
    const session = await train();
    const errors = [0.5, 0.2, 0.3, 0.1, 0.1, 0.4, 0.05];
    const history = await session.fit(dataset, {
      ...quiet,
      epochs: 7,
      validation: dataset,
      callbacks: [steered(session, errors), earlyStopping({ patience: 2, restoreBest: true })],
    });
    expect(history.map((e) => e.epoch)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(weight(session)).toEqual([Math.fround(2.1), -3]);
    session.dispose();
  });

  it("takes a change below minDelta for none, a larger one as better with max, and watches the training loss without validation", async () => {
    const session = await train();
    const epochs = async (errors: readonly number[], options: object): Promise<number> => {
      const callbacks = [steered(session, errors), earlyStopping(options)];
      const run = { ...quiet, epochs: errors.length, firstEpoch: 0, validation: dataset, callbacks };
      return (await session.fit(dataset, run)).length;
    };
    expect(await epochs([0.5, 0.49, 0.1], { minDelta: 0.05 })).toBe(2);
    expect(await epochs([0.5, 0.6, 0.7, 0.6, 0.9], { monitor: "validation.mae", mode: "max" })).toBe(4);
    const plain = { ...quiet, epochs: 40, firstEpoch: 0, callbacks: earlyStopping({ minDelta: 1e-3 }) };
    const history = await session.fit(dataset, plain);
    expect(history.length).toBeLessThan(40);
    session.dispose();
  });

  it("names measures that there are, and options that there are not", async () => {
    const session = await train();
    const run = (options: object) => session.fit(dataset, { ...quiet, callbacks: earlyStopping(options) });
    await expect(run({ monitor: "acuracy" })).rejects.toThrow(
      /^earlyStopping, option monitor: nothing is called "acuracy"\n {2}→ there are: loss, mae; .*validation of fit/,
    );
    await expect(run({ monitor: "mae" })).rejects.toThrow(/whether a smaller or a larger mae is better/);
    expect(() => earlyStopping({ patiense: 3 } as never)).toThrow(/"patiense".*earlyStopping has no such option/);
    expect(() => earlyStopping({ patience: -1 })).toThrow(/option patience: expected/);
    expect(() => checkpoints({} as never)).toThrow(/option path: it is missing/);
    await expect(session.fit(dataset, { ...quiet, callbacks: csvLogger({}) })).rejects.toThrow("no path to write to");
    await expect(
      session.fit(dataset, { ...quiet, callbacks: csvLogger({ path: join(folder, "no/log.csv") }) }),
    ).rejects.toThrow(/its folder does not exist/);
    session.dispose();
  });
});

it("reduceOnPlateau lowers the rate as PyTorch's does", async () => {
  const session = await train();
  const errors = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 0.5, 0.5];
  const history = await session.fit(dataset, {
    ...quiet,
    epochs: errors.length,
    validation: dataset,
    callbacks: [steered(session, errors), reduceOnPlateau({ patience: 1, factor: 0.5, cooldown: 1, minRate: 0.03 })],
  });
  // torch.optim.lr_scheduler.ReduceLROnPlateau(patience=1, factor=0.5, cooldown=1, min_lr=0.03), the rate after each step. The event
  // is made before the callback acts.
  const after = [...history.slice(1).map((e) => e.learningRate), session.learningRate];
  expect(after.map((r) => Number(r!.toFixed(4)))).toEqual([0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03, 0.03]);
  session.dispose();
});

describe("checkpoints", () => {
  it("keeps the last, the best and every so many, and a run that goes on knows the best", async () => {
    const path = join(folder, "run");
    const options = { ...quiet, epochs: 6, validation: dataset };
    const errors = [0.5, 0.1, 0.3, 0.2, 0.15, 0.05];
    const whole = await train();
    await whole.fit(dataset, { ...options, callbacks: steered(whole, errors) });

    const first = await train();
    const crash = { onEpoch: ({ epoch }: EpochEvent) => (epoch === 3 ? Promise.reject(new Error("crash")) : true) };
    const callbacks = checkpoints({ path, every: 2, everyBatches: 5 });
    const run = first.fit(dataset, { ...options, callbacks: [steered(first, errors), callbacks, crash] });
    await expect(run).rejects.toThrow("crash");
    const files = ["batch.safetensors", "best.json", "best.safetensors", "epoch-1.safetensors"];
    const all = [...files, "epoch-3.safetensors", "last.safetensors"].map((f) => `run.${f}`);
    expect(readdirSync(folder).filter((f) => f.startsWith("run."))).toEqual(all);
    const best = await train();
    await best.restore(`${path}.best.safetensors`);
    expect(weight(best)).toEqual([Math.fround(2.1), -3]);

    for (const from of ["last", "batch"]) {
      const second = await train();
      await second.restore(`${path}.${from}.safetensors`);
      const seen: number[] = [];
      await second.fit(dataset, {
        ...options,
        callbacks: [
          steered(second, errors),
          checkpoints({ path, last: false }),
          {
            onEpoch: ({ epoch }) => {
              seen.push(epoch, JSON.parse(readFileSync(`${path}.best.json`, "utf8")).epoch);
            },
          },
        ],
      });
      // Batch 25 of 7 an epoch is in the midst of epoch 3. The best stays until the last epoch beats it.
      expect(seen).toEqual(from === "last" ? [4, 1, 5, 5] : [3, 5, 4, 5, 5, 5]);
      expect(await second.save()).toEqual(await whole.save());
      second.dispose();
    }
    for (const s of [whole, first, best]) s.dispose();
  });
});

describe("loggers", () => {
  it("write tables and lines, and go on in them", async () => {
    const [csv, lines] = [join(folder, "log.csv"), join(folder, "log.jsonl")];
    writeFileSync(csv, "what an earlier run left\n");
    const session = await train();
    const callbacks = () => [csvLogger({ path: csv }), jsonLinesLogger({ path: lines, every: "batch" as const })];
    const options = { ...quiet, epochs: 3, validation: dataset };
    let saved: Uint8Array<ArrayBuffer> | undefined;
    const stop = {
      onEpoch: async ({ epoch }: EpochEvent) => {
        if (epoch === 1) saved = await session.save();
        return epoch < 1;
      },
    };
    const before = await session.fit(dataset, { ...options, callbacks: [...callbacks(), stop] });
    await session.restore(saved!);
    const after = await session.fit(dataset, { ...options, callbacks: callbacks() });
    const rows = readFileSync(csv, "utf8").trimEnd().split("\n");
    expect(rows[0]).toBe("epoch,loss,mae,validation.loss,validation.mae,learningRate,seconds");
    const all = [...before, ...after];
    expect(rows.slice(1)).toEqual(
      all.map((e) =>
        [
          e.epoch,
          e.loss,
          e.metrics.mae,
          e.validation!.loss,
          e.validation!.metrics.mae,
          e.learningRate,
          e.seconds,
        ].join(),
      ),
    );
    const events = readFileSync(lines, "utf8")
      .trimEnd()
      .split("\n")
      .map((l) => JSON.parse(l));
    expect(events.length).toBe(3 * 8);
    expect(events[7]).toEqual(all[0]);
    expect(events[3]).toMatchObject({ epoch: 0, batch: 3, batches: 7 });
    const told: string[] = [];
    await session.fit(dataset, { ...quiet, callbacks: csvLogger({ write: (text) => told.push(text) }) });
    expect(told).toEqual([expect.stringMatching(/^epoch,loss,mae/), expect.stringMatching(/^0,/)]);
    session.dispose();
  });

  it("write event files that TensorBoard's own definitions read", async () => {
    // Check value of CRC-32C: "123456789" gives e3069283.
    const crc = 0xe3069283;
    const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    expect(maskedCrc(new TextEncoder().encode("123456789"))).toBe(masked);
    const { root } = protobuf.parse(`syntax = "proto3"; package tensorflow;
      message Event { double wall_time = 1; int64 step = 2; oneof what { string file_version = 3; bytes graph_def = 4; Summary summary = 5; } }
      message Summary { message Value { string tag = 1; oneof value { float simple_value = 2; } } repeated Value value = 1; }`);
    const Event = root.lookupType("tensorflow.Event");
    const session = await train();
    const board = join(folder, "board", "run1");
    const history = await session.fit(dataset, {
      ...quiet,
      epochs: 200,
      validation: dataset,
      callbacks: tensorBoard({ folder: board, everyBatches: 5 }),
    });
    const [file] = readdirSync(board);
    expect(file).toMatch(/^events\.out\.tfevents\.\d{10}\./);
    const bytes = new Uint8Array(readFileSync(join(board, file!)));
    const view = new DataView(bytes.buffer);
    const events: {
      wallTime: number;
      step: number;
      fileVersion?: string;
      summary?: { value: { tag: string; simpleValue: number }[] };
    }[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = Number(view.getBigUint64(at, true));
      expect(view.getUint32(at + 8, true)).toBe(maskedCrc(bytes.subarray(at, at + 8)));
      const data = bytes.subarray(at + 12, at + 12 + length);
      expect(view.getUint32(at + 12 + length, true)).toBe(maskedCrc(data));
      events.push(Event.toObject(Event.decode(data), { longs: Number }) as never);
      at += length + 16;
    }
    expect(events[0]!.fileVersion).toBe("brain.Event:2");
    expect(Math.abs(events[0]!.wallTime - Date.now() / 1000)).toBeLessThan(600);
    const epochs = events.filter((e) => e.summary?.value[0]?.tag === "epoch/loss");
    expect(epochs.map((e) => e.step ?? 0)).toEqual(history.map((e) => e.epoch));
    const last = history.at(-1)!;
    expect(Object.fromEntries(epochs.at(-1)!.summary!.value.map((v) => [v.tag, v.simpleValue]))).toEqual({
      "epoch/loss": Math.fround(last.loss),
      "epoch/mae": Math.fround(last.metrics.mae!),
      "epoch/validation/loss": Math.fround(last.validation!.loss),
      "epoch/validation/mae": Math.fround(last.validation!.metrics.mae!),
      "epoch/learningRate": Math.fround(0.1),
      "epoch/seconds": Math.fround(last.seconds),
    });
    const batches = events.filter((e) => e.summary?.value[0]?.tag === "batch/loss");
    expect(batches.map((e) => e.step)).toEqual(Array.from({ length: 280 }, (_, i) => 5 * (i + 1)));
    session.dispose();
  });
});

it("findLearningRate finds where the loss falls, and leaves all as it was", async () => {
  const session = await train();
  let saved: Uint8Array<ArrayBuffer> | undefined;
  await session.fit(dataset, {
    ...quiet,
    epochs: 2,
    callbacks: {
      onBatch: async ({ batch }) => {
        if (batch === 3) saved = await session.save();
        return saved === undefined;
      },
    },
  });
  await session.restore(saved!);
  const before = await session.save();
  const { curve, suggestion } = await findLearningRate(session, dataset, { batchSize: 8, from: 1e-4, to: 100 });
  expect(await session.save()).toEqual(before);
  expect(curve.length).toBeGreaterThan(20);
  // It ends at the rate at which the loss diverges.
  expect(curve.length).toBeLessThan(100);
  expect(curve[0]).toMatchObject({ rate: 1e-4, smoothed: expect.closeTo(curve[0]!.loss, 6) });
  expect(curve[1]!.rate / curve[0]!.rate).toBeCloseTo(1e6 ** (1 / 99));
  expect(suggestion).toBeGreaterThan(1e-3);
  expect(suggestion).toBeLessThan(3);
  await expect(findLearningRate(session, dataset, { to: 1e-9 })).rejects.toThrow(/option to: expected more than/);
  session.dispose();
});

describe("the history", () => {
  it("is an array of epochs, with a thinned curve of all batches", async () => {
    const session = await train();
    const seen: number[] = [];
    const callbacks = { onBatch: (e: BatchEvent) => void seen.push(e.loss) };
    const history = await session.fit(dataset, { epochs: 100, batchSize: 1, progress: false, callbacks });
    expect(Array.isArray(history.filter((e) => e.epoch > 1))).toBe(true);
    expect(JSON.parse(JSON.stringify(history)).length).toBe(100);
    const { stride, losses } = history.curve;
    expect([stride, losses.length]).toEqual([4, 1250]);
    const means = losses.map((_, i) => seen.slice(4 * i, 4 * i + 4).reduce((a, v) => a + v / 4, 0));
    expect(losses).toEqual(means.map((v) => expect.closeTo(v, 6)));
    session.dispose();
  });

  it("draws itself as an SVG, whatever the values are", async () => {
    const value = fc.oneof(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.constantFrom(0, NaN, Infinity, 1e-30, 5, 5 + 1e-15, 5e-324),
    );
    const epochs = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(epochs, async (values) => {
        const history = new History();
        values.forEach(([loss, mae], epoch) => {
          history.note(loss);
          const validation = { loss: mae, metrics: { mae: loss } };
          history.push({ epoch, loss, metrics: { mae }, validation, seconds: 1, learningRate: null });
        });
        const svg = await history.toSVG("<Digits> & co");
        const open: string[] = [];
        for (const [, close, name, own] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
          if (close) expect(open.pop()).toBe(name);
          else if (!own) open.push(name!);
        }
        expect(open).toEqual([]);
        expect(svg).toContain("<title>&lt;Digits&gt; &amp; co</title>");
        expect(svg).not.toMatch(/NaN|Infinity|undefined/);
        const paths = [...svg.matchAll(/<path class="[ab]" d="([^"]*)"/g)].map(
          (m) => m[1]!.match(/[ML]/g)?.length ?? 0,
        );
        const finite = (list: readonly number[]) => list.filter(Number.isFinite).length;
        const [a, b] = [finite(values.map((v) => v[0])), finite(values.map((v) => v[1]))];
        const measures = a + b > 0 ? [a, b].filter((n) => n > 0) : [];
        expect(paths).toEqual([...measures, ...[...measures].reverse(), ...(a > 0 ? [a] : []), values.length]);
        for (const [, x, y] of svg.matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)) {
          expect(Number(x)).toSatisfy((v: number) => v >= 64 && v <= 428);
          expect(Number(y)).toSatisfy((v: number) => v >= 36 && v <= 220);
        }
      }),
      {
        numRuns: 60,
        examples: [[[[Infinity, 0]]], [[[NaN, NaN]]], [[[0, Infinity]]], [[[0, 5e-324]]], [[[5, 5 + 1e-15]]]],
      },
    );
  });

  it("draws itself as one page that loads nothing", async () => {
    const session = await train();
    const history = await session.fit(dataset, { ...quiet, epochs: 3, validation: dataset });
    const page = await history.toHTML("<Digits> & co");
    expect(page).toContain("<title>&lt;Digits&gt; &amp; co</title>");
    expect(page).toContain("Permission is hereby granted");
    expect(page).not.toMatch(/<(link|img|iframe)\b|\bsrc=|@import|url\(/);
    const data = JSON.parse(/<script type="application\/json" id="data">(.*?)<\/script>/s.exec(page)![1]!);
    expect(data.map((c: { title: string }) => c.title)).toEqual([
      "Loss",
      "mae",
      "Loss of each batch",
      "Learning rate",
      "Seconds of an epoch",
    ]);
    expect(data[0].series).toEqual([
      { label: "training", values: history.map((e) => e.loss) },
      { label: "validation", values: history.map((e) => e.validation!.loss) },
    ]);
    session.dispose();
  });
});
