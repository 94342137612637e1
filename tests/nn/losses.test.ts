/** Every loss and its gradients, compiled, against PyTorch or the formulas that it lacks; what losses refuse. */

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { definitionOf } from "../../compiler/schema.js";
import { build, compile, type DType, gradients, graph, losses, ModelError, param, type Value } from "../../index.js";
import { logSoftmax } from "../../ir/ops/softmax.js";
import { load, type Tensor } from "../../runtime/index.js";
import { readJson } from "./reference-data.js";

interface Case {
  readonly loss: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly inputs: readonly {
    readonly name: string;
    readonly dtype: "f32" | "i64";
    readonly shape: readonly number[];
    readonly data: readonly number[];
  }[];
  readonly result: { readonly shape: readonly number[]; readonly data: readonly number[] };
  readonly upstream?: readonly number[];
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

type Factory = (options?: Readonly<Record<string, unknown>>) => (...values: readonly Value[]) => Value;
const factories = losses as unknown as Readonly<Record<string, Factory>>;

const { cases } = readJson<{ readonly cases: readonly Case[] }>(
  join(import.meta.dirname, "../fixtures/learn/losses.json"),
);

const tensorOf = (dtype: "f32" | "i64", shape: readonly number[], data: readonly number[]): Tensor =>
  dtype === "f32"
    ? { dtype, shape, data: Float32Array.from(data) }
    : { dtype, shape, data: BigInt64Array.from(data, BigInt) };

function expectNear(got: Tensor, want: readonly number[], what: string): void {
  const values = got.data as Float32Array;
  expect(values.length, what).toBe(want.length);
  const scale = Math.max(...want.map(Math.abs));
  want.forEach((w, i) => {
    const atol = 1e-5 * scale + 1e-7;
    expect(Math.abs(values[i]! - w), `${what}[${i}] is ${values[i]}, not ${w}`).toBeLessThanOrEqual(
      atol + 1e-5 * Math.abs(w),
    );
  });
}

describe("losses and their gradients", () => {
  it("has cases of every loss", () => {
    const all = Object.keys(losses).filter((name) => name !== "weightedSum");
    expect([...new Set(cases.map((c) => c.loss))].sort()).toEqual(all.sort());
  });

  it.each(cases.map((c) => [`${c.loss} ${JSON.stringify(c.options)} [${c.inputs[0]!.shape}]`, c] as const))(
    "%s",
    async (_, c) => {
      const params = c.inputs.map(({ name, dtype, shape }) => param(name, { dtype, shape }));
      // PyTorch's gradient of CTC holds behind a log-softmax only.
      const [first, ...rest] = params;
      const output = c.loss === "ctc" ? logSoftmax([first!], { axis: 2 }) : first!;
      const result = factories[c.loss]!(c.options)(output, ...rest);
      const wrt = Object.keys(c.gradients);
      const up = c.upstream && param("upstream", result.type);
      const total = up ? build.sum(build.np.mul(result, up)) : result;
      const found = gradients(
        total,
        wrt.map((name) => params[c.inputs.findIndex((i) => i.name === name)]!),
      );
      const names = ["loss", ...wrt.map((name) => `d_${name}`)];
      const all = up ? [...params, up] : params;
      const session = await load(await compile(graph("loss", all, [result, ...found], names)));
      const feeds: Record<string, Tensor> = Object.fromEntries(
        c.inputs.map(({ name, dtype, shape, data }) => [name, tensorOf(dtype, shape, data)]),
      );
      if (c.upstream) feeds.upstream = tensorOf("f32", c.result.shape, c.upstream);
      const outputs = (await session.run(feeds)) as Readonly<Record<string, Tensor>>;
      expect(outputs.loss!.shape).toEqual(c.result.shape);
      expectNear(outputs.loss!, c.result.data, "loss");
      for (const name of wrt) expectNear(outputs[`d_${name}`]!, c.gradients[name]!, `gradient of ${name}`);
      session.dispose();
    },
  );
});

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ModelError) return error.problems.map((p) => `${p.where}: ${p.message}`);
    throw error;
  }
  return [];
}

describe("what losses refuse", () => {
  const names = Object.keys(losses).filter((name) => name !== "weightedSum");
  it.each(names)("%s: options that its schema does not have, and missing values", (name) => {
    const make = factories[name]!;
    expect(problemsOf(() => make({ reducton: "mean" }))).toEqual([
      `option "reducton": losses.${name} has no such option`,
    ]);
    for (const [option, { fits }] of Object.entries(definitionOf(make)!.options!)) {
      const wrong = ["no", {}, Number.NaN, -0.5].filter((v) => !fits(v));
      expect(wrong.length, option).toBeGreaterThan(0);
      for (const value of wrong) expect(problemsOf(() => make({ [option]: value })).join()).toContain(option);
    }
    expect(problemsOf(() => make()(param("x", { dtype: "f32" as DType, shape: [2, 3] })))[0]).toContain("missing");
  });

  it("class indices of other axes", () => {
    const x = param("x", { dtype: "f32", shape: [2, 3] });
    const t = param("t", { dtype: "i64", shape: [2, 3] });
    expect(problemsOf(() => losses.multiMargin()(x, t))[0]).toContain("do not fit");
  });
});
