import { describe, expect, it } from "vitest";
import { dimSymbol } from "../../ir/dim.js";
import { ModelError } from "../../ir/errors.js";
import { type Graph, graph, graphNodes, param, type Value, withLoc } from "../../ir/graph.js";
import { mish, prelu } from "../../ir/ops/activation.js";
import { bitcast, cast } from "../../ir/ops/cast.js";
import { constantLike, full } from "../../ir/ops/constant.js";
import { add, exp, floor, log, mul, neg, rem, sin, tanh } from "../../ir/ops/elementwise.js";
import { stopGradient } from "../../ir/ops/gradient.js";
import { gt, select } from "../../ir/ops/logic.js";
import { broadcast, concat, slice, transpose } from "../../ir/ops/movement.js";
import { reduceMax, sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor, toNumbers, zeros } from "../../ir/tensor.js";
import { differentiate, differentiateRegion, gradients, pullback } from "../../passes/graph/differentiate.js";
import { randomTensor, seeded } from "./random.js";

const f64 = (name: string, ...shape: number[]) => param(name, { dtype: "f64", shape });
const total = (x: Value) => sum([x], { axes: x.type.shape.map((_, a) => a), keepDims: false });
const run = (results: readonly Value[], params: readonly Value[], feeds: readonly Tensor[]) =>
  evaluate(graph("g", params, results), feeds);

/** Central differences of a scalar graph with respect to parameter k. */
function differences(loss: Value, params: readonly Value[], feeds: readonly Tensor[], k: number): number[] {
  const h = 1e-5;
  const at = (i: number, step: number) => {
    const moved = { ...feeds[k]!, data: Float64Array.from(feeds[k]!.data as Float64Array) };
    moved.data[i]! += step;
    return element(run([loss], params, feeds.with(k, moved))[0]!, 0);
  };
  return toNumbers(feeds[k]!).map((_, i) => (at(i, h) - at(i, -h)) / (2 * h));
}

function check(loss: Value, params: readonly Value[], seed = 1): void {
  const random = seeded(seed);
  const feeds = params.map((p) => randomTensor(random, "f64", p.type.shape as number[], [0.3, 1.7]));
  const got = run(gradients(loss, params), params, feeds);
  params.forEach((p, k) => {
    expect(got[k]!.shape).toEqual(p.type.shape);
    const want = differences(loss, params, feeds, k);
    toNumbers(got[k]!).forEach((g, i) => {
      expect(Math.abs(g - want[i]!)).toBeLessThan(1e-6 * (1 + Math.abs(want[i]!)));
    });
  });
}

describe("gradients", () => {
  it("agree with finite differences on a small network", () => {
    const x = f64("x", 3, 2);
    const w = f64("w", 4, 2);
    const b = f64("b", 4);
    // tanh(x wᵀ + b) with the product written by broadcasting.
    const shape = [3, 4, 2];
    const products = mul([broadcast([x], { shape, axes: [0, 2] }), broadcast([w], { shape, axes: [1, 2] })]);
    const h = tanh([
      add([sum([products], { axes: [2], keepDims: false }), broadcast([b], { shape: [3, 4], axes: [1] })]),
    ]);
    const m = broadcast([reduceMax([h], { axes: [1], keepDims: true })], { shape: [3, 4], axes: [0, 1] });
    check(total(mul([h, log([add([exp([h]), m])])])), [x, w, b]);
  });

  it("add up where a value is used more than once, in either order of the uses", () => {
    const x = f64("x", 5);
    const y = sin([x]);
    check(total(mul([add([y, mul([x, y])]), y])), [x]);
    check(
      total(
        concat([y, slice([transpose([y], { perm: [0] })], { starts: [4], sizes: [3], steps: [-2] }), x], { axis: 0 }),
      ),
      [x],
    );
  });

  it("go through comparisons and selections only by the chosen values", () => {
    const x = f64("x", 6);
    check(total(select([gt([x, constantLike(x, 1)]), mul([x, x]), exp([x])])), [x]);
  });

  it("are taken at intermediate values, total over all paths", () => {
    const x = f64("x");
    const y = mul([x, x]);
    const loss = add([mul([y, y]), y]);
    const [dx, dy] = gradients(loss, [x, y]);
    const got = run([dx!, dy!], [x], [{ dtype: "f64", shape: [], data: Float64Array.of(3) }]);
    expect(got.map((t) => element(t, 0))).toEqual([2 * 3 * 19, 19]);
  });

  it("are zero where nothing flows: steps, integers, and on demand unused values and those behind stopGradient", () => {
    const x = f64("x", 3);
    const u = f64("u", 2);
    const s = f64("s", 3);
    const integer = cast([cast([x], { to: "i32" })], { to: "f64" });
    const loss = total(add([add([floor([x]), integer]), stopGradient([s])]));
    const found = gradients(loss, [x, u, s], { unused: "zero" });
    for (const d of run(found, [x, u, s], [zeros("f64", [3]), zeros("f64", [2]), zeros("f64", [3])])) {
      expect(toNumbers(d).every((v) => v === 0)).toBe(true);
    }
    expect(run(gradients(loss, [x]), [x, s], [zeros("f64", [3]), zeros("f64", [3])])[0]!.data).toEqual(
      new Float64Array(3),
    );
    expect(() => gradients(loss, [u, x, s])).toThrow(
      /u: f64\[2\] has no gradient: .* does not depend on it[\s\S]*s: f64\[3\]/,
    );
    check(total(mul([x, cast([cast([x], { to: "f64" })], { to: "f64" })])), [x]);
  });

  it("stop at stopGradient", () => {
    const x = f64("x");
    const [d] = gradients(mul([x, stopGradient([x])]), [x]);
    expect(element(run([d!], [x], [{ dtype: "f64", shape: [], data: Float64Array.of(7) }])[0]!, 0)).toBe(7);
  });

  it("go through the decomposition of a composite, operands used twice included", () => {
    const x = f64("x", 3);
    const y = withLoc("act", () => mish([x]));
    check(total(mul([y, x])), [x]);
    check(total(prelu([neg([x]), x])), [x]);
    const locs = graphNodes(graph("g", [x], gradients(total(y), [x]))).map((n) => n.loc);
    expect(locs).toContain("act");
  });

  it("differentiate gradients", () => {
    const x = f64("x", 4);
    const [d] = gradients(total(mul([sin([x]), exp([x])])), [x]);
    check(total(mul([d!, d!])), [x]);
  });

  it("keep symbolic sizes", () => {
    const n = dimSymbol("n");
    const x = param("x", { dtype: "f64", shape: [n, 3] });
    const w = param("w", { dtype: "f64", shape: [3] });
    const loss = total(tanh([mul([x, broadcast([w], { shape: [n, 3], axes: [1] })])]));
    const ds = gradients(loss, [x, w]);
    expect(ds.map((d) => d.type)).toEqual([x.type, w.type]);
    const feeds = [randomTensor(seeded(3), "f64", [2, 3]), randomTensor(seeded(4), "f64", [3])];
    const got = run(ds, [x, w], feeds);
    for (const k of [0, 1]) {
      const want = differences(loss, [x, w], feeds, k);
      toNumbers(got[k]!).forEach((g, i) => {
        expect(g).toBeCloseTo(want[i]!, 6);
      });
    }
  });

  it("carry the layer's location", () => {
    const x = f64("x", 2);
    const loss = withLoc("loss", () => total(withLoc("layer1", () => tanh([x]))));
    const locs = graphNodes(graph("g", [x], gradients(loss, [x]))).map((n) => n.loc);
    expect(locs).toContain("layer1");
    expect(locs).toContain("loss");
  });

  it("visit nothing off the path and come out the same each time", () => {
    const x = f64("x", 2);
    const w = f64("w", 2);
    const side = bitcast([bitcast([x], { to: "i64" })], { to: "f64" });
    const loss = total(mul([side, w]));
    const names = () => graphNodes(graph("g", [x, w], gradients(loss, [w]))).map((n) => n.op);
    expect(names()).toEqual(names());
    expect(names()).not.toContain("select");
  });
});

