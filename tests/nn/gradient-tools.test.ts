/** Gradients as values (grad, vjp), per sample, and with recomputation. */

import { describe, expect, it } from "vitest";
import {
  checkpoint,
  compile,
  F,
  type Graph,
  grad,
  graph,
  losses,
  nn,
  optim,
  param,
  perSample,
  trainStep,
  type Value,
  vjp,
} from "../../index.js";
import { dimSymbol } from "../../ir/dim.js";
import { graphNodes } from "../../ir/graph.js";
import { nonZero } from "../../ir/ops/dynamic.js";
import { evaluate } from "../../ir/reference.js";
import { type Tensor, toNumbers } from "../../ir/tensor.js";
import { load } from "../../runtime/index.js";
import { randomTensor, seeded } from "../graph/random.js";
import { disagreement } from "../ops/accuracy.js";
import { executors } from "../ops/executors.js";

const f32 = (name: string, ...shape: number[]) => param(name, { dtype: "f32", shape });
const drawn = (params: readonly Value[], seed = 3): Tensor[] => {
  const random = seeded(seed);
  return params.map((p) => randomTensor(random, "f32", p.type.shape as number[], [-1, 1]));
};

/** Everywhere the results of two graphs of equal parameters. */
async function expectEqual(got: Graph, want: Graph, feeds: readonly Tensor[]): Promise<void> {
  const wanted = evaluate(want, feeds);
  for (const run of [async () => evaluate(got, feeds), ...executors.map((e) => () => e.run(got, feeds))]) {
    (await run()).forEach((t, i) => {
      expect(disagreement(t, wanted[i]!, { rtol: 1e-4, atol: 1e-5 }), `result ${i}`).toBeUndefined();
    });
  }
}

const x = f32("x", 4, 3);
const w = f32("w", 2, 3);
const b = f32("b", 2);
const loss = () => F.sum(F.tanh(F.linear(x, w, b)));

describe("grad", () => {
  it("gives gradients in the form that is asked for", () => {
    const one = grad(loss(), w);
    const { bias, list } = grad(loss(), { bias: b, list: [x, w] as const });
    expect([one, bias, ...list].map((v) => v.type.shape)).toEqual([[2, 3], [2], [4, 3], [2, 3]]);
    const g = graph("g", [x, w, b], [one, list[1]]);
    const [p, q] = evaluate(g, drawn(g.params)).map(toNumbers);
    expect(p).toEqual(q);
  });

  it("is a value of which there is a gradient: a penalty on slopes", async () => {
    const slope = grad(loss(), x);
    const penalty = F.mean(F.square(F.sub(F.norm(slope, 2, 1), 1)));
    const dw = grad(penalty, w);
    // tanh′ = 1 − tanh² written out.
    const y = F.tanh(F.linear(x, w, b));
    const written = F.matmul(F.sub(1, F.square(y)), w);
    const other = grad(F.mean(F.square(F.sub(F.norm(written, 2, 1), 1))), w);
    await expectEqual(graph("twice", [x, w, b], [dw]), graph("written", [x, w, b], [other]), drawn([x, w, b]));
  });

  it("refuses what the loss does not depend on, and options that it does not have", () => {
    const other = f32("other", 2);
    expect(() => grad(loss(), { w, other })).toThrow(
      /other: f32\[2\] has no gradient: what is differentiated does not depend on it/,
    );
    expect(
      toNumbers(
        evaluate(graph("g", [x, w, b, other], [grad(loss(), other, { unused: "zero" })]), drawn([x, w, b, other]))[0]!,
      ),
    ).toEqual([0, 0]);
    expect(() => grad(loss(), w, { unused: "none" as never })).toThrow(/unused/);
    expect(() => grad(loss(), w, { unusd: "zero" } as never)).toThrow(/unusd/);
    expect(() => grad(loss(), 3 as never)).toThrow(/what grad differentiates by/);
  });
});

describe("vjp", () => {
  it("is the gradient of the weighted sum", async () => {
    const u = f32("u", 4, 2);
    const y = F.tanh(F.linear(x, w, b));
    const found = vjp([y, F.sum(y)], [u, F.sum(u)], [w, x]);
    const whole = F.add(F.sum(F.mul(y, u)), F.mul(F.sum(y), F.stopGradient(F.sum(u))));
    await expectEqual(
      graph("vjp", [x, w, b, u], found),
      graph("sum", [x, w, b, u], grad(whole, [w, x])),
      drawn([x, w, b, u]),
    );
  });
  it("refuses cotangents that do not fit", () => {
    const y = F.linear(x, w, b);
    expect(() => vjp(y, b, w)).toThrow(/result 0 is f32\[4,2\], its cotangent f32\[2\]/);
    expect(() => vjp([y, y], [y], w)).toThrow(/2 results, but 1 cotangents/);
  });
});

describe("perSample", () => {
  const image = f32("image", 5, 2, 6);
  const label = f32("label", 5, 3);
  const kernel = f32("kernel", 4, 2, 3);
  const weight = f32("weight", 3, 24);
  const params = [image, label, kernel, weight];
  const objective = (xs: Value, ys: Value) => {
    const h = F.flatten(F.relu(F.conv1d(xs, kernel, undefined, { padding: 1 })), 1);
    return losses.mse()(F.linear(h, weight), ys);
  };
  it("gives each sample's own gradient", async () => {
    const found = perSample(objective, [image, label], { kernel, weight });
    expect([found.kernel.type.shape, found.weight.type.shape]).toEqual([
      [5, 4, 2, 3],
      [5, 3, 24],
    ]);
    const each = [0, 1, 2, 3, 4].map((i) =>
      grad(objective(F.narrow(image, 0, i, 1), F.narrow(label, 0, i, 1)), [kernel, weight]),
    );
    const stacked = [0, 1].map((k) => F.stack(each.map((g) => g[k]!)));
    await expectEqual(
      graph("each", params, [found.kernel, found.weight]),
      graph("apart", params, stacked),
      drawn(params),
    );
  });
  it("says what it needs", () => {
    expect(() => perSample(objective, [], kernel)).toThrow(/at least one input/);
    expect(() => perSample((v) => F.sum(v), [f32("scalar")], kernel)).toThrow(/no axis of samples/);
    expect(() => perSample((v) => F.sum(v), [image], kernel)).toThrow(/does not depend on it/);
  });
});

