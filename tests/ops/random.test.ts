import { describe, expect, it } from "vitest";
import { graph, param } from "../../ir/graph.js";
import { bernoulli, philoxInto, randomBits, randomNormal, randomUniform } from "../../ir/ops/random.js";
import { evaluate } from "../../ir/reference.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { seeded } from "../graph/random.js";

const words = (...values: number[]) => tensorFrom("u32", [values.length], values);
const key = param("key", { dtype: "u32", shape: [2] });
const counter = param("counter", { dtype: "u32", shape: [2] });
const ones = 0xffffffff;

type Words = readonly [number, number, number, number];
function philox(at: Words, by: readonly [number, number]): readonly number[] {
  const out = new Uint32Array(4);
  philoxInto(out, at, by);
  return [...out];
}

/** The paper's definition, with whole products. */
function slowPhilox([c0, c1, c2, c3]: Words, [k0, k1]: readonly [number, number], rounds = 10): readonly number[] {
  if (rounds === 0) return [c0, c1, c2, c3];
  const product = (a: number, b: bigint) => BigInt(a) * b;
  const [p0, p1] = [product(c0, 0xd2511f53n), product(c2, 0xcd9e8d57n)];
  const [high0, high1] = [Number(p0 >> 32n), Number(p1 >> 32n)];
  const [low0, low1] = [Number(p0 & 0xffffffffn), Number(p1 & 0xffffffffn)];
  const next = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0] as const;
  return slowPhilox(next, [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0], rounds - 1);
}

describe("Philox 4×32-10", () => {
  // Random123's known answers (kat_vectors).
  it("gives the published words", () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });
  it("is its definition with whole products, at any counter and key", () => {
    const random = seeded(5);
    const word = () => Math.floor(random() * 2 ** 32);
    for (let i = 0; i < 2000; i++) {
      const at = [word(), word(), word(), word()] as const;
      const by = [word(), word()] as const;
      expect(philox(at, by)).toEqual(slowPhilox(at, by));
    }
  });
  it("numbers elements by their place, so that a longer draw begins with a shorter one", () => {
    const draw = (length: number) =>
      toNumbers(
        evaluate(graph("g", [key, counter], [randomBits([key, counter], { shape: [length] })]), [
          words(7, 8),
          words(9, 1),
        ])[0]!,
      );
    const long = draw(19);
    expect(draw(6)).toEqual(long.slice(0, 6));
    expect(long.slice(4, 8)).toEqual([...philox([1, 0, 9, 1], [7, 8])]);
  });
});

describe("distributions", () => {
  const shape = [20_000];
  const p = param("p", { dtype: "f32", shape });
  const third = tensorFrom("f32", shape, new Array(shape[0]).fill(1 / 3));
  const [uniform, normal, coin] = evaluate(
    graph(
      "g",
      [key, counter, p],
      [
        randomUniform([key, counter], { dtype: "f32", shape, low: -1, high: 3 }),
        randomNormal([key, counter], { dtype: "f32", shape, mean: 2, deviation: 0.5 }),
        bernoulli([p, key, counter]),
      ],
    ),
    [words(1, 2), words(3, 4), third],
  ).map(toNumbers) as [number[], number[], number[]];
  const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
  const deviation = (v: readonly number[]) => Math.sqrt(mean(v.map((e) => (e - mean(v)) ** 2)));

  it("have the moments they should", () => {
    expect(mean(uniform)).toBeCloseTo(1, 1);
    expect(deviation(uniform)).toBeCloseTo(4 / Math.sqrt(12), 1);
    expect(mean(normal)).toBeCloseTo(2, 1);
    expect(deviation(normal)).toBeCloseTo(0.5, 1);
    expect(mean(coin)).toBeCloseTo(1 / 3, 1);
  });
  it("keep their range", () => {
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...uniform)).toBeLessThan(3);
    expect(normal.every(Number.isFinite)).toBe(true);
  });
});
