/** What the gradient of a scan makes of its captures: products after the loop wherever there are some. */

import { describe, expect, it } from "vitest";
import { np, split, takeAt } from "../../ir/build.js";
import { scanOp } from "../../ir/control-build.js";
import { dimSymbol } from "../../ir/dim.js";
import { linear, matmul } from "../../ir/einsum.js";
import { type GraphNode, graph, graphNodes, param, type Value } from "../../ir/graph.js";
import { cast } from "../../ir/ops/cast.js";
import { conv } from "../../ir/ops/conv.js";
import { nonZero } from "../../ir/ops/dynamic.js";
import { sin, tanh } from "../../ir/ops/elementwise.js";
import { gather } from "../../ir/ops/indexing.js";
import { gru, lstm } from "../../ir/ops/recurrent.js";
import { sum } from "../../ir/ops/reduce.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor, tensorFrom, toNumbers } from "../../ir/tensor.js";
import { decompose } from "../../passes/graph/decompose.js";
import { gradients } from "../../passes/graph/differentiate.js";
import { eliminateCommonSubexpressions } from "../../passes/graph/eliminate-common-subexpressions.js";
import { eliminateDeadCode } from "../../passes/graph/eliminate-dead-code.js";
import { mergeScans } from "../../passes/graph/merge-scans.js";
import { simplify } from "../../passes/graph/simplify.js";
import { runPipeline } from "../../passes/pipeline.js";
import { randomTensor, seeded } from "./random.js";

const f64 = (name: string, ...shape: number[]) => param(name, { dtype: "f64", shape });
const total = (x: Value) => sum([np.mul(sin([x]), 1.3)], { axes: x.type.shape.map((_, a) => a), keepDims: false });

interface Case {
  readonly params: readonly Value[];
  readonly loss: Value;
  /** Carried values of the backward scan, beside those of the states: sums that no product gives. */
  readonly carriedSums: number;
}

const steps = 4;
const h = f64("h", 2, 3);
const xs = f64("xs", steps, 2, 3);

/** A scan of one state of the type of `h`, whose states are all read. */
function over(body: (state: Value, row: Value) => Value, inputs = xs, start = h): Value {
  const { carried, scanned } = scanOp({ carried: [start], inputs: [inputs] }, ([s], [row]) => {
    const next = tanh([body(s!, row!)]);
    return { carried: [next], scanned: [next] };
  });
  return np.add(total(scanned[0]!), total(carried[0]!));
}

