/** Products with constant weights and what follows them, folded: results are those of the graph as given but for rounding. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { broadcastTo, reshapeTo } from "../../ir/build.js";
import { type Graph, graph, graphNodes, param, sameType, type Value } from "../../ir/graph.js";
import { printGraph } from "../../ir/graph-print.js";
import { constant } from "../../ir/ops/constant.js";
import { dotGeneral } from "../../ir/ops/contraction.js";
import { conv, convInputGrad } from "../../ir/ops/conv.js";
import { add, div, mul, neg, sub } from "../../ir/ops/elementwise.js";
import { slice, transpose } from "../../ir/ops/movement.js";
import { evaluate } from "../../ir/reference.js";
import { foldConstants } from "../../passes/graph/fold-constants.js";
import { foldScales } from "../../passes/graph/fold-scales.js";
import { simplify } from "../../passes/graph/simplify.js";
import { runPipeline } from "../../passes/pipeline.js";
import { disagreement } from "../ops/accuracy.js";
import { type Random, randomTensor, seeded } from "./random.js";

/** Away from 0, so that quotients keep the size of what they divide. */
function drawn(random: Random, shape: readonly number[]): Value {
  const value = randomTensor(random, "f32", shape, [0.5, 2]);
  for (let i = 0; i < value.data.length; i++) if (random() < 0.5) value.data[i] = -(value.data[i] as number);
  return constant([], { value });
}

const window = { strides: [1, 2], padLow: [1, 0], padHigh: [0, 1], dilations: [1, 1] };

type Case = (random: Random) => { readonly x: Value; readonly y: Value };

const products: Readonly<Record<string, Case>> = {
  conv: (r) => {
    const groups = r() < 0.5 ? 1 : 2;
    const x = param("x", { dtype: "f32", shape: [2, 4, 5, 6] });
    return { x, y: conv([x, drawn(r, [6, 4 / groups, 2, 3])], { ...window, groups, layout: "channelsFirst" }) };
  },
  convLast: (r) => {
    const groups = r() < 0.5 ? 1 : 2;
    const x = param("x", { dtype: "f32", shape: [2, 5, 6, 4] });
    return { x, y: conv([x, drawn(r, [6, 2, 3, 4 / groups])], { ...window, groups, layout: "channelsLast" }) };
  },
  transposed: (r) => {
    const groups = r() < 0.5 ? 1 : 2;
    const x = param("x", { dtype: "f32", shape: [2, 4, 3] });
    const attrs = { strides: [2], padLow: [1], padHigh: [0], dilations: [1], inputSize: [6] };
    return { x, y: convInputGrad([x, drawn(r, [4, 3, 3])], { ...attrs, groups, layout: "channelsFirst" }) };
  },
  right: (r) => {
    const x = param("x", { dtype: "f32", shape: [3, 4, 5] });
    return { x, y: dotGeneral([x, drawn(r, [5, 6])], { batchA: [], batchB: [], contractA: [2], contractB: [0] }) };
  },
  left: (r) => {
    const x = param("x", { dtype: "f32", shape: [2, 5, 4] });
    return { x, y: dotGeneral([drawn(r, [2, 3, 5]), x], { batchA: [0], batchB: [0], contractA: [2], contractB: [1] }) };
  },
  heads: (r) => {
    const x = param("x", { dtype: "f32", shape: [4, 5] });
    const q = dotGeneral([x, drawn(r, [5, 2, 3])], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
    const biased = add([q, broadcastTo(drawn(r, [2, 3]), [4, 2, 3])]);
    const k = mul([x, x]);
    const keys = dotGeneral([k, drawn(r, [5, 2, 3])], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
    return { x, y: dotGeneral([biased, keys], { batchA: [1], batchB: [1], contractA: [2], contractB: [2] }) };
  },
};

/** One more node after y: arithmetic with a constant of some of y's axes, or a move. */
function followed(random: Random, y: Value): Value {
  const shape = y.type.shape as readonly number[];
  const below = (n: number) => Math.floor(random() * n);
  const kept = below(shape.length + 1);
  const c = () => {
    const own = shape.map((d, a) => (a === kept || (kept === 0 && a === 1) ? d : 1));
    return broadcastTo(drawn(random, own), shape);
  };
  switch (below(9)) {
    case 0:
      return neg([y]);
    case 1:
      return sub([y, c()]);
    case 2:
      return sub([c(), y]);
    case 3:
      return div([y, c()]);
    case 4:
      return transpose([y], { perm: [...shape.keys()].sort(() => random() - 0.5) });
    case 5:
      return random() < 0.5
        ? reshapeTo(y, [shape[0]! * shape[1]!, ...shape.slice(2)])
        : slice([y], { starts: shape.map(() => 0), sizes: [1, ...shape.slice(1)], steps: shape.map(() => 1) });
    case 6:
      return add([y, c()]);
    default:
      return random() < 0.5 ? mul([y, c()]) : mul([c(), y]);
  }
}

describe("fold-scales", () => {
  it.each(Object.keys(products))("%s", { timeout: 60_000 }, (name) => {
    let folded = 0;
    fc.assert(
      fc.property(fc.noBias(fc.nat()), fc.integer({ min: 1, max: 6 }), (seed, length) => {
        const random = seeded(seed);
        const { x, y: first } = products[name]!(random);
        let y = first;
        const all = [y];
        for (let i = 0; i < length && y.type.shape.length > 1; i++) {
          y = followed(random, y);
          all.push(y);
        }
        // Now and then something else reads a value on the way.
        const results = random() < 0.3 ? [y, all[Math.floor(random() * all.length)]!] : [y];
        const before = graph("g", [x], results);
        const ready = runPipeline([simplify, foldConstants(), simplify], before, { verify: true });
        const after = runPipeline([foldScales], ready, { verify: true });
        expect(after.results.every((v, i) => sameType(v.type, before.results[i]!.type))).toBe(true);
        if (after === ready) return;
        folded++;
        const count = (g: Graph) => graphNodes(g).filter((n) => n.op === first.def.op).length;
        expect(count(after)).toBe(count(ready));
        const feeds = [randomTensor(random, "f32", x.type.shape as readonly number[], [-2, 2])];
        const got = evaluate(after, feeds);
        // Sums of terms that cancel keep the rounding of their terms.
        const wide = Math.max(...evaluate(ready, feeds).flatMap((t) => [...t.data].map((v) => Math.abs(Number(v)))), 1);
        evaluate(before, feeds).forEach((want, i) => {
          const wrong = disagreement(got[i]!, want, { rtol: 1e-5, atol: 1e-5 * wide });
          expect(wrong, `${printGraph(ready)}\nbecame\n${printGraph(after)}`).toBeUndefined();
        });
      }),
      { numRuns: 150, seed: 7 },
    );
    expect(folded).toBeGreaterThan(20);
  });
});
