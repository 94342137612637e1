/** Functions of F that a context takes part in, compiled: random numbers, sizes that data decide, control flow. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { F, nn, program } from "../../compiler/dsl/index.js";
import type { Value } from "../../ir/graph.js";
import { load, type Tensor } from "../../runtime/index.js";

const compiled = { variants: ["simd128"] } as const;
const none = nn.Identity();
const numbers = (t: unknown): number[] =>
  typeof t === "number" ? [t] : Array.from((t as Tensor).data as ArrayLike<number | bigint>, Number);
const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
const deviation = (v: readonly number[]) => Math.sqrt(mean(v.map((e) => (e - mean(v)) ** 2)));
const count = (v: readonly number[], what: number) => v.filter((e) => e === what).length / v.length;

describe("random numbers", () => {
  it("have their distributions, each call its own, and others in each run", async () => {
    const weights = [1, 0, 3, 4];
    const p = program(none, {
      draw: {
        inputs: {},
        run: (ctx) => ({
          integers: F.randint(ctx, -2, 3, [4000]),
          order: F.randperm(ctx, 50),
          exponential: F.exponential(ctx, [4000], 2),
          gumbel: F.gumbel(ctx, [4000]),
          normal: F.normal(ctx, [4000], 1, 3),
          again: F.normal(ctx, [4000], 1, 3),
          uniform: F.uniform(ctx, [4000], 2, 4),
          coin: F.bernoulli(ctx, F.full([4000], 0.25)),
          category: F.categorical(ctx, F.constant(weights).log().expand([4000, 4])),
          drawn: F.multinomial(ctx, F.constant(weights), 4000, { replacement: true }),
          distinct: F.multinomial(ctx, F.constant(weights).expand([500, 4]), 3),
          soft: F.gumbelSoftmax(ctx, F.constant(weights).log().expand([500, 4]), { hard: true }),
          dropped: F.dropout(ctx, F.ones([4000]), 0.25),
          whole: ctx.eval(() => F.dropout(ctx, F.ones([3]), 0.25)),
          channels: F.channelDropout(ctx, F.ones([500, 2, 3])),
        }),
      },
    });
    const session = await load(await compile(p, compiled));
    const first = await session.draw({});
    const v = (name: keyof typeof first): number[] => numbers(first[name]);
    for (const k of [-2, -1, 0, 1, 2]) expect(count(v("integers"), k)).toBeCloseTo(0.2, 1);
    expect(Math.min(...v("integers"))).toBe(-2);
    expect([...v("order")].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(mean(v("exponential"))).toBeCloseTo(0.5, 1);
    expect(Math.min(...v("exponential"))).toBeGreaterThanOrEqual(0);
    expect(mean(v("gumbel"))).toBeCloseTo(0.5772, 0);
    expect(v("gumbel").every(Number.isFinite)).toBe(true);
    expect([mean(v("normal")), deviation(v("normal"))].map(Math.round)).toEqual([1, 3]);
    expect(v("again")).not.toEqual(v("normal"));
    expect(mean(v("uniform"))).toBeCloseTo(3, 1);
    expect(Math.min(...v("uniform"))).toBeGreaterThanOrEqual(2);
    expect(mean(v("coin"))).toBeCloseTo(0.25, 1);
    for (const drawn of [v("category"), v("drawn")])
      weights.forEach((w, k) => {
        expect(count(drawn, k)).toBeCloseTo(w / 8, 1);
        if (w === 0) expect(count(drawn, k)).toBe(0);
      });
    for (let i = 0; i < 500; i++) {
      expect([...v("distinct").slice(3 * i, 3 * i + 3)].sort()).toEqual([0, 2, 3]);
      expect([...v("soft").slice(4 * i, 4 * i + 4)].map(Math.round).sort()).toEqual([0, 0, 0, 1]);
      expect(new Set(v("channels").slice(6 * i, 6 * i + 3)).size).toBe(1);
    }
    expect(count(v("dropped"), 0)).toBeCloseTo(0.25, 1);
    expect(mean(v("dropped"))).toBeCloseTo(1, 1);
    expect(v("whole")).toEqual([1, 1, 1]);
    const second = await session.draw({});
    for (const name of ["integers", "order", "normal", "category", "dropped"] as const)
      expect(numbers(second[name])).not.toEqual(v(name));
    session.dispose();
  });
});

describe("sizes that data decide", () => {
  it("are as many as there are", async () => {
    const p = program(none, {
      find: {
        inputs: { x: [2, 4], n: { dtype: "i64", shape: [] } },
        training: false,
        run(ctx, { x, n }) {
          const [values, inverse, counts] = F.unique(ctx, x);
          const size = F.toSize(ctx, n, 9);
          return {
            places: F.nonzero(ctx, x),
            positive: F.maskedSelect(ctx, x, x.gt(0)),
            values,
            inverse,
            counts,
            ramp: F.arange(size),
            range: F.range(ctx, F.constant(1), F.constant(2.1), F.constant(0.5), 8),
          };
        },
      },
    });
    const session = await load(await compile(p, compiled));
    const x = Float32Array.of(0, 2, -1, 2, 0, 0, 5, -1);
    const found = await session.find({ x, n: BigInt64Array.of(4n) });
    expect((found.places as Tensor).shape).toEqual([5, 2]);
    expect(numbers(found.places)).toEqual([0, 1, 0, 2, 0, 3, 1, 2, 1, 3]);
    expect(numbers(found.positive)).toEqual([2, 2, 5]);
    expect(numbers(found.values)).toEqual([-1, 0, 2, 5]);
    expect(numbers(found.inverse)).toEqual([1, 2, 0, 2, 1, 1, 3, 0]);
    expect(numbers(found.counts)).toEqual([2, 3, 2, 1]);
    expect(numbers(found.ramp)).toEqual([0, 1, 2, 3]);
    expect(numbers(found.range)).toEqual([1, 1.5, 2]);
    session.dispose();
  });

  it("of boxes: nms keeps the best of what overlaps; roiAlign of a ramp gives the centres of its cells", async () => {
    const p = program(none, {
      detect: {
        inputs: { boxes: [4, 4], scores: [4], image: [1, 1, 8, 8] },
        training: false,
        run: (ctx, { boxes, scores, image }) => {
          const regions = F.constant([[0, 1, 1, 5, 3]]);
          return {
            kept: F.nms(ctx, boxes, scores, 0.5),
            each: F.nonMaxSuppression(
              ctx,
              F.stack([boxes, boxes.mul(2)]),
              F.stack([F.stack([scores, scores.rsub(1)]), F.stack([scores.rsub(1), scores])]),
              0.5,
              { scoreThreshold: 0.15, maxPerClass: 2 },
            ),
            fixed: F.roiAlign(ctx, image, regions, [1, 2], { samplingRatio: 2, aligned: true }),
            adaptive: F.roiAlign(ctx, image, regions, [1, 2], { aligned: true }),
          };
        },
      },
    });
    const session = await load(await compile(p, compiled));
    const boxes = Float32Array.of(0, 0, 2, 2, 0, 0, 2, 1.9, 5, 5, 7, 7, 0.2, 0, 2, 2);
    const image = Float32Array.from({ length: 64 }, (_, i) => (i % 8) + 10 * Math.floor(i / 8));
    const found = await session.detect({ boxes, scores: Float32Array.of(0.8, 0.9, 0.1, 0.7), image });
    expect(numbers(found.kept)).toEqual([1, 2]);
    const rows = [
      [0, 0, 1],
      [0, 1, 2],
      [0, 1, 3],
      [1, 0, 2],
      [1, 0, 3],
      [1, 1, 1],
    ];
    expect(numbers(found.each)).toEqual(rows.flat());
    // Cells of x from 1 to 3 and 3 to 5, y from 1 to 3; pixel k has its centre at k + ½.
    for (const t of [found.fixed, found.adaptive]) {
      const got = numbers(t);
      expect(got[0]).toBeCloseTo(1.5 + 15, 4);
      expect(got[1]).toBeCloseTo(3.5 + 15, 4);
    }
    session.dispose();
  });
});

describe("control flow", () => {
  it("takes values, lists and records, and captures what is outside", async () => {
    const p = program(none, {
      flow: {
        inputs: { x: [3], steps: [4, 3] },
        training: false,
        run(_, { x, steps }) {
          const chosen = F.cond(
            x.sum().gt(0),
            () => ({ y: x.mul(2), z: [x] }),
            () => ({ y: x.neg(), z: [x.add(1)] }),
          );
          const grown = F.whileLoop(
            (s: { v: Value; n: Value }) => s.v.amax().lt(100),
            ({ v, n }) => ({ v: v.mul(x.add(2)), n: n.add(1) }),
            { v: F.ones([3]), n: F.constant(0, "i64") },
            { maxTrips: 20 },
          );
          const limited = F.whileLoop(
            (v: Value) => v.eq(v).all(),
            (v: Value) => v.add(1),
            x,
            { maxTrips: 5 },
          );
          const [last, rows] = F.scan(
            ([a, b]: readonly [Value, Value], row: Value) => [
              [a.add(row), b.mul(0.5)] as const,
              { before: a, row: row.mul(x) },
            ],
            [x, F.ones([])] as const,
            steps,
            { reverse: true },
          );
          const factorial = F.forLoop(5, (i, s: Value) => s.mul(i.add(1).cast("f32")), F.ones([]));
          return {
            y: chosen.y,
            z: chosen.z[0]!,
            v: grown.v,
            n: grown.n,
            limited,
            a: last[0],
            b: last[1],
            ...rows,
            factorial,
          };
        },
      },
    });
    const session = await load(await compile(p, compiled));
    const steps = Float32Array.from({ length: 12 }, (_, i) => i);
    const up = await session.flow({ x: Float32Array.of(1, 2, 3), steps });
    expect(numbers(up.y)).toEqual([2, 4, 6]);
    expect(numbers(up.z)).toEqual([1, 2, 3]);
    expect(numbers(up.v)).toEqual([27, 64, 125]);
    expect(numbers(up.n)).toEqual([3]);
    expect(numbers(up.limited)).toEqual([6, 7, 8]);
    // `before` of a row is the carry that came into it, from the last row on.
    expect(numbers(up.before).slice(9)).toEqual([1, 2, 3]);
    expect(numbers(up.row)).toEqual(Array.from(steps, (s, i) => s * ((i % 3) + 1)));
    expect(numbers(up.a)).toEqual([19, 24, 29]);
    expect(numbers(up.b)).toEqual([1 / 16]);
    expect(numbers(up.factorial)).toEqual([120]);
    const down = await session.flow({ x: Float32Array.of(-1, -2, -3), steps });
    expect(numbers(down.y)).toEqual([1, 2, 3]);
    expect(numbers(down.z)).toEqual([0, -1, -2]);
    expect(numbers(down.n)).toEqual([20]);
    session.dispose();
  });

  it("says what is not made alike", () => {
    const of = (run: () => unknown) => () =>
      program(none, { e: { inputs: { x: [3] }, run: (_, { x }) => ({ y: run.call(undefined) as Value, x }) } });
    const one = F.ones([3]);
    expect(
      of(() =>
        F.cond(
          one.sum().gt(0),
          () => [one] as Value[],
          () => [one, one],
        ),
      ),
    ).toThrow(/not made alike/);
    expect(of(() => F.scan((s: Value) => s as never, one, one))).toThrow(/scan's step gives \[carry, rows\]/);
    expect(
      of(() =>
        F.whileLoop(
          () => one.gt(0),
          (s: Value) => s,
          one,
        ),
      ),
    ).toThrow(/one bool, but got bool\[3\]/);
  });
});
