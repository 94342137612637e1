/** Pipelines: what they give, that they give the same again from any place, and what they say where they can't. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dataset, dataset, Random, randomOf } from "../../runtime/data/index.js";
import type { Tensor } from "../../runtime/index.js";
import { epochSeed, permutation } from "../../runtime/order.js";

const range = (n: number): number[] => [...Array(n).keys()];
async function* streamOf<T>(items: readonly T[]): AsyncGenerator<T> {
  for (const item of items) yield item;
}
const numbers = (t: unknown): number[] => Array.from((t as Tensor).data as Float32Array, Number);

/** Something that may be done to a data set of numbers, as text for the report of a failure. */
type Step = readonly [string, (d: Dataset<number>) => Dataset<number>];
const small = fc.integer({ min: 0, max: 12 });
const seed = fc.integer({ min: 0, max: 1000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>(["map", (d) => d.map((x) => x + 1)]),
  fc.constant<Step>(["async map", (d) => d.map(async (x) => x * 2)]),
  seed.map<Step>((s) => [`random map ${s}`, (d) => d.map((x, { random }) => x + random.uniform(), { seed: s })]),
  fc.constant<Step>(["filter", (d) => d.filter((x) => Math.floor(x) % 3 !== 0)]),
  seed.map<Step>((s) => [`shuffle ${s}`, (d) => d.shuffle({ seed: s, buffer: 4 })]),
  small.map<Step>((n) => [`take ${n}`, (d) => d.take(n)]),
  small.map<Step>((n) => [`skip ${n}`, (d) => d.skip(n)]),
  fc.integer({ min: 1, max: 3 }).map<Step>((n) => [`repeat ${n}`, (d) => d.repeat(n)]),
  fc.constant<Step>(["concat", (d) => d.concat(d.map((x) => -x))]),
  fc.constant<Step>(["zip", (d) => d.zip(d.skip(1), (a, b) => a + 100 * b)]),
  fc.integer({ min: 1, max: 4 }).map<Step>((n) => [`prefetch ${n}`, (d) => d.prefetch(n)]),
  fc.constant<Step>(["cache", (d) => d.cache()]),
  fc
    .integer({ min: 1, max: 3 })
    .map<Step>((n) => [`batches ${n}`, (d) => d.batch(n).map((b) => numbers(b).reduce((x, y) => x + y, 0)) as never]),
);
const steps = fc
  .array(step, { maxLength: 6 })
  .filter((all) => all.filter(([name]) => name.startsWith("batches")).length < 2);

/** The roots give the same elements, by place or one after the other. */
const roots = {
  array: (n: number) => dataset(range(n)),
  "typed array": (n: number) => dataset(Float64Array.from(range(n))),
  iterable: (n: number) => dataset(new Set(range(n))),
  "function of a stream": (n: number) => dataset(() => streamOf(range(n))),
  "array, then a stream, then an array": (n: number) =>
    dataset(range(n >> 1)).concat(
      dataset(() => streamOf(range(n))),
      dataset(range(2)),
    ),
  "function of a data set": (n: number) => dataset(async () => dataset(range(n))),
};

describe.each(Object.entries(roots))("a pipeline over an %s", (_, root) => {
  it("gives the same elements again in every epoch, from any place on", async () => {
    await fc.assert(
      fc.asyncProperty(small, steps, fc.integer({ min: 0, max: 3 }), async (n, all, epoch) => {
        const make = () => all.reduce((d, [, f]) => f(d), root(n));
        const d = make();
        const elements = await d.toArray(epoch);
        expect(await make().toArray(epoch)).toEqual(elements);
        const length = await d.length(epoch);
        if (length !== null) expect(length).toBe(elements.length);
        for (const from of [0, 1, 2, elements.length - 1, elements.length, elements.length + 2]) {
          if (from < 0) continue;
          const rest: number[] = [];
          for await (const x of d.epoch(epoch, from)) rest.push(x);
          expect(rest).toEqual(elements.slice(from));
        }
        if (elements.length > 1) expect(await d.at(1, epoch)).toBe(elements[1]);
      }),
      { numRuns: 60 },
    );
  });
});

describe("each step", () => {
  it("does what arrays do", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer(), { maxLength: 20 }), small, async (items, n) => {
        for (const d of [dataset(items), dataset(new Set(items)), dataset(() => streamOf(items))]) {
          const all = await d.toArray();
          expect(await d.map((x, { index }) => x * 2 + index).toArray()).toEqual(all.map((x, i) => x * 2 + i));
          expect(await d.filter((x) => x % 2 === 0).toArray()).toEqual(all.filter((x) => x % 2 === 0));
          expect(await d.take(n).toArray()).toEqual(all.slice(0, n));
          expect(await d.skip(n).toArray()).toEqual(all.slice(n));
          expect(await d.concat(d, d.take(1)).toArray()).toEqual([...all, ...all, ...all.slice(0, 1)]);
          expect(await d.repeat(2).toArray()).toEqual([...all, ...all]);
          expect(await d.zip(d.skip(1), (a, b) => [a, b]).toArray()).toEqual(all.slice(1).map((b, i) => [all[i], b]));
          const shuffled = await d.shuffle({ seed: n, buffer: 5 }).toArray();
          expect(shuffled.sort()).toEqual([...all].sort());
        }
      }),
      { numRuns: 40 },
    );
  });

  it("shuffles arrays as `fit` does, and in every epoch anew unless told otherwise", async () => {
    const d = dataset(range(50)).shuffle({ seed: 7 });
    for (const epoch of [0, 1, 5]) expect(await d.toArray(epoch)).toEqual([...permutation(50, epochSeed(7, epoch))]);
    const fixed = dataset(range(50)).shuffle({ seed: 7, everyEpoch: false });
    expect(await fixed.toArray(3)).toEqual(await fixed.toArray(0));
    const stream = dataset(() => streamOf(range(50))).shuffle({ seed: 7, buffer: 10 });
    const [a, b] = [await stream.toArray(0), await stream.toArray(1)];
    expect(a).not.toEqual(b);
    expect(a).not.toEqual(range(50));
    // Nothing comes earlier than the buffer allows.
    for (const [place, x] of a.entries()) expect(place).toBeGreaterThanOrEqual(x - 10);
  });

  it("repeats a shuffled data set in another order each time", async () => {
    const d = dataset(range(9)).shuffle({ seed: 1 });
    const twice = await d.repeat(2).toArray(3);
    expect(twice).toEqual([...(await d.toArray(6)), ...(await d.toArray(7))]);
  });

  it("caches what epoch 0 gives, and reads it once", async () => {
    let reads = 0;
    const d = dataset(range(5)).map(
      (x, { random }) => {
        reads++;
        return x + random.uniform();
      },
      { seed: 1 },
    );
    const kept = d.cache();
    const later = await kept.toArray(4);
    expect(later).toEqual(await kept.toArray(0));
    expect(reads).toBe(5);
    expect(later).toEqual(await d.toArray(0));
    let opened = 0;
    const stream = dataset(() => {
      opened++;
      return streamOf(range(30));
    }).cache();
    expect(await stream.shuffle({ seed: 2 }).toArray(1)).toEqual([...permutation(30, epochSeed(2, 1))]);
    expect(opened).toBe(1);
    let failures = 0;
    const flaky = dataset([1]).map(async () => {
      if (failures++ === 0) throw new Error("once");
      return 2;
    });
    const retried = flaky.cache();
    await expect(retried.toArray()).rejects.toThrow("once");
    expect(await retried.toArray()).toEqual([2]);
  });

  it("filters arrays by looking at each element once", async () => {
    let looks = 0;
    const d = dataset(range(10)).filter((x) => {
      looks++;
      return x > 4;
    });
    expect(await d.length()).toBe(5);
    expect(await d.shuffle({ seed: 1 }).batch(2).length()).toBe(3);
    await d.toArray(1);
    expect(looks).toBe(10);
  });

  it("filters what differs from epoch to epoch in each epoch", async () => {
    const random = dataset(range(40)).map((_, { random }) => random.uniform(), { seed: 1 });
    const high = random.filter((x) => x > 0.5);
    const [a, b] = [await high.toArray(0), await high.toArray(1)];
    for (const x of [...a, ...b]) expect(x).toBeGreaterThan(0.5);
    expect(a).not.toEqual(b);
    const shuffled = dataset(range(40))
      .shuffle({ seed: 1 })
      .filter((x) => x < 10);
    for (const epoch of [0, 1]) expect((await shuffled.toArray(epoch)).sort((x, y) => x - y)).toEqual(range(10));
  });

  it("hands out random numbers by seed, epoch and place", async () => {
    const draw = (s: number) => dataset(range(100)).map((_, { random }) => random.uniform(), { seed: s });
    const values = await draw(1).toArray();
    expect(new Set([...values, ...(await draw(1).toArray(1)), ...(await draw(2).toArray())]).size).toBe(300);
    expect(await draw(1).skip(40).take(3).toArray()).toEqual(values.slice(40, 43));
    await expect(
      dataset([1])
        .map((_, c) => c.random.uniform())
        .toArray(),
    ).rejects.toThrow(/map: random is for functions whose results differ from epoch to epoch\n {2}→ pass a seed/);
  });
});

