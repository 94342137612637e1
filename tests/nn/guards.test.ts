/** What models guard their users from: statistics of one value, names that fit nothing, layers that give several values. */

import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, toGraph, trainStep } from "../../compiler/dsl/index.js";
import { ModelError } from "../../ir/errors.js";
import { load } from "../../runtime/index.js";

type Shape = readonly (number | string)[];

const trained = (layer: nn.Layer, shape: Shape, dims?: Readonly<Record<string, readonly [number, number]>>) =>
  trainStep(nn.sequential({ bn: layer }), {
    inputs: { x: shape },
    targets: { y: shape },
    ...(dims ? { dims } : {}),
    loss: losses.mse(),
    optimizer: optim.SGD({ lr: 0.1 }),
  });

describe("a batch norm that trains on one value a channel", () => {
  it.each([
    ["BatchNorm1d", () => nn.BatchNorm1d(3), [1, 3]],
    ["BatchNorm1d of sequences", () => nn.BatchNorm1d(3), [1, 3, 1]],
    ["BatchNorm2d", () => nn.BatchNorm2d(3), [1, 3, 1, 1]],
    ["without running statistics", () => nn.BatchNorm2d(3, { trackRunningStats: false }), [1, 3, 1, 1]],
  ] as const)("%s: is refused where the sizes are known", (_, layer, shape) => {
    expect(() => trained(layer(), shape)).toThrow(ModelError);
    expect(() => trained(layer(), shape)).toThrow(/bn: .*at least 2/);
  });

  it.each([
    ["BatchNorm1d", () => nn.BatchNorm1d(3), ["batch", 3], (n: number) => [n, 3]],
    [
      "BatchNorm2d without running statistics",
      () => nn.BatchNorm2d(3, { trackRunningStats: false }),
      ["batch", 3, "size", "size"],
      (n: number) => [n, 3, 1, 1],
    ],
  ] as const)("%s: is refused in the run, and larger batches train on", async (_, layer, shape, sizes) => {
    const program = trained(layer(), shape);
    const session = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
    const batch = (n: number) => {
      const data = Float32Array.from({ length: n * 3 }, (_, i) => Math.sin(i));
      const t = { dtype: "f32" as const, shape: sizes(n), data };
      return { x: t, y: t };
    };
    await expect(session.step(batch(1))).rejects.toThrow(/bn.*\n?.*at least 2/s);
    const { loss } = await session.step(batch(2));
    expect(loss).toBeGreaterThan(0);
    expect(Number.isFinite(loss)).toBe(true);
    session.dispose();
  });

  it("is asked for nothing more where every batch has enough, or where it does not train", async () => {
    const many = trained(nn.BatchNorm2d(3), ["batch", 3, 4, 4]);
    const session = await load(await compile(many, { variants: ["simd128"] }), { threads: 1 });
    const one = {
      dtype: "f32" as const,
      shape: [1, 3, 4, 4],
      data: Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)),
    };
    expect((await session.step({ x: one, y: one })).loss).toBeGreaterThan(0);
    session.dispose();
    toGraph(nn.BatchNorm1d(3), { inputs: { x: [1, 3] } });
  });
});

describe("names that fit nothing", () => {
  it("are refused by freeze, which then freezes nothing", () => {
    const net = nn.sequential({ conv: nn.Conv2d(1, 2, 3), head: nn.Linear(2, 3) });
    expect(() => net.freeze("cnov.")).toThrow(/no parameter's name begins with "cnov\."/);
    expect([...net.parameters().values()].every((p) => p.trainable)).toBe(true);
    net.freeze("conv.");
    expect([...net.parameters()].filter(([, p]) => !p.trainable).map(([n]) => n)).toEqual(["conv.weight", "conv.bias"]);
  });
});

describe("a layer that gives several values", () => {
  const inputs = { x: [5, 2, 3] };
  it("in a row of layers is named, with the way to take one", () => {
    const net = nn.sequential({ rnn: nn.LSTM(3, 4) as never, fc: nn.Linear(4, 1) });
    expect(() => toGraph(net, { inputs })).toThrow(ModelError);
    expect(() => toGraph(net, { inputs })).toThrow(/LSTMModule gives output, hidden, cell/);
    const residual = nn.Residual(nn.GRU(3, 3) as never);
    expect(() => toGraph(residual, { inputs })).toThrow(/GRUModule gives output, hidden/);
  });
  it("gives one of them by Select, under its own names", () => {
    const net = nn.sequential({
      rnn: nn.Select(nn.LSTM(3, 4, { layers: 2, dropout: 0.5 }), (y) => nn.lastStep(y.output, 0)),
      fc: nn.Linear(4, 1),
    });
    expect([...net.parameters().keys()].filter((n) => n.startsWith("rnn")).slice(0, 2)).toEqual([
      "rnn.weight_ih_l0",
      "rnn.weight_hh_l0",
    ]);
    expect(toGraph(net, { inputs }).results[0]!.type.shape).toEqual([2, 1]);
  });
});