const cases: Readonly<Record<string, () => Case>> = {
  "a weight and a bias": () => {
    const [w, b] = [f64("w", 3, 3), f64("b", 3)];
    return { params: [h, xs, w, b], loss: over((s, x) => np.add(linear(s, w, b), x)), carriedSums: 0 };
  },
  "parts of a weight, scaled by what stays the same": () => {
    const [w, k] = [f64("w", 6, 3), f64("k", 3, 3)];
    const body = (s: Value, x: Value) => {
      const [u, v] = split(w, 0, 2);
      return np.add(matmul(s, np.mul(u!, k)), matmul(np.sub(x, s), v!));
    };
    return { params: [h, xs, w, k], loss: over(body), carriedSums: 0 };
  },
  "a product with what stays the same": () => {
    const [u, v] = [f64("u", 3, 3), f64("v", 3, 3)];
    return { params: [h, xs, u, v], loss: over((s, x) => np.add(matmul(s, matmul(u, v)), x)), carriedSums: 0 };
  },
  "a factor, element by element": () => {
    const c = f64("c", 2, 3);
    return { params: [h, xs, c], loss: over((s, x) => np.add(np.mul(s, c), np.mul(x, c))), carriedSums: 1 };
  },
  "a factor beside a product": () => {
    const w = f64("w", 3, 3);
    const body = (s: Value, x: Value) => np.add(matmul(s, w), np.add(x, np.mul(np.mul(s, 2), split(w, 0, [2, 1])[0]!)));
    return { params: [h, xs, w], loss: over(body), carriedSums: 1 };
  },
  "an addend that stays the same": () => {
    const c = f64("c", 2, 3);
    return { params: [h, xs, c], loss: over((s, x) => np.mul(s, np.add(x, c))), carriedSums: 1 };
  },
  "a kernel of a convolution": () => {
    const w = f64("w", 2, 2, 3);
    const [start, rows] = [f64("h", 1, 2, 5), f64("xs", steps, 1, 2, 5)];
    const attrs = {
      strides: [1],
      padLow: [1],
      padHigh: [1],
      dilations: [1],
      groups: 1,
      layout: "channelsFirst",
    } as const;
    const loss = over((s, x) => np.add(conv([s, w], attrs), x), rows, start);
    return { params: [start, rows, w], loss, carriedSums: 0 };
  },
  "rows of a table": () => {
    const table = f64("table", 5, 3);
    const body = (s: Value, x: Value) => {
      const indices = cast([np.mul(sum([x], { axes: [1], keepDims: false }), 0.8)], { to: "i32" });
      return np.add(np.mul(s, 0.5), gather([table, indices], { axis: 0 }));
    };
    return { params: [h, xs, table], loss: over(body), carriedSums: 0 };
  },
  "a size that each step finds": () => {
    const w = f64("w", 3, 3);
    const size = dimSymbol("k", { min: 0, max: 6, bound: 6 });
    const body = (s: Value, x: Value) => {
      const places = nonZero([np.gt(x, 0.6)], { defines: size });
      const found = gather([x, takeAt(places, 0, 0)], { axis: 0 });
      return np.add(np.mul(s, 0.5), sum([matmul(found, w)], { axes: [0], keepDims: true }));
    };
    return { params: [h, xs, w], loss: over(body), carriedSums: 1 };
  },
  lstm: () => {
    const [w, r, b, c] = [f64("w", 12, 3), f64("r", 12, 3), f64("b", 12), f64("c", 2, 3)];
    const [all, last, cell] = lstm([xs, w, r, h, c, b], { gates: "ifgo", reverse: false });
    const loss = np.add(total(all!), np.add(total(last!), total(cell!)));
    return { params: [xs, w, r, h, c, b], loss, carriedSums: 0 };
  },
  "gru, from the last step": () => {
    const [w, r, b] = [f64("w", 9, 3), f64("r", 9, 3), f64("b", 9)];
    const [all] = gru([xs, w, r, h, b, b], { gates: "zrn", resetAfter: false, reverse: true });
    return { params: [xs, w, r, h, b], loss: total(all!), carriedSums: 0 };
  },
};

function differences(loss: Value, params: readonly Value[], feeds: readonly Tensor[], k: number): number[] {
  const g = graph("loss", params, [loss]);
  const at = (i: number, step: number) => {
    const values = toNumbers(feeds[k]!).map((v, j) => (j === i ? v + step : v));
    return element(evaluate(g, feeds.with(k, tensorFrom("f64", feeds[k]!.shape, values)))[0]!, 0);
  };
  return toNumbers(feeds[k]!).map((_, i) => (at(i, 1e-5) - at(i, -1e-5)) / 2e-5);
}

const scansOf = (nodes: readonly GraphNode[]) => nodes.filter((n) => n.op === "scan");

describe.each(Object.entries(cases))("captures of a scan: %s", (_, make) => {
  const { params, loss, carriedSums } = make();
  const found = gradients(loss, params);
  const g = graph("step", params, [loss, ...found]);
  const feeds = params.map((p) => randomTensor(seeded(7), "f64", p.type.shape as number[], [0.2, 1.1]));

  it("gets the gradients of finite differences", () => {
    const [, ...got] = evaluate(g, feeds);
    params.forEach((p, k) => {
      expect(got[k]!.shape).toEqual(p.type.shape);
      differences(loss, params, feeds, k).forEach((want, i) => {
        expect(Math.abs(element(got[k]!, i) - want)).toBeLessThan(1e-6 * (1 + Math.abs(want)));
      });
    });
  });

  it("runs forward once and back once, and carries no sum that a product gives", () => {
    const passes = [mergeScans, decompose(), eliminateCommonSubexpressions, mergeScans, simplify, eliminateDeadCode];
    const made = runPipeline(passes, g, { verify: true });
    const [forward, back, ...more] = scansOf(graphNodes(made));
    expect(more).toEqual([]);
    const products = (n: GraphNode) => graphNodes(n.regions[0]!).filter((m) => m.op === "dotGeneral").length;
    if (forward!.op !== "scan" || back!.op !== "scan") throw new Error("two scans");
    expect(back!.attrs.carried - forward!.attrs.carried).toBe(carriedSums);
    // One product for each of the forward step (towards the state or the input), and those that are summed from step to step.
    expect(products(back!)).toBeLessThanOrEqual(products(forward!) + carriedSums);
    expect(evaluate(made, feeds).map(toNumbers)).toEqual(evaluate(g, feeds).map(toNumbers));
  });
});