describe("prefetching", () => {
  const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 2));
  const busy = async (d: Dataset<number>): Promise<string[]> => {
    const log: string[] = [];
    const made = d
      .map((x) => {
        log.push(`make ${x}`);
        return x;
      })
      .prefetch(2);
    for await (const x of made) {
      log.push(`use ${x}`);
      for (let i = 0; i < 5; i++) await tick();
      log.push(`used ${x}`);
    }
    return log;
  };
  it.each([
    ["arrays", () => dataset(range(4))],
    ["streams", () => dataset(() => streamOf(range(4)))],
  ])("makes the next elements of %s while the first is in use, no more than asked for", async (_, make) => {
    const log = await busy(make());
    const used = log.indexOf("used 0");
    expect(log.indexOf("use 0")).toBe(1);
    expect(log.indexOf("make 1")).toBeLessThan(used);
    expect(log.indexOf("make 2")).toBeLessThan(used);
    expect(log.indexOf("make 3")).toBeGreaterThan(used);
    expect(log.filter((l) => l.startsWith("use "))).toEqual(["use 0", "use 1", "use 2", "use 3"]);
  });

  it("has several slow elements under way at once", async () => {
    let [now, most] = [0, 0];
    const slow = dataset(range(12)).map(async (x) => {
      most = Math.max(most, ++now);
      await tick();
      now--;
      return x;
    });
    expect(
      await slow
        .prefetch(4)
        .map((x) => x)
        .toArray(),
    ).toEqual(range(12));
    const all: number[] = [];
    for await (const x of slow.prefetch(4)) all.push(x);
    expect(all).toEqual(range(12));
    expect(most).toBeGreaterThan(2);
    expect(most).toBeLessThanOrEqual(5);
  });

  it("delivers errors in their place, ends its source, and leaves no error behind", async () => {
    const failing = dataset(range(6)).map(async (x) => {
      if (x === 3) throw new Error("three");
      return x;
    });
    const seen: number[] = [];
    await expect(
      (async () => {
        for await (const x of failing.prefetch(4)) {
          seen.push(x);
          await tick();
        }
      })(),
    ).rejects.toThrow("three");
    expect(seen).toEqual([0, 1, 2]);
    for await (const _ of failing.prefetch(5)) {
      await tick();
      break;
    }
    let closed = false;
    const source = dataset(async function* () {
      try {
        for (const x of range(9)) yield x;
      } finally {
        closed = true;
      }
    });
    for await (const _ of source.prefetch(2)) break;
    await tick();
    expect(closed).toBe(true);
  });
});

