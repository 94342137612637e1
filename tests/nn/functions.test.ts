/** Functions of F against PyTorch: results and gradients. */
import { expect, it } from "vitest";
import { F } from "../../compiler/dsl/index.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { pullback } from "../../passes/graph/differentiate.js";
import { calls, cases, type Stored } from "./function-calls.js";

const tensorOf = ({ dtype, shape, data }: Stored): Tensor => tensorFrom(dtype, shape, data.map(Number));

function expectClose(got: Tensor, want: Stored, what: string): void {
  expect([got.dtype, got.shape], what).toEqual([want.dtype, want.shape]);
  const numbers = want.data.map((v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : Number(v)));
  toNumbers(got).forEach((v, i) => {
    const w = numbers[i]!;
    const close = Object.is(v, w) || v === w || Math.abs(v - w) <= 1e-6 * (1 + Math.abs(w));
    expect(close, `${what}, element ${i}: ${v} instead of ${w}`).toBe(true);
  });
}

it("every stored case is called, and every call is stored", () => {
  expect(Object.keys(calls).sort()).toEqual(Object.keys(cases).sort());
});

for (const [name, { inputs, outputs, gradients }] of Object.entries(cases)) {
  it(name, () => {
    const params = Object.entries(inputs).map(([n, { dtype, shape }]) => param(n, { dtype, shape }));
    const made = calls[name]!(Object.fromEntries(Object.keys(inputs).map((n, i) => [n, params[i]!])));
    const results = [made].flat() as Value[];
    expect(results.length).toBe(outputs.length);
    const wanted = Object.keys(gradients);
    const wrt = params.filter((_, i) => wanted.includes(Object.keys(inputs)[i]!));
    const upstream = results.map((r) =>
      r.dtype === "f64"
        ? F.reshape(
            F.arange(
              r.shape.reduce<number>((n, d) => n * (d as number), 1),
              undefined,
              1,
              "f64",
            ),
            [-1],
          )
            .cos()
            .reshape(r.shape)
        : undefined,
    );
    const found = wanted.length === 0 ? [] : pullback(results, upstream, wrt);
    const zero = found.map((d, i) => d ?? F.zerosLike(wrt[i]!));
    const all = evaluate(graph("g", params, [...results, ...zero]), Object.values(inputs).map(tensorOf));
    outputs.forEach((want, i) => {
      expectClose(all[i]!, want, `output ${i}`);
    });
    wanted.forEach((n, i) => {
      expectClose(all[results.length + i]!, gradients[n]!, `gradient of ${n}`);
    });
  });
}
