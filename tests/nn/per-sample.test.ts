/** Gradients of each sample: at once where that is faster, otherwise one after the other, with the same values. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import type { EntryContext } from "../../compiler/dsl/entry-context.js";
import { F, grad, losses, nn, perSample, program } from "../../compiler/dsl/index.js";
import type { Value } from "../../ir/graph.js";
import { graphNodes } from "../../ir/graph.js";
import { load, type Tensor } from "../../runtime/index.js";

type Way = (ctx: EntryContext, net: nn.Layer, x: Value, y: Value) => readonly Value[];

const weightsOf = (ctx: EntryContext, net: nn.Layer) => ctx.parameters(net).map((p) => p.value);
const together: Way = (ctx, net, x, y) =>
  perSample((a, b) => losses.crossEntropy()(net(ctx, a), b), [x, y], weightsOf(ctx, net));
const apart: Way = (ctx, net, x, y) => {
  const each = Array.from({ length: 5 }, (_, i) =>
    grad(losses.crossEntropy()(net(ctx, F.narrow(x, 0, i, 1)), F.narrow(y, 0, i, 1)), weightsOf(ctx, net)),
  );
  return each[0]!.map((_, k) => F.stack(each.map((g) => g[k]!)));
};

const nets: Readonly<Record<string, { net: () => nn.Layer; shape: readonly number[]; ids?: number; scans: boolean }>> =
  {
    linear: {
      net: () =>
        nn.sequential(nn.Linear(40, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3)),
      shape: [40],
      scans: false,
    },
    embedding: {
      net: () => nn.sequential(nn.Embedding(30, 16), nn.Flatten(), nn.Linear(64, 3)),
      shape: [4],
      ids: 30,
      scans: false,
    },
    convolutions: {
      net: () =>
        nn.sequential(
          nn.Conv2d(1, 8, 3, { padding: 1 }),
          nn.GroupNorm(2, 8),
          nn.ReLU(),
          nn.MaxPool2d(2),
          nn.Conv2d(8, 8, 3, { stride: 2, groups: 2 }),
          nn.Flatten(),
          nn.Linear(8 * 7 * 7, 3),
        ),
      shape: [1, 32, 32],
      scans: true,
    },
    "images of a few pixels": {
      net: () =>
        nn.sequential(
          nn.Conv2d(1, 2, 3, { padding: 1 }),
          nn.ReLU(),
          nn.Flatten(),
          nn.Linear(2 * 16, 32),
          nn.Linear(32, 3),
        ),
      shape: [1, 4, 4],
      scans: true,
    },
  };

describe("perSample", () => {
  it.each(Object.entries(nets))("%s", async (_, { net: make, shape, ids, scans }) => {
    const net = make();
    const entry = (way: Way) => ({
      inputs: { x: { dtype: ids ? "i32" : "f32", shape: [5, ...shape] }, y: "i32[5]" } as const,
      run: (ctx: EntryContext, { x, y }: Readonly<Record<"x" | "y", Value>>) =>
        Object.fromEntries(way(ctx, net, x, y).map((v, i) => [`g${i}`, v])),
    });
    const p = program(net, { together: entry(together), apart: entry(apart) });
    const loops = graphNodes(p.entries.together!).filter((n) => n.op === "scan");
    expect(loops.length > 0).toBe(scans);
    const count = 5 * shape.reduce((a, b) => a * b, 1);
    const values = Array.from({ length: count }, (_, i) => (ids ? (i * 7) % ids : Math.sin(i * 0.7)));
    const x = ids ? Int32Array.from(values) : Float32Array.from(values);
    const y = Int32Array.of(0, 1, 2, 1, 0);
    const session = await load(await compile(p, { variants: ["simd128"] }));
    const [got, want] = [await session.together({ x, y } as never), await session.apart({ x, y } as never)];
    for (const [name, t] of Object.entries(want)) {
      const [a, b] = [(got as Record<string, Tensor>)[name]!, t as Tensor];
      expect(a.shape).toEqual(b.shape);
      b.data.forEach((v, i) => {
        expect(Math.abs(Number(a.data[i]) - Number(v))).toBeLessThan(2e-5);
      });
    }
    session.dispose();
  });
});
