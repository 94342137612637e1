/** Functions with their own gradient: F.customVjp, F.reverseGradient. */
import { describe, expect, it } from "vitest";
import { F } from "../../compiler/dsl/index.js";
import { defaultPipeline } from "../../compiler/pipeline.js";
import { ModelError } from "../../ir/errors.js";
import { graph, param, type Value } from "../../ir/graph.js";
import { parseGraph } from "../../ir/graph-parse.js";
import { printGraph } from "../../ir/graph-print.js";
import { verifyGraph } from "../../ir/graph-verify.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { runPipeline } from "../../passes/pipeline.js";

const x = param("x", { dtype: "f64", shape: [3] });
const w = param("w", { dtype: "f64", shape: [3] });
const feeds = [tensorFrom("f64", [3], [0.4, -1.3, 2.2]), tensorFrom("f64", [3], [0.7, 0.2, -0.5])];

/** Of the graph as it is built, as it is printed and parsed, and as all passes leave it: the same numbers. */
function run(
  results: readonly Value[],
  params: readonly Value[] = [x, w],
  given: readonly Tensor[] = feeds,
): number[][] {
  const g = graph("g", params, results);
  verifyGraph(g);
  const want = evaluate(g, given).map(toNumbers);
  expect(evaluate(parseGraph(printGraph(g)), given).map(toNumbers)).toEqual(want);
  evaluate(runPipeline(defaultPipeline, g), given).forEach((t, i) => {
    toNumbers(t).forEach((v, k) => {
      expect(v).toBeCloseTo(want[i]![k]!, 9);
    });
  });
  return want;
}

const gradient = (y: Value, of: readonly Value[] = [x]): readonly Value[] => gradients(y.sum(), of);

/** sin with its true gradient. */
const sine = F.customVjp(
  (v: Value) => v.sin(),
  ({ inputs: [v] }, dy) => dy!.mul(v.cos()),
);

describe("customVjp", () => {
  it("computes forward and differentiates by backward", () => {
    const straight = F.customVjp(
      (v: Value) => v.round(),
      (_, dy) => dy!,
    );
    expect(run([straight(x), ...gradient(straight(x).mul(w))])).toEqual([
      [0, -1, 2],
      [0.7, 0.2, -0.5],
    ]);
  });

  it("may use outputs, several of them, and integers", () => {
    const exponential = F.customVjp(
      (v: Value, i: Value) => ({ e: v.exp(), rest: [i.add(1), v.mul(2)] as const }),
      ({ outputs }, de, dv) => [de!.mul(outputs.e).add(dv!.mul(2))],
    );
    const i = param("i", { dtype: "i64", shape: [] });
    const { e, rest } = exponential(x, i);
    const [got, count, d] = run(
      [e, rest[0], ...gradient(e.mul(w).add(rest[1]))],
      [x, w, i],
      [...feeds, tensorFrom("i64", [], [4])],
    );
    expect(count).toEqual([5]);
    d!.forEach((v, k) => {
      expect(v).toBeCloseTo(got![k]! * toNumbers(feeds[1]!)[k]! + 2, 12);
    });
  });

  it("has gradients of gradients: those of backward", () => {
    const nth = (f: (v: Value) => Value): Value[] => {
      const first = gradient(f(x).mul(x))[0]!;
      const second = gradient(first)[0]!;
      return [first, second, gradient(second.mul(second))[0]!];
    };
    const [got, want] = [run(nth(sine)), run(nth((v) => v.sin()))];
    got.flat().forEach((v, k) => {
      expect(v).toBeCloseTo(want.flat()[k]!, 10);
    });
    // A backward that is no derivative of forward is differentiated as it stands: d(x²)/dx.
    const odd = F.customVjp(
      (v: Value) => v.floor(),
      ({ inputs: [v] }, dy) => dy!.mul(v.square()),
    );
    const second = run([gradient(gradient(odd(x))[0]!)[0]!])[0]!;
    expect(second).toEqual(toNumbers(feeds[0]!).map((v) => 2 * v));
  });

  it("works in loops and branches", () => {
    const loops = (f: (v: Value) => Value) => {
      const last = F.forLoop(
        3,
        (_, s: Value) =>
          F.cond(
            s.sum().gt(-9),
            () => f(s).mul(w),
            () => s,
          ),
        x,
      );
      return run(gradient(last, [x, w]));
    };
    const [got, want] = [loops(sine), loops((v) => v.sin())];
    got.flat().forEach((v, k) => {
      expect(v).toBeCloseTo(want.flat()[k]!, 12);
    });
  });

  it("refuses gradients of what it takes from outside, unless none are asked for", () => {
    const scaled = F.customVjp(
      (v: Value) => v.mul(w),
      (_, dy) => dy!.mul(w),
    );
    expect(run(gradient(scaled(x)))).toEqual([[0.7, 0.2, -0.5]]);
    expect(() => gradient(scaled(x), [w])).toThrow(/uses f64\[3\] from outside.*\n.*pass it as an input/);
  });

  it("names what does not fit", () => {
    const wrong = (back: () => unknown) => () => F.customVjp((v: Value) => v.exp(), back as never)(x);
    expect(wrong(() => [])).toThrow("backward gives 0 cotangents for 1 float inputs");
    expect(wrong(() => w.sum())).toThrow("the cotangent f64[] for an input f64[3]");
    expect(wrong(() => [3])).toThrow("cotangent 0 must be a value, but got 3");
    expect(() =>
      F.customVjp(
        (_: Value): Value => undefined as never,
        () => [],
      )(x),
    ).toThrow(ModelError);
    expect(wrong(() => undefined)).not.toThrow();
  });
});

it.each([
  ["a number", 0.5],
  ["a value", F.full([], 0.5)],
] as const)("reverseGradient changes the gradient only, also of the gradient: by %s", (_, scale) => {
  const y = F.reverseGradient(x, scale).square();
  const first = gradient(y)[0]!;
  expect(run([y, first, gradient(first)[0]!])).toEqual([
    toNumbers(feeds[0]!).map((v) => v * v),
    toNumbers(feeds[0]!).map((v) => -v),
    [0.5, 0.5, 0.5],
  ]);
});