describe("split", () => {
  it("gives parts without common elements, as large as asked for, the same for the same seed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 }),
        fc.tuple(fc.double({ min: 0, max: 0.5, noNaN: true }), fc.double({ min: 0, max: 0.5, noNaN: true })),
        fc.option(seed),
        fc.boolean(),
        async (labels, [a, b], s, stratified) => {
          const d = dataset({ id: range(labels.length), label: labels });
          const options = { seed: s ?? (false as const), ...(stratified ? { stratify: "label" as const } : {}) };
          const parts = d.split({ a, b }, options);
          const [one, two] = [await parts.a.toArray(), await parts.b.toArray()];
          expect(await d.split({ a, b }, options).b.toArray(2)).toEqual(two);
          const ids = [...one, ...two].map((e) => e.id);
          expect(new Set(ids).size).toBe(ids.length);
          expect(Math.abs(one.length - a * labels.length)).toBeLessThan(stratified ? 4 : 1 + 1e-6);
          if (!stratified) return;
          for (const label of range(4)) {
            const of = labels.filter((l) => l === label).length;
            const got = one.filter((e) => e.label === label).length;
            expect(Math.abs(got - a * of)).toBeLessThanOrEqual(1 + 1e-6);
          }
        },
      ),
    );
  });

  it("keeps the shares of the whole where classes are small", async () => {
    const d = dataset(range(101).map((y) => ({ y })));
    const { a, b, c } = d.split({ a: 0.5, b: 0.3, c: 0.2 }, { stratify: "y" });
    const sizes = [await a.length(), await b.length(), await c.length()] as number[];
    for (const [i, share] of [0.5, 0.3, 0.2].entries())
      expect(Math.abs(sizes[i]! - share * 101)).toBeLessThanOrEqual(1);
    expect(sizes.reduce((x, y) => x + y)).toBe(101);
  });

  it("takes numbers of elements, keeps their order, and can be in time order", async () => {
    const parts = dataset(range(10)).split({ train: 7, test: 3 }, { seed: false });
    expect(await parts.train.toArray()).toEqual(range(7));
    expect(await parts.test.toArray()).toEqual([7, 8, 9]);
    const { train, test } = dataset(range(10)).split({ train: 0.8, test: 0.2 }, { seed: 3 });
    const both = [await train.toArray(), await test.toArray()] as const;
    expect(both.map((p) => p.length)).toEqual([8, 2]);
    for (const p of both) expect([...p].sort((x, y) => x - y)).toEqual(p);
    expect([...both.flat()].sort((x, y) => x - y)).toEqual(range(10));
  });

  it("is refused where parts would share elements", async () => {
    expect(() => dataset(range(5)).shuffle().split({ a: 0.5 })).toThrow(
      /another order in every epoch.*\n.*split before .shuffle/,
    );
    expect(() => dataset(range(5)).batch(2).split({ a: 0.5 })).toThrow(/split: the data set is in batches/);
    expect(() => dataset(range(5)).split({ a: 0.7, b: 0.7 })).toThrow(/the shares 0.7 \+ 0.7 are more than the whole/);
    expect(() => dataset(range(5)).split({ a: -1 })).toThrow(/split, a: expected shares/);
    await expect(dataset(range(5)).split({ a: 4, b: 2 }).a.toArray()).rejects.toThrow(
      /4 \+ 2 elements are asked for, there are 5/,
    );
    await expect(
      dataset(new Set([1, 2]))
        .split({ a: 0.5 })
        .a.toArray(),
    ).rejects.toThrow(/a stream can't be split\n.*cache/);
    expect(
      await dataset(new Set([1, 2]))
        .cache()
        .split({ a: 0.5 })
        .a.toArray(),
    ).toHaveLength(1);
    await expect(
      dataset([{ y: 1 }])
        .split({ a: 1 }, { stratify: "z" as never })
        .a.toArray(),
    ).rejects.toThrow(/the elements have no field "z"/);
  });
});