describe("what has no gradient is refused", () => {
  it("names the layer and the op", () => {
    const x = f64("x", 2);
    const op = withLoc("decoder.bits", () => bitcast([x], { to: "f64" }));
    expect(() => gradients(total(op), [x])).toThrow(/decoder\.bits: bitcast\(f64\[2\]\) has no gradient/);
    expect(() => gradients(total(op), [x])).toThrow(ModelError);
  });

  it("a loss that is not one float, a value that is not a float", () => {
    const x = f64("x", 2);
    const i = param("i", { dtype: "i32", shape: [2] });
    expect(() => gradients(x, [x])).toThrow(/x: a loss is a float of one element, not f64\[2\]/);
    expect(() => gradients(total(x), [i])).toThrow(/i: i32\[2\] has no gradient/);
  });
});

describe("differentiate", () => {
  it("adds named results to the graph", () => {
    const x = f64("x", 2);
    const w = f64("w", 2);
    const g = graph("g", [x, w], [total(mul([x, w]))], ["loss"]);
    const d = differentiate(g, { of: "loss", wrt: ["w"] });
    expect(d.resultNames).toEqual(["loss", "d_w"]);
    expect(d.results[1]!.type).toEqual(w.type);
    expect(() => differentiate(g, { of: "cost", wrt: [] })).toThrow(/no result "cost"/);
    expect(() => differentiate(g, { of: "loss", wrt: ["v"] })).toThrow(/no parameter "v"/);
  });
});

describe("differentiateRegion", () => {
  it("takes the parameters and the cotangents of float results", () => {
    const x = f64("x", 2);
    const k = param("k", { dtype: "i32", shape: [] });
    const region: Graph = graph("body", [x, k], [mul([x, x]), k, full("f64", [], 1)]);
    const d = differentiateRegion(region, [true, false]);
    expect(d.params.map((p) => p.type.dtype)).toEqual(["f64", "i32"]);
    expect(d.cotangents.map((p) => p?.type.dtype)).toEqual(["f64", undefined, "f64"]);
    expect(d.params.some((p) => region.params.includes(p))).toBe(false);
    expect(d.gradients[1]).toBeUndefined();
    const params = [...d.params, ...d.cotangents.filter((p) => p !== undefined)];
    const [dx] = evaluate(graph("vjp", params, [d.gradients[0]!]), [
      { dtype: "f64", shape: [2], data: Float64Array.of(2, 3) },
      { dtype: "i32", shape: [], data: Int32Array.of(1) },
      { dtype: "f64", shape: [2], data: Float64Array.of(10, 100) },
      { dtype: "f64", shape: [], data: Float64Array.of(0) },
    ]);
    expect(toNumbers(dx!)).toEqual([40, 600]);
  });
});

describe("pullback", () => {
  it("leaves undefined where nothing arrives", () => {
    const x = f64("x", 2);
    const y = f64("y", 2);
    const d = full("f64", [2], 1);
    expect(pullback([x, rem([y, x])], [d, undefined], [x, y])).toEqual([d, undefined]);
  });
});