/** Blocks of three layers, each of which may be computed again for its gradient. */
class Deep extends nn.Module {
  readonly blocks: readonly nn.Layer[];
  readonly #again: boolean;

  constructor(again: boolean) {
    super();
    const layers = () => [
      nn.Linear(16, 16),
      nn.Tanh(),
      nn.Linear(16, 16),
      nn.Sigmoid(),
      nn.Dropout(0.3),
      nn.Linear(16, 16),
      nn.Tanh(),
    ];
    this.blocks = Array.from({ length: 6 }, () => nn.sequential(...layers()));
    this.#again = again;
  }

  forward(ctx: nn.Context, x: Value): Value {
    return this.blocks.reduce((v, block) => {
      const run = (u: Value) => block(ctx, u);
      return (this.#again ? checkpoint(run) : run)(v);
    }, x);
  }
}

describe("checkpoint", () => {
  const training = (again: boolean) =>
    trainStep(new Deep(again), {
      inputs: { x: [256, 16] },
      targets: { y: [256, 16] },
      loss: losses.mse(),
      optimizer: optim.SGD({ lr: 0.5 }),
      seed: 4,
      checkGradients: false,
    });
  const steps = async (again: boolean) => {
    let products = 0;
    let first = true;
    const artifact = await compile(training(again), {
      variants: ["simd128"],
      onPass: (e) => {
        if (!first || e.pass !== "eliminate-dead-code") return;
        first = false;
        products = graphNodes(e.after).filter((n) => n.op === "dotGeneral").length;
      },
    });
    const session = await load(artifact);
    const [x, y] = drawn([f32("x", 256, 16), f32("y", 256, 16)]);
    const found: number[] = [];
    for (let i = 0; i < 4; i++) found.push((await session.step({ x: x!, y: y! } as never)).loss as number);
    session.dispose();
    return { losses: found, products, bytes: artifact.assembled.plans[0]!.arena.bytes as number };
  };

  it("trains alike, computes what lies within again, and keeps less", async () => {
    const [plain, again] = [await steps(false), await steps(true)];
    // The masks of dropout are the same both times.
    expect(again.losses).toEqual(plain.losses);
    // 18 products and 35 for gradients; 17 are made again: not the first, whose weights' gradient takes the input.
    expect(plain.products).toBe(53);
    expect(again.products).toBe(71);
    expect(again.bytes / plain.bytes).toBeLessThan(0.6);
  });

  it("has gradients of any order, in loops too", async () => {
    const xs = f32("xs", 3, 4, 3);
    const v = f32("v", 3, 3);
    const penalty = (wrap: boolean) => {
      const cell = (h: Value, row: Value) => F.tanh(F.add(F.matmul(F.sin(h), v), row));
      const step = wrap ? checkpoint(cell) : cell;
      const [, all] = F.scan((h: Value, row: Value) => [step(h, row), step(h, row)] as const, x, xs);
      const slope = grad(F.sum(F.square(all)), x);
      return graph("penalty", [x, xs, v], [slope, ...grad(F.sum(F.square(slope)), [x, xs, v])]);
    };
    await expectEqual(penalty(true), penalty(false), drawn([x, xs, v]));
  });

  it("refuses sizes that data decide", () => {
    const size = dimSymbol("k", { min: 0, max: 12, bound: 12 });
    const found = (v: Value) => F.sum(nonZero([v], { defines: size }));
    expect(() => checkpoint(found)(x)).toThrow(/finds a size that data decide/);
  });
});

describe("loops", () => {
  const start = f32("start", 3);
  const factor = f32("factor", 3);
  /** Squares until the sum is small, four times at most. */
  const shrinking = (maxTrips?: number) =>
    F.whileLoop(
      (v: Value) => F.gt(F.sum(F.abs(v)), 0.5),
      (v: Value) => F.mul(F.tanh(v), factor),
      start,
      maxTrips === undefined ? {} : { maxTrips },
    );
  const feeds = (size: number): Tensor[] => [
    { dtype: "f32", shape: [3], data: Float32Array.of(size, -size, size / 2) },
    { dtype: "f32", shape: [3], data: Float32Array.of(0.7, 0.6, 0.5) },
  ];

  it("have gradients where the number of their rounds has a bound", async () => {
    const looped = graph("looped", [start, factor], grad(F.sum(F.square(shrinking(4))), [start, factor]));
    for (const [size, rounds] of [
      [0.1, 0],
      [0.5, 2],
      [3, 4],
    ] as const) {
      let v: Value = start;
      for (let i = 0; i < rounds; i++) v = F.mul(F.tanh(v), factor);
      const unused = { unused: "zero" } as const;
      const written = graph("written", [start, factor], grad(F.sum(F.square(v)), [start, factor], unused));
      await expectEqual(looped, written, feeds(size));
    }
  });

  it("have none without one", () => {
    expect(() => grad(F.sum(shrinking()), start)).toThrow(/no gradient unless the number of its rounds has a bound/);
  });
});
