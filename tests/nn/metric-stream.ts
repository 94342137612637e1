/** Runs a metric over batches of unequal sizes, compiled, and over all data as one batch. */

import { expect } from "vitest";
import { compile, graph, type metrics, param } from "../../index.js";
import { dimSymbol } from "../../ir/dim.js";
import { load, type Tensor } from "../../runtime/index.js";

/** Numbers in [0, 1) that are the same in every run. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export interface Data {
  /** Shape of one sample. */
  readonly shape: readonly number[];
  readonly output: readonly number[];
  readonly targetShape: readonly number[];
  readonly target: readonly number[];
  readonly targetType: "f32" | "i32" | "i64";
}

const sizes = [5, 1, 8, 3];
export const samples = sizes.reduce((a, b) => a + b);
export const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

export const tensorOf = (dtype: Data["targetType"], shape: readonly number[], data: readonly number[]): Tensor => {
  if (dtype === "i64") return { dtype, shape, data: BigInt64Array.from(data, BigInt) };
  return dtype === "i32"
    ? { dtype, shape, data: Int32Array.from(data) }
    : { dtype, shape, data: Float32Array.from(data) };
};

/** The metric's value over the batches, from sums that the host adds up; and that of all data as one batch. */
export async function stream(metric: metrics.Metric, d: Data): Promise<readonly [streamed: number[], whole: number[]]> {
  const n = dimSymbol("n", { min: 1, max: 1000 });
  const output = param("output", { dtype: "f32", shape: [n, ...d.shape] });
  const target = param("target", { dtype: d.targetType, shape: [n, ...d.targetShape] });
  const sums = metric.update(output, target);
  const names = Object.keys(metric.slots);
  expect(Object.keys(sums).sort()).toEqual([...names].sort());
  for (const name of names) expect(sums[name]!.type, name).toEqual({ dtype: "f64", shape: metric.slots[name] });
  const whole = metric(output, target);
  const update = await load(
    await compile(graph("update", [output, target], [...names.map((name) => sums[name]!), whole], [...names, "whole"])),
  );
  const slots = names.map((name) => param(name, { dtype: "f64", shape: metric.slots[name]! }));
  const made = metric.result(Object.fromEntries(names.map((name, i) => [name, slots[i]!])));
  expect(made.type.dtype).toBe("f32");
  const result = await load(await compile(graph("result", slots, [made], ["metric"])));

  const feeds = (from: number, count: number) => ({
    output: tensorOf(
      "f32",
      [count, ...d.shape],
      d.output.slice(from * product(d.shape), (from + count) * product(d.shape)),
    ),
    target: tensorOf(
      d.targetType,
      [count, ...d.targetShape],
      d.target.slice(from * product(d.targetShape), (from + count) * product(d.targetShape)),
    ),
  });
  const totals = new Map(names.map((name) => [name, new Float64Array(product(metric.slots[name]!))]));
  let from = 0;
  for (const size of sizes) {
    const found = (await update.run(feeds(from, size))) as Readonly<Record<string, Tensor>>;
    for (const [name, total] of totals)
      (found[name]!.data as Float64Array).forEach((v, i) => {
        total[i]! += v;
      });
    from += size;
  }
  const { metric: streamed } = (await result.run(
    Object.fromEntries(
      names.map((name) => [name, { dtype: "f64", shape: metric.slots[name]!, data: totals.get(name)! }]),
    ),
  )) as Readonly<Record<string, Tensor>>;
  const all = (await update.run(feeds(0, samples))) as Readonly<Record<string, Tensor>>;
  update.dispose();
  result.dispose();
  const list = (t: Tensor) => Array.from(t.data as Float32Array);
  return [list(streamed!), list(all.whole!)];
}

export const near = (got: readonly number[], want: readonly number[]) => {
  expect(got.length).toBe(want.length);
  want.forEach((w, i) => {
    const atol = 2e-6 * Math.max(1, Math.abs(w));
    expect(Math.abs(got[i]! - w), `${got} instead of ${want}`).toBeLessThanOrEqual(atol);
  });
};

export async function expectMetric(
  metric: metrics.Metric,
  data: Data,
  want: number | readonly number[],
): Promise<void> {
  const wanted = typeof want === "number" ? [want] : want;
  const [streamed, whole] = await stream(metric, data);
  near(streamed, wanted);
  near(whole, wanted);
}