describe("sources", () => {
  it("of records and tensors give rows, along the axis that is asked for", async () => {
    const x: Tensor = { dtype: "f32", shape: [2, 3, 2], data: Float32Array.from(range(12)) };
    const d = dataset({
      x,
      y: Int32Array.of(5, 6),
      name: ["a", "b"],
      mask: { dtype: "bool", shape: [2], data: Uint8Array.of(0, 1) } as Tensor,
    });
    expect(await d.at(1)).toEqual({
      x: { dtype: "f32", shape: [3, 2], data: Float32Array.of(6, 7, 8, 9, 10, 11) },
      y: 6,
      name: "b",
      mask: true,
    });
    const across = dataset({ x }, { axis: { x: 1 } });
    expect((await across.toArray()).map((e) => numbers(e.x))).toEqual([
      [0, 1, 6, 7],
      [2, 3, 8, 9],
      [4, 5, 10, 11],
    ]);
    expect(numbers(await dataset(x).at(0))).toEqual(range(6));
    expect(
      await dataset({ b: Buffer.from([7, 8]) as Uint8Array })
        .batch(2)
        .at(0),
    ).toMatchObject({ b: { dtype: "u8", shape: [2] } });
    const half: Tensor = { dtype: "f16", shape: [2], data: Uint16Array.of(0x3c00, 0) };
    expect(await dataset({ half }).at(0)).toEqual({ half: { dtype: "f16", shape: [], data: Uint16Array.of(0x3c00) } });
  });

  it("that can be gone through once are good for one epoch", async () => {
    const once = dataset(streamOf([1, 2]));
    expect(await once.toArray()).toEqual([1, 2]);
    await expect(once.toArray(1)).rejects.toThrow(/gone through once only\n.*function that returns it, or put .cache/);
    const kept = dataset(streamOf([1, 2])).cache();
    expect(await kept.toArray()).toEqual(await kept.toArray(1));
    const web = () => new Response("ab").body!.pipeThrough(new TextDecoderStream() as never) as ReadableStream<string>;
    expect((await dataset(web).toArray()).join("")).toBe("ab");
    const bare = { getReader: () => web().getReader() } as ReadableStream<string>;
    expect((await dataset(bare).toArray()).join("")).toBe("ab");
  });

  it("that are none are named", () => {
    const wrong: readonly [unknown, RegExp][] = [
      [null, /dataset: expected arrays, a record of arrays, an iterable.*got null/],
      [Promise.resolve([]), /got Promise\n.*await it/],
      [{}, /got Object/],
      [{ x: [1], y: [1, 2] }, /field "y": 2 elements, but "x" has 1/],
      [{ x: 3 }, /field "x": expected an array, a typed array or a tensor, got 3/],
      [{ x: { dtype: "f32", shape: [3], data: new Float32Array(2) } }, /field "x": shape \[3\] with 2 elements/],
    ];
    for (const [source, message] of wrong) expect(() => dataset(source as never)).toThrow(message);
    expect(() => dataset({ x: [1] }, { axis: { z: 1 } })).toThrow(/option axis: there is no field "z"/);
  });
});

