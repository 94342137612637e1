/** Batches: what becomes of the values of elements, padding, buckets, and how `fit` takes data sets. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dataset, dataset } from "../../runtime/data/index.js";
import { type Feeds, load, type Tensor, TrainingSession } from "../../runtime/index.js";
import { trainArtifact } from "../runtime/fixture.js";

const range = (n: number): number[] => [...Array(n).keys()];
const list = (t: unknown): number[] => Array.from((t as Tensor).data as Float32Array, Number);
const first = async <T>(d: Dataset<T>): Promise<T> => d.at(0);

describe("batch", () => {
  it("makes tensors of numbers, rows and nested arrays, and lists of all else", async () => {
    const elements = [
      { n: 1, b: true, big: 5n, row: Float64Array.of(1, 2), nested: [[1], [2]], text: "a", tags: ["x"] },
      { n: 2.5, b: false, big: 6n, row: Float64Array.of(3, 4), nested: [[3], [4]], text: "b", tags: [] },
    ];
    expect(await first(dataset(elements).batch(2))).toEqual({
      n: { dtype: "f32", shape: [2], data: Float32Array.of(1, 2.5) },
      b: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
      big: { dtype: "i64", shape: [2], data: BigInt64Array.of(5n, 6n) },
      row: { dtype: "f64", shape: [2, 2], data: Float64Array.of(1, 2, 3, 4) },
      nested: { dtype: "f32", shape: [2, 2, 1], data: Float32Array.of(1, 2, 3, 4) },
      text: ["a", "b"],
      tags: [["x"], []],
    });
    expect(await first(dataset([1, 2, 3]).batch(2))).toEqual({ dtype: "f32", shape: [2], data: Float32Array.of(1, 2) });
    expect(await first(dataset(["a", "b"]).batch(2))).toEqual(["a", "b"]);
  });

  it("are what a session takes, by their type too, where all fields are tensors", async () => {
    const feeds: Feeds = await first(dataset({ x: Float32Array.of(1, 2), y: Int32Array.of(3, 4) }).batch(2));
    expect(list(feeds.x)).toEqual([1, 2]);
    const { tag }: { readonly tag: readonly string[] } = await first(dataset([{ tag: "a", n: 1 }]).batch(1));
    expect(tag).toEqual(["a"]);
  });

  it("keeps the dtype of columns, and takes another one where all values fit", async () => {
    const d = dataset({ y: Int32Array.of(1, 2), z: Uint8Array.of(3, 4) });
    expect(await first(d.batch(2))).toMatchObject({ y: { dtype: "i32" }, z: { dtype: "u8" } });
    const other = await first(d.batch(2, { dtypes: { y: "i64", z: "f16" } }));
    expect(other.y).toEqual({ dtype: "i64", shape: [2], data: BigInt64Array.of(1n, 2n) });
    expect(other.z).toEqual({ dtype: "f16", shape: [2], data: Uint16Array.of(0x4200, 0x4400) });
    const half = d.map(({ y }) => ({ y: y / 2 })).batch(2);
    await expect(first(half)).rejects.toThrow(
      /field "y": 0.5 \(number 0 of the batch\) is no i32\n.*dtypes: \{ y: "f32" \}/,
    );
    for (const [dtype, value] of [
      ["u8", 256],
      ["u8", -1],
      ["i64", 0.5],
      ["u64", -1n],
      ["bool", 2],
      ["i8", NaN],
      ["i64", 2 ** 60],
    ] as const)
      await expect(first(dataset([{ v: value }]).batch(1, { dtypes: { v: dtype } }))).rejects.toThrow(
        /field "v": .* is no/,
      );
    expect(await first(dataset([{ v: Number.NaN }]).batch(1))).toMatchObject({ v: { dtype: "f32" } });
  });

  it("converts plain numbers, typed arrays and tensors alike", async () => {
    const held = {
      f32: Float32Array,
      f64: Float64Array,
      i8: Int8Array,
      u16: Uint16Array,
      i32: Int32Array,
      u8: Uint8Array,
    };
    const names = Object.keys(held) as (keyof typeof held)[];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 127 }), { minLength: 2, maxLength: 5 }),
        fc.constantFrom(...names),
        fc.constantFrom(...names, "i64" as const, "f16" as const, "bf16" as const),
        async (numbers, from, to) => {
          const dtypes = { x: to };
          const plain = await first(dataset([{ x: numbers }]).batch(1, { dtypes }));
          const data = held[from].from(numbers);
          expect(await first(dataset([{ x: data }]).batch(1, { dtypes }))).toEqual(plain);
          const tensor = { dtype: from, shape: [numbers.length], data };
          expect(await first(dataset([{ x: tensor }]).batch(1, { dtypes }))).toEqual(plain);
          const back = await first(
            dataset([{ x: { ...(plain.x as object), shape: [numbers.length] } }]).batch(1, { dtypes: { x: from } }),
          );
          expect(back).toEqual({ x: { dtype: from, shape: [1, numbers.length], data } });
        },
      ),
    );
    await expect(first(dataset([{ x: Float32Array.of(0.5) }]).batch(1, { dtypes: { x: "i32" } }))).rejects.toThrow(
      /field "x": 0.5 .* is no i32/,
    );
  });

  it("puts the batch where it is asked for, as numpy's stack does", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(3),
        async (shape, n, a) => {
          const axis = Math.min(a, shape.length);
          const size = shape.reduce((p, d) => p * d, 1);
          const rows = range(n).map(
            (i): Tensor => ({ dtype: "f32", shape, data: Float32Array.from(range(size), (j) => i * size + j) }),
          );
          const { x } = await first(dataset(rows.map((row) => ({ x: row }))).batch(n, { axis: { x: axis } }));
          const got = x as Tensor;
          expect(got.shape).toEqual([...shape.slice(0, axis), n, ...shape.slice(axis)]);
          const inner = shape.slice(axis).reduce((p, d) => p * d, 1);
          const want = range(n * size).map((at) => {
            const [i, rest] = [Math.floor(at / inner) % n, at % inner];
            return i * size + Math.floor(at / inner / n) * inner + rest;
          });
          expect(list(got)).toEqual(want);
        },
      ),
    );
  });

  it("makes a smaller batch of what remains, or leaves it out", async () => {
    for (const d of [dataset(range(7)), dataset(new Set(range(7)))]) {
      expect((await d.batch(3).toArray()).map(list)).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
      expect((await d.batch(3, { dropLast: true }).toArray()).map(list)).toEqual([
        [0, 1, 2],
        [3, 4, 5],
      ]);
    }
    expect(await dataset(range(7)).batch(3).length()).toBe(3);
    expect(await dataset(range(7)).batch(3, { dropLast: true }).length()).toBe(2);
  });

  it("says which element does not fit the others", async () => {
    const wrong: readonly [readonly unknown[], RegExp][] = [
      [[{ x: [1, 2] }, { x: [1] }], /field "x": element 1 is f32\[1\], element 0 is f32\[2\]\n.*pad it/],
      [[{ x: 1 }, { y: 1 }], /batch: element 1 has the fields y, element 0 has x/],
      [[{ x: 1 }, 2], /batch: element 1 has no fields/],
      [[{ x: 1 }, { x: "1" }], /field "x": "1" \(number 1 of the batch\) is no f32/],
      [[{ x: [[1], [2, 3]] }], /field "x": element 0 is a nested array of uneven lengths/],
      [
        [{ x: new Float32Array(2) }, { x: new Int32Array(2) }],
        /field "x": element 1 is i32\[2\], element 0 is f32\[2\]/,
      ],
      [
        [{ x: { dtype: "f32", shape: [3], data: new Float32Array(2) } }],
        /element 0: shape \[3\] with 2 elements of data/,
      ],
    ];
    for (const [elements, message] of wrong) await expect(first(dataset(elements).batch(5))).rejects.toThrow(message);
    await expect(first(dataset([{ x: 1 }]).batch(1, { dtypes: { y: "f32" } }))).rejects.toThrow(
      /no field "y"\n.*fields are: x/,
    );
    await expect(first(dataset([{ x: [1] }]).batch(1, { axis: { x: 2 } }))).rejects.toThrow(
      /can't be axis 2 of elements of shape \[1\]/,
    );
  });
});

describe("padding", () => {
  it("fills up at either side, cuts, gives lengths and masks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom("end" as const, "start" as const),
        fc.option(fc.integer({ min: 1, max: 6 })),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(1),
        async (rows, side, length, multiple, axis) => {
          const d = dataset(rows.map((r) => ({ t: Int32Array.from(r) })));
          const pad = {
            t: { value: -1, side, multiple, truncate: true, lengths: "n", mask: "m", ...(length ? { length } : {}) },
          };
          const batch = await first(d.batch(rows.length, { pad, axis: { t: axis } }));
          const to = Math.ceil((length ?? Math.max(...rows.map((r) => r.length))) / multiple) * multiple;
          const want = rows.map((r) => {
            const kept = side === "end" ? r.slice(0, to) : r.slice(Math.max(0, r.length - to));
            const fill = Array<number>(to - kept.length).fill(-1);
            return side === "end" ? [...kept, ...fill] : [...fill, ...kept];
          });
          const across = (table: readonly (readonly number[])[]) =>
            axis === 0 ? table.flat() : range(to).flatMap((i) => table.map((row) => row[i]!));
          expect((batch.t as Tensor).shape).toEqual(axis === 0 ? [rows.length, to] : [to, rows.length]);
          expect(list(batch.t)).toEqual(across(want));
          expect(list(batch.m)).toEqual(across(want.map((r) => r.map((x) => Number(x >= 0)))));
          expect(batch.n).toEqual({
            dtype: "i32",
            shape: [rows.length],
            data: Int32Array.from(rows, (r) => Math.min(r.length, to)),
          });
        },
      ),
    );
  });

  it("pads rows of features, and elements before they are in batches", async () => {
    const x = (n: number): Tensor => ({
      dtype: "f32",
      shape: [n, 2],
      data: Float32Array.from(range(2 * n), (i) => i + 1),
    });
    const d = dataset([{ x: x(1) }, { x: x(2) }]);
    const { x: batch } = await first(d.batch(2, { pad: { x: 0 }, axis: { x: 1 } }));
    expect((batch as Tensor).shape).toEqual([2, 2, 2]);
    expect(list(batch)).toEqual([1, 2, 1, 2, 0, 0, 3, 4]);
    const single = d.pad({ x: { length: 2, lengths: "n", mask: "m" } });
    expect(await single.at(0)).toEqual({
      x: { dtype: "f32", shape: [2, 2], data: Float32Array.of(1, 2, 0, 0) },
      n: 1,
      m: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
    });
    await expect(d.pad({ x: { length: 1 } }).at(1)).rejects.toThrow(
      /field "x": element 0 has length 2, more than 1\n.*truncate/,
    );
    await expect(d.pad({ x: { length: 4, lengths: "x" } }).at(1)).rejects.toThrow(/there is a field "x" already/);
    await expect(d.pad({ y: { length: 4 } }).at(1)).rejects.toThrow(/no field "y"/);
  });
});

describe("buckets", () => {
  it("hold elements of like lengths, all of them once, the same for the same seed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 40 }),
        fc.boolean(),
        async (lengths, dropLast) => {
          const d = dataset(lengths.map((n, id) => ({ id, t: Array<number>(n).fill(1) }))).shuffle({ seed: 3 });
          const options = {
            by: "t",
            bounds: [2, 6],
            size: [4, 3, 2],
            dropLast,
            pad: { t: { value: 0, lengths: "n" } },
          } as const;
          const batches = await d.bucket(options).toArray(2);
          const bucketOf = (n: number) => (n <= 2 ? 0 : n <= 6 ? 1 : 2);
          for (const b of batches) {
            const kinds = new Set(list(b.n).map(bucketOf));
            expect(kinds.size).toBe(1);
            expect(list(b.n).length).toBeLessThanOrEqual([4, 3, 2][[...kinds][0]!]!);
            expect(list(b.t).reduce((x, y) => x + y, 0)).toBe(list(b.n).reduce((x, y) => x + y, 0));
          }
          const ids = batches.flatMap((b) => list(b.id));
          expect(new Set(ids).size).toBe(ids.length);
          if (!dropLast) expect(ids.length).toBe(lengths.length);
          expect(await d.bucket(options).toArray(2)).toEqual(batches);
          const rest: unknown[] = [];
          for await (const b of d.bucket(options).epoch(2, 1)) rest.push(b);
          expect(rest).toEqual(batches.slice(1));
        },
      ),
    );
  });
});

describe("fields that padding makes", () => {
  it("have the dtypes that are asked for", async () => {
    const d = dataset([{ ids: [5, 6, 7] }, { ids: [8] }]);
    const pad = { ids: { value: 0, lengths: "n", mask: "m" } } as const;
    const dtypes = { ids: "i64", n: "i64", m: "f32" } as const;
    const wanted = {
      ids: { dtype: "i64", shape: [2, 3], data: BigInt64Array.of(5n, 6n, 7n, 8n, 0n, 0n) },
      n: { dtype: "i64", shape: [2], data: BigInt64Array.of(3n, 1n) },
      m: { dtype: "f32", shape: [2, 3], data: Float32Array.of(1, 1, 1, 1, 0, 0) },
    };
    expect(await first(d.batch(2, { pad, dtypes }))).toEqual(wanted);
    expect(await first(d.bucket({ by: "ids", bounds: [4], size: 2, pad, dtypes }))).toEqual(wanted);
    await expect(first(d.batch(2, { pad, dtypes: { length: "i64" } }))).rejects.toThrow(/no field "length"/);
  });
});

describe("fit", () => {
  const samples = 50;
  const x = Float32Array.from({ length: samples * 2 }, (_, i) => Math.sin(i * 1.7));
  const y = Float32Array.from({ length: samples }, (_, i) => 2 * x[2 * i]! - 3 * x[2 * i + 1]!);
  const rows: Tensor = { dtype: "f32", shape: [samples, 2], data: x };
  const train = async (): Promise<TrainingSession> => load<TrainingSession>(await trainArtifact());

  it("trains on data sets bit for bit as on arrays, in batches or not, and resumes", async () => {
    const whole = await train();
    const history = await whole.fit({ x, y }, { epochs: 6, batchSize: 8, shuffle: 5 });
    const d = dataset({ x: rows, y }).shuffle({ seed: 5 });
    const plain = range(samples).map((i) => ({ y: y[i]!, x: [x[2 * i]!, x[2 * i + 1]!] }));
    const forms: readonly [Dataset<unknown>, number | undefined][] = [
      [d.batch(8), undefined],
      [d, 8],
      [d.batch(8).prefetch(3), undefined],
      [dataset(() => d.batch(8), { batched: true }), undefined],
      [
        dataset(plain)
          .shuffle({ seed: 5 })
          .map(async (e) => e),
        8,
      ],
    ];
    for (const [data, batchSize] of forms) {
      const session = await train();
      expect(session).toBeInstanceOf(TrainingSession);
      const half = await session.fit(data as never, { epochs: 3, batchSize });
      const other = await train();
      await other.restore(await session.save());
      const rest = await other.fit(data as never, { epochs: 3, firstEpoch: 3, batchSize });
      expect([...half, ...rest].map((h) => h.loss)).toEqual(history.map((h) => h.loss));
      expect(await other.save()).toEqual(await whole.save());
      expect(await other.evaluate(data as never, { batchSize })).toEqual(await other.evaluate(d.batch(8) as never));
    }
  });

  it("refuses options that are for arrays alone", async () => {
    const session = await train();
    const d = dataset({ x: rows, y });
    const batches = await d.batch(8).toArray();
    await expect(session.fit(d as never, { shuffle: 1 })).rejects.toThrow(
      /option shuffle: it is for arrays; this data set comes in its own order\n.*dataset\.shuffle\(\{ seed \}\)/,
    );
    await expect(session.fit(d.batch(8) as never, { batchSize: 8 })).rejects.toThrow(/option batchSize: .*already/);
    for (const [option, value] of [
      ["shuffle", 0],
      ["batchSize", 8],
    ] as const)
      for (const source of [batches, () => batches])
        await expect(session.fit(source as never, { [option]: value })).rejects.toThrow(
          new RegExp(`option ${option}: it is for arrays; these batches come as they are made`),
        );
    await expect(session.evaluate(batches as never, { batchSize: 8 })).rejects.toThrow(/option batchSize/);
    // Neither says anything of the validation.
    for (const validation of [batches, d.batch(5), d])
      await session.fit({ x, y }, { batchSize: 8, shuffle: 3, validation: validation as never });
    await session.fit(batches as never, { shuffle: false });
    session.dispose();
  });

  it("goes on in the midst of an epoch from a checkpoint, bit for bit, without being told where", async () => {
    const noisy = dataset({ x: rows, y })
      .shuffle({ seed: 5 })
      .map((e, { random }) => ({ ...e, y: Math.fround(e.y + random.normal() / 10) }), { seed: 6 });
    const stream = dataset(async function* () {
      for await (const e of dataset({ x: rows, y })) yield e;
    });
    const forms: Readonly<Record<string, Dataset<unknown>>> = {
      "of arrays": noisy.batch(8).prefetch(3),
      "not in batches": noisy,
      "of a stream": stream.shuffle({ seed: 2, buffer: 10 }).batch(8, { dropLast: true }),
      filtered: noisy.filter(({ y }) => y > -1).batch(8),
    };
    for (const [name, data] of Object.entries(forms)) {
      const options = { epochs: 3, progress: false, ...(data === noisy ? { batchSize: 8 } : {}) };
      const whole = await train();
      const history = await whole.fit(data as never, options);
      const killed = await train();
      let checkpoint: Uint8Array | undefined;
      const onBatch = async ({ epoch, batch }: { epoch: number; batch: number }) => {
        if (epoch !== 1 || batch !== 2) return;
        checkpoint = await killed.save();
        throw new Error("killed");
      };
      await expect(killed.fit(data as never, { ...options, callbacks: { onBatch } })).rejects.toThrow("killed");
      const resumed = await train();
      await resumed.restore(checkpoint!);
      const rest = await resumed.fit(data as never, options);
      expect([name, rest.map((h) => h.loss)]).toEqual([name, history.slice(1).map((h) => h.loss)]);
      expect([name, await resumed.save()]).toEqual([name, await whole.save()]);
    }
  });

  it("can begin at any batch of any epoch", async () => {
    const d = dataset({ x: rows, y }).shuffle({ seed: 5 });
    const inputs = [
      { name: "x", dtype: "f32", axis: 0 },
      { name: "y", dtype: "f32", axis: 0 },
    ] as const;
    for (const data of [d.batch(8), d, dataset(() => d)]) {
      const request = { epoch: 2, size: 8, sizeGiven: false, least: 1, inputs };
      const collect = async (from: number): Promise<unknown[]> => {
        const all: unknown[] = [];
        const batches = await data.batches({ ...request, from });
        expect(batches.count).toBe(7);
        for await (const b of batches) all.push(b);
        return all;
      };
      const all = await collect(0);
      expect(all).toEqual(await d.batch(8).toArray(2));
      for (const from of [1, 6, 7]) expect(await collect(from)).toEqual(all.slice(from));
    }
  });

  it("learns how many batches there are, and refuses what does not fit", async () => {
    const session = await train();
    const counts = new Set<number | null>();
    await session.fit(dataset({ x: rows, y }).batch(20) as never, {
      callbacks: { onBatch: (e) => counts.add(e.batches) },
    });
    expect([...counts]).toEqual([3]);
    const d = dataset({ x: rows, y });
    const wrong: readonly [Dataset<unknown>, object, RegExp][] = [
      [d.batch(8), { batchSize: 8 }, /option batchSize: the data set is in batches already/],
      [dataset(() => d.batch(8)), {}, /the function's data set is in batches\n.*batched: true/],
      [d.take(0), {}, /dataset: its elements make no batch of 32/],
      [d.map(({ y }) => ({ y })), {}, /input "x": missing/],
      [d.map((e) => ({ ...e, id: 1 })), {}, /input "id": the model has no such input/],
    ];
    for (const [data, options, message] of wrong)
      await expect(session.fit(data as never, options)).rejects.toThrow(message);
  });

  it("gets its batches while a worker is at a step", async () => {
    const session = await load<TrainingSession>(await trainArtifact(), { background: true });
    let running = false;
    let overlapped = 0;
    const d = dataset({ x: rows, y })
      .map((e) => {
        if (running) overlapped++;
        return e;
      })
      .batch(5)
      .prefetch(2);
    const step = session.step.bind(session);
    for await (const batch of d) {
      running = true;
      await step(batch as never);
      running = false;
    }
    expect(overlapped).toBeGreaterThan(0);
    session.dispose();
  });
});