it("names unknown options, wrong ones and wrong arguments", () => {
  const d = dataset([{ x: 1 }]);
  const wrong: readonly [() => unknown, RegExp][] = [
    [() => d.shuffle({ sed: 1 } as never), /option "sed": shuffle has no such option\n.*did you mean "seed"/],
    [() => d.shuffle({ seed: 0.5 }), /option seed: expected an integer \(the seed\), got 0.5/],
    [() => d.batch(0), /batch, the size: .*expected a positive integer, got 0/],
    [
      () => d.batch(2, { pad: { x: "long" as never } }),
      /option pad: expected an object whose values are a finite number, or an object/,
    ],
    [() => d.batch(2, { pad: { x: { lenght: 3 } as never } }), /option "lenght": padding of "x" has no such option/],
    [() => d.batch(2).batch(2), /batch: the data set is in batches already/],
    [() => d.map(3 as never), /map, the function: .*expected a function, got 3/],
    [() => d.bucket({ by: "x", bounds: [4, 2], size: 2 }), /option bounds: they must rise/],
    [() => d.bucket({ by: "x", bounds: [4], size: [1] }), /1 sizes for 2 buckets/],
    [() => d.concat([] as never), /concat, the other: .*expected a data set/],
    [() => d.pad({ x: 0 }), /padding of "x": the option length is missing/],
    [() => d.repeat(0), /repeat/],
  ];
  for (const [f, message] of wrong) expect(f).toThrow(message);
});

describe("random numbers", () => {
  it("are those of the reference implementation of xoshiro128**", () => {
    // From https://github.com/edorfaus/xoshiro-6502, made by the C program.
    const r = new Random([0x964d4a0c, 0xd40ab895, 0xad7fdecb, 0x3006f0f0]);
    expect(range(4).map(() => r.bits())).toEqual([0xf1391922, 0x6fe53806, 0xa5be2840, 0xf510ee70]);
  });

  it("have the distributions that they are called by", () => {
    const r = randomOf(1, 2, 3);
    const n = 40_000;
    const moments = (draw: () => number): readonly [number, number] => {
      const values = range(n).map(draw);
      const mean = values.reduce((a, b) => a + b, 0) / n;
      return [mean, values.reduce((a, b) => a + (b - mean) ** 2, 0) / n];
    };
    const near = ([mean, variance]: readonly [number, number], m: number, v: number) => {
      expect(Math.abs(mean - m)).toBeLessThan(6 * Math.sqrt(v / n));
      expect(Math.abs(variance / v - 1)).toBeLessThan(0.1);
    };
    near(
      moments(() => r.uniform()),
      1 / 2,
      1 / 12,
    );
    near(
      moments(() => r.normal()),
      0,
      1,
    );
    for (const shape of [0.3, 1, 4.5])
      near(
        moments(() => r.gamma(shape)),
        shape,
        shape,
      );
    for (const [a, b] of [
      [0.2, 0.2],
      [2, 3],
    ] as const)
      near(
        moments(() => r.beta(a, b)),
        a / (a + b),
        (a * b) / ((a + b) ** 2 * (a + b + 1)),
      );
    near(
      moments(() => r.integer(7)),
      3,
      4,
    );
  });
});
